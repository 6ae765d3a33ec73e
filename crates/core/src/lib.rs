#![forbid(unsafe_code)]
//! A gateway without I/O: cryptokey routing, the way of a packet, the gateway's state machine.
//!
//! The modules stand in the order in which a packet meets them.

// The way out and the way in.
mod outbound;
pub use outbound::{Outbound, padding};
mod inbound;
pub use inbound::{Inbound, Received};

// What both read.
mod fib;
pub use fib::{Attention, AttentionSet, Fib, Peer, PeerId, SharedFib};
mod routes;
pub use routes::Routes;
mod index_table;
pub use index_table::{IndexTable, Indices, Session};

// What both write.
mod drop_reason;
pub use drop_reason::DropReason;
mod counters;
pub use counters::Counters;

// What they need from outside.
mod ports;
pub use ports::{HandshakeMessage, Overlay, TimestampStore, Underlay, Upcalls};

// The control loop's side.
mod gateway;
mod parked;
pub use gateway::{
    Env, Gateway, GatewayConfig, GatewayStatus, HANDSHAKE_QUEUE_MAX, Now, ORIGINS, PeerConfig,
    PeerStatus, SessionStatus, WAITING_OF_ORIGIN_MAX, WallTime, origin,
};
