//! Arguments of `weapon down`.

/// Arguments of `weapon down`.
#[derive(clap::Args, Debug)]
pub struct DownArgs {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE")]
    pub target: String,
}
