//! Prints what chaos does to the gateway. `cargo xtask chaos` builds and calls it.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use weapon_netns::chaos::{self, Form, SCENARIOS};
use weapon_netns::{markdown, ready};

/// Cut links, kill processes, flood ports, and see whether the gateway bears it
#[derive(Debug, Parser)]
#[command(name = "cargo xtask chaos", version)]
struct Options {
    /// Seconds instead of minutes each
    #[arg(long)]
    short: bool,
    /// A Markdown file whose generated part is replaced
    #[arg(long)]
    markdown: Option<PathBuf>,
    /// Names such as C05 [default: all]
    names: Vec<String>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !ready(&["prlimit"]) {
        return ExitCode::FAILURE;
    }
    let form = if options.short {
        Form::Short
    } else {
        Form::Full
    };
    let wanted = |name: &str| options.names.is_empty() || options.names.iter().any(|it| it == name);
    let mut results = Vec::new();
    for scenario in SCENARIOS.into_iter().filter(|it| wanted(it.name)) {
        let checks = scenario.run(form);
        for check in &checks {
            eprintln!("{}: {check}", scenario.name);
        }
        results.push((scenario, checks));
    }
    let text = chaos::markdown(&results);
    println!("{text}");
    if let Some(path) = options.markdown
        && let Err(error) = markdown::replace(&path, &text)
    {
        eprintln!("chaos: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    let checks = results.iter().flat_map(|(_, checks)| checks);
    match checks.filter(|check| check.has_failed()).count() {
        0 => ExitCode::SUCCESS,
        failed => {
            eprintln!("chaos: {failed} numbers were not kept");
            ExitCode::FAILURE
        }
    }
}
