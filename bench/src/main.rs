//! Measures the gateway against every peer that is found, in the same run, on one machine.
//!
//! Two network namespaces with a veth between them stand for two hosts. Each contender joins them,
//! is measured and taken down again, and the rounds are interleaved (A B C A B C ...), so that what
//! changes on the machine meanwhile changes for all. The reader gets medians and their ratio to
//! wireguard-go; every single value is kept in the JSON.
//!
//! `cargo xtask bench` builds what is measured and calls this program.

mod contender;
mod lab;
mod machine;
mod measure;
mod report;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use contender::Contender;
use lab::Lab;
use measure::Plan;
use report::Report;

/// Measure the gateway against every peer that is found
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", version)]
struct Options {
    /// How long each direction carries traffic
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    seconds: u32,
    /// How often each contender is measured; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Who is measured, in this order in each round
    #[arg(long, value_delimiter = ',', default_values_t = Contender::ALL)]
    peers: Vec<Contender>,
    /// Where all values go
    #[arg(long, default_value = "bench/results/latest.json")]
    json: PathBuf,
    /// The program to measure
    #[arg(long, default_value = "target/release/weapon")]
    weapon: PathBuf,
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
    let weapon = std::path::absolute(&options.weapon)?;
    for peer in &options.peers {
        peer.require(&weapon)?;
    }
    lab::undo_on_signals_and_panics()?;
    let lab = Lab::new()?;
    let plan = Plan {
        seconds: options.seconds,
        idle_load: machine::idle_load()?,
    };
    let mut report = Report::new(machine::Facts::gather(&weapon), &plan);
    for round in 1..=options.rounds {
        for peer in &options.peers {
            eprintln!("round {round} of {}: {peer}", options.rounds);
            let tunnel = peer
                .join(&lab, &weapon)
                .with_context(|| format!("{peer} does not run"))?;
            let sample = measure::measure(&lab, &tunnel, &plan)
                .with_context(|| format!("{peer} cannot be measured"))?;
            tunnel.leave()?;
            eprintln!("  {sample}");
            report.add(*peer, sample);
        }
    }
    drop(lab);
    writeln!(std::io::stdout(), "{report}")?;
    report.write(&options.json)?;
    eprintln!("all values: {}", options.json.display());
    Ok(())
}
