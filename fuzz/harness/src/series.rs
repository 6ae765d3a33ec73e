//! Packets that nearly belong together: a stream, and what goes wrong in it.

use weapon_wire::{Flow, SEGMENTS_MAX, VnetHeader};

use crate::{input::Input, plain};

/// Packets of a series at most: two batches, the second not full.
const PACKETS_MAX: usize = SEGMENTS_MAX + 32;

/// A packet's headers, from which others are made.
#[derive(Clone)]
struct Stream {
    /// IP and transport header.
    headers: Vec<u8>,
    ip_len: usize,
    protocol: u8,
}

impl Stream {
    /// Any header without IP options or extensions.
    fn new(input: &mut Input<'_>) -> Self {
        let kind = input.u8();
        let (is_v6, is_tcp) = (kind & 1 != 0, kind & 2 != 0);
        let protocol = if is_tcp { 6 } else { 17 };
        let mut headers = Vec::new();
        if is_v6 {
            headers.extend([0x60, 0, 0, 0, 0, 0, protocol, 64]);
            for last in [1, 2] {
                headers.extend([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
            }
        } else {
            headers.extend([0x45, 0, 0, 0]);
            headers.extend(input.u16().to_be_bytes());
            let fragment = if kind & 4 != 0 { 0x40 } else { 0 };
            headers.extend([fragment, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        }
        let ip_len = headers.len();
        headers.extend([0x12, 0x34, 0, 80]);
        if is_tcp {
            let options = usize::from(kind >> 4) % 11 * 4;
            headers.extend(input.u32().to_be_bytes());
            headers.extend([0, 0, 0, 1, ((20 + options) as u8 / 4) << 4, 0x10, 1, 0]);
            headers.resize(ip_len + 20 + options, 0);
        } else {
            headers.extend([0; 4]);
        }
        Self {
            headers,
            ip_len,
            protocol,
        }
    }

    /// A packet with these headers whose lengths are right.
    fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut packet = [&self.headers, payload].concat();
        let len = packet.len();
        if self.is_v6() {
            plain::put(&mut packet, 4, (len - 40) as u16);
        } else {
            plain::put(&mut packet, 2, len as u16);
        }
        if self.protocol == 17 {
            plain::put(&mut packet, self.ip_len + 4, (len - self.ip_len) as u16);
        }
        packet
    }

    fn is_v6(&self) -> bool {
        self.ip_len == 40
    }

    fn fix(&self, packet: &mut [u8]) {
        // Its version may have become another.
        if plain::is_v6(packet) == self.is_v6() {
            plain::fix_header(packet);
            plain::fix_transport(packet, self.protocol, self.ip_len);
        }
    }

    /// The next packet goes on where one with `payload_len` bytes ended.
    fn advance(&mut self, payload_len: usize) {
        if !self.is_v6() {
            let id = plain::field(&self.headers, 4).wrapping_add(1);
            plain::put(&mut self.headers, 4, id);
        }
        if self.protocol == 6 {
            let at = self.ip_len + 4;
            let field: [u8; 4] = self.headers[at..at + 4].try_into().unwrap();
            let sequence = u32::from_be_bytes(field).wrapping_add(payload_len as u32);
            self.headers[at..at + 4].copy_from_slice(&sequence.to_be_bytes());
        }
    }
}

/// Bytes without a pattern.
fn payload(seed: u8, len: usize) -> Vec<u8> {
    let byte = |at: usize| {
        let mixed = (u64::from(seed) << 32 ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 56) as u8
    };
    (0..len).map(byte).collect()
}

/// A superpacket with its offload header; a few bytes of its headers may be anything.
pub(crate) fn superpacket(input: &mut Input<'_>) -> (VnetHeader, Vec<u8>) {
    let mut stream = Stream::new(input);
    let (gso_size, len) = (input.u16(), usize::from(input.u16()));
    let seed = input.u8();
    for _ in 0..input.u8() % 4 {
        let at = usize::from(input.u8()) % stream.headers.len();
        stream.headers[at] ^= input.u8();
    }
    let payload = payload(seed, len.min(65_535 - stream.headers.len()));
    let packet = stream.packet(&payload);
    let gso_type = match (stream.protocol, stream.is_v6()) {
        (6, false) => VnetHeader::GSO_TCPV4,
        (6, true) => VnetHeader::GSO_TCPV6,
        _ => VnetHeader::GSO_UDP_L4,
    };
    let vnet = VnetHeader {
        flags: VnetHeader::NEEDS_CSUM,
        gso_type,
        hdr_len: stream.headers.len() as u16,
        gso_size,
        csum_start: stream.ip_len as u16,
        csum_offset: plain::checksum_offset(stream.protocol) as u16,
    };
    (vnet, packet)
}

/// Packets of up to four streams. Each goes on where the one before ended, unless the input says
/// otherwise. All of them are packets.
pub(crate) fn packets(input: &mut Input<'_>) -> Vec<Vec<u8>> {
    let first = Stream::new(input);
    let mut streams = vec![first; 4];
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.headers[stream.ip_len + 1] ^= number as u8;
    }
    let mut usual_len = usize::from(input.u16()) % 1500;
    let mut packets = Vec::new();
    while !input.is_empty() && packets.len() < PACKETS_MAX {
        let step = input.u8();
        let stream = &mut streams[usize::from(step & 3)];
        let mut len = usual_len;
        if step & 4 != 0 {
            len = usize::from(input.u16()) % 1500;
            if step & 8 != 0 {
                usual_len = len;
            }
        }
        let mut packet = stream.packet(&payload(packets.len() as u8, len));
        let (at, bits) = match step >> 6 {
            // In one packet only, or from here on.
            1 | 2 => (usize::from(input.u8()) % stream.headers.len(), input.u8()),
            _ => (0, 0),
        };
        packet[at] ^= bits;
        if step & 16 == 0 {
            stream.fix(&mut packet);
        }
        if step >> 6 == 2 {
            stream.headers[at] ^= bits;
        }
        if step & 32 == 0 {
            stream.advance(len);
        }
        if let Ok(flow) = Flow::parse(&packet) {
            packet.truncate(flow.total_len);
            packets.push(packet);
        }
    }
    packets
}
