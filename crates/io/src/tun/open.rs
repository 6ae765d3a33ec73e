//! Opening a TUN device: ioctls, and what can be wrong with them.

use std::{
    ffi::{c_int, c_ulong},
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
};
use weapon_wire::VnetHeader;

use super::{Offloads, QUEUES_MAX, Tun};

/// Where the kernel offers TUN devices.
const CLONE_DEVICE: &str = "/dev/net/tun";

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TunConfig {
    /// 1 to 15 bytes; `%d` in it is replaced by the first free number, see [`Tun::name`].
    pub name: String,
    /// Longest packet, in bytes of IP; 0 leaves the kernel's 1500.
    pub mtu: u32,
    /// What to ask for; [`Tun::offloads`] says what was granted.
    pub offloads: Offloads,
    /// How many queues: 1 to [`QUEUES_MAX`].
    pub queues: usize,
}

/// Why a TUN device could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TunError {
    /// The kernel has no TUN, or the container was not given the device file.
    #[error(
        "{CLONE_DEVICE} is missing: load the module (modprobe tun), or give the container the \
         device (--device {CLONE_DEVICE})"
    )]
    NoDevice,
    /// CAP_NET_ADMIN is missing in the user namespace that owns the network namespace.
    #[error("no permission to create the interface {name}: run as root, or with CAP_NET_ADMIN")]
    Permission {
        /// The interface.
        name: String,
    },
    /// There is an interface of that name.
    #[error(
        "an interface named {name} exists: another gateway runs with this name, or one has left \
         it behind (ip link delete {name})"
    )]
    NameInUse {
        /// The interface.
        name: String,
    },
    /// Linux allows no such name.
    #[error(
        "{name:?} cannot name an interface: 1 to 15 bytes are needed, without '/', ':', spaces, \
         and neither '.' nor '..'"
    )]
    BadName {
        /// What was asked for.
        name: String,
    },
    /// The kernel refuses the MTU.
    #[error("the interface {name} cannot have an MTU of {mtu}: 68 to 65535 is possible")]
    BadMtu {
        /// The interface.
        name: String,
        /// What was asked for, in bytes.
        mtu: u32,
    },
    /// A device that was opened otherwise than we do it.
    #[error(
        "the device {name} was not opened as a TUN device with IFF_NO_PI and IFF_VNET_HDR, so it \
         cannot be taken over"
    )]
    Foreign {
        /// The interface.
        name: String,
    },
    /// Anything else.
    #[error("cannot {what} for the interface {name}")]
    Io {
        /// The interface.
        name: String,
        /// What was tried.
        what: &'static str,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Tun {
    /// Creates the interface, down and without addresses, in the network namespace of this thread.
    ///
    /// IFF_TUN_EXCL keeps us off an interface that exists already (obligation U11).
    ///
    /// # Errors
    ///
    /// See [`TunError`]; no interface is left behind.
    pub fn open(config: &TunConfig) -> Result<Self, TunError> {
        let name = &config.name;
        if !is_possible_name(name) {
            return Err(TunError::BadName { name: name.clone() });
        }
        let mut flags = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if config.queues > 1 {
            flags |= libc::IFF_MULTI_QUEUE;
        }
        let (file, name) = attach(name, flags | libc::IFF_TUN_EXCL)?;
        let mut queues = vec![file];
        for _ in 1..config.queues.min(QUEUES_MAX) {
            queues.push(attach(&name, flags)?.0);
        }
        let (tun, control) = prepared(queues, name, config.offloads)?;
        if config.mtu != 0 {
            set_mtu(control.as_fd(), tun.name(), config.mtu)?;
        }
        Ok(tun)
    }

    /// Takes over a device that somebody else has opened, and its interface as it is (U03).
    ///
    /// # Errors
    ///
    /// See [`TunError`]; the file is closed then.
    pub fn adopt(file: OwnedFd, offloads: Offloads) -> Result<Self, TunError> {
        let mut request = Request::new("");
        request
            .submit(file.as_fd(), libc::TUNGETIFF as libc::Ioctl)
            .map_err(|error| failed("of the given file", "find the device", error))?;
        let name = request.name();
        let [low, high, ..] = request.value();
        let needed = libc::IFF_TUN | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
        if c_int::from(u16::from_ne_bytes([low, high])) & needed != needed {
            return Err(TunError::Foreign { name });
        }
        rustix::io::ioctl_fionbio(&file, true)
            .map_err(|error| failed(&name, "make the file non-blocking", error))?;
        Ok(prepared(vec![file], name, offloads)?.0)
    }
}

/// The device of these files, and a socket to control its interface with.
fn prepared(
    queues: Vec<OwnedFd>,
    name: String,
    offloads: Offloads,
) -> Result<(Tun, OwnedFd), TunError> {
    let file = &queues[0];
    set_vnet_header_len(file.as_fd()).map_err(|e| failed(&name, "set the header length", e))?;
    let offloads = negotiate(file.as_fd(), offloads)
        .map_err(|error| failed(&name, "negotiate offloads", error))?;
    let control =
        control_socket().map_err(|error| failed(&name, "open a control socket", error))?;
    let ifindex = rustix::net::netdevice::name_to_index(&control, &name)
        .map_err(|error| failed(&name, "find the index", error))?;
    Ok((Tun::new(queues, name, ifindex, offloads), control))
}

/// Through which interfaces of this thread's network namespace are asked and changed.
pub(super) fn control_socket() -> Result<OwnedFd, Errno> {
    let kind = SocketType::DGRAM;
    socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
}

/// Opens a queue of the interface `name`, which is made if there is none; says its name too.
pub(super) fn attach(name: &str, flags: c_int) -> Result<(OwnedFd, String), TunError> {
    let file = open_clone_device(name)?;
    let mut request = Request::new(name);
    // The flags are 16 bits wide, IFF_TUN_EXCL the highest of them.
    request.set_value(&(flags as u16).to_ne_bytes());
    let name = || name.to_owned();
    request
        .submit(file.as_fd(), libc::TUNSETIFF)
        .map_err(|error| match error {
            Errno::BUSY => TunError::NameInUse { name: name() },
            Errno::PERM | Errno::ACCESS => TunError::Permission { name: name() },
            Errno::INVAL => TunError::BadName { name: name() },
            error => failed(&name(), "create the device", error),
        })?;
    Ok((file, request.name()))
}

fn open_clone_device(name: &str) -> Result<OwnedFd, TunError> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK;
    rustix::fs::open(CLONE_DEVICE, flags, Mode::empty()).map_err(|error| match error {
        Errno::NOENT | Errno::NODEV | Errno::NXIO => TunError::NoDevice,
        Errno::PERM | Errno::ACCESS => TunError::Permission {
            name: name.to_owned(),
        },
        error => failed(name, "open /dev/net/tun", error),
    })
}

fn failed(name: &str, what: &'static str, error: Errno) -> TunError {
    TunError::Io {
        name: name.to_owned(),
        what,
        source: error.into(),
    }
}

/// The kernel's `dev_valid_name`, and no NUL, at which the kernel would stop reading.
fn is_possible_name(name: &str) -> bool {
    (1..libc::IFNAMSIZ).contains(&name.len())
        && name != "."
        && name != ".."
        && !name
            .bytes()
            .any(|byte| matches!(byte, b'/' | b':' | 0) || byte.is_ascii_whitespace())
        && !name.contains('\x0b') // a space to C, not to Rust
}

/// A persistent device may have been left with another length.
fn set_vnet_header_len(file: BorrowedFd<'_>) -> Result<(), Errno> {
    let len = VnetHeader::LEN as c_int;
    // SAFETY: TUNSETVNETHDRSZ reads one int, and `len` is one that lives through the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETVNETHDRSZ, &raw const len) })
}

/// Asks for as much of `wanted` as this kernel knows.
///
/// TUN_F_TSO_ECN is left out: the rare superpacket with CWR is cut by the kernel.
fn negotiate(file: BorrowedFd<'_>, wanted: Offloads) -> Result<Offloads, Errno> {
    const TCP: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6;
    const UDP: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;
    let ladder = [
        (
            TCP | UDP,
            Offloads {
                tcp: true,
                udp: true,
            },
        ),
        (
            TCP,
            Offloads {
                tcp: true,
                udp: false,
            },
        ),
        (0, Offloads::default()),
    ];
    let mut last = Errno::INVAL;
    for (flags, granted) in ladder {
        if (granted.tcp && !wanted.tcp) || (granted.udp && !wanted.udp) {
            continue;
        }
        // SAFETY: TUNSETOFFLOAD takes its argument by value and touches no memory of ours.
        match check(unsafe {
            libc::ioctl(file.as_raw_fd(), libc::TUNSETOFFLOAD, c_ulong::from(flags))
        }) {
            Ok(()) => return Ok(granted),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn set_mtu(control: BorrowedFd<'_>, name: &str, mtu: u32) -> Result<(), TunError> {
    let refused = || TunError::BadMtu {
        name: name.to_owned(),
        mtu,
    };
    let value = c_int::try_from(mtu).map_err(|_| refused())?;
    let mut request = Request::new(name);
    request.set_value(&value.to_ne_bytes());
    request
        .submit(control, libc::SIOCSIFMTU as libc::Ioctl)
        .map_err(|error| match error {
            Errno::INVAL => refused(),
            error => failed(name, "set the MTU", error),
        })
}

/// `struct ifreq`: a name of 16 bytes and a union of which the first bytes are used.
#[repr(C, align(8))]
pub(super) struct Request([u8; 40]);

impl Request {
    /// `name` has been checked to leave room for its NUL.
    pub(super) fn new(name: &str) -> Self {
        let mut bytes = [0; 40];
        let len = name.len().min(libc::IFNAMSIZ - 1);
        bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
        Self(bytes)
    }

    fn set_value(&mut self, value: &[u8]) {
        self.0[libc::IFNAMSIZ..][..value.len()].copy_from_slice(value);
    }

    /// The first bytes of the union.
    pub(super) fn value(&self) -> [u8; 4] {
        let mut value = [0; 4];
        value.copy_from_slice(&self.0[libc::IFNAMSIZ..][..4]);
        value
    }

    pub(super) fn name(&self) -> String {
        let name = &self.0[..libc::IFNAMSIZ];
        let len = name
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(name.len());
        String::from_utf8_lossy(&name[..len]).into_owned()
    }

    pub(super) fn submit(
        &mut self,
        file: BorrowedFd<'_>,
        operation: libc::Ioctl,
    ) -> Result<(), Errno> {
        const { assert!(size_of::<Self>() >= size_of::<libc::ifreq>()) };
        const { assert!(align_of::<Self>() >= align_of::<libc::ifreq>()) };
        // SAFETY: the operations submitted here read and write one `struct ifreq`, for which
        // `self` is large and aligned enough, and borrowed mutably through the call.
        check(unsafe { libc::ioctl(file.as_raw_fd(), operation, self.0.as_mut_ptr()) })
    }
}

fn check(result: c_int) -> Result<(), Errno> {
    if result < 0 {
        let error = io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(())
}
