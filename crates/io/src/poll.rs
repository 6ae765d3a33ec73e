//! What a lane sleeps on: epoll, a wake-up by another thread, a deadline.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    buffer::spare_capacity,
    event::{EventfdFlags, epoll, eventfd},
    io::Errno,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};

/// What to be woken for. Errors and hang-ups are always reported as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something can be read.
    Readable,
    /// Something can be written.
    Writable,
}

/// One file that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// The number the file was added with.
    pub token: u64,
    /// Reading gives something (or the error that [`Event::failed`] tells of).
    pub readable: bool,
    /// Writing is possible.
    pub writable: bool,
    /// EPOLLERR or EPOLLHUP: for a TUN its device was deleted (U08); for a socket an error waits.
    pub failed: bool,
}

/// Room for the events of one wait, allocated once.
pub struct Events(Vec<epoll::Event>);

impl Events {
    /// Room for up to `capacity` events of one [`Epoll::wait`]; at least one.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity.max(1)))
    }

    /// What the last wait found.
    pub fn iter(&self) -> impl Iterator<Item = Event> + '_ {
        self.0.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Event {
                token: data.u64(),
                readable: flags.contains(epoll::EventFlags::IN),
                writable: flags.contains(epoll::EventFlags::OUT),
                failed: flags.intersects(epoll::EventFlags::ERR | epoll::EventFlags::HUP),
            }
        })
    }
}

/// A level-triggered epoll instance: a file that still has something is reported again, so that a
/// loop may stop at its budget and lose nothing.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An instance that watches nothing.
    ///
    /// # Errors
    ///
    /// No more files or memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Watches `file`; its events carry `token`.
    ///
    /// # Errors
    ///
    /// The file is watched already, cannot be watched, or the user's limit is reached.
    pub fn add(&self, file: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(
            &self.0,
            file,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// Changes what `file` is watched for.
    ///
    /// # Errors
    ///
    /// The file is not watched.
    pub fn modify(&self, file: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(
            &self.0,
            file,
            epoll::EventData::new_u64(token),
            interest.flags(),
        )?)
    }

    /// Watches `file` no more.
    ///
    /// # Errors
    ///
    /// The file is not watched.
    pub fn remove(&self, file: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, file)?)
    }

    /// Sleeps until a file is ready or `timeout_ms` have passed (`None`: without an end), and says
    /// how many files are. A signal ends the sleep early with none.
    ///
    /// # Errors
    ///
    /// None that a correct program meets.
    pub fn wait(&self, events: &mut Events, timeout_ms: Option<u32>) -> io::Result<usize> {
        let timeout = timeout_ms.map(|ms| Timespec {
            tv_sec: i64::from(ms / 1000),
            tv_nsec: i64::from(ms % 1000) * 1_000_000,
        });
        events.0.clear();
        match epoll::wait(&self.0, spare_capacity(&mut events.0), timeout.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => Err(error.into()),
        }
    }
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::Readable => epoll::EventFlags::IN,
            Self::Writable => epoll::EventFlags::OUT,
        }
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Wakes a thread that sleeps in [`Epoll::wait`]. Many wakes before one drain are one.
pub struct EventFd(OwnedFd);

impl EventFd {
    /// One that is not woken.
    ///
    /// # Errors
    ///
    /// No more files or memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    /// Makes it readable until it is drained.
    pub fn wake(&self) {
        // The one error left is a full counter, and then it is readable already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Takes all wakes so far; says whether there was one.
    pub fn drain(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A deadline on CLOCK_BOOTTIME: becomes readable when it has passed, at once after a suspend.
pub struct TimerFd(OwnedFd);

impl TimerFd {
    /// One that is not armed.
    ///
    /// # Errors
    ///
    /// No more files or memory.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Sets the deadline to `nanos` after boot (in the past: at once), or takes it away.
    ///
    /// # Errors
    ///
    /// None that a correct program meets.
    pub fn arm(&self, nanos: Option<u64>) -> io::Result<()> {
        // Zero would disarm; the kernel takes 63 bits of seconds, far more than any deadline.
        let nanos = nanos.map_or(0, |nanos| nanos.max(1));
        let at = Timespec {
            tv_sec: i64::try_from(nanos / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(nanos % 1_000_000_000).unwrap_or(0),
        };
        let once = Itimerspec {
            it_interval: Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            },
            it_value: at,
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &once)?;
        Ok(())
    }

    /// Takes the expiry, if the deadline has passed; says whether it had.
    pub fn drain(&self) -> bool {
        rustix::io::read(&self.0, &mut [0; 8]).is_ok()
    }
}

impl AsFd for TimerFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::boottime_nanos;

    fn wait(epoll: &Epoll, timeout_ms: u32) -> Vec<Event> {
        let mut events = Events::with_capacity(4);
        let count = epoll.wait(&mut events, Some(timeout_ms)).unwrap();
        let events: Vec<_> = events.iter().collect();
        assert_eq!(events.len(), count);
        events
    }

    #[test]
    fn an_event_is_reported_until_it_is_drained() {
        let (epoll, event) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&event, 7, Interest::Readable).unwrap();
        assert_eq!(wait(&epoll, 0), []);
        event.wake();
        event.wake();
        for _ in 0..2 {
            let seen = Event {
                token: 7,
                readable: true,
                writable: false,
                failed: false,
            };
            assert_eq!(wait(&epoll, 1000), [seen]);
        }
        assert!(event.drain());
        assert!(!event.drain());
        assert_eq!(wait(&epoll, 0), []);
    }

    #[test]
    fn interest_can_be_changed_and_removed() {
        let (epoll, event) = (Epoll::new().unwrap(), EventFd::new().unwrap());
        epoll.add(&event, u64::MAX, Interest::Readable).unwrap();
        epoll.modify(&event, u64::MAX, Interest::Writable).unwrap();
        let seen = wait(&epoll, 1000);
        assert_eq!(
            (seen.len(), seen[0].token, seen[0].writable),
            (1, u64::MAX, true)
        );
        epoll.remove(&event).unwrap();
        assert_eq!(wait(&epoll, 0), []);
    }

    #[test]
    fn a_timer_fires_once_at_its_deadline() {
        let (epoll, timer) = (Epoll::new().unwrap(), TimerFd::new().unwrap());
        epoll.add(&timer, 1, Interest::Readable).unwrap();
        let deadline = boottime_nanos() + 20_000_000;
        timer.arm(Some(deadline)).unwrap();
        assert_eq!(wait(&epoll, 5000).len(), 1);
        assert!(boottime_nanos() >= deadline);
        assert!(timer.drain());
        assert!(!timer.drain());
    }

    #[test]
    fn a_deadline_in_the_past_fires_and_a_disarmed_one_does_not() {
        let timer = TimerFd::new().unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(&timer, 1, Interest::Readable).unwrap();
        timer.arm(Some(0)).unwrap();
        assert_eq!(wait(&epoll, 1000).len(), 1);
        timer.arm(Some(boottime_nanos() + 5_000_000)).unwrap();
        timer.arm(None).unwrap();
        assert_eq!(wait(&epoll, 20), []);
        timer.arm(Some(u64::MAX)).unwrap();
        assert_eq!(wait(&epoll, 0), []);
    }
}
