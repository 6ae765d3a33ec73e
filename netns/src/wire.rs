//! A bad cable: two TAP devices, and a thread between them that loses, doubles, changes, delays and
//! shuffles what passes. Its decisions come from a seed, frame by frame, so that a run can be had
//! again as far as the frames are the same.
//!
//! The kernel has netem for this, but not every kernel. Only UDP meets with misfortune, so that
//! hosts find each other (ARP, neighbour discovery); a cable that is cut loses everything.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weapon_io::tun::Tap;

use crate::lab::{End, give_addresses, until};

/// Frames that a device keeps for a thread that is late.
const QUEUE_LEN: usize = 20_000;

/// Frames that are read before the delayed ones are looked at again.
const BURST: usize = 64;

/// A block that is to be shuffled is complete when nothing came for this long.
const SHUFFLE_IDLE: Duration = Duration::from_millis(30);
/// Between two frames of a block that was shuffled: a burst would overflow the receiver.
const SHUFFLE_GAP: Duration = Duration::from_micros(20);

/// What a cable does to UDP, in either direction. Shares are between 0 and 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Impairment {
    /// Nothing passes at all.
    pub cut: bool,
    /// The share of frames that are lost.
    pub loss: f64,
    /// The share of frames that come twice.
    pub duplicate: f64,
    /// The share of frames with a bit changed behind the UDP header.
    pub flip: f64,
    /// How long each frame takes.
    pub delay: Duration,
    /// So many frames are held back, and go on in any order; 0 for none.
    pub shuffle: usize,
}

/// What has passed in one direction.
#[derive(Debug, Default)]
pub struct Passed {
    /// Datagrams of UDP.
    pub datagrams: AtomicU64,
    /// Handshake initiations among them, also those that were lost then.
    pub initiations: AtomicU64,
    /// Lost on purpose.
    pub lost: AtomicU64,
    /// Doubled.
    pub doubled: AtomicU64,
    /// Changed.
    pub flipped: AtomicU64,
    /// Out of their place.
    pub moved: AtomicU64,
}

/// A cable between two hosts.
#[derive(Debug)]
pub struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    impairment: Mutex<Impairment>,
    stop: AtomicBool,
    passed: [Passed; 2],
}

impl Wire {
    /// Lays a good cable between two hosts, gives its ends their addresses, and sets it up.
    #[track_caller]
    pub fn lay(one: End<'_>, other: End<'_>, seed: u64) -> Self {
        let open = |(host, name, addresses): End<'_>| {
            let tap = host.enter(|| Tap::open(name)).expect("a TAP device");
            host.run(&format!("ip link set {name} txqueuelen {QUEUE_LEN}"));
            give_addresses(host, name, addresses);
            until("the cable has a carrier", Duration::from_secs(5), || {
                let state = host.run(&format!("ip -o link show dev {name}"));
                state.contains("LOWER_UP").then_some(())
            });
            tap
        };
        let taps = [open(one), open(other)];
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("wire".to_owned())
            .spawn(move || carry(&taps, &seen, seed));
        Self {
            shared,
            thread: Some(thread.expect("a thread")),
        }
    }

    /// From now on it is like this.
    pub fn set(&self, impairment: Impairment) {
        *lock(&self.shared.impairment) = impairment;
    }

    /// What has passed from the first host to the second.
    pub fn there(&self) -> &Passed {
        &self.shared.passed[0]
    }

    /// What has passed from the second host to the first.
    pub fn back(&self) -> &Passed {
        &self.shared.passed[1]
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            // A second panic would end the test program.
            if !std::thread::panicking() {
                ended.expect("the wire").expect("the wire's devices");
            }
        }
    }
}

/// SplitMix64.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True in this share of all cases.
    pub fn hits(&mut self, share: f64) -> bool {
        ((self.number() >> 11) as f64) < share * (1_u64 << 53) as f64
    }
}

/// A frame that waits for its time; the number keeps the order of those that are due at once.
type Waiting = Reverse<(Instant, u64, Vec<u8>)>;

/// One direction.
struct Way<'a> {
    to: &'a Tap,
    passed: &'a Passed,
    dice: Dice,
    waiting: BinaryHeap<Waiting>,
    count: u64,
    block: Vec<Vec<u8>>,
    last: Instant,
}

/// It is a value that is written in one step, so whole also after a panic.
fn lock(impairment: &Mutex<Impairment>) -> std::sync::MutexGuard<'_, Impairment> {
    impairment.lock().unwrap_or_else(PoisonError::into_inner)
}

fn carry(taps: &[Tap; 2], shared: &Shared, seed: u64) -> io::Result<()> {
    let way = |at: usize| Way {
        to: &taps[1 - at],
        passed: &shared.passed[at],
        dice: Dice::new(seed ^ (at as u64 + 1).wrapping_mul(0x9e37_79b9)),
        waiting: BinaryHeap::new(),
        count: 0,
        block: Vec::new(),
        last: Instant::now(),
    };
    let mut ways = [way(0), way(1)];
    let mut buffer = vec![0; 65_536];
    while !shared.stop.load(Relaxed) {
        // A millisecond is the precision of the delay while nothing comes.
        let busy = ways.iter().any(|way| !way.waiting.is_empty());
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: if busy { 200_000 } else { 5_000_000 },
        };
        let mut files = [0, 1].map(|at| PollFd::new(&taps[at], PollFlags::IN));
        poll(&mut files, Some(&patience))?;
        let impairment = *lock(&shared.impairment);
        for (tap, way) in taps.iter().zip(&mut ways) {
            for _ in 0..BURST {
                match tap.read(&mut buffer) {
                    Ok(len) => way.take(&mut buffer[..len], &impairment),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // EIO: the interface is down for a while.
                    Err(_) => break,
                }
            }
            way.let_go(&impairment);
        }
    }
    Ok(())
}

impl Way<'_> {
    fn take(&mut self, frame: &mut [u8], impairment: &Impairment) {
        if impairment.cut {
            return;
        }
        let Some(udp) = udp_header(frame) else {
            return self.put(frame);
        };
        self.passed.datagrams.fetch_add(1, Relaxed);
        let payload = udp + 8;
        let is_initiation = frame.get(payload) == Some(&1) && frame.len() >= payload + 148;
        self.passed
            .initiations
            .fetch_add(u64::from(is_initiation), Relaxed);
        if self.dice.hits(impairment.loss) {
            self.passed.lost.fetch_add(1, Relaxed);
            return;
        }
        if self.dice.hits(impairment.flip) && frame.len() > payload {
            let at = payload + self.dice.below(frame.len() - payload);
            frame[at] ^= 1 << self.dice.below(8);
            // No checksum, which IPv4 allows: else the kernel would see the damage before us.
            frame[udp + 6..payload].fill(0);
            self.passed.flipped.fetch_add(1, Relaxed);
        }
        if self.dice.hits(impairment.duplicate) {
            self.passed.doubled.fetch_add(1, Relaxed);
            self.send(frame, impairment);
        }
        self.send(frame, impairment);
    }

    fn send(&mut self, frame: &[u8], impairment: &Impairment) {
        let now = Instant::now();
        if impairment.shuffle > 0 {
            self.block.push(frame.to_vec());
            self.last = now;
            if self.block.len() >= impairment.shuffle {
                self.shuffle(now + impairment.delay);
            }
        } else if impairment.delay.is_zero() {
            self.put(frame);
        } else {
            self.wait(now + impairment.delay, frame.to_vec());
        }
    }

    /// Sends what is due.
    fn let_go(&mut self, impairment: &Impairment) {
        let now = Instant::now();
        if !self.block.is_empty() && now - self.last > SHUFFLE_IDLE {
            self.shuffle(now + impairment.delay);
        }
        while let Some(Reverse((due, ..))) = self.waiting.peek()
            && *due <= now
            && let Some(Reverse((_, _, frame))) = self.waiting.pop()
        {
            self.put(&frame);
        }
    }

    /// Lets the block go in an order that has nothing to do with that in which it came (Fisher and
    /// Yates).
    fn shuffle(&mut self, from: Instant) {
        let mut order: Vec<usize> = (0..self.block.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, self.dice.below(at + 1));
        }
        let moved = order.iter().enumerate().filter(|&(at, &was)| at != was);
        self.passed.moved.fetch_add(moved.count() as u64, Relaxed);
        let mut block: Vec<_> = std::mem::take(&mut self.block);
        let mut due = from;
        for at in order {
            let frame = std::mem::take(&mut block[at]);
            self.wait(due, frame);
            due += SHUFFLE_GAP;
        }
    }

    fn wait(&mut self, due: Instant, frame: Vec<u8>) {
        self.count += 1;
        self.waiting.push(Reverse((due, self.count, frame)));
    }

    fn put(&self, frame: &[u8]) {
        // A receiver that is down or full loses it, as with any cable.
        let _ = self.to.write(frame);
    }
}

/// Where the UDP header of an Ethernet frame begins, if it has one.
fn udp_header(frame: &[u8]) -> Option<usize> {
    const UDP: u8 = 17;
    let ip = frame.get(14..)?;
    let at = match (frame[12], frame[13]) {
        (0x08, 0x00) if *ip.get(9)? == UDP => usize::from(ip[0] & 15) * 4,
        (0x86, 0xdd) if *ip.get(6)? == UDP => 40,
        _ => return None,
    };
    (ip.len() >= at + 8).then_some(14 + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dice_fall_the_same_way_and_fairly() {
        let throw = |seed| {
            let mut dice = Dice::new(seed);
            (0..10_000).map(|_| dice.hits(0.2)).collect::<Vec<_>>()
        };
        assert_eq!(throw(1), throw(1));
        assert_ne!(throw(1), throw(2));
        let hits = throw(3).into_iter().filter(|&hit| hit).count();
        assert!((1_900..2_100).contains(&hits), "{hits}");
    }

    #[test]
    fn udp_is_found_in_both_families() {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        assert_eq!(udp_header(&frame), None);
        frame[14 + 9] = 17;
        assert_eq!(udp_header(&frame), Some(34));
        frame[12..14].copy_from_slice(&[0x86, 0xdd]);
        assert_eq!(udp_header(&frame), None);
        assert_eq!(udp_header(&frame[..10]), None);
    }
}
