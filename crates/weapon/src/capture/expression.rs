//! Which packets are wanted: the part of tcpdump's language that people know by heart.
//!
//! ```text
//! all     = one { "and" one } | one { "or" one }       both need parentheses
//! one     = "not" one | "(" all ")" | [ protocol ] [ "src" | "dst" ] [ what ]
//! what    = "host" ADDRESS | "net" PREFIX | "port" NUMBER | "portrange" N-M | ADDRESS | PREFIX
//! protocol = "ip" | "ip6" | "tcp" | "udp" | "icmp" | "icmp6" | "proto" NUMBER
//! ```

use std::{fmt, net::IpAddr, ops::RangeInclusive};

use ipnet::IpNet;
use weapon_core::Way;
use weapon_wire::Flow;

/// Words of an expression at most, and how deep it may be: it is looked at for each packet.
const WORDS_MAX: usize = 256;
const DEPTH_MAX: usize = 32;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// What a packet must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// All of these.
    All(Vec<Self>),
    /// Any of these.
    Any(Vec<Self>),
    /// Not this.
    Not(Box<Self>),
    /// IPv4, or else IPv6.
    IsIpv4(bool),
    /// This transport protocol.
    Protocol(u8),
    /// It goes this way.
    Goes(Way),
    /// An address among these.
    Net(End, IpNet),
    /// A port among these.
    Ports(End, RangeInclusive<u16>),
}

/// Which end of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source.
    Source,
    /// The destination.
    Destination,
    /// Any of both.
    Any,
}

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear {
    /// The character at which it is, from 1.
    column: usize,
    what: String,
}

impl fmt::Display for Unclear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, character {}: {}", self.column, self.what)
    }
}

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, Unclear> {
        let words = words(text);
        let end = text.chars().count() + 1;
        let mut reader = Reader { words, at: 0, end };
        if reader.words.len() > WORDS_MAX {
            return Err(reader.unclear(format!("more than {WORDS_MAX} words")));
        }
        let all = reader.all(0)?;
        match reader.peek() {
            None => Ok(all),
            Some(")") => Err(reader.unclear("there is no ( for this )".to_owned())),
            Some(word) => {
                let what = format!("{word:?} where `and`, `or` or the end belongs");
                Err(reader.unclear(what))
            }
        }
    }

    /// Whether a packet is like this.
    pub fn fits(&self, flow: &Flow, way: Way) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.fits(flow, way)),
            Self::Any(any) => any.iter().any(|one| one.fits(flow, way)),
            Self::Not(one) => !one.fits(flow, way),
            Self::IsIpv4(is_ipv4) => flow.source.is_ipv4() == *is_ipv4,
            Self::Protocol(protocol) => flow.protocol == *protocol,
            Self::Goes(side) => *side == way,
            Self::Net(end, net) => end.any(flow.source, flow.destination, |it| net.contains(&it)),
            Self::Ports(end, ports) => flow.ports.is_some_and(|(source, destination)| {
                end.any(source, destination, |it| ports.contains(&it))
            }),
        }
    }
}

impl End {
    fn any<T>(self, source: T, destination: T, is_it: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Source => is_it(source),
            Self::Destination => is_it(destination),
            Self::Any => is_it(source) || is_it(destination),
        }
    }
}

/// The words of a text, each with its column.
fn words(text: &str) -> Vec<(usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, character) in text.chars().enumerate() {
        let stands_alone = matches!(character, '(' | ')' | '!');
        if character.is_whitespace() {
            goes_on = false;
            continue;
        }
        match words.last_mut() {
            Some((_, word)) if goes_on && !stands_alone => word.push(character),
            _ => words.push((index + 1, character.to_string())),
        }
        goes_on = !stands_alone;
    }
    words
}

struct Reader {
    words: Vec<(usize, String)>,
    at: usize,
    /// The column behind all.
    end: usize,
}

impl Reader {
    fn peek(&self) -> Option<&str> {
        self.words.get(self.at).map(|(_, word)| word.as_str())
    }

    fn unclear(&self, what: String) -> Unclear {
        let column = self
            .words
            .get(self.at)
            .map_or(self.end, |(column, _)| *column);
        Unclear { column, what }
    }

    /// Takes the next word if it is one of these.
    fn takes(&mut self, words: &[&str]) -> bool {
        let is_it = self.peek().is_some_and(|word| words.contains(&word));
        self.at += usize::from(is_it);
        is_it
    }

    fn all(&mut self, depth: usize) -> Result<Expression, Unclear> {
        if depth > DEPTH_MAX {
            return Err(self.unclear(format!("more than {DEPTH_MAX} parentheses in each other")));
        }
        let mut parts = vec![self.one(depth)?];
        const AND: &[&str] = &["and", "&&"];
        const OR: &[&str] = &["or", "||"];
        let mut joined: Option<bool> = None;
        loop {
            let at = self.at;
            let is_and = if self.takes(AND) {
                true
            } else if self.takes(OR) {
                false
            } else {
                break;
            };
            if joined.is_some_and(|before| before != is_and) {
                self.at = at;
                let what =
                    "write parentheses: it is not clear what belongs together, `and` or `or`";
                return Err(self.unclear(what.to_owned()));
            }
            joined = Some(is_and);
            parts.push(self.one(depth)?);
        }
        Ok(match joined {
            None => parts.swap_remove(0),
            Some(true) => Expression::All(parts),
            Some(false) => Expression::Any(parts),
        })
    }

    fn one(&mut self, depth: usize) -> Result<Expression, Unclear> {
        if self.takes(&["not", "!"]) {
            if depth > DEPTH_MAX {
                return Err(self.unclear(format!("more than {DEPTH_MAX} `not`")));
            }
            return Ok(Expression::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.takes(&["("]) {
            let all = self.all(depth + 1)?;
            if !self.takes(&[")"]) {
                return Err(self.unclear("a ) is missing".to_owned()));
            }
            return Ok(all);
        }
        let mut parts = Vec::new();
        parts.extend(self.protocol()?);
        let end = if self.takes(&["src"]) {
            Some(End::Source)
        } else if self.takes(&["dst"]) {
            Some(End::Destination)
        } else {
            None
        };
        parts.extend(self.what(end)?);
        if parts.is_empty() {
            let word = self.peek().map(|word| format!("{word:?} is not known: "));
            let word = word.unwrap_or_else(|| "something is missing: ".to_owned());
            return Err(self.unclear(format!(
                "{word}write host, net, port, portrange, tcp, udp, icmp, icmp6, ip, ip6, proto, \
                 inbound or outbound"
            )));
        }
        Ok(if parts.len() == 1 {
            parts.swap_remove(0)
        } else {
            Expression::All(parts)
        })
    }

    fn protocol(&mut self) -> Result<Option<Expression>, Unclear> {
        let known = match self.peek() {
            Some("ip") => Expression::IsIpv4(true),
            Some("ip6") => Expression::IsIpv4(false),
            Some("tcp") => Expression::Protocol(TCP),
            Some("udp") => Expression::Protocol(UDP),
            Some("icmp") => Expression::Protocol(ICMP),
            Some("icmp6") => Expression::Protocol(ICMPV6),
            Some("inbound") => Expression::Goes(Way::Inbound),
            Some("outbound") => Expression::Goes(Way::Outbound),
            Some("proto") => {
                self.at += 1;
                let what = "the number of a protocol, 0 to 255";
                return Ok(Some(Expression::Protocol(
                    self.value(what, |it| it.parse().ok())?,
                )));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(known))
    }

    fn what(&mut self, end: Option<End>) -> Result<Option<Expression>, Unclear> {
        let at = end.unwrap_or(End::Any);
        if self.takes(&["host"]) {
            let address: IpAddr = self.value("an address", |it| it.parse().ok())?;
            return Ok(Some(Expression::Net(at, address.into())));
        }
        if self.takes(&["net"]) {
            let what = "a network, as 10.1.0.0/16";
            return Ok(Some(Expression::Net(at, self.value(what, network)?)));
        }
        if self.takes(&["port"]) {
            let port: u16 = self.value("a port, 0 to 65535", |it| it.parse().ok())?;
            return Ok(Some(Expression::Ports(at, port..=port)));
        }
        if self.takes(&["portrange"]) {
            let range = self.value("two ports, as 8000-8080", |it| {
                let (first, last) = it.split_once('-')?;
                let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
                (first <= last).then_some(first..=last)
            })?;
            return Ok(Some(Expression::Ports(at, range)));
        }
        if let Some(net) = self.peek().and_then(network) {
            self.at += 1;
            return Ok(Some(Expression::Net(at, net)));
        }
        if end.is_some() {
            let what = "host, net, port, portrange or an address belongs behind src and dst";
            return Err(self.unclear(what.to_owned()));
        }
        Ok(None)
    }

    /// The next word, which must be what `read` can read.
    fn value<T>(&mut self, what: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, Unclear> {
        let Some(word) = self.peek() else {
            return Err(self.unclear(format!("{what} is missing")));
        };
        let Some(value) = read(word) else {
            return Err(self.unclear(format!("{word:?} where {what} belongs")));
        };
        self.at += 1;
        Ok(value)
    }
}

/// A prefix, or an address as one.
fn network(word: &str) -> Option<IpNet> {
    let address = || word.parse::<IpAddr>().ok().map(IpNet::from);
    word.parse().ok().or_else(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(protocol: u8, ends: [&str; 2], ports: Option<(u16, u16)>) -> Flow {
        Flow {
            source: ends[0].parse().unwrap(),
            destination: ends[1].parse().unwrap(),
            protocol,
            ports,
            header_len: 20,
            total_len: 40,
            traffic_class: 0,
        }
    }

    #[test]
    fn packets_are_told_apart() {
        let web = flow(TCP, ["10.1.0.5", "10.2.0.9"], Some((40_000, 443)));
        let ping = flow(ICMPV6, ["fd00::1", "fd00:2::9"], None);
        for (text, fits_web, fits_ping) in [
            ("tcp", true, false),
            ("ip6", false, true),
            ("icmp6", false, true),
            ("proto 6", true, false),
            ("port 443", true, false),
            ("src port 443", false, false),
            ("dst port 443", true, false),
            ("tcp dst port 443", true, false),
            ("udp port 443", false, false),
            ("portrange 400-500", true, false),
            ("host 10.2.0.9", true, false),
            ("src host 10.2.0.9", false, false),
            ("src 10.1.0.0/16", true, false),
            ("10.2.0.9", true, false),
            ("net fd00::/16", false, true),
            ("not tcp", false, true),
            ("! ( tcp or udp )", false, true),
            ("!(tcp)", false, true),
            ("tcp and port 443 and not host 10.1.0.6", true, false),
            ("(tcp && port 80) || icmp6", false, true),
            ("outbound", true, true),
            ("inbound or port 443", true, false),
        ] {
            let expression = Expression::parse(text).unwrap_or_else(|it| panic!("{text}: {it}"));
            let fits = [&web, &ping].map(|flow| expression.fits(flow, Way::Outbound));
            assert_eq!(fits, [fits_web, fits_ping], "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, says) in [
            ("", "filter, character 1: something is missing: write host"),
            ("tcp and", "filter, character 8: something is missing"),
            (
                "tcq",
                "filter, character 1: \"tcq\" is not known: write host",
            ),
            (
                "tcp port",
                "filter, character 9: a port, 0 to 65535 is missing",
            ),
            (
                "tcp port http",
                "filter, character 10: \"http\" where a port",
            ),
            ("port 70000", "filter, character 6: \"70000\" where a port"),
            (
                "host 10.0.0",
                "filter, character 6: \"10.0.0\" where an address",
            ),
            (
                "net 10.0.0.0/33",
                "filter, character 5: \"10.0.0.0/33\" where a network",
            ),
            (
                "portrange 9-1",
                "filter, character 11: \"9-1\" where two ports",
            ),
            ("(tcp", "filter, character 5: a ) is missing"),
            ("tcp)", "filter, character 4: there is no ( for this )"),
            ("tcp udp", "filter, character 5: \"udp\" where `and`, `or`"),
            (
                "tcp or udp and icmp",
                "filter, character 12: write parentheses",
            ),
            (
                "src",
                "filter, character 4: host, net, port, portrange or an address",
            ),
            (
                "proto 256",
                "filter, character 7: \"256\" where the number of a protocol",
            ),
        ] {
            let unclear = Expression::parse(text).unwrap_err().to_string();
            assert!(unclear.starts_with(says), "{text}: {unclear}");
        }
        let deep = "(".repeat(200);
        let unclear = Expression::parse(&deep).unwrap_err().to_string();
        assert!(unclear.contains("more than 32 parentheses"), "{unclear}");
        let long = vec!["tcp"; 200].join(" or ");
        let unclear = Expression::parse(&long).unwrap_err().to_string();
        assert!(unclear.contains("more than 256 words"), "{unclear}");
        let not = "not ".repeat(100) + "tcp";
        assert!(Expression::parse(&not).is_err());
    }
}
