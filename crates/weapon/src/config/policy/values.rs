//! Single values of rules. Each function says in its error what is wrong and what would be right.

use weapon_core::filter::{IcmpType, PortRange, Protocol};

use crate::config::suggest;
use crate::config::value::quoted;

/// Protocols by name, and whether they have ports.
const PROTOCOLS: &[(&str, Protocol, bool)] = &[
    ("icmp", Protocol::Icmp, false),
    ("tcp", Protocol::Number(6), true),
    ("udp", Protocol::Number(17), true),
    ("dccp", Protocol::Number(33), true),
    ("sctp", Protocol::Number(132), true),
    ("udplite", Protocol::Number(136), true),
    ("igmp", Protocol::Number(2), false),
    ("ipip", Protocol::Number(4), false),
    ("gre", Protocol::Number(47), false),
    ("esp", Protocol::Number(50), false),
    ("ah", Protocol::Number(51), false),
    ("ospf", Protocol::Number(89), false),
    ("pim", Protocol::Number(103), false),
    ("vrrp", Protocol::Number(112), false),
    ("l2tp", Protocol::Number(115), false),
];

/// The numbers of ICMP, of both versions.
const ICMP_NUMBERS: [u8; 2] = [1, 58];

/// Types of ICMP by name: for IPv4, for IPv6.
const ICMP_TYPES: &[(&str, Option<u8>, Option<u8>)] = &[
    ("echo-request", Some(8), Some(128)),
    ("echo-reply", Some(0), Some(129)),
    ("unreachable", Some(3), Some(1)),
    ("packet-too-big", None, Some(2)),
    ("time-exceeded", Some(11), Some(3)),
    ("parameter-problem", Some(12), Some(4)),
    ("redirect", Some(5), Some(137)),
    ("router-solicitation", Some(10), Some(133)),
    ("router-advertisement", Some(9), Some(134)),
    ("neighbour-solicitation", None, Some(135)),
    ("neighbour-advertisement", None, Some(136)),
    ("timestamp-request", Some(13), None),
    ("timestamp-reply", Some(14), None),
];

/// A protocol by its name or number.
pub fn protocol(text: &str) -> Result<Protocol, String> {
    let lower = text.to_ascii_lowercase();
    if let Some((_, protocol, _)) = PROTOCOLS.iter().find(|(name, ..)| *name == lower) {
        return Ok(*protocol);
    }
    if lower == "icmpv6" || lower == "ipv6-icmp" {
        return Err(format!(
            "{} is icmp here: of IPv4 in IPv4 and of IPv6 in IPv6; with from, to or icmp it is \
             of one alone",
            quoted(text)
        ));
    }
    match text.parse::<u8>() {
        Ok(number) if ICMP_NUMBERS.contains(&number) => Err(format!(
            "{number} is written \"icmp\", in both versions of IP"
        )),
        Ok(number) => Ok(Protocol::Number(number)),
        Err(_) => Err(
            unknown(text, "protocol", &names(PROTOCOLS.iter().map(|it| it.0)))
                + ", or a number from 0 to 255",
        ),
    }
}

/// What a protocol is called.
pub fn protocol_name(protocol: Protocol) -> String {
    let named = PROTOCOLS.iter().find(|(_, it, _)| *it == protocol);
    match (named, protocol) {
        (Some((name, ..)), _) => (*name).to_owned(),
        (None, Protocol::Number(number)) => format!("protocol {number}"),
        (None, Protocol::Icmp) => "icmp".to_owned(),
    }
}

/// Whether packets of it have ports that are looked at.
pub fn has_ports(protocol: Protocol) -> bool {
    PROTOCOLS
        .iter()
        .any(|(_, it, has_ports)| *it == protocol && *has_ports)
}

/// A port, or a range of them.
pub fn ports(text: &str) -> Result<PortRange, String> {
    let wrong = || {
        format!(
            "{} is not a port; write 22, or \"8000-8100\" for a range, from 0 to 65535",
            quoted(text)
        )
    };
    let number = |digits: &str| {
        let digits = digits.trim();
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| digits.parse().ok()).flatten();
        number.ok_or_else(wrong)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!(
            "{} begins behind its end; write \"{last}-{first}\"",
            quoted(text)
        ));
    }
    Ok(PortRange { first, last })
}

/// Types of ICMP by name, or one of one version by number.
pub fn icmp(text: &str) -> Result<Vec<IcmpType>, String> {
    if let Some((_, v4, v6)) = ICMP_TYPES.iter().find(|(name, ..)| *name == text) {
        let v4 = v4.map(IcmpType::V4);
        return Ok(v4.into_iter().chain(v6.map(IcmpType::V6)).collect());
    }
    match text.split_once(':') {
        Some(("v4", number)) if number.parse::<u8>().is_ok() => {
            return Ok(number.parse().map(IcmpType::V4).into_iter().collect());
        }
        Some(("v6", number)) if number.parse::<u8>().is_ok() => {
            return Ok(number.parse().map(IcmpType::V6).into_iter().collect());
        }
        Some(_) | None => {}
    }
    if text.parse::<u64>().is_ok() {
        return Err(format!(
            "{} is another type in IPv4 than in IPv6; write \"v4:{text}\" or \"v6:{text}\", or \
             its name",
            quoted(text)
        ));
    }
    Err(unknown(
        text,
        "type of ICMP",
        &names(ICMP_TYPES.iter().map(|it| it.0)),
    ) + ", or a number as \"v4:8\" or \"v6:128\"")
}

fn names<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    all.collect()
}

fn unknown(text: &str, what: &str, known: &[&str]) -> String {
    match suggest::nearest(text, known) {
        Some(meant) => format!(
            "{} is no {what} that is known here; did you mean \"{meant}\"? There are {}",
            quoted(text),
            known.join(", ")
        ),
        None => format!(
            "{} is no {what} that is known here; there are {}",
            quoted(text),
            known.join(", ")
        ),
    }
}
