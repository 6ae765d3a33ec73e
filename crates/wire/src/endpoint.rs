//! Where a datagram came from, and which of our addresses it came to.

use core::net::{IpAddr, SocketAddr, SocketAddrV6};

use serde::{Deserialize, Serialize};

/// Our side of a datagram: the address it came to and the interface it came through.
///
/// Replies leave from the same address ("sticky source", IP_PKTINFO and IPV6_PKTINFO).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The local address.
    pub address: IpAddr,
    /// The interface index, 0 for any.
    pub interface: u32,
}

/// The outer address of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where to send; see [`Endpoint::new`] for its normal form.
    pub remote: SocketAddr,
    /// Where to send from; the kernel chooses when `None`.
    pub source: Option<Source>,
}

impl Endpoint {
    /// The endpoint `remote` in normal form, without a source.
    ///
    /// An IPv4-mapped IPv6 address becomes IPv4 so that comparisons, filters and cookies see one
    /// form only. IPv6 keeps its scope id, without which a link-local address means nothing, and
    /// loses its flow label, which is no part of an address.
    pub fn new(remote: SocketAddr) -> Self {
        let remote = match remote {
            SocketAddr::V4(_) => remote,
            SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
                Some(v4) => SocketAddr::from((v4, v6.port())),
                None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
            },
        };
        Self {
            remote,
            source: None,
        }
    }

    /// The same endpoint, answered from `source`, whose address is put in normal form too.
    #[must_use]
    pub fn with_source(self, source: Source) -> Self {
        let address = source.address.to_canonical();
        Self {
            source: Some(Source { address, ..source }),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p82_mapped_addresses_become_ipv4() {
        let mapped = Endpoint::new("[::ffff:192.0.2.7]:51820".parse().unwrap());
        let plain = Endpoint::new("192.0.2.7:51820".parse().unwrap());
        assert_eq!(mapped, plain);
        assert!(mapped.remote.is_ipv4());

        let source = Source {
            address: "::ffff:192.0.2.1".parse().unwrap(),
            interface: 3,
        };
        let answered = mapped.with_source(source).source.unwrap();
        assert_eq!(answered.address, "192.0.2.1".parse::<IpAddr>().unwrap());
        assert_eq!(answered.interface, 3);
    }

    #[test]
    fn p82_link_local_keeps_its_scope() {
        let remote = SocketAddrV6::new("fe80::1".parse().unwrap(), 51820, 0xabcde, 7);
        let SocketAddr::V6(kept) = Endpoint::new(remote.into()).remote else {
            panic!("an IPv6 address stays one");
        };
        assert_eq!(kept.scope_id(), 7);
        assert_eq!(kept.flowinfo(), 0);
        assert_eq!(kept.port(), 51820);

        let other = SocketAddrV6::new("fe80::1".parse().unwrap(), 51820, 0, 8);
        assert_ne!(Endpoint::new(other.into()), Endpoint::new(remote.into()));
    }

    #[test]
    fn p82_compatible_and_global_addresses_stay_ipv6() {
        for address in ["[::1]:1", "[::192.0.2.7]:1", "[2001:db8::1]:1"] {
            let remote: SocketAddr = address.parse().unwrap();
            assert_eq!(Endpoint::new(remote).remote, remote);
        }
    }
}
