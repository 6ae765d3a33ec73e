//! The header that Linux puts before each packet of a TUN device opened with IFF_VNET_HDR.
//!
//! `struct virtio_net_hdr` of linux/virtio_net.h, in the machine's byte order:
//!
//! ```text
//!  0  flags        2  hdr_len       6  csum_start
//!  1  gso_type     4  gso_size      8  csum_offset
//! ```

use crate::{Malformed, ip::array};

/// What the packet behind it still needs: a checksum, or being cut into segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// [`VnetHeader::NEEDS_CSUM`] or 0.
    pub flags: u8,
    /// One of the `GSO_` constants.
    pub gso_type: u8,
    /// Bytes of all headers: a hint, wrong for forwarded packets, never to be trusted.
    pub hdr_len: u16,
    /// Payload bytes per segment.
    pub gso_size: u16,
    /// Where the checksummed part begins.
    pub csum_start: u16,
    /// Where in that part the checksum stands.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// Its length, in bytes.
    pub const LEN: usize = 10;

    /// Flag: the checksum field holds the pseudo-header's sum only.
    pub const NEEDS_CSUM: u8 = 1;

    /// Not a superpacket.
    pub const GSO_NONE: u8 = 0;
    /// TCP segments over IPv4.
    pub const GSO_TCPV4: u8 = 1;
    /// TCP segments over IPv6.
    pub const GSO_TCPV6: u8 = 4;
    /// UDP datagrams over either (USO).
    pub const GSO_UDP_L4: u8 = 5;
    /// Bit beside the type: the first TCP segment has CWR set.
    pub const GSO_ECN: u8 = 0x80;

    /// Reads the header at the start of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let Some(bytes) = bytes.first_chunk::<{ Self::LEN }>() else {
            return Err(Malformed::Truncated);
        };
        let field = |at: usize| u16::from_ne_bytes(array(bytes, at));
        Ok(Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: field(2),
            gso_size: field(4),
            csum_start: field(6),
            csum_offset: field(8),
        })
    }

    /// The header as the kernel reads it.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        self.write(&mut bytes);
        bytes
    }

    /// Writes the header as the kernel reads it.
    pub fn write(&self, out: &mut [u8; Self::LEN]) {
        out[0] = self.flags;
        out[1] = self.gso_type;
        out[2..4].copy_from_slice(&self.hdr_len.to_ne_bytes());
        out[4..6].copy_from_slice(&self.gso_size.to_ne_bytes());
        out[6..8].copy_from_slice(&self.csum_start.to_ne_bytes());
        out[8..10].copy_from_slice(&self.csum_offset.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let header = VnetHeader {
            flags: VnetHeader::NEEDS_CSUM,
            gso_type: VnetHeader::GSO_TCPV6 | VnetHeader::GSO_ECN,
            hdr_len: 0x0102,
            gso_size: 0x0304,
            csum_start: 0x0506,
            csum_offset: 0x0708,
        };
        let mut bytes = [0xaa; 12];
        bytes[..10].copy_from_slice(&header.to_bytes());
        assert_eq!(VnetHeader::parse(&bytes), Ok(header));
        assert_eq!(u16::from_ne_bytes([bytes[4], bytes[5]]), 0x0304);
        assert_eq!(VnetHeader::parse(&bytes[..9]), Err(Malformed::Truncated));
    }
}
