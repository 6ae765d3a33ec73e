//! A network between two sides: latency, loss, duplication and reordering, all from a seed.

use core::{net::SocketAddr, time::Duration};
use std::collections::BTreeMap;

use weapon_noise::Tick;

/// Reproducible numbers (splitmix64).
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.roll() % limit
    }

    pub(crate) fn happens(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Datagrams on their way, and what may happen to them.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) latency: Duration,
    pub(crate) loss_percent: u64,
    pub(crate) duplicate_percent: u64,
    /// Added to the latency of each datagram, at random up to this.
    pub(crate) jitter: Duration,
    /// Nothing arrives at these addresses.
    pub(crate) dead: Vec<SocketAddr>,
    dice: Dice,
    flying: BTreeMap<(Tick, u64), Datagram>,
    sequence: u64,
}

impl Network {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            latency: Duration::from_millis(10),
            loss_percent: 0,
            duplicate_percent: 0,
            jitter: Duration::ZERO,
            dead: Vec::new(),
            dice: Dice(seed),
            flying: BTreeMap::new(),
            sequence: 0,
        }
    }

    pub(crate) fn send(&mut self, now: Tick, datagram: Datagram) {
        if self.dice.happens(self.loss_percent) {
            return;
        }
        if self.dice.happens(self.duplicate_percent) {
            self.launch(now, datagram.clone());
        }
        self.launch(now, datagram);
    }

    fn launch(&mut self, now: Tick, datagram: Datagram) {
        let jitter = self.jitter.as_nanos() as u64;
        let extra = Duration::from_nanos(self.dice.below(jitter + 1));
        let arrives = now + self.latency + extra;
        self.sequence += 1;
        self.flying.insert((arrives, self.sequence), datagram);
    }

    pub(crate) fn next_arrival(&self) -> Option<Tick> {
        self.flying.first_key_value().map(|(&(at, _), _)| at)
    }

    /// What arrives next, if it arrives by `now` at a place that is alive.
    pub(crate) fn arrive(&mut self, now: Tick) -> Option<Datagram> {
        while self.next_arrival().is_some_and(|at| at <= now) {
            let (_, datagram) = self.flying.pop_first()?;
            if !self.dead.contains(&datagram.to) {
                return Some(datagram);
            }
        }
        None
    }

    /// Whatever is on its way is lost.
    pub(crate) fn lose_all(&mut self) {
        self.flying.clear();
    }
}
