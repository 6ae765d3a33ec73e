//! What a backend must do before it is trusted with anybody's packets.

use crate::{BLOCK_LEN, Backend, Key, Opening, Sealing, TAG_LEN};

/// More than two octets, so that every path runs: one octet after another, and a rest.
const PACKETS: usize = 21;

const LEN_MAX: usize = 320;

/// Seals and opens a batch of unequal packets, one of equal ones and one of short ones with
/// `backend`, and compares with the slow code; then forges one and looks whether that, and only
/// that, is refused.
pub(crate) fn passes(backend: Backend) -> bool {
    let equal = |_: usize| LEN_MAX;
    let unequal = |packet: usize| packet * 37 % (LEN_MAX + 1);
    let short = |packet: usize| packet * 13 % (BLOCK_LEN + 1);
    agrees(backend, equal) && agrees(backend, unequal) && agrees(backend, short)
}

fn agrees(backend: Backend, len: impl Fn(usize) -> usize) -> bool {
    let mut secret = [0; 32];
    for (i, byte) in secret.iter_mut().enumerate() {
        *byte = (i * 11) as u8;
    }
    let (key, reference) = (
        Key::new(&secret, backend),
        Key::new(&secret, Backend::plain()),
    );
    let mut sealed = [[0; LEN_MAX + TAG_LEN]; PACKETS];
    for (packet, bytes) in sealed.iter_mut().enumerate() {
        for (i, byte) in bytes.iter_mut().enumerate() {
            *byte = (packet * 7 + i) as u8;
        }
    }
    let plaintext = sealed;
    let mut expected = sealed;
    let counter = |packet: usize| u64::from(u32::MAX) - 3 + packet as u64;
    for (key, buffers) in [(&key, &mut sealed), (&reference, &mut expected)] {
        let mut buffers = buffers.iter_mut();
        let mut packets: [Sealing<'_>; PACKETS] = core::array::from_fn(|packet| {
            let buffer = buffers.next().map_or(&mut [][..], |buffer| &mut buffer[..]);
            Sealing::in_place(counter(packet), &mut buffer[..len(packet) + TAG_LEN])
        });
        if key.seal_many(&mut packets).is_err() {
            return false;
        }
    }
    if sealed != expected {
        return false;
    }
    let forged = PACKETS / 2;
    sealed[forged][len(forged)] ^= 1;
    let before = sealed;
    let mut buffers = sealed.iter_mut();
    let mut packets: [Opening<'_>; PACKETS] = core::array::from_fn(|packet| {
        let buffer = buffers.next().map_or(&mut [][..], |buffer| &mut buffer[..]);
        Opening::in_place(counter(packet), &mut buffer[..len(packet) + TAG_LEN])
    });
    key.open_many(&mut packets);
    let judged = packets.map(|packet| packet.is_authentic());
    (0..PACKETS).all(|packet| {
        let text = ..len(packet);
        if packet == forged {
            !judged[packet] && sealed[packet] == before[packet]
        } else {
            judged[packet] && sealed[packet][text] == plaintext[packet][text]
        }
    })
}
