//! Rules of the packet filter, as values.
//!
//! What a rule means is [`Rule::matches`], and that of a list is that the first which matches
//! decides. Lanes ask a [`Filter`](super::Filter), which was compiled of the list and says the
//! same.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::Subject;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It goes on.
    Allow,
    /// It dies.
    Deny,
}

/// Which way the first packet of a flow goes, seen from this gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// From a peer: it came out of the tunnel, for us or what lies behind us.
    Inbound,
    /// To a peer: it was sent by us or what lies behind us, and goes into the tunnel.
    Outbound,
}

impl Direction {
    /// The other one.
    #[must_use]
    pub fn reversed(self) -> Self {
        match self {
            Self::Inbound => Self::Outbound,
            Self::Outbound => Self::Inbound,
        }
    }
}

/// A protocol that a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// ICMP in IPv4 and ICMPv6 in IPv6; neither in a packet of the other version.
    Icmp,
    /// The one of this number, in both versions; never ICMP, whatever its number.
    Number(u8),
}

/// A type of ICMP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum IcmpType {
    /// Of ICMP for IPv4.
    V4(u8),
    /// Of ICMPv6.
    V6(u8),
}

/// Ports from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The first.
    pub first: u16,
    /// The last, at least as large.
    pub last: u16,
}

impl PortRange {
    fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// Which peers a rule is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulePeers {
    /// All of them.
    #[default]
    All,
    /// Those with these names.
    Named(BTreeSet<Box<str>>),
}

/// One rule. What is empty, or `None`, is not asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Its name, by which it is counted and logged.
    pub name: Box<str>,
    /// What becomes of a packet that matches.
    pub action: Action,
    /// Which way it goes.
    pub direction: Option<Direction>,
    /// From or to which peer.
    pub peers: RulePeers,
    /// Where it is from: one of these.
    pub from: Vec<IpNet>,
    /// Where it goes: one of these.
    pub to: Vec<IpNet>,
    /// What it carries: one of these.
    pub protocols: Vec<Protocol>,
    /// Its source port: one of these. A packet without ports does not match.
    pub source_ports: Vec<PortRange>,
    /// Its destination port: one of these. A packet without ports does not match.
    pub ports: Vec<PortRange>,
    /// Its type of ICMP: one of these. What is no ICMP does not match.
    pub icmp: Vec<IcmpType>,
}

impl Rule {
    /// A rule that matches everything.
    pub fn of_all(name: &str, action: Action) -> Self {
        Self {
            name: name.into(),
            action,
            direction: None,
            peers: RulePeers::All,
            from: Vec::new(),
            to: Vec::new(),
            protocols: Vec::new(),
            source_ports: Vec::new(),
            ports: Vec::new(),
            icmp: Vec::new(),
        }
    }

    /// Whether it is about `subject`, of the peer called `peer`.
    pub fn matches(&self, subject: &Subject, peer: &str) -> bool {
        let is_one = |list: &[PortRange], port: Option<u16>| {
            list.is_empty() || port.is_some_and(|port| list.iter().any(|it| it.contains(port)))
        };
        let (source_port, port) = match subject.ports {
            Some((source, destination)) => (Some(source), Some(destination)),
            None => (None, None),
        };
        let peers = match &self.peers {
            RulePeers::All => true,
            RulePeers::Named(names) => names.contains(peer),
        };
        let is_in = |list: &[IpNet], address| {
            list.is_empty() || list.iter().any(|net: &IpNet| net.contains(address))
        };
        self.direction.is_none_or(|it| it == subject.direction)
            && peers
            && is_in(&self.from, &subject.source)
            && is_in(&self.to, &subject.destination)
            && (self.protocols.is_empty() || self.protocols.contains(&subject.protocol))
            && is_one(&self.source_ports, source_port)
            && is_one(&self.ports, port)
            && (self.icmp.is_empty() || subject.icmp.is_some_and(|it| self.icmp.contains(&it)))
    }
}
