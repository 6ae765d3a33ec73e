//! HOT What is told of flows, and the queue by which it goes to whoever wants to know.
//!
//! The data path never waits for who reads it: what finds no room is counted as lost.

use core::{
    net::IpAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use std::{
    collections::VecDeque,
    sync::{Mutex, OnceLock, PoisonError},
};

use serde::{Deserialize, Serialize};
use weapon_noise::Tick;

use crate::{
    DropReason, PeerId,
    filter::{Direction, RuleId},
};

/// Events that wait at most, in all stripes together: some 800 KB.
pub const EVENTS_MAX: usize = STRIPES * STRIPE_MAX;

/// The queue is of several parts, and a lane that finds one in use takes the next: that all are,
/// for the moments that it takes to copy an event, would need more lanes than that.
const STRIPES: usize = 4;
const STRIPE_MAX: usize = 1024;

/// Why a flow is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// Nothing came for as long as its state allows.
    Timeout,
    /// Its place was needed for another one.
    Evicted,
    /// A new connection has the same ends.
    Reopened,
    /// The rules were changed, and forbid it.
    Policy,
    /// Its peer was removed.
    PeerGone,
    /// The gateway stops, or watches flows no longer.
    Unwatched,
}

impl EndReason {
    /// Every reason, in order.
    pub const ALL: [Self; 6] = [
        Self::Timeout,
        Self::Evicted,
        Self::Reopened,
        Self::Policy,
        Self::PeerGone,
        Self::Unwatched,
    ];

    /// The name for people and programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Evicted => "evicted",
            Self::Reopened => "reopened",
            Self::Policy => "policy",
            Self::PeerGone => "peer_gone",
            Self::Unwatched => "unwatched",
        }
    }
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A flow has begun.
    Start,
    /// It is over.
    End(EndReason),
    /// A packet was denied. `suppressed` packets before it were denied by the same rule of which no
    /// event was made.
    Deny {
        /// As what it was counted.
        reason: DropReason,
        /// Denials by this rule since the last event of it. Together with the events they are all.
        suppressed: u64,
    },
    /// So many packets were denied by the rule since the last event of it, and then no more for a
    /// while. Of the event's other fields only the rule and the time say something.
    Suppressed(u64),
}

/// Something that has happened to a flow, or to a packet that was to begin one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// What it was.
    pub kind: EventKind,
    /// When, on CLOCK_BOOTTIME.
    pub at: Tick,
    /// Which way the first packet went, or the denied one.
    pub direction: Direction,
    /// From or to which peer.
    pub peer: PeerId,
    /// Its source, as peers know it.
    pub source: IpAddr,
    /// Its destination, as peers know it.
    pub destination: IpAddr,
    /// The number of what it carries.
    pub protocol: u8,
    /// Its source and destination port, if the protocol has some.
    pub ports: Option<(u16, u16)>,
    /// Its type of ICMP, if it is that.
    pub icmp_kind: Option<u8>,
    /// The rule that has decided; [`Filter::name`](crate::filter::Filter::name) has its name.
    pub rule: RuleId,
    /// When the flow began; the same as `at` if there is none.
    pub first_seen: Tick,
    /// When the last packet of it passed.
    pub last_seen: Tick,
    /// Packets from the end that began it, and from the other one.
    pub packets: [u64; 2],
    /// Bytes of these, with their IP headers.
    pub bytes: [u64; 2],
    /// All flags of TCP that were seen, of both.
    pub tcp_flags: [u8; 2],
    /// Time from the first packet to the first answer; of TCP from SYN to SYN-ACK.
    pub round_trip: Option<Duration>,
}

impl Event {
    /// An event of a rule as such.
    #[cold]
    pub(crate) fn of_rule(rule: RuleId, kind: EventKind, at: Tick) -> Self {
        Self {
            kind,
            at,
            direction: Direction::Inbound,
            peer: PeerId(u32::MAX),
            source: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            destination: IpAddr::V4(core::net::Ipv4Addr::UNSPECIFIED),
            protocol: 0,
            ports: None,
            icmp_kind: None,
            rule,
            first_seen: at,
            last_seen: at,
            packets: [0; 2],
            bytes: [0; 2],
            tcp_flags: [0; 2],
            round_trip: None,
        }
    }
}

type Notify = Box<dyn Fn() + Send + Sync>;

/// Events on their way to whoever reads them. Nobody does at first, and then none is kept.
pub struct EventQueue {
    stripes: [Mutex<VecDeque<Event>>; STRIPES],
    lost: AtomicU64,
    is_open: AtomicBool,
    wants_starts: AtomicBool,
    denies_new: AtomicBool,
    /// The reader has seen the queue empty, and wants to be told when it is not.
    is_armed: AtomicBool,
    notify: OnceLock<Notify>,
}

impl Default for EventQueue {
    fn default() -> Self {
        Self {
            stripes: Default::default(),
            lost: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
            wants_starts: AtomicBool::new(false),
            denies_new: AtomicBool::new(false),
            is_armed: AtomicBool::new(false),
            notify: OnceLock::new(),
        }
    }
}

impl core::fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("EventQueue")
            .field("is_open", &self.is_open)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl EventQueue {
    /// Somebody reads from now on; also when flows begin, if `starts` says so. `notify` is called
    /// by a lane when there is something after [`EventQueue::take`] has found nothing: it must not
    /// wait. Who opens it again keeps the first one.
    #[cold]
    pub fn open(&self, starts: bool, notify: impl Fn() + Send + Sync + 'static) {
        for stripe in &self.stripes {
            let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            let there = stripe.len();
            stripe.reserve_exact(STRIPE_MAX.saturating_sub(there));
        }
        // Only the first one counts.
        let _ = self.notify.set(Box::new(notify));
        self.wants_starts.store(starts, Ordering::Relaxed);
        self.is_armed.store(true, Ordering::Relaxed);
        self.is_open.store(true, Ordering::Release);
    }

    /// Whether somebody reads.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether somebody wants to know of flows that begin.
    #[inline]
    pub(crate) fn wants_starts(&self) -> bool {
        self.is_open() && self.wants_starts.load(Ordering::Relaxed)
    }

    /// Whoever reads cannot keep what is told, and nothing may happen that is not kept: until this
    /// is called with `false`, nothing passes that does not belong to a flow which is there.
    #[cold]
    pub fn deny_new(&self, denies: bool) {
        self.denies_new.store(denies, Ordering::Relaxed);
    }

    /// Whether nothing new may pass.
    #[inline]
    pub(crate) fn denies_new(&self) -> bool {
        self.denies_new.load(Ordering::Relaxed)
    }

    /// Takes an event if there is room for it, without waiting for anybody.
    pub(crate) fn offer(&self, event: Event) {
        if !self.is_open() {
            return;
        }
        for stripe in &self.stripes {
            let Ok(mut stripe) = stripe.try_lock() else {
                continue;
            };
            if stripe.len() < STRIPE_MAX {
                stripe.push_back(event);
                drop(stripe);
                self.wake();
                return;
            }
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    fn wake(&self) {
        if self.is_armed.load(Ordering::SeqCst)
            && self.is_armed.swap(false, Ordering::SeqCst)
            && let Some(notify) = self.notify.get()
        {
            notify();
        }
    }

    /// Moves all events that wait to the end of `out`, by their time. Where there is none, the next
    /// one calls who was given to [`EventQueue::open`].
    #[cold]
    pub fn take(&self, out: &mut Vec<Event>) {
        let before = out.len();
        self.drain(out);
        if out.len() == before {
            self.is_armed.store(true, Ordering::SeqCst);
            // One may have come before that was seen.
            self.drain(out);
        }
        if let Some(new) = out.get_mut(before..) {
            new.sort_by_key(|event| event.at);
        }
    }

    #[cold]
    fn drain(&self, out: &mut Vec<Event>) {
        for stripe in &self.stripes {
            out.reserve(STRIPE_MAX);
            let mut stripe = stripe.lock().unwrap_or_else(PoisonError::into_inner);
            out.extend(stripe.drain(..));
        }
    }

    /// How many events found no room, ever.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
