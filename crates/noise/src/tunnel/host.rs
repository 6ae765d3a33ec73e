//! What a tunnel asks of its gateway.

use std::sync::Arc;

use weapon_wire::Endpoint;

use crate::{Entropy, EntropyNotReady, KeyLog, Keypair, Link, Role, Tai64n};

/// What a tunnel asks of the gateway that it belongs to.
pub trait TunnelHost {
    /// Takes a free receiver index, uniformly random (P18).
    ///
    /// # Errors
    /// If there is no randomness yet.
    fn reserve_index(&mut self) -> Result<u32, EntropyNotReady>;

    /// Datagrams with this index are opened with `keypair` from here on.
    fn activate_index(&mut self, index: u32, keypair: &Arc<Keypair>);

    /// Gives an index back. Datagrams that carry it are dropped from here on.
    fn release_index(&mut self, index: u32);

    /// A timestamp greater than all before it (P29); nothing if that cannot be promised.
    fn timestamp(&mut self) -> Option<Tai64n>;

    /// Randomness for keys and jitter.
    fn entropy(&mut self) -> &mut dyn Entropy;

    /// Who hears the secrets of handshakes; mostly nobody.
    fn key_log(&mut self) -> Option<&mut dyn KeyLog> {
        None
    }

    /// Sends a handshake message, or an empty data message, to `to`.
    fn send(&mut self, to: &Endpoint, message: &[u8]);

    /// There is a session again. Sends what was parked and returns how many packets that were.
    fn release_parked(&mut self, link: &Link) -> usize;

    /// No session came to be: drops what was parked.
    fn drop_parked(&mut self);

    /// Whether packets wait for a session.
    fn has_parked(&self) -> bool;

    /// A session is usable; records the wall clock for `latest handshake` (P53).
    fn handshake_completed(&mut self, role: Role);

    /// An initiation was not answered in time. Where the next one goes, the host may change now:
    /// perhaps the peer has another address as well.
    fn handshake_unanswered(&mut self, link: &Link);
}
