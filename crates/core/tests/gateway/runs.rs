//! Packets that are read one by one are sealed together, and are what they would be alone.

use weapon_core::{DropReason, padding};
use weapon_noise::protocol::REJECT_AFTER_MESSAGES;
use weapon_wire::{
    VnetHeader,
    message::{DATA_OVERHEAD, data_counter, data_receiver},
};

use crate::{
    packets::{plain, udp, v4},
    site::Sent,
    superpackets::superpacket,
    world::{A, B, C, MTU, World, address},
};

/// A small packet from A to a host at `them`.
fn small(them: usize, payload: &[u8]) -> Vec<u8> {
    plain(&udp(v4(A, 5), v4(them, 6), payload))
}

/// A superpacket of two segments from A to B.
fn two_segments(payload: &[u8]) -> Vec<u8> {
    let sent = superpacket(false, false, payload.len() as u16 / 2, payload);
    [&sent.vnet.to_bytes(), &sent.packet[..]].concat()
}

/// A reads all in one turn; what it sends.
fn read_all(world: &mut World, reads: &[Vec<u8>]) -> Vec<Sent> {
    let now = world.now;
    let results = world.sites[A].read_all(now, reads);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    core::mem::take(&mut world.sites[A].outbox.sent)
}

/// What comes out at B when these arrive one by one.
fn received(world: &mut World, sent: &[Sent]) -> Vec<Vec<u8>> {
    world.sites[B].overlay.0.clear();
    for sent in sent {
        let (mut bytes, stride) = (sent.bytes.clone(), sent.bytes.len());
        world.receive(B, address(A), &mut bytes, stride);
    }
    world.payloads(B)
}

#[test]
fn what_one_turn_reads_is_sealed_in_order() {
    let mut world = World::connected(1);
    // Enough for two batches, and long enough to overflow the room of one.
    for (count, len) in [(1, 0), (5, 7), (64, 1), (65, 30), (150, 11), (100, 1390)] {
        let payloads: Vec<Vec<u8>> = (0..count)
            .map(|number| vec![number as u8; len.max(number * 97 % 1390)])
            .collect();
        let reads: Vec<_> = payloads.iter().map(|payload| small(B, payload)).collect();
        let first = world.sites[A].fib.load().peers[0].link.sending(world.now);
        let first = first.and_then(|keypair| Some(keypair.as_ref()?.sent_count()));
        let sent = read_all(&mut world, &reads);
        let counters: Vec<_> = sent.iter().map(|sent| data_counter(&sent.bytes)).collect();
        let first = first.expect("a session");
        let expected: Vec<_> = (first..).take(count).collect();
        assert_eq!(counters, expected);
        for (read, sent) in reads.iter().zip(&sent) {
            let len = read.len() - VnetHeader::LEN;
            let expected = len + padding(len, MTU) + DATA_OVERHEAD;
            assert_eq!(sent.bytes.len(), expected);
        }
        assert_eq!(received(&mut world, &sent), payloads);
    }
    assert_eq!(world.sites[A].drops(), []);
    assert_eq!(world.sites[B].drops(), []);
}

/// As datagrams stand that the kernel did not join, one in each slot of the receive buffer.
#[test]
fn what_stands_between_datagrams_belongs_to_none() {
    const SLOT: usize = 2000;
    let mut world = World::connected(1);
    let payloads: Vec<Vec<u8>> = (0..20).map(|number| vec![number; 700]).collect();
    let reads: Vec<_> = payloads.iter().map(|payload| small(B, payload)).collect();
    let sent = read_all(&mut world, &reads);
    let (len, last) = (sent[0].bytes.len(), 19);
    for shorter in [false, true] {
        world.sites[B].overlay.0.clear();
        // What came here before: to the eye, data of the same session.
        let mut bytes = vec![0; SLOT * last + len];
        for slot in bytes.chunks_mut(SLOT) {
            slot.fill(0xee);
            slot[..len].copy_from_slice(&sent[0].bytes);
        }
        let sent = if shorter {
            let mut reads = reads.clone();
            reads[last] = small(B, &[7; 30]);
            read_all(&mut world, &reads)
        } else {
            sent.clone()
        };
        for (slot, sent) in bytes.chunks_mut(SLOT).zip(&sent) {
            slot[..sent.bytes.len()].copy_from_slice(&sent.bytes);
        }
        bytes[SLOT * 5 + len - 1] ^= 1;
        bytes.truncate(SLOT * last + sent[last].bytes.len());
        let now = world.now;
        world.sites[B].receive_apart(now, address(A), &mut bytes, SLOT, len);
        world.deliver(B);
        let mut expected = payloads.clone();
        if shorter {
            expected[last] = vec![7; 30];
        }
        expected.remove(5);
        // Merged or not.
        let payloads = world.payloads(B).concat();
        assert!(payloads == expected.concat(), "{shorter}");
    }
    assert_eq!(world.sites[B].drops(), [(DropReason::Forged, 2)]);
}

#[test]
fn a_run_ends_at_another_peer_and_at_a_superpacket() {
    let mut world = World::new(2, 3);
    for them in [B, C] {
        world.ping(A, them, b"first").unwrap();
        world.drive(core::time::Duration::from_secs(1));
    }
    let reads = [
        small(B, b"one"),
        small(B, b"two"),
        small(C, b"elsewhere"),
        small(B, b"three"),
        two_segments(b"fourfive"),
        small(B, b"six"),
        small(B, b"seven"),
    ];
    let sent = read_all(&mut world, &reads);
    let to_c = data_receiver(&sent[2].bytes);
    let receivers: Vec<_> = sent.iter().map(|sent| data_receiver(&sent.bytes)).collect();
    let others = receivers.iter().filter(|&&receiver| receiver == to_c);
    assert_eq!((sent.len(), others.count()), (8, 1), "order is kept");
    assert_eq!(sent[2].to.remote, address(C));
    let to_b = [&sent[..2], &sent[3..]].concat();
    let expected = ["one", "two", "three", "four", "five", "six", "seven"];
    let expected: Vec<_> = expected.map(|text| text.as_bytes().to_vec()).into();
    assert_eq!(received(&mut world, &to_b), expected);
}

#[test]
fn what_cannot_be_sent_does_not_end_or_join_a_run() {
    let mut world = World::connected(3);
    let nowhere = plain(&udp(v4(A, 5), v4(9, 9), b"no such site"));
    let reads = [
        small(B, b"one"),
        nowhere,
        vec![0; 3],
        small(B, b"two"),
        plain(b"nonsense"),
    ];
    let now = world.now;
    let results = world.sites[A].read_all(now, &reads);
    let malformed = Err(DropReason::OutboundMalformed);
    let expected = [
        Ok(()),
        Err(DropReason::NoRoute),
        malformed,
        Ok(()),
        malformed,
    ];
    assert_eq!(results, expected);
    let sent = core::mem::take(&mut world.sites[A].outbox.sent);
    let expected = [b"one".to_vec(), b"two".to_vec()];
    assert_eq!(received(&mut world, &sent), expected);
}

#[test]
fn a_packet_longer_than_a_run_has_room_for_goes_alone() {
    let mut world = World::connected(4);
    let payloads = [vec![1; 10], vec![2; 65_400], vec![3; 10]];
    let reads: Vec<_> = payloads.iter().map(|payload| small(B, payload)).collect();
    let sent = read_all(&mut world, &reads);
    assert_eq!(received(&mut world, &sent), payloads);
}

#[test]
fn p60_a_run_without_counters_dies_whole_and_is_counted() {
    let mut world = World::connected(5);
    let fib = world.sites[A].fib.load_full();
    let keypair = fib.peers[0].link.sending(world.now).expect("a session");
    let keypair = keypair.as_deref().unwrap();
    keypair
        .reserve(REJECT_AFTER_MESSAGES - keypair.sent_count() - 2)
        .unwrap();
    let reads = [small(B, b"one"), small(B, b"two"), small(B, b"three")];
    assert_eq!(read_all(&mut world, &reads).len(), 0);
    assert_eq!(world.sites[A].drops(), [(DropReason::SealFailed, 3)]);
    // The last two counters are still there.
    assert_eq!(read_all(&mut world, &reads[..2]).len(), 2);
    assert_eq!(world.sites[A].drops(), [(DropReason::SealFailed, 3)]);
}
