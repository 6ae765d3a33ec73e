//! Debian's wireguard-go, set up by `wg` and `ip` as its manual says.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use super::{wait_for_file, write_secret};
use crate::lab::{Lab, OVERLAY_MTU, Process, Side, output, run};

/// Starts both ends.
pub(super) fn start(lab: &Lab) -> Result<Vec<Process>> {
    let keys = [key_pair(lab, Side::A)?, key_pair(lab, Side::B)?];
    let mut processes = Vec::new();
    for (side, (private, _), (_, public)) in
        [(Side::A, &keys[0], &keys[1]), (Side::B, &keys[1], &keys[0])]
    {
        let name = interface(side);
        let mut command = lab.command(side, "wireguard-go");
        command.args(["-f", &name]).env("LOG_LEVEL", "error");
        // It prints a banner that advertises the kernel's own WireGuard.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = lab.start(&mut command)?;
        let socket = PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
        wait_for_file(&socket, &mut process).context("wireguard-go")?;
        processes.push(process);

        let file = lab
            .folder()
            .join(format!("wireguard-{}.conf", side.letter()));
        write_secret(&file, &configuration(side, private, public))?;
        run(lab.command(side, "wg").arg("setconf").arg(&name).arg(&file))?;
        let address = format!("{}/24", side.overlay());
        lab.ip(side, &["addr", "add", &address, "dev", &name])?;
        lab.ip(
            side,
            &["link", "set", &name, "mtu", &OVERLAY_MTU.to_string(), "up"],
        )?;
    }
    Ok(processes)
}

/// Its control sockets share one folder, so the name must be ours alone: at most 15 letters.
fn interface(side: Side) -> String {
    format!("wgb{}{}", std::process::id(), side.letter())
}

fn configuration(side: Side, private_key: &str, public_key: &str) -> String {
    let other = side.other();
    format!(
        "[Interface]\nPrivateKey = {private_key}\nListenPort = 51820\n\n\
         [Peer]\nPublicKey = {public_key}\nEndpoint = {}:51820\nAllowedIPs = {}/32\n",
        other.underlay(),
        other.overlay(),
    )
}

fn key_pair(lab: &Lab, side: Side) -> Result<(String, String)> {
    let private = output(Command::new("wg").arg("genkey"))?;
    let file = lab
        .folder()
        .join(format!("wireguard-{}.key", side.letter()));
    write_secret(&file, &private)?;
    let mut command = Command::new("wg");
    let public = command
        .arg("pubkey")
        .stdin(std::fs::File::open(&file)?)
        .output()?;
    Ok((
        private.trim().to_owned(),
        String::from_utf8(public.stdout)?.trim().to_owned(),
    ))
}
