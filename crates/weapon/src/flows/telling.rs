//! The thread of the gateway's process that tells of flows: it takes events from the lanes' queue,
//! gives them their names, and passes them on, not faster than they can be written.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use weapon_core::{
    Fib, PeerId, SharedFib,
    filter::Filter,
    flows::{Event, EventQueue},
};
use weapon_engine::Engine;

use super::{TOLD_MAX, Told, ToldFlows, WantedFlows};

/// Events that are told between two pauses.
const BURST_MAX: usize = 512;

/// How long a pause is: so it tells of 50 000 events a second at most, and is woken a hundred
/// times.
const PAUSE: Duration = Duration::from_millis(10);

/// How long it may take at the end to tell of all flows that there are.
const END_TIME: Duration = Duration::from_secs(2);

/// Names of peers that are there no more, which may still be told of.
const GONE_MAX: usize = 1024;

/// Passes on what is told, if anybody listens.
pub type Tell = Box<dyn FnMut(ToldFlows) + Send>;

/// The thread.
pub struct Telling {
    thread: JoinHandle<Teller>,
    stopping: Arc<AtomicBool>,
}

impl Telling {
    /// Starts it. What happens to flows goes to `tell` from now on.
    ///
    /// # Errors
    /// There is no thread for it.
    pub fn start(engine: &Engine, wanted: WantedFlows, tell: Tell) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        let queue = Arc::clone(engine.flow_events());
        queue.deny_new(wanted.denies_new);
        let teller = Teller {
            queue: Arc::clone(&queue),
            fib: Arc::clone(engine.shared_fib()),
            names: Names::default(),
            lost: queue.lost(),
            skipped: 0,
            told: 0,
            tell,
        };
        let stop = Arc::clone(&stopping);
        let builder = thread::Builder::new().name("flows".to_owned());
        let thread = builder.spawn(move || teller.run(&stop))?;
        let waiting = thread.thread().clone();
        queue.open(wanted.starts, move || waiting.unpark());
        Ok(Self { thread, stopping })
    }

    /// The engine has stopped: tells the rest, and of all flows that there still are.
    pub fn end(self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
        if let Ok(teller) = self.thread.join() {
            teller.end();
        }
    }
}

struct Teller {
    queue: Arc<EventQueue>,
    fib: SharedFib,
    names: Names,
    /// Events that had found no room when it was told last.
    lost: u64,
    /// Events for which there was no time, and that is not told yet.
    skipped: u64,
    /// Since the last pause.
    told: usize,
    tell: Tell,
}

impl Teller {
    fn run(mut self, stopping: &AtomicBool) -> Self {
        let mut events = Vec::new();
        while !stopping.load(Ordering::Relaxed) {
            self.queue.take(&mut events);
            if events.is_empty() && self.queue.lost() == self.lost {
                thread::park();
            } else {
                self.tell_all(&events);
                events.clear();
                // What comes in the meantime is told together.
                thread::sleep(PAUSE);
            }
        }
        self
    }

    fn end(mut self) {
        let mut events = Vec::new();
        self.queue.take(&mut events);
        let fib = self.fib.load_full();
        let deadline = Instant::now() + END_TIME;
        if let Some(checkpoint) = &fib.checkpoint {
            let now = weapon_engine::now().tick;
            // There may be a million of them.
            checkpoint.end(now, |event| {
                events.push(event);
                if events.len() >= BURST_MAX {
                    self.tell_before(deadline, &events);
                    events.clear();
                }
            });
        }
        self.tell_before(deadline, &events);
        self.tell_all(&[]);
    }

    /// Tells of `events`, if there is time for it.
    fn tell_before(&mut self, deadline: Instant, events: &[Event]) {
        if Instant::now() < deadline {
            self.tell_all(events);
        } else {
            self.skipped += events.len() as u64;
        }
    }

    /// Tells of `events` and of what was lost before.
    fn tell_all(&mut self, events: &[Event]) {
        self.names.refresh(&self.fib.load_full());
        let lost = self.queue.lost();
        let mut newly_lost = lost.saturating_sub(self.lost) + std::mem::take(&mut self.skipped);
        self.lost = lost;
        for batch in events.chunks(TOLD_MAX) {
            self.pass_on(batch, std::mem::take(&mut newly_lost));
        }
        if newly_lost != 0 {
            self.pass_on(&[], newly_lost);
        }
    }

    fn pass_on(&mut self, events: &[Event], lost: u64) {
        if self.told >= BURST_MAX {
            thread::sleep(PAUSE);
            self.told = 0;
        }
        self.told += events.len();
        let events = events.iter().map(|event| self.names.named(*event));
        let told = ToldFlows {
            events: events.collect(),
            lost,
        };
        (self.tell)(told);
    }
}

/// What peers and rules are called.
#[derive(Default)]
struct Names {
    /// Where they are from. It stays there while we know it, so another one is elsewhere.
    fib: Weak<Fib>,
    peers: BTreeMap<PeerId, Box<str>>,
    filter: Option<Arc<Filter>>,
}

impl Names {
    fn refresh(&mut self, fib: &Arc<Fib>) {
        if self.fib.as_ptr() == Arc::as_ptr(fib) {
            return;
        }
        self.fib = Arc::downgrade(fib);
        if let Some(checkpoint) = &fib.checkpoint {
            self.filter = Some(Arc::clone(checkpoint.filter()));
        }
        if self.peers.len() > fib.peers.len() + GONE_MAX {
            self.peers.clear();
        }
        for peer in fib.peers.iter() {
            if self.peers.get(&peer.id).is_none_or(|it| **it != *peer.name) {
                self.peers.insert(peer.id, (&*peer.name).into());
            }
        }
    }

    fn named(&self, event: Event) -> Told {
        let peer = self.peers.get(&event.peer);
        let filter = self.filter.as_deref();
        let rule = filter.and_then(|filter| filter.name(event.rule));
        Told {
            event,
            peer: peer.map(|name| (**name).to_owned()).unwrap_or_default(),
            rule: rule.map(|name| (**name).to_owned()).unwrap_or_default(),
        }
    }
}
