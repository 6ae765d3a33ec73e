//! Prints the matrix of interoperability. `cargo xtask interop` fetches what it needs and calls it.
#![allow(clippy::print_stdout, reason = "the table is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use weapon_netns::interop::{Selection, run};
use weapon_netns::{markdown, ready};

/// Try the gateway with the WireGuard of others
#[derive(Debug, Parser)]
#[command(name = "cargo xtask interop", version)]
struct Options {
    /// Whom with: weapon, wireguard-go, boringtun, gotatun, kernel [default: all]
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Rows whose name contains this; may be given again [default: all]
    #[arg(long = "row")]
    rows: Vec<String>,
    /// A Markdown file whose generated part is replaced
    #[arg(long)]
    markdown: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if !ready(&["wg"]) {
        return ExitCode::FAILURE;
    }
    let selection = Selection {
        peers: options.peers,
        rows: options.rows,
    };
    let table = run(&selection, &|line| eprintln!("{line}"));
    let text = table.markdown();
    println!("{text}");
    if let Some(path) = options.markdown
        && let Err(error) = markdown::replace(&path, &text)
    {
        eprintln!("interop: {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    match table.failed() {
        0 => ExitCode::SUCCESS,
        failed => {
            eprintln!("interop: {failed} cells failed");
            ExitCode::FAILURE
        }
    }
}
