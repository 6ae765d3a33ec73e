//! What a value may hold: a set of kinds, as more than one way may lead to an instruction.
//!
//! The arguments of a kernel are the key's words and the packets. What lies in the packets' array
//! everybody on the way can see: lengths, nonces, and where texts are. What those point to, and the
//! key, are secrets, and so is all that is computed from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::instruction::{Memory, RDI, REGISTERS, RSI, RSP, Register};

/// A set of kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u8);

impl Kinds {
    pub(super) const NUMBER: Self = Self(0);
    pub(super) const KEY_POINTER: Self = Self(1);
    pub(super) const PACKETS_POINTER: Self = Self(2);
    /// Out of the array of packets: a length, a nonce, or where a text is.
    pub(super) const FIELD: Self = Self(4);
    pub(super) const STACK_POINTER: Self = Self(8);
    pub(super) const SECRET: Self = Self(16);

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn is_secret(self) -> bool {
        self.has(Self::SECRET)
    }
}

/// Where a register or a word of the stack may point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// Not into the stack.
    Elsewhere,
    /// To this byte of the stack.
    At(i64),
}

/// All places that something may point to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Places(Option<BTreeSet<Place>>);

impl Places {
    /// More are taken for anywhere, so that a pointer that walks comes to an end.
    const MOST: usize = 8;

    const ANYWHERE: Self = Self(None);

    pub(super) fn elsewhere() -> Self {
        Self(Some(BTreeSet::from([Place::Elsewhere])))
    }

    fn at(place: i64) -> Self {
        Self(Some(BTreeSet::from([Place::At(place)])))
    }

    /// These, or those.
    pub(super) fn or(&self, other: &Self) -> Self {
        match (&self.0, &other.0) {
            (Some(mine), Some(theirs)) => {
                let all = mine | theirs;
                Self((all.len() <= Self::MOST).then_some(all))
            }
            _ => Self::ANYWHERE,
        }
    }

    /// Where all of them lie after the same step.
    pub(super) fn moved(&self, step: impl Fn(i64) -> i64) -> Self {
        let moved = |place: &Place| match place {
            Place::Elsewhere => Place::Elsewhere,
            Place::At(place) => Place::At(step(*place)),
        };
        Self(self.0.as_ref().map(|all| all.iter().map(moved).collect()))
    }

    /// The one place in the stack, if there is no other.
    fn exact(&self) -> Option<i64> {
        match self.0.as_ref()?.iter().collect::<Vec<_>>()[..] {
            [Place::At(place)] => Some(*place),
            _ => None,
        }
    }

    /// Whether it may point out of the stack.
    fn has_elsewhere(&self) -> bool {
        match &self.0 {
            Some(all) => all.contains(&Place::Elsewhere),
            None => true,
        }
    }
}

/// Bytes of stack that are followed. What lies beyond is a finding of its own.
const STACK_LEN: usize = 1 << 14;

/// What is known where an instruction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Kinds; REGISTERS],
    /// Where in the stack the general registers point.
    places: [Places; 16],
    pub(super) flags: Kinds,
    stack: Vec<Kinds>,
    /// Pointers into the stack that lie there themselves: where they lie, where they point.
    spilled: BTreeMap<i64, Places>,
}

impl State {
    /// At the entry of a function of a key and packets.
    pub(super) fn at_entry() -> Self {
        let mut state = Self {
            registers: [Kinds::NUMBER; REGISTERS],
            places: [const { Places::ANYWHERE }; 16].map(|_| Places::elsewhere()),
            flags: Kinds::NUMBER,
            stack: vec![Kinds::NUMBER; STACK_LEN],
            spilled: BTreeMap::new(),
        };
        state.set(RDI, Kinds::KEY_POINTER);
        state.set(RSI, Kinds::PACKETS_POINTER);
        state.set_place(RSP, STACK_LEN as i64 - 1024);
        state
    }

    /// Both may be: whether that is more than before.
    pub(super) fn join(&mut self, other: &Self) -> bool {
        let before = self.clone();
        for (mine, theirs) in self.registers.iter_mut().zip(&other.registers) {
            *mine = mine.or(*theirs);
        }
        for (mine, theirs) in self.stack.iter_mut().zip(&other.stack) {
            *mine = mine.or(*theirs);
        }
        for (mine, theirs) in self.places.iter_mut().zip(&other.places) {
            *mine = mine.or(theirs);
        }
        let words: BTreeSet<i64> = before
            .spilled
            .keys()
            .chain(other.spilled.keys())
            .copied()
            .collect();
        for at in words {
            let both = before.word(at).or(&other.word(at));
            self.spilled.insert(at, both);
        }
        self.flags = self.flags.or(other.flags);
        *self != before
    }

    pub(super) fn get(&self, register: Register) -> Kinds {
        self.registers[register.0]
    }

    pub(super) fn set(&mut self, register: Register, kinds: Kinds) {
        self.registers[register.0] = kinds;
        if register.is_general() {
            self.places[register.0] = if kinds.has(Kinds::STACK_POINTER) {
                Places::ANYWHERE
            } else {
                Places::elsewhere()
            };
        }
    }

    pub(super) fn places(&self, register: Register) -> Places {
        let known = self.places.get(register.0);
        known.cloned().unwrap_or_else(Places::elsewhere)
    }

    /// Where in the stack a register points, if that is one place.
    pub(super) fn place(&self, register: Register) -> Option<i64> {
        self.places.get(register.0)?.exact()
    }

    /// The register points there in the stack.
    pub(super) fn set_place(&mut self, register: Register, place: i64) {
        self.registers[register.0] = Kinds::STACK_POINTER;
        self.places[register.0] = Places::at(place);
    }

    /// The register, which was [`set`](State::set), points to one of these places.
    pub(super) fn set_places(&mut self, register: Register, places: Places) {
        if register.is_general() {
            self.places[register.0] = places;
        }
    }

    /// The kinds of an address, as a number.
    pub(super) fn address(&self, memory: &Memory) -> Kinds {
        let of = |register: Option<Register>| register.map_or(Kinds::NUMBER, |it| self.get(it));
        of(memory.base).or(of(memory.index))
    }

    /// Where in the stack it is, if that is one place.
    pub(super) fn exact(&self, memory: &Memory) -> Option<i64> {
        match (memory.base, memory.index) {
            (Some(base), None) => Some(self.place(base)? + memory.offset),
            _ => None,
        }
    }

    /// What may be read there.
    pub(super) fn load(&self, memory: &Memory, bytes: usize) -> Kinds {
        let address = self.address(memory);
        if memory.is_constant {
            return Kinds::NUMBER;
        }
        let mut read = Kinds::NUMBER;
        if address.has(Kinds::STACK_POINTER) {
            for range in self.ranges(memory, bytes) {
                read = self.stack[range].iter().fold(read, |all, it| all.or(*it));
            }
            let is_out = |it: Option<Register>| it.is_none_or(|it| self.places(it).has_elsewhere());
            if !(is_out(memory.base) && is_out(memory.index)) {
                return read;
            }
        }
        let is_text = address.has(Kinds::FIELD) || address.is_secret();
        read.or(if address.has(Kinds::KEY_POINTER) {
            Kinds::SECRET
        } else if address.has(Kinds::PACKETS_POINTER) {
            Kinds::FIELD
        } else if is_text {
            Kinds::SECRET
        } else {
            // Made of constants alone: of a table, or of an empty slice, and then nobody reads.
            Kinds::NUMBER
        })
    }

    /// Writes `kinds`; `is_whole` says that `bytes` bytes are written for sure.
    pub(super) fn store(&mut self, memory: &Memory, bytes: usize, kinds: Kinds, is_whole: bool) {
        if !self.address(memory).has(Kinds::STACK_POINTER) {
            return;
        }
        let is_sure = is_whole && self.exact(memory).is_some();
        for range in self.ranges(memory, bytes) {
            self.spilled
                .retain(|&at, _| at + 8 <= range.start as i64 || at >= range.end as i64);
            for byte in &mut self.stack[range] {
                *byte = if is_sure { kinds } else { byte.or(kinds) };
            }
        }
    }

    /// Where a pointer that lies there points.
    pub(super) fn spilled_places(&self, memory: &Memory) -> Places {
        match self.exact(memory) {
            Some(at) => self.word(at),
            None if self.load(memory, 8).has(Kinds::STACK_POINTER) => Places::ANYWHERE,
            None => Places::elsewhere(),
        }
    }

    /// Where the word of the stack points that begins at `at`.
    fn word(&self, at: i64) -> Places {
        let bytes = (at..at + 8).filter_map(|at| self.stack.get(usize::try_from(at).ok()?));
        let mut is_pointer = bytes.map(|kinds| kinds.has(Kinds::STACK_POINTER));
        match self.spilled.get(&at) {
            Some(known) => known.clone(),
            None if is_pointer.any(|it| it) => Places::ANYWHERE,
            None => Places::elsewhere(),
        }
    }

    /// What was stored there last points to one of `places`.
    pub(super) fn spill_places(&mut self, memory: &Memory, places: Places) {
        if let Some(at) = self.exact(memory) {
            self.spilled.insert(at, places);
        }
    }

    /// The bytes that an access may touch. An array is indexed from its start on, so nothing below
    /// it is touched; its end is not known.
    fn ranges(&self, memory: &Memory, bytes: usize) -> Vec<Range<usize>> {
        let is_indexed = memory.base.is_some() && memory.index.is_some();
        let len = if is_indexed { ARRAY_MAX } else { bytes as i64 };
        let mut ranges = Vec::new();
        for register in [memory.base, memory.index].into_iter().flatten() {
            let Some(places) = self.places(register).0 else {
                return std::iter::once(0..STACK_LEN).collect();
            };
            for place in places {
                if let Place::At(place) = place {
                    let start = place.saturating_add(memory.offset);
                    let clamp = |at: i64| at.clamp(0, STACK_LEN as i64) as usize;
                    ranges.push(clamp(start)..clamp(start.saturating_add(len)));
                }
            }
        }
        ranges
    }
}

/// Bytes of the longest array in the stack that is indexed: eight slices, with as much again.
const ARRAY_MAX: i64 = 256;
