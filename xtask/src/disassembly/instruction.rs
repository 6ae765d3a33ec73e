//! A line of `objdump -d`, in the notation of AT&T: where it goes stands last.

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) address: u64,
    pub(super) mnemonic: String,
    pub(super) operands: Vec<Operand>,
    /// The register that says which lanes are meant, and whether the others become zero.
    pub(super) mask: Option<(Register, bool)>,
    /// Where a jump goes, or a call; of a call by pointer, where the pointer is.
    pub(super) target: Option<u64>,
    /// Calls what ends in a panic.
    pub(super) is_panic: bool,
    pub(super) text: String,
}

/// What an instruction works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    Immediate(i64),
    Register(Register, u32),
    Memory(Memory),
}

/// `offset(base, index, scale)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) offset: i64,
    pub(super) base: Option<Register>,
    pub(super) index: Option<Register>,
    /// Relative to the instruction: constants, and addresses of functions.
    pub(super) is_constant: bool,
}

/// A register whatever part of it is meant: 16 for numbers, 32 for vectors, 8 for masks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Register(pub(super) usize);

pub(super) const GENERAL: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
pub(super) const REGISTERS: usize = 16 + 32 + 8;
pub(super) const RAX: Register = Register(0);
pub(super) const RCX: Register = Register(1);
pub(super) const RDX: Register = Register(2);
pub(super) const RSP: Register = Register(4);
pub(super) const RSI: Register = Register(6);
pub(super) const RDI: Register = Register(7);

impl Register {
    pub(super) fn is_general(self) -> bool {
        self.0 < 16
    }

    pub(super) fn is_mask(self) -> bool {
        self.0 >= 48
    }

    /// A register by name, and how many bytes of it are meant.
    fn of_name(name: &str) -> Option<(Self, u32)> {
        for (prefix, first, bytes) in [("xmm", 16, 16), ("ymm", 16, 32), ("zmm", 16, 64)] {
            if let Some(number) = name.strip_prefix(prefix) {
                return Some((Self(first + number.parse::<usize>().ok()?), bytes));
            }
        }
        if let Some(number) = name.strip_prefix('k') {
            return Some((Self(48 + number.parse::<usize>().ok()?), 8));
        }
        let number = |name: &str| GENERAL.iter().position(|known| *known == name).map(Self);
        if let Some(register) = number(name) {
            return Some((register, 8));
        }
        for (end, bytes) in [("d", 4), ("w", 2), ("b", 1)] {
            if let Some(register) = name.strip_suffix(end).and_then(number)
                && register.0 >= 8
            {
                return Some((register, bytes));
            }
        }
        let old = |name: String, bytes| number(&name).map(|register| (register, bytes));
        match name.as_bytes() {
            [b'e', ..] => old(format!("r{}", &name[1..]), 4),
            [letter, b'l' | b'h'] => old(format!("r{}x", char::from(*letter)), 1),
            [_, _, b'l'] => old(format!("r{}", &name[..2]), 1),
            [_, _] => old(format!("r{name}"), 2),
            _ => None,
        }
    }
}

impl Instruction {
    /// A line, if there is an instruction on it.
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (address, rest) = line.split_once(":\t")?;
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        let (text, comment) = rest.split_once('#').unwrap_or((rest, ""));
        let text = text.trim().to_owned();
        let mut words = text.split_whitespace().filter(|word| !is_prefix(word));
        let mnemonic = words.next()?.to_owned();
        let arguments = words.collect::<Vec<_>>().join(" ");
        let mut made = Self {
            address,
            mnemonic,
            operands: Vec::new(),
            mask: None,
            target: None,
            is_panic: false,
            text: text.clone(),
        };
        if made.is_jump() || made.mnemonic == "call" {
            let number = |text: &str| u64::from_str_radix(text.split_whitespace().next()?, 16).ok();
            made.target = number(&arguments).or_else(|| number(comment));
            return Some(made);
        }
        for operand in split_operands(&arguments) {
            made.push_operand(&operand)?;
        }
        Some(made)
    }

    pub(super) fn is_jump(&self) -> bool {
        self.mnemonic.starts_with('j')
    }

    /// Nothing follows it.
    pub(super) fn is_end(&self) -> bool {
        self.is_panic || matches!(self.mnemonic.as_str(), "jmp" | "ret" | "ud2" | "int3")
    }

    fn push_operand(&mut self, text: &str) -> Option<()> {
        let (place, decorations) = match text.find('{') {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        if let Some(name) = decorations.strip_prefix("{%") {
            let (register, _) = Register::of_name(name.split('}').next()?)?;
            self.mask = Some((register, decorations.contains("{z}")));
        }
        self.operands.push(operand(place)?);
        Some(())
    }
}

fn is_prefix(word: &str) -> bool {
    matches!(
        word,
        "cs" | "ds" | "data16" | "notrack" | "rep" | "lock" | "{evex}" | "{vex}"
    )
}

fn operand(text: &str) -> Option<Operand> {
    if let Some(number) = text.strip_prefix('$') {
        return Some(Operand::Immediate(signed(number)?));
    }
    if let Some(name) = text.strip_prefix('%')
        && !name.contains(':')
    {
        let (register, bytes) = Register::of_name(name)?;
        return Some(Operand::Register(register, bytes));
    }
    let text = text.rsplit(':').next()?;
    let Some((offset, rest)) = text.split_once('(') else {
        return Some(Operand::Memory(Memory {
            is_constant: true,
            ..Memory::default()
        }));
    };
    let mut memory = Memory {
        offset: if offset.is_empty() {
            0
        } else {
            signed(offset)?
        },
        ..Memory::default()
    };
    for (place, name) in rest.trim_end_matches(')').split(',').enumerate() {
        match (place, name.strip_prefix('%')) {
            (0, Some("rip")) => memory.is_constant = true,
            (0, Some(name)) => memory.base = Some(Register::of_name(name)?.0),
            (1, Some(name)) => memory.index = Some(Register::of_name(name)?.0),
            _ => {}
        }
    }
    Some(Operand::Memory(memory))
}

fn signed(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()?;
    let number = number.cast_signed();
    Some(if is_negative {
        number.wrapping_neg()
    } else {
        number
    })
}

/// Splits at commas that are not in brackets.
fn split_operands(text: &str) -> Vec<String> {
    let mut operands = Vec::new();
    let (mut depth, mut current) = (0, String::new());
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if letter == ',' && depth == 0 {
            operands.push(std::mem::take(&mut current));
        } else {
            current.push(letter);
        }
    }
    if !current.is_empty() {
        operands.push(current);
    }
    operands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_read() {
        let line = "  15de98:\tvptestmq -0x14f(%rsp,%r9,8){1to8},%zmm17,%k2{%k1}   # e100 <x>";
        let read = Instruction::parse(line).unwrap();
        assert_eq!(
            (read.address, read.mnemonic.as_str()),
            (0x15_de98, "vptestmq")
        );
        let memory = Memory {
            offset: -0x14f,
            base: Some(RSP),
            index: Some(Register(9)),
            is_constant: false,
        };
        let expected = [
            Operand::Memory(memory),
            Operand::Register(Register(33), 64),
            Operand::Register(Register(50), 8),
        ];
        assert_eq!(read.operands, expected);
        assert_eq!(read.mask, Some((Register(49), false)));
    }

    #[test]
    fn every_name_of_a_register_is_known() {
        for (name, number, bytes) in [
            ("al", 0, 1),
            ("dh", 2, 1),
            ("sil", 6, 1),
            ("ax", 0, 2),
            ("di", 7, 2),
            ("esp", 4, 4),
            ("r9", 9, 8),
            ("r10d", 10, 4),
            ("r15b", 15, 1),
            ("ymm31", 47, 32),
            ("k7", 55, 8),
        ] {
            assert_eq!(
                Register::of_name(name),
                Some((Register(number), bytes)),
                "{name}"
            );
        }
        assert_eq!(Register::of_name("st0"), None);
    }

    #[test]
    fn jumps_have_targets_and_prefixes_are_skipped() {
        let read = Instruction::parse("  1:\tjb     15cf <f+0x3>").unwrap();
        assert_eq!(read.target, Some(0x15cf));
        let read = Instruction::parse("  1:\tcs nopw 0x0(%rax,%rax,1)").unwrap();
        assert_eq!(read.mnemonic, "nopw");
        assert!(Instruction::parse("0000000000000000 <f>:").is_none());
    }
}
