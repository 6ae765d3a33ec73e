//! `aead-dudect`: does the time of opening tell anything? Two classes of inputs in random order,
//! and Welch's t over their times ("dude, is my code constant time?", Reparaz and others, 2017).
//!
//! |t| above 4.5 says that the classes differ for sure; below it says that so many measurements
//! showed no difference.

use std::{hint::black_box, time::Instant};

use anyhow::Result;
use clap::Parser;
use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};
use weapon_aead_bench::{
    machine,
    statistics::{Moments, percentile, welch_t},
};

/// Above it, a difference is no accident: the bound of the paper.
const T_MAX: f64 = 4.5;
/// Shares of the fastest measurements that are looked at: the slowest are interrupts.
const KEPT: [f64; 4] = [0.5, 0.9, 0.99, 1.0];
/// Measurements that only warm the machine up, and say where to crop.
const WARM_UP: usize = 2000;

/// Compares the times of two classes of inputs
#[derive(Debug, Parser)]
struct Options {
    /// Measurements of each test
    #[arg(long, default_value_t = 200_000)]
    measurements: usize,
    /// Bytes of plaintext per packet
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// Packets per call
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Code to test: the fastest that is found (detect), or library
    #[arg(long, default_value = "detect")]
    backend: String,
}

/// How the inputs of the two classes differ.
#[derive(Clone, Copy)]
enum Test {
    WrongTags,
    ForgedLanes,
    Keys,
    Messages,
    /// The second class is longer: it must fail, or the measurement sees nothing.
    Control,
}

impl Test {
    const ALL: [Self; 5] = [
        Self::WrongTags,
        Self::ForgedLanes,
        Self::Keys,
        Self::Messages,
        Self::Control,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::WrongTags => "tags wrong in the first byte, or in the last",
            Self::ForgedLanes => "first packet forged in its first byte, or in its last",
            Self::Keys => "key of zeros, or random keys",
            Self::Messages => "fixed message, or random ones",
            Self::Control => "control: one block more (has to differ)",
        }
    }
}

/// Numbers without pattern (splitmix64); nothing here needs more.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Buffers that both classes use, so that neither has better places in the caches.
struct Bench {
    backend: Backend,
    size: usize,
    plain: Vec<u8>,
    wire: Vec<u8>,
    opened: Vec<u8>,
}

impl Bench {
    fn new(backend: Backend, size: usize, batch: usize) -> Self {
        // Room for the control's block more.
        let room = size + 64;
        Self {
            backend,
            size,
            plain: vec![0; room],
            wire: vec![0; (room + TAG_LEN) * batch],
            opened: vec![0; room * batch],
        }
    }

    /// Nanoseconds of opening an input of that class. All work of a class is done in both, and only
    /// what it leads to differs: caches and branches are in one state when the clock starts.
    fn measure(&mut self, test: Test, is_second: bool, random: &mut Random) -> f64 {
        let mut random_key = [0; 32];
        random.fill(&mut random_key);
        random.fill(&mut self.plain);
        let (fixed_key, fixed_message) = match test {
            Test::Keys => (!is_second, false),
            Test::Messages => (true, !is_second),
            _ => (true, true),
        };
        let keep = [
            u8::from(!fixed_key).wrapping_neg(),
            u8::from(!fixed_message).wrapping_neg(),
        ];
        let key = random_key.map(|byte| byte & keep[0]);
        self.plain.iter_mut().for_each(|byte| *byte &= keep[1]);
        let longer = matches!(test, Test::Control) && is_second;
        let len = self.size + if longer { 64 } else { 0 };
        let key = Key::new(&key, self.backend);
        self.seal(&key, len);
        for (lane, wire) in self.wire.chunks_exact_mut(len + TAG_LEN).enumerate() {
            let at = match test {
                Test::WrongTags => len + if is_second { TAG_LEN - 1 } else { 0 },
                Test::ForgedLanes if lane == 0 && is_second => len - 1,
                Test::ForgedLanes if lane == 0 => 0,
                _ => continue,
            };
            wire[at] ^= 0x80;
        }
        let room = self.size + 64;
        let mut packets: Vec<_> = (0..)
            .zip(self.wire.chunks_exact(len + TAG_LEN))
            .zip(self.opened.chunks_exact_mut(room))
            .map(|((counter, wire), opened)| Opening::apart(counter, wire, &mut opened[..len]))
            .collect();
        let start = Instant::now();
        key.open_many(black_box(&mut packets));
        let nanoseconds = start.elapsed().as_nanos() as f64;
        black_box(&packets);
        nanoseconds
    }

    fn seal(&mut self, key: &Key, len: usize) {
        let batch = self.opened.len() / (self.size + 64);
        self.wire.resize((len + TAG_LEN) * batch, 0);
        let mut packets: Vec<_> = (0..)
            .zip(self.wire.chunks_exact_mut(len + TAG_LEN))
            .map(|(counter, wire)| Sealing::apart(counter, &self.plain[..len], wire))
            .collect();
        key.seal_many(&mut packets).expect("the lengths fit");
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let backend = match options.backend.as_str() {
        "detect" => Backend::detect().backend,
        "library" => Backend::library(),
        other => anyhow::bail!("no backend {other}: detect or library"),
    };
    println!("{}; tested: `{}`", machine::line(), backend.name());
    println!(
        "{} measurements each, {} packets of {} bytes\n",
        options.measurements, options.batch, options.size
    );
    println!("| classes | mean of each, ns | largest abs. t | verdict |\n|---|--:|--:|---|");
    let mut random = Random(0x5eed);
    let mut bench = Bench::new(backend, options.size, options.batch);
    let mut is_good = true;
    for test in Test::ALL {
        is_good &= run(test, &mut bench, options.measurements, &mut random);
    }
    anyhow::ensure!(is_good, "the classes differ, or the control does not");
    Ok(())
}

/// One test; whether it came out as it should.
fn run(test: Test, bench: &mut Bench, measurements: usize, random: &mut Random) -> bool {
    let warm: Vec<f64> = (0..WARM_UP)
        .map(|_| bench.measure(test, random.next() & 1 == 1, random))
        .collect();
    let limits = KEPT.map(|share| match share {
        1.0 => f64::INFINITY,
        share => percentile(&warm, share),
    });
    let mut classes = [[Moments::default(); 2]; KEPT.len()];
    for _ in 0..measurements {
        let is_second = random.next() & 1 == 1;
        let time = bench.measure(test, is_second, random);
        for (pair, limit) in classes.iter_mut().zip(limits) {
            if time <= limit {
                pair[usize::from(is_second)].push(time);
            }
        }
    }
    let most = classes
        .iter()
        .map(|[a, b]| welch_t(a, b).abs())
        .fold(0.0, f64::max);
    let is_same = most < T_MAX;
    let is_good = is_same != matches!(test, Test::Control);
    let [first, second] = classes[2];
    println!(
        "| {} | {:.1}, {:.1} | {most:.2} | {} |",
        test.name(),
        first.mean(),
        second.mean(),
        if is_good { "pass" } else { "FAIL" }
    );
    is_good
}
