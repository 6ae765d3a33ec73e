//! The two UDP sockets of a gateway, IPv4 and IPv6 on one port.

use std::{
    ffi::c_int,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Type};

use super::{Arrival, Family, Socket, Sockets, Train, UdpFacts, door, syscall};
use crate::entropy;

/// How often another port is tried when port 0 was asked for and IPv6 has ours taken (P96).
const PORT_ATTEMPTS_MAX: u32 = 100;

/// Bytes of a door's receive buffer, of which the kernel makes twice as much: what waits there is
/// in nobody's way. They are 10 ms of 200 000 initiations a second from one network, and sixteen
/// times that from many, which a control loop that gets no processor sleeps through
/// (`docs/decisions/0009-doors-for-handshakes.md`).
const DOOR_BUFFER_BYTES: usize = 1 << 20;

/// What to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpConfig {
    /// The port of both families; 0 picks a free one.
    pub port: u16,
    /// SO_MARK of all that is sent; 0 for none.
    pub fwmark: u32,
    /// Bytes of each receive buffer of the kernel; 0 leaves its default.
    pub receive_buffer_bytes: usize,
    /// Bytes of each send buffer of the kernel; 0 leaves its default.
    pub send_buffer_bytes: usize,
    /// Send trains with UDP_SEGMENT, if this kernel can.
    pub gso: bool,
    /// Receive trains with UDP_GRO, if this kernel can.
    pub gro: bool,
}

impl Default for UdpConfig {
    /// Any port, no mark. What waits to be received, waits for us: 512 KB, of which the kernel
    /// makes twice as much, are a millisecond of work, and more would only be a standing queue
    /// (`docs/decisions/0007-receive-buffer.md`). What waits to be sent, 8 MB, waits for the
    /// network.
    fn default() -> Self {
        Self {
            port: 0,
            fwmark: 0,
            receive_buffer_bytes: 512 << 10,
            send_buffer_bytes: 8 << 20,
            gso: true,
            gro: true,
        }
    }
}

/// Why the sockets could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UdpError {
    /// Somebody has the port, in one family at least.
    #[error("UDP port {port} is in use: another VPN or gateway listens on it (ss -ulpn)")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// A port below 1024 needs a capability.
    #[error(
        "no permission to bind UDP port {port}, which is below 1024: run as root, or with \
         CAP_NET_BIND_SERVICE"
    )]
    PortPermission {
        /// The port.
        port: u16,
    },
    /// A mark needs a capability.
    #[error("no permission to mark packets: run as root, or with CAP_NET_ADMIN")]
    MarkPermission,
    /// Anything else.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

/// Two bound sockets that never block, closed with this value.
///
/// - They are not connected, so that a peer may roam, and errors that ICMP reports about one peer
///   do not reach the others.
/// - The outer packet may be fragmented on its way (P93), and carries a UDP checksum (P95).
pub struct Udp {
    pub(super) v4: socket2::Socket,
    /// `None` on a host without IPv6.
    pub(super) v6: Option<socket2::Socket>,
    port: u16,
    pub(super) gso: bool,
    gro: bool,
}

impl Udp {
    /// Binds both families to one port, in the network namespace of this thread.
    ///
    /// # Errors
    ///
    /// See [`UdpError`]; no socket is left open.
    pub fn bind(config: &UdpConfig) -> Result<Self, UdpError> {
        let mut attempts = if config.port == 0 {
            PORT_ATTEMPTS_MAX
        } else {
            1
        };
        loop {
            attempts -= 1;
            let v4 = open_bound(Family::V4, config, false)?;
            let port = local_port(&v4)?;
            let config = UdpConfig { port, ..*config };
            let v6 = match if_known(open_bound(Family::V6, &config, false)) {
                Err(UdpError::PortInUse { .. }) if attempts > 0 => continue,
                v6 => v6?,
            };
            return Ok(Self::with_sockets(v4, v6, &config));
        }
    }

    /// Binds `lanes` pairs of sockets, one at least, and those for handshake messages to one port
    /// (SO_REUSEPORT). The kernel gives what one sender sends to one lane, always the same; and
    /// what is no data message to the doors.
    ///
    /// # Errors
    ///
    /// As [`Udp::bind`]. A port that somebody else has is in use, also if he would share it.
    pub fn bind_lanes(config: &UdpConfig, lanes: usize) -> Result<Sockets<Self>, UdpError> {
        let alone = Self::bind(config)?;
        let config = UdpConfig {
            port: alone.port,
            ..*config
        };
        // Sockets that share a port must say so before the first is bound, so it was bound alone
        // only to see that nobody has it.
        drop(alone);
        let bind = |count: usize, config: UdpConfig| {
            let sockets = (0..count).map(|_| Self::bind_shared(&config));
            sockets.collect::<Result<Vec<_>, _>>()
        };
        let lanes = bind(lanes.max(1), config)?;
        let mut doors = bind(door::DOORS as usize, of_door(&config))?;
        if let Err(error) = lanes[0].direct(lanes.len()) {
            // As soon as the doors are closed the kernel spreads all over the lanes, as it likes.
            tracing::debug!(%error, "handshake messages come in with data");
            doors.clear();
        }
        Ok(Sockets { lanes, doors })
    }

    /// Has the kernel give data to the `lanes` that were bound first, all else to the doors.
    fn direct(&self, lanes: usize) -> io::Result<()> {
        let lanes = u32::try_from(lanes).map_err(io::Error::other)?;
        let mut bytes = [0; size_of::<door::Key>()];
        // On a machine without randomness nothing is answered yet, and everybody has the same.
        let _ = entropy::fill(&mut bytes);
        let (words, _) = bytes.as_chunks();
        let key = std::array::from_fn(|word| u32::from_ne_bytes(words[word]));
        self.fds().try_for_each(|(family, file)| {
            syscall::direct(file, &door::program(family, lanes, key))
        })
    }

    fn bind_shared(config: &UdpConfig) -> Result<Self, UdpError> {
        let v4 = open_bound(Family::V4, config, true)?;
        let v6 = if_known(open_bound(Family::V6, config, true))?;
        Ok(Self::with_sockets(v4, v6, config))
    }

    pub(super) fn with_sockets(
        v4: socket2::Socket,
        v6: Option<socket2::Socket>,
        config: &UdpConfig,
    ) -> Self {
        let both = || v6.iter().chain([&v4]);
        let gso = config.gso && both().all(can_segment);
        let gro = config.gro && both().all(joins_arrivals);
        let port = config.port;
        Self::with_facts(v4, v6, UdpFacts { port, gso, gro })
    }

    pub(super) fn with_facts(
        v4: socket2::Socket,
        v6: Option<socket2::Socket>,
        UdpFacts { port, gso, gro }: UdpFacts,
    ) -> Self {
        Self {
            v4,
            v6,
            port,
            gso,
            gro,
        }
    }

    /// The port of both sockets.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether arrivals may be trains of more than one datagram.
    pub fn gro(&self) -> bool {
        self.gro
    }

    /// The sockets, to wait for arrivals: IPv4, and IPv6 if the host has it.
    pub fn fds(&self) -> impl Iterator<Item = (Family, BorrowedFd<'_>)> {
        let v4 = [(Family::V4, self.v4.as_fd())];
        v4.into_iter()
            .chain(self.v6.iter().map(|v6| (Family::V6, v6.as_fd())))
    }

    fn sockets(&self) -> impl Iterator<Item = &socket2::Socket> {
        [&self.v4].into_iter().chain(&self.v6)
    }
}

impl Socket for Udp {
    fn fd(&self, family: Family) -> Option<BorrowedFd<'_>> {
        match family {
            Family::V4 => Some(self.v4.as_fd()),
            Family::V6 => self.v6.as_ref().map(AsFd::as_fd),
        }
    }

    fn gso(&self) -> bool {
        self.gso
    }

    fn set_mark(&self, mark: u32) -> io::Result<()> {
        // Who holds the privilege may have set it already.
        let mut others = self.sockets().filter(|it| it.mark().ok() != Some(mark));
        others.try_for_each(|socket| socket.set_mark(mark))
    }

    fn send(&self, buffer: &[u8], trains: &[Train]) -> io::Result<usize> {
        let Some(first) = trains.first() else {
            return Ok(0);
        };
        let Some(file) = self.fd(Family::of(&first.to.remote)) else {
            return Err(io::Error::from_raw_os_error(libc::EAFNOSUPPORT));
        };
        syscall::send(file, buffer, trains)
    }

    fn wait_writable(&self, family: Family, timeout_ms: u32) -> bool {
        let Some(file) = self.fd(family) else {
            return false;
        };
        let timeout = Timespec {
            tv_sec: i64::from(timeout_ms / 1000),
            tv_nsec: i64::from(timeout_ms % 1000) * 1_000_000,
        };
        let mut files = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
        matches!(poll(&mut files, Some(&timeout)), Ok(1))
    }

    fn receive(
        &self,
        family: Family,
        buffer: &mut [u8],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        match self.fd(family) {
            Some(file) => syscall::receive(file, buffer, arrivals),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// What a door has in place of what a lane has.
pub(super) fn of_door(config: &UdpConfig) -> UdpConfig {
    UdpConfig {
        receive_buffer_bytes: DOOR_BUFFER_BYTES,
        ..*config
    }
}

fn open(family: Family, config: &UdpConfig) -> Result<socket2::Socket, UdpError> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = socket2::Socket::new(domain, Type::DGRAM.nonblocking(), Some(Protocol::UDP))
        .map_err(|source| UdpError::Io {
            what: "open a UDP socket",
            source,
        })?;
    equip(&socket, family, config)?;
    if config.fwmark != 0 {
        set_mark(&socket, config.fwmark)?;
    }
    Ok(socket)
}

/// Sets the options that a socket of this family must have, and its buffers.
pub(super) fn equip(
    socket: &socket2::Socket,
    family: Family,
    config: &UdpConfig,
) -> Result<(), UdpError> {
    for &(level, name, value, what) in options(family) {
        // That IPv4 is kept off can't be said to a socket that is bound, not even once more.
        if syscall::option(socket.as_fd(), level, name).ok() != Some(value) {
            set(socket, level, name, value).map_err(|source| UdpError::Io { what, source })?;
        }
    }
    let receive = (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF);
    set_buffer(socket, receive, config.receive_buffer_bytes);
    let send = (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF);
    set_buffer(socket, send, config.send_buffer_bytes);
    Ok(())
}

/// Opens a socket and binds it to the port of `config`, which others may have as well if it is
/// `shared`.
fn open_bound(
    family: Family,
    config: &UdpConfig,
    shared: bool,
) -> Result<socket2::Socket, UdpError> {
    let socket = open(family, config)?;
    if shared {
        let what = "share a UDP port";
        socket
            .set_reuse_port(true)
            .map_err(|source| UdpError::Io { what, source })?;
    }
    bind_to(&socket, family, config.port)?;
    Ok(socket)
}

/// The socket, or none on a host that does not know its family.
fn if_known(
    socket: Result<socket2::Socket, UdpError>,
) -> Result<Option<socket2::Socket>, UdpError> {
    match socket {
        Err(UdpError::Io { source, .. }) if is_family_unknown(&source) => Ok(None),
        socket => socket.map(Some),
    }
}

type SocketOption = (c_int, c_int, c_int, &'static str);

/// What every socket of a family must have: level, name, value, and words for an error.
fn options(family: Family) -> &'static [SocketOption] {
    const V4: &[SocketOption] = &[
        (
            libc::IPPROTO_IP,
            libc::IP_PKTINFO,
            1,
            "learn the address a datagram came to",
        ),
        (
            libc::IPPROTO_IP,
            libc::IP_RECVTOS,
            1,
            "learn the TOS of a datagram",
        ),
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DONT,
            "allow fragments",
        ),
        (
            libc::SOL_SOCKET,
            libc::SO_NO_CHECK,
            0,
            "switch UDP checksums on",
        ),
    ];
    const V6: &[SocketOption] = &[
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_V6ONLY,
            1,
            "keep IPv4 off an IPv6 socket",
        ),
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            1,
            "learn the address a datagram came to",
        ),
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVTCLASS,
            1,
            "learn the traffic class of a datagram",
        ),
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DONT,
            "allow fragments",
        ),
        (
            libc::SOL_UDP,
            libc::UDP_NO_CHECK6_TX,
            0,
            "switch UDP checksums on",
        ),
        (
            libc::SOL_UDP,
            libc::UDP_NO_CHECK6_RX,
            0,
            "demand UDP checksums",
        ),
    ];
    match family {
        Family::V4 => V4,
        Family::V6 => V6,
    }
}

fn set(socket: &socket2::Socket, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    syscall::set_option(socket.as_fd(), level, name, value)
}

/// As large as allowed: past net.core.rmem_max with CAP_NET_ADMIN, up to it without.
fn set_buffer(socket: &socket2::Socket, (forced, limited): (c_int, c_int), bytes: usize) {
    if bytes == 0 {
        return;
    }
    let bytes = c_int::try_from(bytes).unwrap_or(c_int::MAX);
    let outcome = set(socket, libc::SOL_SOCKET, forced, bytes)
        .or_else(|_| set(socket, libc::SOL_SOCKET, limited, bytes));
    if let Err(error) = outcome {
        tracing::debug!(%error, bytes, "the buffer of a UDP socket keeps its size");
    }
}

pub(super) fn set_mark(socket: &socket2::Socket, mark: u32) -> Result<(), UdpError> {
    let what = "mark packets";
    socket.set_mark(mark).map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => UdpError::MarkPermission,
        _ => UdpError::Io { what, source },
    })
}

fn bind_to(socket: &socket2::Socket, family: Family, port: u16) -> Result<(), UdpError> {
    let address: SocketAddr = match family {
        Family::V4 => (Ipv4Addr::UNSPECIFIED, port).into(),
        Family::V6 => (Ipv6Addr::UNSPECIFIED, port).into(),
    };
    socket
        .bind(&address.into())
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => UdpError::PortInUse { port },
            io::ErrorKind::PermissionDenied => UdpError::PortPermission { port },
            _ => UdpError::Io {
                what: "bind a UDP port",
                source,
            },
        })
}

fn local_port(socket: &socket2::Socket) -> Result<u16, UdpError> {
    let what = "read the port of a UDP socket";
    let address = socket
        .local_addr()
        .map_err(|source| UdpError::Io { what, source })?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

/// IPv6 is not built in, or was switched off with `ipv6.disable=1`.
fn is_family_unknown(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::EADDRNOTAVAIL)
    )
}

/// A segment length of 0 for the whole socket changes nothing, but old kernels refuse it.
fn can_segment(socket: &socket2::Socket) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok()
}

fn joins_arrivals(socket: &socket2::Socket) -> bool {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(file: BorrowedFd<'_>, level: c_int, name: c_int) -> c_int {
        syscall::option(file, level, name).unwrap()
    }

    #[test]
    fn p95_udp_checksums_are_on_in_both_families() {
        let udp = Udp::bind(&UdpConfig::default()).unwrap();
        for (family, file) in udp.fds() {
            match family {
                Family::V4 => assert_eq!(option(file, libc::SOL_SOCKET, libc::SO_NO_CHECK), 0),
                Family::V6 => {
                    assert_eq!(option(file, libc::SOL_UDP, libc::UDP_NO_CHECK6_TX), 0);
                    assert_eq!(option(file, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX), 0);
                }
            }
        }
    }

    #[test]
    fn p93_outer_packets_may_be_fragmented() {
        let udp = Udp::bind(&UdpConfig::default()).unwrap();
        for (family, file) in udp.fds() {
            let discovery = match family {
                Family::V4 => option(file, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
                Family::V6 => option(file, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER),
            };
            assert_eq!(discovery, libc::IP_PMTUDISC_DONT);
        }
    }

    #[test]
    fn p96_both_families_share_one_port() {
        let udp = Udp::bind(&UdpConfig::default()).unwrap();
        assert_ne!(udp.port(), 0);
        assert_eq!(local_port(&udp.v4).unwrap(), udp.port());
        if let Some(v6) = &udp.v6 {
            assert_eq!(local_port(v6).unwrap(), udp.port());
        }
        assert_eq!(udp.fds().count(), 1 + usize::from(udp.v6.is_some()));
    }

    #[test]
    fn p96_only_a_missing_family_is_forgiven() {
        for (errno, forgiven) in [
            (libc::EAFNOSUPPORT, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::EMFILE, false),
            (libc::EADDRINUSE, false),
        ] {
            let source = io::Error::from_raw_os_error(errno);
            let what = "open a UDP socket";
            let socket = if_known(Err(UdpError::Io { what, source }));
            assert_eq!(matches!(socket, Ok(None)), forgiven);
            assert_eq!(socket.is_err(), !forgiven);
        }
    }

    #[test]
    fn a_port_that_is_taken_in_one_family_is_in_use() {
        let udp = Udp::bind(&UdpConfig::default()).unwrap();
        let port = udp.port();
        let again = UdpConfig {
            port,
            ..UdpConfig::default()
        };
        let error = Udp::bind(&again).err().unwrap();
        assert!(
            matches!(error, UdpError::PortInUse { port: told } if told == port),
            "{error}"
        );
        drop(udp);

        let v6 = open(Family::V6, &again);
        let Ok(v6) = v6 else {
            skip("the host has no IPv6");
            return;
        };
        bind_to(&v6, Family::V6, port).unwrap();
        let error = Udp::bind(&again).err().unwrap();
        assert!(
            matches!(error, UdpError::PortInUse { port: told } if told == port),
            "{error}"
        );
    }

    #[test]
    fn buffers_are_as_large_as_asked_for_or_allowed() {
        let bytes = 1 << 20;
        let config = UdpConfig {
            receive_buffer_bytes: bytes,
            send_buffer_bytes: bytes,
            ..UdpConfig::default()
        };
        let udp = Udp::bind(&config).unwrap();
        let allowed: c_int = std::fs::read_to_string("/proc/sys/net/core/rmem_max")
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // The kernel doubles what is set, for its own bookkeeping.
        let expected = 2 * allowed.min(bytes as c_int);
        for (_, file) in udp.fds() {
            assert!(option(file, libc::SOL_SOCKET, libc::SO_RCVBUF) >= expected);
        }
    }

    #[test]
    fn p94_the_mark_is_set_on_both_families_or_refused() {
        let config = UdpConfig {
            fwmark: 51820,
            ..UdpConfig::default()
        };
        match Udp::bind(&config) {
            Err(error) => {
                assert!(matches!(error, UdpError::MarkPermission), "{error}");
                skip("marks need CAP_NET_ADMIN: run this test as root");
            }
            Ok(udp) => {
                for mark in [51820, 0, u32::MAX] {
                    udp.set_mark(mark).unwrap();
                    for (_, file) in udp.fds() {
                        assert_eq!(option(file, libc::SOL_SOCKET, libc::SO_MARK), mark as c_int);
                    }
                }
            }
        }
    }

    fn skip(reason: &str) {
        let is_ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
        assert!(!is_ci, "{reason}");
        println!("skipped: {reason}");
    }
}
