//! `weapon`: a userspace WireGuard gateway for Linux.

use std::process::ExitCode;

fn main() -> ExitCode {
    weapon::weapon()
}
