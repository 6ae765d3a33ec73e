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
    /// Adds a packet and returns how many old ones had to go for it.
    pub(crate) fn push(&mut self, read: Box<[u8]>) -> u64 {
        let mut dropped = 0;
        self.bytes = self.bytes.saturating_add(read.len());
        self.packets.push_back(read);
        while self.packets.len() > STAGED_PACKETS_MAX
            || (self.bytes > PARKED_BYTES_MAX && self.packets.len() > 1)
        {
            let Some(oldest) = self.packets.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.len());
            dropped = u64::saturating_add(dropped, 1);
        }
        dropped
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

    /// Drops all and returns how many there were.
    pub(crate) fn clear(&mut self) -> u64 {
        let count = self.packets.len() as u64;
        self.packets.clear();
        self.bytes = 0;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p34_the_oldest_goes_first_when_full() {
        let mut parked = Parked::default();
        for number in 0..STAGED_PACKETS_MAX {
            assert_eq!(parked.push(Box::new([number as u8])), 0);
        }
        assert_eq!(parked.push(Box::new([200])), 1);
        assert_eq!(parked.len(), STAGED_PACKETS_MAX);
        assert_eq!(parked.pop().as_deref(), Some(&[1][..]));
    }

    #[test]
    fn superpackets_are_bounded_by_bytes() {
        let mut parked = Parked::default();
        let dropped: u64 = (0..10).map(|_| parked.push(vec![0; 65_536].into())).sum();
        assert_eq!(dropped, 6);
        assert_eq!(parked.len(), 4);
        assert_eq!(parked.clear(), 4);
        assert!(parked.is_empty() && parked.bytes == 0);
    }
}
