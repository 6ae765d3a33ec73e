//! A story: where gateways are, and what happens when. Made from a seed or from any bytes.

use core::fmt;

use crate::{dice::Dice, nat::NatKind, network::Line, step::Step};

/// A NAT before a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPlan {
    /// What it lets in.
    pub kind: NatKind,
    /// After so many seconds a mapping is forgotten.
    pub expiry_secs: u16,
    /// Whether the outer port is the gateway's own.
    pub keeps_port: bool,
}

/// Where a gateway is, and what it does by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The NAT in front of it.
    pub nat: Option<NatPlan>,
    /// It keeps its peers alive this often; not at all if zero.
    pub keepalive_secs: u16,
    /// The others are told where it is, although it is behind a NAT: its outer address, and its own
    /// port.
    pub is_announced: bool,
}

/// Which sites send when the faults are over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// Each to each.
    Both,
    /// Each to those with a smaller number.
    Down,
    /// Each to those with a greater number.
    Up,
}

/// What happens in a world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Story {
    /// All chance in this world comes from it.
    pub seed: u64,
    /// The gateways. Each knows all others.
    pub places: Vec<Place>,
    /// What happens, and how many milliseconds after the start, in order.
    pub steps: Vec<(u64, Step)>,
    /// Who sends at the end.
    pub probes: Probes,
    /// They send one packet each before that, and wait.
    pub alone_first: bool,
}

/// Steps that are read from bytes at most: a story is to be read by people too.
const STEPS_MAX: usize = 32;

/// Bytes that a seed makes at most. They are enough for a dozen steps.
const SEED_BYTES_MAX: u64 = 72;

impl Story {
    /// The story of `seed`.
    pub fn from_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let len = 8 + dice.below(SEED_BYTES_MAX - 8);
        let bytes: Vec<u8> = (0..len).map(|_| dice.roll() as u8).collect();
        Self {
            seed,
            ..Self::from_bytes(&bytes)
        }
    }

    /// The story that any bytes tell. Fewer bytes, fewer steps.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // FNV-1a: the same bytes, the same chance.
        let seed = bytes
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            });
        let mut reader = Reader { bytes };
        let count = match reader.byte() % 16 {
            0..10 => 2,
            10..15 => 3,
            _ => 4,
        };
        let byte = reader.byte();
        let probes = [Probes::Both, Probes::Down, Probes::Up][usize::from(byte % 3)];
        let mut story = Self {
            seed,
            places: (0..count).map(|_| reader.place()).collect(),
            steps: Vec::new(),
            probes,
            alone_first: byte & 0x80 != 0,
        };
        let mut at = 0;
        while !reader.bytes.is_empty() && story.steps.len() < STEPS_MAX {
            at += reader.pause_ms();
            story.steps.push((at, reader.step(count)));
        }
        story
    }

    /// A story of `count` gateways with addresses of their own, in which nothing happens.
    pub fn quiet(seed: u64, count: usize) -> Self {
        Self {
            seed,
            places: vec![Place::default(); count],
            steps: Vec::new(),
            probes: Probes::Both,
            alone_first: false,
        }
    }

    /// The same story, in which `step` happens at `ms` too.
    #[must_use]
    pub fn at(mut self, ms: u64, step: Step) -> Self {
        self.steps.push((ms, step));
        self
    }

    /// When the last step has ended.
    pub(crate) fn end_ms(&self) -> u64 {
        let ends = self.steps.iter();
        ends.map(|(at, step)| at + step.duration_ms())
            .max()
            .unwrap_or(0)
    }

    /// The story as an expression, for a test that keeps it.
    pub fn to_code(&self) -> String {
        let places = self.places.iter().map(|place| {
            let place = format!("{place:?}").replace("kind: ", "kind: NatKind::");
            format!("        {place},\n")
        });
        let steps = self.steps.iter();
        let steps = steps.map(|(at, step)| format!("        ({at}, Step::{step:?}),\n"));
        format!(
            "Story {{\n    seed: {},\n    probes: Probes::{:?},\n    \
             alone_first: {},\n    places: vec![\n{}    ],\n    \
             steps: vec![\n{}    ],\n}}",
            self.seed,
            self.probes,
            self.alone_first,
            places.collect::<String>(),
            steps.collect::<String>(),
        )
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (host, place) in self.places.iter().enumerate() {
            write!(f, "gateway {host} ")?;
            match place.nat {
                None => write!(f, "has an address of its own")?,
                Some(nat) => write!(
                    f,
                    "is behind a {} NAT that forgets after {} s",
                    nat.kind, nat.expiry_secs
                )?,
            }
            if place.keepalive_secs != 0 {
                write!(f, ", and keeps all alive each {} s", place.keepalive_secs)?;
            }
            writeln!(f)?;
        }
        for (at, step) in &self.steps {
            writeln!(f, "at {}.{:03} s  {step}", at / 1000, at % 1000)?;
        }
        let who = match self.probes {
            Probes::Both => "each to each",
            Probes::Down => "each to those with a smaller number",
            Probes::Up => "each to those with a greater number",
        };
        let first = if self.alone_first {
            ", one packet alone at first"
        } else {
            ""
        };
        let end = self.end_ms();
        writeln!(
            f,
            "at {}.{:03} s  all faults end, and sites send again: {who}{first}",
            end / 1000,
            end % 1000
        )
    }
}

/// Reads a story, byte by byte. Behind the end all is zero.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else {
            return 0;
        };
        self.bytes = rest;
        first
    }

    fn place(&mut self) -> Place {
        let byte = self.byte();
        let kind = NatKind::ALL[usize::from(byte >> 2) % 4];
        let is_behind = byte % 4 == 3;
        Place {
            nat: is_behind.then_some(NatPlan {
                kind,
                expiry_secs: [20, 30, 60, 120][usize::from(byte >> 4) % 4],
                keeps_port: byte & 0x40 != 0,
            }),
            keepalive_secs: if byte >> 4 == 15 { 25 } else { 0 },
            is_announced: false,
        }
    }

    fn pause_ms(&mut self) -> u64 {
        let byte = self.byte();
        let pauses = [
            0, 3, 10, 30, 100, 300, 1000, 3000, 5000, 5200, 10_000, 15_100, 21_000, 60_000,
            119_000, 166_000,
        ];
        pauses[usize::from(byte % 16)] + u64::from(byte / 16) * 7
    }

    fn step(&mut self, count: usize) -> Step {
        let (op, pair, more) = (self.byte(), self.byte(), self.byte());
        let host = usize::from(pair) % count;
        let other = (host + 1 + usize::from(pair / 16) % (count - 1)) % count;
        match op % 40 {
            0..14 => traffic(op % 40, host, other, count, more),
            14..19 => Step::Line {
                host,
                line: line(pair, more),
            },
            op => fault(op, host, other, more),
        }
    }
}

fn traffic(op: u8, from: usize, to: usize, count: usize, more: u8) -> Step {
    match op {
        0..5 => Step::Send {
            from,
            to,
            count: [1, 1, 2, 5, 20, 70, 140, 3][usize::from(more % 8)],
            len: [16, 17, 100, 1392, 500, 31, 33, 1000][usize::from(more / 8 % 8)],
            is_v6: more & 0x40 != 0,
        },
        5..8 => Step::SendSuper {
            from,
            to,
            count: 2 + u16::from(more % 40),
            len: [100, 512, 1380, 1000][usize::from(more / 64)],
            is_tcp: more.is_multiple_of(2),
        },
        8..13 => Step::Talk {
            from,
            to,
            every_ms: [40, 500, 900, 3000][usize::from(more % 4)],
            count: 4 + u16::from(more / 4 % 16) * 2,
        },
        _ => Step::Spoof {
            from,
            to,
            as_of: (from + 1 + usize::from(more) % (count - 1)) % count,
        },
    }
}

fn line(kind: u8, more: u8) -> Line {
    let mut line = Line::GOOD;
    if kind & 0x80 != 0 {
        line.loss = [0, 5, 20, 50, 90, 100, 10, 30][usize::from(more % 8)];
    }
    if kind & 0x40 != 0 {
        line.duplicate = [0, 10, 50, 100][usize::from(more / 8 % 4)];
    }
    if kind & 0x20 != 0 {
        line.corrupt = [0, 1, 10, 60][usize::from(more / 32 % 4)];
    }
    if kind & 0x10 != 0 {
        line.jitter_ms = [5, 50, 200, 1000][usize::from(more / 64)];
    }
    if kind & 0x08 != 0 {
        line.latency_ms = [1, 40, 150, 300][usize::from(more / 16 % 4)];
    }
    if kind & 0x0c == 0x0c {
        line.datagram_len_max = [147, 600, 1300, 91][usize::from(more % 4)];
    }
    line
}

fn fault(op: u8, host: usize, other: usize, more: u8) -> Step {
    let short_ms = [1, 50, 1000, 4000, 9000, 30_000, 200_000, 700_000][usize::from(more % 8)];
    match op {
        19 | 20 => Step::Cut { one: host, other },
        21 | 22 => Step::Mend { one: host, other },
        23..26 => Step::Restart {
            host,
            down_ms: short_ms.min(30_000),
        },
        26 => Step::Boot {
            host,
            down_ms: short_ms,
        },
        27 => Step::StepClock {
            host,
            seconds: [-315_360_000, 315_360_000, -1, 1, -3600, 3600, -700, 700]
                [usize::from(more % 8)],
        },
        28 => Step::Suspend { host, ms: short_ms },
        29 => Step::Stop { host, ms: short_ms },
        30 | 31 => Step::Roam { host },
        32 => Step::RebootNat { host },
        33 => Step::RemovePeer { host, peer: other },
        34 | 35 => Step::AddPeer { host, peer: other },
        36 => Step::KeepAlive {
            host,
            peer: other,
            seconds: [0, 25, 1, 60][usize::from(more % 4)],
        },
        37 => Step::DownUp { host },
        38 => Step::Replay {
            host,
            count: 1 + u16::from(more % 32),
        },
        _ if more.is_multiple_of(2) => Step::FillDisk { host },
        _ => Step::ClearDisk { host },
    }
}
