//! What the helper asks of the gateway's process that changes nothing there.

use std::io;

use weapon_core::{Examination, Hypothesis};
use weapon_engine::{Stopped, ThreadStatus, Waiting};

use super::{
    message::{Answer, Command},
    process::GatewayProcess,
};
use crate::{
    drops::DropsReport,
    flows::{FilterCounts, FlowsQuery, FlowsReport},
};

impl GatewayProcess {
    /// What each thread has counted, what waits for the control loop, and what was counted of
    /// flows, if any are watched.
    pub fn counts(&self) -> Result<(Vec<ThreadStatus>, Waiting, Option<FilterCounts>), Stopped> {
        let counts = self.get(&Command::Counts, |given| match given.0 {
            Answer::Counts(threads, waiting, filter) => Some((threads, waiting, filter)),
            _ => None,
        });
        counts.map_err(|_| Stopped)
    }

    /// What passes at this moment.
    pub fn flows(&self, query: &FlowsQuery) -> io::Result<FlowsReport> {
        let command = Command::Flows(Box::new(query.clone()));
        self.get(&command, |given| match given.0 {
            Answer::Flows(report) => Some(*report),
            _ => None,
        })
    }

    /// What would become of a packet that comes from this peer, or from our side; nothing if there
    /// is no such peer.
    pub fn examine(
        &self,
        hypothesis: Hypothesis,
        from: Option<&str>,
    ) -> io::Result<Option<Examination>> {
        let command = Command::Examine(hypothesis, from.map(str::to_owned));
        self.get(&command, |given| match given.0 {
            Answer::Examined(seen) => Some(seen.map(|seen| *seen)),
            _ => None,
        })
    }

    /// The latest packets that died.
    pub fn latest_drops(&self) -> io::Result<DropsReport> {
        self.get(&Command::LatestDrops, |given| match given.0 {
            Answer::Drops(report) => Some(*report),
            _ => None,
        })
    }
}
