//! A packet, as it is written on the command line: `SRC[:PORT] DST[:PORT][/PROTOCOL]`.

use std::net::{IpAddr, SocketAddr};

use super::WhyQuery;
use crate::config::value::quoted;

/// What is right.
const FORM: &str = "write SRC[:PORT] DST[:PORT/PROTOCOL], as 10.1.0.5 10.2.0.6:443/tcp, \
                    fd00:1::5 [fd00:2::6]:53/udp or 10.1.0.5 10.2.0.6/icmp";

/// The packet between these ends.
///
/// # Errors
/// What is wrong, and what would be right.
pub fn packet(source: &str, destination: &str) -> Result<WhyQuery, String> {
    if source.contains('/') {
        return Err(format!(
            "{}: a packet is from one host, and its protocol stands behind its destination; {FORM}",
            quoted(source)
        ));
    }
    let (source, source_port) = end(source)?;
    let (there, protocol) = match destination.split_once('/') {
        Some((there, protocol)) => (there, Some(protocol)),
        None => (destination, None),
    };
    if protocol.is_some_and(|it| it.bytes().all(|byte| byte.is_ascii_digit())) {
        return Err(format!(
            "{}: a packet goes to one host, and a protocol is written by its name; {FORM}",
            quoted(destination)
        ));
    }
    let (destination, port) = end(there)?;
    let query = WhyQuery {
        source_port,
        port,
        protocol: protocol.map(str::to_owned),
        ..WhyQuery::between(source, destination)
    };
    query.hypothesis()?;
    Ok(query)
}

/// An address, and a port if one is written.
fn end(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    let bare = text.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(text).parse() {
        return Ok((address, None));
    }
    match text.parse::<SocketAddr>() {
        Ok(both) => Ok((both.ip(), Some(both.port()))),
        Err(_) => Err(format!(
            "{} is not the address of a host; {FORM}",
            quoted(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_forms_are_understood() {
        for (source, destination, packet_of) in [
            ("10.0.0.5", "10.0.1.6", "icmp 10.0.0.5 -> 10.0.1.6"),
            ("10.0.0.5", "10.0.1.6/icmp", "icmp 10.0.0.5 -> 10.0.1.6"),
            ("10.0.0.5", "10.0.1.6:22", "tcp 10.0.0.5 -> 10.0.1.6:22"),
            (
                "10.0.0.5:5000",
                "10.0.1.6:53/udp",
                "udp 10.0.0.5:5000 -> 10.0.1.6:53",
            ),
            ("10.0.0.5", "10.0.1.6/gre", "gre 10.0.0.5 -> 10.0.1.6"),
            ("fd00::5", "fd01::6", "icmp fd00::5 -> fd01::6"),
            ("[fd00::5]", "[fd01::6]/icmp", "icmp fd00::5 -> fd01::6"),
            (
                "[fd00::5]:1",
                "[fd01::6]:53/udp",
                "udp [fd00::5]:1 -> [fd01::6]:53",
            ),
        ] {
            let found = packet(source, destination).map(|it| it.packet());
            assert_eq!(found.as_deref(), Ok(packet_of));
        }
    }

    #[test]
    fn bad_words_are_refused_with_what_is_right() {
        for (source, destination, problem) in [
            (
                "web",
                "10.0.1.6",
                "`web` is not the address of a host; write",
            ),
            ("10.0.0.5", "10.0.1.6:x", "`10.0.1.6:x` is not the address"),
            ("10.0.0.5", "10.0.1.6:70000", "`10.0.1.6:70000` is not"),
            (
                "10.0.0.0/8",
                "10.0.1.6",
                "`10.0.0.0/8`: a packet is from one",
            ),
            (
                "10.0.0.5",
                "10.1.0.0/16",
                "`10.1.0.0/16`: a packet goes to one",
            ),
            ("10.0.0.5", "10.0.1.6/tcp", "tcp has ports: say which one"),
            ("10.0.0.5", "10.0.1.6:1/icmp", "icmp has no ports"),
            ("10.0.0.5", "10.0.1.6/icmpv6", "`icmpv6` is icmp here"),
            (
                "10.0.0.5",
                "fd00::6",
                "10.0.0.5 and fd00::6 are of different",
            ),
        ] {
            let found = packet(source, destination).unwrap_err();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
