//! `weapon`: a userspace WireGuard gateway for Linux.

// A binary exports nothing: `pub` says here that the rest of the program may use it.
#![allow(unreachable_pub)]

// What a person types, and the file it names.
mod cli;
mod config;

// `weapon up`: from a good configuration to a running gateway.
mod claim;
mod daemon;
mod interface;
mod places;
mod resolver;
mod timestamp_file;
mod up;

// How a running gateway is asked.
mod api;
mod down;
mod report;
mod status;

// `weapon demo`.
mod demo;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
