//! Interleaved rounds: A B C, A B C, ... What changes on the machine meanwhile changes for all, so
//! that ratios hold on a noisy one.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::{batch::Batch, contender::Contender, statistics::median};

/// What is done with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Encrypt and make tags.
    Seal,
    /// Check tags and decrypt.
    Open,
}

impl Operation {
    /// In the order of the tables.
    pub const ALL: [Self; 2] = [Self::Seal, Self::Open];

    /// As headings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }

    /// Does it once.
    ///
    /// # Panics
    /// If a packet turns out not to be authentic: then something else is timed than was meant.
    pub fn run(self, contender: &mut dyn Contender, batch: &mut Batch) {
        match self {
            Self::Seal => contender.seal(batch),
            Self::Open => assert!(contender.open(batch), "{} is wrong", contender.name()),
        }
    }
}

/// What is measured.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Bytes of plaintext per packet.
    pub sizes: Vec<usize>,
    /// Packets per call.
    pub batches: Vec<usize>,
    /// How often each is measured; the median counts.
    pub rounds: usize,
    /// How long one measurement takes.
    pub sample_us: u64,
}

/// What one contender did with one size and batch.
#[derive(Clone, Debug, Serialize)]
pub struct Cell {
    /// Who.
    pub contender: &'static str,
    /// What.
    pub operation: Operation,
    /// Bytes of plaintext per packet.
    pub size: usize,
    /// Packets per call.
    pub batch: usize,
    /// GB/s of plaintext, one for each round.
    pub rounds: Vec<f64>,
}

impl Cell {
    /// The median of the rounds, in GB/s.
    pub fn speed(&self) -> f64 {
        median(&self.rounds)
    }

    /// How many times as fast as another: the median of the rounds' ratios, because what slows the
    /// machine for a round slows both.
    pub fn ratio(&self, to: &Self) -> f64 {
        let ratios = self.rounds.iter().zip(&to.rounds);
        median(&ratios.map(|(own, other)| own / other).collect::<Vec<_>>())
    }
}

/// Measures all that is planned. `progress` hears of each size and batch.
pub fn run(
    plan: &Plan,
    contenders: &mut [Box<dyn Contender>],
    mut progress: impl FnMut(&str),
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &size in &plan.sizes {
        for &count in &plan.batches {
            progress(&format!("{size} bytes, batches of {count}"));
            for operation in Operation::ALL {
                cells.extend(compare(plan, contenders, operation, size, count));
            }
        }
    }
    cells
}

/// One size, batch and operation of all contenders.
fn compare(
    plan: &Plan,
    contenders: &mut [Box<dyn Contender>],
    operation: Operation,
    size: usize,
    count: usize,
) -> Vec<Cell> {
    let mut batch = Batch::new(size, count);
    // All seal the same bytes, so what one left on the wire the others can open.
    contenders[0].seal(&mut batch);
    let sample = Duration::from_micros(plan.sample_us);
    let mut repeats = Vec::new();
    let mut cells = Vec::new();
    for contender in contenders.iter_mut() {
        repeats.push(repeats_in(
            sample,
            operation,
            contender.as_mut(),
            &mut batch,
        ));
        cells.push(Cell {
            contender: contender.name(),
            operation,
            size,
            batch: count,
            rounds: Vec::new(),
        });
    }
    for _ in 0..plan.rounds {
        for (at, contender) in contenders.iter_mut().enumerate() {
            // Once more than is timed: caches and branches forget what the contender before did.
            operation.run(contender.as_mut(), &mut batch);
            let seconds = time(repeats[at], operation, contender.as_mut(), &mut batch);
            let bytes = (batch.bytes() * repeats[at]) as f64;
            cells[at].rounds.push(bytes / seconds / 1e9);
        }
    }
    cells
}

/// How many calls fill a sample, at least one.
fn repeats_in(
    sample: Duration,
    operation: Operation,
    contender: &mut dyn Contender,
    batch: &mut Batch,
) -> usize {
    let mut repeats = 1;
    loop {
        // The best of some: one that was interrupted would leave a sample of a single call.
        let seconds = (0..5)
            .map(|_| time(repeats, operation, contender, batch))
            .fold(f64::INFINITY, f64::min);
        if seconds * 4.0 >= sample.as_secs_f64() {
            let more = sample.as_secs_f64() / seconds;
            return ((repeats as f64 * more) as usize).max(1);
        }
        repeats *= 2;
    }
}

/// Seconds of so many calls.
fn time(
    repeats: usize,
    operation: Operation,
    contender: &mut dyn Contender,
    batch: &mut Batch,
) -> f64 {
    let start = Instant::now();
    for _ in 0..repeats {
        operation.run(contender, batch);
        std::hint::black_box(&mut *batch);
    }
    start.elapsed().as_secs_f64()
}
