//! How fast peers send and receive: from one question to the next, so that nothing wakes up to
//! measure while nobody asks.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::report::{Rates, Report};

/// What is measured over less says little. So long the command line waits before it asks again.
pub const SPAN_MIN: Duration = Duration::from_secs(1);

/// What peers had received and sent at some moment, by public key.
type Totals = BTreeMap<String, (u64, u64)>;

/// The memory of a gateway for what it has last said.
#[derive(Debug, Default)]
pub struct RateMeter {
    said: Option<(Instant, Totals)>,
    rates: BTreeMap<String, Rates>,
}

impl RateMeter {
    /// Completes a report by what has changed since an earlier one.
    pub fn complete(&mut self, report: &mut Report, now: Instant) {
        let is_due = |at: &Instant| now.saturating_duration_since(*at) >= SPAN_MIN;
        if self.said.as_ref().is_none_or(|(at, _)| is_due(at)) {
            self.measure(report, now);
        }
        for peer in &mut report.peers {
            peer.rates = self.rates.get(&peer.public_key).copied();
        }
    }

    fn measure(&mut self, report: &Report, now: Instant) {
        let totals: Totals = report
            .peers
            .iter()
            .map(|peer| {
                let totals = (peer.received_bytes, peer.sent_bytes);
                (peer.public_key.clone(), totals)
            })
            .collect();
        let before = self.said.replace((now, totals.clone()));
        let Some((at, before)) = before else { return };
        let seconds = now.saturating_duration_since(at).as_secs_f64();
        let rate = |(key, (received, sent)): (String, (u64, u64))| {
            let &(received_before, sent_before) = before.get(&key)?;
            // Less than before: it was taken away and has come back.
            let received = received.checked_sub(received_before)?;
            let sent = sent.checked_sub(sent_before)?;
            let rates = Rates {
                received_bytes_per_second: per_second(received, seconds),
                sent_bytes_per_second: per_second(sent, seconds),
                span_seconds: seconds.round() as u64,
            };
            Some((key, rates))
        };
        self.rates = totals.into_iter().filter_map(rate).collect();
    }
}

/// Bytes in a second, of so many in that time.
pub fn per_second(bytes: u64, seconds: f64) -> u64 {
    (bytes as f64 / seconds).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn rates_are_of_the_time_between_two_questions() {
        let mut meter = RateMeter::default();
        let start = Instant::now();
        let mut ask = |milliseconds, received, sent| {
            let mut report = sample::report();
            report.peers.truncate(1);
            let peer = &mut report.peers[0];
            (peer.received_bytes, peer.sent_bytes) = (received, sent);
            meter.complete(&mut report, start + Duration::from_millis(milliseconds));
            let rates = report.peers[0].rates;
            rates.map(|rates| {
                let Rates {
                    received_bytes_per_second,
                    sent_bytes_per_second,
                    span_seconds,
                } = rates;
                (
                    received_bytes_per_second,
                    sent_bytes_per_second,
                    span_seconds,
                )
            })
        };
        assert_eq!(ask(0, 1000, 0), None);
        // Too early to tell; what was said first still counts.
        assert_eq!(ask(999, 5000, 0), None);
        assert_eq!(ask(2000, 5000, 100), Some((2000, 50, 2)));
        // Several may ask, and all are told the same.
        assert_eq!(ask(2500, 9000, 100), Some((2000, 50, 2)));
        assert_eq!(ask(12_000, 5000, 100), Some((0, 0, 10)));
        // Removed, and added again.
        assert_eq!(ask(14_000, 10, 10), None);
        assert_eq!(ask(15_000, 20, 10), Some((10, 0, 1)));
    }
}
