//! Network namespaces: made, entered, named, and become root in.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::Signal;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

/// Where `ip netns` looks for named namespaces.
const NAMED_DIRECTORY: &str = "/run/netns";

/// The network namespace of the calling thread. `/proc/self/ns` would be the main thread's.
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// A network namespace, kept alive by its file descriptor. When the last descriptor, socket and
/// thread in it is gone the kernel removes it with everything in it.
#[derive(Debug)]
pub struct Namespace {
    fd: OwnedFd,
    /// Where it is bound to a name; unbound on drop.
    bound: Option<PathBuf>,
}

impl Namespace {
    /// A new, empty network namespace; its loopback interface is down.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn new() -> io::Result<Self> {
        on_fresh_thread(|| {
            unshare(UnshareFlags::NEWNET)?;
            Self::open(OF_THIS_THREAD)
        })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// When `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::open(OF_THIS_THREAD)
    }

    /// The namespace behind a path such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// When the path can't be opened. That it is a namespace shows only on entering.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            fd: File::open(path)?.into(),
            bound: None,
        })
    }

    /// Runs `inside` on a new thread that is in this namespace, and returns what it returned.
    /// A panic in it goes on in the caller. Sockets opened inside stay in the namespace.
    ///
    /// `/proc/net` and `/sys` still show the process's own: use `/proc/thread-self/net` inside.
    ///
    /// # Errors
    /// `PermissionDenied` without `CAP_SYS_ADMIN`; no thread to be had.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> io::Result<T> {
        on_fresh_thread(|| {
            self.move_here()?;
            Ok(inside())
        })
    }

    /// Starts a named thread in this namespace.
    ///
    /// # Errors
    /// No thread to be had. That the namespace could not be entered is what the thread returns.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        inside: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<thread::JoinHandle<io::Result<T>>> {
        let there = self.try_clone()?;
        thread::Builder::new().name(name.into()).spawn(move || {
            there.move_here()?;
            Ok(inside())
        })
    }

    /// Makes the process that `command` starts live in this namespace.
    ///
    /// # Errors
    /// When the descriptor can't be duplicated. That the namespace could not be entered is what
    /// spawning reports.
    pub fn command<'a>(&self, command: &'a mut Command) -> io::Result<&'a mut Command> {
        let there = self.try_clone()?;
        // SAFETY: between fork and exec the closure makes one system call, setns, and neither
        // allocates nor takes a lock.
        Ok(unsafe { command.pre_exec(move || there.move_here()) })
    }

    /// Another handle to the same namespace, without its name.
    ///
    /// # Errors
    /// When the descriptor can't be duplicated.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            fd: self.fd.try_clone()?,
            bound: None,
        })
    }

    /// Binds the namespace to `/run/netns/NAME`, where `ip netns` and `nsenter` find it, until
    /// this handle is dropped.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; `PermissionDenied` without `CAP_SYS_ADMIN`.
    pub fn bind(&mut self, name: &str) -> io::Result<&Path> {
        std::fs::create_dir_all(NAMED_DIRECTORY)?;
        let path = Path::new(NAMED_DIRECTORY).join(name);
        File::options().write(true).create_new(true).open(&path)?;
        let bound = self.enter(|| rustix::mount::mount_bind(OF_THIS_THREAD, &path));
        if let Err(error) = bound.and_then(|mounted| Ok(mounted?)) {
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        Ok(self.bound.insert(path))
    }

    /// Number by which the kernel tells namespaces apart: the inode of `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// When the descriptor can't be asked.
    pub fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.fd)?.st_ino)
    }

    fn move_here(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(
            self.fd.as_fd(),
            Some(LinkNameSpaceType::Network),
        )?)
    }
}

/// The namespace behind a descriptor that was got elsewhere.
impl From<OwnedFd> for Namespace {
    fn from(fd: OwnedFd) -> Self {
        Self { fd, bound: None }
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Some(path) = &self.bound else { return };
        let unmounted = rustix::mount::unmount(path, UnmountFlags::DETACH);
        let removed = unmounted
            .map_err(io::Error::from)
            .and_then(|()| std::fs::remove_file(path));
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "a named namespace stays behind");
        }
    }
}

/// How [`isolate`] came by its privileges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// With the privileges that the process had.
    Privileged,
    /// As root of a user namespace of its own: root within, an ordinary user without.
    UserNamespace,
}

/// Why a process can't have namespaces of its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IsolationError {
    /// A user namespace was refused.
    #[error("this system does not let {who} make namespaces ({error}): {hint}", who = caller())]
    Refused {
        /// The kernel's answer.
        error: io::Error,
        /// What an administrator could do about it.
        hint: String,
    },
    /// Threads had been started before.
    #[error("a process with several threads can't make a user namespace")]
    Threads,
    /// The namespace is there, but root in it could not be had.
    #[error("could not become root in a user namespace, writing {file}: {error}: {hint}")]
    Map {
        /// The file under `/proc` that maps users or groups.
        file: &'static str,
        /// The kernel's answer.
        error: io::Error,
        /// What an administrator could do about it.
        hint: String,
    },
    /// Mounts could not be made private.
    #[error("could not make the mounts of a new mount namespace private: {error}: {hint}")]
    Mounts {
        /// The kernel's answer.
        error: io::Error,
        /// What an administrator could do about it.
        hint: String,
    },
}

/// Moves the process into a mount and a network namespace of its own; where it lacks the privilege
/// for that, into a user namespace first, as root there. To be called first thing: only threads
/// that are started later follow. On an error the process may be half inside and should end.
///
/// # Errors
/// See [`IsolationError`].
pub fn isolate() -> Result<Isolation, IsolationError> {
    let wanted = UnshareFlags::NEWNS | UnshareFlags::NEWNET;
    let isolation = match unshare(wanted) {
        Ok(()) => Isolation::Privileged,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            become_root(wanted)?;
            Isolation::UserNamespace
        }
        Err(error) => {
            return Err(IsolationError::Refused {
                error,
                hint: hint(),
            });
        }
    };
    // What is mounted from here on must not show outside.
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", flags).map_err(|errno| IsolationError::Mounts {
        error: errno.into(),
        hint: hint(),
    })?;
    Ok(isolation)
}

/// Covers `directory` with an empty file system in memory, owner root and nobody else. It goes with
/// the mount namespace; so call [`isolate`] before.
///
/// # Errors
/// When there is no such directory; `PermissionDenied` without `CAP_SYS_ADMIN`.
pub fn cover_with_tmpfs(directory: impl AsRef<Path>) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount(
        "weapon",
        directory.as_ref(),
        "tmpfs",
        flags,
        c"mode=0700",
    )?)
}

/// Makes the kernel kill the process that `command` starts when the thread that starts it ends,
/// however it ends: the last resort of a parent that wants to leave nothing behind.
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = rustix::process::getpid();
    let tie = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before.
        if rustix::process::getppid() == Some(parent) {
            Ok(())
        } else {
            Err(Errno::SRCH.into())
        }
    };
    // SAFETY: between fork and exec the closure makes two system calls, and neither allocates nor
    // takes a lock.
    unsafe { command.pre_exec(tie) }
}

fn become_root(wanted: UnshareFlags) -> Result<(), IsolationError> {
    // After the call both would be "nobody" until they are mapped.
    let (user, group) = (rustix::process::getuid(), rustix::process::getgid());
    unshare(UnshareFlags::NEWUSER | wanted).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL) => IsolationError::Threads,
        _ => IsolationError::Refused {
            error,
            hint: hint(),
        },
    })?;
    let map = |file: &'static str, text: String| {
        std::fs::write(file, text).map_err(|error| IsolationError::Map {
            file,
            error,
            hint: hint(),
        })
    };
    map("/proc/self/uid_map", format!("0 {} 1", user.as_raw()))?;
    // Without this an unprivileged process may not map its group (user_namespaces(7)).
    map("/proc/self/setgroups", "deny".into())?;
    map("/proc/self/gid_map", format!("0 {} 1", group.as_raw()))
}

fn caller() -> &'static str {
    if rustix::process::geteuid().is_root() {
        "this (restricted) root user"
    } else {
        "ordinary users"
    }
}

/// The switches that are known to forbid user namespaces, as this system has them.
fn hint() -> String {
    let switches = [
        (
            "/proc/sys/user/max_user_namespaces",
            "0",
            "sysctl user.max_user_namespaces=10000",
        ),
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let found = switches.iter().find(|(file, forbidden, _)| {
        std::fs::read_to_string(file).is_ok_and(|value| value.trim() == *forbidden)
    });
    match found {
        Some((_, _, remedy)) => format!("run as root, or let an administrator run `{remedy}`"),
        None => "run as root; in a container, with CAP_SYS_ADMIN and CAP_NET_ADMIN".into(),
    }
}

/// A thread's namespace can't safely be changed back: an error on the way would leave it astray.
/// So whoever enters one does it on a thread that ends with it.
fn on_fresh_thread<T: Send>(inside: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let running = thread::Builder::new().spawn_scoped(scope, inside)?;
        running.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

fn unshare(what: UnshareFlags) -> io::Result<()> {
    // SAFETY: unshare is unsafe for CLONE_FILES alone, which would give this thread descriptors
    // of its own; no caller asks for it.
    Ok(unsafe { rustix::thread::unshare_unsafe(what) }?)
}
