//! What a service manager is told, and what it keeps for us: systemd's protocol of notifications
//! (sd_notify(3)), a datagram of lines to the socket that `NOTIFY_SOCKET` names.
//!
//! The crate `sd-notify` knows no abstract socket, and its file store brings another crate; with
//! rustix, which is here anyway, it is this file.

use std::{
    env,
    io::IoSlice,
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{
        AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
        SocketFlags, SocketType, sendmsg_addr, socket_with,
    },
    pipe::{PipeFlags, pipe_with},
    time::{ClockId, clock_gettime},
};

/// How long a manager may take to read what it was told.
const BARRIER_MAX: Timespec = Timespec {
    tv_sec: 2,
    tv_nsec: 0,
};

/// The way to the service manager, if one has started us and wants to hear of it.
#[derive(Debug)]
pub struct Notifier {
    to: Option<(OwnedFd, SocketAddrUnix)>,
}

impl Notifier {
    /// As the environment says.
    pub fn of_environment() -> Self {
        let name = env::var_os("NOTIFY_SOCKET").unwrap_or_default();
        Self::to(name.as_bytes())
    }

    /// To the socket of this name: a path, or `@` and the name of an abstract one.
    fn to(name: &[u8]) -> Self {
        let address = match name {
            [] => return Self { to: None },
            [b'@', name @ ..] => SocketAddrUnix::new_abstract_name(name),
            path => SocketAddrUnix::new(path),
        };
        let open = || {
            let (family, kind) = (AddressFamily::UNIX, SocketType::DGRAM);
            let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
            Ok((socket, address?))
        };
        let to = open().inspect_err(|error: &Errno| {
            tracing::warn!(%error, "the service manager hears nothing of us");
        });
        Self { to: to.ok() }
    }

    /// Whether anybody hears.
    pub fn is_heard(&self) -> bool {
        self.to.is_some()
    }

    /// Tells lines such as `READY=1`.
    pub fn tell(&self, lines: &str) {
        self.send(lines, &[]);
    }

    /// Gives `file` into the manager's keeping under this name. It comes back to the process that
    /// is started next, unless the service is stopped.
    pub fn keep(&self, name: &str, file: BorrowedFd<'_>) {
        self.send(&format!("FDSTORE=1\nFDNAME={name}"), &[file]);
    }

    /// Takes what has this name out of the manager's keeping.
    pub fn keep_no_more(&self, name: &str) {
        self.send(&format!("FDSTOREREMOVE=1\nFDNAME={name}"), &[]);
    }

    /// Waits until the manager has read all that it was told, but not for ever.
    pub fn wait(&self) {
        if !self.is_heard() {
            return;
        }
        let Ok((ours, theirs)) = pipe_with(PipeFlags::CLOEXEC) else {
            return;
        };
        self.send("BARRIER=1", &[theirs.as_fd()]);
        drop(theirs);
        // Readable, as it is closed, when the manager has closed its end.
        let _in_time = poll(&mut [PollFd::new(&ours, PollFlags::IN)], Some(&BARRIER_MAX));
    }

    fn send(&self, lines: &str, files: &[BorrowedFd<'_>]) {
        let Some((socket, address)) = &self.to else {
            return;
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        let lines = [IoSlice::new(lines.as_bytes())];
        // One that is overrun is no reason to stand still, but for the moment that it needs.
        let sent = sendmsg_addr(socket, address, &lines, &mut control, SendFlags::NOSIGNAL);
        if let Err(error) = sent {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

/// In which time the manager wants to hear `WATCHDOG=1` again and again, if it does of us.
pub fn watchdog() -> Option<Duration> {
    let number = |name| env::var(name).ok()?.parse::<u64>().ok();
    if number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id())) {
        return None;
    }
    let micros = number("WATCHDOG_USEC").filter(|&micros| micros != 0)?;
    Some(Duration::from_micros(micros))
}

/// What time it is, as the manager wants to know of a reload.
pub fn monotonic_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanos / 1000
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::{
            linux::net::SocketAddrExt,
            unix::net::{SocketAddr, UnixDatagram},
        },
    };

    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

    use super::*;

    fn heard(socket: &UnixDatagram) -> (String, Vec<OwnedFd>) {
        let mut text = [0; 200];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut into = [std::io::IoSliceMut::new(&mut text)];
        let received = recvmsg(socket, &mut into, &mut control, RecvFlags::empty()).unwrap();
        let files = control.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => files.collect(),
            _ => Vec::new(),
        });
        let files = files.collect();
        (
            String::from_utf8_lossy(&text[..received.bytes]).into_owned(),
            files,
        )
    }

    #[test]
    fn a_path_and_an_abstract_name_are_reached() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("weapon-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, name) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.display().to_string(),
            ),
            (
                UnixDatagram::bind_addr(&address).unwrap(),
                format!("@{name}"),
            ),
        ] {
            let notifier = Notifier::to(name.as_bytes());
            notifier.tell("READY=1");
            let (text, files) = heard(&socket);
            assert_eq!((text.as_str(), files.len()), ("READY=1", 0));
        }
        let nobody = Notifier::to(b"");
        assert!(!nobody.is_heard());
        nobody.tell("READY=1");
        nobody.wait();
    }

    #[test]
    fn a_file_is_kept_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str().as_bytes());
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"this").unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        notifier.keep("lane-0-v4", file.as_fd());
        let (text, mut files) = heard(&socket);
        assert_eq!(text, "FDSTORE=1\nFDNAME=lane-0-v4");
        let mut contents = String::new();
        let mut kept = std::fs::File::from(files.remove(0));
        kept.read_to_string(&mut contents).unwrap();
        assert_eq!(contents, "this");
        notifier.keep_no_more("lane-0-v4");
        assert_eq!(heard(&socket).0, "FDSTOREREMOVE=1\nFDNAME=lane-0-v4");
    }

    #[test]
    fn the_barrier_opens_when_the_manager_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::to(path.as_os_str().as_bytes());
        let waiting = std::thread::spawn(move || notifier.wait());
        let (text, files) = heard(&socket);
        assert_eq!((text.as_str(), files.len()), ("BARRIER=1", 1));
        assert!(!waiting.is_finished(), "it waits for us");
        drop(files);
        waiting.join().unwrap();
    }
}
