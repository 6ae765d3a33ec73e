//! OpenVPN in user space: point to point over TLS, each end knowing the other's certificate.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::log_of;
use crate::lab::{Lab, OVERLAY_MTU, Process, Side, output, run};

/// The port that the project registered.
const PORT: &str = "1194";
/// What both ends insist on: the default, and on processors with AES instructions the fastest.
pub(super) const CIPHER: &str = "AES-256-GCM";

/// Starts both ends.
pub(super) fn start(lab: &Lab) -> Result<Vec<Process>> {
    let certificates = [
        Certificate::new(lab, Side::A)?,
        Certificate::new(lab, Side::B)?,
    ];
    let [a, b] = &certificates;
    Ok(vec![
        start_end(lab, Side::A, a, &b.fingerprint)?,
        start_end(lab, Side::B, b, &a.fingerprint)?,
    ])
}

fn start_end(lab: &Lab, side: Side, own: &Certificate, peer: &str) -> Result<Process> {
    let other = side.other();
    let mut command = lab.command(side, "openvpn");
    command
        .args([
            "--dev-type",
            "tun",
            "--dev",
            &format!("ovpn-{}", side.letter()),
        ])
        .args(["--proto", "udp4", "--local", side.underlay()])
        .args(["--remote", other.underlay(), "--port", PORT])
        .args(["--ifconfig", side.overlay(), other.overlay()])
        .arg("--ifconfig-ipv6")
        .args([&format!("{}/64", side.overlay_ipv6()), other.overlay_ipv6()])
        .args(["--tun-mtu", &OVERLAY_MTU.to_string(), "--mssfix", "0"])
        .args(["--data-ciphers", CIPHER])
        .args(["--disable-dco", "--fast-io", "--txqueuelen", "1000"])
        .args(["--peer-fingerprint", peer])
        .arg("--cert")
        .arg(&own.certificate)
        .arg("--key")
        .arg(&own.key)
        .args(["--verb", "1"]);
    match side {
        Side::A => command.arg("--tls-client"),
        Side::B => command.args(["--tls-server", "--dh", "none"]),
    };
    let log = log_of(lab, side)?;
    lab.start(command.stdout(log.try_clone()?).stderr(log))
}

/// Who an end is.
struct Certificate {
    key: PathBuf,
    certificate: PathBuf,
    fingerprint: String,
}

impl Certificate {
    fn new(lab: &Lab, side: Side) -> Result<Self> {
        let path = |end: &str| {
            lab.folder()
                .join(format!("openvpn-{}.{end}", side.letter()))
        };
        let (key, certificate) = (path("key"), path("crt"));
        run(Command::new("openssl")
            .args(["req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"])
            .args(["-pkeyopt", "ec_paramgen_curve:prime256v1"])
            .args(["-subj", &format!("/CN=bench-{}", side.letter()), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate))?;
        let text = output(
            Command::new("openssl")
                .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
                .arg(&certificate),
        )?;
        Ok(Self {
            key,
            certificate,
            fingerprint: fingerprint(&text).context("openssl printed no fingerprint")?,
        })
    }
}

/// What stands after the equals sign.
fn fingerprint(text: &str) -> Option<String> {
    let (_, hex) = text.trim().split_once("Fingerprint=")?;
    Some(hex.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_what_follows_the_equals_sign() {
        let text = "sha256 Fingerprint=AB:CD:01\n";
        assert_eq!(fingerprint(text).as_deref(), Some("AB:CD:01"));
        assert_eq!(fingerprint("unable to load certificate"), None);
    }
}
