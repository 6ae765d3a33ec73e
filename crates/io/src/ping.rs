//! ICMP echo: is someone there, and how far away.
//!
//! ```text
//!  0               1               2               3
//! +---------------+---------------+-------------------------------+
//! | type          | code 0        | checksum                      |
//! +---------------+---------------+-------------------------------+
//! | identifier                    | sequence number               |   RFC 792, RFC 4443 §4
//! +-------------------------------+-------------------------------+
//! | payload, sent back as it was …                                |
//! ```

use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockFilter, Socket, Type};

const HEADER_LEN: usize = 8;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;

/// Echo reply at the largest: 64 KB of packet.
const BUFFER_LEN: usize = 65_536;

/// Why a ping found nobody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// No answer within the time given.
    #[error("no answer from {remote} within {waited:?}")]
    Timeout {
        /// Who was asked.
        remote: IpAddr,
        /// How long was waited.
        waited: Duration,
    },
    /// Our own host or one on the way said that it can't be reached.
    #[error("{remote} is unreachable: {error}")]
    Unreachable {
        /// Who was asked.
        remote: IpAddr,
        /// The error that the answer was turned into (`ENETUNREACH`, `EHOSTUNREACH`, …).
        error: io::Error,
    },
    /// The socket failed.
    #[error("ping {remote}: {error}")]
    Io {
        /// Who was asked.
        remote: IpAddr,
        /// What failed.
        error: io::Error,
    },
}

/// A raw ICMP socket that asks one host. It belongs to the network namespace of the thread that
/// opened it and needs `CAP_NET_RAW` there.
#[derive(Debug)]
pub struct Ping {
    socket: Socket,
    remote: IpAddr,
    identifier: u16,
    sequence: u16,
    packet: Vec<u8>,
    answer: Vec<u8>,
}

impl Ping {
    /// Opens a socket to ping `remote` with `payload`, which comes back in each answer.
    ///
    /// # Errors
    /// `Unreachable` when there is no route; `Io` without `CAP_NET_RAW`.
    pub fn open(remote: IpAddr, payload: &[u8]) -> Result<Self, PingError> {
        let failed = |error| error_of(remote, error);
        let (domain, protocol) = match remote {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
        };
        let socket = Socket::new(domain, Type::RAW, Some(protocol)).map_err(failed)?;
        let identifier = next_identifier();
        let filter = answers_to(identifier, remote);
        socket.attach_filter(&filter).map_err(failed)?;
        report_errors(&socket, remote).map_err(failed)?;
        // Connected, so that the kernel sorts out the packets of others.
        socket
            .connect(&SocketAddr::new(remote, 0).into())
            .map_err(failed)?;
        let mut packet = vec![0; HEADER_LEN];
        packet.extend_from_slice(payload);
        let answer = vec![0; BUFFER_LEN];
        Ok(Self {
            socket,
            remote,
            identifier,
            sequence: 0,
            packet,
            answer,
        })
    }

    /// Sends one request and waits for its answer. Returns the round trip time.
    ///
    /// # Errors
    /// See [`PingError`].
    pub fn once(&mut self, patience: Duration) -> Result<Duration, PingError> {
        let remote = self.remote;
        self.write_request();
        let start = Instant::now();
        let deadline = start + patience;
        self.socket
            .send(&self.packet)
            .map_err(|error| error_of(remote, error))?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(PingError::Timeout {
                    remote,
                    waited: patience,
                });
            }
            self.socket
                .set_read_timeout(Some(left))
                .map_err(|error| PingError::Io { remote, error })?;
            match (&self.socket).read(&mut self.answer) {
                Ok(len) if self.is_answer(len) => return Ok(start.elapsed()),
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error_of(remote, error)),
            }
        }
    }

    fn write_request(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
        let kind = if self.remote.is_ipv4() {
            ECHO_REQUEST
        } else {
            ECHO_REQUEST_V6
        };
        self.packet[..4].copy_from_slice(&[kind, 0, 0, 0]);
        self.packet[4..6].copy_from_slice(&self.identifier.to_be_bytes());
        self.packet[6..8].copy_from_slice(&self.sequence.to_be_bytes());
        if self.remote.is_ipv4() {
            // The kernel does it for ICMPv6 alone, as that one covers a pseudo header.
            let sum = internet_checksum(&self.packet);
            self.packet[2..4].copy_from_slice(&sum.to_be_bytes());
        }
    }

    /// Whether the first `len` bytes received answer the last request.
    fn is_answer(&self, len: usize) -> bool {
        let Some(packet) = self.answer.get(..len) else {
            return false;
        };
        let (reply, header_len) = match self.remote {
            // Raw IPv4 sockets get the IP header as well (raw(7)).
            IpAddr::V4(_) => {
                let words = packet.first().map_or(0, |first| usize::from(first & 0x0f));
                (ECHO_REPLY, words * 4)
            }
            IpAddr::V6(_) => (ECHO_REPLY_V6, 0),
        };
        let Some(message) = packet.get(header_len..) else {
            return false;
        };
        message.len() == self.packet.len()
            && message[0] == reply
            && message[4..] == self.packet[4..]
    }
}

/// A classic BPF program (linux/filter.h) that lets echo replies to `identifier` pass. Without it
/// the answers to all others who ping fill the buffer of a socket that is not read for a moment.
fn answers_to(identifier: u16, remote: IpAddr) -> [SockFilter; 7] {
    const LOAD_IP_HEADER_LEN: u16 = 0xb1; // ldxb 4 * ([k] & 0xf)
    const LOAD_INDEX: u16 = 0x01; //         ldx #k
    const LOAD_BYTE_INDEXED: u16 = 0x50; //  ldb [x + k]
    const LOAD_HALF_INDEXED: u16 = 0x48; //  ldh [x + k]
    const JUMP_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    // Raw IPv4 sockets get the IP header as well (raw(7)), raw ICMPv6 sockets do not.
    let (header_len, reply) = match remote {
        IpAddr::V4(_) => (LOAD_IP_HEADER_LEN, ECHO_REPLY),
        IpAddr::V6(_) => (LOAD_INDEX, ECHO_REPLY_V6),
    };
    [
        SockFilter::new(header_len, 0, 0, 0),
        SockFilter::new(LOAD_BYTE_INDEXED, 0, 0, 0),
        SockFilter::new(JUMP_EQUAL, 0, 3, reply.into()),
        SockFilter::new(LOAD_HALF_INDEXED, 0, 0, 4),
        SockFilter::new(JUMP_EQUAL, 0, 1, identifier.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// Lets the kernel turn "unreachable" answers of hosts on the way into errors of this socket,
/// also those that it holds for temporary.
fn report_errors(socket: &Socket, remote: IpAddr) -> io::Result<()> {
    let (level, option) = match remote {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
    };
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the option value is a c_int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Each socket of each process gets another number, so that answers don't cross.
fn next_identifier() -> u16 {
    static COUNT: AtomicU16 = AtomicU16::new(0);
    let process = (std::process::id() & 0xffff) as u16;
    process
        .wrapping_mul(257)
        .wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The time is up, or a signal came: the loop looks at the clock.
fn is_passing(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::WouldBlock || kind == io::ErrorKind::Interrupted
}

fn error_of(remote: IpAddr, error: io::Error) -> PingError {
    match error.raw_os_error() {
        Some(
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ECONNREFUSED
            | libc::EACCES
            | libc::EHOSTDOWN
            | libc::ENOPROTOOPT,
        ) => PingError::Unreachable { remote, error },
        _ => PingError::Io { remote, error },
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)))
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_rfc_1071() {
        // The example of RFC 1071 §3: the sum is ddf2, its complement goes into the packet.
        assert_eq!(
            internet_checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            !0xddf2
        );
        assert_eq!(
            internet_checksum(&[0xff; 65_535]),
            !0xff00,
            "carries are folded twice"
        );
    }

    #[test]
    fn identifiers_differ() {
        assert_ne!(next_identifier(), next_identifier());
    }
}
