//! What the daemon records in the audit log, if there is one.

use weapon_engine::Event;

use super::{Daemon, End};
use crate::{
    audit::{Audit, Sender, events, flows},
    config::Config,
    confined::Tell,
    flows::{ToldFlows, WantedFlows},
    privileges,
    report::AuditReport,
    uapi::{self, Request},
};

/// Called for what the gateway tells: what happens to peers is for the log, and the rest for the
/// daemon.
pub(super) fn on_event(tell: Tell, log: Option<Sender>) -> Tell {
    Box::new(move |what| match (what, &log) {
        (Event::Happened(what), Some(log)) => events::happened(log, what),
        (Event::Happened(_), None) => {}
        (what, _) => tell(what),
    })
}

/// Records that the gateway starts. What happens to its peers then goes to the log, if there is
/// one.
pub(super) fn begin(audit: Option<&Audit>, config: &Config) -> Option<Sender> {
    let audit = audit?;
    audit.started(config, &privileges::now());
    Some(audit.sender().clone())
}

/// What is to be told of flows for the log.
pub(super) fn wanted_flows(config: &Config, log: &Sender) -> WantedFlows {
    WantedFlows {
        starts: config.audit.as_ref().is_some_and(|audit| audit.flows),
        denies_new: log.denies_new(),
    }
}

/// Called for what happens to flows.
pub(super) fn on_flows(log: Option<Sender>) -> Box<dyn Fn(ToldFlows) + Send> {
    Box::new(move |told| {
        if let Some(log) = &log {
            flows::record(log, told);
        }
    })
}

impl Daemon {
    /// The configuration has become another, because of `by`.
    pub(super) fn record_change(&self, by: &str, changes: &[String], old: &Config) {
        if let Some(audit) = &self.audit {
            events::configured(audit.sender(), by, changes, Some((old, &self.config)));
        }
    }

    /// A file was not taken.
    pub(super) fn record_refusal(&self, file: &str, error: &anyhow::Error) {
        if let Some(audit) = &self.audit {
            events::refused(audit.sender(), file, &format!("{error:#}"));
        }
    }

    /// Why it is about to stop.
    pub(super) fn record_end(&mut self, end: &End) {
        if let Some(audit) = &mut self.audit {
            audit.ends_because(match end {
                End::Asked(by) => format!("asked by {by}"),
                End::Deleted => "the interface was deleted".to_owned(),
                End::Failed(reason) => reason.clone(),
            });
        }
    }

    /// Answers a program that speaks WireGuard's configuration protocol.
    pub(super) fn answer_uapi(&mut self, call: uapi::Call) {
        if let (Some(audit), Request::Set(set)) = (&self.audit, &call.request) {
            let lines = events::asked(set.listen_port, set.fwmark, &set.change);
            events::configured(audit.sender(), "wg", &lines, None);
        }
        let answer = uapi::answer(call.request, &self.engine, &self.port);
        let _ = call.answer.send(answer);
        // The port may be another now.
        self.follow_system();
    }

    /// Whether nothing new may begin, as the log cannot be written, is no longer as it was.
    pub(super) fn turn(&mut self) {
        self.denies_new = self
            .audit
            .as_ref()
            .is_some_and(|audit| audit.sender().denies_new());
        self.engine.deny_new(self.denies_new);
    }

    /// What was left out or found no room is told.
    pub(super) fn tell_untold(&self) {
        if let Some(audit) = &self.audit {
            audit.sender().tell();
        }
    }

    /// The log is to be written, and cannot be.
    pub(super) fn log_failed(reason: &str) -> End {
        End::Failed(format!(
            "the audit log cannot be written, and on_failure is \"stop\": {reason}"
        ))
    }

    /// How the log goes.
    pub(super) fn audit_report(&self) -> Option<AuditReport> {
        self.audit.as_ref().map(Audit::report)
    }
}
