//! The four classic kinds of NAT (RFC 3489 section 5), with mappings that expire.

use core::{fmt, net::SocketAddr, time::Duration};
use std::collections::BTreeMap;

use weapon_noise::Tick;

/// What a NAT lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatKind {
    /// Anybody who sends to the mapped port.
    FullCone,
    /// Addresses that were sent to.
    AddressRestricted,
    /// Addresses and ports that were sent to.
    PortRestricted,
    /// The same, and each destination has a mapped port of its own.
    Symmetric,
}

impl NatKind {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::FullCone,
        Self::AddressRestricted,
        Self::PortRestricted,
        Self::Symmetric,
    ];
}

impl fmt::Display for NatKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FullCone => "full cone",
            Self::AddressRestricted => "address-restricted",
            Self::PortRestricted => "port-restricted",
            Self::Symmetric => "symmetric",
        })
    }
}

/// A NAT with one host behind it.
#[derive(Debug)]
pub(crate) struct Nat {
    kind: NatKind,
    /// A mapping that carried nothing out for so long is forgotten. What comes in does not count,
    /// as RFC 4787 (REQ-6) allows: the harder case.
    expiry: Duration,
    /// The first mapping has the host's own port, also after a reboot.
    keeps_port: bool,
    next_port: u16,
    /// By external port.
    mappings: BTreeMap<u16, Mapping>,
}

/// An external port, and whom it was used to send to, when last.
#[derive(Debug, Default)]
struct Mapping {
    sent_to: BTreeMap<SocketAddr, Tick>,
}

/// The first port that is given to mappings that do not keep the host's own.
const FIRST_PORT: u16 = 20_000;

impl Nat {
    pub(crate) fn new(kind: NatKind, expiry: Duration, keeps_port: bool) -> Self {
        Self {
            kind,
            expiry,
            keeps_port,
            next_port: FIRST_PORT,
            mappings: BTreeMap::new(),
        }
    }

    /// Forgets all mappings.
    pub(crate) fn reboot(&mut self) {
        self.mappings.clear();
    }

    /// The external port of what the host sends from `port` to `to`.
    pub(crate) fn outbound(&mut self, port: u16, to: SocketAddr, now: Tick) -> u16 {
        self.expire(now);
        let known = match self.kind {
            NatKind::Symmetric => self
                .mappings
                .iter()
                .find(|(_, mapping)| mapping.sent_to.contains_key(&to))
                .map(|(&port, _)| port),
            _ => self.mappings.keys().next().copied(),
        };
        let external = known.unwrap_or_else(|| self.free_port(port));
        let mapping = self.mappings.entry(external).or_default();
        mapping.sent_to.insert(to, now);
        external
    }

    /// Whether a datagram from `from` to the external `port` reaches the host.
    pub(crate) fn lets_in(&mut self, port: u16, from: SocketAddr, now: Tick) -> bool {
        self.expire(now);
        let Some(mapping) = self.mappings.get(&port) else {
            return false;
        };
        match self.kind {
            NatKind::FullCone => true,
            NatKind::AddressRestricted => mapping.sent_to.keys().any(|to| to.ip() == from.ip()),
            NatKind::PortRestricted | NatKind::Symmetric => mapping.sent_to.contains_key(&from),
        }
    }

    fn expire(&mut self, now: Tick) {
        let expiry = self.expiry;
        self.mappings.retain(|_, mapping| {
            mapping.sent_to.retain(|_, last| now.since(*last) < expiry);
            !mapping.sent_to.is_empty()
        });
    }

    fn free_port(&mut self, port: u16) -> u16 {
        if self.keeps_port && !self.mappings.contains_key(&port) {
            return port;
        }
        self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
        self.next_port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(0) + Duration::from_secs(seconds)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Who gets in of: the destination, its address with another port, somebody else.
    fn let_in(kind: NatKind) -> [bool; 3] {
        let mut nat = Nat::new(kind, Duration::from_secs(30), false);
        let port = nat.outbound(5, address("192.0.2.1:7"), at(0));
        ["192.0.2.1:7", "192.0.2.1:8", "192.0.2.2:7"]
            .map(|from| nat.lets_in(port, address(from), at(1)))
    }

    #[test]
    fn each_kind_lets_in_whom_its_name_says() {
        assert_eq!(let_in(NatKind::FullCone), [true, true, true]);
        assert_eq!(let_in(NatKind::AddressRestricted), [true, true, false]);
        assert_eq!(let_in(NatKind::PortRestricted), [true, false, false]);
        assert_eq!(let_in(NatKind::Symmetric), [true, false, false]);
    }

    #[test]
    fn only_a_symmetric_one_maps_by_destination() {
        for kind in NatKind::ALL {
            let mut nat = Nat::new(kind, Duration::from_secs(30), false);
            let one = nat.outbound(5, address("192.0.2.1:7"), at(0));
            let other = nat.outbound(5, address("192.0.2.2:7"), at(0));
            assert_eq!(one != other, kind == NatKind::Symmetric, "{kind}");
            assert_eq!(nat.outbound(5, address("192.0.2.1:7"), at(1)), one);
        }
    }

    #[test]
    fn mappings_expire_and_do_not_survive_a_reboot() {
        let peer = address("192.0.2.1:7");
        let mut nat = Nat::new(NatKind::FullCone, Duration::from_secs(30), false);
        let port = nat.outbound(5, peer, at(0));
        assert!(nat.lets_in(port, peer, at(29)));
        assert!(!nat.lets_in(port, peer, at(30)));
        let later = nat.outbound(5, peer, at(31));
        assert_ne!(later, port);
        nat.reboot();
        assert!(!nat.lets_in(later, peer, at(31)));
        let mut nat = Nat::new(NatKind::FullCone, Duration::from_secs(30), true);
        assert_eq!(nat.outbound(5, peer, at(0)), 5);
        nat.reboot();
        assert_eq!(nat.outbound(5, peer, at(0)), 5);
    }
}
