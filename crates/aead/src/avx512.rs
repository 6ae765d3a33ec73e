//! The operations as AVX-512 instructions.

use core::{arch::x86_64::*, mem::MaybeUninit};

use crate::{
    BLOCK_LEN, Opening, Sealing, batch,
    hash::OCTET,
    short::{self, are_short},
    vector::Vector,
};

/// A register of 512 bits.
///
/// One is made only by code that runs inside [`Avx512::seal`] or [`Avx512::open`], which need a
/// proof that the processor has the instructions. That is the argument for every `unsafe` block
/// here that calls an intrinsic; those that touch memory add theirs.
#[derive(Clone, Copy)]
pub(crate) struct Zmm(__m512i);

/// The proof that this processor, and the system on it, run the instructions that [`Zmm`] uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// Asks the processor and the system. `is_x86_feature_detected` looks at XCR0 as well: a system
    /// that does not save the registers has not the feature.
    #[cfg(feature = "std")]
    pub(crate) fn detect() -> Option<Self> {
        use std::arch::is_x86_feature_detected as has;
        let has_all = has!("avx512f")
            && has!("avx512bw")
            && has!("avx512vl")
            && has!("avx512dq")
            && has!("avx512ifma")
            && has!("avx512vbmi2")
            && has!("bmi2");
        has_all.then_some(Self(()))
    }

    /// Seals with these instructions.
    pub(crate) fn seal(self, key: &[u32; 8], packets: &mut [Sealing<'_>]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2,bmi2")]
        fn seal(key: &[u32; 8], packets: &mut [Sealing<'_>]) {
            batch::seal::<Zmm>(key, packets);
        }
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2,bmi2")]
        fn seal_short(key: &[u32; 8], octet: &mut [Sealing<'_>]) {
            short::seal::<Zmm>(key, octet);
        }
        if are_short(packets) {
            for octet in packets.chunks_mut(OCTET) {
                // SAFETY: `self` is the proof that the processor has these features.
                unsafe { seal_short(key, octet) };
            }
            // SAFETY: as above.
            unsafe { wipe_short_stack() };
        } else {
            // SAFETY: as above.
            unsafe { seal(key, packets) };
            // SAFETY: as above.
            unsafe { wipe_stack_of_seal() };
        }
    }

    /// Opens with these instructions.
    pub(crate) fn open(self, key: &[u32; 8], packets: &mut [Opening<'_>]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2,bmi2")]
        fn open(key: &[u32; 8], packets: &mut [Opening<'_>]) {
            batch::open::<Zmm>(key, packets);
        }
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512ifma,avx512vbmi2,bmi2")]
        fn open_short(key: &[u32; 8], octet: &mut [Opening<'_>]) {
            short::open::<Zmm>(key, octet);
        }
        if are_short(packets) {
            for octet in packets.chunks_mut(OCTET) {
                // SAFETY: `self` is the proof that the processor has these features.
                unsafe { open_short(key, octet) };
            }
            // SAFETY: as above.
            unsafe { wipe_short_stack() };
        } else {
            // SAFETY: as above.
            unsafe { open(key, packets) };
            // SAFETY: as above.
            unsafe { wipe_stack_of_open() };
        }
    }
}

/// Bytes of stack that the kernels use, and little more: a line of 64 takes a cycle, which makes a
/// twentieth of the time of eight packets of 576 bytes. `cargo xtask disassembly` compares the
/// frames of a release build with them, a test looks at what a debug build leaves.
const SEAL_STACK_BYTES: usize = 7296 + FOR_CHECKS;
const OPEN_STACK_BYTES: usize = 6464 + FOR_CHECKS;
const SHORT_STACK_BYTES: usize = 1536 + FOR_CHECKS;

/// What the checks of a debug build add to them.
const FOR_CHECKS: usize = if cfg!(debug_assertions) { 1536 } else { 0 };

/// Overwrites what the kernel left on the stack: key stream, one-time keys, sums. The frame of
/// this function is where the kernel's was.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn wipe_stack_of_seal() {
    overwrite::<{ SEAL_STACK_BYTES / size_of::<__m512i>() }>();
}

/// As `wipe_stack_of_seal`.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn wipe_stack_of_open() {
    overwrite::<{ OPEN_STACK_BYTES / size_of::<__m512i>() }>();
}

/// As `wipe_stack_of_seal`, after the kernels for short packets.
#[inline(never)]
#[target_feature(enable = "avx512f")]
fn wipe_short_stack() {
    overwrite::<{ SHORT_STACK_BYTES / size_of::<__m512i>() }>();
}

/// A register at a time: `memset`, which the compiler would make of it, has to find out first how.
#[inline]
#[target_feature(enable = "avx512f")]
fn overwrite<const LINES: usize>() {
    /// So many at once, lest counting takes longer than writing.
    const AT_ONCE: usize = 16;
    let mut stack = MaybeUninit::<[__m512i; LINES]>::uninit();
    let start = stack.as_mut_ptr().cast::<__m512i>();
    let zeros = _mm512_setzero_si512();
    let overwrite = |line: usize| {
        // SAFETY: it is a line of the array, which is writable and aligned.
        unsafe { start.wrapping_add(line).write_volatile(zeros) };
    };
    for first in (0..LINES / AT_ONCE * AT_ONCE).step_by(AT_ONCE) {
        for line in 0..AT_ONCE {
            overwrite(first + line);
        }
    }
    for line in LINES / AT_ONCE * AT_ONCE..LINES {
        overwrite(line);
    }
}

/// Operations that are one instruction on values.
macro_rules! operations {
    ($($name:ident $(<const $bits:ident: $bits_type:ty>)? ($($argument:ident),*)
        = $intrinsic:ident;)*) => { $(
        #[inline(always)]
        fn $name $(<const $bits: $bits_type>)? (self $(, $argument: Self)*) -> Self {
            // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
            Self(unsafe { $intrinsic $(::<$bits>)? (self.0 $(, $argument.0)*) })
        }
    )* };
}

impl Vector for Zmm {
    operations! {
        add32(other) = _mm512_add_epi32;
        rotate32<const BITS: i32>() = _mm512_rol_epi32;
        xor(other) = _mm512_xor_si512;
        and(other) = _mm512_and_si512;
        or(other) = _mm512_or_si512;
        add64(other) = _mm512_add_epi64;
        sub64(other) = _mm512_sub_epi64;
        shl64<const BITS: u32>() = _mm512_slli_epi64;
        shr64<const BITS: u32>() = _mm512_srli_epi64;
        funnel64<const BITS: i32>(high) = _mm512_shrdi_epi64;
        add_product_low(a, b) = _mm512_madd52lo_epu64;
        add_product_high(a, b) = _mm512_madd52hi_epu64;
        zip_low32(other) = _mm512_unpacklo_epi32;
        zip_high32(other) = _mm512_unpackhi_epi32;
        zip_low64(other) = _mm512_unpacklo_epi64;
        zip_high64(other) = _mm512_unpackhi_epi64;
    }

    #[inline(always)]
    fn splat32(x: u32) -> Self {
        // SAFETY: only `Avx512::seal` and `open` lead here. No memory is touched.
        Self(unsafe { _mm512_set1_epi32(x.cast_signed()) })
    }

    #[inline(always)]
    fn splat64(x: u64) -> Self {
        // SAFETY: only `Avx512::seal` and `open` lead here. No memory is touched.
        Self(unsafe { _mm512_set1_epi64(x.cast_signed()) })
    }

    #[inline(always)]
    fn from32(x: &[u32; 16]) -> Self {
        // SAFETY: only `Avx512::seal` and `open` lead here. The array is 64 bytes long, and the
        // load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(x.as_ptr().cast()) })
    }

    #[inline(always)]
    fn from64(x: &[u64; 8]) -> Self {
        // SAFETY: only `Avx512::seal` and `open` lead here. The array is 64 bytes long, and the
        // load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(x.as_ptr().cast()) })
    }

    #[inline(always)]
    fn to64(self) -> [u64; 8] {
        let mut words = [0; 8];
        // SAFETY: a `Zmm` exists, so the processor has the instruction. The array is 64 bytes
        // long, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), self.0) };
        words
    }

    #[inline(always)]
    fn set32_from(self, first: usize, x: u32) -> Self {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_mask_set1_epi32(self.0, words_from(first), x.cast_signed()) })
    }

    #[inline(always)]
    fn replace32_from(self, first: usize, other: Self) -> Self {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_mask_blend_epi32(words_from(first), self.0, other.0) })
    }

    #[inline(always)]
    fn load(bytes: &[u8; BLOCK_LEN]) -> Self {
        // SAFETY: only `Avx512::seal` and `open` lead here. The array is 64 bytes long, and the
        // load needs no alignment.
        Self(unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) })
    }

    #[inline(always)]
    fn store(self, bytes: &mut [u8; BLOCK_LEN]) {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. The array is 64 bytes
        // long, and the store needs no alignment.
        unsafe { _mm512_storeu_si512(bytes.as_mut_ptr().cast(), self.0) };
    }

    #[inline(always)]
    unsafe fn load_at(bytes: *const u8) -> Self {
        // SAFETY: the caller vouches for 64 bytes; the load needs no alignment. Only `Avx512::seal`
        // and `open` lead here.
        Self(unsafe { _mm512_loadu_si512(bytes.cast()) })
    }

    #[inline(always)]
    unsafe fn store_at(self, bytes: *mut u8) {
        // SAFETY: the caller vouches for 64 bytes; the store needs no alignment. A `Zmm` exists,
        // so the processor has the instruction.
        unsafe { _mm512_storeu_si512(bytes.cast(), self.0) };
    }

    #[inline(always)]
    fn prefetch(bytes: *mut u8) {
        // SAFETY: a prefetch reads nothing, and never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(bytes.cast()) };
    }

    #[inline(always)]
    fn load_window(bytes: &[u8], at: isize) -> Self {
        let mask = window_mask(bytes.len(), at);
        let start = bytes.as_ptr().wrapping_offset(at).cast();
        // SAFETY: only `Avx512::seal` and `open` lead here. Only bytes whose bit in `mask` is set
        // are read, and those are in `bytes`: bit `i` stands for byte `at + i` of it, see
        // `window_mask`. The processor does not fault on the others (Intel SDM, volume 1, 15.6.4).
        Self(unsafe { _mm512_maskz_loadu_epi8(mask, start) })
    }

    #[inline(always)]
    fn store_start(self, bytes: &mut [u8]) {
        let mask = window_mask(bytes.len(), 0);
        // SAFETY: a `Zmm` exists, so the processor has the instruction. Only bytes whose bit in
        // `mask` is set are written, and those are the first of `bytes`.
        unsafe { _mm512_mask_storeu_epi8(bytes.as_mut_ptr().cast(), mask, self.0) };
    }

    #[inline(always)]
    fn less64(self, other: Self) -> Self {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        let less = unsafe { _mm512_cmplt_epu64_mask(self.0, other.0) };
        // SAFETY: as above.
        Self(unsafe { _mm512_maskz_set1_epi64(less, 1) })
    }

    #[inline(always)]
    fn nonzero64(self) -> u8 {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        unsafe { _mm512_test_epi64_mask(self.0, self.0) }
    }

    #[inline(always)]
    fn weave4(state: &mut [Self; 16], others: &mut [Self; 4]) {
        // SAFETY: a `Zmm` exists, so the processor has the registers.
        unsafe { weave4(state, others) };
    }

    #[inline(always)]
    fn weave(state: &mut [Self; 16], low: &mut [Self; 3], high: &mut [Self; 3]) {
        // SAFETY: a `Zmm` exists, so the processor has the registers.
        unsafe { weave(state, low, high) };
    }

    #[inline(always)]
    fn even_words(self, other: Self) -> Self {
        let order = Self::from32(&[0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30]);
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_permutex2var_epi32(self.0, order.0, other.0) })
    }

    #[inline(always)]
    fn odd_words(self, other: Self) -> Self {
        let order = Self::from32(&[1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31]);
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_permutex2var_epi32(self.0, order.0, other.0) })
    }

    #[inline(always)]
    fn clear_registers() {
        // SAFETY: only `Avx512::seal` and `open` lead here.
        unsafe { clear_registers() };
    }

    #[inline(always)]
    fn even_quarters(self, other: Self) -> Self {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_shuffle_i64x2::<0b10_00_10_00>(self.0, other.0) })
    }

    #[inline(always)]
    fn odd_quarters(self, other: Self) -> Self {
        // SAFETY: a `Zmm` exists, so the processor has the instruction. It touches no memory.
        Self(unsafe { _mm512_shuffle_i64x2::<0b11_01_11_01>(self.0, other.0) })
    }
}

/// The bits from `first` on, of 16.
#[inline(always)]
fn words_from(first: usize) -> u16 {
    0xffff_u32.checked_shl(first as u32).unwrap_or(0) as u16
}

/// Bit *i* is set if byte `at + i` is one of the `len` there are.
#[inline(always)]
fn window_mask(len: usize, at: isize) -> u64 {
    // A slice has at most `isize::MAX` bytes: no difference of lengths and offsets overflows here.
    let end = (len as isize).saturating_sub(at).clamp(0, 64);
    let start = at.saturating_neg().clamp(0, 64);
    ones(end as u32) & !ones(start as u32)
}

/// The lowest `count` bits, 64 at most.
#[inline(always)]
fn ones(count: u32) -> u64 {
    u64::MAX.checked_shr(64 - count).unwrap_or(0)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn weave(state: &mut [Zmm; 16], low: &mut [Zmm; 3], high: &mut [Zmm; 3]) {
    // SAFETY: the template is a comment: no instruction, and every register stays as it is.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} {10} {11} {12} {13} {14} {15} */",
            "/* {16} {17} {18} {19} {20} {21} */",
            inout(zmm_reg) state[0].0,
            inout(zmm_reg) state[1].0,
            inout(zmm_reg) state[2].0,
            inout(zmm_reg) state[3].0,
            inout(zmm_reg) state[4].0,
            inout(zmm_reg) state[5].0,
            inout(zmm_reg) state[6].0,
            inout(zmm_reg) state[7].0,
            inout(zmm_reg) state[8].0,
            inout(zmm_reg) state[9].0,
            inout(zmm_reg) state[10].0,
            inout(zmm_reg) state[11].0,
            inout(zmm_reg) state[12].0,
            inout(zmm_reg) state[13].0,
            inout(zmm_reg) state[14].0,
            inout(zmm_reg) state[15].0,
            inout(zmm_reg) low[0].0,
            inout(zmm_reg) low[1].0,
            inout(zmm_reg) low[2].0,
            inout(zmm_reg) high[0].0,
            inout(zmm_reg) high[1].0,
            inout(zmm_reg) high[2].0,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn weave4(state: &mut [Zmm; 16], others: &mut [Zmm; 4]) {
    // SAFETY: the template is a comment: no instruction, and every register stays as it is.
    unsafe {
        core::arch::asm!(
            "/* {0} {1} {2} {3} {4} {5} {6} {7} {8} {9} {10} {11} {12} {13} {14} {15} */",
            "/* {16} {17} {18} {19} */",
            inout(zmm_reg) state[0].0,
            inout(zmm_reg) state[1].0,
            inout(zmm_reg) state[2].0,
            inout(zmm_reg) state[3].0,
            inout(zmm_reg) state[4].0,
            inout(zmm_reg) state[5].0,
            inout(zmm_reg) state[6].0,
            inout(zmm_reg) state[7].0,
            inout(zmm_reg) state[8].0,
            inout(zmm_reg) state[9].0,
            inout(zmm_reg) state[10].0,
            inout(zmm_reg) state[11].0,
            inout(zmm_reg) state[12].0,
            inout(zmm_reg) state[13].0,
            inout(zmm_reg) state[14].0,
            inout(zmm_reg) state[15].0,
            inout(zmm_reg) others[0].0,
            inout(zmm_reg) others[1].0,
            inout(zmm_reg) others[2].0,
            inout(zmm_reg) others[3].0,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn clear_registers() {
    // SAFETY: the instructions write vector registers only, all of which are declared.
    unsafe {
        core::arch::asm!(
            "vzeroall",
            "vpxord xmm16, xmm16, xmm16",
            "vpxord xmm17, xmm17, xmm17",
            "vpxord xmm18, xmm18, xmm18",
            "vpxord xmm19, xmm19, xmm19",
            "vpxord xmm20, xmm20, xmm20",
            "vpxord xmm21, xmm21, xmm21",
            "vpxord xmm22, xmm22, xmm22",
            "vpxord xmm23, xmm23, xmm23",
            "vpxord xmm24, xmm24, xmm24",
            "vpxord xmm25, xmm25, xmm25",
            "vpxord xmm26, xmm26, xmm26",
            "vpxord xmm27, xmm27, xmm27",
            "vpxord xmm28, xmm28, xmm28",
            "vpxord xmm29, xmm29, xmm29",
            "vpxord xmm30, xmm30, xmm30",
            "vpxord xmm31, xmm31, xmm31",
            out("xmm0") _,
            out("xmm1") _,
            out("xmm2") _,
            out("xmm3") _,
            out("xmm4") _,
            out("xmm5") _,
            out("xmm6") _,
            out("xmm7") _,
            out("xmm8") _,
            out("xmm9") _,
            out("xmm10") _,
            out("xmm11") _,
            out("xmm12") _,
            out("xmm13") _,
            out("xmm14") _,
            out("xmm15") _,
            out("xmm16") _,
            out("xmm17") _,
            out("xmm18") _,
            out("xmm19") _,
            out("xmm20") _,
            out("xmm21") _,
            out("xmm22") _,
            out("xmm23") _,
            out("xmm24") _,
            out("xmm25") _,
            out("xmm26") _,
            out("xmm27") _,
            out("xmm28") _,
            out("xmm29") _,
            out("xmm30") _,
            out("xmm31") _,
            options(nomem, nostack, preserves_flags),
        );
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
