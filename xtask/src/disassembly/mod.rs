//! `cargo xtask disassembly`: no branch and no address of the AVX-512 kernels depends on a secret.
//!
//! The source takes the same time whatever the values are; whether the compiler kept it so, only
//! the machine code says. Each kernel of a release is followed along all of its ways, and for each
//! register and byte of the stack it is known whether it may hold something made of the key or of
//! texts. It is not a proof: arrays in the stack are taken to be no longer than a constant, and
//! what is stored outside the stack is not followed. It finds what a compiler is likely to do.

mod instruction;
mod secrets;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::shell::{Step, is_installed};
use instruction::Instruction;
use secrets::State;
use step::{Leak, step};

/// A function, and what is allowed in it.
struct Kernel {
    name: &'static str,
    /// Overwrites the stack that the kernel used: its frame lies where the kernel's did.
    wipe: &'static str,
    /// Masks that may become numbers.
    published: usize,
    reason: &'static str,
}

const SEALS: &str = "sealing decides nothing";
const OPENS: &str = "whether the tags of an octet are right is what everybody may learn";

const WIPE_SEAL: &str = "weapon_aead::avx512::wipe_stack_of_seal";
const WIPE_OPEN: &str = "weapon_aead::avx512::wipe_stack_of_open";
const WIPE_SHORT: &str = "weapon_aead::avx512::wipe_short_stack";

const KERNELS: [Kernel; 4] = [
    Kernel {
        name: "weapon_aead::avx512::Avx512::seal::seal",
        wipe: WIPE_SEAL,
        published: 0,
        reason: SEALS,
    },
    Kernel {
        name: "weapon_aead::avx512::Avx512::seal::seal_short",
        wipe: WIPE_SHORT,
        published: 0,
        reason: SEALS,
    },
    Kernel {
        name: "weapon_aead::avx512::Avx512::open::open",
        wipe: WIPE_OPEN,
        published: 1,
        reason: OPENS,
    },
    Kernel {
        name: "weapon_aead::avx512::Avx512::open::open_short",
        wipe: WIPE_SHORT,
        published: 1,
        reason: OPENS,
    },
];

/// What is looked at.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// A program that has the kernels in it, instead of the release, which is built
    #[arg(long)]
    program: Option<std::path::PathBuf>,
}

/// Builds the release and follows its kernels; an error for every leak.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        is_installed("objdump"),
        "objdump reads the machine code: install the Debian package binutils"
    );
    if cfg!(not(target_arch = "x86_64")) {
        eprintln!("disassembly: the kernels are for x86-64 only");
        return Ok(());
    }
    let program = match &options.program {
        Some(program) => program.clone(),
        None => {
            Step::new("cargo build --release --locked --package weapon").run()?;
            crate::counts::target_folder()?.join("release/weapon")
        }
    };
    let functions = functions_in(&program)?;
    let function = |name: &str| {
        functions
            .get(name)
            .with_context(|| format!("no function {name} in the program"))
    };
    let mut bad = 0;
    for kernel in KERNELS {
        let code = function(kernel.name)?;
        bad += judge(&kernel, code);
        let (used, wiped) = (frame(code), frame(function(kernel.wipe)?));
        // A register's width: their frames are aligned to it, each for itself.
        ensure!(
            used > 0 && wiped >= used + 64,
            "disassembly: {} uses {used} bytes of stack, and {wiped} are overwritten",
            kernel.name
        );
    }
    if bad != 0 {
        bail!("disassembly: {bad} instruction(s) that may tell a secret by their time");
    }
    Ok(())
}

/// Bytes of stack that a function takes at its beginning, beside what it saves.
fn frame(code: &[Instruction]) -> u64 {
    let taken = code.iter().filter_map(|instruction| {
        let amount = instruction.text.strip_prefix("sub ")?.trim();
        let amount = amount.strip_suffix(",%rsp")?.strip_prefix("$0x")?;
        u64::from_str_radix(amount, 16).ok()
    });
    taken.sum()
}

/// Prints what a kernel leaks; how much of it is not allowed.
fn judge(kernel: &Kernel, code: &[Instruction]) -> usize {
    let leaks = leaks(code);
    let published = leaks.iter().filter(|(_, leak)| *leak == Leak::Published);
    let published = published.count();
    let mut bad = 0;
    for (index, leak) in &leaks {
        if *leak == Leak::Published && published == kernel.published {
            continue;
        }
        bad += 1;
        let Instruction { address, text, .. } = &code[*index];
        eprintln!("{}: {leak:?}: {address:x}: {text}", kernel.name);
    }
    if published != kernel.published {
        eprintln!(
            "{}: {published} mask(s) become numbers, and {} should: {}",
            kernel.name, kernel.published, kernel.reason
        );
        bad = bad.max(1);
    }
    eprintln!(
        "disassembly: {}: {} instructions, {bad} bad, {published} mask(s) published",
        kernel.name,
        code.len()
    );
    bad
}

/// Functions of Rust's library that end in a panic. What stands behind a call of one is reached
/// from elsewhere.
const PANICS: [&str; 6] = [
    "core::panicking::panic",
    "core::slice::index::slice_",
    "core::slice::copy_from_slice_impl::len_mismatch_fail",
    "core::option::expect_failed",
    "core::option::unwrap_failed",
    "core::result::unwrap_failed",
];

/// The instructions of the kernels, and of what wipes their stack.
fn functions_in(program: &Path) -> Result<BTreeMap<String, Vec<Instruction>>> {
    let listing = objdump(
        &[
            "--disassemble",
            "--demangle",
            "--no-show-raw-insn",
            "--wide",
        ],
        program,
    )?;
    let relocations = objdump(&["--dynamic-reloc"], program)?;
    functions_of(&listing, &relocations)
}

fn objdump(options: &[&str], program: &Path) -> Result<String> {
    let output = Command::new("objdump")
        .args(options)
        .arg(program)
        .output()
        .context("cannot run objdump")?;
    ensure!(
        output.status.success(),
        "objdump cannot read {}",
        program.display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn functions_of(listing: &str, relocations: &str) -> Result<BTreeMap<String, Vec<Instruction>>> {
    let panics = panics_of(listing, relocations);
    let mut functions: BTreeMap<String, Vec<Instruction>> = BTreeMap::new();
    let mut current = None;
    for line in listing.lines() {
        if let Some((_, name)) = heading(line) {
            let is_asked_for = KERNELS
                .iter()
                .any(|kernel| [kernel.name, kernel.wipe].contains(&name));
            current = is_asked_for.then(|| functions.entry(name.to_owned()).or_default());
            continue;
        }
        let Some(code) = &mut current else {
            continue;
        };
        match Instruction::parse(line) {
            Some(mut instruction) => {
                let target = instruction
                    .target
                    .filter(|_| instruction.mnemonic == "call");
                instruction.is_panic = target.is_some_and(|target| panics.contains(&target));
                code.push(instruction);
            }
            None => ensure!(
                !line.contains(":\t"),
                "cannot read this instruction: {line}"
            ),
        }
    }
    Ok(functions)
}

/// Address and name of the function that begins here.
fn heading(line: &str) -> Option<(&str, &str)> {
    let (address, name) = line.split_once(" <")?;
    Some((address, name.strip_suffix(">:")?))
}

/// Where functions are that end in a panic, and where pointers to them are.
fn panics_of(listing: &str, relocations: &str) -> BTreeSet<u64> {
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok();
    let functions: BTreeSet<u64> = listing
        .lines()
        .filter_map(heading)
        .filter(|(_, name)| PANICS.iter().any(|panic| name.starts_with(panic)))
        .filter_map(|(address, _)| number(address))
        .collect();
    let pointers = relocations.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let pointer = number(words.next()?)?;
        let (_, function) = words.nth(1)?.split_once("*ABS*+")?;
        functions.contains(&number(function)?).then_some(pointer)
    });
    let pointers: Vec<u64> = pointers.collect();
    functions.into_iter().chain(pointers).collect()
}

/// Follows all ways through `code` until nothing more is learnt, then lists what leaks where.
fn leaks(code: &[Instruction]) -> BTreeSet<(usize, Leak)> {
    let index_of: BTreeMap<u64, usize> = code.iter().map(|it| it.address).zip(0..).collect();
    let is_head: BTreeSet<usize> = code
        .iter()
        .filter_map(|it| index_of.get(&it.target?).copied())
        .collect();
    let mut heads = BTreeMap::from([(0, State::at_entry())]);
    let mut waiting = VecDeque::from([0]);
    let mut found = BTreeSet::new();
    while let Some(head) = waiting.pop_front() {
        let mut state = heads[&head].clone();
        let mut reach = |index: usize, state: &State| match heads.get_mut(&index) {
            Some(known) => {
                if known.join(state) && !waiting.contains(&index) {
                    waiting.push_back(index);
                }
            }
            None => {
                heads.insert(index, state.clone());
                waiting.push_back(index);
            }
        };
        for (index, it) in code.iter().enumerate().skip(head) {
            if index != head && is_head.contains(&index) {
                reach(index, &state);
                break;
            }
            // More is known of a state with every visit, never less: what leaks once, leaks.
            step(&mut state, it, &mut |leak| {
                found.insert((index, leak));
            });
            if it.is_jump() {
                match it.target.and_then(|target| index_of.get(&target)) {
                    Some(&target) => reach(target, &state),
                    None => {
                        found.insert((index, Leak::Elsewhere));
                    }
                }
            }
            if it.is_end() {
                break;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(lines: &[&str]) -> Vec<Instruction> {
        let code = (0..).zip(lines).map(|(address, line)| {
            Instruction::parse(&format!("  {address:x}:\t{line}")).expect("it can be read")
        });
        code.collect()
    }

    /// What leaks in a function of a key (`%rdi`) and packets (`%rsi`).
    fn found(lines: &[&str]) -> Vec<(usize, Leak)> {
        leaks(&code(lines)).into_iter().collect()
    }

    #[test]
    fn a_large_frame_is_taken_page_by_page() {
        let lines = [
            "push   %rbx",
            "and    $0xffffffffffffffc0,%rsp",
            "sub    $0xfc0,%rsp",
            "movq   $0x0,(%rsp)",
            "sub    $0xac0,%rsp",
            "sub    $0x40,%rax",
        ];
        assert_eq!(frame(&code(&lines)), 0x1a80);
    }

    #[test]
    fn lengths_and_pointers_may_decide() {
        let lines = [
            "mov 0x8(%rsi),%rax",
            "cmp $0x40,%rax",
            "jb 6 <f+0x6>",
            "mov (%rsi),%rcx",
            "vmovdqu64 (%rcx,%rax,1),%zmm0",
            "vpxord (%rdi),%zmm0,%zmm0",
            "ret",
        ];
        assert!(found(&lines).is_empty());
    }

    #[test]
    fn a_jump_on_the_key_is_found_also_after_a_detour_through_vectors_and_stack() {
        assert_eq!(
            found(&["cmpl $0x0,(%rdi)", "je 2 <f+0x2>", "ret"]),
            [(1, Leak::Jump)]
        );
        let detour = [
            "sub $0x80,%rsp",
            "vmovdqu64 (%rdi),%zmm1",
            "vpaddd %zmm1,%zmm2,%zmm3",
            "vmovdqu64 %zmm3,0x20(%rsp)",
            "mov 0x58(%rsp),%rax",
            "test %al,%al",
            "jne 7 <f+0x7>",
            "ret",
        ];
        assert_eq!(found(&detour), [(6, Leak::Jump)]);
        let mut beside = detour;
        beside[4] = "mov 0x60(%rsp),%rax";
        assert!(found(&beside).is_empty());
    }

    #[test]
    fn a_pointer_to_one_of_two_places_reads_what_is_there_and_nothing_else() {
        let chosen = [
            "sub $0x80,%rsp",
            "vmovdqu64 (%rdi),%zmm1",
            "vmovdqu64 %zmm1,0x40(%rsp)",
            "lea 0x8(%rsp),%rax",
            "lea 0x10(%rsp),%rcx",
            "cmp $0x1,%rdx",
            "cmove %rcx,%rax",
            "mov (%rax),%rcx",
            "mov (%rcx),%rdx",
            "ret",
        ];
        assert!(found(&chosen).is_empty());
        let mut onto_the_key = chosen;
        onto_the_key[4] = "lea 0x60(%rsp),%rcx";
        assert_eq!(found(&onto_the_key), [(8, Leak::Address)]);
        let mut by_a_jump = onto_the_key;
        by_a_jump[5] = "jne 7 <f+0x7>";
        by_a_jump[6] = "mov %rcx,%rax";
        assert_eq!(found(&by_a_jump), [(8, Leak::Address)]);
    }

    #[test]
    fn a_pointer_to_the_stack_or_to_text_reads_text() {
        let lines = [
            "sub $0x80,%rsp",
            "lea 0x8(%rsp),%rax",
            "mov (%rsi),%rcx",
            "test %rdx,%rdx",
            "cmove %rcx,%rax",
            "mov %rax,0x40(%rsp)",
            "mov 0x40(%rsp),%rbx",
            "movzbl (%rbx),%ebx",
            "test %bl,%bl",
            "je a <f+0xa>",
            "ret",
        ];
        assert_eq!(found(&lines), [(9, Leak::Jump)]);
    }

    #[test]
    fn what_is_only_written_is_no_operand() {
        let lines = [
            "mov (%rdi),%rcx",
            "imul $0x38,%rdx,%rcx",
            "mov 0x18(%rsi,%rcx,1),%rax",
            "ret",
        ];
        assert!(found(&lines).is_empty());
        let mut both = lines;
        both[1] = "shld $0x1,%rdx,%rcx";
        assert_eq!(found(&both), [(2, Leak::Address)]);
    }

    #[test]
    fn a_flag_that_is_stored_covers_what_lay_there() {
        let mut lines = [
            "sub $0x80,%rsp",
            "mov (%rdi),%rcx",
            "mov %rcx,0x8(%rsp)",
            "test %rdx,%rdx",
            "sete 0x8(%rsp)",
            "movzbl 0x8(%rsp),%eax",
            "mov (%rsi,%rax,8),%rax",
            "ret",
        ];
        assert!(found(&lines).is_empty());
        lines[5] = "movzwl 0x8(%rsp),%eax";
        assert_eq!(found(&lines), [(6, Leak::Address)]);
    }

    #[test]
    fn an_empty_slice_points_to_no_secret_but_a_join_with_text_does() {
        let mut lines = [
            "mov $0x8,%ecx",
            "test %rdx,%rdx",
            "je 4 <f+0x4>",
            "mov %rsi,%rcx",
            "mov 0x18(%rcx),%rax",
            "test %rax,%rax",
            "je 7 <f+0x7>",
            "ret",
        ];
        assert!(found(&lines).is_empty());
        lines[3] = "mov (%rsi),%rcx";
        assert_eq!(found(&lines), [(6, Leak::Jump)]);
    }

    #[test]
    fn a_pointer_that_walks_comes_to_an_end() {
        let lines = [
            "sub $0x80,%rsp",
            "mov (%rdi),%rcx",
            "mov %rcx,0x78(%rsp)",
            "mov %rsp,%rax",
            "add $0x8,%rax",
            "mov (%rax),%rcx",
            "test %rdx,%rdx",
            "jne 4 <f+0x4>",
            "test %rcx,%rcx",
            "je a <f+0xa>",
            "ret",
        ];
        assert_eq!(found(&lines), [(9, Leak::Jump)]);
    }

    #[test]
    fn an_address_of_text_is_found() {
        let lines = [
            "mov (%rsi),%rcx",
            "movzbl (%rcx),%eax",
            "mov (%rsi,%rax,8),%rdx",
            "vpgatherqq (%rsi,%zmm3,1),%zmm1{%k1}",
            "vmovdqu64 (%rcx),%zmm2",
            "vpgatherqq (%rsi,%zmm2,1),%zmm1{%k1}",
            "ret",
        ];
        let expected = [(2, Leak::Address), (5, Leak::Address)];
        assert_eq!(found(&lines), expected);
    }

    #[test]
    fn a_secret_that_comes_around_a_loop_is_found() {
        let lines = [
            "xor %eax,%eax",
            "test %eax,%eax",
            "jne 5 <f+0x5>",
            "mov (%rdi),%eax",
            "jmp 1 <f+0x1>",
            "ret",
        ];
        assert_eq!(found(&lines), [(2, Leak::Jump)]);
    }

    #[test]
    fn a_mask_of_secrets_that_becomes_a_number_is_counted_and_then_free() {
        let lines = [
            "vptestnmq (%rdi),%zmm0,%k0",
            "kmovd %k0,%eax",
            "test %al,%al",
            "je 4 <f+0x4>",
            "ret",
        ];
        assert_eq!(found(&lines), [(1, Leak::Published)]);
        let direct = [
            "vptestnmq (%rdi),%zmm0,%k0",
            "kortestb %k0,%k0",
            "je 3 <f+0x3>",
            "ret",
        ];
        assert_eq!(found(&direct), [(2, Leak::Jump)]);
    }

    #[test]
    fn masked_accesses_and_moves_that_depend_on_secrets_are_found() {
        let lines = [
            "vptestmq (%rdi),%zmm0,%k1",
            "vmovdqu8 (%rsi),%zmm1{%k1}{z}",
            "cmp $0x1,%rax",
            "cmove (%rdi),%rcx",
            "mov (%rsi,%rcx,1),%rax",
            "ret",
        ];
        assert_eq!(found(&lines), [(1, Leak::Address), (4, Leak::Address)]);
    }

    #[test]
    fn a_prefetch_tells_its_address_and_changes_nothing() {
        let lines = [
            "mov (%rdi),%eax",
            "prefetcht0 0x40(%rsi)",
            "prefetcht0 (%rsi,%rax,1)",
            "test %esi,%esi",
            "je 5 <f+0x5>",
            "ret",
        ];
        assert_eq!(found(&lines), [(2, Leak::Address)]);
    }

    #[test]
    fn what_is_not_known_is_not_passed() {
        assert_eq!(found(&["cpuid", "ret"]), [(0, Leak::Unknown)]);
        assert_eq!(found(&["jmp *%rax"]), [(0, Leak::Elsewhere)]);
    }

    #[test]
    fn the_kernels_are_found_in_a_listing() {
        let listing = "\n0000000000000010 <weapon_aead::avx512::Avx512::seal::seal>:\n  \
                       10:\tret\n\n0000000000000020 <other>:\n  20:\tfld1\n";
        let functions = functions_of(listing, "").expect("it can be read");
        assert_eq!(functions.len(), 1);
        assert_eq!(functions[KERNELS[0].name].len(), 1);
    }

    #[test]
    fn nothing_follows_a_panic() {
        let listing = "0000000000000010 <weapon_aead::avx512::Avx512::seal::seal>:\n  \
                       10:\tcall 40 <core::panicking::panic_fmt>\n  \
                       11:\tcall *0x30(%rip)        # 50 <_DYNAMIC+0x3c8>\n  \
                       12:\tcall *0x38(%rip)        # 58 <_DYNAMIC+0x3d0>\n  \
                       13:\tcall 60 <other>\n\n\
                       0000000000000040 <core::panicking::panic_fmt>:\n\
                       0000000000000044 <core::slice::index::slice_index_fail>:\n\
                       0000000000000060 <other>:\n";
        let relocations = "0000000000000050 R_X86_64_RELATIVE  *ABS*+0x0000000000000044\n\
                           0000000000000058 R_X86_64_RELATIVE  *ABS*+0x0000000000000060\n";
        let functions = functions_of(listing, relocations).expect("it can be read");
        let code = functions[KERNELS[0].name].iter();
        let ends: Vec<bool> = code.map(Instruction::is_end).collect();
        assert_eq!(ends, [true, true, false, false]);
    }
}
