//! Everything that was measured, and the forms in which it is shown.

mod chart;
mod goals;
mod markdown;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};

use crate::contender::{Contender, Programs};
use crate::lab::{OVERLAY_MTU, UNDERLAY_MTU};
use crate::machine::Facts;
use crate::measure::{Plan, Sample};
use crate::metric::{METRICS, Metric};
use crate::statistics::Summary;

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    command: String,
    facts: Facts,
    plan: Plan,
    versions: BTreeMap<Contender, String>,
    samples: BTreeMap<Contender, Vec<Sample>>,
    remarks: Vec<String>,
}

impl Report {
    /// An empty report of a command.
    pub(crate) fn new(command: String, facts: Facts, plan: &Plan) -> Self {
        Self {
            command,
            facts,
            plan: *plan,
            versions: BTreeMap::new(),
            samples: BTreeMap::new(),
            remarks: Vec::new(),
        }
    }

    /// Somebody takes part.
    pub(crate) fn enter(&mut self, contender: Contender, programs: &Programs) {
        self.versions.insert(contender, contender.version(programs));
    }

    /// Adds what a round gave.
    pub(crate) fn add(&mut self, contender: Contender, sample: Sample) {
        self.samples.entry(contender).or_default().push(sample);
    }

    /// Something that a reader must know.
    pub(crate) fn remark(&mut self, text: String) {
        self.remarks.push(text);
    }

    /// The tables for a terminal.
    pub(crate) fn text(&self) -> String {
        table::text(self)
    }

    /// Writes every value, and the medians.
    pub(crate) fn write_json(&self, path: &Path) -> Result<()> {
        write(path, &(serde_json::to_string_pretty(&self.json())? + "\n"))
    }

    /// Replaces the generated part of a Markdown file, and draws the chart beside it.
    pub(crate) fn write_markdown(&self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let chart = path.with_extension("svg");
        let name = chart.file_name().unwrap_or_default().to_string_lossy();
        let generated = markdown::generated(self, &name);
        let replaced = markdown::replaced(&text, &generated)
            .with_context(|| format!("{} has no place for the figures", path.display()))?;
        write(path, &replaced)?;
        write(&chart, &chart::svg(self))
    }

    fn summary(&self, contender: Contender, metric: &Metric) -> Option<Summary> {
        let samples = self.samples.get(&contender)?;
        Summary::of(samples.iter().filter_map(metric.value).collect())
    }

    fn median(&self, contender: Contender, metric: &Metric) -> Option<f64> {
        Some(self.summary(contender, metric)?.median)
    }

    /// How many times the value of another contender ours is: the median of what the rounds say.
    /// A round's two values are of the same minute, and what slows the machine then slows both.
    fn ratio(&self, other: Contender, metric: &Metric) -> Option<f64> {
        let ours = self.samples.get(&Contender::Weapon)?.iter();
        let theirs = self.samples.get(&other)?.iter();
        let ratios = ours
            .zip(theirs)
            .filter_map(|(ours, theirs)| Some((metric.value)(ours)? / (metric.value)(theirs)?));
        let ratios = ratios.filter(|ratio| ratio.is_finite());
        Some(Summary::of(ratios.collect())?.median)
    }

    fn contenders(&self) -> impl Iterator<Item = Contender> + '_ {
        self.samples.keys().copied()
    }

    /// Contenders that ours is divided by.
    fn others(&self) -> impl Iterator<Item = Contender> + '_ {
        self.contenders().filter(|it| *it != Contender::Weapon)
    }

    /// Figures that somebody has a value of.
    fn metrics(&self) -> impl Iterator<Item = &'static Metric> + '_ {
        METRICS.iter().filter(|metric| {
            let mut contenders = self.contenders();
            contenders.any(|it| self.summary(it, metric).is_some())
        })
    }

    fn machine_line(&self) -> String {
        let facts = &self.facts;
        format!(
            "{} x {}, Linux {}, {}",
            facts.processors, facts.processor, facts.kernel, facts.iperf3
        )
    }

    fn method_line(&self) -> String {
        let rounds = self.samples.values().map(Vec::len).max().unwrap_or(0);
        let rounds = match rounds {
            1 => "One round".to_owned(),
            _ => format!(
                "Medians of {rounds} interleaved rounds (of every other round: BBR, IPv6, offloads \
                 off, handshakes), in parentheses least and greatest"
            ),
        };
        format!(
            "{rounds}; each transfer lasts {} s; veth MTU {UNDERLAY_MTU}, tunnel MTU \
             {OVERLAY_MTU}; TCP with cubic where nothing else is said.",
            self.plan.seconds
        )
    }

    /// What makes the figures worth less.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = self.remarks.clone();
        if !self.plan.was_idle() {
            let load = self.plan.idle_load;
            warnings.push(format!(
                "these figures mean little: {load:.1} processors were busy before the first round"
            ));
        }
        warnings
    }

    fn json(&self) -> Value {
        let contenders: Vec<Value> = self
            .samples
            .iter()
            .map(|(contender, samples)| {
                let summaries: BTreeMap<&str, Option<Summary>> = METRICS
                    .iter()
                    .map(|metric| (metric.key, self.summary(*contender, metric)))
                    .collect();
                json!({
                    "name": contender.name(),
                    "version": self.versions.get(contender),
                    "cipher": contender.cipher(),
                    "settings": contender.settings(),
                    "summaries": summaries,
                    "samples": samples,
                })
            })
            .collect();
        json!({
            "command": self.command,
            "machine": self.facts,
            "plan": self.plan,
            "underlay_mtu": UNDERLAY_MTU,
            "overlay_mtu": OVERLAY_MTU,
            "remarks": self.remarks,
            "goals": goals::of(self),
            "metrics": METRICS.iter().map(describe).collect::<Vec<_>>(),
            "contenders": contenders,
        })
    }
}

fn describe(metric: &Metric) -> impl Serialize + use<> {
    json!({
        "key": metric.key,
        "heading": metric.heading,
        "unit": metric.unit,
        "better": metric.better.word(),
    })
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, text).with_context(|| path.display().to_string())
}

/// A report for the tests of its forms.
#[cfg(test)]
fn example() -> Report {
    use crate::measure::transfer::{Transfer, Way};
    let transfer = |gigabits: f64, seconds: f64| Transfer {
        bits_per_second: gigabits * 1e9,
        bytes: 1e9,
        retransmits: 0,
        system_seconds: seconds,
        process_seconds: seconds,
        stolen_seconds: 0.0,
    };
    let sample = |gigabits: f64, seconds: f64, memory: Option<u64>| Sample {
        tcp: [
            (Way::Forward, transfer(gigabits, seconds)),
            (Way::Reverse, transfer(gigabits * 0.75, seconds)),
        ]
        .into(),
        memory_bytes_max: memory,
        ..Sample::default()
    };
    let plan = Plan {
        seconds: 3,
        udp_trials_max: 6,
        idle_load: 0.0,
    };
    let facts = Facts {
        processor: "A <fast> & new one".to_owned(),
        processors: 2,
        kernel: "6.18".to_owned(),
        commit: "abc".to_owned(),
        iperf3: "iperf 3.12".to_owned(),
    };
    let mut report = Report::new("cargo xtask bench".to_owned(), facts, &plan);
    for (contender, gigabits, seconds, memory) in [
        (Contender::Weapon, 4.0, 3.0, Some(8_000_000)),
        (Contender::Weapon, 3.9, 3.0, Some(8_000_000)),
        (Contender::Weapon, 4.4, 3.0, Some(9_000_000)),
        (Contender::WeaponLibrary, 3.2, 4.0, Some(8_000_000)),
        (Contender::WeaponNull, 8.0, 1.0, Some(8_000_000)),
        (Contender::Boringtun, 0.4, 20.0, Some(4_000_000)),
        (Contender::Gotatun, 1.0, 15.0, Some(6_000_000)),
        (Contender::None, 16.0, 0.5, None),
    ] {
        report
            .versions
            .insert(contender, format!("{contender} 1.0"));
        report.add(contender, sample(gigabits, seconds, memory));
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{CPU_SYSTEM, TCP_FORWARD, UDP_SMALL};

    #[test]
    fn ratios_are_ours_divided_by_theirs() {
        let report = example();
        assert_eq!(report.ratio(Contender::Gotatun, &TCP_FORWARD), Some(4.0));
        assert_eq!(report.ratio(Contender::Gotatun, &CPU_SYSTEM), Some(0.2));
        assert_eq!(report.ratio(Contender::Gotatun, &UDP_SMALL), None);
        assert_eq!(report.ratio(Contender::Openvpn, &TCP_FORWARD), None);
    }

    #[test]
    fn what_slows_a_round_slows_both() {
        let mut report = example();
        let of_weapon = report.samples[&Contender::Weapon].clone();
        let halved = of_weapon.into_iter().map(|mut sample| {
            for transfer in sample.tcp.values_mut() {
                transfer.bits_per_second /= 2.0;
            }
            sample
        });
        report.samples.insert(Contender::Gotatun, halved.collect());
        assert_eq!(report.ratio(Contender::Gotatun, &TCP_FORWARD), Some(2.0));
        // A round in which one of them has failed says nothing.
        report.samples.get_mut(&Contender::Gotatun).unwrap()[1] = Sample::default();
        assert_eq!(report.ratio(Contender::Gotatun, &TCP_FORWARD), Some(2.0));
    }

    #[test]
    fn the_file_has_every_sample_and_who_they_are_of() {
        let json = example().json();
        let weapon = &json["contenders"][0];
        assert_eq!(weapon["name"], "weapon");
        assert_eq!(weapon["samples"].as_array().map(Vec::len), Some(3));
        assert_eq!(
            weapon["samples"][0]["tcp"]["forward"]["bits_per_second"],
            4e9
        );
        assert_eq!(weapon["summaries"]["tcp_forward"]["median"], 4.0);
        assert_eq!(weapon["summaries"]["tcp_forward"]["max"], 4.4);
        assert!(weapon["summaries"]["udp_64"].is_null());
    }

    #[test]
    fn a_busy_machine_is_a_warning() {
        let mut report = example();
        assert!(report.warnings().is_empty());
        report.plan.idle_load = 0.8;
        assert!(report.warnings()[0].contains("0.8 processors were busy"));
    }
}
