//! The bounded queues from lanes to the control loop, and the knock on its door.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use weapon_core::{HANDSHAKE_QUEUE_MAX, HandshakeMessage, PeerId, Upcalls};
use weapon_io::poll::EventFd;

/// Superpackets on their way to be parked, and their bytes: a burst to peers without a session.
const PARK_QUEUE_MAX: usize = 1024;
const PARK_QUEUE_BYTES_MAX: usize = 4 << 20;

/// Packets on their way back to their senders.
const UNREACHABLE_QUEUE_MAX: usize = 64;

/// What lanes have for the control loop.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    pub(crate) handshakes: VecDeque<HandshakeMessage>,
    pub(crate) parked: VecDeque<(PeerId, Box<[u8]>)>,
    parked_bytes: usize,
    pub(crate) unreachable: VecDeque<Box<[u8]>>,
    /// Each peer at most once, so never longer than there are peers.
    pub(crate) attention: VecDeque<PeerId>,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.handshakes.is_empty()
            && self.parked.is_empty()
            && self.unreachable.is_empty()
            && self.attention.is_empty()
    }
}

/// The queues and the knock.
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    knock: EventFd,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            mail: Mutex::default(),
            knock: EventFd::new()?,
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
        std::mem::swap(&mut *self.mail(), emptied);
    }

    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.put(|mail| {
            let room = mail.handshakes.len() < HANDSHAKE_QUEUE_MAX;
            if room {
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
        self.put(|mail| {
            let room = mail.unreachable.len() < UNREACHABLE_QUEUE_MAX;
            if room {
                mail.unreachable.push_back(packet.into());
            }
            room
        });
    }

    fn attention(&mut self, peer: PeerId) {
        self.put(|mail| {
            mail.attention.push_back(peer);
            true
        });
    }
}
