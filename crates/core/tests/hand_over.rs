//! Every order in which lanes can meet the control loop while it hands something over: the switch
//! of keys, and another fib.
//!
//! Real are the source files of the link, the slots of a tunnel, the index table, the send counter
//! and the confirmation. `arc-swap` is stood in for by a pointer behind loom's mutex, so what is
//! tried is what we do with it and not what it does; a keypair by one that has the real counter and
//! a key that tells when it is used after it was erased; and the fib by its table.
#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "what fails here fails the test"
)]

use std::collections::BTreeSet;

use loom::thread;
use sync::{Arc, ArcSwapOption, AtomicBool, Ordering};
use weapon_noise::{Activity, Seeded, Tick};

mod sync {
    use core::ops::Deref;

    pub(crate) use loom::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    };
    use loom::sync::{Mutex, MutexGuard};

    pub(crate) use crate::Keypair;

    /// As that of `arc-swap`: readers see one value or the other, and keep what they saw.
    #[derive(Debug)]
    pub(crate) struct ArcSwapOption<T>(Mutex<Option<Arc<T>>>);

    /// What was seen.
    pub struct Guard<T>(T);

    impl<T> Deref for Guard<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    impl<T> Default for ArcSwapOption<T> {
        fn default() -> Self {
            Self::empty()
        }
    }

    impl<T> ArcSwapOption<T> {
        pub(crate) fn empty() -> Self {
            Self(Mutex::new(None))
        }

        pub(crate) fn load_full(&self) -> Option<Arc<T>> {
            self.lock().clone()
        }

        pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
            Guard(self.load_full())
        }

        pub(crate) fn store(&self, new: Option<Arc<T>>) {
            let old = core::mem::replace(&mut *self.lock(), new);
            drop(old);
        }

        pub(crate) fn compare_and_swap(&self, seen: &Option<Arc<T>>, new: Option<Arc<T>>) {
            let at = |value: &Option<Arc<T>>| value.as_ref().map(|value| &raw const **value);
            let mut held = self.lock();
            if at(&held) == at(seen) {
                *held = new;
            }
        }

        fn lock(&self) -> MutexGuard<'_, Option<Arc<T>>> {
            self.0.lock().unwrap()
        }
    }
}

mod protocol {
    pub(crate) use weapon_noise::protocol::{REJECT_AFTER_MESSAGES, REKEY_TIMEOUT};
}

mod handshake {
    pub(crate) use weapon_noise::Role;
}

#[path = "../../noise/src/confirmation.rs"]
mod confirmation;
#[path = "../src/index_table.rs"]
mod index_table;
#[path = "../../noise/src/link.rs"]
mod link;
#[path = "../../noise/src/send_counter.rs"]
mod send_counter;
#[path = "../../noise/src/sessions.rs"]
mod sessions;

use confirmation::Confirmation;
use handshake::Role;
use index_table::{IndexTable, Indices, Session};
use link::Link;
use send_counter::SendCounter;
use sessions::Sessions;

/// A key that is erased when it is dropped.
#[derive(Debug)]
struct Secret(AtomicBool);

impl Secret {
    fn new() -> Self {
        Self(AtomicBool::new(true))
    }

    /// Takes its time: it must be there at the beginning and at the end.
    fn use_it(&self) {
        for _ in 0..2 {
            assert!(self.0.load(Ordering::SeqCst), "an erased key was used");
        }
    }

    fn erase(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.erase();
    }
}

/// A keypair, as far as it is handed over.
#[derive(Debug)]
pub struct Keypair {
    role: Role,
    index: u32,
    counter: SendCounter,
    confirmation: Confirmation,
    secret: Secret,
}

impl Keypair {
    fn new(role: Role, index: u32) -> Arc<Self> {
        Arc::new(Self {
            role,
            index,
            counter: SendCounter::new(0),
            confirmation: Confirmation::new(role == Role::Initiator),
            secret: Secret::new(),
        })
    }

    pub fn role(&self) -> Role {
        self.role
    }

    pub fn local_index(&self) -> u32 {
        self.index
    }

    pub fn created(&self) -> Tick {
        Tick::default()
    }

    pub fn may_send(&self, _: Tick) -> bool {
        true
    }

    pub fn is_confirmed(&self) -> bool {
        self.confirmation.is_given()
    }
}

/// A peer, as far as sessions have one.
#[derive(Debug)]
pub struct Peer;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerId(u32);

/// Keys and counters that packets were sealed with.
type Sealed = Vec<(u32, u64)>;

/// A lane seals `count` packets, each as `Outbound` does: it takes the link's keypair, a counter of
/// it, and its key.
fn seal(link: &Link, count: usize) -> Sealed {
    let one = |_| {
        let keypair = link.sending(Tick::default())?;
        let keypair = keypair.as_ref()?;
        assert!(
            keypair.is_confirmed(),
            "the peer may not have this key (P54)"
        );
        let counter = keypair.counter.reserve(1)?;
        keypair.secret.use_it();
        Some((keypair.index, counter))
    };
    (0..count).filter_map(one).collect()
}

/// A lane of `link` that seals, in a thread of its own.
fn lane(link: &Arc<Link>, count: usize) -> thread::JoinHandle<Sealed> {
    let link = Arc::clone(link);
    thread::spawn(move || seal(&link, count))
}

/// The control loop puts a new keypair in its place, as `Tunnel::install` does.
fn install(sessions: &mut Sessions, link: &Link, keypair: Arc<Keypair>) {
    let fallen = sessions.install(keypair, false);
    link.publish(sessions.current().cloned());
    drop(fallen);
}

/// The peer has used the new keypair, or the sessions end: what `Tunnel` does then.
fn confirm(sessions: &mut Sessions, link: &Link) {
    if let Some(fallen) = sessions.confirm() {
        link.publish(sessions.current().cloned());
        drop(fallen);
    }
}

/// A link and slots whose first session is ours, with the index 1.
fn with_one_session() -> (Arc<Link>, Sessions) {
    let (link, mut sessions) = (Arc::new(Link::default()), Sessions::default());
    install(&mut sessions, &link, Keypair::new(Role::Initiator, 1));
    (link, sessions)
}

fn erase(sessions: &mut Sessions, link: &Link) {
    link.publish(None);
    drop(sessions.erase());
}

fn assert_each_once(sealed: impl IntoIterator<Item = Sealed>) {
    let all: Vec<_> = sealed.into_iter().flatten().collect();
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(
        all.len(),
        different.len(),
        "a counter was used twice: {all:?}"
    );
}

#[test]
fn p59_keys_are_switched_and_erased_under_a_lane_that_sends() {
    loom::model(|| {
        let (link, mut sessions) = with_one_session();
        let lane = lane(&link, 2);
        install(&mut sessions, &link, Keypair::new(Role::Initiator, 2));
        erase(&mut sessions, &link);
        assert_each_once([lane.join().unwrap()]);
        assert!(seal(&link, 1).is_empty(), "nothing is sent after the end");
    });
}

/// The control loop sends, too: what was parked, and keepalives.
#[test]
fn p59_two_threads_send_while_the_key_is_switched() {
    loom::model(|| {
        let (link, mut sessions) = with_one_session();
        let lane = lane(&link, 2);
        let before = seal(&link, 1);
        install(&mut sessions, &link, Keypair::new(Role::Initiator, 2));
        let after = seal(&link, 1);
        assert_eq!((before.len(), after[0].0), (1, 2));
        assert_each_once([lane.join().unwrap(), before, after]);
        erase(&mut sessions, &link);
    });
}

/// A responder's new keypair is sent with once a lane has opened a packet of it.
#[test]
fn p54_a_responders_keys_are_switched_to_when_they_are_confirmed() {
    loom::model(|| {
        let (link, mut sessions) = with_one_session();
        let next = Keypair::new(Role::Responder, 2);
        install(&mut sessions, &link, Arc::clone(&next));
        let sending = lane(&link, 2);
        let opening = thread::spawn(move || {
            next.secret.use_it();
            assert!(next.confirmation.give());
        });
        confirm(&mut sessions, &link);
        opening.join().unwrap();
        confirm(&mut sessions, &link);
        let ours = seal(&link, 1);
        assert_eq!(ours[0].0, 2);
        assert_each_once([sending.join().unwrap(), ours]);
        erase(&mut sessions, &link);
    });
}

/// The model can fail: a key that is erased in its place, and not when the last has let go of it.
#[test]
#[should_panic(expected = "an erased key was used")]
fn a_key_that_is_erased_too_early_is_found() {
    loom::model(|| {
        let (link, sessions) = with_one_session();
        let lane = lane(&link, 1);
        link.publish(None);
        sessions.current().unwrap().secret.erase();
        lane.join().unwrap();
    });
}

/// The fib: a snapshot whose table of sessions goes on changing.
type Fib = ArcSwapOption<Arc<IndexTable>>;

fn publish(fib: &Fib, indices: &Indices) {
    fib.store(Some(Arc::new(Arc::clone(indices.table()))));
}

/// A lane opens a packet with the receiver index `index`. Whether it found the session.
fn open(fib: &Fib, index: u32) -> bool {
    let table = fib.load();
    let session = table.as_ref().and_then(|table| table.session(index));
    session.is_some_and(|session| {
        let session = session.as_ref().unwrap();
        assert_eq!(session.keypair.index, index);
        session.keypair.secret.use_it();
        true
    })
}

fn activate(indices: &mut Indices, entropy: &mut Seeded) -> u32 {
    let index = indices.reserve(PeerId(0), entropy).unwrap();
    let keypair = Keypair::new(Role::Initiator, index);
    let peer = Arc::new(Peer);
    indices.activate(index, Session { keypair, peer });
    index
}

/// A table that holds no more is replaced by a larger one. A session that stays is found at every
/// moment, in whichever table; one that was released is found or not, but never erased.
#[test]
fn p57_a_fib_is_handed_over_while_lanes_look_up() {
    loom::model(|| {
        let (mut indices, mut entropy) = (Indices::default(), Seeded::danger_new(5));
        let (stays, goes) = (activate(&mut indices, &mut entropy), {
            activate(&mut indices, &mut entropy)
        });
        let fib = Arc::new(Fib::empty());
        publish(&fib, &indices);
        let lane = {
            let fib = Arc::clone(&fib);
            thread::spawn(move || {
                assert!(open(&fib, stays), "a live session was not found");
                open(&fib, goes);
            })
        };
        // A peer is added, and another one removed.
        assert!(indices.make_room(17));
        publish(&fib, &indices);
        indices.release(goes);
        let new = activate(&mut indices, &mut entropy);
        lane.join().unwrap();
        assert!(open(&fib, stays) && open(&fib, new) && !open(&fib, goes));
    });
}

/// The model can fail: what is in a new table alone is not found by who has the old one.
#[test]
#[should_panic(expected = "was not found")]
fn a_table_that_was_not_published_is_found_out() {
    loom::model(|| {
        let (mut indices, mut entropy) = (Indices::default(), Seeded::danger_new(5));
        let fib = Arc::new(Fib::empty());
        publish(&fib, &indices);
        assert!(indices.make_room(17));
        let index = activate(&mut indices, &mut entropy);
        let lane = {
            let fib = Arc::clone(&fib);
            thread::spawn(move || assert!(open(&fib, index), "a live session was not found"))
        };
        publish(&fib, &indices);
        lane.join().unwrap();
    });
}
