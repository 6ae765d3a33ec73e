//! Arguments of `weapon status`.

/// Arguments of `weapon status`.
#[derive(clap::Args, Debug)]
pub struct StatusArgs {
    /// The gateway's NAME, or the path of its FILE; all that run if left out
    #[arg(value_name = "NAME|FILE")]
    pub target: Option<String>,
    /// Show what is set on the system, and whether it is there: addresses, routes, rules
    #[arg(long)]
    pub system: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
