//! HOT What a verdict is about: all that rules ask for, of one packet.

use core::net::IpAddr;

use weapon_wire::{Flow, Icmp, Transport};

use super::{Direction, IcmpType, Protocol};
use crate::PeerId;

/// What rules are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Which way the packet goes.
    pub direction: Direction,
    /// From or to which peer.
    pub peer: PeerId,
    /// Its source, as peers know it.
    pub source: IpAddr,
    /// Its destination, as peers know it.
    pub destination: IpAddr,
    /// What it carries.
    pub protocol: Protocol,
    /// Its ports, if the protocol has some.
    pub ports: Option<(u16, u16)>,
    /// Its type of ICMP, if it is that.
    pub icmp: Option<IcmpType>,
}

impl Subject {
    /// A packet whose headers say this.
    #[inline]
    pub fn new(direction: Direction, peer: PeerId, flow: &Flow, transport: &Transport) -> Self {
        let icmp = match transport {
            Transport::Icmp(icmp) => *icmp,
            // Nobody looks at it then.
            Transport::Tcp(_) | Transport::Other | Transport::Truncated => Icmp { kind: 0, id: 0 },
        };
        Self::of_flow(
            direction,
            peer,
            (flow.source, flow.destination),
            (flow.protocol, flow.is_icmp()),
            flow.ports,
            icmp,
        )
    }

    /// The same, said in parts: the ends, the protocol and whether it is the ICMP of the packet's
    /// version, and what stands at the start of that.
    pub(crate) fn of_flow(
        direction: Direction,
        peer: PeerId,
        (source, destination): (IpAddr, IpAddr),
        (protocol, is_icmp): (u8, bool),
        ports: Option<(u16, u16)>,
        icmp: Icmp,
    ) -> Self {
        let kind = if source.is_ipv4() {
            IcmpType::V4(icmp.kind)
        } else {
            IcmpType::V6(icmp.kind)
        };
        Self {
            direction,
            peer,
            source,
            destination,
            protocol: if is_icmp {
                Protocol::Icmp
            } else {
                Protocol::Number(protocol)
            },
            ports,
            icmp: is_icmp.then_some(kind),
        }
    }
}
