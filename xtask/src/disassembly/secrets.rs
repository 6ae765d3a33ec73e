//! What a value may hold: a set of kinds, as more than one way may lead to an instruction.
//!
//! The arguments of a kernel are the key's words and the packets. What lies in the packets' array
//! everybody on the way can see: lengths, nonces, and where texts are. What those point to, and the
//! key, are secrets, and so is all that is computed from them.

use std::collections::BTreeMap;

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

/// Bytes of stack that are followed. What lies beyond is a finding of its own.
const STACK_LEN: usize = 1 << 14;

/// What is known where an instruction begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    registers: [Kinds; REGISTERS],
    /// Where in the stack a register points, if it does so for sure.
    places: [Option<i64>; 16],
    pub(super) flags: Kinds,
    stack: Vec<Kinds>,
    /// Pointers into the stack that lie there themselves: where they lie, where they point.
    spilled: BTreeMap<i64, i64>,
}

impl State {
    /// At the entry of a function of a key and packets.
    pub(super) fn at_entry() -> Self {
        let mut state = Self {
            registers: [Kinds::NUMBER; REGISTERS],
            places: [None; 16],
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
            if mine != theirs {
                *mine = None;
            }
        }
        self.spilled
            .retain(|at, place| other.spilled.get(at) == Some(place));
        self.flags = self.flags.or(other.flags);
        *self != before
    }

    pub(super) fn get(&self, register: Register) -> Kinds {
        self.registers[register.0]
    }

    pub(super) fn set(&mut self, register: Register, kinds: Kinds) {
        self.registers[register.0] = kinds;
        if register.is_general() {
            self.places[register.0] = None;
        }
    }

    pub(super) fn place(&self, register: Register) -> Option<i64> {
        self.places.get(register.0).copied().flatten()
    }

    /// The register points there in the stack.
    pub(super) fn set_place(&mut self, register: Register, place: i64) {
        self.registers[register.0] = Kinds::STACK_POINTER;
        self.places[register.0] = Some(place);
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
        if address.has(Kinds::STACK_POINTER) {
            let range = self.range(memory, bytes);
            let bytes = self.stack[range].iter();
            return bytes.fold(Kinds::NUMBER, |all, byte| all.or(*byte));
        }
        if address.has(Kinds::KEY_POINTER) {
            Kinds::SECRET
        } else if address.has(Kinds::PACKETS_POINTER) {
            Kinds::FIELD
        } else {
            Kinds::SECRET
        }
    }

    /// Writes `kinds`; `is_whole` says that `bytes` bytes are written for sure.
    pub(super) fn store(&mut self, memory: &Memory, bytes: usize, kinds: Kinds, is_whole: bool) {
        if !self.address(memory).has(Kinds::STACK_POINTER) {
            return;
        }
        let is_sure = is_whole && self.exact(memory).is_some();
        let range = self.range(memory, bytes);
        self.spilled
            .retain(|&at, _| at + 8 <= range.start as i64 || at >= range.end as i64);
        for byte in &mut self.stack[range] {
            *byte = if is_sure { kinds } else { byte.or(kinds) };
        }
    }

    /// Where a pointer that lies there points in the stack.
    pub(super) fn spilled_place(&self, memory: &Memory) -> Option<i64> {
        self.spilled.get(&self.exact(memory)?).copied()
    }

    /// What was stored there last points to `place`.
    pub(super) fn spill_place(&mut self, memory: &Memory, place: i64) {
        if let Some(at) = self.exact(memory) {
            self.spilled.insert(at, place);
        }
    }

    /// The bytes that an access may touch. An array is indexed from its start on, so nothing below
    /// it is touched; its end is not known.
    fn range(&self, memory: &Memory, bytes: usize) -> std::ops::Range<usize> {
        let base = memory.base.and_then(|base| self.place(base));
        let index = memory.index.and_then(|index| self.place(index));
        let (start, end) = match (base.or(index), self.exact(memory)) {
            (_, Some(exact)) => (exact, exact.saturating_add(bytes as i64)),
            (Some(place), None) => (place + memory.offset, place + memory.offset + ARRAY_MAX),
            (None, None) => (0, STACK_LEN as i64),
        };
        let clamp = |at: i64| at.clamp(0, STACK_LEN as i64) as usize;
        clamp(start)..clamp(end)
    }
}

/// Bytes of the longest array in the stack that is indexed: eight slices, with as much again.
const ARRAY_MAX: i64 = 256;
