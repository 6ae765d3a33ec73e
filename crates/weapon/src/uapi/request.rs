//! What is asked over WireGuard's configuration protocol: the text of a request, read whole and
//! judged whole, so that nothing is ever half applied (U19 to U28).
//!
//! A request is lines of `key=value`, the first `get=1` or `set=1`, the last empty. See
//! "Cross-platform Userspace Implementation" on wireguard.com.

use std::{
    net::{IpAddr, SocketAddr, SocketAddrV6},
    time::Duration,
};

use ipnet::IpNet;
use rustix::io::Errno;
use weapon_core::{GatewayChange, NetworkChange, PeerChange};
use weapon_noise::{PresharedKey, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// Bytes of a key, and its digits.
const KEY_LEN: usize = 32;
const KEY_DIGITS: usize = 64;

/// What is asked.
#[derive(Debug)]
pub enum Request {
    /// The configuration and state of everything.
    Get,
    /// A change.
    Set(Box<SetRequest>),
}

/// What is to be another.
#[derive(Debug, Default)]
pub struct SetRequest {
    /// The UDP port; 0 for any.
    pub listen_port: Option<u16>,
    /// The mark of what is sent; 0 for none.
    pub fwmark: Option<u32>,
    /// Key and peers.
    pub change: GatewayChange,
}

/// Why a request is not one. Never repeats a value, which may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadRequest {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it, and what would be right.
    pub what: String,
    /// The error number that is answered.
    pub errno: Errno,
}

/// What is wrong with one line.
struct Fault {
    what: String,
    errno: Errno,
}

impl Fault {
    fn invalid(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            errno: Errno::INVAL,
        }
    }

    /// `value` itself is not told.
    fn value(key: &str, wanted: &str) -> Self {
        Self::invalid(format!("{key} needs {wanted}"))
    }

    fn protocol(what: &str) -> Self {
        Self {
            what: what.into(),
            errno: Errno::PROTO,
        }
    }
}

impl Request {
    /// Reads a request, of which `text` is all but the empty line at its end.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, BadRequest> {
        let mut lines = (1..).zip(text.split(|&byte| byte == b'\n'));
        let at = |line: usize| move |Fault { what, errno }: Fault| BadRequest { line, what, errno };
        let (_, first) = lines.next().unwrap_or((1, &[]));
        let is_set = match split(first).map_err(at(1))? {
            ("get", "1") => false,
            ("set", "1") => true,
            _ => {
                let fault = Fault::protocol("a request begins with get=1 or set=1");
                return Err(at(1)(fault));
            }
        };
        let mut set = SetRequest::default();
        for (number, line) in lines {
            // The last line's end.
            if line.is_empty() {
                continue;
            }
            if !is_set {
                let fault = Fault::invalid("nothing more comes after get=1");
                return Err(at(number)(fault));
            }
            let (key, value) = split(line).map_err(at(number))?;
            set.line(key, value).map_err(at(number))?;
        }
        Ok(if is_set {
            Self::Set(Box::new(set))
        } else {
            Self::Get
        })
    }
}

/// `key` and `value` of a line.
fn split(line: &[u8]) -> Result<(&str, &str), Fault> {
    let line = str::from_utf8(line).map_err(|_| Fault::protocol("not a text"))?;
    line.split_once('=')
        .ok_or_else(|| Fault::protocol("a line is key=value"))
}

impl SetRequest {
    fn line(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        if key == "public_key" {
            let key = PublicKey::from_bytes(*hex(key, value)?);
            self.change.peers.push(PeerChange::of(key));
            return Ok(());
        }
        match self.change.peers.last_mut() {
            Some(peer) => peer_line(peer, key, value),
            None => self.device_line(key, value),
        }
    }

    fn device_line(&mut self, key: &str, value: &str) -> Result<(), Fault> {
        match key {
            "private_key" => {
                let bytes = hex(key, value)?;
                let is_some = *bytes != [0; KEY_LEN];
                self.change.private_key = Some(is_some.then(|| PrivateKey::from_bytes(&bytes)));
            }
            "listen_port" => self.listen_port = Some(number(key, value, "a port, 0 to 65535")?),
            "fwmark" => self.fwmark = Some(number(key, value, "a mark, 0 to 4294967295")?),
            "replace_peers" => self.change.replace_peers = only_true(key, value)?,
            _ => return Err(unknown(key, "the device")),
        }
        Ok(())
    }
}

fn peer_line(peer: &mut PeerChange, key: &str, value: &str) -> Result<(), Fault> {
    match key {
        "remove" => peer.remove = only_true(key, value)?,
        "update_only" => peer.update_only = only_true(key, value)?,
        "preshared_key" => {
            let secret = PresharedKey::from_bytes(&*hex(key, value)?);
            peer.preshared_key = Some(Some(secret).filter(|key| !key.is_none()));
        }
        "endpoint" => peer.endpoint = Some(endpoint(value)?),
        "persistent_keepalive_interval" => {
            let seconds: u16 = number(key, value, "seconds, 0 to 65535")?;
            let interval = Duration::from_secs(seconds.into());
            peer.persistent_keepalive = Some(Some(interval).filter(|it| !it.is_zero()));
        }
        "replace_allowed_ips" => {
            peer.replace_networks = only_true(key, value)?;
            // Those of the lines above are of the old ones.
            peer.networks.clear();
        }
        "allowed_ip" => peer.networks.push(network(value)?),
        "protocol_version" if value == "1" => {}
        "protocol_version" => return Err(Fault::value(key, "1: there is no other")),
        _ => return Err(unknown(key, "a peer")),
    }
    Ok(())
}

fn unknown(key: &str, of: &str) -> Fault {
    // What comes from a program that is not `wg` may be anything.
    let key: String = key.chars().take(40).collect();
    Fault::invalid(format!(
        "{of} has no {:?}",
        key.escape_default().to_string()
    ))
}

/// Exactly 64 hex digits, which may be a secret.
fn hex(key: &str, value: &str) -> Result<Zeroizing<[u8; KEY_LEN]>, Fault> {
    let wrong = || Fault::value(key, "64 hex digits");
    if value.len() != KEY_DIGITS {
        return Err(wrong());
    }
    let mut bytes = Zeroizing::new([0; KEY_LEN]);
    for (byte, digits) in bytes.iter_mut().zip(value.as_bytes().chunks_exact(2)) {
        for &digit in digits {
            let digit = char::from(digit).to_digit(16).ok_or_else(wrong)?;
            *byte = (*byte << 4) | u8::try_from(digit).map_err(|_| wrong())?;
        }
    }
    Ok(bytes)
}

/// Decimal digits alone: no sign, no spaces.
fn number<T: std::str::FromStr>(key: &str, value: &str, wanted: &str) -> Result<T, Fault> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = value.parse().ok().filter(|_| digits);
    parsed.ok_or_else(|| Fault::value(key, wanted))
}

fn only_true(key: &str, value: &str) -> Result<bool, Fault> {
    match value {
        "true" => Ok(true),
        _ => Err(Fault::value(key, "true: there is no other value")),
    }
}

/// `192.0.2.1:5`, `[2001:db8::1]:5`, `[fe80::1%3]:5`; and `[fe80::1%eth0]:5`, as `wg` writes it.
fn endpoint(value: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = value.parse() {
        return Ok(address);
    }
    let scoped = || {
        let (inside, port) = value.strip_prefix('[')?.split_once("]:")?;
        let (address, interface) = inside.split_once('%')?;
        let scope = weapon_io::tun::link::index_of(interface)?;
        let port = port.parse().ok()?;
        Some(SocketAddrV6::new(address.parse().ok()?, port, 0, scope).into())
    };
    scoped().ok_or_else(|| Fault::value("endpoint", "an address and a port, like 192.0.2.1:51820"))
}

/// `192.0.2.0/24`, or a lone address; host bits are cut off (U28). A minus takes the network away.
fn network(value: &str) -> Result<NetworkChange, Fault> {
    let (text, is_taken) = match value.strip_prefix('-') {
        Some(rest) => (rest, true),
        None => (value, false),
    };
    let network: Option<IpNet> = match text.contains('/') {
        true => text.parse().ok(),
        false => text.parse::<IpAddr>().ok().map(IpNet::from),
    };
    let network = network
        .ok_or_else(|| Fault::value("allowed_ip", "a network, like 192.0.2.0/24"))?
        .trunc();
    Ok(match is_taken {
        true => NetworkChange::Take(network),
        false => NetworkChange::Give(network),
    })
}
