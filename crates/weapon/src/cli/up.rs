//! Arguments of `weapon up`.

use super::LogArgs;

/// Arguments of `weapon up`.
#[derive(clap::Args, Debug)]
pub struct UpArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
    /// Stay in the foreground and log to standard error
    #[arg(long, short)]
    pub foreground: bool,
    /// How much is logged.
    #[command(flatten)]
    pub log: LogArgs,
}
