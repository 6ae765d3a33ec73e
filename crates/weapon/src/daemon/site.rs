//! What lies behind us has changed.

use std::collections::BTreeSet;

use super::Daemon;
use crate::{
    report,
    site::{Entry, Remark, Site, SiteNetwork},
};

impl Daemon {
    /// Takes note of what the file's entries stand for now, and says what is different. All that
    /// depends on it follows.
    pub(super) fn take_entries(&mut self, entries: Vec<Entry>) {
        let (before, now) = (Site::of(&self.entries), Site::of(&entries));
        warn(&self.entries, &entries);
        self.entries = entries;
        if before != now {
            tell(&before, &now);
            self.follow_system();
        }
    }
}

/// Says what lies behind us at the start.
pub(super) fn tell_first(entries: &[Entry]) {
    tell(&Site::default(), &Site::of(entries));
    warn(&[], entries);
}

/// What is different, a line for each network.
fn tell(before: &Site, now: &Site) {
    let way = |network: &SiteNetwork| network.interface.clone().unwrap_or_else(|| "-".to_owned());
    for network in &now.networks {
        if !before.networks.contains(network) {
            let SiteNetwork { prefix, said, .. } = network;
            tracing::info!(network = %said, %prefix, interface = way(network), "lies behind us");
        }
    }
    let key = |network: &SiteNetwork| (network.prefix, network.said.to_string());
    let there: BTreeSet<_> = now.networks.iter().map(key).collect();
    for network in &before.networks {
        if !there.contains(&key(network)) {
            let SiteNetwork { prefix, said, .. } = network;
            tracing::info!(network = %said, %prefix, "does not lie behind us any more");
        }
    }
}

/// What was not said before.
fn warn(before: &[Entry], now: &[Entry]) {
    for entry in now {
        let old = before.iter().find(|old| old.said == entry.said);
        for remark in &entry.remarks {
            let is_new = !old.is_some_and(|old| old.remarks.contains(remark));
            if is_new && !matches!(remark, Remark::Logged(_)) {
                tracing::warn!(network = %entry.said, "{}", remark.text());
            }
        }
    }
}

/// What lies behind us, for `weapon status`.
pub(super) fn report(entries: &[Entry]) -> Vec<report::Behind> {
    let entries = entries.iter().map(|entry| report::Behind {
        written: entry.said.to_string(),
        prefixes: entry
            .networks
            .iter()
            .map(|network| report::BehindPrefix {
                prefix: network.prefix.to_string(),
                interface: network.interface.clone(),
            })
            .collect(),
        warnings: entry
            .remarks
            .iter()
            .map(|remark| remark.text().to_owned())
            .collect(),
    });
    entries.collect()
}
