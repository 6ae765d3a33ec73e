//! The forwarding snapshot that lanes read.

use core::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use weapon_noise::Link;

use crate::{
    Attention, AttentionSet, Checkpoint, IndexTable, Mappings, Mtus, Routes, ServiceTable,
    attention::Asked, service::Service,
};

/// Which peer, for as long as the gateway runs. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    asked: Asked,
}

impl Peer {
    /// A peer that wants nothing yet.
    pub fn new(id: PeerId, name: &str, link: Arc<Link>) -> Self {
        Self {
            id,
            name: name.into(),
            link,
            asked: Asked::new(),
        }
    }

    /// Asks the control loop for something. True if the peer must be put into the queue: then it is
    /// there once, whatever is asked until the control loop takes it.
    #[must_use]
    pub fn ask(&self, wants: Attention) -> bool {
        self.asked.ask(wants)
    }

    /// What was asked for since the last call. Take first, then look.
    pub fn take_attention(&self) -> AttentionSet {
        self.asked.take()
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
    /// Prefixes behind us that peers know by others.
    pub mappings: Arc<Mappings>,
    /// Bytes of the largest inner packets; padding stops there (P89).
    pub mtus: Mtus,
    /// Rules and flows, if there are such.
    pub checkpoint: Option<Arc<Checkpoint>>,
    /// Limits and marks of peers, if there are such.
    pub services: Option<Arc<ServiceTable>>,
}

/// Where the control loop publishes and lanes read.
pub type SharedFib = Arc<ArcSwap<Fib>>;

impl Fib {
    /// The peer that has `address`.
    pub fn route(&self, address: IpAddr) -> Option<&Arc<Peer>> {
        self.routes.lookup(address)
    }

    /// What the peer gets; `None` if that is what all others get.
    #[inline]
    pub(crate) fn service(&self, peer: PeerId) -> Option<&Service> {
        self.services.as_deref()?.of(peer)
    }
}
