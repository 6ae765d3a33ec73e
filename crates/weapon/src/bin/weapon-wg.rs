//! `weapon-wg`: a drop-in for `wireguard-go`.

use std::process::ExitCode;

fn main() -> ExitCode {
    weapon::weapon_wg()
}
