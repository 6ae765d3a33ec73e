//! Which packet is asked about, and how that reads as the query of an URL.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use weapon_core::{Hypothesis, filter::Protocol};
use weapon_wire::ip;

use crate::{
    config::{has_ports, protocol, protocol_name, value},
    parameters,
};

/// The source port of a packet of which none is said: of those that nobody chooses.
pub const SOURCE_PORT: u16 = 49_152;

/// A packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhyQuery {
    /// Where it is from.
    pub source: IpAddr,
    /// Its source port; one that nobody chooses if it is not said.
    pub source_port: Option<u16>,
    /// Where it goes.
    pub destination: IpAddr,
    /// Its destination port, if its protocol has some.
    pub port: Option<u16>,
    /// What it carries, by name or number. With a port and without a protocol it is TCP, without
    /// both it is a request for an echo.
    pub protocol: Option<String>,
    /// Its bytes, with the IP header; as few as can be if it is not said.
    pub size: Option<usize>,
    /// The peer that it comes from; if none is named, it goes to one.
    pub from: Option<String>,
}

impl WhyQuery {
    /// The shortest request for an echo, to a peer.
    pub fn between(source: IpAddr, destination: IpAddr) -> Self {
        Self {
            source,
            source_port: None,
            destination,
            port: None,
            protocol: None,
            size: None,
            from: None,
        }
    }

    /// What a query says.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(query: &str) -> Result<Self, String> {
        let unspecified = IpAddr::from([0, 0, 0, 0]);
        let mut asked = Self::between(unspecified, unspecified);
        let (mut has_source, mut has_destination) = (false, false);
        for (key, value) in parameters::read(query)? {
            let wrong = |what: &str| format!("{key}: {} is no {what}", value::quoted(&value));
            let address = || value.parse().map_err(|_| wrong("address of a host"));
            let port = || value.parse().map_err(|_| wrong("port"));
            match key {
                "source" => (asked.source, has_source) = (address()?, true),
                "destination" => (asked.destination, has_destination) = (address()?, true),
                "source_port" => asked.source_port = Some(port()?),
                "port" => asked.port = Some(port()?),
                "protocol" => asked.protocol = Some(value),
                "size" => asked.size = Some(value.parse().map_err(|_| wrong("size"))?),
                "from" => asked.from = Some(value),
                _ => {
                    return Err(format!(
                        "there is no parameter {}; there are source, source_port, destination, \
                         port, protocol, size and from",
                        value::quoted(key)
                    ));
                }
            }
        }
        if !has_source || !has_destination {
            return Err("source and destination are to be given".to_owned());
        }
        asked.hypothesis()?;
        Ok(asked)
    }

    /// The query that says it.
    pub fn written(&self) -> String {
        let number = |number: Option<u16>| number.map(|number| number.to_string());
        parameters::written([
            ("source", Some(self.source.to_string())),
            ("source_port", number(self.source_port)),
            ("destination", Some(self.destination.to_string())),
            ("port", number(self.port)),
            ("protocol", self.protocol.clone()),
            ("size", self.size.map(|size| size.to_string())),
            ("from", self.from.clone()),
        ])
    }

    fn carries(&self) -> Result<Protocol, String> {
        match (&self.protocol, self.port) {
            (Some(name), _) => protocol(name),
            (None, Some(_)) => Ok(Protocol::Number(6)),
            (None, None) => Ok(Protocol::Icmp),
        }
    }

    /// The packet that is meant.
    ///
    /// # Errors
    /// Why there can be none, and what would be right.
    pub fn hypothesis(&self) -> Result<Hypothesis, String> {
        let protocol = self.carries()?;
        let name = protocol_name(protocol);
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(format!(
                "{} and {} are of different versions of IP",
                self.source, self.destination
            ));
        }
        let port = match (has_ports(protocol), self.port) {
            (true, None) => {
                return Err(format!(
                    "{name} has ports: say which one, as {}/{name}",
                    SocketAddr::new(self.destination, 443)
                ));
            }
            (false, Some(port)) => return Err(format!("{name} has no ports, so {port} is none")),
            (false, None) if self.source_port.is_some() => {
                return Err(format!("{name} has no ports"));
            }
            (_, port) => port.unwrap_or(0),
        };
        let hypothesis = Hypothesis {
            source: self.source,
            destination: self.destination,
            protocol: match protocol {
                Protocol::Number(number) => number,
                Protocol::Icmp if self.source.is_ipv4() => ip::ICMP,
                Protocol::Icmp => ip::ICMPV6,
            },
            ports: (self.source_port.unwrap_or(SOURCE_PORT), port),
            len: self.size.unwrap_or(0),
        };
        let (min, size) = (hypothesis.len_min(), self.size);
        match size {
            Some(size) if size < min => Err(format!(
                "a packet of {name} has {min} bytes at least, so {size} are too few"
            )),
            Some(size) if size > ip::TOTAL_LEN_MAX => Err(format!(
                "a packet has {} bytes at most, so {size} are too many",
                ip::TOTAL_LEN_MAX
            )),
            _ => Ok(hypothesis),
        }
    }

    /// The packet in words.
    pub fn packet(&self) -> String {
        let protocol = self.carries().map(protocol_name).unwrap_or_default();
        let end = |address: IpAddr, port: Option<u16>| match port {
            Some(port) => SocketAddr::new(address, port).to_string(),
            None => address.to_string(),
        };
        let size = self.size.map(|size| format!(", {size} bytes"));
        format!(
            "{protocol} {} -> {}{}",
            end(self.source, self.source_port),
            end(self.destination, self.port),
            size.unwrap_or_default()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(destination: &str) -> WhyQuery {
        WhyQuery::between([10, 0, 0, 5].into(), destination.parse().unwrap())
    }

    #[test]
    fn what_is_written_is_understood() {
        let full = WhyQuery {
            source_port: Some(5000),
            port: Some(443),
            protocol: Some("udp".into()),
            size: Some(1400),
            from: Some("a b&c".into()),
            ..query("10.0.1.6")
        };
        assert_eq!(WhyQuery::parse(&full.written()), Ok(full.clone()));
        assert_eq!(
            full.packet(),
            "udp 10.0.0.5:5000 -> 10.0.1.6:443, 1400 bytes"
        );
        let echo = query("10.0.1.6");
        assert_eq!(WhyQuery::parse(&echo.written()), Ok(echo.clone()));
        assert_eq!(echo.packet(), "icmp 10.0.0.5 -> 10.0.1.6");
    }

    #[test]
    fn what_is_not_said_is_the_usual() {
        let echo = query("10.0.1.6").hypothesis().unwrap();
        assert_eq!((echo.protocol, echo.len_min()), (1, 28));
        let v6 = WhyQuery::between(
            [0xfd00, 0, 0, 0, 0, 0, 0, 1].into(),
            "fd00::2".parse().unwrap(),
        );
        assert_eq!(v6.hypothesis().unwrap().protocol, 58);
        let web = WhyQuery {
            port: Some(443),
            ..query("10.0.1.6")
        };
        let web = web.hypothesis().unwrap();
        assert_eq!((web.protocol, web.ports), (6, (SOURCE_PORT, 443)));
    }

    #[test]
    fn what_can_be_no_packet_is_refused_with_what_would_be_right() {
        let of = |protocol: &str, port, source_port, size| WhyQuery {
            protocol: Some(protocol.into()),
            port,
            source_port,
            size,
            ..query("10.0.1.6")
        };
        for (asked, problem) in [
            (of("tcp", None, None, None), "as 10.0.1.6:443/tcp"),
            (of("icmp", Some(1), None, None), "icmp has no ports, so 1"),
            (of("icmp", None, Some(1), None), "icmp has no ports"),
            (of("tpc", None, None, None), "did you mean \"tcp\"?"),
            (of("udp", Some(1), None, Some(27)), "has 28 bytes at least"),
            (
                of("udp", Some(1), None, Some(70_000)),
                "65535 bytes at most",
            ),
            (query("fd00::2"), "are of different versions of IP"),
        ] {
            let found = asked.hypothesis().unwrap_err();
            assert!(found.contains(problem), "{found}");
            assert_eq!(WhyQuery::parse(&asked.written()), Err(found));
        }
        for (asked, problem) in [
            ("source=10.0.0.1", "source and destination are to be given"),
            ("source=x", "source: `x` is no address of a host"),
            ("port=x", "port: `x` is no port"),
            ("size=-1", "size: `-1` is no size"),
            ("who=x", "there is no parameter `who`; there are source"),
        ] {
            let found = WhyQuery::parse(asked).unwrap_err();
            assert!(found.starts_with(problem), "{found}");
        }
    }
}
