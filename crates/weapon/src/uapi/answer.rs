//! What is answered over WireGuard's configuration protocol (U20, U22, U23).

use std::fmt::Write as _;

use rustix::io::Errno;
use weapon_core::{GatewayDump, PeerDump};
use zeroize::Zeroizing;

/// Bytes that an answer has room for at once, for each of these: growing leaves secrets behind.
const DEVICE_BYTES: usize = 256;
const PEER_BYTES: usize = 512;
const NETWORK_BYTES: usize = 64;

/// An answer. It may hold secrets, and is erased when it is sent.
pub type Text = Zeroizing<String>;

/// The answer to a `get`.
pub fn state(dump: &GatewayDump, listen_port: u16, fwmark: u32) -> Text {
    let networks: usize = dump
        .peers
        .iter()
        .map(|peer| peer.status.networks.len())
        .sum();
    let bytes = networks
        .saturating_mul(NETWORK_BYTES)
        .saturating_add(dump.peers.len().saturating_mul(PEER_BYTES))
        .saturating_add(DEVICE_BYTES);
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    if let Some(key) = &dump.private_key {
        hex_line(&mut text, "private_key", key.expose());
    }
    if listen_port != 0 {
        line(&mut text, "listen_port", listen_port);
    }
    if fwmark != 0 {
        line(&mut text, "fwmark", fwmark);
    }
    for peer in &dump.peers {
        peer_state(&mut text, peer);
    }
    debug_assert!(text.len() <= bytes, "the answer was moved, secrets and all");
    text.push_str("errno=0\n\n");
    text
}

fn peer_state(text: &mut String, peer: &PeerDump) {
    let status = &peer.status;
    hex_line(text, "public_key", status.public_key.as_bytes());
    let no_key = [0; 32];
    let preshared_key = peer.preshared_key.as_ref();
    let preshared_key = preshared_key.map_or(&no_key, |key| key.expose());
    hex_line(text, "preshared_key", preshared_key);
    line(text, "protocol_version", 1);
    if let Some(endpoint) = status.endpoint {
        line(text, "endpoint", endpoint);
    }
    let handshake = status.last_handshake.unwrap_or_default();
    line(text, "last_handshake_time_sec", handshake.seconds);
    line(text, "last_handshake_time_nsec", handshake.nanos);
    line(text, "tx_bytes", status.sent_bytes);
    line(text, "rx_bytes", status.received_bytes);
    let keepalive = status.persistent_keepalive.unwrap_or_default();
    line(text, "persistent_keepalive_interval", keepalive.as_secs());
    for network in &status.networks {
        line(text, "allowed_ip", network);
    }
}

/// The answer to a `set`: 0, or a negative error number, of which `wg` prints the meaning.
pub fn set(done: Result<(), Errno>) -> Text {
    let errno = done
        .err()
        .map_or(0, |errno| errno.raw_os_error().saturating_neg());
    Zeroizing::new(format!("errno={errno}\n\n"))
}

/// The answer to what is neither `get` nor `set`, or a `get` that failed, of which `wg` wants the
/// number to be positive.
pub fn failed(errno: Errno) -> Text {
    Zeroizing::new(format!("errno={}\n\n", errno.raw_os_error()))
}

fn line(text: &mut String, key: &str, value: impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{key}={value}");
}

fn hex_line(text: &mut String, key: &str, bytes: &[u8; 32]) {
    text.push_str(key);
    text.push('=');
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
}
