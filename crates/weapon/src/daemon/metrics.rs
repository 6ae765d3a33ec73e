//! Metrics of the gateway: where they are read, and what is told.

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::Daemon;
use crate::{
    config::Config,
    metrics::{Metrics, Question, Scrape},
    report::{Report, seconds_now},
    warnings,
};

/// Questions that wait: as many as there can be clients.
const QUESTIONS_MAX: usize = 16;

/// The place where metrics are read, and those who ask there.
pub(super) struct Telling {
    place: Option<Metrics>,
    started: u64,
    questions: mpsc::Receiver<Question>,
    /// For another place.
    asking: mpsc::Sender<Question>,
}

impl Telling {
    /// Opens what `config` says.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let (asking, questions) = mpsc::channel(QUESTIONS_MAX);
        let place = Metrics::open(config.metrics.as_ref(), &asking);
        Ok(Self {
            place: place.with_context(|| config.at(&config.written.metrics))?,
            started: seconds_now(),
            questions,
            asking,
        })
    }

    /// Whoever asks next.
    pub(super) async fn asked(&mut self) -> Option<Question> {
        self.questions.recv().await
    }

    /// Opens what `new` says, beside what there is; nothing if that is the same.
    pub(super) fn other(&self, new: &Config) -> anyhow::Result<Option<Option<Metrics>>> {
        if new.metrics.as_ref() == self.place.as_ref().map(Metrics::place) {
            return Ok(None);
        }
        let place = Metrics::open(new.metrics.as_ref(), &self.asking);
        Ok(Some(place.with_context(|| new.at(&new.written.metrics))?))
    }

    /// Takes what was opened in place of what there was.
    pub(super) fn become_as(&mut self, other: Option<Option<Metrics>>) {
        if let Some(other) = other {
            self.place = other;
        }
    }
}

impl Daemon {
    /// Answers whoever asks for metrics.
    pub(super) fn tell(&self, question: Question) {
        // An engine that has stopped has nothing to tell, and who asked hears of it.
        let Ok(status) = self.engine.status() else {
            return;
        };
        let peers = status.gateway.peers.clone();
        let report = self.report(status);
        let warnings = warnings::of(&report, self.config.offload, seconds_now());
        let Ok((threads, waiting, filter)) = self.engine.counts() else {
            return;
        };
        let scrape = Scrape {
            report: Report { warnings, ..report },
            peers,
            threads,
            waiting,
            filter,
            started: self.telling.started,
        };
        // A client that has gone needs no answer.
        let _ = question.send(scrape);
    }
}
