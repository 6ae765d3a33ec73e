//! Nothing is read or written beyond a buffer, not even in passing: pages before and behind it
//! cannot be touched, or the test dies of SIGSEGV.

use std::{ptr, slice};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};

use crate::{random::Random, subjects};

const PAGE: usize = 4096;

/// Memory between two pages that cannot be touched.
struct Fenced {
    map: *mut u8,
    len: usize,
}

/// The end of the memory that a buffer is flush with.
#[derive(Clone, Copy, Debug)]
enum End {
    Front,
    Back,
}

impl Fenced {
    /// At least so many bytes.
    fn new(len: usize) -> Self {
        let len = len.next_multiple_of(PAGE);
        let flags = MapFlags::PRIVATE;
        // SAFETY: a new mapping, where the system likes, replaces nothing.
        let map =
            unsafe { mmap_anonymous(ptr::null_mut(), len + 2 * PAGE, ProtFlags::empty(), flags) };
        let map = map.unwrap();
        let middle = map.wrapping_byte_add(PAGE);
        // SAFETY: these pages are in the middle of the mapping, and nobody refers to them yet.
        unsafe { mprotect(middle, len, MprotectFlags::READ | MprotectFlags::WRITE) }.unwrap();
        Self {
            map: map.cast(),
            len,
        }
    }

    fn buffer(&mut self, len: usize, end: End) -> &mut [u8] {
        assert!(len <= self.len);
        let at = match end {
            End::Front => PAGE,
            End::Back => PAGE + self.len - len,
        };
        // SAFETY: `len` bytes from `at` on are in the middle of the mapping, which can be read and
        // written and began as zeros. They are borrowed as long as `self` is.
        unsafe { slice::from_raw_parts_mut(self.map.wrapping_add(at), len) }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: nobody refers to the mapping any more: buffers borrow `self`.
        unsafe { munmap(self.map.cast(), self.len + 2 * PAGE) }.unwrap();
    }
}

const LONGEST: usize = 8900;
const MOST: usize = 9;

/// For each packet of a batch, memory for its plaintext and for what goes over the wire.
struct Memory {
    texts: Vec<Fenced>,
    bodies: Vec<Fenced>,
    plaintext: Vec<u8>,
}

impl Memory {
    fn new() -> Self {
        let fenced = || (0..MOST).map(|_| Fenced::new(LONGEST + TAG_LEN)).collect();
        let mut plaintext = vec![0; LONGEST];
        Random(1).fill(&mut plaintext);
        Self {
            texts: fenced(),
            bodies: fenced(),
            plaintext,
        }
    }

    /// Packet `i` is up to `i` bytes shorter if the batch is not even.
    fn lens(len: usize, count: usize, is_even: bool) -> Vec<usize> {
        let shorter = |i: usize| if is_even { 0 } else { i * 5 % 7 };
        (0..count).map(|i| len.saturating_sub(shorter(i))).collect()
    }

    /// Seals and opens packets of these lengths in place and apart.
    fn check(&mut self, backend: Backend, lens: &[usize], end: End, head_len: usize) {
        let key = Key::new(&[3; 32], backend);
        let reference = Key::new(&[3; 32], Backend::library());
        let sealed: Vec<_> = (0..)
            .zip(lens)
            .map(|(counter, &len)| {
                let mut out = vec![0; len + TAG_LEN];
                let sealing = Sealing::apart(counter, &self.plaintext[..len], &mut out);
                reference.seal_many(&mut [sealing]).unwrap();
                out
            })
            .collect();

        self.seal_in_place(&key, lens, end);
        self.assert_sealed(&sealed, end);
        self.open_in_place(&key, lens, end);
        self.seal_apart(&key, lens, end, head_len);
        self.assert_sealed(&sealed, end);
        self.open_apart(&key, lens, end);
    }

    fn assert_sealed(&mut self, sealed: &[Vec<u8>], end: End) {
        for (fenced, sealed) in self.bodies.iter_mut().zip(sealed) {
            assert!(
                fenced.buffer(sealed.len(), end) == sealed,
                "{} bytes",
                sealed.len()
            );
        }
    }

    fn seal_in_place(&mut self, key: &Key, lens: &[usize], end: End) {
        let bodies = self.bodies.iter_mut();
        let mut sealings: Vec<_> = (0..)
            .zip(bodies.zip(lens))
            .map(|(counter, (fenced, &len))| {
                let body = fenced.buffer(len + TAG_LEN, end);
                body[..len].copy_from_slice(&self.plaintext[..len]);
                Sealing::in_place(counter, body)
            })
            .collect();
        key.seal_many(&mut sealings).unwrap();
    }

    /// With the first `head_len` bytes in place, if there are as many.
    fn seal_apart(&mut self, key: &Key, lens: &[usize], end: End, head_len: usize) {
        let memory = self.bodies.iter_mut().zip(&mut self.texts);
        let mut sealings: Vec<_> = (0..)
            .zip(memory.zip(lens))
            .map(|(counter, ((body, text), &len))| {
                let head_len = if len < head_len { 0 } else { head_len };
                let (head, rest) = self.plaintext[..len].split_at(head_len);
                let body = body.buffer(len + TAG_LEN, end);
                body[..head_len].copy_from_slice(head);
                let text = text.buffer(rest.len(), end);
                text.copy_from_slice(rest);
                Sealing::with_head(counter, head_len, text, body)
            })
            .collect();
        key.seal_many(&mut sealings).unwrap();
    }

    fn open_in_place(&mut self, key: &Key, lens: &[usize], end: End) {
        let bodies = self.bodies.iter_mut();
        let mut openings: Vec<_> = (0..)
            .zip(bodies.zip(lens))
            .map(|(counter, (fenced, &len))| {
                Opening::in_place(counter, fenced.buffer(len + TAG_LEN, end))
            })
            .collect();
        key.open_many(&mut openings);
        assert!(openings.iter().all(Opening::is_authentic));
        for (fenced, &len) in self.bodies.iter_mut().zip(lens) {
            let body = fenced.buffer(len + TAG_LEN, end);
            assert!(body[..len] == self.plaintext[..len], "{len} bytes");
        }
    }

    fn open_apart(&mut self, key: &Key, lens: &[usize], end: End) {
        let memory = self.bodies.iter_mut().zip(&mut self.texts);
        let mut openings: Vec<_> = (0..)
            .zip(memory.zip(lens))
            .map(|(counter, ((body, text), &len))| {
                let text = text.buffer(len, end);
                text.fill(0);
                Opening::apart(counter, body.buffer(len + TAG_LEN, end), text)
            })
            .collect();
        key.open_many(&mut openings);
        assert!(openings.iter().all(Opening::is_authentic));
        for (fenced, &len) in self.texts.iter_mut().zip(lens) {
            let text = fenced.buffer(len, end);
            assert!(text == &self.plaintext[..len], "{len} bytes");
        }
    }
}

#[test]
fn buffers_between_guard_pages() {
    let mut memory = Memory::new();
    let lens = (0..=300).chain([575, 576, 1280, 1420, 4080, 4096, LONGEST]);
    for backend in subjects() {
        for len in lens.clone() {
            for count in [1, 5, 8, MOST] {
                for is_even in [true, false] {
                    let lens = Memory::lens(len, count, is_even);
                    for end in [End::Front, End::Back] {
                        memory.check(backend, &lens, end, 0);
                    }
                }
            }
            let lens = Memory::lens(len, 8, true);
            memory.check(backend, &lens, End::Back, 64);
            memory.check(backend, &lens, End::Front, 128);
        }
    }
}
