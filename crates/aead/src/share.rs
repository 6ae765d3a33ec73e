//! Which packets of a batch fill the lanes, and which the library does faster.

use crate::{hash::OCTET, packet::Packets};

/// From how many bytes of text a packet, on average, the lanes pay, by how many packets there are
/// beyond whole octets. Measured: see `docs/aead.md`.
pub(crate) type Thresholds = [usize; OCTET];

/// So many packets leave most lanes idle.
pub(crate) const FEW: usize = 2;

const NEVER: usize = usize::MAX;

pub(crate) const SEAL: Thresholds = [0, NEVER, NEVER, 0, 0, 0, 0, 0];
pub(crate) const OPEN: Thresholds = [0, NEVER, NEVER, NEVER, 0, 0, 0, 0];

/// How many of `packets` are for the lanes; the others are for the library, if there is one.
pub(crate) fn vectors<P: Packets + ?Sized>(
    packets: &P,
    with_library: bool,
    thresholds: Thresholds,
) -> usize {
    let count = packets.count();
    let rest = count % OCTET;
    if !with_library || rest == 0 {
        return count;
    }
    let len: usize = (count - rest..count)
        .map(|packet| packets.text_len(packet))
        .sum();
    if len < thresholds[rest].saturating_mul(rest) {
        count - rest
    } else {
        count
    }
}
