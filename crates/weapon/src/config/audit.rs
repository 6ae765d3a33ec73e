//! The section `[audit]`: what it says, and what comes of it.

use std::{path::PathBuf, time::Duration};

use super::{
    policy::PolicyDraft,
    problem::{Located, Place, Problems},
    value::{absolute_path, quoted},
};
use crate::{
    audit::{Copies, OnFailure, Settings},
    places,
};

/// Numbers of the section: what is smallest, largest, and there if nothing is written. A file is
/// read whole when it is verified; names of files are listed at each rotation.
const SEAL_SECONDS: Range = Range(1, 86_400, 900);
const FILE_MB_MAX: Range = Range(1, 4096, 16);
const FILE_HOURS_MAX: Range = Range(1, 8784, 24);
const FILES_MAX: Range = Range(2, 10_000, 30);

struct Range(i64, i64, i64);

/// What is written.
#[derive(Debug, Default)]
pub struct AuditDraft {
    /// The section's header.
    pub place: Place,
    pub directory: Option<Located<String>>,
    pub seal_seconds: Option<Located<i64>>,
    pub file_mb_max: Option<Located<i64>>,
    /// 0 is off.
    pub file_hours_max: Option<Located<i64>>,
    pub files_max: Option<Located<i64>>,
    pub flows: Option<Located<bool>>,
    pub on_failure: Option<Located<String>>,
    pub also: Vec<Located<String>>,
}

/// An audit log that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where.
    pub directory: PathBuf,
    /// How.
    pub settings: Settings,
    /// Whether the starts of flows are recorded too.
    pub flows: bool,
    /// What becomes of the gateway if it cannot be written.
    pub on_failure: OnFailure,
    /// Who gets copies.
    pub also: Vec<Copies>,
    /// The section, or its folder if that is written.
    pub place: Place,
}

impl AuditDraft {
    /// What comes of it for the gateway of this name, with this filter; what is wrong is noted.
    pub fn check(
        &self,
        gateway: Option<&str>,
        policy: &PolicyDraft,
        problems: &mut Problems,
    ) -> Option<AuditConfig> {
        if policy.filter.is_none() {
            self.check_flows(problems);
        }
        let directory = self.directory(gateway, problems);
        let mut number = |written: &Option<Located<i64>>, range: &Range, what: &str| {
            let Range(min, max, default) = *range;
            let Some(Located { value, place }) = written else {
                return u64::try_from(default).ok();
            };
            if !(min..=max).contains(value) {
                problems.error(
                    place,
                    format!("{value} cannot be; it is {min} to {max} {what}"),
                );
                return None;
            }
            u64::try_from(*value).ok()
        };
        let seal_seconds = number(&self.seal_seconds, &SEAL_SECONDS, "seconds");
        let file_mb_max = number(&self.file_mb_max, &FILE_MB_MAX, "megabytes");
        let is_never_old = self.file_hours_max.as_ref().is_some_and(|it| it.value == 0);
        let file_hours_max = if is_never_old {
            Some(0)
        } else {
            number(&self.file_hours_max, &FILE_HOURS_MAX, "hours, or \"off\"")
        };
        let files_max = number(&self.files_max, &FILES_MAX, "files");
        let on_failure = self.on_failure(problems);
        let also = self.also(problems);
        let settings = Settings {
            gateway: gateway?.to_owned(),
            seal_time: Duration::from_secs(seal_seconds?),
            file_bytes_max: file_mb_max? << 20,
            file_time_max: file_hours_max
                .filter(|hours| *hours != 0)
                .map(|hours| Duration::from_secs(hours * 3600)),
            files_max: usize::try_from(files_max?).ok()?,
        };
        Some(AuditConfig {
            directory: directory?,
            settings,
            flows: self.flows.as_ref().is_some_and(|flows| flows.value),
            on_failure: on_failure?,
            also: also?,
            place: match &self.directory {
                Some(directory) => directory.place.clone(),
                None => self.place.clone(),
            },
        })
    }

    /// Of a gateway that knows no flows.
    fn check_flows(&self, problems: &mut Problems) {
        let flows = self.flows.as_ref().filter(|flows| flows.value);
        let denies = self
            .on_failure
            .as_ref()
            .filter(|policy| policy.value == OnFailure::DenyNew.label());
        let wants = [
            (flows.map(|it| &it.place), "starts of flows are not known"),
            (
                denies.map(|it| &it.place),
                "it is not known what is a new flow",
            ),
        ];
        for (place, why) in wants {
            if let Some(place) = place {
                let message = format!("{why}: give a section [filter], with `flows = true`");
                problems.error(place, message);
            }
        }
    }

    fn directory(&self, gateway: Option<&str>, problems: &mut Problems) -> Option<PathBuf> {
        let Some(Located { value, place }) = &self.directory else {
            return Some(places::logs().join(gateway?));
        };
        let example = places::logs().join(gateway.unwrap_or("NAME"));
        absolute_path(value, &example)
            .map_err(|message| problems.error(place, message))
            .ok()
    }

    fn on_failure(&self, problems: &mut Problems) -> Option<OnFailure> {
        let Some(Located { value, place }) = &self.on_failure else {
            return Some(OnFailure::default());
        };
        let all = OnFailure::ALL.into_iter();
        let found = all
            .into_iter()
            .find_map(|(label, policy)| (label == value).then_some(policy));
        if found.is_none() {
            let shown = quoted(value);
            let message = format!("{shown} is not known; it is continue, deny-new or stop");
            problems.error(place, message);
        }
        found
    }

    fn also(&self, problems: &mut Problems) -> Option<Vec<Copies>> {
        let mut also = Vec::new();
        let mut is_good = true;
        for Located { value, place } in &self.also {
            let copies = match value.as_str() {
                "journald" => Copies::Journald,
                "syslog" => Copies::Syslog,
                other => {
                    let other = quoted(other);
                    let message = format!("{other} is not known; it is journald or syslog");
                    problems.error(place, message);
                    is_good = false;
                    continue;
                }
            };
            if also.contains(&copies) {
                problems.warning(place, format!("{value} is there already"));
            } else {
                also.push(copies);
            }
        }
        is_good.then_some(also)
    }
}
