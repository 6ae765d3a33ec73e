//! Single values: numbers in range, prefixes, endpoints, names, keys. Each function says in its
//! error what is wrong with the value and what would be right.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipnet::IpNet;
use weapon_noise::{KEY_TEXT_LEN, KeyError};

use super::model::HostPort;

/// A lane is a queue of the TUN device, which has 256 at most, and a thread: nobody has more
/// processors to spare for one gateway than this.
const LANES_MAX: usize = 64;

/// Longest interface name of Linux (`IFNAMSIZ` without its zero byte).
pub const INTERFACE_NAME_LEN_MAX: usize = 15;
/// Longest gateway or peer name; it must leave room in a file name and in a table.
const NAME_LEN_MAX: usize = 64;
/// What a datagram of ours carries besides the packet: IPv6 40, UDP 8, WireGuard 32 bytes.
const OVERHEAD_BYTES: i64 = 80;
/// The smallest MTU that IPv4 hosts must take (RFC 791) and that IPv6 asks of a link (RFC 8200).
const MTU_MIN: (i64, i64) = (576, 1280);

/// Quotes a value of the file for a message. What may be a misplaced key is not shown, and what
/// a terminal would obey is escaped.
pub fn quoted(text: &str) -> String {
    let count = text.chars().count();
    if looks_like_key(text) {
        return format!("a value of {count} characters that looks like a key");
    }
    let shown: String = text.chars().take(60).flat_map(char::escape_debug).collect();
    let more = if count > 60 { "…" } else { "" };
    format!("`{shown}{more}`")
}

/// Whether `text` may be a key, or one that lost or gained a few characters.
fn looks_like_key(text: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
    text.len().abs_diff(KEY_TEXT_LEN) <= 6 && text.bytes().all(is_base64)
}

/// A UDP port; 0 lets the kernel pick one.
pub fn port(number: i64) -> Result<u16, String> {
    u16::try_from(number).map_err(|_| format!("{number} is not a port; ports are 0 to 65535"))
}

/// Seconds between keepalives; 0 is off.
pub fn keepalive(seconds: i64) -> Result<Option<u16>, String> {
    match u16::try_from(seconds) {
        Ok(0) => Ok(None),
        Ok(seconds) => Ok(Some(seconds)),
        Err(_) => Err(format!(
            "{seconds} is out of range; it is 1 to 65535 seconds, or \"off\""
        )),
    }
}

/// A firewall mark; 0 is off.
pub fn fwmark(number: i64) -> Result<u32, String> {
    u32::try_from(number)
        .map_err(|_| format!("{number} is not a firewall mark; marks are 0 (off) to 0xffffffff"))
}

/// How many lanes; 0 is automatic.
pub fn lanes(number: i64) -> Result<Option<usize>, String> {
    match usize::try_from(number) {
        Ok(0) => Ok(None),
        Ok(lanes) if lanes <= LANES_MAX => Ok(Some(lanes)),
        _ => Err(format!(
            "{number} lanes cannot be; it is 1 to {LANES_MAX}, or \"auto\""
        )),
    }
}

/// The MTU of the TUN device in bytes.
pub fn mtu(bytes: i64, has_ipv6: bool) -> Result<u32, String> {
    let max = i64::from(u16::MAX) - OVERHEAD_BYTES;
    let min = if has_ipv6 { MTU_MIN.1 } else { MTU_MIN.0 };
    let ip = if has_ipv6 {
        " with IPv6 in the tunnel"
    } else {
        ""
    };
    u32::try_from(bytes)
        .ok()
        .filter(|_| (min..=max).contains(&bytes))
        .ok_or_else(|| format!("{bytes} is not a valid MTU; it is {min} to {max} bytes{ip}"))
}

/// An address with a prefix length; without one it is a single host.
pub fn prefix(text: &str) -> Result<IpNet, String> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().map_err(|_| {
        format!(
            "{} is not a network; write it like 10.1.0.0/16 or fd00:1::/64",
            quoted(text)
        )
    })?;
    let length_max = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => length_max,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits
            .parse()
            .ok()
            .filter(|length| *length <= length_max)
            .ok_or_else(|| {
                let ip = if address.is_ipv4() { "IPv4" } else { "IPv6" };
                format!(
                    "{}: the prefix length of {ip} is 0 to {length_max}",
                    quoted(text)
                )
            })?,
        Some(_) => {
            return Err(format!(
                "{}: the prefix length after `/` is a number, 0 to {length_max}",
                quoted(text)
            ));
        }
    };
    IpNet::new(address, length).map_err(|_| format!("{} is not a network", quoted(text)))
}

/// `host:port`, `1.2.3.4:port` or `[v6]:port`. Names are not resolved.
pub fn endpoint(text: &str) -> Result<HostPort, String> {
    const RIGHT: &str =
        "write it like gw.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Err(format!("{} has no port; {RIGHT}", quoted(text)));
    };
    if text.parse::<Ipv6Addr>().is_ok() || (host.contains(':') && !host.starts_with('[')) {
        return Err(format!(
            "{}: an IPv6 address goes in brackets, with the port after them; {RIGHT}",
            quoted(text)
        ));
    }
    let port = Some(port)
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u16>().ok())
        .filter(|port| *port != 0)
        .ok_or_else(|| {
            format!(
                "{}: the port is a number, 1 to 65535; {RIGHT}",
                quoted(text)
            )
        })?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host = match bracketed {
        Some(inner) => {
            let (address, zone) = inner.split_once('%').unwrap_or((inner, "-"));
            let zone_is_good = interface_name(zone).is_ok();
            if address.parse::<Ipv6Addr>().is_err() || !zone_is_good {
                return Err(format!(
                    "{}: no IPv6 address in the brackets; {RIGHT}",
                    quoted(text)
                ));
            }
            inner
        }
        None if is_host(host) => host,
        None => {
            return Err(format!(
                "{} is not a host and a port; {RIGHT}",
                quoted(text)
            ));
        }
    };
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// Whether `host` is an IPv4 address or a DNS name. All digits and dots is an address or wrong:
/// resolvers read `10.1` as 10.0.0.1.
pub fn is_host(host: &str) -> bool {
    if host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
    {
        return host.parse::<Ipv4Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// An interface name as wg-quick allows it: `[a-zA-Z0-9_=+.-]{1,15}`, not `.` or `..`.
pub fn interface_name(text: &str) -> Result<(), String> {
    if text.len() > INTERFACE_NAME_LEN_MAX {
        return Err(format!(
            "{} has {} bytes; an interface name has 1 to {INTERFACE_NAME_LEN_MAX}",
            quoted(text),
            text.len()
        ));
    }
    if text.is_empty() || matches!(text, "." | "..") || !text.bytes().all(is_name_byte) {
        return Err(format!(
            "{} cannot name an interface; letters, digits and _ = + . - can",
            quoted(text)
        ));
    }
    Ok(())
}

/// The name of a network of Docker: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`.
pub fn docker_network(text: &str) -> Result<String, String> {
    let is_good = text.len() <= NAME_LEN_MAX
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{} cannot name a network of Docker; `docker network ls` lists them",
        quoted(text)
    ))
}

/// A path from the root on; `example` is one that would be right.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn absolute_path(text: &str, example: &Path) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() && !text.contains(char::is_control) {
        return Ok(path.to_owned());
    }
    Err(format!(
        "{} is no absolute path; write one, such as {}",
        quoted(text),
        example.display()
    ))
}

/// A gateway's or peer's name: safe as part of a file name and on a command line.
pub fn name(text: &str) -> Result<(), String> {
    let is_good = (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(is_name_byte)
        && !text.starts_with(['.', '-'])
        && !looks_like_key(text);
    if is_good {
        return Ok(());
    }
    Err(format!(
        "{} cannot be a name; a name has 1 to {NAME_LEN_MAX} letters, digits and _ = + . -, \
         and does not begin with . or -",
        quoted(text)
    ))
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_=+.-".contains(&byte)
}

/// A key as `wg` writes it. `maker` is the command that prints such a key. The error never repeats
/// the text.
pub fn key<K: FromStr<Err = KeyError>>(text: &str, maker: &str) -> Result<K, String> {
    if text.is_empty() {
        return Err(format!("no key is given; `{maker}` prints one"));
    }
    text.parse()
        .map_err(|error: KeyError| format!("{error}; `{maker}` prints a right one"))
}
