//! Many packets in one call: each is what it would be alone, and none has a say in another's fate.

use weapon_noise::{
    BATCH_MAX, Keypair, OpenError, Opened, SealError, Tick,
    protocol::{REJECT_AFTER_MESSAGES, REPLAY_WINDOW},
};
use weapon_wire::message::{DATA_HEADER_LEN, DATA_OVERHEAD, data_counter};

use crate::nonces::{looped, sealed};

/// Plaintext number `number`, of a length of its own.
fn plaintext(number: usize) -> Vec<u8> {
    vec![number as u8; number * 37 % 300]
}

/// Opens all in one call.
fn open_many(keypair: &Keypair, messages: &mut [Vec<u8>]) -> Vec<Result<usize, OpenError>> {
    let mut run = keypair.open_run(Tick::default()).unwrap();
    let mut opened = Opened::new();
    run.open_many(messages.iter_mut().map(Vec::as_mut_slice), &mut opened);
    opened.to_vec()
}

#[test]
fn a_batch_is_what_its_packets_are_alone() {
    let (many, alone) = (looped(7), looped(7));
    for (head_len, padding) in [(0, 0), (0, 15), (64, 0), (64, 9), (128, 3)] {
        let plaintexts: Vec<_> = (0..BATCH_MAX).map(plaintext).collect();
        let mut slots: Vec<_> = plaintexts
            .iter()
            .map(|plaintext| vec![0xee; plaintext.len() + padding + DATA_OVERHEAD])
            .collect();
        let first = many.sent_count();
        let mut batch = many.seal_batch(BATCH_MAX).unwrap();
        for (plaintext, slot) in plaintexts.iter().zip(&mut slots) {
            let (head, rest) = plaintext.split_at(head_len.min(plaintext.len()));
            slot[DATA_HEADER_LEN..][..head.len()].copy_from_slice(head);
            batch.push(slot, head.len(), rest).unwrap();
        }
        batch.seal().unwrap();
        drop(batch);
        for ((counter, plaintext), slot) in (first..).zip(&plaintexts).zip(&slots) {
            let mut expected = vec![0; slot.len()];
            alone
                .seal(counter, plaintext, padding, &mut expected)
                .unwrap();
            assert_eq!(*slot, expected);
            assert_eq!(data_counter(slot), counter, "one after the other");
        }
        let opened = open_many(&many, &mut slots);
        for ((opened, plaintext), slot) in opened.iter().zip(&plaintexts).zip(&slots) {
            assert_eq!(*opened, Ok(plaintext.len() + padding));
            let body = &slot[DATA_HEADER_LEN..];
            assert_eq!(body[..plaintext.len()], plaintext[..]);
            assert_eq!(body[plaintext.len()..][..padding], vec![0; padding]);
        }
    }
}

#[test]
fn p59_a_batch_takes_no_more_counters_than_it_reserved() {
    let keypair = looped(1);
    let mut slots = [[0; DATA_OVERHEAD]; 3];
    let [first, second, third] = &mut slots;
    let mut batch = keypair.seal_batch(2).unwrap();
    batch.push(first, 0, &[]).unwrap();
    batch.push(second, 0, &[]).unwrap();
    assert_eq!(batch.push(third, 0, &[]), Err(SealError));
    batch.seal().unwrap();
    assert_eq!(keypair.reserve(1), Some(2));
    keypair.reserve(REJECT_AFTER_MESSAGES - 5).unwrap();
    assert!(keypair.seal_batch(3).is_none(), "there are two left");
    assert!(keypair.seal_batch(2).is_some());
}

#[test]
fn a_slot_that_does_not_fit_is_refused() {
    let keypair = looped(1);
    let mut short = [0; DATA_OVERHEAD - 1];
    let mut batch = keypair.seal_batch(1).unwrap();
    assert_eq!(batch.push(&mut short, 0, &[]), Err(SealError));
    for (head_len, rest) in [(0, &[1; 5][..]), (5, &[]), (64, &[])] {
        let mut slot = [0; DATA_OVERHEAD + 4];
        let mut batch = keypair.seal_batch(1).unwrap();
        batch.push(&mut slot, head_len, rest).unwrap();
        assert_eq!(batch.seal(), Err(SealError), "{head_len}");
    }
}

#[test]
fn p64_of_two_with_one_counter_in_a_batch_the_first_passes() {
    let keypair = looped(1);
    let order = [0, 1, 1, 2, 0, 3, 3, 3];
    let mut messages = order.map(|counter| sealed(&keypair, counter));
    let opened = open_many(&keypair, &mut messages);
    let replayed = Err(OpenError::Replayed);
    let expected = [
        Ok(4),
        Ok(4),
        replayed,
        Ok(4),
        replayed,
        Ok(4),
        replayed,
        replayed,
    ];
    assert_eq!(opened, expected);
}

#[test]
fn p64_a_batch_can_leave_its_own_packets_behind() {
    let keypair = looped(1);
    let far = REPLAY_WINDOW + 10;
    let mut messages = [9, far, 8, 10].map(|counter| sealed(&keypair, counter));
    let opened = open_many(&keypair, &mut messages);
    assert_eq!(opened, [Ok(4), Ok(4), Err(OpenError::Replayed), Ok(4)]);
}

#[test]
fn p62_what_is_bad_in_a_batch_is_bad_alone() {
    let keypair = looped(1);
    assert_eq!(open_many(&keypair, &mut [sealed(&keypair, 100)]), [Ok(4)]);
    let mut messages: Vec<_> = (0..20).map(|counter| sealed(&keypair, counter)).collect();
    messages[0][DATA_HEADER_LEN] ^= 1;
    // Forged, and its counter is taken by a right one later on.
    messages[7] = sealed(&keypair, 9);
    *messages[7].last_mut().unwrap() ^= 0x80;
    messages[8] = sealed(&keypair, REJECT_AFTER_MESSAGES);
    messages[11] = sealed(&keypair, 100);
    messages[12].truncate(DATA_OVERHEAD - 1);
    // A counter far ahead, in the clear: nobody believes it.
    messages[13][8..16].copy_from_slice(&1_000_000_u64.to_le_bytes());
    messages[19].truncate(DATA_OVERHEAD + 3);
    let opened = open_many(&keypair, &mut messages);
    for (number, opened) in opened.iter().enumerate() {
        let expected = match number {
            0 | 7 | 12 | 13 | 19 => Err(OpenError::Forged),
            8 => Err(OpenError::Expired),
            11 => Err(OpenError::Replayed),
            _ => Ok(4),
        };
        assert_eq!(*opened, expected, "{number}");
        if expected == Err(OpenError::Forged) {
            let shown = messages[number].windows(4).any(|bytes| bytes == b"data");
            assert!(!shown, "{number}");
        }
    }
    let late = &mut [sealed(&keypair, 7), sealed(&keypair, 13)];
    assert_eq!(open_many(&keypair, late), [Ok(4), Ok(4)], "nothing moved");
}

#[test]
fn more_than_a_batch_holds_is_not_looked_at() {
    let keypair = looped(1);
    let count = BATCH_MAX as u64 + 3;
    let mut messages: Vec<_> = (0..count)
        .map(|counter| sealed(&keypair, counter))
        .collect();
    let untouched = messages[BATCH_MAX..].to_vec();
    assert_eq!(open_many(&keypair, &mut messages), [Ok(4); BATCH_MAX]);
    assert_eq!(messages[BATCH_MAX..], untouched);
    assert_eq!(open_many(&keypair, &mut messages[BATCH_MAX..]), [Ok(4); 3]);
}
