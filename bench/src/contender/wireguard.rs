//! Other userspace implementations of WireGuard: each is a daemon that makes the interface and is
//! told the rest by `wg` and `ip`, as its manual says.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};

use super::end::{End, PORT};
use super::{log_of, wait_for_socket, write_secret};
use crate::lab::{Lab, OVERLAY_MTU, Process, Side, run};

/// How such a daemon is started; the name of the interface follows the arguments.
#[derive(Debug)]
pub(super) struct Daemon {
    pub(super) program: &'static str,
    pub(super) arguments: Vec<String>,
}

impl Daemon {
    /// `wireguard-go`: it has nothing to set, and uses all processors.
    pub(super) fn wireguard_go() -> Self {
        Self {
            program: "wireguard-go",
            arguments: vec!["-f".to_owned()],
        }
    }

    /// `boringtun-cli`: as many threads as there are processors, one queue of the device each.
    pub(super) fn boringtun() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let arguments = ["-f", "--disable-drop-privileges", "--threads"];
        Self {
            program: "boringtun-cli",
            arguments: [
                arguments.map(str::to_owned).as_slice(),
                &[threads.to_string()],
            ]
            .concat(),
        }
    }

    /// `boringtun-cli` for many peers behind one address. By default it connects a socket of its
    /// own to each peer's address and port, and one of them would take the messages of all.
    pub(super) fn boringtun_of_many() -> Self {
        let mut daemon = Self::boringtun();
        daemon.arguments.push("--disable-connected-udp".to_owned());
        daemon
    }

    /// `gotatun`: it has nothing to set, and uses all processors.
    pub(super) fn gotatun() -> Self {
        let arguments = ["-f", "--disable-drop-privileges", "--verbosity", "error"];
        Self {
            program: "gotatun",
            arguments: arguments.map(str::to_owned).to_vec(),
        }
    }

    /// Starts one end.
    pub(super) fn start(&self, lab: &Lab, end: &End) -> Result<Process> {
        let side = end.side;
        let name = interface(side);
        let mut command = lab.command(side, self.program);
        command.args(&self.arguments).arg(&name);
        // Each has its own word for how much it says; gotatun's stands among its arguments.
        command
            .env("LOG_LEVEL", "error")
            .env("WG_LOG_LEVEL", "error");
        command.stdout(Stdio::null()).stderr(log_of(lab, side)?);
        let socket = PathBuf::from(format!("/var/run/wireguard/{name}.sock"));
        lab.remove_at_the_end(socket.clone());
        let mut process = lab.start(&mut command)?;
        wait_for_socket(&socket, &mut process).context(self.program)?;

        let file = lab
            .folder()
            .join(format!("wireguard-{}.conf", side.letter()));
        write_secret(&file, &configuration(end))?;
        run(lab.command(side, "wg").arg("setconf").arg(&name).arg(&file))?;
        for address in end.addresses() {
            lab.ip(side, &["addr", "add", &address, "dev", &name])?;
        }
        let mtu = OVERLAY_MTU.to_string();
        lab.ip(side, &["link", "set", &name, "mtu", &mtu, "up"])?;
        Ok(process)
    }
}

/// Their control sockets share one folder, so the name must be ours alone: at most 15 letters.
fn interface(side: Side) -> String {
    format!("wgb{}{}", std::process::id(), side.letter())
}

fn configuration(end: &End) -> String {
    let private_key = end.private_key.to_base64();
    let mut text = format!(
        "[Interface]\nPrivateKey = {}\nListenPort = {PORT}\n",
        private_key.as_str()
    );
    for peer in &end.peers {
        let _infallible = write!(
            text,
            "\n[Peer]\nPublicKey = {}\nAllowedIPs = {}\n",
            peer.public_key,
            peer.networks.join(", "),
        );
        if let Some(endpoint) = &peer.endpoint {
            let _infallible = writeln!(text, "Endpoint = {endpoint}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_other_end() {
        let [other, end] = End::pair().unwrap();
        let text = configuration(&end);
        assert!(text.contains("AllowedIPs = 10.99.0.1/32, fd00:99::1/128\n"));
        assert!(text.contains("Endpoint = 192.0.2.1:51820\n"));
        assert!(text.contains(&format!("PublicKey = {}\n", other.private_key.public())));
    }
}
