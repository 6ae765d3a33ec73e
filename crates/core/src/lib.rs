//! A gateway without I/O: cryptokey routing, the way of a packet, the gateway's state machine.
//!
//! The modules stand in the order in which a packet meets them.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::todo,
        clippy::unimplemented,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "it runs on what strangers send: nothing in it may panic"
    )
)]

// The way out and the way in.
mod outbound;
pub use outbound::Outbound;
mod inbound;
pub use inbound::{Inbound, Received};

// Stop 4 of both: what is known passes, what is not is judged.
mod checkpoint;
pub use checkpoint::{Checkpoint, Ruling};
/// The packet filter.
pub mod filter;
/// The flow table.
pub mod flows;

// How much may pass then, and with which mark.
mod service;
pub use service::{RateLimit, ServiceTable};

// What both read.
mod fib;
pub use fib::{Fib, Peer, PeerId, SharedFib};
mod routes;
pub use routes::Routes;
mod mapping;
pub use mapping::{Mappings, PrefixMapping};
mod mtus;
pub use mtus::{Mtus, padding};
mod index_table;
pub use index_table::{IndexTable, Indices, Session};

// What lanes ask of the control loop.
mod attention;
pub use attention::{Attention, AttentionSet};

// What both write.
mod drop_reason;
pub use drop_reason::DropReason;
mod drops;
pub use drops::{Dropped, Headers, LATEST_DROPS_MAX, LatestDrop, LatestDrops};
mod counters;
pub use counters::{Counters, Sizes};

// What they show.
mod sighting;
pub use sighting::{Fate, Sighting, Way};

// What they need from outside.
mod ports;
pub use ports::{HandshakeMessage, Overlay, TimestampStore, Underlay, Upcalls};

// What somebody asks about who wants to know what would become of a packet.
mod hypothesis;
pub use hypothesis::Hypothesis;

// The control loop's side.
mod gateway;
mod parked;
pub use gateway::{
    ADDRESSES_MAX, Ahead, Env, Examination, Gateway, GatewayChange, GatewayConfig, GatewayDump,
    GatewayStatus, GroupService, HANDSHAKE_QUEUE_MAX, HAPPENINGS_MAX, Happening, Judgement,
    KnownFlow, LimitAhead, LimitStatus, NetworkChange, Now, ORIGINS, OriginHash, PeerChange,
    PeerConfig, PeerDump, PeerService, PeerStatus, Policy, REJECTIONS_MAX, RateLimits,
    RejectedBecause, Rejection, ServiceStatus, Services, SessionStatus, WAITING_OF_ORIGIN_MAX,
    WallTime,
};

/// What threads share, and tests try in every order.
mod sync {
    pub(crate) use core::sync::atomic::{AtomicU8, AtomicU64, Ordering};
    pub(crate) use std::sync::Arc;

    pub(crate) use arc_swap::{ArcSwapOption, Guard};
    pub(crate) use weapon_noise::Keypair;
}
