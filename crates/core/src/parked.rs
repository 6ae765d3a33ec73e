//! Packets of one peer that wait for a session (WireGuard's staged packets).

use std::collections::VecDeque;

use weapon_noise::protocol::STAGED_PACKETS_MAX;

/// Bytes that wait at most: 128 packets of 2 KB, for superpackets would be 8 MB.
const PARKED_BYTES_MAX: usize = 256 * 1024;

/// Superpackets with their headers, as they were read from the overlay. Oldest first.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
}

impl Parked {
    /// Adds a packet; `gone` is called for each old one that has to go for it.
    pub(crate) fn push(&mut self, read: Box<[u8]>, mut gone: impl FnMut(&[u8])) {
        self.bytes = self.bytes.saturating_add(read.len());
        self.packets.push_back(read);
        while self.packets.len() > STAGED_PACKETS_MAX
            || (self.bytes > PARKED_BYTES_MAX && self.packets.len() > 1)
        {
            let Some(oldest) = self.packets.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.len());
            gone(&oldest);
        }
    }

    /// Takes the oldest packet.
    pub(crate) fn pop(&mut self) -> Option<Box<[u8]>> {
        let oldest = self.packets.pop_front()?;
        self.bytes = self.bytes.saturating_sub(oldest.len());
        Some(oldest)
    }

    /// Bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether none waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p34_the_oldest_goes_first_when_full() {
        let mut parked = Parked::default();
        for number in 0..STAGED_PACKETS_MAX {
            parked.push(Box::new([number as u8]), |_| panic!("there is room"));
        }
        let mut gone = Vec::new();
        parked.push(Box::new([200]), |read| gone.push(read.to_vec()));
        assert_eq!(gone, [[0]]);
        assert_eq!(parked.len(), STAGED_PACKETS_MAX);
        assert_eq!(parked.pop().as_deref(), Some(&[1][..]));
    }

    #[test]
    fn superpackets_are_bounded_by_bytes() {
        let mut parked = Parked::default();
        let mut dropped = 0;
        for _ in 0..10 {
            parked.push(vec![0; 65_536].into(), |_| dropped += 1);
        }
        assert_eq!(dropped, 6);
        assert_eq!(parked.len(), 4);
        while parked.pop().is_some() {}
        assert!(parked.is_empty() && parked.bytes == 0);
    }
}
