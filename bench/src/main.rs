//! Measures the gateway against every peer that is found, in the same run, on one machine.
//!
//! Two network namespaces with a veth between them stand for two hosts. Each contender joins them,
//! is measured and taken down again, and the rounds are interleaved (A B C A B C ...), so that what
//! changes on the machine meanwhile changes for all. The reader gets medians, their spread and our
//! ratio to everybody; every single value is kept in the JSON.
//!
//! `cargo xtask bench` builds what is measured and calls this program. What the figures mean and
//! what they do not is in `docs/benchmarks.md`.

mod contender;
mod lab;
mod machine;
mod measure;
mod metric;
mod offloads;
mod report;
mod schedule;
mod statistics;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Parser;

use contender::{Contender, Programs};
use lab::Lab;
use machine::Facts;
use measure::handshakes::Crowd;
use measure::{Bench, Group, Plan};
use report::Report;
use schedule::Progress;

/// Measure the gateway against every peer that is found
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", version)]
struct Options {
    /// How long each transfer lasts [default: 3, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: Option<u32>,
    /// How often each contender is measured; the table shows medians [default: 3, with --quick 1]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// One short round, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Who is measured, in this order in each round [default: all that are found]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<Contender>,
    /// What is measured [default: everything]
    #[arg(long, value_delimiter = ',')]
    only: Vec<Group>,
    /// Where all values go
    #[arg(long, default_value = "bench/results/latest.json")]
    json: PathBuf,
    /// A Markdown file whose generated part is replaced; the chart is drawn beside it
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// The program to measure
    #[arg(long, default_value = "target/release/weapon")]
    weapon: PathBuf,
    /// The same with an empty cipher
    #[arg(long, default_value = "target/release/weapon-null")]
    weapon_null: PathBuf,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if let Some(code) = lab::interrupted() => ExitCode::from(code),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "network namespaces need root"
    );
    contender::require_tools()?;
    let programs = Programs {
        weapon: std::path::absolute(&options.weapon)?,
        weapon_null: std::path::absolute(&options.weapon_null)?,
    };
    let mut remarks = Vec::new();
    let contenders = contenders(options, &programs, &mut remarks)?;
    let groups = groups(options, &mut remarks);
    lab::undo_on_signals_and_panics()?;
    let plan = options.plan()?;
    let mut report = Report::new(command_line(), Facts::gather(), &plan);
    for contender in &contenders {
        report.enter(*contender, &programs);
    }
    let failures = measure_all(options, &programs, &plan, &contenders, &groups, &mut report)?;
    for remark in remarks.into_iter().chain(failures.clone()) {
        report.remark(remark);
    }
    writeln!(std::io::stdout(), "{}", report.text())?;
    report.write_json(&options.json)?;
    eprintln!("all values: {}", options.json.display());
    if let Some(path) = &options.markdown {
        report.write_markdown(path)?;
        eprintln!("table and chart: {}", path.display());
    }
    ensure!(failures.is_empty(), "{}", failures.join("; "));
    Ok(())
}

impl Options {
    fn plan(&self) -> Result<Plan> {
        let (seconds, udp_trials_max) = if self.quick { (1, 4) } else { (3, 6) };
        Ok(Plan {
            seconds: self.seconds.unwrap_or(seconds),
            udp_trials_max,
            idle_load: machine::idle_load()?,
        })
    }

    fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 1 } else { 3 })
    }
}

/// Who was named, all of whom must be there; else who is there.
fn contenders(
    options: &Options,
    programs: &Programs,
    remarks: &mut Vec<String>,
) -> Result<Vec<Contender>> {
    if !options.peers.is_empty() {
        for contender in &options.peers {
            if let Some(missing) = contender.missing(programs) {
                bail!("{contender} cannot be measured: {missing}");
            }
        }
        return Ok(options.peers.clone());
    }
    let mut found = Vec::new();
    for contender in Contender::ALL {
        match contender.missing(programs) {
            None => found.push(contender),
            Some(missing) if contender.is_peer() => {
                let remark = format!("{contender} is left out: {missing}");
                eprintln!("{remark}");
                remarks.push(remark);
            }
            Some(missing) => bail!("{contender} cannot be measured: {missing}"),
        }
    }
    Ok(found)
}

fn groups(options: &Options, remarks: &mut Vec<String>) -> Vec<Group> {
    let is_chosen = |group: &Group| options.only.is_empty() || options.only.contains(group);
    let mut groups: Vec<Group> = Group::ALL.into_iter().filter(is_chosen).collect();
    if groups.contains(&Group::Bbr) && !machine::has_congestion_control("bbr") {
        groups.retain(|group| *group != Group::Bbr);
        let remark = "BBR is left out, as this kernel has not loaded it: modprobe tcp_bbr";
        eprintln!("{remark}");
        remarks.push(remark.to_owned());
    }
    groups
}

/// Measures everybody in turn; returns what failed.
fn measure_all(
    options: &Options,
    programs: &Programs,
    plan: &Plan,
    contenders: &[Contender],
    groups: &[Group],
    report: &mut Report,
) -> Result<Vec<String>> {
    let turns = schedule::turns(options.rounds(), contenders, groups);
    let crowd = if groups.contains(&Group::Handshakes) {
        eprintln!("making the handshakes");
        Some(Crowd::of_benchmark()?)
    } else {
        None
    };
    let lab = Lab::new()?;
    let bench = Bench {
        lab: &lab,
        programs,
        plan,
        crowd: crowd.as_ref(),
    };
    let mut failures = Vec::new();
    let mut progress = Progress::new(&turns, plan);
    for turn in &turns {
        let (round, contender) = (turn.round, turn.contender);
        eprintln!(
            "round {round} of {}: {contender}, {progress}",
            options.rounds()
        );
        let (sample, error) = bench.round(contender, &turn.groups);
        eprintln!("  {sample}");
        if let Some(error) = error {
            ensure!(lab::interrupted().is_none(), "interrupted");
            // Half an hour of figures is not thrown away because one peer fails once.
            let failure = format!("{contender} failed in round {round}: {error:#}");
            eprintln!("  {failure}");
            failures.push(failure);
        }
        report.add(contender, sample);
        progress.note(turn, plan);
    }
    Ok(failures)
}

/// What a reader types to do the same.
fn command_line() -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    words.extend(std::env::args().skip(1));
    words.join(" ")
}
