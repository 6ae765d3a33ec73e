//! A buffer that begins at a cache line, so that copies take the same way in every run.

/// Room for the longest packet with its offload header, and for a train of datagrams.
const LEN_MAX: usize = 66 * 1024;

#[repr(C, align(64))]
#[derive(Clone)]
struct Lines([u8; LEN_MAX]);

/// Bytes that an operation may destroy, and what they were before.
pub(crate) struct Buffer {
    bytes: Box<Lines>,
    original: Box<Lines>,
    len: usize,
}

impl Buffer {
    /// A buffer that holds `original`.
    pub(crate) fn new(original: &[u8]) -> Self {
        let mut lines = Box::new(Lines([0; LEN_MAX]));
        lines.0[..original.len()].copy_from_slice(original);
        Self {
            bytes: lines.clone(),
            original: lines,
            len: original.len(),
        }
    }

    /// As much room as a buffer has, all zero.
    pub(crate) fn zero() -> Self {
        Self::new(&[0; LEN_MAX])
    }

    /// What is in it now.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes.0[..self.len]
    }

    /// Makes it what it was.
    pub(crate) fn restore(&mut self) {
        self.bytes.0[..self.len].copy_from_slice(&self.original.0[..self.len]);
    }
}
