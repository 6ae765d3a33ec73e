//! Our own code makes what aws-lc and RustCrypto make, and touches nothing else.

use weapon_aead::Backend;

use crate::{
    batch::{Packet, check},
    random::Random,
    subjects, vectors,
};

/// Eight of one length, in shapes of all kinds: the way superpackets go.
fn even(random: &mut Random, len: usize, count: usize) -> Vec<Packet> {
    (0..count)
        .map(|i| Packet::random(random, i as u64, len))
        .collect()
}

/// One of this length, an empty one, one of a byte more and some that are anything up to it.
fn mixed(random: &mut Random, len: usize, count: usize) -> Vec<Packet> {
    (0..count)
        .map(|i| {
            let len = match i {
                0 => len,
                1 => 0,
                2 => len + 1,
                _ => random.below(len + 1),
            };
            Packet::random(random, i as u64, len)
        })
        .collect()
}

fn check_lens(backend: Backend, lens: impl Iterator<Item = usize>) {
    let mut random = Random(1);
    for len in lens {
        let packets = even(&mut random, len, 8);
        check(&mut random, backend, &packets);
        let packets = mixed(&mut random, len, 5);
        check(&mut random, backend, &packets);
    }
}

#[test]
fn every_length_to_2048() {
    if let Some(backend) = vectors() {
        check_lens(backend, 0..=2048);
    }
}

#[test]
fn every_length_to_300_on_arrays() {
    check_lens(Backend::plain(), 0..=300);
    check_lens(Backend::plain(), [1420, 2048, 8900].into_iter());
}

/// Where every packet lies in one piece: nothing but the length decides which path is taken.
#[test]
fn every_length_in_superpackets_of_one_shape() {
    let Some(backend) = vectors() else {
        return;
    };
    let mut random = Random(2);
    for len in 0..=2048 {
        let apart: Vec<_> = (0..8).map(|i| Packet::apart(i, len)).collect();
        check(&mut random, backend, &apart);
        let in_place: Vec<_> = (0..8).map(|i| Packet::in_place(i, len)).collect();
        check(&mut random, backend, &in_place);
    }
}

#[test]
fn sampled_lengths_to_65535() {
    let Some(backend) = vectors() else {
        return;
    };
    let mut random = Random(3);
    let sampled: Vec<_> = (0..24).map(|_| 2049 + random.below(65536 - 2049)).collect();
    for len in sampled.into_iter().chain([65535, 65534, 65520, 65472]) {
        let packets = even(&mut random, len, 8);
        check(&mut random, backend, &packets);
        let packets = mixed(&mut random, len, 4);
        check(&mut random, backend, &packets);
    }
}

#[test]
fn every_batch_size_to_128() {
    let Some(backend) = vectors() else {
        return;
    };
    let mut random = Random(4);
    for count in 1..=128 {
        let mut packets = even(&mut random, 1420, count);
        let last = random.below(1421);
        packets[count - 1] = Packet::random(&mut random, count as u64, last);
        check(&mut random, backend, &packets);
        let packets = mixed(&mut random, 300, count);
        check(&mut random, backend, &packets);
    }
}

#[test]
fn every_batch_size_to_24_on_arrays() {
    let mut random = Random(5);
    for count in 1..=24 {
        let packets = even(&mut random, 333, count);
        check(&mut random, Backend::plain(), &packets);
        let packets = mixed(&mut random, 150, count);
        check(&mut random, Backend::plain(), &packets);
    }
}

#[test]
fn no_packets_at_all() {
    for backend in subjects() {
        check(&mut Random(6), backend, &[]);
    }
}

#[test]
fn every_offset_to_63() {
    let Some(backend) = vectors() else {
        return;
    };
    let mut random = Random(7);
    for offset in 0..64 {
        for len in [0, 1, 15, 16, 63, 64, 65, 127, 128, 576, 1420] {
            let mut packets = even(&mut random, len, 8);
            for packet in &mut packets {
                packet.offsets = [offset, random.below(64)];
            }
            check(&mut random, backend, &packets);
            for packet in &mut packets {
                packet.offsets = [random.below(64), offset];
            }
            check(&mut random, backend, &packets);
        }
    }
}

/// Where the lower word of the counter carries into the upper, and where all of it ends.
#[test]
fn counters_at_the_edges_of_their_words() {
    let mut random = Random(8);
    let edges = [1 << 32, 1 << 31, 1 << 63, u64::MAX - 6, 0x1_ffff_ffff];
    for backend in subjects() {
        for edge in edges {
            for len in [0, 50, 200, 640] {
                let counters = (edge - 6..=edge).chain((0..7).map(|i| edge.saturating_add(i)));
                let packets: Vec<_> = counters
                    .map(|counter| Packet::apart(counter, len))
                    .collect();
                check(&mut random, backend, &packets);
                let packets: Vec<_> = packets
                    .iter()
                    .map(|packet| Packet {
                        padding: random.below(41),
                        ..*packet
                    })
                    .collect();
                check(&mut random, backend, &packets);
            }
        }
    }
}

/// Every multiple of 64 that can be a head, and every padding.
#[test]
fn every_head_and_padding() {
    let mut random = Random(9);
    for backend in subjects() {
        for padding in 0..=40 {
            for head_len in (0..=320).step_by(64) {
                let len = random.below(300);
                let packets: Vec<_> = (0..9)
                    .map(|counter| Packet {
                        head_len,
                        // The last is shorter, as in a superpacket.
                        plaintext_len: if counter < 8 { len } else { len / 2 },
                        padding,
                        ..Packet::apart(counter, 0)
                    })
                    .collect();
                check(&mut random, backend, &packets);
            }
        }
    }
}

/// Lengths, shapes and batches of all kinds. Many packets are small, so that several share a group.
#[test]
fn random_mixes() {
    let mut random = Random(10);
    for backend in subjects() {
        let rounds = if backend == Backend::plain() {
            100
        } else {
            1500
        };
        for _ in 0..rounds {
            let longest = [1, 20, 70, 200, 700, 2000][random.below(6)];
            let packets: Vec<_> = (0..1 + random.below(25))
                .map(|i| {
                    let len = random.below(longest);
                    Packet::random(&mut random, i as u64, len)
                })
                .collect();
            check(&mut random, backend, &packets);
        }
    }
}
