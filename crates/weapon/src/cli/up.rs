//! Arguments of `weapon up`.

use std::time::Duration;

use super::{LogArgs, reload::time};

/// Arguments of `weapon up`.
#[derive(clap::Args, Debug)]
pub struct UpArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
    /// Stay in the foreground and log to standard error
    #[arg(long, short)]
    pub foreground: bool,
    /// Stop after this time unless `weapon confirm` follows, such as 60s or 5m
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub confirm: Option<Duration>,
    /// How much is logged.
    #[command(flatten)]
    pub log: LogArgs,
}
