//! Summing bytes for the internet checksum.

use core::hint::black_box;

use weapon_wire::checksum;

use crate::{buffer::Buffer, packets, region};

/// The sum of `LEN` bytes.
pub(crate) fn sum<const LEN: usize>() -> u64 {
    let bytes: Vec<u8> = packets::payload(LEN).collect();
    let mut state = (Buffer::new(&bytes), 0);
    let operations = region::repeat(
        &mut state,
        |(_, sum)| *sum = 0,
        |(bytes, sum)| *sum = checksum::partial(black_box(bytes.bytes())),
    );
    let expected: u64 = bytes
        .chunks(2)
        .map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    // The fields of a sum are in network order, whatever the machine's is.
    let fields = checksum::fold(state.1);
    assert_eq!(u64::from(fields) % 0xffff, expected % 0xffff, "summed");
    operations
}
