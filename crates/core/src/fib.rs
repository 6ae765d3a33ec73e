//! The forwarding snapshot that lanes read.

use core::{
    net::IpAddr,
    sync::atomic::{AtomicU8, Ordering},
};
use std::sync::Arc;

use arc_swap::ArcSwap;
use weapon_noise::Link;

use crate::{IndexTable, Mtus, Routes};

/// Which peer, for as long as the gateway runs. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);

/// A peer as lanes see it.
#[derive(Debug)]
pub struct Peer {
    /// Which one.
    pub id: PeerId,
    /// Its name in the configuration.
    pub name: Box<str>,
    /// Its session, endpoint, stamps and totals.
    pub link: Arc<Link>,
    attention: AtomicU8,
}

impl Peer {
    /// A peer that wants nothing yet.
    pub fn new(id: PeerId, name: &str, link: Arc<Link>) -> Self {
        Self {
            id,
            name: name.into(),
            link,
            attention: AtomicU8::new(0),
        }
    }

    /// Asks the control loop for something. True if the peer must be put into the queue: then it is
    /// there once, whatever is asked until the control loop takes it.
    #[must_use]
    pub fn ask(&self, wants: Attention) -> bool {
        let wants = wants as u8;
        // Most asks repeat one that is already in the queue: then nothing is written. What the lane
        // did before it asked, and this load, are in one total order with the control loop's taking
        // and looking: if the bit seen here is about to be taken, the look sees what was done.
        if self.attention.load(Ordering::SeqCst) & wants != 0 {
            return false;
        }
        self.attention.fetch_or(wants, Ordering::SeqCst) == 0
    }

    /// What was asked for since the last call. Take first, then look.
    pub fn take_attention(&self) -> AttentionSet {
        AttentionSet(self.attention.swap(0, Ordering::SeqCst))
    }
}

/// What a lane may ask of the control loop for a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Attention {
    /// Look at the deadlines.
    Deadlines = 1,
    /// The first packet of a responder's new keypair was opened.
    Confirmed = 2,
    /// The keypair is old, or there is none: start a handshake.
    WantSession = 4,
}

/// Several [`Attention`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionSet(u8);

impl AttentionSet {
    /// Whether `attention` is among them.
    pub fn contains(self, attention: Attention) -> bool {
        self.0 & attention as u8 != 0
    }
}

/// What lanes need to forward: immutable, replaced as a whole by the control loop.
#[derive(Debug, Default)]
pub struct Fib {
    /// Who has which address. The gateway's own table: it is copied when it changes, not before.
    pub routes: Arc<Routes>,
    /// Peers in ascending order of their id.
    pub peers: Vec<Arc<Peer>>,
    /// Sessions by receiver index.
    pub sessions: Option<Arc<IndexTable>>,
    /// Bytes of the largest inner packets; padding stops there (P89).
    pub mtus: Mtus,
}

/// Where the control loop publishes and lanes read.
pub type SharedFib = Arc<ArcSwap<Fib>>;

impl Fib {
    /// The peer that has `address`.
    pub fn route(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.routes.lookup(address)
    }
}
