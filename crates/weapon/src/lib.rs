//! The programs `weapon`, a userspace WireGuard gateway for Linux, and `weapon-wg`, which stands in
//! for `wireguard-go`.

// All but the two programs is private: `pub` says here that the rest of them may use it.
#![allow(unreachable_pub)]

// What a person types, and the file it names.
mod cli;
mod config;

// `weapon up`: from a good configuration to a running gateway.
mod claim;
mod confined;
mod daemon;
mod detach;
mod difference;
mod interface;
mod key_log;
mod left_out;
mod lock;
mod marked;
mod notify;
mod places;
mod port;
mod privileges;
mod reload;
mod resolver;
mod signals;
mod site;
mod system;
mod timestamp_file;
mod up;
mod watch;

// `weapon-wg`.
mod drop_in;

// What happened, for who asks later.
mod audit;

// How a running gateway is asked.
mod api;
mod capture;
mod doctor;
mod down;
mod drops;
mod flows;
mod http;
mod metrics;
mod parameters;
mod plan;
mod rates;
mod report;
mod screen;
mod status;
mod uapi;
mod warnings;
mod why;

// `weapon demo`.
mod demo;

// What the fuzzer calls.
#[doc(hidden)]
pub mod readers;

use std::process::ExitCode;

/// The program `weapon`.
pub fn weapon() -> ExitCode {
    match confined::is_gateway() {
        true => confined::main(),
        false => cli::run(),
    }
}

/// The program `weapon-wg`.
pub fn weapon_wg() -> ExitCode {
    match confined::is_gateway() {
        true => confined::main(),
        false => drop_in::main(),
    }
}
