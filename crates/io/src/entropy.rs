//! Randomness of the kernel, without ever waiting for it.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// Whether the kernel's generator has been seeded.
///
/// Until then no handshake is answered (obligation P104): early in the boot of a small device
/// `getrandom` would block, and so would the loop that calls it.
pub fn entropy_ready() -> bool {
    fill(&mut [0]).is_ok()
}

/// Fills `out` with random bytes.
///
/// # Errors
///
/// [`io::ErrorKind::WouldBlock`] while the generator is not seeded; `out` is to be thrown away.
pub fn fill(out: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while let Some(rest) = out.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::NONBLOCK) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_byte_also_of_large_buffers() {
        assert!(entropy_ready());
        // 1 KiB of zeros in a row has the probability 2^-8192: a part was left out.
        let mut out = vec![0; 100_000];
        fill(&mut out).unwrap();
        assert!(
            out.chunks(1024)
                .all(|chunk| chunk.iter().any(|&byte| byte != 0))
        );
    }

    #[test]
    fn two_fills_differ() {
        let (mut one, mut other) = ([0; 32], [0; 32]);
        fill(&mut one).unwrap();
        fill(&mut other).unwrap();
        assert_ne!(one, other);
        fill(&mut []).unwrap();
    }
}
