//! The command line: one file per group of subcommands.

mod audit;
mod capture;
mod check;
mod doctor;
mod down;
mod flows;
mod keys;
mod log;
mod manual;
mod plan;
mod reload;
mod status;
mod terminal;
mod up;
mod why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::BadConfig;
use crate::demo;

pub use audit::{AuditCommand, InitArgs, LogTarget, ShowArgs, Since, VerifyArgs};
pub use capture::CaptureArgs;
pub use doctor::DoctorArgs;
pub use down::DownArgs;
pub use flows::FlowsArgs;
pub use log::{LogArgs, start_log, start_log_of};
pub use plan::PlanArgs;
pub use reload::{ConfirmArgs, ReloadArgs};
pub use status::StatusArgs;
pub use terminal::{
    paint, print, print_error, print_problem, stderr_colour, stdout_colour, stdout_width,
};
pub use up::UpArgs;
pub use why::{Asked, WhyArgs};

/// Exit code when what was asked for could not be done.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of bad usage and bad configuration; clap's own too.
pub const EXIT_BAD_CONFIG: u8 = 2;

/// A userspace WireGuard gateway: links private networks over networks that nobody trusts
#[derive(Parser, Debug)]
#[command(
    name = "weapon",
    version,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 bad usage or bad configuration.\n\
    A gateway is a NAME, whose file is /etc/weapon/NAME.toml or NAME.conf, or the path of a FILE."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Print a new private key
    Genkey,
    /// Print the public key of the private key on standard input
    Pubkey,
    /// Print a new preshared key, or a secret shared by all gateways
    Genpsk,
    /// Say what is wrong with configuration files, and change nothing
    Check(check::CheckArgs),
    /// Show what `up` would set on the system: addresses, routes, rules; changes nothing
    Plan(PlanArgs),
    /// Start a gateway
    Up(UpArgs),
    /// Stop a gateway
    Down(DownArgs),
    /// Make a running gateway what its file says now; peers that stay keep their sessions
    Reload(ReloadArgs),
    /// Keep what `reload --confirm` or `up --confirm` has done
    Confirm(ConfirmArgs),
    /// Show the gateways that run
    Status(StatusArgs),
    /// Show the packets that pass, decrypted, to Wireshark, tcpdump or a file
    Capture(CaptureArgs),
    /// Show what passes through a gateway at this moment, and what its rules have decided
    Flows(FlowsArgs),
    /// Say what would become of a packet, and which rule, route or line decides
    Why(WhyArgs),
    /// Look at the whole chain, from privileges to routes, and say what is wrong and what to do
    Doctor(DoctorArgs),
    /// Read and verify the audit log of a gateway
    Audit(audit::AuditArgs),
    /// Link two private networks in namespaces of their own, and show that it works
    Demo(demo::DemoArgs),
    /// Write manual pages and completions, for who packages the program
    #[command(hide = true)]
    Manual(manual::ManualArgs),
}

/// Runs what the command line asks for.
pub fn run() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Genkey => keys::genkey(),
        Command::Pubkey => keys::pubkey(),
        Command::Genpsk => keys::genpsk(),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => crate::plan::run(&args),
        Command::Up(args) => crate::up::run(args),
        Command::Down(args) => crate::down::run(args),
        Command::Reload(args) => crate::reload::run(&args),
        Command::Confirm(args) => crate::reload::confirm(&args),
        Command::Status(args) => crate::status::run(args),
        Command::Capture(args) => crate::capture::run(&args),
        Command::Flows(args) => crate::flows::run(&args),
        Command::Why(args) => crate::why::run(&args),
        Command::Doctor(args) => crate::doctor::run(&args),
        Command::Audit(args) => crate::audit::run(&args.command),
        Command::Demo(args) => demo::run(args),
        Command::Manual(args) => manual::run(&args),
    };
    result.unwrap_or_else(|error| report(&error))
}

/// Prints the error to standard error; its exit code.
fn report(error: &anyhow::Error) -> ExitCode {
    let bad_config = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<BadConfig>());
    if let Some(BadConfig(problems)) = bad_config {
        problems.iter().for_each(print_problem);
        return ExitCode::from(EXIT_BAD_CONFIG);
    }
    print_error(&format!("weapon: {error:#}"));
    ExitCode::from(EXIT_FAILED)
}
