//! HOT: trains that leave.
//!
//! Datagrams are written one behind the other into one buffer. Neighbours to the same endpoint
//! become one train, and all trains of a flush become one system call.
//!
//! What goes wrong is put right at once, so that no datagram is lost to a missing facility:
//!
//! - The kernel refuses a train (EIO: the device cannot checksum it; EINVAL or EMSGSIZE: a
//!   datagram is longer than the path's MTU and has to be fragmented): its datagrams are sent
//!   singly. That depends on the route, so trains are given up for this destination alone, and
//!   tried again after [`REFUSED_TRAINS`], lest a passing route cost throughput for ever.
//! - The source is no longer ours (P80): the train is sent once more without it, and the caller is
//!   told to forget it.
//! - The socket's buffer is full: the lane waits a little, which pushes back on the overlay as a
//!   queue of the kernel would, and then drops.

use std::{io, net::SocketAddr, vec::Drain};

use weapon_wire::Endpoint;

use super::{Family, SEGMENTS_MAX, Socket, TRAIN_BYTES_MAX, Train};

/// Most trains of one flush. Fan-out to many peers fills this before the buffer.
const TRAINS_MAX: usize = 64;

/// Room for four trains of full length: what a flush takes from the cache stays small.
const BUFFER_BYTES: usize = 4 * 65_536;

/// Longest sleep while the socket's buffer is full. It drains 8 MB in this time at 3 Gbit/s; a
/// device that stands still costs one such sleep per flush.
const WAIT_MS: u32 = 20;

/// How often a send that was cut short by something passing is repeated.
const ATTEMPTS_MAX: usize = 4;

/// Most destinations remembered to which the kernel refuses trains; the oldest is forgotten first,
/// at the price of one failing system call.
const REFUSED_MAX: usize = 16;

/// Trains to such a destination that are sent singly before another is tried whole.
const REFUSED_TRAINS: u32 = 4096;

/// Most stale sources kept for the caller; one that does not fit is found stale again.
const STALE_MAX: usize = 64;

/// The send buffer of one thread. Allocated once.
pub struct Sender {
    buffer: Box<[u8]>,
    /// Where in the buffer the next datagram goes.
    end: usize,
    trains: Vec<Train>,
    /// Datagrams of the last train.
    segments: usize,
    /// What the last slot was for, until it is committed.
    pending: Option<Pending>,
    refused: Refused,
    stale: Vec<Endpoint>,
    report: SendReport,
}

#[derive(Clone, Copy)]
struct Pending {
    to: Endpoint,
    tos: u8,
    len: usize,
}

/// What became of the datagrams since the last report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Datagrams that the kernel took.
    pub sent: usize,
    /// Their bytes.
    pub sent_bytes: usize,
    /// Datagrams that it did not take.
    pub failed: usize,
    /// Trains that it refused and whose datagrams were sent singly.
    pub gso_refused: usize,
    /// Sources that are ours no longer; [`Sender::stale_sources`] has them.
    pub stale_sources: usize,
    /// The `errno` of the last failure.
    pub last_error: Option<i32>,
}

impl Sender {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            end: 0,
            trains: Vec::with_capacity(TRAINS_MAX),
            segments: 0,
            pending: None,
            refused: Refused::default(),
            stale: Vec::with_capacity(STALE_MAX),
            report: SendReport::default(),
        }
    }

    /// Room for a datagram of up to `len` bytes, to be filled and committed. Sends what is there
    /// first if there is too much. A slot that is not committed is as if it had never been.
    ///
    /// # Panics
    ///
    /// `len` is above 256 KB; a datagram has less than 64.
    pub fn slot(&mut self, socket: &impl Socket, to: &Endpoint, tos: u8, len: usize) -> &mut [u8] {
        if self.buffer.len() - self.end < len || self.trains.len() == TRAINS_MAX {
            self.deliver(socket);
        }
        self.pending = Some(Pending { to: *to, tos, len });
        &mut self.buffer[self.end..][..len]
    }

    /// Makes the first `len` bytes of the last slot a datagram, to leave with the next flush.
    pub fn commit(&mut self, len: usize) {
        let Some(pending) = self.pending.take() else {
            debug_assert!(false, "there is a slot to commit");
            return;
        };
        let len = len.min(pending.len);
        let start = self.end;
        self.end += len;
        if let Some(last) = self.trains.last_mut()
            && (last.to, last.tos) == (pending.to, pending.tos)
            // A shorter datagram has ended the train.
            && last.len == self.segments * last.stride
            && (1..=last.stride).contains(&len)
            && self.segments < SEGMENTS_MAX
            && last.len + len <= TRAIN_BYTES_MAX
        {
            last.len += len;
            self.segments += 1;
            return;
        }
        self.trains.push(Train {
            to: pending.to,
            tos: pending.tos,
            start,
            len,
            stride: len,
        });
        self.segments = 1;
    }

    /// Sends all that was committed, and reports what was sent since the last flush.
    pub fn flush(&mut self, socket: &impl Socket) -> SendReport {
        self.deliver(socket);
        std::mem::take(&mut self.report)
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Takes the endpoints whose source the kernel refused. It should be forgotten (P80), if it
    /// still is the peer's.
    pub fn stale_sources(&mut self) -> Drain<'_, Endpoint> {
        self.stale.drain(..)
    }

    fn deliver(&mut self, socket: &impl Socket) {
        let mut delivery = Delivery {
            socket,
            buffer: &self.buffer[..self.end],
            refused: &mut self.refused,
            stale: &mut self.stale,
            report: &mut self.report,
            may_wait: true,
        };
        delivery.all(&mut self.trains);
        self.trains.clear();
        self.pending = None;
        self.end = 0;
    }
}

impl Default for Sender {
    fn default() -> Self {
        Self::new()
    }
}

/// One flush.
struct Delivery<'a, S> {
    socket: &'a S,
    buffer: &'a [u8],
    refused: &'a mut Refused,
    stale: &'a mut Vec<Endpoint>,
    report: &'a mut SendReport,
    /// No wait has been in vain yet.
    may_wait: bool,
}

impl<S: Socket> Delivery<'_, S> {
    fn all(&mut self, trains: &mut [Train]) {
        let mut at = 0;
        while let Some(first) = trains.get(at) {
            if !self.may_go_whole(first) {
                let train = *first;
                at += 1;
                self.singly(&train);
                continue;
            }
            let family = Family::of(&first.to.remote);
            // The first has been asked about already.
            let more = trains[at + 1..].iter().take_while(|train| {
                Family::of(&train.to.remote) == family && self.may_go_whole(train)
            });
            let run = at..at + 1 + more.count();
            match self.push(&trains[run]) {
                Ok(count) => {
                    self.note_sent(&trains[at..at + count]);
                    at += count;
                }
                Err(error) => {
                    let (train, behind) = (trains[at], &mut trains[at + 1..]);
                    at += 1;
                    self.rescue(&train, behind, error);
                }
            }
        }
    }

    fn may_go_whole(&mut self, train: &Train) -> bool {
        train.len <= train.stride || (self.socket.gso() && !self.refused.contains(&train.to.remote))
    }

    /// Sends the first of `trains` at least, over what is passing.
    fn push(&mut self, trains: &[Train]) -> io::Result<usize> {
        let mut last = io::Error::from(io::ErrorKind::WriteZero);
        for _ in 0..ATTEMPTS_MAX {
            match self.socket.send(self.buffer, trains) {
                Ok(0) => break,
                Ok(count) => return Ok(count.min(trains.len())),
                Err(error) => last = error,
            }
            match last.kind() {
                io::ErrorKind::WouldBlock if self.may_wait => {
                    let family = Family::of(&trains[0].to.remote);
                    self.may_wait = self.socket.wait_writable(family, WAIT_MS);
                }
                // An error of an earlier datagram, told by ICMP, is taken away by this call.
                io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                _ => break,
            }
        }
        Err(last)
    }

    /// Sends what can be sent of `train` after it was refused for `error`; `behind` are the trains
    /// still to come.
    fn rescue(&mut self, train: &Train, behind: &mut [Train], mut error: io::Error) {
        let blames_source = train.to.source.is_some() && may_blame_source(&error);
        if blames_source {
            let mut without = *train;
            without.to.source = None;
            match self.push(&[without]) {
                Ok(_) => {
                    self.note_stale(&train.to, behind);
                    self.note_sent(&[without]);
                    return;
                }
                Err(again) => error = again,
            }
        }
        if train.len > train.stride && may_blame_gso(&error) {
            self.report.gso_refused += 1;
            self.refused.note(train.to.remote);
            self.singly(train);
            return;
        }
        if blames_source {
            self.note_stale(&train.to, behind);
        }
        self.report.failed += train.datagrams();
        self.report.last_error = error.raw_os_error();
    }

    /// Sends the datagrams of `train` each for itself.
    fn singly(&mut self, train: &Train) {
        let mut singles = [*train; SEGMENTS_MAX];
        let count = train.datagrams().min(SEGMENTS_MAX);
        for (index, single) in singles[..count].iter_mut().enumerate() {
            let offset = index * train.stride;
            single.start += offset;
            single.len = train.stride.min(train.len - offset);
            single.stride = single.len;
        }
        self.all(&mut singles[..count]);
    }

    fn note_sent(&mut self, trains: &[Train]) {
        for train in trains {
            self.report.sent += train.datagrams();
            self.report.sent_bytes += train.len;
        }
    }

    fn note_stale(&mut self, endpoint: &Endpoint, behind: &mut [Train]) {
        for train in behind.iter_mut().filter(|train| train.to == *endpoint) {
            train.to.source = None;
        }
        if self.stale.len() < STALE_MAX && !self.stale.contains(endpoint) {
            self.stale.push(*endpoint);
            self.report.stale_sources += 1;
        }
    }
}

/// The address is no longer ours, its interface is gone, or no route leads from there.
fn may_blame_source(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINVAL
                | libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::EADDRNOTAVAIL
                | libc::ENODEV
                | libc::ENXIO
        )
    )
}

fn may_blame_gso(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE)
    )
}

/// Destinations to which the kernel refuses trains.
#[derive(Default)]
struct Refused {
    entries: [Option<(SocketAddr, u32)>; REFUSED_MAX],
    /// The entry to be overwritten next.
    next: usize,
    /// None has ever been noted: the usual case costs nothing.
    used: bool,
}

impl Refused {
    /// Whether a train to `remote` should be sent singly; counts it.
    fn contains(&mut self, remote: &SocketAddr) -> bool {
        if !self.used {
            return false;
        }
        for entry in &mut self.entries {
            if let Some((refused, left)) = entry
                && refused == remote
            {
                *left -= 1;
                if *left == 0 {
                    *entry = None;
                }
                return true;
            }
        }
        false
    }

    fn note(&mut self, remote: SocketAddr) {
        self.used = true;
        self.entries[self.next] = Some((remote, REFUSED_TRAINS));
        self.next = (self.next + 1) % REFUSED_MAX;
    }
}
