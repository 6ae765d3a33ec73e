#![cfg_attr(not(any(test, feature = "std")), no_std)]
//! ChaCha20-Poly1305 (RFC 8439) for many packets of one key at once.
//!
//! Libraries seal one packet after the other. The segments of a superpacket have one key,
//! consecutive counters and mostly one length: eight of them fit the lanes of an AVX-512 register,
//! Poly1305 included. Where the processor lacks AVX-512 IFMA, or a batch is too small to fill the
//! lanes, aws-lc does the work.
//!
//! ```
//! use weapon_aead::{Backend, Key, Opening, Sealing, TAG_LEN};
//!
//! let key = Key::new(&[7; 32], Backend::detect().backend);
//! let mut wire = vec![[0; 1420 + TAG_LEN]; 45];
//! let plaintext = [1; 1420];
//! let mut packets: Vec<_> = (0..)
//!     .zip(&mut wire)
//!     .map(|(counter, out)| Sealing::apart(counter, &plaintext, out))
//!     .collect();
//! key.seal_many(&mut packets).unwrap();
//!
//! let mut packets: Vec<_> = (0..)
//!     .zip(&mut wire)
//!     .map(|(counter, body)| Opening::in_place(counter, body))
//!     .collect();
//! key.open_many(&mut packets);
//! assert!(packets.iter().all(|packet| packet.is_authentic()));
//! ```

/// What is to be sealed or opened.
pub mod packet;
pub use packet::{LengthError, NotAuthentic, Opening, Sealing};

/// A key, and which way a batch goes.
pub mod key;
pub use key::Key;

/// Which code runs.
pub mod backend;
pub use backend::Backend;

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod avx512;
mod batch;
mod chacha20;
mod hash;
mod lanes;
#[cfg(feature = "library")]
mod library;
mod nonce;
mod plain;
mod poly1305;
mod ragged;
mod self_test;
#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod share;
mod short;
mod single;
mod vector;
mod woven;

#[cfg(test)]
mod tests;

/// Length of the tag in bytes.
pub const TAG_LEN: usize = 16;

/// Length of a ChaCha20 block in bytes.
pub const BLOCK_LEN: usize = 64;
