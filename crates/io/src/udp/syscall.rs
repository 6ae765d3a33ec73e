//! HOT: sendmmsg, recvmmsg and socket options.
//!
//! Headers, addresses and control messages live on the stack and are built right before the call,
//! so that no pointer outlives what it points to.

use std::{
    ffi::{c_int, c_uint, c_void},
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use weapon_wire::Endpoint;

use super::{Arrival, SLOT_BYTES, Train, address::RawAddress, control::Control};

/// Most trains of one call.
const TRAINS_PER_CALL: usize = 32;

const _: () = assert!(align_of::<RawAddress>() >= align_of::<libc::sockaddr_in6>());
const _: () = assert!(RawAddress::LEN >= size_of::<libc::sockaddr_in6>());
const _: () = assert!(align_of::<Control>() >= align_of::<libc::cmsghdr>());

/// Sends as many of `trains` as one call takes, each from its place in `buffer`.
pub(super) fn send(file: BorrowedFd<'_>, buffer: &[u8], trains: &[Train]) -> io::Result<usize> {
    match trains.len() {
        0 => Ok(0),
        // The usual case by far, without the cost of a long array.
        1 => send_up_to::<1>(file, buffer, trains),
        2..=4 => send_up_to::<4>(file, buffer, trains),
        _ => send_up_to::<TRAINS_PER_CALL>(file, buffer, trains),
    }
}

fn send_up_to<const MAX: usize>(
    file: BorrowedFd<'_>,
    buffer: &[u8],
    trains: &[Train],
) -> io::Result<usize> {
    let mut addresses = [RawAddress::EMPTY; MAX];
    let mut controls = [Control::EMPTY; MAX];
    let mut slices = [EMPTY_SLICE; MAX];
    let mut headers = [empty_header(); MAX];
    let parts = headers
        .iter_mut()
        .zip(&mut slices)
        .zip(&mut addresses)
        .zip(&mut controls);
    let mut count = 0;
    for (train, (((header, slice), address), control)) in trains.iter().zip(parts) {
        let bytes = &buffer[train.start..][..train.len];
        // The kernel only reads what it sends; `iovec` has one pointer type for both ways.
        *slice = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let (raw, address_len) = RawAddress::encode(&train.to.remote);
        *address = raw;
        header.msg_hdr.msg_name = address.as_mut_ptr();
        header.msg_hdr.msg_namelen = address_len as libc::socklen_t;
        header.msg_hdr.msg_iov = slice;
        header.msg_hdr.msg_iovlen = 1;
        let control_len = control.encode(train);
        if control_len > 0 {
            header.msg_hdr.msg_control = control.as_mut_ptr();
            header.msg_hdr.msg_controllen = control_len as _;
        }
        count += 1;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the first `count` headers point to the address, the slice and the control messages
    // built above, and the slices into `buffer`: all live, and none moves, through the call.
    let sent = unsafe {
        libc::sendmmsg(
            file.as_raw_fd(),
            headers.as_mut_ptr(),
            count as c_uint,
            flags as _,
        )
    };
    result(sent)
}

/// Receives a train into each slot of `buffer`, as long as there are trains and `arrivals`.
pub(super) fn receive(
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    arrivals: &mut [Arrival],
) -> io::Result<usize> {
    match arrivals.len() {
        0 => Ok(0),
        1 => receive_up_to::<1>(file, buffer, arrivals),
        2..=8 => receive_up_to::<8>(file, buffer, arrivals),
        _ => receive_up_to::<TRAINS_PER_CALL>(file, buffer, arrivals),
    }
}

fn receive_up_to<const MAX: usize>(
    file: BorrowedFd<'_>,
    buffer: &mut [u8],
    arrivals: &mut [Arrival],
) -> io::Result<usize> {
    let mut addresses = [RawAddress::EMPTY; MAX];
    let mut controls = [Control::EMPTY; MAX];
    let mut slices = [EMPTY_SLICE; MAX];
    let mut headers = [empty_header(); MAX];
    let parts = headers
        .iter_mut()
        .zip(&mut slices)
        .zip(&mut addresses)
        .zip(&mut controls);
    let slots = buffer.chunks_exact_mut(SLOT_BYTES).zip(arrivals.iter());
    let mut count = 0;
    for ((slot, _), (((header, slice), address), control)) in slots.zip(parts) {
        *slice = libc::iovec {
            iov_base: slot.as_mut_ptr().cast(),
            iov_len: slot.len(),
        };
        header.msg_hdr.msg_name = address.as_mut_ptr();
        header.msg_hdr.msg_namelen = RawAddress::LEN as libc::socklen_t;
        header.msg_hdr.msg_iov = slice;
        header.msg_hdr.msg_iovlen = 1;
        header.msg_hdr.msg_control = control.as_mut_ptr();
        header.msg_hdr.msg_controllen = Control::LEN as _;
        count += 1;
    }
    // SAFETY: the first `count` headers point to an address and control messages of the length
    // given and to a slot of `buffer` of their own: all live and borrowed mutably through the call.
    let received = unsafe {
        libc::recvmmsg(
            file.as_raw_fd(),
            headers.as_mut_ptr(),
            count as c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    let received = result(received)?;
    let filled = headers.iter().zip(&addresses).zip(&controls).take(received);
    for (arrival, ((header, address), control)) in arrivals.iter_mut().zip(filled) {
        *arrival = arrived(header, address, control);
    }
    Ok(received)
}

#[allow(
    clippy::unnecessary_cast,
    reason = "msg_controllen has 32 bits with musl"
)]
fn arrived(header: &libc::mmsghdr, address: &RawAddress, control: &Control) -> Arrival {
    let len = header.msg_len as usize;
    let labels = control.decode(header.msg_hdr.msg_controllen as usize);
    let remote = address.decode(header.msg_hdr.msg_namelen as usize);
    let from = Endpoint::new(remote.unwrap_or(UNKNOWN));
    Arrival {
        from: labels
            .source
            .map_or(from, |source| from.with_source(source)),
        tos: labels.tos,
        len: len.min(SLOT_BYTES),
        stride: labels.stride.unwrap_or(len).clamp(1, len.max(1)),
        // A sender that cannot be read is no more worth than a datagram that cannot.
        truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || remote.is_none(),
    }
}

/// Stands for an address that the kernel never gives.
pub(super) const UNKNOWN: std::net::SocketAddr = std::net::SocketAddr::V4(
    std::net::SocketAddrV4::new(std::net::Ipv4Addr::UNSPECIFIED, 0),
);

const EMPTY_SLICE: libc::iovec = libc::iovec {
    iov_base: ptr::null_mut(),
    iov_len: 0,
};

fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is made of integers and raw pointers, for which zero is a value. It has
    // private padding on some platforms and can be made in no other way.
    unsafe { std::mem::zeroed() }
}

/// Sets an option that is an `int`.
pub(super) fn set_option(
    file: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    let at: *const c_void = (&raw const value).cast();
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `at` points to `len` bytes, the local `value`, which lives through the call.
    result(unsafe { libc::setsockopt(file.as_raw_fd(), level, name, at, len) }).map(drop)
}

/// Has `program` choose which of the sockets that share a port with this one gets a datagram.
pub(super) fn direct(file: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        // The kernel only reads it; `sock_fprog` has one pointer type for both ways.
        filter: program.as_ptr().cast_mut(),
    };
    let at: *const c_void = (&raw const program).cast();
    let len = size_of_val(&program) as libc::socklen_t;
    let name = libc::SO_ATTACH_REUSEPORT_CBPF;
    // SAFETY: `at` points to `len` bytes, the local above, which points to `len` instructions; both
    // live through the call, and the kernel keeps a copy of its own.
    result(unsafe { libc::setsockopt(file.as_raw_fd(), libc::SOL_SOCKET, name, at, len) }).map(drop)
}

/// Reads an option that is an `int`.
pub(super) fn option(file: BorrowedFd<'_>, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let at: *mut c_void = (&raw mut value).cast();
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `at` points to `len` bytes, the local `value`, and `len` is a local too; both live
    // through the call.
    result(unsafe { libc::getsockopt(file.as_raw_fd(), level, name, at, &raw mut len) })?;
    Ok(value)
}

fn result(returned: c_int) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}
