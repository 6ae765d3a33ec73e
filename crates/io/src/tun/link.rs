//! The interface of a TUN device wherever it is: it may be moved to a network namespace that no
//! netlink socket of ours can see.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd},
};

use super::{
    Tun,
    open::{Request, control_socket},
};
use crate::namespace::Namespace;

/// `_IO('T', 227)` of linux/if_tun.h.
const TUNGETDEVNETNS: libc::Ioctl = 0x54e3;

/// An interface at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkState {
    /// Its name, which may change.
    pub name: String,
    /// Whether it is set up.
    pub up: bool,
    /// Bytes of the longest packet.
    pub mtu: u32,
    /// Whether it is in another network namespace than the one it was made in.
    pub moved: bool,
}

/// Looks at the interface of a TUN device. Keeps the device alive as long as it lives itself.
#[derive(Debug)]
pub struct TunLink {
    file: OwnedFd,
    /// Where the interface was made.
    home: u64,
}

impl TunLink {
    /// For `tun`, which was made in the network namespace of this thread.
    ///
    /// # Errors
    /// No more files.
    pub fn of(tun: &Tun) -> io::Result<Self> {
        Ok(Self {
            file: tun.first_queue().try_clone_to_owned()?,
            home: Namespace::current()?.inode()?,
        })
    }

    /// How the interface is at this moment.
    ///
    /// Neither the namespace nor a socket in it is kept: either would keep the namespace alive
    /// after `ip netns delete`, and with it the interface (U10).
    ///
    /// # Errors
    /// One for which [`is_gone`](super::is_gone) holds, if the interface was deleted; that of a
    /// process that may not look into other namespaces (CAP_SYS_ADMIN).
    pub fn look(&self) -> io::Result<LinkState> {
        let mut request = Request::new("");
        request.submit(self.file.as_fd(), libc::TUNGETIFF as libc::Ioctl)?;
        let name = request.name();
        let namespace = self.namespace()?;
        let moved = namespace.inode()? != self.home;
        let (up, mtu) = if moved {
            namespace.enter(|| flags_and_mtu(&name))??
        } else {
            flags_and_mtu(&name)?
        };
        Ok(LinkState {
            name,
            up,
            mtu,
            moved,
        })
    }

    fn namespace(&self) -> io::Result<Namespace> {
        // SAFETY: TUNGETDEVNETNS takes no argument and returns a new descriptor or -1.
        let fd = unsafe { libc::ioctl(self.file.as_raw_fd(), TUNGETDEVNETNS) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
    }
}

/// In the network namespace of this thread.
fn flags_and_mtu(name: &str) -> io::Result<(bool, u32)> {
    let control = control_socket()?;
    let mut request = Request::new(name);
    request.submit(control.as_fd(), libc::SIOCGIFFLAGS as libc::Ioctl)?;
    let [low, high, ..] = request.value();
    let flags = u16::from_ne_bytes([low, high]);
    let mut request = Request::new(name);
    request.submit(control.as_fd(), libc::SIOCGIFMTU as libc::Ioctl)?;
    let mtu = u32::from_ne_bytes(request.value());
    Ok((i32::from(flags) & libc::IFF_UP != 0, mtu))
}

/// The index of the interface `name` in the network namespace of this thread.
pub fn index_of(name: &str) -> Option<u32> {
    rustix::net::netdevice::name_to_index(control_socket().ok()?, name).ok()
}
