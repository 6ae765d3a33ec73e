//! A tap on a cable: every packet that passes an interface, with its UDP datagram where it has one.

use std::net::{IpAddr, SocketAddr};

use weapon_io::capture::{Capture, CaptureFilter};
use weapon_wire::Flow;

use crate::lab::Host;

const ETHERNET_HEADER_LEN: usize = 14;
const UDP_HEADER_LEN: usize = 8;
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Neighbour and router discovery, MLD: what IPv6 says by itself.
const ICMPV6_OF_THE_LINK: [u8; 6] = [130, 131, 132, 133, 135, 136];
const MLD_V2_REPORT: u8 = 143;

/// A packet that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Sent by the host, else received.
    pub outgoing: bool,
    /// Of the IP header.
    pub source: IpAddr,
    /// Of the IP header.
    pub destination: IpAddr,
    /// What follows the IP header: its number, as in `Flow::protocol`.
    pub protocol: u8,
    /// Source and destination ports, if there are any.
    pub ports: Option<(u16, u16)>,
    /// What follows the IP header; for UDP, what follows the UDP header.
    pub payload: Vec<u8>,
}

impl Packet {
    /// A UDP datagram, or a fragment of one.
    pub fn is_udp(&self) -> bool {
        self.protocol == UDP
    }

    /// ICMP of either family.
    pub fn is_icmp(&self) -> bool {
        self.protocol == ICMP || self.protocol == ICMPV6
    }

    /// Where it goes to.
    pub fn remote(&self) -> SocketAddr {
        let port = self.ports.map_or(0, |(_, destination)| destination);
        SocketAddr::new(self.destination, port)
    }

    /// What a host says of its own accord to find its neighbours.
    fn is_of_the_link(&self) -> bool {
        let first = self.payload.first().copied().unwrap_or_default();
        // MLD stands behind a hop-by-hop header.
        let mld = self.protocol == 0 || first == MLD_V2_REPORT;
        mld || (self.protocol == ICMPV6 && ICMPV6_OF_THE_LINK.contains(&first))
    }
}

/// A tap.
#[derive(Debug)]
pub struct Tap(Capture);

impl Tap {
    /// Taps an interface of `host` from now on.
    #[track_caller]
    pub fn new(host: &Host, interface: &str) -> Self {
        let capture = host.enter(|| Capture::open(interface, CaptureFilter::Everything));
        Self(capture.expect("a capture"))
    }

    /// What has passed since the last call; ARP and neighbour discovery are left out. Panics if
    /// some of it was lost.
    #[track_caller]
    pub fn packets(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(frame) = self.0.read().expect("the tapped interface is there") {
            let Some(ip) = frame.bytes.get(ETHERNET_HEADER_LEN..) else {
                continue;
            };
            let Ok(flow) = Flow::parse(ip) else { continue };
            let skipped = match (flow.protocol, flow.ports) {
                (UDP, Some(_)) => flow.header_len + UDP_HEADER_LEN,
                _ => flow.header_len,
            };
            let packet = Packet {
                outgoing: frame.outgoing,
                source: flow.source,
                destination: flow.destination,
                protocol: flow.protocol,
                ports: flow.ports,
                payload: ip.get(skipped..flow.total_len).unwrap_or_default().to_vec(),
            };
            if !packet.is_of_the_link() {
                packets.push(packet);
            }
        }
        assert_eq!(self.0.lost().expect("a count"), 0, "the tap lost packets");
        packets
    }

    /// As [`Tap::packets`], only those that the host sent.
    #[track_caller]
    pub fn outgoing(&mut self) -> Vec<Packet> {
        let mut packets = self.packets();
        packets.retain(|packet| packet.outgoing);
        packets
    }
}
