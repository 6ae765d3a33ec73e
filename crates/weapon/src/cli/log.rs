//! How much is logged, and where to.

use std::io;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

use super::terminal;

/// How much is logged.
#[derive(clap::Args, Debug, Clone, Copy)]
pub struct LogArgs {
    /// How much is logged
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "info",
        env = "WEAPON_LOG_LEVEL"
    )]
    pub log_level: LogLevel,
    /// Log more; twice for everything
    #[arg(long, short, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// A level of the log.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing
    Off,
    /// What failed
    Error,
    /// What an operator might be woken for
    Warn,
    /// Sessions and configuration that change
    Info,
    /// Handshakes and timers
    Debug,
    /// Every packet
    Trace,
}

impl LogArgs {
    /// The same, as arguments for another process.
    pub fn arguments(self) -> Vec<String> {
        let name = self.log_level.to_possible_value();
        let level = name.map_or_else(String::new, |value| value.get_name().to_owned());
        let verbose = std::iter::repeat_n("--verbose".to_owned(), self.verbose.into());
        ["--log-level".to_owned(), level]
            .into_iter()
            .chain(verbose)
            .collect()
    }

    /// The level: `--log-level`, or what `-v` and `-vv` ask for if that is more.
    pub fn level(self) -> LevelFilter {
        let verbose = match self.verbose {
            0 => LogLevel::Off,
            1 => LogLevel::Debug,
            _ => LogLevel::Trace,
        };
        match self.log_level.max(verbose) {
            LogLevel::Off => LevelFilter::OFF,
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Trace => LevelFilter::TRACE,
        }
    }

    /// Sends the log of this process to standard error from here on. A second call does nothing.
    pub fn start(self) {
        start_log(self.level());
    }
}

/// Sends what is at least of `level` to standard error from here on, and of libraries nothing that
/// is less than a warning. A second call does nothing.
pub fn start_log(level: LevelFilter) {
    start_log_of(level, terminal::stderr_colour());
}

/// As [`start_log`], in colours or not.
pub fn start_log_of(level: LevelFilter, colour: bool) {
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("weapon", level);
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .finish()
        .with(ours)
        .try_init();
}
