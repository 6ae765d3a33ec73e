//! Arguments of `weapon doctor`.

/// Arguments of `weapon doctor`.
#[derive(clap::Args, Debug)]
pub struct DoctorArgs {
    /// The gateway's NAME, or the path of its FILE; all that run if left out
    #[arg(value_name = "NAME|FILE")]
    pub target: Option<String>,
    /// Print one JSON object for each gateway: gateway, ok, checks
    #[arg(long)]
    pub json: bool,
}
