//! `weapon`: a userspace WireGuard gateway for Linux.

// A binary exports nothing: `pub` says here that the rest of the program may use it.
#![allow(unreachable_pub)]

mod api;
mod cli;
mod config;
mod daemon;
mod demo;
mod down;
mod status;
mod up;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
