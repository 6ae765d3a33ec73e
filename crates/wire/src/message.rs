//! WireGuard's four messages, paper section 5.4. All integers are little-endian.
//!
//! ```text
//!  type 1  initiation, 148 bytes            type 2  response, 92 bytes
//!    0  type (u32)                            0  type (u32)
//!    4  sender index                          4  sender index
//!    8  ephemeral (32)                        8  receiver index
//!   40  encrypted static (32 + 16)           12  ephemeral (32)
//!   88  encrypted timestamp (12 + 16)        44  encrypted nothing (0 + 16)
//!  116  mac1 (16)                            60  mac1 (16)
//!  132  mac2 (16)                            76  mac2 (16)
//!
//!  type 3  cookie reply, 64 bytes           type 4  data, 32 bytes or more
//!    0  type (u32)                            0  type (u32)
//!    4  receiver index                        4  receiver index
//!    8  nonce (24)                            8  counter (u64)
//!   32  encrypted cookie (16 + 16)           16  encrypted packet (n + 16)
//! ```

use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U32, U64},
};

use crate::Malformed;

/// Bytes before the ciphertext of a data message.
pub const DATA_HEADER_LEN: usize = 16;
/// Bytes of a Poly1305 tag.
pub const TAG_LEN: usize = 16;
/// What a data message adds to its plaintext; a keepalive is nothing else.
pub const DATA_OVERHEAD: usize = DATA_HEADER_LEN + TAG_LEN;

/// What a datagram claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Type 1.
    Initiation,
    /// Type 2.
    Response,
    /// Type 3.
    CookieReply,
    /// Type 4.
    Data,
}

/// Tells the four messages apart by type and length; nothing else is looked at.
///
/// The type is one little-endian `u32`, so the three reserved bytes must be zero. Handshake
/// messages have exact lengths, data has at least its overhead.
pub fn kind(datagram: &[u8]) -> Result<Kind, Malformed> {
    let Some(message_type) = datagram.first_chunk::<4>() else {
        return Err(Malformed::Truncated);
    };
    let (kind, fits) = match u32::from_le_bytes(*message_type) {
        Data::TYPE => (Kind::Data, datagram.len() >= DATA_OVERHEAD),
        Initiation::TYPE => (Kind::Initiation, datagram.len() == Initiation::LEN),
        Response::TYPE => (Kind::Response, datagram.len() == Response::LEN),
        CookieReply::TYPE => (Kind::CookieReply, datagram.len() == CookieReply::LEN),
        _ => return Err(Malformed::UnknownType),
    };
    if fits {
        Ok(kind)
    } else {
        Err(Malformed::WrongLength)
    }
}

/// The receiver index of a datagram that [`kind`] called data.
///
/// Zero if `datagram` is shorter than a data header, which nothing is that is called data.
pub fn data_receiver(datagram: &[u8]) -> u32 {
    Data::of(datagram).map_or(0, |header| header.receiver.get())
}

/// The counter of a datagram that [`kind`] called data.
///
/// Zero if `datagram` is shorter than a data header, which nothing is that is called data.
pub fn data_counter(datagram: &[u8]) -> u64 {
    Data::of(datagram).map_or(0, |header| header.counter.get())
}

/// Writes the header of a data message to the first [`DATA_HEADER_LEN`] bytes of `slot`.
/// Nothing is written to a `slot` that is shorter.
pub fn write_data_header(slot: &mut [u8], receiver: u32, counter: u64) {
    let header = Data {
        message_type: U32::new(Data::TYPE),
        receiver: U32::new(receiver),
        counter: U64::new(counter),
    };
    let written = header.write_to_prefix(slot);
    debug_assert!(written.is_ok(), "a data message has a header");
}

/// The header of message type 4.
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Data {
    message_type: U32,
    receiver: U32,
    counter: U64,
}

impl Data {
    const TYPE: u32 = 4;

    fn of(datagram: &[u8]) -> Option<&Self> {
        let header = Self::ref_from_prefix(datagram).ok();
        debug_assert!(header.is_some(), "a data message has a header");
        Some(header?.0)
    }
}

/// Message type 1: an initiator asks for a session.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Initiation {
    /// [`Initiation::TYPE`].
    pub message_type: U32,
    /// The index by which the initiator will be addressed.
    pub sender: U32,
    /// The initiator's ephemeral public key.
    pub ephemeral: [u8; 32],
    /// The initiator's static public key, sealed.
    pub encrypted_static: [u8; 48],
    /// A TAI64N timestamp, sealed.
    pub encrypted_timestamp: [u8; 28],
    /// Keyed hash of all before it: whoever wrote this knows our public key.
    pub mac1: [u8; 16],
    /// Keyed hash of all before it under a cookie, or zero.
    pub mac2: [u8; 16],
}

/// Message type 2: the responder completes the session.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct Response {
    /// [`Response::TYPE`].
    pub message_type: U32,
    /// The index by which the responder will be addressed.
    pub sender: U32,
    /// The initiator's index.
    pub receiver: U32,
    /// The responder's ephemeral public key.
    pub ephemeral: [u8; 32],
    /// The empty string, sealed.
    pub encrypted_nothing: [u8; 16],
    /// Keyed hash of all before it.
    pub mac1: [u8; 16],
    /// Keyed hash of all before it under a cookie, or zero.
    pub mac2: [u8; 16],
}

/// Message type 3: a responder under load asks for proof of the sender's address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct CookieReply {
    /// [`CookieReply::TYPE`].
    pub message_type: U32,
    /// The sender index of the message that is answered.
    pub receiver: U32,
    /// The XChaCha20-Poly1305 nonce, random.
    pub nonce: [u8; 24],
    /// The cookie, sealed.
    pub encrypted_cookie: [u8; 32],
}

macro_rules! message {
    ($name:ident, $message_type:literal, $len:literal) => {
        impl $name {
            /// The first four bytes, as a little-endian integer.
            pub const TYPE: u32 = $message_type;
            /// Its length on the wire, in bytes.
            pub const LEN: usize = $len;

            /// A message of this type with all other fields zero.
            pub fn zeroed() -> Self {
                Self {
                    message_type: U32::new(Self::TYPE),
                    ..Self::new_zeroed()
                }
            }

            /// Views `datagram` as this message, if it has its type and its exact length.
            pub fn parse(datagram: &[u8]) -> Option<&Self> {
                let message = Self::ref_from_bytes(datagram).ok()?;
                (message.message_type.get() == Self::TYPE).then_some(message)
            }

            /// The message as it goes on the wire.
            pub fn as_bytes(&self) -> &[u8] {
                IntoBytes::as_bytes(self)
            }

            /// The message as it goes on the wire, for the MACs to be written at its end.
            pub fn as_mut_bytes(&mut self) -> &mut [u8] {
                IntoBytes::as_mut_bytes(self)
            }
        }

        const _: () = assert!(size_of::<$name>() == $name::LEN);
    };
}

message!(Initiation, 1, 148);
message!(Response, 2, 92);
message!(CookieReply, 3, 64);
