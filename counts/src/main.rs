#![forbid(unsafe_code)]
//! Runs one stop of a packet's way, again and again, for callgrind to count its instructions.
//!
//! `weapon-counts NAME` prepares the input of one benchmark, calls its operation inside
//! [`region::measured`], and prints how many operations that were; `weapon-counts --list` prints
//! the names. `cargo xtask counts` runs all of them under valgrind and compares the counts with
//! those that were accepted.

mod buffer;
mod checksums;
mod datagrams;
mod flows;
mod lanes;
mod lookups;
mod packets;
mod region;
mod segments;
mod site;

use std::io::Write;

use anyhow::{Context, Result};

/// A name, and what runs the benchmark and returns the number of operations that were measured.
type Benchmark = (&'static str, fn() -> u64);

/// All benchmarks, in the order in which a packet meets what they measure.
const BENCHMARKS: [Benchmark; 33] = [
    ("parse-tcp4", flows::parse_tcp4),
    ("parse-udp6", flows::parse_udp6),
    ("route4-of-10", lookups::route4::<10>),
    ("route4-of-1000", lookups::route4::<1000>),
    ("route4-of-100000", lookups::route4::<100_000>),
    ("route6-of-10", lookups::route6::<10>),
    ("route6-of-1000", lookups::route6::<1000>),
    ("route6-of-100000", lookups::route6::<100_000>),
    ("checksum-20", checksums::sum::<20>),
    ("checksum-1368", checksums::sum::<1368>),
    ("split-tcp4-64k", segments::split_tcp4),
    ("split-udp4-64k", segments::split_udp4),
    ("split-64", segments::split_small),
    ("seal-1420", datagrams::seal),
    ("seal-64", datagrams::seal_small),
    ("open-1420", datagrams::open),
    ("open-64", datagrams::open_small),
    ("merge-45-of-one-flow", segments::merge_one_flow),
    ("merge-90-of-45-flows", segments::merge_many_flows),
    ("outbound-tcp4-64k", lanes::outbound_tcp4),
    ("outbound-64", lanes::outbound_small),
    ("outbound-64-run-of-32", lanes::outbound_small_run),
    ("inbound-train-of-45", lanes::inbound_train),
    ("inbound-train-of-1", lanes::inbound_single),
    ("inbound-64", lanes::inbound_small),
    ("outbound-tcp4-64k-filter", lanes::outbound_tcp4_filtered),
    ("outbound-64-filter", lanes::outbound_small_filtered),
    (
        "outbound-64-run-of-32-filter",
        lanes::outbound_small_run_filtered,
    ),
    ("inbound-train-of-45-filter", lanes::inbound_train_filtered),
    ("inbound-64-filter", lanes::inbound_small_filtered),
    ("outbound-tcp4-64k-limit", lanes::outbound_tcp4_limited),
    (
        "outbound-64-run-of-32-limit",
        lanes::outbound_small_run_limited,
    ),
    ("inbound-train-of-45-limit", lanes::inbound_train_limited),
];

fn main() -> Result<()> {
    let name = std::env::args().nth(1).unwrap_or_default();
    let mut out = std::io::stdout();
    if name == "--list" {
        for (name, _) in BENCHMARKS {
            writeln!(out, "{name}")?;
        }
        return Ok(());
    }
    let (_, run) = BENCHMARKS
        .iter()
        .find(|(known, _)| *known == name)
        .with_context(|| format!("there is no benchmark `{name}`; --list prints all"))?;
    writeln!(out, "{}", run())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Each of them looks itself whether the operation did what it is named after.
    #[test]
    fn every_benchmark_runs() {
        for (name, run) in BENCHMARKS {
            assert!(run() > 0, "{name}");
        }
    }

    #[test]
    fn names_differ() {
        let names: BTreeSet<_> = BENCHMARKS.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), BENCHMARKS.len());
    }
}
