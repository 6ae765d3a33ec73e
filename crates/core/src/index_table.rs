//! Receiver index to session, in one step and without a lock.
//!
//! An index is a uniformly random 32-bit number whose low bits fall on a free slot: nobody can tell
//! one from another (P18), and the low bits find the session. The table is kept at most a quarter
//! full. When it grows, two indices that differed in their low bits still do, so every session
//! finds its place in the larger table. `tests/hand_over.rs` tries every order of the steps.

use std::collections::{BTreeMap, btree_map::Entry};

use weapon_noise::{Entropy, EntropyNotReady};

use crate::{
    Peer, PeerId,
    sync::{Arc, ArcSwapOption, Guard, Keypair},
};

/// Slots that a table has at least.
const SLOTS_MIN: usize = 64;

/// A session that datagrams may arrive for.
#[derive(Debug)]
pub struct Session {
    /// The keys.
    pub keypair: Arc<Keypair>,
    /// Whose they are.
    pub peer: Arc<Peer>,
}

/// What lanes read.
#[derive(Debug)]
pub struct IndexTable {
    slots: Box<[ArcSwapOption<Session>]>,
}

impl IndexTable {
    fn with_slots(count: usize) -> Self {
        Self {
            slots: (0..count).map(|_| ArcSwapOption::empty()).collect(),
        }
    }

    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "no table is without slots"
    )]
    fn slot(&self, index: u32) -> &ArcSwapOption<Session> {
        &self.slots[index as usize % self.slots.len()]
    }

    /// The session with the receiver index `index`.
    pub fn session(&self, index: u32) -> Option<Guard<Option<Arc<Session>>>> {
        let session = self.slot(index).load();
        session
            .as_ref()
            .is_some_and(|session| session.keypair.local_index() == index)
            .then_some(session)
    }
}

/// What the control loop knows: the table, and who holds which index.
#[derive(Debug)]
pub struct Indices {
    table: Arc<IndexTable>,
    /// By slot: the index in it and its holder, also while its handshake is still running. A map,
    /// because most slots are free, and this is off the way of a packet.
    holders: BTreeMap<usize, (u32, PeerId)>,
}

impl Default for Indices {
    fn default() -> Self {
        Self {
            table: Arc::new(IndexTable::with_slots(SLOTS_MIN)),
            holders: BTreeMap::new(),
        }
    }
}

impl Indices {
    /// The table to publish to lanes.
    pub fn table(&self) -> &Arc<IndexTable> {
        &self.table
    }

    /// Who holds `index`.
    pub fn holder(&self, index: u32) -> Option<PeerId> {
        let &(held, peer) = self.holders.get(&self.position(index))?;
        (held == index).then_some(peer)
    }

    /// How many indices are held.
    pub fn held(&self) -> usize {
        self.holders.len()
    }

    #[expect(clippy::arithmetic_side_effects, reason = "no table is without slots")]
    fn position(&self, index: u32) -> usize {
        index as usize % self.table.slots.len()
    }

    /// Makes room for `count` indices at a quarter full. Returns true if the table was replaced and
    /// must be published.
    pub fn make_room(&mut self, count: usize) -> bool {
        let slots = count.max(1).saturating_mul(4).next_power_of_two();
        if slots <= self.table.slots.len() {
            return false;
        }
        let table = IndexTable::with_slots(slots);
        for &(index, _) in self.holders.values() {
            table.slot(index).store(self.table.slot(index).load_full());
        }
        self.table = Arc::new(table);
        let held = core::mem::take(&mut self.holders).into_values();
        let moved = held.map(|(index, peer)| (self.position(index), (index, peer)));
        self.holders = moved.collect();
        true
    }

    /// Takes a free index for `peer`. The caller has made room.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn reserve(
        &mut self,
        peer: PeerId,
        entropy: &mut dyn Entropy,
    ) -> Result<u32, EntropyNotReady> {
        debug_assert!(self.held() < self.table.slots.len(), "room was made");
        loop {
            let mut random = [0; 4];
            entropy.fill(&mut random)?;
            let index = u32::from_le_bytes(random);
            let position = self.position(index);
            if let Entry::Vacant(free) = self.holders.entry(position) {
                free.insert((index, peer));
                return Ok(index);
            }
        }
    }

    /// Lanes find `session` from here on.
    pub fn activate(&self, index: u32, session: Session) {
        debug_assert!(self.holder(index).is_some(), "the index was reserved");
        self.table.slot(index).store(Some(Arc::new(session)));
    }

    /// Gives `index` back; its session, if any, is gone for lanes at once (P57).
    pub fn release(&mut self, index: u32) {
        if self.holder(index).is_none() {
            return;
        }
        self.holders.remove(&self.position(index));
        self.table.slot(index).store(None);
    }
}
