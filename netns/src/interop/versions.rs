//! Which versions took part.

use std::process::Command;

use crate::gateway::Kind;
use crate::machine;
use crate::weapon::binary;

/// The version of a peer, as it says itself.
pub(super) fn of(kind: Kind) -> String {
    if kind.lacking().is_some() {
        return "not available".to_owned();
    }
    match kind {
        Kind::Weapon => said(&binary().display().to_string()),
        Kind::WireguardGo => package("wireguard-go").unwrap_or_else(|| said("wireguard-go")),
        Kind::Boringtun => said("boringtun-cli"),
        Kind::Gotatun => said("gotatun"),
        Kind::Kernel => {
            let version = machine::kernel_version().unwrap_or_default();
            format!("Linux {version} (Debian), in qemu")
        }
    }
}

fn said(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    let first = text.lines().next().unwrap_or("unknown");
    first.to_owned()
}

/// Debian's package of a program.
fn package(name: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let output = query.args(["-W", "-f", "${Version}", name]).output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    (!version.is_empty()).then(|| format!("{name} {version} (Debian)"))
}
