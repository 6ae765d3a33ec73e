//! Looks for secrets in the memory of the process itself.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
};

use zeroize::Zeroizing;

use super::{Entropy, EntropyNotReady, SecretKey32};

const MASK: u8 = 0xa5;

/// A secret, masked so that the note itself is not found. What is looked for is its middle, for
/// X25519 keys are clamped at their ends.
pub(crate) struct Note {
    pub(crate) name: &'static str,
    masked: [u8; 32],
}

impl Note {
    pub(crate) fn new(name: &'static str, secret: &[u8; 32]) -> Self {
        let mut masked = [0; 32];
        for (masked, byte) in masked.iter_mut().zip(secret) {
            *masked = byte ^ MASK;
        }
        Self { name, masked }
    }

    /// The secret again.
    pub(crate) fn secret(&self) -> SecretKey32 {
        let mut secret = Zeroizing::new([0; 32]);
        for (byte, masked) in secret.iter_mut().zip(&self.masked) {
            *byte = masked ^ MASK;
        }
        SecretKey32::from_bytes(&secret)
    }

    fn matches(&self, window: &[u8]) -> bool {
        let mut pairs = self.masked[8..24].iter().zip(window);
        pairs.all(|(masked, byte)| *masked == byte ^ MASK)
    }
}

/// The names of the secrets that stand in writable memory.
pub(crate) fn traces(notes: &[Note]) -> Vec<&'static str> {
    let mut memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut chunk = vec![0; 1 << 20];
    let ours = chunk.as_ptr_range();
    let ours = ours.start as u64..ours.end as u64;
    let mut found = Vec::new();
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        if !rest.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let hex = |text| u64::from_str_radix(text, 16).unwrap();
        let (mut at, end) = (hex(start), hex(end));
        while at < end {
            let len = (end - at).min(chunk.len() as u64) as usize;
            memory.seek(SeekFrom::Start(at)).unwrap();
            if memory.read_exact(&mut chunk[..len]).is_err() {
                break;
            }
            for (offset, window) in chunk[..len].windows(16).enumerate() {
                if ours.contains(&(at + offset as u64)) {
                    continue;
                }
                let hits = notes.iter().filter(|note| note.matches(window));
                found.extend(hits.map(|note| note.name));
            }
            // Chunks overlap, so that no secret falls between two.
            at += if at + len as u64 == end {
                len
            } else {
                len - 15
            } as u64;
        }
    }
    chunk.fill(0);
    found.sort_unstable();
    found
}

/// Random bytes that are written nowhere but where they are asked for, and noted.
pub(crate) struct Noting {
    pub(crate) state: u64,
    pub(crate) notes: Vec<Note>,
}

impl Noting {
    fn fill_noting(&mut self, name: &'static str, out: &mut [u8; 32]) {
        for byte in out.iter_mut() {
            self.state = self
                .state
                .wrapping_mul(0x5851_f42d_4c95_7f2d)
                .wrapping_add(1);
            *byte = (self.state >> 56) as u8;
        }
        self.notes.push(Note::new(name, out));
    }

    pub(crate) fn secret(&mut self, name: &'static str) -> SecretKey32 {
        let mut secret = Zeroizing::new([0; 32]);
        self.fill_noting(name, &mut secret);
        SecretKey32::from_bytes(&secret)
    }
}

impl Entropy for Noting {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
        // Indices, jitter and nonces are no secrets.
        match out.try_into() {
            Ok(secret) => self.fill_noting("ephemeral or cookie secret", secret),
            Err(_) => out.fill(self.notes.len() as u8),
        }
        Ok(())
    }
}
