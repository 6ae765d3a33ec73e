//! Who looks at packets: a capture has a ring for each thread, into which that puts what it sees.
//!
//! A thread never waits: if its ring has no room, or is just being emptied, the packet is counted
//! as missed. While nobody looks, it reads one flag for each batch.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, TryLockError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use weapon_core::{Fate, HandshakeMessage, PeerId, Ruling, Sighting, Upcalls, Way};
use weapon_wire::{Superpacket, VnetHeader};

use crate::{engine::Engine, mailbox::Mailbox, surroundings::now};

/// Bytes of packets in the ring of a thread: what a fast lane carries in some milliseconds.
const RING_BYTES_MAX: usize = 4 << 20;

/// Superpackets in it.
const RING_PACKETS_MAX: usize = 16_384;

/// Which packets somebody wants to see. Called by lanes.
pub type Wants = Box<dyn Fn(&Sighting<'_>) -> bool + Send + Sync>;

/// All captures that run.
#[derive(Debug)]
pub(crate) struct Taps {
    is_on: AtomicBool,
    all: ArcSwap<Vec<Arc<Capture>>>,
    /// Held by who changes them.
    changing: Mutex<()>,
    rings: usize,
}

impl Taps {
    /// For so many threads.
    pub(crate) fn new(rings: usize) -> Self {
        Self {
            is_on: AtomicBool::new(false),
            all: ArcSwap::default(),
            changing: Mutex::new(()),
            rings,
        }
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Arc<Capture>>)) {
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.all.load().to_vec();
        change(&mut all);
        let is_on = !all.is_empty();
        self.all.store(Arc::new(all));
        self.is_on.store(is_on, Relaxed);
    }
}

/// What a thread tells others in a batch: mail for the control loop, and packets for who looks.
pub(crate) struct Watched<'a> {
    mailbox: &'a Mailbox,
    captures: Option<Arc<Vec<Arc<Capture>>>>,
    ring: usize,
    /// The packet that is shown next was parked.
    has_parked: bool,
}

impl<'a> Watched<'a> {
    pub(crate) fn new(mailbox: &'a Mailbox, taps: &Taps, ring: usize) -> Self {
        let is_on = taps.is_on.load(Relaxed);
        Self {
            mailbox,
            captures: is_on.then(|| taps.all.load_full()),
            ring,
            has_parked: false,
        }
    }
}

impl Upcalls for Watched<'_> {
    fn handshake(&mut self, message: HandshakeMessage) -> bool {
        let mut mailbox = self.mailbox;
        mailbox.handshake(message)
    }

    fn park(&mut self, peer: PeerId, read: &[u8]) -> bool {
        let mut mailbox = self.mailbox;
        self.has_parked = mailbox.park(peer, read);
        self.has_parked
    }

    fn unreachable(&mut self, packet: &[u8]) {
        let mut mailbox = self.mailbox;
        mailbox.unreachable(packet);
    }

    fn attention(&mut self, peer: PeerId) {
        let mut mailbox = self.mailbox;
        mailbox.attention(peer);
    }

    fn is_watched(&self) -> bool {
        self.captures.is_some()
    }

    #[cold]
    fn show(&mut self, mut sighting: Sighting<'_>) {
        let has_parked = std::mem::take(&mut self.has_parked);
        if has_parked && sighting.way == Way::Outbound && sighting.fate == Fate::Passed {
            sighting.fate = Fate::Parked;
        }
        for capture in self.captures.iter().flat_map(|all| all.iter()) {
            capture.put(&sighting, self.ring);
        }
    }
}

/// A packet that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When, in nanoseconds since 1970.
    pub at: u64,
    /// Which way it went.
    pub way: Way,
    /// Whom it was for, or from.
    pub peer: Option<PeerId>,
    /// What became of it.
    pub fate: Fate,
    /// Who has decided that.
    pub ruling: Option<Ruling>,
    /// See [`Sighting::bytes`].
    pub bytes: Box<[u8]>,
}

/// What was seen since the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// The packets, in the order of time.
    pub seen: Vec<Seen>,
    /// The names of their peers.
    pub names: BTreeMap<PeerId, Box<str>>,
    /// How many packets were not taken for want of room, by peer. Those of nobody are among those
    /// of whom it could not be said.
    pub missed: BTreeMap<Option<PeerId>, u64>,
}

#[derive(Default)]
struct Ring {
    records: Vec<Record>,
    bytes: Vec<u8>,
    names: BTreeMap<PeerId, Box<str>>,
    missed: BTreeMap<Option<PeerId>, u64>,
}

struct Record {
    at: u64,
    way: Way,
    peer: Option<PeerId>,
    fate: Fate,
    ruling: Option<Ruling>,
    len: usize,
}

struct Capture {
    wants: Wants,
    rings: Box<[Mutex<Ring>]>,
    /// What came while a ring was emptied.
    missed: AtomicU64,
    /// Tells that there is something, after there was nothing.
    wake: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture").finish_non_exhaustive()
    }
}

impl Capture {
    fn put(&self, sighting: &Sighting<'_>, ring: usize) {
        if !(self.wants)(sighting) {
            return;
        }
        let Some(ring) = self.rings.get(ring) else {
            return;
        };
        let mut ring = match ring.try_lock() {
            Ok(ring) => ring,
            Err(TryLockError::Poisoned(ring)) => ring.into_inner(),
            Err(TryLockError::WouldBlock) => {
                self.missed.fetch_add(packets(sighting), Relaxed);
                return;
            }
        };
        let was_empty = ring.records.is_empty() && ring.missed.is_empty();
        ring.put(sighting);
        drop(ring);
        if was_empty {
            (self.wake)();
        }
    }
}

impl Ring {
    fn put(&mut self, sighting: &Sighting<'_>) {
        let peer = sighting.peer.map(|peer| peer.id);
        if let Some(peer) = sighting.peer {
            let name = self.names.entry(peer.id);
            name.or_insert_with(|| peer.name.clone());
        }
        let len = sighting.bytes.len();
        if self.records.len() >= RING_PACKETS_MAX || self.bytes.len() + len > RING_BYTES_MAX {
            *self.missed.entry(peer).or_default() += packets(sighting);
            return;
        }
        let wall = now().wall;
        let at = wall.seconds.saturating_mul(1_000_000_000);
        self.bytes.extend_from_slice(sighting.bytes);
        self.records.push(Record {
            at: at.saturating_add(wall.nanos.into()),
            way: sighting.way,
            peer,
            fate: sighting.fate,
            ruling: sighting.ruling.clone(),
            len,
        });
    }
}

/// How many packets it is.
fn packets(sighting: &Sighting<'_>) -> u64 {
    let segments = || {
        let vnet = VnetHeader::parse(sighting.bytes).ok()?;
        let packet = sighting.bytes.get(VnetHeader::LEN..)?;
        Some(Superpacket::parse(&vnet, packet).ok()?.segments() as u64)
    };
    match sighting.way {
        Way::Outbound => segments().unwrap_or(1),
        Way::Inbound => 1,
    }
}

/// A capture that runs as long as this is held.
#[derive(Debug)]
pub struct Capturing {
    capture: Arc<Capture>,
    taps: Arc<Taps>,
}

impl Capturing {
    /// What was seen since the last call.
    pub fn take(&self) -> Taken {
        let mut taken = Taken::default();
        for ring in &self.capture.rings {
            let mut full = Ring::default();
            std::mem::swap(
                &mut *ring.lock().unwrap_or_else(PoisonError::into_inner),
                &mut full,
            );
            taken.add(full);
        }
        let missed = self.capture.missed.swap(0, Relaxed);
        if missed != 0 {
            *taken.missed.entry(None).or_default() += missed;
        }
        taken.seen.sort_by_key(|seen| seen.at);
        taken
    }
}

impl Taken {
    fn add(&mut self, ring: Ring) {
        let mut rest = &ring.bytes[..];
        for record in ring.records {
            let (bytes, behind) = rest.split_at(record.len.min(rest.len()));
            rest = behind;
            self.seen.push(Seen {
                at: record.at,
                way: record.way,
                peer: record.peer,
                fate: record.fate,
                ruling: record.ruling,
                bytes: bytes.into(),
            });
        }
        self.names.extend(ring.names);
        for (peer, count) in ring.missed {
            *self.missed.entry(peer).or_default() += count;
        }
    }
}

impl Drop for Capturing {
    fn drop(&mut self) {
        self.taps
            .change(|all| all.retain(|it| !Arc::ptr_eq(it, &self.capture)));
    }
}

impl Engine {
    /// Looks at the packets that `wants` wants. `wake` is called, by a lane, when there is
    /// something to take after there was nothing; it must not wait.
    pub fn capture(&self, wants: Wants, wake: impl Fn() + Send + Sync + 'static) -> Capturing {
        Taps::capture(&self.taps, wants, wake)
    }
}

impl Taps {
    fn capture(
        taps: &Arc<Self>,
        wants: Wants,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Capturing {
        let capture = Arc::new(Capture {
            wants,
            rings: (0..taps.rings).map(|_| Mutex::default()).collect(),
            missed: AtomicU64::new(0),
            wake: Box::new(wake),
        });
        taps.change(|all| all.push(Arc::clone(&capture)));
        Capturing {
            capture,
            taps: Arc::clone(taps),
        }
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::DropReason;

    use super::*;

    fn show(taps: &Taps, ring: usize, fate: Fate, bytes: &[u8]) {
        let mailbox = Mailbox::new().unwrap();
        let mut watched = Watched::new(&mailbox, taps, ring);
        if watched.is_watched() {
            watched.show(Sighting {
                way: Way::Inbound,
                peer: None,
                bytes,
                fate,
                ruling: None,
            });
        }
    }

    #[test]
    fn what_is_wanted_is_seen_while_somebody_looks() {
        let taps = Arc::new(Taps::new(2));
        let woken = Arc::new(AtomicU64::new(0));
        let wakes = Arc::clone(&woken);
        show(&taps, 0, Fate::Passed, b"before");
        let wants: Wants = Box::new(|it| it.fate != Fate::Passed);
        let capturing = Taps::capture(&taps, wants, move || {
            wakes.fetch_add(1, Relaxed);
        });
        let all = Taps::capture(&taps, Box::new(|_| true), || ());
        let dropped = Fate::Dropped(DropReason::WrongSource);
        show(&taps, 0, Fate::Passed, b"unwanted");
        show(&taps, 1, dropped, b"one");
        show(&taps, 1, dropped, b"two");
        show(&taps, 0, Fate::Parked, b"three");
        let taken = capturing.take();
        let seen: Vec<_> = taken.seen.iter().map(|it| (&*it.bytes, it.fate)).collect();
        let expected = [
            (&b"one"[..], dropped),
            (b"two", dropped),
            (b"three", Fate::Parked),
        ];
        assert_eq!(seen, expected);
        assert!(taken.missed.is_empty());
        assert_eq!(woken.load(Relaxed), 2, "one for each ring");
        assert_eq!(capturing.take(), Taken::default());
        assert_eq!(all.take().seen.len(), 4);
        drop((capturing, all));
        assert!(!taps.is_on.load(Relaxed));
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let taps = Arc::new(Taps::new(1));
        let capturing = Taps::capture(&taps, Box::new(|_| true), || ());
        let packet = vec![7; 60_000];
        let fitting = RING_BYTES_MAX / packet.len();
        for _ in 0..fitting + 5 {
            show(&taps, 0, Fate::Passed, &packet);
        }
        // While the ring is emptied nobody waits for it.
        let held = capturing.capture.rings[0].lock().unwrap();
        show(&taps, 0, Fate::Passed, &packet);
        drop(held);
        let taken = capturing.take();
        assert_eq!(taken.seen.len(), fitting);
        assert_eq!(taken.missed, BTreeMap::from([(None, 6)]));
        // There is room again.
        show(&taps, 0, Fate::Passed, &packet);
        assert_eq!(capturing.take().seen.len(), 1);
    }
}
