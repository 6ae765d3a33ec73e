//! HOT: control messages: our address, TOS and segment length beside a train.
//!
//! ```text
//! | length of this message, usize | level 4 | type 4 | data ... | padding to usize |
//! ```
//!
//! This is the kernel's own layout (`struct cmsghdr` of linux/socket.h), on every libc.

use std::{
    ffi::c_int,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use weapon_wire::Source;

use super::{Family, Train};

const ALIGN: usize = size_of::<usize>();
const HEADER_LEN: usize = (ALIGN + 8).next_multiple_of(ALIGN);

/// The three messages of IPv6 take 40 + 24 + 24 bytes; the rest is for what an administrator's
/// BPF program may add.
const CONTROL_BYTES: usize = 128;

/// Control messages of one train, aligned as the kernel wants them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control([u8; CONTROL_BYTES]);

/// What the control messages of an arrival say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    /// Where it came to.
    pub(super) source: Option<Source>,
    /// DSCP and ECN.
    pub(super) tos: u8,
    /// The length of each datagram but the last, when UDP_GRO has joined several.
    pub(super) stride: Option<usize>,
}

impl Control {
    /// How many bytes the kernel may write.
    pub(super) const LEN: usize = CONTROL_BYTES;

    /// No message.
    pub(super) const EMPTY: Self = Self([0; Self::LEN]);

    /// Writes what `train` needs and says how many bytes it takes, 0 if nothing.
    pub(super) fn encode(&mut self, train: &Train) -> usize {
        let mut writer = Writer {
            bytes: &mut self.0,
            at: 0,
        };
        let family = Family::of(&train.to.remote);
        if let Some(source) = train.to.source {
            match (family, source.address) {
                (Family::V4, IpAddr::V4(address)) => {
                    // in_pktinfo: no interface, which would overrule the routes; our address;
                    // and a field for arrivals only.
                    let mut info = [0; 12];
                    info[4..8].copy_from_slice(&address.octets());
                    writer.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
                }
                (Family::V6, IpAddr::V6(address)) => {
                    let mut info = [0; 20];
                    info[..16].copy_from_slice(&address.octets());
                    // A link-local address means nothing without its interface.
                    if address.is_unicast_link_local() {
                        info[16..].copy_from_slice(&source.interface.to_ne_bytes());
                    }
                    writer.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
                }
                // A source of the other family cannot be meant.
                _ => {}
            }
        }
        if train.tos != 0 {
            let tos = c_int::from(train.tos).to_ne_bytes();
            match family {
                Family::V4 => writer.push(libc::IPPROTO_IP, libc::IP_TOS, &tos),
                Family::V6 => writer.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &tos),
            }
        }
        if train.len > train.stride
            && let Ok(stride) = u16::try_from(train.stride)
        {
            writer.push(libc::SOL_UDP, libc::UDP_SEGMENT, &stride.to_ne_bytes());
        }
        writer.at
    }

    /// Reads what the kernel wrote into the first `len` bytes.
    pub(super) fn decode(&self, len: usize) -> Labels {
        let mut labels = Labels::default();
        let mut rest = &self.0[..len.min(Self::LEN)];
        while let Some((level, kind, data, behind)) = split_first(rest) {
            note(&mut labels, level, kind, data);
            rest = behind;
        }
        labels
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

fn note(labels: &mut Labels, level: c_int, kind: c_int, data: &[u8]) {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            // ipi_spec_dst is the address it came to, and one of ours also for a broadcast.
            if let (Some(interface), Some(octets)) = (chunk(data, 0), chunk::<4>(data, 4)) {
                let address = Ipv4Addr::from(octets).into();
                let interface = u32::from_ne_bytes(interface);
                labels.source = Some(Source { address, interface });
            }
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            if let (Some(octets), Some(interface)) = (chunk::<16>(data, 0), chunk(data, 16)) {
                let address = Ipv6Addr::from(octets).into();
                let interface = u32::from_ne_bytes(interface);
                labels.source = Some(Source { address, interface });
            }
        }
        (libc::IPPROTO_IP, libc::IP_TOS) => labels.tos = data.first().copied().unwrap_or(0),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => labels.tos = int(data) as u8,
        (libc::SOL_UDP, libc::UDP_GRO) => labels.stride = usize::try_from(int(data)).ok(),
        _ => {}
    }
}

fn int(data: &[u8]) -> c_int {
    chunk(data, 0).map_or(0, c_int::from_ne_bytes)
}

fn chunk<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// Level, type and data of the first message, and what comes behind it.
fn split_first(bytes: &[u8]) -> Option<(c_int, c_int, &[u8], &[u8])> {
    let len = usize::from_ne_bytes(chunk(bytes, 0)?);
    let level = c_int::from_ne_bytes(chunk(bytes, ALIGN)?);
    let kind = c_int::from_ne_bytes(chunk(bytes, ALIGN + 4)?);
    let data = bytes.get(HEADER_LEN..len)?;
    let behind = bytes
        .get(len.checked_next_multiple_of(ALIGN)?..)
        .unwrap_or(&[]);
    Some((level, kind, data, behind))
}

struct Writer<'a> {
    bytes: &'a mut [u8; CONTROL_BYTES],
    at: usize,
}

impl Writer<'_> {
    fn push(&mut self, level: c_int, kind: c_int, data: &[u8]) {
        let len = HEADER_LEN + data.len();
        let message = &mut self.bytes[self.at..][..len];
        message[..ALIGN].copy_from_slice(&len.to_ne_bytes());
        message[ALIGN..][..4].copy_from_slice(&level.to_ne_bytes());
        message[ALIGN + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_LEN..].copy_from_slice(data);
        self.at += len.next_multiple_of(ALIGN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weapon_wire::Endpoint;

    use super::*;

    fn train(remote: &str, source: Option<Source>) -> Train {
        let to = Endpoint {
            source,
            ..Endpoint::new(remote.parse().unwrap())
        };
        Train {
            to,
            tos: 0x88,
            start: 0,
            len: 100,
            stride: 40,
        }
    }

    #[test]
    fn a_plain_train_needs_no_control() {
        let plain = Train {
            tos: 0,
            stride: 100,
            ..train("192.0.2.1:1", None)
        };
        let mut control = Control::EMPTY;
        assert_eq!(control.encode(&plain), 0);
    }

    #[test]
    fn p79_the_source_address_is_kept_and_routes_choose_the_interface() {
        for (remote, address, interface) in [
            ("192.0.2.1:1", "198.51.100.7", 0),
            ("[2001:db8::1]:1", "2001:db8::7", 0),
            ("[2001:db8::1]:1", "fe80::7", 0x0102_0304),
        ] {
            let source = Source {
                address: address.parse().unwrap(),
                interface: 0x0102_0304,
            };
            let mut control = Control::EMPTY;
            let len = control.encode(&train(remote, Some(source)));
            let labels = control.decode(len);
            let chosen = Source {
                interface,
                ..source
            };
            assert_eq!(labels.source, Some(chosen));
            assert_eq!(labels.tos, 0x88);
        }
    }

    #[test]
    fn a_source_of_the_other_family_is_left_out() {
        let source = Source {
            address: "::1".parse().unwrap(),
            interface: 1,
        };
        let mut control = Control::EMPTY;
        let len = control.encode(&train("192.0.2.1:1", Some(source)));
        assert_eq!(control.decode(len).source, None);
    }

    #[test]
    fn layout_is_that_of_libc() {
        // SAFETY: pure arithmetic.
        assert_eq!(HEADER_LEN, unsafe { libc::CMSG_LEN(0) } as usize);
        for len in 0..40 {
            let ours = HEADER_LEN + usize::next_multiple_of(len as usize, ALIGN);
            // SAFETY: pure arithmetic.
            assert_eq!(ours, unsafe { libc::CMSG_SPACE(len) } as usize);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_can_cause_a_panic(bytes: [u8; 32], len: usize, at in 0_usize..96) {
            let mut control = Control::EMPTY;
            control.0[at..at + 32].copy_from_slice(&bytes);
            control.decode(len);
            // A small length in front leads on to the messages behind it.
            control.0[..ALIGN].copy_from_slice(&(at.max(1)).to_ne_bytes());
            control.decode(len % 160);
        }
    }
}
