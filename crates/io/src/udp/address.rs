//! HOT: socket addresses as the kernel reads and writes them.
//!
//! ```text
//! sockaddr_in   | family 2 | port 2, big-endian | address 4 | zero 8 |
//! sockaddr_in6  | family 2 | port 2, big-endian | flow 4 | address 16 | scope 4 |
//! ```

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const LEN_V4: usize = size_of::<libc::sockaddr_in>();
const LEN_V6: usize = size_of::<libc::sockaddr_in6>();

/// Room for either, aligned as the kernel's own.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct RawAddress([u8; 32]);

impl RawAddress {
    /// How many bytes the kernel may write.
    pub(super) const LEN: usize = 32;

    /// An address of no family.
    pub(super) const EMPTY: Self = Self([0; Self::LEN]);

    /// The address, and how many bytes of it count.
    pub(super) fn encode(address: &SocketAddr) -> (Self, usize) {
        let mut raw = Self::EMPTY;
        let out = &mut raw.0;
        out[2..4].copy_from_slice(&address.port().to_be_bytes());
        let len = match address {
            SocketAddr::V4(v4) => {
                out[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                out[4..8].copy_from_slice(&v4.ip().octets());
                LEN_V4
            }
            SocketAddr::V6(v6) => {
                out[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                out[8..24].copy_from_slice(&v6.ip().octets());
                out[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                LEN_V6
            }
        };
        (raw, len)
    }

    /// The address in the first `len` bytes, if they are one.
    pub(super) fn decode(&self, len: usize) -> Option<SocketAddr> {
        let bytes = self.0.get(..len)?;
        let family = u16::from_ne_bytes([*bytes.first()?, *bytes.get(1)?]);
        if family == libc::AF_INET as u16 && len >= LEN_V4 {
            let ip: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
            return Some(SocketAddrV4::new(Ipv4Addr::from(ip), port(bytes)?).into());
        }
        if family == libc::AF_INET6 as u16 && len >= LEN_V6 {
            let ip: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            let scope = u32::from_ne_bytes(bytes.get(24..28)?.try_into().ok()?);
            return Some(SocketAddrV6::new(Ipv6Addr::from(ip), port(bytes)?, 0, scope).into());
        }
        None
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

fn port(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p82_an_address_survives_with_its_scope() {
        for (text, expected_len) in [("192.0.2.7:51820", 16), ("[fe80::1%9]:7", 28)] {
            let address: SocketAddr = text.parse().unwrap();
            let (raw, len) = RawAddress::encode(&address);
            assert_eq!(len, expected_len);
            assert_eq!(raw.decode(len), Some(address));
        }
    }

    #[test]
    fn agrees_with_socket2_on_every_byte_that_counts() {
        for text in ["203.0.113.9:1", "[2001:db8::7%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let theirs = socket2::SockAddr::from(address);
            let (ours, len) = RawAddress::encode(&address);
            assert_eq!(len, theirs.len() as usize);
            assert_eq!(ours.decode(len), theirs.as_socket());
        }
    }

    #[test]
    fn short_or_foreign_addresses_are_none() {
        let (raw, len) = RawAddress::encode(&"[::1]:9".parse().unwrap());
        for short in 0..len {
            assert_eq!(raw.decode(short), None);
        }
        assert_eq!(raw.decode(33), None);
        assert_eq!(RawAddress::EMPTY.decode(32), None);
    }
}
