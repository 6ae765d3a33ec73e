//! The table for people and the file for programs.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::contender::Contender;
use crate::lab::{OVERLAY_MTU, UNDERLAY_MTU};
use crate::machine::Facts;
use crate::measure::{Plan, Sample};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    facts: Facts,
    plan: Plan,
    samples: BTreeMap<Contender, Vec<Sample>>,
}

/// A column: heading, the value of a sample, digits after the point, whether it is compared.
struct Column {
    heading: &'static str,
    value: fn(&Sample) -> f64,
    digits: usize,
    has_ratio: bool,
}

const COLUMNS: [Column; 8] = [
    Column {
        heading: "forward Gbit/s",
        value: |sample| sample.forward.bits_per_second / 1e9,
        digits: 2,
        has_ratio: true,
    },
    Column {
        heading: "reverse Gbit/s",
        value: |sample| sample.reverse.bits_per_second / 1e9,
        digits: 2,
        has_ratio: true,
    },
    Column {
        heading: "system CPU s/GB fwd",
        value: |sample| sample.forward.system_seconds_per_gigabyte(),
        digits: 2,
        has_ratio: true,
    },
    Column {
        heading: "system CPU s/GB rev",
        value: |sample| sample.reverse.system_seconds_per_gigabyte(),
        digits: 2,
        has_ratio: true,
    },
    Column {
        heading: "VPN CPU s/GB fwd",
        value: |sample| sample.forward.process_seconds_per_gigabyte(),
        digits: 2,
        has_ratio: true,
    },
    Column {
        heading: "RTT p50 µs",
        value: |sample| sample.round_trip.p50_microseconds,
        digits: 0,
        has_ratio: false,
    },
    Column {
        heading: "RTT p99 µs",
        value: |sample| sample.round_trip.p99_microseconds,
        digits: 0,
        has_ratio: false,
    },
    Column {
        heading: "memory MB",
        value: |sample| sample.memory_bytes_max.unwrap_or(0) as f64 / 1e6,
        digits: 0,
        has_ratio: false,
    },
];

/// Whom the others are compared with.
const REFERENCE: Contender = Contender::WireguardGo;

impl Report {
    /// An empty report.
    pub(crate) fn new(facts: Facts, plan: &Plan) -> Self {
        Self {
            facts,
            plan: *plan,
            samples: BTreeMap::new(),
        }
    }

    /// Adds what a round gave.
    pub(crate) fn add(&mut self, contender: Contender, sample: Sample) {
        self.samples.entry(contender).or_default().push(sample);
    }

    /// Writes every value, and the medians.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&self.json())? + "\n";
        std::fs::write(path, text).with_context(|| path.display().to_string())
    }

    fn json(&self) -> Value {
        let contenders: Vec<Value> = self
            .samples
            .iter()
            .map(|(contender, samples)| {
                let medians: BTreeMap<&str, f64> = COLUMNS
                    .iter()
                    .map(|column| (column.heading, median_of(samples, column)))
                    .collect();
                json!({
                    "name": contender.name(),
                    "cipher": contender.cipher(),
                    "medians": medians,
                    "samples": samples,
                })
            })
            .collect();
        json!({
            "machine": self.facts,
            "plan": self.plan,
            "underlay_mtu": UNDERLAY_MTU,
            "overlay_mtu": OVERLAY_MTU,
            "contenders": contenders,
        })
    }

    fn cell(&self, contender: Contender, column: &Column) -> String {
        let value = median_of(&self.samples[&contender], column);
        let digits = column.digits;
        let Some(reference) = self.samples.get(&REFERENCE).filter(|_| column.has_ratio) else {
            return format!("{value:.digits$}");
        };
        let ratio = value / median_of(reference, column);
        if !ratio.is_finite() {
            return format!("{value:.digits$}");
        }
        format!("{value:.digits$} ({ratio:.2}x)")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts {
            processor,
            processors,
            kernel,
            commit,
            ..
        } = &self.facts;
        let rounds = self.samples.values().map(Vec::len).max().unwrap_or(0);
        writeln!(
            f,
            "{processors} x {processor}, Linux {kernel}, commit {commit}"
        )?;
        writeln!(
            f,
            "TCP, one stream, cubic, {} s each way, median of {rounds} interleaved rounds, \
             veth MTU {UNDERLAY_MTU}, tunnel MTU {OVERLAY_MTU}\n\
             in parentheses: ratio to {REFERENCE}\n",
            self.plan.seconds
        )?;
        if !self.plan.was_idle() {
            let load = self.plan.idle_load;
            writeln!(
                f,
                "these figures mean little: {load:.1} processors were busy before the first round\n"
            )?;
        }
        write!(f, "{:<20}", "")?;
        for contender in self.samples.keys() {
            write!(f, " {contender:>18}")?;
        }
        writeln!(f)?;
        for column in &COLUMNS {
            write!(f, "{:<20}", column.heading)?;
            for contender in self.samples.keys() {
                write!(f, " {:>18}", self.cell(*contender, column))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn median_of(samples: &[Sample], column: &Column) -> f64 {
    median(samples.iter().map(column.value).collect())
}

/// The middle value; of an even number of values the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => values[count / 2 - 1].midpoint(values[count / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_the_order_and_one_wild_value() {
        assert_eq!(median(vec![3.0, 1.0, 900.0]), 3.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(vec![]).is_nan());
    }
}
