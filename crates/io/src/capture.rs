//! What passes an interface: a packet socket that sees every frame in both directions.

use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, SockFilter, Socket, Type};

/// Room for frames that nobody has read yet.
const SOCKET_BUFFER_BYTES: libc::c_int = 32 << 20;

/// The largest packet that segmentation offload makes, with its Ethernet and VLAN headers.
const FRAME_LEN_MAX: usize = 65_535 + 18;

/// Which frames are worth copying to the reader. The kernel decides, frame by frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaptureFilter {
    /// All.
    Everything,
    /// All but UDP datagrams from or to this port. Fragments without a port are shown.
    AllButUdpPort(u16),
}

/// A frame as it passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// From the Ethernet header on; a VLAN tag may be missing. Checksums of frames on their way
    /// out may not be there yet, and one frame may stand for a whole train of segments.
    /// Valid until the next [`Capture::read`].
    pub bytes: &'a [u8],
    /// Since the UNIX epoch, by the kernel's clock, when the frame passed; or when it was read, if
    /// it passed in the first moment after the capture was opened: the kernel takes a while to
    /// begin with time stamps.
    pub at: Duration,
    /// Sent by this host, else received.
    pub outgoing: bool,
}

/// A packet socket on one interface. Needs `CAP_NET_RAW`.
#[derive(Debug)]
pub struct Capture {
    socket: Socket,
    buffer: Vec<u8>,
}

impl Capture {
    /// Begins to capture on `interface` of the calling thread's network namespace. Frames wait in
    /// the socket until they are read.
    ///
    /// # Errors
    /// `NotFound` or `ENODEV` when there is no such interface; `PermissionDenied` without
    /// `CAP_NET_RAW`.
    pub fn open(interface: &str, filter: CaptureFilter) -> io::Result<Self> {
        // Protocol 0 hears nothing: no frame of another interface and none that the filter
        // rejects may slip in before the socket is bound.
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
        socket.set_nonblocking(true)?;
        let index = rustix::net::netdevice::name_to_index(&socket, interface)?;
        let fd = socket.as_raw_fd();
        // Beyond net.core.rmem_max where that is allowed, up to it elsewhere.
        let size = SOCKET_BUFFER_BYTES;
        set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size)
            .or_else(|_| set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUF, size))?;
        set_option(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        if let CaptureFilter::AllButUdpPort(port) = filter {
            socket.attach_filter(&all_but_udp_port(port))?;
        }
        socket.bind(&link_address(index)?)?;
        Ok(Self {
            socket,
            buffer: vec![0; FRAME_LEN_MAX],
        })
    }

    /// The next frame, or `None` when no more have passed so far. Never waits.
    ///
    /// # Errors
    /// `NetworkDown` when the interface is set down or deleted; frames may follow all the same.
    pub fn read(&mut self) -> io::Result<Option<Frame<'_>>> {
        let (len, at, outgoing) = match receive(self.socket.as_raw_fd(), &mut self.buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        };
        let len = len.min(self.buffer.len());
        Ok(Some(Frame {
            bytes: &self.buffer[..len],
            at,
            outgoing,
        }))
    }

    /// How many frames were lost since the last call, because nobody read them in time.
    ///
    /// # Errors
    /// When the socket can't be asked.
    pub fn lost(&self) -> io::Result<u32> {
        // linux/if_packet.h
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut len = size_of_val(&statistics) as libc::socklen_t;
        // SAFETY: the descriptor is open; `statistics` and `len` outlive the call, and `len` says
        // how much room there is.
        let result = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut len,
            )
        };
        if result == 0 {
            Ok(statistics.tp_drops)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Readable when a frame waits.
impl AsFd for Capture {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Length, time and direction of one frame.
fn receive(fd: RawFd, buffer: &mut [u8]) -> io::Result<(usize, Duration, bool)> {
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // Aligned for cmsghdr, with room for one timestamp.
    let mut control = [0u64; 8];
    let mut from = MaybeUninit::<libc::sockaddr_ll>::zeroed();
    // SAFETY: msghdr is plain data, for which zero means "nothing here".
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_name = from.as_mut_ptr().cast();
    message.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: all that `message` points to lives in this function or is `buffer`, and each length
    // is that of its buffer.
    let received = unsafe { libc::recvmsg(fd, &raw mut message, 0) };
    let len = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: zero is a valid sockaddr_ll, and the kernel may have written a better one.
    let from = unsafe { from.assume_init() };
    Ok((
        len,
        timestamp(&message),
        from.sll_pkttype == libc::PACKET_OUTGOING,
    ))
}

/// The kernel's time stamp among the control messages; zero when there is none.
fn timestamp(message: &libc::msghdr) -> Duration {
    // SAFETY: `message` comes from a successful recvmsg, so its control buffer is alive and
    // holds as many bytes as it says.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !next.is_null() {
        // SAFETY: not null, so it points to a header within the control buffer.
        let header = unsafe { *next };
        if (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) {
            // SAFETY: the data follows the header in the same buffer.
            let data = unsafe { libc::CMSG_DATA(next) };
            // SAFETY: SCM_TIMESTAMPNS carries a timespec; nothing is said about its alignment.
            let stamp = unsafe { data.cast::<libc::timespec>().read_unaligned() };
            let nanos = stamp.tv_nsec.clamp(0, 999_999_999) as u32;
            return Duration::new(stamp.tv_sec.max(0) as u64, nanos);
        }
        // SAFETY: both belong together, as above.
        next = unsafe { libc::CMSG_NXTHDR(message, next) };
    }
    Duration::ZERO
}

fn link_address(index: u32) -> io::Result<SockAddr> {
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
        sll_ifindex: i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the addresses that the storage is made for.
    *unsafe { storage.view_as() } = address;
    let len = size_of_val(&address) as libc::socklen_t;
    // SAFETY: the storage holds an address of that length, initialised as a whole.
    Ok(unsafe { SockAddr::new(storage, len) })
}

fn set_option(fd: RawFd, level: i32, option: i32, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the value is a c_int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            fd,
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A classic BPF program (linux/filter.h) over an Ethernet frame. The jumps are relative to the
/// next instruction; HIT ends with "copy nothing", MISS with "copy all".
fn all_but_udp_port(port: u16) -> [SockFilter; 20] {
    const LOAD_HALF: u16 = 0x28; //        ldh [k]
    const LOAD_BYTE: u16 = 0x30; //        ldb [k]
    const LOAD_HALF_INDEXED: u16 = 0x48; // ldh [x + k]
    const LOAD_IP_HEADER_LEN: u16 = 0xb1; // ldxb 4 * ([k] & 0xf)
    const JUMP_EQUAL: u16 = 0x15;
    const JUMP_BITS: u16 = 0x45;
    const RETURN: u16 = 0x06;
    const UDP: u32 = 17;
    let port = u32::from(port);
    let load = |code, at| SockFilter::new(code, 0, 0, at);
    let equal = |value, yes, no| SockFilter::new(JUMP_EQUAL, yes, no, value);
    [
        load(LOAD_HALF, 12),                       //  0 EtherType
        equal(0x0800, 0, 9),                       //  1 IPv4, else 11
        load(LOAD_BYTE, 23),                       //  2 protocol
        equal(UDP, 0, 15),                         //  3 else MISS
        load(LOAD_HALF, 20),                       //  4 fragment offset
        SockFilter::new(JUMP_BITS, 13, 0, 0x1fff), // 5 not the first one: MISS
        load(LOAD_IP_HEADER_LEN, 14),              //  6
        load(LOAD_HALF_INDEXED, 14),               //  7 source port
        equal(port, 9, 0),                         //  8 HIT
        load(LOAD_HALF_INDEXED, 16),               //  9 destination port
        equal(port, 7, 8),                         // 10 HIT or MISS
        equal(0x86dd, 0, 7),                       // 11 IPv6, else MISS
        load(LOAD_BYTE, 20),                       // 12 next header
        equal(UDP, 0, 5),                          // 13 else MISS
        load(LOAD_HALF, 54),                       // 14 source port
        equal(port, 2, 0),                         // 15 HIT
        load(LOAD_HALF, 56),                       // 16 destination port
        equal(port, 0, 1),                         // 17 HIT or MISS
        SockFilter::new(RETURN, 0, 0, 0),          //           18 HIT
        SockFilter::new(RETURN, 0, 0, u32::MAX),   //    19 MISS
    ]
}
