//! A packet that nobody has sent: what somebody asks about who wants to know what would become of
//! it.

use core::net::IpAddr;

use serde::{Deserialize, Serialize};
use weapon_wire::{Icmp, header_len_min, ip, tcp};

/// What its headers are to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// Where it is from: outbound as its sender knows itself, inbound as peers know it.
    pub source: IpAddr,
    /// Where it goes: inbound as peers know it.
    pub destination: IpAddr,
    /// The number of what it carries. ICMP of the packet's version is a request for an echo, TCP
    /// asks for a connection.
    pub protocol: u8,
    /// Source and destination port; looked at where the protocol has some.
    pub ports: (u16, u16),
    /// Its bytes, with the IP header. Where its headers alone are longer, it is as long as they.
    pub len: usize,
}

/// Bytes of the longest transport header that is looked at.
const TRANSPORT_LEN_MAX: usize = tcp::HEADER_LEN;

impl Hypothesis {
    /// Bytes of the shortest packet of this protocol.
    pub fn len_min(&self) -> usize {
        let header = match self.source {
            IpAddr::V4(_) => ip::V4_HEADER_LEN,
            IpAddr::V6(_) => ip::V6_HEADER_LEN,
        };
        header.saturating_add(header_len_min(self.protocol, self.is_icmp()))
    }

    /// Bytes of the packet.
    pub fn size(&self) -> usize {
        self.len.max(self.len_min())
    }

    /// Whether its protocol has ports.
    pub fn has_ports(&self) -> bool {
        ip::has_ports(self.protocol)
    }

    fn is_icmp(&self) -> bool {
        ip::is_icmp(self.protocol, self.source)
    }

    /// The packet, without checksums; `None` if there is none with such addresses and length.
    pub(crate) fn packet(&self) -> Option<Vec<u8>> {
        let len = self.size();
        if len > ip::TOTAL_LEN_MAX {
            return None;
        }
        let mut packet = vec![0; len];
        let ends = (self.source, self.destination);
        let header = ip::put_header(&mut packet, ends, self.protocol)?;
        let behind = packet.get_mut(header..)?;
        let transport = self.transport();
        let there = behind.len().min(TRANSPORT_LEN_MAX);
        behind
            .get_mut(..there)?
            .copy_from_slice(transport.get(..there)?);
        Some(packet)
    }

    fn transport(&self) -> [u8; TRANSPORT_LEN_MAX] {
        let mut header = [0; TRANSPORT_LEN_MAX];
        if self.is_icmp() {
            header[0] = Icmp::echo_of(self.source).kind;
        }
        if self.has_ports() {
            let (source, destination) = self.ports;
            let [a, b] = source.to_be_bytes();
            let [c, d] = destination.to_be_bytes();
            header[..4].copy_from_slice(&[a, b, c, d]);
        }
        if self.protocol == ip::TCP {
            // Five words of header, and the flags.
            header[12] = 5 << 4;
            header[13] = tcp::SYN;
        }
        header
    }
}
