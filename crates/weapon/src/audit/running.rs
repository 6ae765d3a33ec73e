//! The log of a gateway that runs: opened before anything is changed, and ended after all is
//! undone.

use std::{
    fs::DirBuilder,
    future::pending,
    os::unix::fs::DirBuilderExt,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::{
    also::Also,
    entry::{Entry, Kind},
    folder::{Folder, FolderError, VERIFICATION_KEY},
    link::Link,
    moment::Moment,
    sender::{OnFailure, Sender},
    writer::Writer,
};
use crate::{
    config::{AuditConfig, Config},
    places,
    report::{AuditReport, GatewayPrivileges, Privileges},
};

/// How long the end of a gateway waits for its log.
const END_TIME: Duration = Duration::from_secs(5);

/// The log of a gateway. When it is dropped, it is recorded that the gateway has stopped.
pub struct Audit {
    sender: Sender,
    link: Link,
    config: AuditConfig,
    end: String,
}

impl Audit {
    /// Opens the log that the configuration asks for.
    ///
    /// # Errors
    /// It cannot be written, for a reason that somebody has to mend; or at all, and then the
    /// gateway is not to run.
    pub fn open(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(audit) = &config.audit else {
            return Ok(None);
        };
        let at = || config.at(&audit.place);
        if audit.directory.parent() == Some(&places::logs()) {
            let mut builder = DirBuilder::new();
            let made = builder.recursive(true).mode(0o700).create(places::logs());
            made.map_err(|error| FolderError::of(&places::logs(), error))
                .with_context(at)?;
        }
        let folder = Folder::open(&audit.directory).with_context(at)?;
        let clock = Box::new(Moment::now);
        let settings = audit.settings.clone();
        let writer = Writer::open(folder, settings, Also::new(&audit.also), clock)
            .with_context(|| audit.directory.display().to_string())
            .with_context(at)?;
        let (sender, link) = Link::start(writer, audit.on_failure)?;
        if let Some(reason) = sender.stops_because() {
            bail!(
                "{}: the audit log cannot be written, and on_failure is \"stop\": {}/{reason}",
                at(),
                audit.directory.display()
            );
        }
        let log = Self {
            sender,
            link,
            config: audit.clone(),
            end: "it could not start".to_owned(),
        };
        Ok(Some(log))
    }

    /// Where others record what happens.
    pub fn sender(&self) -> &Sender {
        &self.sender
    }

    /// Records that the gateway starts, and what it may do.
    pub fn started(&self, config: &Config, privileges: &Privileges) {
        let peers: Vec<_> = config
            .peers
            .iter()
            .map(|peer| json!({"name": peer.name, "public_key": peer.public_key.to_string()}))
            .take(PEERS_MAX)
            .collect();
        let start = Entry::new(Kind::Start)
            .with("gateway", config.name.as_str())
            .with("version", env!("CARGO_PKG_VERSION"))
            .with("pid", std::process::id())
            .with_text("file", config.source.path.display())
            .with_text("public_key", config.private_key.public())
            .with("interface", config.interface.as_str())
            .with("peer_count", config.peers.len())
            .with("peers", peers);
        self.sender.send(start);
        let state = Entry::new(Kind::Privileges)
            .with("process", "helper")
            .with("user", privileges.user)
            .with("capabilities", privileges.capabilities.clone())
            .with("no_new", privileges.no_new)
            .with("dumpable", privileges.dumpable);
        self.sender.send(state);
        if let Some(path) = &config.danger_export_keys {
            let exported = Entry::new(Kind::KeysExported).with_text("file", path.display());
            self.sender.send(exported);
        }
    }

    /// Records what the process may do that carries packets.
    pub fn confined(&self, privileges: &GatewayPrivileges) {
        let state = Entry::new(Kind::Privileges)
            .with("process", "gateway")
            .with("user", privileges.user)
            .with("capabilities", privileges.capabilities.clone())
            .with("no_new", privileges.no_new)
            .with("calls", privileges.calls)
            .with("landlock", privileges.landlock)
            .with("locked_memory", privileges.locked_memory);
        self.sender.send(state);
    }

    /// Why the gateway is about to stop.
    pub fn ends_because(&mut self, reason: String) {
        self.end = reason;
    }

    /// How it goes, for `weapon status`.
    pub fn report(&self) -> AuditReport {
        let state = self.sender.state();
        AuditReport {
            directory: self.config.directory.display().to_string(),
            file: state.file,
            sequence: state.sequence,
            sealed: state.sealed,
            failing: state.failing,
            waiting: state.waiting,
            lost: state.lost,
            suppressed: state.suppressed,
            written: state.written,
            bytes: state.bytes,
            on_failure: self.sender.on_failure().label().to_owned(),
            denies_new: self.sender.denies_new(),
            key_beside: state.key_beside,
        }
    }
}

/// Peers that are named at the start at most: 32 KB.
const PEERS_MAX: usize = 256;

impl Drop for Audit {
    fn drop(&mut self) {
        let deadline = Instant::now() + END_TIME;
        let stop = Entry::new(Kind::Stop).with("because", self.end.as_str());
        self.sender.send(stop);
        while !self.sender.close() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if !self.link.wait(left) {
            tracing::error!("the audit log does not end: its last records may be missing");
        }
    }
}

/// Waits until there is something to tell that was left out or found no room; for ever if there
/// is no log.
pub async fn due(audit: Option<&Audit>) {
    match audit {
        Some(audit) => audit.sender.due().await,
        None => pending().await,
    }
}

/// Waits until it is no longer as it `was`, whether nothing new may begin; for ever if there is no
/// log.
pub async fn turned(audit: Option<&Audit>, was: bool) {
    match audit {
        Some(audit) => audit.sender.turned(was).await,
        None => pending().await,
    }
}

/// Waits until the gateway is to stop because its log cannot be written.
pub async fn stopped(audit: Option<&Audit>) -> String {
    match audit {
        Some(audit) => audit.sender.stopped().await,
        None => pending().await,
    }
}

/// What a person is to know of a log, and do; each with one word for programs.
pub fn warnings(report: &AuditReport) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(reason) = &report.failing {
        let so = if report.on_failure == OnFailure::DenyNew.label() {
            "; nothing new is let through until it can"
        } else {
            ""
        };
        let (folder, waiting) = (&report.directory, report.waiting);
        all.push(("audit_failing", format!(
            "the audit log cannot be written: {folder}/{reason}; {waiting} records wait{so}. Make \
             room or mend the disk: it is tried again every second"
        )));
    }
    if report.lost != 0 {
        all.push((
            "audit_lost",
            format!(
                "{} records of the audit log were lost since the start; the log says when",
                report.lost
            ),
        ));
    }
    if report.key_beside {
        all.push(("audit_key_beside", format!(
            "the verification key still lies beside the audit log: move {}/{VERIFICATION_KEY} to \
             another machine, or whoever breaks in here can forge the seals",
            report.directory
        )));
    }
    all
}
