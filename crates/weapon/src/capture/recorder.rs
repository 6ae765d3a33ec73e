//! What was seen, written as it comes, up to a limit.

use std::collections::BTreeMap;

use weapon_core::{PeerId, Way};
use weapon_engine::{Seen, Taken};
use weapon_wire::{Flow, Superpacket, VnetHeader};

use super::{
    Capture, comment,
    pcapng::{self, PACKET_BYTES_MAX, Packet},
};

/// What a capture has written so far.
#[derive(Debug)]
pub struct Recorder {
    /// Numbers of the peers' interfaces; that of nobody is 0.
    interfaces: BTreeMap<Option<PeerId>, u32>,
    names: BTreeMap<PeerId, Box<str>>,
    /// Packets seen and missed, by interface.
    counts: Vec<(u64, u64)>,
    packets: u64,
    bytes: u64,
    packets_max: u64,
    bytes_max: u64,
    is_full: bool,
    segment: Vec<u8>,
}

impl Recorder {
    /// Begins, for the gateway of this name.
    pub fn new(gateway: &str, wanted: &Capture, out: &mut Vec<u8>) -> Self {
        let start = out.len();
        let program = concat!("weapon ", env!("CARGO_PKG_VERSION"));
        pcapng::section(out, program);
        pcapng::interface(out, gateway, "packets that are for no peer");
        Self {
            interfaces: BTreeMap::from([(None, 0)]),
            names: BTreeMap::new(),
            counts: vec![(0, 0)],
            packets: 0,
            bytes: (out.len() - start) as u64,
            packets_max: wanted.count.unwrap_or(u64::MAX),
            bytes_max: wanted.bytes.unwrap_or(u64::MAX),
            is_full: false,
            segment: vec![0; PACKET_BYTES_MAX],
        }
    }

    /// Whether a limit is reached.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// Writes what was taken, as far as there is room.
    pub fn write(&mut self, taken: Taken, out: &mut Vec<u8>) {
        self.names.extend(taken.names);
        for (peer, count) in taken.missed {
            let interface = self.interface(peer, out);
            self.counts[interface as usize].1 += count;
        }
        for seen in &taken.seen {
            if self.is_full {
                return;
            }
            self.seen(seen, out);
        }
    }

    /// Writes how many packets were seen and missed.
    pub fn end(&self, at: u64, out: &mut Vec<u8>) {
        for (interface, counts) in (0..).zip(&self.counts) {
            pcapng::statistics(out, interface, at, *counts);
        }
    }

    fn seen(&mut self, seen: &Seen, out: &mut Vec<u8>) {
        if seen.way == Way::Inbound {
            // By its own account: what lies beyond is padding.
            let len = Flow::parse(&seen.bytes).map(|flow| flow.total_len);
            let packet = seen.bytes.get(..len.unwrap_or(seen.bytes.len()));
            return self.packet(seen, packet.unwrap_or_default(), out);
        }
        let packet = seen.bytes.get(VnetHeader::LEN..).unwrap_or_default();
        let vnet = VnetHeader::parse(&seen.bytes);
        let Some(superpacket) = vnet
            .ok()
            .and_then(|vnet| Superpacket::parse(&vnet, packet).ok())
        else {
            return self.packet(seen, packet, out);
        };
        let mut room = std::mem::take(&mut self.segment);
        for index in 0..superpacket.segments() {
            let segment = superpacket.segment(index, &mut room);
            let len = segment.head_len + segment.rest.len();
            room[segment.head_len..len].copy_from_slice(segment.rest);
            self.packet(seen, &room[..len], out);
        }
        self.segment = room;
    }

    fn packet(&mut self, seen: &Seen, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_full {
            return;
        }
        let interface = self.interface(seen.peer, out);
        let comment = comment::of(seen.fate, seen.ruling.as_ref());
        let before = out.len();
        let packet = Packet {
            interface,
            at: seen.at,
            is_inbound: seen.way == Way::Inbound,
            bytes,
            comment: comment.as_deref(),
        };
        pcapng::packet(out, &packet);
        let all = self.bytes + (out.len() - before) as u64;
        if all > self.bytes_max {
            out.truncate(before);
            self.is_full = true;
            return;
        }
        self.bytes = all;
        self.packets += 1;
        self.counts[interface as usize].0 += 1;
        self.is_full = self.packets >= self.packets_max;
    }

    /// The number of a peer's interface, which is written first if there was none.
    fn interface(&mut self, peer: Option<PeerId>, out: &mut Vec<u8>) -> u32 {
        if let Some(number) = self.interfaces.get(&peer) {
            return *number;
        }
        let name = peer.and_then(|peer| self.names.get(&peer));
        let name = name.map_or("unknown", |name| name);
        let before = out.len();
        pcapng::interface(out, name, &format!("packets for and from the peer {name}"));
        self.bytes += (out.len() - before) as u64;
        let number = self.counts.len() as u32;
        self.counts.push((0, 0));
        self.interfaces.insert(peer, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::{DropReason, Fate, Ruling, filter::Action};

    use super::*;

    fn ping(len: u8) -> Vec<u8> {
        let mut packet = vec![0; usize::from(len)];
        packet[0] = 0x45;
        packet[3] = len;
        packet[9] = 1;
        packet[12..16].copy_from_slice(&[10, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[10, 0, 0, 2]);
        packet
    }

    fn seen(peer: Option<u32>, way: Way, fate: Fate, bytes: Vec<u8>) -> Seen {
        Seen {
            at: 5,
            way,
            peer: peer.map(PeerId),
            fate,
            ruling: None,
            bytes: bytes.into(),
        }
    }

    /// The kinds of blocks.
    fn kinds(mut file: &[u8]) -> Vec<u8> {
        let mut kinds = Vec::new();
        while !file.is_empty() {
            let len = u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize;
            assert_eq!(file[4..8], file[len - 4..len]);
            kinds.push(file[0]);
            file = &file[len..];
        }
        kinds
    }

    fn taken() -> Taken {
        let mut outbound = vec![0; VnetHeader::LEN];
        outbound.extend(ping(40));
        let mut padded = ping(40);
        padded.extend([0; 8]);
        let dropped = Fate::Dropped(DropReason::NoRoute);
        Taken {
            seen: vec![
                Seen {
                    ruling: Some(Ruling::Rule(Action::Allow, "web".into())),
                    ..seen(Some(7), Way::Outbound, Fate::Passed, outbound)
                },
                seen(Some(7), Way::Inbound, Fate::Passed, padded),
                seen(None, Way::Outbound, dropped, vec![1; VnetHeader::LEN + 3]),
            ],
            names: BTreeMap::from([(PeerId(7), "site-b".into())]),
            missed: BTreeMap::from([(Some(PeerId(7)), 3)]),
        }
    }

    #[test]
    fn packets_stand_by_their_peers() {
        let mut out = Vec::new();
        let mut recorder = Recorder::new("site-a", &Capture::default(), &mut out);
        recorder.write(taken(), &mut out);
        recorder.end(9, &mut out);
        assert_eq!(kinds(&out), [10, 1, 1, 6, 6, 6, 5, 5]);
        assert_eq!(recorder.counts, [(1, 0), (2, 3)]);
        let text = String::from_utf8_lossy(&out);
        for part in [
            "site-a",
            "site-b",
            "dropped: no_route",
            "allowed by rule \"web\"",
        ] {
            assert!(text.contains(part), "{part}");
        }
        // The padding is not there.
        assert_eq!(out.windows(40).filter(|it| **it == ping(40)).count(), 2);
        assert_eq!(
            out.windows(48)
                .filter(|it| it.starts_with(&ping(40)) && it[40..] == [0; 8])
                .count(),
            0
        );
    }

    #[test]
    fn limits_are_kept() {
        let all = |wanted: Capture| {
            let mut out = Vec::new();
            let mut recorder = Recorder::new("site-a", &wanted, &mut out);
            recorder.write(taken(), &mut out);
            let packets = kinds(&out).iter().filter(|it| **it == 6).count();
            (recorder.is_full(), packets, out.len())
        };
        let (_, _, whole) = all(Capture::default());
        let count = |count| {
            all(Capture {
                count: Some(count),
                ..Capture::default()
            })
        };
        assert!(count(1).0);
        assert_eq!(count(1).1, 1);
        assert_eq!((count(4).0, count(4).1), (false, 3));
        let bytes = |bytes| {
            all(Capture {
                bytes: Some(bytes),
                ..Capture::default()
            })
        };
        let whole = whole as u64;
        assert_eq!((bytes(whole).0, bytes(whole).1), (false, 3));
        let (is_full, packets, len) = bytes(whole - 1);
        assert_eq!((is_full, packets), (true, 2));
        assert!((len as u64) < whole);
    }
}
