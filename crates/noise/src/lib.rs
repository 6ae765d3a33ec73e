//! One peer's WireGuard tunnel, without I/O: handshake, cookies, keypairs, replay window, timers.
//!
//! Time and randomness are arguments. Source: "WireGuard: Next Generation Kernel Network Tunnel"
//! (J. A. Donenfeld, 2020 revision), cited as "paper" with its section.
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

/// The protocol's constants.
pub mod protocol;

// What everything below is given: time, randomness, keys.
mod tick;
pub use tick::Tick;
mod entropy;
pub use entropy::{Entropy, EntropyNotReady, Seeded, random_u32};
mod keys;
pub use keys::{
    KEY_LEN, KEY_TEXT_LEN, KeyError, PresharedKey, PrivateKey, PublicKey, derive_psk,
    derive_site_keys,
};
mod tai64n;
pub use tai64n::{RESERVE_SECS, Stamp, Tai64n, TimestampGuard};

// The handshake, in the order in which a message of a stranger meets it.
mod rate_limit;
pub use rate_limit::{RATE_LIMIT_ENTRIES_MAX, RateLimiter};
mod cookie;
mod reply_limit;
pub use cookie::{CookieChecker, CookieJar, LoadGauge, Verdict};
mod crypto;
pub use crypto::SecretKey32;
mod handshake;
mod pattern;
mod symmetric;
pub use handshake::{
    AwaitingResponse, HandshakeError, Identity, OpenedInitiation, Remote, Role, SessionKeys,
    VerifiedInitiation, initiate, open_initiation,
};

mod key_log;
pub use key_log::{HandshakeSecrets, KeyLog};
mod gate;
pub use gate::{InitiationGate, Refused};

// Sessions: keys, what they carry, and when they end.
mod replay;
pub use replay::ReplayWindow;
mod arrivals;
pub use arrivals::Arrivals;
mod cipher;
pub use cipher::{Cipher, TransportKey};
pub use weapon_aead::{
    Backend, LengthError, Opening, Sealing,
    backend::{Detected, SlowerBecause},
};
mod confirmation;
mod keypair;
mod send_counter;
pub use keypair::Keypair;
mod batch;
pub use batch::{BATCH_MAX, OpenError, OpenRun, Opened, SealBatch, SealError};
mod activity;
pub use activity::{Activity, Wake};
mod link;
pub use link::{Link, Traffic};
mod sessions;
pub use sessions::Sessions;
mod attempts;
#[cfg(test)]
mod sessions_tests;
pub use attempts::{Attempts, Handshakes, RoundTrip, Trouble};
mod tunnel;
pub use tunnel::{Rejected, Tunnel, TunnelConfig, TunnelHost};

/// What threads share, and tests try in every order.
mod sync {
    pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    pub(crate) use std::sync::Arc;

    pub(crate) use arc_swap::{ArcSwapOption, Guard};
}

#[cfg(test)]
mod erasure;
