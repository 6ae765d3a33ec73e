//! The bounded queues from lanes to the control loop, and the knock on its door.

use std::{
    collections::VecDeque,
    io,
    net::IpAddr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use serde::{Deserialize, Serialize};
use weapon_core::{
    HANDSHAKE_QUEUE_MAX, HandshakeMessage, ORIGINS, OriginHash, PeerId, Upcalls,
    WAITING_OF_ORIGIN_MAX,
};
use weapon_io::poll::EventFd;

use crate::surroundings::KernelEntropy;

/// Superpackets on their way to be parked, and their bytes: a burst to peers without a session.
const PARK_QUEUE_MAX: usize = 1024;
const PARK_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Packets on their way back to their senders.
const UNREACHABLE_QUEUE_MAX: usize = 64;

/// What lanes have for the control loop.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) handshakes: VecDeque<HandshakeMessage>,
    /// How many of the handshakes each origin has: none may fill the queue (P74).
    of_origin: Box<[u16; ORIGINS]>,
    pub(crate) parked: VecDeque<(PeerId, Box<[u8]>)>,
    parked_bytes: usize,
    pub(crate) unreachable: VecDeque<Box<[u8]>>,
    /// Each peer at most once, so never longer than there are peers.
    pub(crate) attention: VecDeque<PeerId>,
}

impl Default for Mail {
    fn default() -> Self {
        Self {
            handshakes: VecDeque::new(),
            of_origin: Box::new([0; ORIGINS]),
            parked: VecDeque::new(),
            parked_bytes: 0,
            unreachable: VecDeque::new(),
            attention: VecDeque::new(),
        }
    }
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.handshakes.is_empty()
            && self.parked.is_empty()
            && self.unreachable.is_empty()
            && self.attention.is_empty()
    }
}

/// What waits for the control loop at one moment, and what was lost for want of room. Handshake
/// messages and packets to park that find none are counted among the drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Handshake messages.
    pub handshakes: usize,
    /// Superpackets on their way to be parked.
    pub parked: usize,
    /// Packets on their way back to their senders.
    pub unreachable: usize,
    /// Peers that want something.
    pub attention: usize,
    /// Packets that did not go back to their senders.
    pub unreachable_lost: u64,
}

/// The queues and the knock.
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    unreachable_lost: AtomicU64,
    knock: EventFd,
    /// Made with the first message of a handshake.
    hash: OnceLock<OriginHash>,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            mail: Mutex::default(),
            unreachable_lost: AtomicU64::new(0),
            knock: EventFd::new()?,
            hash: OnceLock::new(),
        })
    }

    /// Readable when there is mail, or a command.
    pub(crate) fn knock(&self) -> &EventFd {
        &self.knock
    }

    /// Swaps the mail with an empty one, whose room is used again.
    pub(crate) fn take(&self, emptied: &mut Mail) {
        debug_assert!(emptied.is_empty());
        emptied.parked_bytes = 0;
        emptied.of_origin.fill(0);
        std::mem::swap(&mut *self.mail(), emptied);
    }

    pub(crate) fn waiting(&self) -> Waiting {
        let mail = self.mail();
        Waiting {
            handshakes: mail.handshakes.len(),
            parked: mail.parked.len(),
            unreachable: mail.unreachable.len(),
            attention: mail.attention.len(),
            unreachable_lost: self.unreachable_lost.load(Relaxed),
        }
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The place of the origin of `address`. All are one until there is randomness: nothing is
    /// answered then (P104).
    fn origin(&self, address: IpAddr) -> usize {
        if let Some(hash) = self.hash.get() {
            return hash.origin(address);
        }
        let made = OriginHash::new(&mut KernelEntropy);
        made.map_or(0, |hash| self.hash.get_or_init(|| hash).origin(address))
    }

    /// Runs `put` on the mail and knocks if that brought the first.
    fn put(&self, put: impl FnOnce(&mut Mail) -> bool) -> bool {
        let mut mail = self.mail();
        let was_empty = mail.is_empty();
        let taken = put(&mut mail);
        drop(mail);
        if taken && was_empty {
            self.knock.wake();
        }
        taken
    }
}

impl Upcalls for &Mailbox {
    fn handshake(&mut self, message: HandshakeMessage) -> bool {
        let origin = self.origin(message.from.remote.ip());
        self.put(|mail| {
            let of_origin = &mut mail.of_origin[origin];
            let room = mail.handshakes.len() < HANDSHAKE_QUEUE_MAX
                && usize::from(*of_origin) < WAITING_OF_ORIGIN_MAX;
            if room {
                *of_origin += 1;
                mail.handshakes.push_back(message);
            }
            room
        })
    }

    fn park(&mut self, peer: PeerId, read: &[u8]) -> bool {
        self.put(|mail| {
            let room = mail.parked.len() < PARK_QUEUE_MAX
                && mail.parked_bytes + read.len() <= PARK_QUEUE_BYTES_MAX;
            if room {
                mail.parked_bytes += read.len();
                mail.parked.push_back((peer, read.into()));
            }
            room
        })
    }

    fn unreachable(&mut self, packet: &[u8]) {
        let taken = self.put(|mail| {
            let room = mail.unreachable.len() < UNREACHABLE_QUEUE_MAX;
            if room {
                mail.unreachable.push_back(packet.into());
            }
            room
        });
        if !taken {
            self.unreachable_lost.fetch_add(1, Relaxed);
        }
    }

    fn attention(&mut self, peer: PeerId) {
        self.put(|mail| {
            mail.attention.push_back(peer);
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: &str) -> HandshakeMessage {
        let from = weapon_wire::Endpoint::new(from.parse().unwrap());
        HandshakeMessage::new(&[1; 148], from).unwrap()
    }

    #[test]
    fn p74_no_network_fills_the_queue() {
        let mailbox = Mailbox::new().unwrap();
        let mut upcalls = &mailbox;
        let mut put = |from: &str| upcalls.handshake(message(from));
        let taken = (0..HANDSHAKE_QUEUE_MAX)
            .filter(|_| put("203.0.113.1:9"))
            .count();
        assert_eq!(taken, WAITING_OF_ORIGIN_MAX);
        // One of these shares its place, perhaps.
        assert!(
            ["192.0.2.1:9", "198.51.100.1:9", "10.0.0.1:9"]
                .into_iter()
                .any(&mut put)
        );
        // Each return needs a place of its own.
        for _ in 0..UNREACHABLE_QUEUE_MAX + 3 {
            (&mailbox).unreachable(&[1]);
        }
        let waiting = mailbox.waiting();
        assert_eq!((waiting.unreachable, waiting.unreachable_lost), (64, 3));
        // What was taken out makes room.
        mailbox.take(&mut Mail::default());
        assert!(put("203.0.113.1:9"));
    }
}
