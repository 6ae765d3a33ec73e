//! `weapon-null`: our own data path with an empty cipher.

use std::path::Path;

use anyhow::Result;

use super::end::{End, PORT};
use super::{log_of, write_secret};
use crate::lab::{Lab, OVERLAY_MTU, Process};

/// Starts one end, which has one peer.
pub(super) fn start(lab: &Lab, program: &Path, end: &End) -> Result<Process> {
    let key = lab.folder().join(format!("null-{}.key", end.side.letter()));
    write_secret(&key, &end.private_key.to_base64())?;
    let mut command = lab.command(end.side, program);
    command
        .args(["--interface", &format!("wnull-{}", end.side.letter())])
        .args(["--mtu", &OVERLAY_MTU.to_string()])
        .args(["--listen", &PORT.to_string()])
        .arg("--private-key-file")
        .arg(&key);
    for address in end.addresses() {
        command.args(["--address", &address]);
    }
    for peer in &end.peers {
        command.args(["--peer", &peer.public_key.to_string()]);
        if let Some(endpoint) = &peer.endpoint {
            command.args(["--endpoint", endpoint]);
        }
        for network in &peer.networks {
            command.args(["--network", network]);
        }
    }
    let log = log_of(lab, end.side)?;
    lab.start(command.stdout(log.try_clone()?).stderr(log))
}
