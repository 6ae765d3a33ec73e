//! `cargo xtask soak`: ten peers under constant change, for an hour or as long as is wanted.

use anyhow::Result;

use crate::shell::Step;

/// For how long.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Options {
    /// Minutes
    #[arg(long, default_value_t = 60)]
    minutes: u64,
}

/// Builds the program, and runs the test `soak` for that long.
pub(crate) fn run(options: Options) -> Result<()> {
    Step::new("cargo build --locked --package weapon").run()?;
    Step::new("cargo test --locked --package weapon-netns --test soak -- --nocapture")
        .env("WEAPON_SOAK_SECONDS", (options.minutes * 60).to_string())
        .run()
}
