//! What one instruction does to a [`State`], and what is wrong with it.

use super::{
    instruction::{Instruction, Memory, Operand, RAX, RCX, RDI, RDX, RSI, RSP, Register},
    secrets::{Kinds, Places, State},
};

/// What must not be, or not more often than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Leak {
    /// A conditional jump that depends on a secret.
    Jump,
    /// An access to memory whose address depends on a secret, or which bytes are touched.
    Address,
    /// A division takes a time that depends on its operands.
    Division,
    /// A mask that was made of secrets becomes a number: from there on it is taken for public.
    Published,
    /// Where it goes is not in the instruction, or is another function.
    Elsewhere,
    /// An instruction that this check does not know.
    Unknown,
}

/// General instructions that put a function of all their operands into the last, and into flags.
const ARITHMETIC: [&str; 24] = [
    "add", "sub", "and", "or", "xor", "inc", "dec", "neg", "shl", "sal", "shr", "sar", "rol",
    "ror", "imul", "shld", "shrd", "bzhi", "bls", "andn", "bextr", "tzcnt", "lzcnt", "popcnt",
];
/// The same, and flags stay.
const QUIET: [&str; 8] = [
    "not", "bswap", "shlx", "shrx", "sarx", "rorx", "pdep", "pext",
];
/// Vector instructions that read where they write.
const ACCUMULATING: [&str; 6] = [
    "vpmadd52",
    "vpternlog",
    "vpermt2",
    "vpermi2",
    "vpshldv",
    "vpshrdv",
];
const CALLER_SAVED: [Register; 9] = [
    RAX,
    RCX,
    RDX,
    RSI,
    RDI,
    Register(8),
    Register(9),
    Register(10),
    Register(11),
];

/// Does `it` to `state`, and reports what it leaks.
pub(super) fn step(state: &mut State, it: &Instruction, leak: &mut dyn FnMut(Leak)) {
    let name = it.mnemonic.as_str();
    if name != "lea" && !name.starts_with("nop") {
        check_addresses(state, it, leak);
    }
    match name {
        // A prefetch tells its address, which is checked above, and changes nothing.
        _ if name.starts_with("nop") || name.starts_with("prefetch") => {}
        "ret" | "ud2" | "int3" | "endbr64" | "vzeroupper" | "xchg" if it.operands.len() < 2 => {}
        "jmp" | "jrcxz" | "jecxz" if it.target.is_none() => leak(Leak::Elsewhere),
        "jmp" => {}
        _ if it.is_jump() => {
            if state.flags.is_secret() {
                leak(Leak::Jump);
            }
        }
        "call" => call(state),
        "lea" => lea(state, it),
        "push" | "pop" => push_or_pop(state, it),
        _ if is_comparison(name) => state.flags = sources(state, it, it.operands.len()),
        _ if name.starts_with('v') => vector(state, it),
        _ if name.starts_with('k') => mask(state, it, leak),
        _ => general(state, it, leak),
    }
}

fn check_addresses(state: &State, it: &Instruction, leak: &mut dyn FnMut(Leak)) {
    let mask = it.mask.map_or(Kinds::NUMBER, |(mask, _)| state.get(mask));
    for operand in &it.operands {
        if let Operand::Memory(memory) = operand
            && (state.address(memory).is_secret() || mask.is_secret())
        {
            leak(Leak::Address);
        }
    }
}

fn is_comparison(name: &str) -> bool {
    ["cmp", "test", "kortest", "ktest", "vucomi", "vcomi"]
        .iter()
        .any(|known| name.starts_with(known))
        || matches!(name, "bt" | "btl" | "btq" | "vptest")
}

/// Functions that are called move memory, or end it all in a panic. What moves memory is told where
/// by its arguments, so secrets in the stack are taken to be everywhere in it from there on.
fn call(state: &mut State) {
    if state.get(RDI).has(Kinds::STACK_POINTER) && state.get(RSI).has(Kinds::STACK_POINTER) {
        let at = |base| Memory {
            base: Some(base),
            ..Memory::default()
        };
        let moved = state.load(&at(RSI), usize::MAX >> 1);
        state.store(&at(RDI), 512, moved, false);
    }
    for register in CALLER_SAVED.into_iter().chain((16..56).map(Register)) {
        state.set(register, Kinds::NUMBER);
    }
    state.flags = Kinds::NUMBER;
}

fn lea(state: &mut State, it: &Instruction) {
    let [Operand::Memory(memory), Operand::Register(to, _)] = it.operands.as_slice() else {
        return;
    };
    let kinds = state.address(memory);
    let places = match (memory.base, memory.index) {
        (Some(base), None) if !memory.is_constant => {
            Some(state.places(base).moved(|place| place + memory.offset))
        }
        _ => None,
    };
    state.set(*to, kinds);
    if let Some(places) = places {
        state.set_places(*to, places);
    }
}

fn push_or_pop(state: &mut State, it: &Instruction) {
    let (Some(top), Some(operand)) = (state.place(RSP), it.operands.first()) else {
        return;
    };
    let memory = Memory {
        base: Some(RSP),
        ..Memory::default()
    };
    if it.mnemonic == "push" {
        let kinds = read(state, operand, 8);
        state.set_place(RSP, top - 8);
        state.store(&memory, 8, kinds, true);
    } else {
        let kinds = state.load(&memory, 8);
        write(state, operand, 8, kinds, true);
        state.set_place(RSP, top + 8);
    }
}

/// What an operand may hold.
fn read(state: &State, operand: &Operand, bytes: usize) -> Kinds {
    match operand {
        Operand::Immediate(_) => Kinds::NUMBER,
        Operand::Register(register, _) => state.get(*register),
        Operand::Memory(memory) => state.load(memory, bytes),
    }
}

fn write(state: &mut State, operand: &Operand, bytes: usize, kinds: Kinds, is_whole: bool) {
    match operand {
        Operand::Immediate(_) => {}
        Operand::Register(register, _) if is_whole => state.set(*register, kinds),
        Operand::Register(register, _) => {
            let kinds = state.get(*register).or(kinds);
            state.set(*register, kinds);
        }
        Operand::Memory(memory) => state.store(memory, bytes, kinds, is_whole),
    }
}

/// The first `count` operands together.
fn sources(state: &State, it: &Instruction, count: usize) -> Kinds {
    let bytes = width(it);
    let operands = it.operands.iter().take(count);
    operands.fold(Kinds::NUMBER, |all, operand| {
        all.or(read(state, operand, bytes))
    })
}

/// Bytes of an access to memory: exact, or more than there are.
fn width(it: &Instruction) -> usize {
    let name = it.mnemonic.as_str();
    let starts = |known: &[&str]| known.iter().any(|known| name.starts_with(known));
    if it.text.contains("{1to") || starts(&["vmovq", "vpextrq", "vpinsrq", "vpbroadcastq", "vmovs"])
    {
        return 8;
    }
    if starts(&["vmovlp", "vmovhp", "vmovddup", "vbroadcastsd"]) {
        return 8;
    }
    if starts(&[
        "vmovd\0",
        "vpextrd",
        "vpinsrd",
        "vpbroadcastd",
        "vbroadcastss",
    ]) || name == "vmovd"
    {
        return 4;
    }
    if starts(&["vpextrb", "vpinsrb", "movzb", "movsb", "set"]) {
        return 1;
    }
    if starts(&["vpextrw", "vpinsrw", "movzw", "movsw"]) {
        return 2;
    }
    if starts(&["movslq"]) {
        return 4;
    }
    if starts(&["vextract", "vinsert", "vbroadcasti", "vbroadcastf"]) {
        return if name.ends_with("x8") || name.ends_with("64x4") {
            32
        } else {
            16
        };
    }
    let of_registers = it.operands.iter().filter_map(|operand| match operand {
        Operand::Register(register, bytes) if !register.is_mask() => Some(*bytes as usize),
        _ => None,
    });
    if let Some(most) = of_registers.max() {
        return most;
    }
    match name.as_bytes().last() {
        Some(b'b') => 1,
        Some(b'w') => 2,
        Some(b'l') => 4,
        _ => 8,
    }
}

fn vector(state: &mut State, it: &Instruction) {
    let Some((to, from)) = it.operands.split_last() else {
        return;
    };
    let name = it.mnemonic.as_str();
    let mut kinds = sources(state, it, from.len());
    let is_same = matches!(from, [a, b] if a == b);
    let cancels = ["vpxor", "vxorp", "vpsub", "vpcmpeq"];
    if (is_same && cancels.iter().any(|known| name.starts_with(known)))
        || (name.starts_with("vpternlog") && from.first() == Some(&Operand::Immediate(0xff)))
    {
        kinds = Kinds::NUMBER;
    } else if ACCUMULATING.iter().any(|known| name.starts_with(known)) {
        kinds = kinds.or(read(state, to, 64));
    }
    let mut is_whole = true;
    if let Some((mask, is_zeroing)) = it.mask {
        kinds = kinds.or(state.get(mask));
        let is_result = matches!(to, Operand::Register(to, _) if to.is_mask());
        is_whole = is_zeroing || is_result;
    }
    // What narrows its elements writes less than a register.
    let is_narrowing = name.starts_with("vpmov") && matches!(to, Operand::Memory(_));
    write(state, to, width(it), kinds, is_whole && !is_narrowing);
}

fn mask(state: &mut State, it: &Instruction, leak: &mut dyn FnMut(Leak)) {
    let Some((to, from)) = it.operands.split_last() else {
        return;
    };
    let is_same = matches!(from, [a, b] if a == b);
    let mut kinds = match it.mnemonic.as_str() {
        name if is_same && (name.starts_with("kx")) => Kinds::NUMBER,
        _ => sources(state, it, from.len()),
    };
    let becomes_number = matches!(to, Operand::Register(to, _) if to.is_general());
    if becomes_number && kinds.is_secret() {
        leak(Leak::Published);
        kinds = Kinds::NUMBER;
    }
    write(state, to, 8, kinds, true);
}

fn general(state: &mut State, it: &Instruction, leak: &mut dyn FnMut(Leak)) {
    let name = it.mnemonic.as_str();
    let bytes = width(it);
    let starts = |known: &[&str]| known.iter().any(|known| name.starts_with(known));
    // With three operands, the last is only written, but for shifts across two registers.
    let written = usize::from(it.operands.len() == 3 && !starts(&["shld", "shrd"]));
    let all = sources(state, it, it.operands.len() - written);
    match it.operands.as_slice() {
        [from, to] if name.starts_with("mov") => mov(state, from, to, bytes),
        [to] if name.starts_with("set") => {
            // The lowest byte of a register, or all of a byte in memory.
            let is_whole = matches!(to, Operand::Memory(_));
            write(state, to, 1, state.flags, is_whole);
        }
        [from, to] if name.starts_with("cmov") => choose(state, from, to, bytes),
        [a, b] if name.starts_with("xchg") => {
            write(state, a, bytes, all, true);
            write(state, b, bytes, all, true);
        }
        [a, b] if starts(&["sbb"]) && a == b => write(state, b, bytes, state.flags, true),
        [_, to] if starts(&["adc", "sbb"]) => {
            let kinds = all.or(state.flags);
            write(state, to, bytes, kinds, true);
            state.flags = kinds;
        }
        [_, low, high] if name == "mulx" => {
            let kinds = sources(state, it, 1).or(state.get(RDX));
            write(state, low, 8, kinds, true);
            write(state, high, 8, kinds, true);
        }
        [_] if starts(&["mul", "imul", "div", "idiv"]) => {
            let kinds = all.or(state.get(RAX)).or(state.get(RDX));
            if name.contains("div") && kinds.is_secret() {
                leak(Leak::Division);
            }
            state.set(RAX, kinds);
            state.set(RDX, kinds);
            state.flags = kinds;
        }
        [] if matches!(name, "cqto" | "cltd") => state.set(RDX, state.get(RAX)),
        [] if matches!(name, "cltq" | "cwtl") => {}
        [a, b] if starts(&["xor", "sub"]) && a == b => {
            write(state, b, bytes, Kinds::NUMBER, true);
            state.flags = Kinds::NUMBER;
        }
        [Operand::Immediate(number), Operand::Register(to, 8)]
            if starts(&["add", "sub", "and"]) && state.get(*to).has(Kinds::STACK_POINTER) =>
        {
            let places = state.places(*to).moved(|place| match &name[..3] {
                "add" => place + number,
                "sub" => place - number,
                _ => place & number,
            });
            state.set(*to, all);
            state.set_places(*to, places);
            state.flags = all;
        }
        [.., to] if starts(&QUIET) => write(state, to, bytes, all, true),
        [.., to] if starts(&ARITHMETIC) => {
            write(state, to, bytes, all, true);
            state.flags = all;
        }
        _ => leak(Leak::Unknown),
    }
}

/// Where in the stack an operand of eight bytes may point.
fn places(state: &State, operand: &Operand) -> Places {
    match operand {
        Operand::Immediate(_) => Places::elsewhere(),
        Operand::Register(register, _) => state.places(*register),
        Operand::Memory(memory) => state.spilled_places(memory),
    }
}

/// A move, which keeps it known where in the stack a pointer points.
fn mov(state: &mut State, from: &Operand, to: &Operand, bytes: usize) {
    let places = places(state, from);
    let kinds = read(state, from, bytes);
    let is_whole = !matches!(to, Operand::Register(_, 1 | 2));
    write(state, to, bytes, kinds, is_whole);
    match to {
        Operand::Register(to, 8) => state.set_places(*to, places),
        Operand::Memory(to) if bytes == 8 && kinds.has(Kinds::STACK_POINTER) => {
            state.spill_places(to, places);
        }
        _ => {}
    }
}

/// A conditional move: what was there before, or what comes.
fn choose(state: &mut State, from: &Operand, to: &Operand, bytes: usize) {
    let places = places(state, from).or(&places(state, to));
    let kinds = read(state, from, bytes).or(read(state, to, bytes));
    write(state, to, bytes, kinds.or(state.flags), true);
    if let Operand::Register(to, 8) = to {
        state.set_places(*to, places);
    }
}
