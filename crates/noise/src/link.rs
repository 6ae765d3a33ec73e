//! A link: the half of a tunnel that lanes use.
//! HOT
//!
//! The control loop owns the [`crate::Tunnel`] and publishes into the link: the keypair to send
//! with and the endpoint. Lanes read those without a lock, leave stamps, and roam.
//! `tests/hand_over.rs` of weapon-core tries every order of their steps.

use core::{net::IpAddr, time::Duration};

use weapon_wire::Endpoint;

use crate::{
    Activity, Keypair, Tick,
    sync::{Arc, ArcSwapOption, AtomicBool, AtomicU64, Guard, Ordering},
};

/// How long a source that was left is not learned again.
const SOURCE_HOLD_TIME: Duration = Duration::from_secs(1);

/// What lanes and control loop share of one tunnel.
#[derive(Debug, Default)]
pub struct Link {
    sending: ArcSwapOption<Keypair>,
    endpoint: ArcSwapOption<Endpoint>,
    endpoint_pinned: AtomicBool,
    /// Until then no source is learned from the peer's packets.
    source_free_at: AtomicU64,
    /// Stamps for the timers.
    pub activity: Activity,
    /// Bytes and packets, for `status`.
    pub traffic: Traffic,
}

/// Totals of one tunnel. Bytes are those of whole WireGuard messages, as `wg` counts them.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Bytes sent.
    pub sent_bytes: AtomicU64,
    /// Bytes received and authenticated.
    pub received_bytes: AtomicU64,
    /// Messages sent.
    pub sent_packets: AtomicU64,
    /// Messages received and authenticated.
    pub received_packets: AtomicU64,
}

impl Traffic {
    /// Counts messages sent.
    pub fn note_sent(&self, packets: u64, bytes: u64) {
        self.sent_packets.fetch_add(packets, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts messages received.
    pub fn note_received(&self, packets: u64, bytes: u64) {
        self.received_packets.fetch_add(packets, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Link {
    /// The keypair to send with at `now`, or nothing: then a handshake is needed (P42).
    pub fn sending(&self, now: Tick) -> Option<Guard<Option<Arc<Keypair>>>> {
        let keypair = self.sending.load();
        keypair
            .as_ref()
            .is_some_and(|keypair| keypair.may_send(now))
            .then_some(keypair)
    }

    /// Where the peer is, as far as we know.
    pub fn endpoint(&self) -> Guard<Option<Arc<Endpoint>>> {
        self.endpoint.load()
    }

    /// An authenticated packet came from `from`: later packets go there (paper 2.1; P77). Senders
    /// see the old endpoint or the new one, never a mix (P78). Allocates only when the peer moved.
    /// Returns true if it did.
    pub fn roam(&self, from: &Endpoint, now: Tick) -> bool {
        let known = self.endpoint.load();
        match known.as_deref() {
            Some(endpoint) if endpoint == from || came_the_same_way(endpoint, from) => {
                return false;
            }
            Some(endpoint)
                if self.endpoint_pinned.load(Ordering::Relaxed)
                    && endpoint.remote != from.remote =>
            {
                return false;
            }
            Some(endpoint)
                if endpoint.remote == from.remote
                    && endpoint.source.is_none()
                    && now.as_nanos() < self.source_free_at.load(Ordering::Relaxed) =>
            {
                return false;
            }
            Some(_) | None => {}
        }
        let moved = known
            .as_deref()
            .is_none_or(|endpoint| endpoint.remote != from.remote);
        self.set_endpoint(Some(*from));
        moved
    }

    /// Sets or forgets the endpoint.
    #[cold]
    pub fn set_endpoint(&self, endpoint: Option<Endpoint>) {
        self.endpoint.store(endpoint.map(Arc::new));
    }

    /// A pinned endpoint does not roam (P83): for peers whose address is known to be fixed.
    pub fn set_endpoint_pinned(&self, pinned: bool) {
        self.endpoint_pinned.store(pinned, Ordering::Relaxed);
    }

    /// Another way leads to the peer now: routing chooses our address anew (P79). What is still on
    /// its way to the old one does not bring that back: the peer has a second to hear from the new.
    #[cold]
    pub fn leave_source(&self, now: Tick) {
        let free_at = now + SOURCE_HOLD_TIME;
        self.source_free_at
            .store(free_at.as_nanos(), Ordering::Relaxed);
        self.clear_source();
    }

    /// Forgets through which of our addresses the peer is reached; routing decides again (P38,
    /// P80).
    #[cold]
    pub fn clear_source(&self) {
        let known = self.endpoint.load();
        if let Some(endpoint) = known.as_deref()
            && endpoint.source.is_some()
        {
            let sourceless = Endpoint {
                source: None,
                ..*endpoint
            };
            // If the peer has moved meanwhile, its new endpoint is the better one.
            self.endpoint
                .compare_and_swap(&known, Some(Arc::new(sourceless)));
        }
    }

    pub(crate) fn publish(&self, keypair: Option<Arc<Keypair>>) {
        self.sending.store(keypair);
    }
}

/// Whether `from` differs from `known` in the interface alone. That is no reason to move: the
/// address is what the peer knows, and the interface says by which way it came first, which is held
/// against the routes when they change (P79). A link-local address is another one on another
/// interface.
fn came_the_same_way(known: &Endpoint, from: &Endpoint) -> bool {
    let (Some(ours), Some(theirs)) = (known.source, from.source) else {
        return false;
    };
    let is_link_local = matches!(ours.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    known.remote == from.remote && ours.address == theirs.address && !is_link_local
}
