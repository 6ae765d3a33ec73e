//! HOT: trains that leave.
//!
//! Datagrams are written one behind the other into one buffer. Neighbours to the same endpoint
//! become one train, and all trains of a flush become one system call.
//!
//! What goes wrong is put right at once, so that no datagram is lost to a missing facility:
//!
//! - The kernel refuses a train (EIO: the device cannot checksum it; EINVAL or EMSGSIZE: a
//!   datagram is longer than the path's MTU and has to be fragmented; ENOBUFS: no memory in one
//!   piece, or a full queue): its datagrams are sent singly. That depends on the route, so trains
//!   are given up for this destination alone, and tried again after [`REFUSED_TRAINS`], lest a
//!   passing route cost throughput for ever.
//! - The source is no longer ours (P80): the train is sent once more without it, and the caller is
//!   told to forget it.
//! - The socket's buffer is full: the lane waits a little, which pushes back on the overlay as a
//!   queue of the kernel would, and then drops.

use std::{io, net::SocketAddr, vec::Drain};

use weapon_wire::Endpoint;

use super::{Family, SEGMENTS_MAX, Socket, TRAIN_BYTES_MAX, Train};

/// Trains at which a flush is due. Fan-out to many peers reaches this before the buffer is full.
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
    /// What is left of the room that was reserved last.
    room: Option<Room>,
    refused: Refused,
    stale: Vec<Endpoint>,
    report: SendReport,
}

#[derive(Clone, Copy)]
struct Room {
    to: Endpoint,
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
            trains: Vec::with_capacity(TRAINS_MAX + SEGMENTS_MAX),
            segments: 0,
            room: None,
            refused: Refused::default(),
            stale: Vec::with_capacity(STALE_MAX),
            report: SendReport::default(),
        }
    }

    /// Reserves `len` bytes in one piece, to be filled with datagrams for `to` and committed one by
    /// one. Sends what is there first if there is too much. What is not committed is as if it had
    /// never been.
    ///
    /// # Panics
    ///
    /// `len` is above 256 KB, which is more than a superpacket ever becomes.
    pub fn reserve(&mut self, socket: &impl Socket, to: &Endpoint, len: usize) {
        if self.buffer.len() - self.end < len || self.trains.len() >= TRAINS_MAX {
            self.deliver(socket);
        }
        assert!(len <= self.buffer.len(), "no such room");
        self.room = Some(Room { to: *to, len });
    }

    /// What is left of the room that was reserved. It keeps what is written to it until all before
    /// it is committed and it is committed itself.
    pub fn room(&mut self) -> &mut [u8] {
        let len = self.room.map_or(0, |room| room.len);
        &mut self.buffer[self.end..][..len]
    }

    /// [`reserve`](Self::reserve) and [`room`](Self::room) in one.
    pub fn slot(&mut self, socket: &impl Socket, to: &Endpoint, len: usize) -> &mut [u8] {
        self.reserve(socket, to, len);
        self.room()
    }

    /// Makes the first `len` bytes of the room a datagram with the DS field `tos`, to leave with
    /// the next flush.
    pub fn commit(&mut self, len: usize, tos: u8) {
        let Some(room) = &mut self.room else {
            debug_assert!(false, "there is room to commit");
            return;
        };
        let len = len.min(room.len);
        room.len -= len;
        let to = room.to;
        let start = self.end;
        self.end += len;
        if let Some(last) = self.trains.last_mut()
            && (last.to, last.tos) == (to, tos)
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
            to,
            tos,
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
        self.room = None;
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
        Some(libc::EIO | libc::EINVAL | libc::EMSGSIZE | libc::ENOBUFS)
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

#[cfg(test)]
mod tests {
    use std::{
        os::fd::BorrowedFd,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering::SeqCst},
        },
    };

    use weapon_wire::Source;

    use super::*;
    use crate::udp::Arrival;

    /// A network card that refuses what a test wants it to, and keeps the rest.
    struct Card<F> {
        refuses: F,
        gso: bool,
        trains_per_call: usize,
        is_writable: bool,
        taken: Mutex<Vec<(Train, Vec<u8>)>>,
        calls: AtomicUsize,
        waits: AtomicUsize,
    }

    fn card<F: Fn(&Train) -> Option<i32> + Send + Sync>(refuses: F) -> Card<F> {
        Card {
            refuses,
            gso: true,
            trains_per_call: usize::MAX,
            is_writable: true,
            taken: Mutex::default(),
            calls: AtomicUsize::new(0),
            waits: AtomicUsize::new(0),
        }
    }

    impl<F> Card<F> {
        fn take(&self, train: &Train, bytes: Vec<u8>) {
            self.taken.lock().unwrap().push((*train, bytes));
        }

        fn datagrams(&self) -> Vec<(SocketAddr, Vec<u8>)> {
            let taken = self.taken.lock().unwrap();
            let cut = |(train, bytes): &(Train, Vec<u8>)| {
                let to = train.to.remote;
                let chunks = bytes.chunks(train.stride.max(1));
                chunks.map(|chunk| (to, chunk.to_vec())).collect::<Vec<_>>()
            };
            taken.iter().flat_map(cut).collect()
        }

        fn strides(&self) -> Vec<(usize, usize)> {
            let taken = self.taken.lock().unwrap();
            taken
                .iter()
                .map(|(train, _)| (train.len, train.stride))
                .collect()
        }
    }

    impl<F: Fn(&Train) -> Option<i32> + Send + Sync> Socket for Card<F> {
        fn fd(&self, _: Family) -> Option<BorrowedFd<'_>> {
            None
        }

        fn gso(&self) -> bool {
            self.gso
        }

        fn send(&self, buffer: &[u8], trains: &[Train]) -> io::Result<usize> {
            self.calls.fetch_add(1, SeqCst);
            let family = Family::of(&trains[0].to.remote);
            for (sent, train) in trains.iter().enumerate() {
                assert_eq!(
                    Family::of(&train.to.remote),
                    family,
                    "families are not mixed"
                );
                assert!(train.len <= TRAIN_BYTES_MAX || train.len == train.stride);
                assert!(train.datagrams() <= SEGMENTS_MAX);
                if sent == self.trains_per_call {
                    return Ok(sent);
                }
                match (self.refuses)(train) {
                    Some(error) if sent == 0 => return Err(io::Error::from_raw_os_error(error)),
                    Some(_) => return Ok(sent),
                    None => {}
                }
                let bytes = buffer[train.start..][..train.len].to_vec();
                self.take(train, bytes);
            }
            Ok(trains.len())
        }

        fn wait_writable(&self, _: Family, _: u32) -> bool {
            self.waits.fetch_add(1, SeqCst);
            self.is_writable
        }

        fn receive(&self, _: Family, _: &mut [u8], _: &mut [Arrival]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    const A: &str = "192.0.2.1:1000";
    const B: &str = "192.0.2.2:1000";
    const V6: &str = "[2001:db8::1]:1000";

    fn to(text: &str) -> Endpoint {
        Endpoint::new(text.parse().unwrap())
    }

    fn sticky(text: &str) -> Endpoint {
        let source = Source {
            address: "198.51.100.1".parse().unwrap(),
            interface: 3,
        };
        to(text).with_source(source)
    }

    /// Puts a datagram of `len` bytes, each `mark`, and gives what should arrive.
    fn put(
        sender: &mut Sender,
        socket: &impl Socket,
        to: Endpoint,
        mark: u8,
        len: usize,
    ) -> (SocketAddr, Vec<u8>) {
        // A slot is longer than what becomes of it.
        sender.slot(socket, &to, len + 16)[..len].fill(mark);
        sender.commit(len, 0);
        (to.remote, vec![mark; len])
    }

    #[test]
    fn neighbours_of_one_length_and_endpoint_become_a_train() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        let lengths = [
            (A, 100),
            (A, 100),
            (A, 60),
            (A, 60),
            (A, 80),
            (B, 80),
            (B, 80),
            (A, 80),
        ];
        let mut expected = Vec::new();
        for (mark, (text, len)) in (1..).zip(lengths) {
            expected.push(put(&mut sender, &card, to(text), mark, len));
        }
        assert!(card.datagrams().is_empty());
        let report = sender.flush(&card);
        assert_eq!((report.sent, report.sent_bytes, report.failed), (8, 640, 0));
        assert_eq!(card.datagrams(), expected);
        let trains = [(260, 100), (60, 60), (80, 80), (160, 80), (80, 80)];
        assert_eq!(card.strides(), trains);
        assert_eq!(card.calls.load(SeqCst), 1);
        assert!(sender.is_empty());
        assert_eq!(sender.flush(&card), SendReport::default());
    }

    #[test]
    fn datagrams_of_one_room_are_packed_with_those_before() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        let mut expected = Vec::new();
        // Two superpackets of 48 segments: the second goes on in the train of the first's end.
        for marks in [0..48_u8, 48..96] {
            sender.reserve(&card, &to(A), 48 * 1452);
            for (slot, mark) in sender.room().chunks_mut(1452).zip(marks.clone()) {
                slot.fill(mark);
                expected.push((to(A).remote, vec![mark; 1452]));
            }
            marks.for_each(|_| sender.commit(1452, 0));
            assert!(sender.room().is_empty());
        }
        sender.flush(&card);
        assert_eq!(card.datagrams(), expected);
        let long = 45 * 1452;
        assert_eq!(
            card.strides(),
            [(long, 1452), (long, 1452), (6 * 1452, 1452)]
        );
    }

    #[test]
    fn a_room_may_hold_a_train_for_each_datagram_and_a_rest_that_is_none() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        let mut expected = Vec::new();
        for round in 0..3 {
            // Each longer than the one before: no two of them are one train.
            sender.reserve(&card, &to(A), 65_536);
            let mut at = 0;
            for len in 1..=64_usize {
                sender.room()[at..][..len].fill(len as u8 + round);
                expected.push((to(A).remote, vec![len as u8 + round; len]));
                at += len;
            }
            (1..=64).for_each(|len| sender.commit(len, 0));
        }
        sender.flush(&card);
        assert_eq!(card.datagrams(), expected);
    }

    #[test]
    fn another_tos_or_source_is_another_train() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        for (endpoint, tos) in [(to(A), 0), (to(A), 1), (sticky(A), 1), (sticky(A), 1)] {
            sender.slot(&card, &endpoint, 9);
            sender.commit(9, tos);
        }
        sender.flush(&card);
        assert_eq!(card.strides(), [(9, 9), (9, 9), (18, 9)]);
    }

    #[test]
    fn trains_end_at_the_limits_of_the_kernel() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        let mut expected = Vec::new();
        for index in 0..100 {
            expected.push(put(&mut sender, &card, to(A), index, 1452));
        }
        for index in 0..100 {
            expected.push(put(&mut sender, &card, to(B), index, 20));
        }
        sender.flush(&card);
        assert_eq!(card.datagrams(), expected);
        let long = 45 * 1452;
        let trains = [
            (long, 1452),
            (long, 1452),
            (10 * 1452, 1452),
            (63 * 20, 20),
            (37 * 20, 20),
        ];
        assert_eq!(card.strides(), trains);
    }

    #[test]
    fn a_full_buffer_is_sent_by_itself() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        let mut expected = Vec::new();
        for index in 0..200_u8 {
            // Every other to another peer: the trains run out before the bytes.
            let endpoint = to(if index % 2 == 0 { A } else { B });
            expected.push(put(&mut sender, &card, endpoint, index, 1400));
        }
        for index in 0..10 {
            expected.push(put(&mut sender, &card, to(A), index, 65_507));
        }
        let report = sender.flush(&card);
        assert_eq!(report.sent, 210);
        assert_eq!(card.datagrams(), expected);
    }

    #[test]
    fn a_slot_that_is_not_committed_leaves_no_trace() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        sender.slot(&card, &to(B), 500).fill(9);
        let expected = put(&mut sender, &card, to(A), 1, 10);
        sender.slot(&card, &to(B), 500).fill(9);
        sender.flush(&card);
        assert_eq!(card.datagrams(), [expected]);
    }

    #[test]
    fn partial_sends_go_on_and_families_go_apart() {
        let (mut sender, mut card) = (Sender::new(), card(|_| None));
        card.trains_per_call = 2;
        let order = [A, B, A, V6, V6, A, B, A, B, A];
        let expected: Vec<_> = (1..)
            .zip(order)
            .map(|(mark, text)| put(&mut sender, &card, to(text), mark, 7))
            .collect();
        assert_eq!(sender.flush(&card).sent, order.len());
        assert_eq!(card.datagrams(), expected);
    }

    #[test]
    fn a_refused_train_is_sent_singly_for_this_destination_alone() {
        for error in [libc::EIO, libc::EINVAL, libc::EMSGSIZE, libc::ENOBUFS] {
            let refused = to(A).remote;
            let (mut sender, card) = (
                Sender::new(),
                card(move |train| {
                    (train.to.remote == refused && train.len > train.stride).then_some(error)
                }),
            );
            let mut expected = Vec::new();
            for round in 0..3 {
                for mark in 0..5 {
                    expected.push(put(&mut sender, &card, to(B), mark, 100));
                }
                for mark in 0..5 {
                    expected.push(put(&mut sender, &card, to(A), mark, 100));
                }
                expected.push(put(&mut sender, &card, to(A), 9, 30));
                let report = sender.flush(&card);
                assert_eq!(
                    (report.sent, report.failed, report.last_error),
                    (11, 0, None)
                );
                // The kernel is asked once, not for every train.
                assert_eq!(report.gso_refused, usize::from(round == 0));
            }
            assert_eq!(card.datagrams(), expected);
            let whole = card
                .strides()
                .iter()
                .filter(|&&train| train == (500, 100))
                .count();
            assert_eq!(whole, 3, "the other destination keeps its trains");
        }
    }

    #[test]
    fn a_refused_destination_is_tried_again_after_a_while() {
        let calls = AtomicUsize::new(0);
        let (mut sender, card) = (
            Sender::new(),
            card(|train| {
                let first = train.len > train.stride && calls.fetch_add(1, SeqCst) == 0;
                first.then_some(libc::EIO)
            }),
        );
        for _ in 0..=REFUSED_TRAINS + 1 {
            put(&mut sender, &card, to(A), 1, 10);
            put(&mut sender, &card, to(A), 2, 10);
            assert_eq!(sender.flush(&card).failed, 0);
        }
        let strides = card.strides();
        assert_eq!(strides.last(), Some(&(20, 10)));
        let singles = strides.iter().filter(|&&train| train == (10, 10)).count();
        assert_eq!(singles, 2 * (REFUSED_TRAINS as usize + 1));
    }

    #[test]
    fn more_refused_destinations_than_are_remembered_lose_nothing() {
        let refuses = |train: &Train| (train.len > train.stride).then_some(libc::EIO);
        let (mut sender, card) = (Sender::new(), card(refuses));
        let mut expected = Vec::new();
        for port in (1..=40).chain(1..=40) {
            let endpoint = to(&format!("192.0.2.9:{port}"));
            expected.push(put(&mut sender, &card, endpoint, 1, 10));
            expected.push(put(&mut sender, &card, endpoint, 2, 10));
        }
        assert_eq!(sender.flush(&card).failed, 0);
        assert_eq!(card.datagrams(), expected);
    }

    #[test]
    fn without_gso_all_is_sent_singly_and_nothing_is_refused() {
        let (mut sender, mut card) = (Sender::new(), card(|_| None));
        card.gso = false;
        let expected: Vec<_> = (0..150)
            .map(|mark| put(&mut sender, &card, to(A), mark, 50))
            .collect();
        let report = sender.flush(&card);
        assert_eq!((report.sent, report.gso_refused), (150, 0));
        assert_eq!(card.datagrams(), expected);
        assert!(card.strides().iter().all(|&train| train == (50, 50)));
    }

    #[test]
    fn p80_a_stale_source_is_dropped_with_one_resend_and_reported() {
        for error in [
            libc::EINVAL,
            libc::ENETUNREACH,
            libc::EADDRNOTAVAIL,
            libc::ENODEV,
        ] {
            let refuses = move |train: &Train| train.to.source.map(|_| error);
            let (mut sender, card) = (Sender::new(), card(refuses));
            let mut expected = Vec::new();
            for len in [100, 100, 50, 70, 70] {
                expected.push(put(&mut sender, &card, sticky(A), 7, len));
            }
            let report = sender.flush(&card);
            assert_eq!((report.sent, report.failed), (5, 0));
            assert_eq!((report.stale_sources, report.gso_refused), (1, 0));
            assert_eq!(sender.stale_sources().collect::<Vec<_>>(), [sticky(A)]);
            assert_eq!(sender.stale_sources().count(), 0);
            assert_eq!(card.datagrams(), expected);
            // Refused, sent again; the train behind goes without the source at once.
            assert_eq!(card.strides(), [(250, 100), (140, 70)]);
            assert_eq!(card.calls.load(SeqCst), 3);
        }
    }

    #[test]
    fn p80_a_source_is_not_blamed_for_a_refused_train() {
        let refuses = |train: &Train| (train.len > train.stride).then_some(libc::EINVAL);
        let (mut sender, card) = (Sender::new(), card(refuses));
        for mark in 0..3 {
            put(&mut sender, &card, sticky(A), mark, 10);
        }
        let report = sender.flush(&card);
        assert_eq!(
            (report.sent, report.stale_sources, report.gso_refused),
            (3, 0, 1)
        );
        let taken = card.taken.lock().unwrap();
        assert!(taken.iter().all(|(train, _)| train.to == sticky(A)));
    }

    #[test]
    fn p80_source_and_train_may_both_be_refused() {
        let refuses = |train: &Train| {
            (train.to.source.is_some() || train.len > train.stride).then_some(libc::EINVAL)
        };
        let (mut sender, card) = (Sender::new(), card(refuses));
        let expected: Vec<_> = (0..3)
            .map(|mark| put(&mut sender, &card, sticky(A), mark, 10))
            .collect();
        let report = sender.flush(&card);
        assert_eq!(
            (report.sent, report.stale_sources, report.gso_refused),
            (3, 1, 1)
        );
        assert_eq!(card.datagrams(), expected);
    }

    #[test]
    fn p80_an_unreachable_peer_fails_and_loses_its_source() {
        let refuses =
            |train: &Train| (train.to.remote == to(A).remote).then_some(libc::ENETUNREACH);
        let (mut sender, card) = (Sender::new(), card(refuses));
        put(&mut sender, &card, sticky(A), 1, 10);
        put(&mut sender, &card, sticky(A), 1, 10);
        let expected = put(&mut sender, &card, to(B), 2, 10);
        let report = sender.flush(&card);
        assert_eq!(
            (report.sent, report.failed, report.stale_sources),
            (1, 2, 1)
        );
        assert_eq!(report.last_error, Some(libc::ENETUNREACH));
        assert_eq!(card.datagrams(), [expected]);
    }

    #[test]
    fn one_bad_destination_does_not_stop_the_others() {
        for error in [libc::EPERM, libc::ENOBUFS, libc::EACCES, libc::EMSGSIZE] {
            let refuses = |train: &Train| (train.to.remote == to(B).remote).then_some(error);
            let (mut sender, card) = (Sender::new(), card(refuses));
            let mut expected = Vec::new();
            for mark in 0..30 {
                expected.push(put(&mut sender, &card, to(A), mark, 10));
                put(&mut sender, &card, to(B), mark, 10);
            }
            let report = sender.flush(&card);
            assert_eq!((report.sent, report.failed), (30, 30));
            assert_eq!(report.last_error, Some(error));
            assert_eq!(card.datagrams(), expected);
        }
    }

    #[test]
    fn an_icmp_error_of_an_earlier_datagram_costs_nothing() {
        let calls = AtomicUsize::new(0);
        let refuses = |_: &Train| (calls.fetch_add(1, SeqCst) == 0).then_some(libc::ECONNREFUSED);
        let (mut sender, card) = (Sender::new(), card(refuses));
        put(&mut sender, &card, to(A), 1, 10);
        let report = sender.flush(&card);
        assert_eq!((report.sent, report.failed), (1, 0));
    }

    #[test]
    fn a_full_socket_is_waited_for() {
        let calls = AtomicUsize::new(0);
        let refuses = |_: &Train| (calls.fetch_add(1, SeqCst) < 2).then_some(libc::EAGAIN);
        let (mut sender, card) = (Sender::new(), card(refuses));
        put(&mut sender, &card, to(A), 1, 10);
        assert_eq!(sender.flush(&card).sent, 1);
        assert_eq!(card.waits.load(SeqCst), 2);
    }

    #[test]
    fn a_device_that_stands_still_costs_one_wait_per_flush() {
        let (mut sender, mut card) = (Sender::new(), card(|_: &Train| Some(libc::EAGAIN)));
        card.is_writable = false;
        for mark in 0..40 {
            put(
                &mut sender,
                &card,
                to(if mark % 2 == 0 { A } else { B }),
                mark,
                10,
            );
        }
        let report = sender.flush(&card);
        assert_eq!((report.sent, report.failed), (0, 40));
        assert_eq!(report.last_error, Some(libc::EAGAIN));
        assert_eq!(card.waits.load(SeqCst), 1);
    }

    #[test]
    fn a_socket_that_takes_nothing_is_no_endless_loop() {
        let (mut sender, mut card) = (Sender::new(), card(|_| None));
        card.trains_per_call = 0;
        put(&mut sender, &card, to(A), 1, 10);
        let report = sender.flush(&card);
        assert_eq!(
            (report.sent, report.failed, report.last_error),
            (0, 1, None)
        );
    }

    #[test]
    fn an_empty_datagram_is_one() {
        let (mut sender, card) = (Sender::new(), card(|_| None));
        for len in [0, 0, 10, 10, 0] {
            put(&mut sender, &card, to(A), 1, len);
        }
        let report = sender.flush(&card);
        assert_eq!((report.sent, report.sent_bytes), (5, 20));
        assert_eq!(card.strides(), [(0, 0), (0, 0), (20, 10), (0, 0)]);
    }
}
