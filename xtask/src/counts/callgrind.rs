//! Callgrind: run a program under it, and read how many instructions it counted.

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::shell;

/// The function inside which is counted, `weapon_counts::region::measured`.
const REGION: &str = "*weapon_counts*region*measured*";

/// Runs one benchmark of `program`, which lies in `folder`. Returns the instructions that one
/// operation takes, rounded to the nearest.
pub(super) fn count(folder: &Path, program: &str, name: &str, output: &Path) -> Result<u64> {
    // A file of an earlier run must not be taken for this one's.
    let _ = std::fs::remove_file(output);
    let mut option = OsString::from("--callgrind-out-file=");
    option.push(output);
    let valgrind = shell::find("valgrind").context("there is no valgrind")?;
    // Arguments and environment lie on the stack and shift what comes after them, and a copy takes
    // another way when its ends shift. So they are the same wherever the program lies and whoever
    // calls.
    let run = Command::new(valgrind)
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--toggle-collect={REGION}"))
        .arg(option)
        .arg(format!("./{program}"))
        .arg(name)
        .current_dir(folder)
        .env_clear()
        .output()
        .context("cannot run valgrind")?;
    if !run.status.success() {
        bail!("{}", String::from_utf8_lossy(&run.stderr).trim_end());
    }
    let printed = String::from_utf8(run.stdout)?;
    let operations: u64 = printed
        .trim()
        .parse()
        .with_context(|| format!("{program} printed `{printed}`, not its operations"))?;
    let text = std::fs::read_to_string(output).with_context(|| output.display().to_string())?;
    per_operation(total(&text)?, operations)
}

/// The sum of all instructions in the text of an output file.
fn total(text: &str) -> Result<u64> {
    let value = |key: &str| {
        let mut lines = text.lines();
        let line = lines.find_map(|line| line.strip_prefix(key));
        line.map(str::trim)
    };
    let events = value("events:").context("no line `events:`")?;
    ensure!(
        events == "Ir",
        "counted are `{events}`, not instructions alone"
    );
    let total = value("totals:").context("no line `totals:`: callgrind was interrupted")?;
    total
        .parse()
        .with_context(|| format!("`{total}` is no count"))
}

fn per_operation(total: u64, operations: u64) -> Result<u64> {
    ensure!(
        total != 0,
        "nothing was counted: {REGION} names no function"
    );
    ensure!(operations != 0, "no operation was measured");
    Ok((total + operations / 2) / operations)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "version: 1\npositions: line\nevents: Ir\nsummary: 9344\n\n\
                        fn=(1) weapon_counts::region::measured\n16 4\ncalls=1 0\n\ntotals: 9344\n";

    #[test]
    fn the_total_is_read() {
        assert_eq!(total(TEXT).unwrap(), 9344);
    }

    #[test]
    fn what_is_not_a_count_of_instructions_is_refused() {
        let cut = TEXT.split("totals").next().unwrap();
        assert!(total(cut).is_err(), "the end is missing");
        let other = TEXT.replace("events: Ir", "events: Ir Dr Dw");
        assert!(total(&other).is_err(), "other events");
        let wrong = TEXT.replace("totals: 9344", "totals: many");
        assert!(total(&wrong).is_err(), "no number");
        assert!(total("").is_err());
    }

    #[test]
    fn operations_share_the_total() {
        assert_eq!(per_operation(9344, 64).unwrap(), 146);
        assert_eq!(per_operation(149, 100).unwrap(), 1);
        assert_eq!(per_operation(150, 100).unwrap(), 2);
    }

    #[test]
    fn a_region_that_was_not_found_is_an_error() {
        assert!(per_operation(0, 64).is_err());
        assert!(per_operation(9344, 0).is_err());
    }
}
