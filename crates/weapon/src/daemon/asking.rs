//! Why packets die: what would become of one, and what became of the latest.

use super::Daemon;
use crate::{
    api::Answer,
    config::value::quoted,
    why::{WhyQuery, WhyReport},
};

impl Daemon {
    /// What would become of a packet.
    ///
    /// # Errors
    /// There is no such peer, or the gateway has stopped.
    pub(super) fn why(&self, query: &WhyQuery) -> Result<Answer, String> {
        let from = query.from.as_deref();
        let seen = self.engine.examine(query.hypothesis()?, from);
        let seen = seen.map_err(|error| error.to_string())?;
        let seen = seen.ok_or_else(|| {
            let from = from.unwrap_or_default();
            format!("there is no peer {}", quoted(from))
        })?;
        Ok(Answer::Why(WhyReport::new(&self.config, query, &seen)))
    }

    /// What died last.
    pub(super) fn drops(&self) -> Answer {
        match self.engine.latest_drops() {
            Ok(mut report) => {
                report.locate(&self.config);
                Answer::Drops(report)
            }
            Err(error) => Answer::Error(error.to_string()),
        }
    }
}
