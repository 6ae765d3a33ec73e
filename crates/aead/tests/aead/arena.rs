//! One stretch of memory with many buffers in it, and between them bytes that must not change.

use std::ops::Range;

use crate::random::Random;

/// What buffers are aligned to before their offset.
const LINE: usize = 64;

/// At least so many bytes are between two buffers: more than a vector could overrun.
const GAP: usize = 80;

pub(crate) struct Arena {
    bytes: Vec<u8>,
    /// Where the first aligned byte is.
    start: usize,
    ranges: Vec<Range<usize>>,
}

impl Arena {
    /// Buffers of these lengths, at these offsets from a multiple of 64. All bytes are random.
    pub(crate) fn new(
        random: &mut Random,
        buffers: impl IntoIterator<Item = (usize, usize)>,
    ) -> Self {
        let mut end = 0;
        let ranges: Vec<_> = buffers
            .into_iter()
            .map(|(len, offset)| {
                let at = (end + GAP).next_multiple_of(LINE) + offset;
                end = at + len;
                at..end
            })
            .collect();
        let mut arena = Self::of(end + GAP, ranges);
        random.fill(arena.bytes_mut());
        arena
    }

    fn of(len: usize, ranges: Vec<Range<usize>>) -> Self {
        let bytes = vec![0; len + LINE];
        let start = bytes.as_ptr().align_offset(LINE);
        Self {
            bytes,
            start,
            ranges,
        }
    }

    fn len(&self) -> usize {
        self.bytes.len() - LINE
    }

    /// All of it, what is between the buffers included.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..][..self.len()]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.bytes[self.start..][..len]
    }

    pub(crate) fn get(&self, i: usize) -> &[u8] {
        &self.bytes()[self.ranges[i].clone()]
    }

    pub(crate) fn get_mut(&mut self, i: usize) -> &mut [u8] {
        let range = self.ranges[i].clone();
        &mut self.bytes_mut()[range]
    }

    pub(crate) fn all_mut(&mut self) -> Vec<&mut [u8]> {
        let ranges = self.ranges.clone();
        let (mut rest, mut at) = (self.bytes_mut(), 0);
        let mut all = Vec::new();
        for range in ranges {
            let (buffer, behind) = rest[range.start - at..].split_at_mut(range.len());
            all.push(buffer);
            (rest, at) = (behind, range.end);
        }
        all
    }

    /// As `assert_eq`, but says where the first difference is.
    pub(crate) fn assert_same(&self, other: &Self, what: &str) {
        let differs = |(a, b): (&u8, &u8)| a != b;
        let Some(at) = self.bytes().iter().zip(other.bytes()).position(differs) else {
            return;
        };
        let buffer = self.ranges.iter().position(|range| range.contains(&at));
        match buffer {
            Some(i) => {
                let range = &self.ranges[i];
                let (at, len) = (at - range.start, range.len());
                panic!("{what}: buffer {i} differs at byte {at} of {len}");
            }
            None => panic!(
                "{what}: byte {at}, which is in no buffer of {:?}",
                self.ranges
            ),
        }
    }
}

impl Clone for Arena {
    fn clone(&self) -> Self {
        let mut copy = Self::of(self.len(), self.ranges.clone());
        copy.bytes_mut().copy_from_slice(self.bytes());
        copy
    }
}
