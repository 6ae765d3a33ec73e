//! `aead-table`: measures all contenders in interleaved rounds, and writes table and chart.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use weapon_aead_bench::{
    chart, contender, machine,
    measure::{self, Cell, Plan},
    table,
};

/// Measures weapon-aead against the libraries
#[derive(Debug, Parser)]
struct Options {
    /// Bytes of plaintext per packet
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "64,128,256,576,1280,1420,8900"
    )]
    sizes: Vec<usize>,
    /// Packets per call
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,45,64")]
    batches: Vec<usize>,
    /// How often each is measured; the median counts
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// How long one measurement takes, in microseconds
    #[arg(long, default_value_t = 1000)]
    sample_us: u64,
    /// Write every value of every round there
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write the tables between the comments of this page
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Write the chart there
    #[arg(long)]
    svg: Option<PathBuf>,
}

/// What stands in the JSON.
#[derive(serde::Serialize)]
struct Run<'a> {
    machine: &'a str,
    plan: &'a Plan,
    cells: &'a [Cell],
}

fn main() -> Result<()> {
    let options = Options::parse();
    let plan = Plan {
        sizes: options.sizes,
        batches: options.batches,
        rounds: options.rounds.max(1),
        sample_us: options.sample_us,
    };
    anyhow::ensure!(
        plan.sizes
            .iter()
            .chain(&plan.batches)
            .all(|&number| number > 0),
        "sizes and batches are at least 1"
    );
    let cells = measure::run(&plan, &mut contender::all(), |step| eprintln!("{step}"));
    let machine = machine::line();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("cargo xtask bench-aead {}", words.join(" "));
    let figures = table::markdown(&plan, &cells, &machine, command.trim_end());
    match &options.markdown {
        Some(path) => {
            let text = std::fs::read_to_string(path).with_context(|| named(path))?;
            let text = table::replaced(&text, &figures)
                .with_context(|| format!("{} has no comments around figures", named(path)))?;
            write(path, &text)?;
        }
        None => println!("{figures}"),
    }
    if let Some(path) = &options.svg {
        let drawing = chart::svg(&plan, &cells, &machine).context("there is nothing to draw")?;
        write(path, &drawing)?;
    }
    if let Some(path) = &options.json {
        let run = Run {
            machine: &machine,
            plan: &plan,
            cells: &cells,
        };
        write(path, &(serde_json::to_string_pretty(&run)? + "\n"))?;
    }
    Ok(())
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| named(path))
}
