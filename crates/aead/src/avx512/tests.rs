//! What the kernels leave on the stack. It is read through `/proc/self/mem`, below the frame of
//! the test, where they ran.

use std::{fs::File, hint::black_box, os::unix::fs::FileExt};

use super::*;
use crate::{BLOCK_LEN, Key, TAG_LEN, backend::Backend};

/// More than the kernels could use.
const DEPTH: usize = 64 * 1024;
const PAINT: u8 = 0xa5;
/// Long enough for every part of the kernels, and short enough for those for short packets.
const LENS: [usize; 2] = [400, 60];
const SECRET: [u8; 32] = [0x37; 32];

#[inline(never)]
fn paint() {
    let mut stack = [PAINT; DEPTH];
    black_box(&mut stack);
}

/// Runs `work` and returns what it left on the stack, the deepest first.
#[inline(never)]
fn left_by(work: &mut dyn FnMut()) -> Vec<u8> {
    let memory = File::open("/proc/self/mem").expect("our own memory");
    let mut found = vec![0; DEPTH];
    let mark = 0_u8;
    let top = (&raw const mark).addr();
    // Once before, lest the dynamic linker be what is found.
    work();
    paint();
    work();
    memory
        .read_exact_at(&mut found, (top - DEPTH) as u64)
        .expect("the stack goes deeper than that");
    found
}

/// Key stream of a packet: that of the one-time key and two blocks more.
fn key_stream(counter: u64) -> Vec<u8> {
    // What encrypts zeros is the key stream, but for the first block.
    let key = Key::new(&SECRET, Backend::plain());
    let mut sealed = [0; 2 * BLOCK_LEN + TAG_LEN];
    let mut packets = [Sealing::in_place(counter, &mut sealed)];
    key.seal_many(&mut packets).expect("the lengths fit");
    sealed[..2 * BLOCK_LEN].to_vec()
}

fn is_in(stack: &[u8], needle: &[u8]) -> bool {
    stack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn no_key_stream_stays_on_the_stack() {
    let Some(vectors) = Backend::vectors() else {
        println!("skipped: the processor has no AVX-512");
        return;
    };
    for (count, len) in [1, 5, 8, 21]
        .into_iter()
        .flat_map(|count| LENS.map(|len| (count, len)))
    {
        let key = Key::new(&SECRET, vectors);
        let mut buffers = vec![vec![1; len + TAG_LEN]; count];
        let left = left_by(&mut || {
            let mut packets: Vec<_> = (0..)
                .zip(&mut buffers)
                .map(|(counter, buffer)| Sealing::in_place(counter, buffer))
                .collect();
            key.seal_many(&mut packets).expect("the lengths fit");
        });
        check(&left, count, len);
        // Sealed in place twice, which encrypts with a key stream and itself: a true packet all the
        // same.
        let mut opened = vec![vec![0; len]; count];
        let left = left_by(&mut || {
            let mut packets: Vec<_> = (0..)
                .zip(&buffers)
                .zip(&mut opened)
                .map(|((counter, sealed), opened)| Opening::apart(counter, sealed, opened))
                .collect();
            key.open_many(&mut packets);
            assert!(packets.iter().all(Opening::is_authentic));
        });
        check(&left, count, len);
    }
}

/// No part of any packet's key stream is left, and nothing was left deeper than is wiped.
fn check(left: &[u8], count: usize, len: usize) {
    for counter in 0..count as u64 {
        for part in key_stream(counter).chunks(16) {
            assert!(!is_in(left, part), "key stream of packet {counter}");
        }
    }
    let painted = left.iter().take_while(|&&byte| byte == PAINT).count();
    let used = DEPTH - painted;
    // Callers have frames too, above; they hold no secrets.
    let wiped = if len <= BLOCK_LEN {
        SHORT_STACK_BYTES
    } else {
        SEAL_STACK_BYTES.max(OPEN_STACK_BYTES)
    };
    assert!(used < wiped + 4096, "{used} bytes of stack");
}

#[test]
fn the_search_finds_what_is_there() {
    let stream = key_stream(3);
    let left = left_by(&mut || leave(&stream));
    assert!(is_in(&left, &stream[..16]));
}

#[inline(never)]
fn leave(stream: &[u8]) {
    // Deep enough that the reading does not cover it.
    let mut local = [0; 8 * 1024];
    local[..stream.len()].copy_from_slice(stream);
    black_box(&mut local);
}
