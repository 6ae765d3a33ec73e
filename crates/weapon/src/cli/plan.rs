//! Arguments of `weapon plan`.

/// Arguments of `weapon plan`.
#[derive(clap::Args, Debug)]
pub struct PlanArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
