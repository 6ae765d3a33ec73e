//! A packet that was changed on its way is not opened; nothing of it appears, and its neighbours
//! are opened as if it were not there. Where it was to appear is what was there before; the library
//! opens and looks in one go, and leaves zeros there.

use weapon_aead::{Backend, Key, TAG_LEN};

use crate::{
    arena::Arena,
    batch::{Batch, Packet},
    random::Random,
    subjects,
};

/// How a batch is opened, and what its packets look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    InPlace,
    Apart,
}

const WAYS: [Way; 2] = [Way::InPlace, Way::Apart];

/// A batch with forgeries: bits that are flipped in packets. Restores itself.
struct Forger<'a> {
    batch: Batch<'a>,
    key: Key,
    backend: Backend,
    random: Random,
}

impl Forger<'_> {
    /// Opens the batch with these bits flipped, each a packet and a bit of its ciphertext and tag.
    fn open(&mut self, way: Way, forged: &[(usize, usize)]) {
        let flip = |batch: &mut Batch<'_>| {
            for &(packet, bit) in forged {
                batch.sealed.get_mut(packet)[bit / 8] ^= 1 << (bit % 8);
            }
        };
        flip(&mut self.batch);
        match way {
            Way::InPlace => self.open_in_place(forged),
            Way::Apart => self.open_apart(forged),
        }
        flip(&mut self.batch);
    }

    fn open_in_place(&self, forged: &[(usize, usize)]) {
        let mut expected = self.batch.opened.clone();
        for &(packet, _) in forged {
            let sealed = self.batch.sealed.get(packet);
            expected.get_mut(packet).copy_from_slice(sealed);
        }
        let mut bodies = self.batch.sealed.clone();
        let mut openings: Vec<_> = bodies
            .all_mut()
            .into_iter()
            .zip(self.batch.packets)
            .map(|(body, packet)| packet.opening(&[], body))
            .collect();
        self.key.open_many(&mut openings);
        let verdicts: Vec<_> = openings
            .iter()
            .map(|opening| opening.is_authentic())
            .collect();
        Self::assert_verdicts(&verdicts, forged);
        self.expect_zeros(&mut expected, &bodies, forged);
        bodies.assert_same(&expected, &format!("in place, forged {forged:?}"));
    }

    fn open_apart(&mut self, forged: &[(usize, usize)]) {
        let mut outputs = self.batch.output(&mut self.random);
        let mut expected = outputs.clone();
        for (i, packet) in self.batch.packets.iter().enumerate() {
            if forged.iter().all(|&(packet, _)| packet != i) {
                let text = &self.batch.opened.get(i)[..packet.text_len()];
                expected.get_mut(i).copy_from_slice(text);
            }
        }
        let mut openings: Vec<_> = outputs
            .all_mut()
            .into_iter()
            .zip(self.batch.packets)
            .enumerate()
            .map(|(i, (out, packet))| packet.opening(self.batch.sealed.get(i), out))
            .collect();
        self.key.open_many(&mut openings);
        let verdicts: Vec<_> = openings
            .iter()
            .map(|opening| opening.is_authentic())
            .collect();
        Self::assert_verdicts(&verdicts, forged);
        self.expect_zeros(&mut expected, &outputs, forged);
        outputs.assert_same(&expected, &format!("apart, forged {forged:?}"));
    }

    /// What the library has erased is as good as what was not touched. Our own code does not.
    fn expect_zeros(&self, expected: &mut Arena, found: &Arena, forged: &[(usize, usize)]) {
        if self.backend.name() != Backend::library().name() {
            return;
        }
        for &(packet, _) in forged {
            let len = self.batch.packets[packet].text_len();
            if found.get(packet)[..len].iter().all(|&byte| byte == 0) {
                expected.get_mut(packet)[..len].fill(0);
            }
        }
    }

    fn assert_verdicts(verdicts: &[bool], forged: &[(usize, usize)]) {
        for (i, &is_authentic) in verdicts.iter().enumerate() {
            let is_forged = forged.iter().any(|&(packet, _)| packet == i);
            assert_ne!(is_authentic, is_forged, "packet {i}, forged {forged:?}");
        }
    }
}

/// For each backend and size of batch: packets of one length, then of many.
fn for_each_batch(mut check: impl FnMut(&mut Forger<'_>)) {
    for backend in subjects() {
        for count in [8, 13, 45] {
            for is_even in [true, false] {
                let mut random = Random(count as u64);
                let packets: Vec<_> = (0..count)
                    .map(|i| {
                        let len = if is_even { 150 } else { i * 37 % 230 };
                        Packet::random(&mut random, i as u64, len)
                    })
                    .collect();
                let key = random.key();
                let batch = Batch::seal(&mut random, &key, backend, &packets);
                check(&mut Forger {
                    batch,
                    key: Key::new(&key, backend),
                    backend,
                    random,
                });
            }
        }
    }
}

#[test]
fn nothing_forged() {
    for_each_batch(|forger| {
        for way in WAYS {
            forger.open(way, &[]);
        }
    });
}

#[test]
fn every_bit_of_every_tag() {
    for_each_batch(|forger| {
        for i in 0..forger.batch.packets.len() {
            let text_bits = forger.batch.packets[i].text_len() * 8;
            for bit in 0..TAG_LEN * 8 {
                // Both ways for each bit of the tag, over two packets.
                let way = WAYS[(i + bit) % 2];
                forger.open(way, &[(i, text_bits + bit)]);
            }
        }
    });
}

#[test]
fn sampled_bits_of_every_ciphertext() {
    for_each_batch(|forger| {
        for i in 0..forger.batch.packets.len() {
            let text_bits = forger.batch.packets[i].text_len() * 8;
            if text_bits == 0 {
                continue;
            }
            let sampled: Vec<_> = (0..12).map(|_| forger.random.below(text_bits)).collect();
            for bit in sampled.into_iter().chain([0, text_bits - 1]) {
                for way in WAYS {
                    forger.open(way, &[(i, bit)]);
                }
            }
        }
    });
}

#[test]
fn many_at_once() {
    for_each_batch(|forger| {
        let count = forger.batch.packets.len();
        for round in 0..200 {
            // From hardly any to all of them.
            let of_eight = round % 9;
            let mut forged = Vec::new();
            for i in 0..count {
                if forger.random.below(8) < of_eight {
                    let bits = forger.batch.sealed.get(i).len() * 8;
                    forged.push((i, forger.random.below(bits)));
                }
            }
            for way in WAYS {
                forger.open(way, &forged);
            }
        }
    });
}

/// The same bit in two lanes, or two bits of one tag: differences must not cancel out.
#[test]
fn differences_do_not_cancel_out() {
    for_each_batch(|forger| {
        let count = forger.batch.packets.len();
        for bit in 0..TAG_LEN * 8 {
            let first = forger.batch.packets[0].text_len() * 8 + bit;
            let last = forger.batch.packets[count - 1].text_len() * 8 + bit;
            forger.open(WAYS[bit % 2], &[(0, first), (count - 1, last)]);
            let other = (bit + 64) % 128;
            let second = forger.batch.packets[0].text_len() * 8 + other;
            forger.open(WAYS[bit % 2], &[(0, first), (0, second)]);
        }
    });
}

/// Slices that do not fit are refused, whatever they hold, and the others are opened.
#[test]
fn packets_that_do_not_fit_are_not_opened() {
    for_each_batch(|forger| {
        let count = forger.batch.packets.len();
        for bad in 0..count {
            let packet = forger.batch.packets[bad];
            let text_len = packet.text_len();
            // What is offered as sealed packet and as room for its plaintext.
            let too_short = (15, 0);
            let no_room = (text_len + TAG_LEN, text_len.saturating_sub(1));
            let too_much_room = (text_len + TAG_LEN, text_len + 1);
            for (sealed_len, room) in [too_short, no_room, too_much_room] {
                if room == text_len && sealed_len == text_len + TAG_LEN {
                    continue;
                }
                let mut outputs = forger.batch.output(&mut forger.random);
                let mut odd_output = vec![0xaa; room + 200];
                let mut all = outputs.all_mut();
                all[bad] = &mut odd_output[..room];
                let mut openings: Vec<_> = all
                    .into_iter()
                    .zip(forger.batch.packets)
                    .enumerate()
                    .map(|(i, (out, packet))| {
                        let sealed = forger.batch.sealed.get(i);
                        let len = if i == bad { sealed_len } else { sealed.len() };
                        packet.opening(&sealed[..len], out)
                    })
                    .collect();
                forger.key.open_many(&mut openings);
                for (i, opening) in openings.iter().enumerate() {
                    assert_eq!(
                        opening.is_authentic(),
                        i != bad,
                        "packet {i}, odd one {bad}"
                    );
                }
                assert!(
                    odd_output.iter().all(|&byte| byte == 0xaa),
                    "{bad} was touched"
                );
                for (i, packet) in forger.batch.packets.iter().enumerate() {
                    if i != bad {
                        let text = &forger.batch.opened.get(i)[..packet.text_len()];
                        assert_eq!(outputs.get(i), text);
                    }
                }
            }
        }
    });
}
