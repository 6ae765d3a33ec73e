//! HOT The internet checksum, RFC 1071: ones' complement sums that fold to 16 bits.
//!
//! A sum is that of native-endian words of up to 32 bits, in 64 bits, so that adding sums needs no
//! care for carries; RFC 1071 section 2(B) shows that only the folded result must be brought into
//! network order. A `u64` holds the sum of 16 GB. Long inputs are summed in lanes that the compiler
//! puts into vectors.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "sums of 32-bit words in 64 bits: it takes 16 GB to overflow one, and nothing summed \
              here is longer than a buffer for a superpacket"
)]

use core::net::IpAddr;

/// From this length on the lanes of [`rows`] are worth their setting up.
const ROWS_LEN_MIN: usize = 256;

/// Lanes that are summed side by side: four vectors of the narrowest kind, enough that no addition
/// waits for the one before it, and few enough that all stay in registers.
const LANES: usize = 16;

/// Bytes of one word for each lane.
const ROW_LEN: usize = LANES * 4;

/// Rows of which no lane overflows: 65536 times 0xffff is less than 2^32.
const ROWS_MAX: usize = 1 << 16;

/// The sum of `bytes`, to be added to other sums and [`fold`]ed.
///
/// `bytes` must begin at an even offset of what is being checksummed; an odd last byte is taken as
/// if a zero followed.
pub fn partial(bytes: &[u8]) -> u64 {
    let mut sum = 0;
    let mut rest = bytes;
    if bytes.len() >= ROWS_LEN_MIN {
        let (whole, tail) = bytes.as_chunks::<ROW_LEN>();
        sum = whole.chunks(ROWS_MAX).map(rows).sum();
        rest = tail;
    }
    sum + words(rest)
}

/// The sum of at most [`ROWS_MAX`] rows.
///
/// Adding 32-bit words as 64-bit ones would need two vectors for each. Here the words are added as
/// they are, without regard to what overflows, and their high halves apart, which do not overflow;
/// the sum of the low halves does not either, and is what both leave modulo 2^32.
fn rows(rows: &[[u8; ROW_LEN]]) -> u64 {
    let mut wrapped = [0u32; LANES];
    let mut highs = [0u32; LANES];
    for row in rows {
        let (words, _) = row.as_chunks::<4>();
        for ((wrapped, high), word) in wrapped.iter_mut().zip(&mut highs).zip(words) {
            let word = u32::from_ne_bytes(*word);
            *wrapped = wrapped.wrapping_add(word);
            *high += word >> 16;
        }
    }
    let lanes = wrapped.iter().zip(&highs);
    lanes
        .map(|(wrapped, high)| {
            let low = wrapped.wrapping_sub(high << 16);
            u64::from(low) + (u64::from(*high) << 16)
        })
        .sum()
}

/// The sum of few `bytes`, without much ado before the first word.
fn words(bytes: &[u8]) -> u64 {
    let (words, mut tail) = bytes.as_chunks::<8>();
    let mut wrapped = 0u64;
    let mut carries = 0;
    for word in words {
        let (sum, carry) = wrapped.overflowing_add(u64::from_ne_bytes(*word));
        wrapped = sum;
        carries += u64::from(carry);
    }
    // A carry is 2^64, which is worth 1 in ones' complement.
    let mut sum = (wrapped & 0xffff_ffff) + (wrapped >> 32) + carries;
    if let Some((word, rest)) = tail.split_first_chunk::<4>() {
        sum += u64::from(u32::from_ne_bytes(*word));
        tail = rest;
    }
    if let Some((field, rest)) = tail.split_first_chunk::<2>() {
        sum += u64::from(u16::from_ne_bytes(*field));
        tail = rest;
    }
    match tail {
        [byte] => sum + u64::from(u16::from_ne_bytes([*byte, 0])),
        _ => sum,
    }
}

/// What the 16-bit field `value` adds to a sum.
pub fn field(value: u16) -> u64 {
    u64::from(u16::from_ne_bytes(value.to_be_bytes()))
}

/// What the 32-bit field `value` adds to a sum.
pub fn long_field(value: u32) -> u64 {
    u64::from(u32::from_ne_bytes(value.to_be_bytes()))
}

/// The sum of the pseudo-header of TCP, UDP and ICMPv6: RFC 9293 section 3.1, RFC 8200 section 8.1.
///
/// `len` is the length of transport header and payload, in bytes.
pub fn pseudo_header(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> u64 {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(v4) => partial(&v4.octets()),
        IpAddr::V6(v6) => partial(&v6.octets()),
    };
    // Lengths are below 2^32: packets end at 65535 bytes, quotes of them far below.
    octets(source) + octets(destination) + field(u16::from(protocol)) + long_field(len as u32)
}

/// Folds a sum to 16 bits, ready for [`u16::to_be_bytes`]. Not complemented: what
/// NEEDS_CSUM wants in the checksum field.
pub fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    u16::from_be_bytes((sum as u16).to_ne_bytes())
}

/// The checksum of everything in `sum`: folded and complemented.
pub fn finish(sum: u64) -> u16 {
    !fold(sum)
}

/// As [`finish`] for UDP, where a checksum of zero means "none" and 0xffff stands for it
/// (RFC 768).
pub fn finish_udp(sum: u64) -> u16 {
    match finish(sum) {
        0 => 0xffff,
        checksum => checksum,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071 section 4.1, 16 bits at a time.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in bytes.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn rfc1071_example() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(partial(&bytes)), 0xddf2);
        assert_eq!(finish(partial(&bytes)), 0x220d);
    }

    #[test]
    fn carries_fold_completely() {
        for len in [
            0, 1, 2, 3, 4, 31, 32, 33, 255, 256, 257, 319, 320, 65535, 65536,
        ] {
            if cfg!(miri) && len > 1000 {
                continue;
            }
            let bytes = vec![0xff; len];
            assert_eq!(
                finish(partial(&bytes)),
                naive(&bytes),
                "{len} bytes of 0xff"
            );
        }
        // An interpreter takes minutes for the megabytes that follow.
        if cfg!(miri) {
            return;
        }
        // Both rows that fill their lanes to the brim and rows beyond.
        let most = vec![0xff; ROWS_MAX * ROW_LEN];
        assert_eq!(partial(&most), (most.len() as u64 / 4) * 0xffff_ffff);
        let more = vec![0xff; ROWS_MAX * ROW_LEN + ROWS_LEN_MIN + 3];
        let whole = more.len() as u64 / 4;
        assert_eq!(partial(&more), whole * 0xffff_ffff + words(&[0xff; 3]));
    }

    #[test]
    fn a_sum_with_all_bits_set_folds_to_the_other_form_of_zero() {
        assert_eq!(fold(u64::MAX), 0xffff);
        assert_eq!(finish(0), 0xffff);
        assert_eq!(finish_udp(field(0xffff)), 0xffff);
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_sum(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
            prop_assert_eq!(finish(partial(&bytes)), naive(&bytes));
        }

        #[test]
        fn sums_of_parts_are_the_sum(
            bytes in proptest::collection::vec(any::<u8>(), 0..512),
            cut in 0usize..256,
            extra in any::<u16>(),
            long in any::<u32>(),
        ) {
            let (head, tail) = bytes.split_at((cut * 2).min(bytes.len() & !1));
            let mut whole = extra.to_be_bytes().to_vec();
            whole.extend(long.to_be_bytes());
            whole.extend(&bytes);
            let sum = partial(head) + field(extra) + partial(tail) + long_field(long);
            prop_assert_eq!(finish(sum), naive(&whole));
        }
    }
}
