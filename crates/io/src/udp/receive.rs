//! HOT: trains that arrive.

use std::io;

use weapon_wire::Endpoint;

use super::{Arrival, Family, SLOT_BYTES, Socket, syscall::UNKNOWN};

/// How many errors in a row are taken for messages of ICMP about earlier datagrams of ours.
///
/// Each read takes one error away; more than this is a socket that fails for another reason.
const ICMP_ERRORS_MAX: usize = 64;

/// The buffers of one thread that receives. Allocated once; a page that no train has reached
/// takes no memory.
pub struct Receiver {
    buffer: Box<[u8]>,
    arrivals: Box<[Arrival]>,
    /// What the last receive brought.
    trains: Vec<Joined>,
    truncated: u64,
    icmp_errors: u64,
}

/// Slots in a row that are one train: one with what the kernel joined, or several with one datagram
/// each that it did not join, as their sender or a card on the way cannot.
#[derive(Clone, Copy)]
struct Joined {
    slot: usize,
    slots: usize,
}

/// A train that has arrived, valid until the next [`Receiver::receive`].
pub struct Received<'a> {
    /// Its datagrams: the first `len` bytes of each of `bytes.chunks_mut(stride)`.
    pub bytes: &'a mut [u8],
    /// Bytes from one to the next; never 0.
    pub stride: usize,
    /// The length of each but the last, which may be shorter.
    pub len: usize,
    /// From whom, and to which of our addresses.
    pub from: Endpoint,
    /// DSCP and ECN of the outer header.
    pub tos: u8,
}

impl Receiver {
    /// Room for `trains` trains (1 at least) of 64 KB.
    pub fn new(trains: usize) -> Self {
        let trains = trains.max(1);
        let none = Arrival {
            from: Endpoint::new(UNKNOWN),
            tos: 0,
            len: 0,
            stride: 1,
            truncated: false,
        };
        Self {
            buffer: vec![0; trains * SLOT_BYTES].into_boxed_slice(),
            arrivals: vec![none; trains].into_boxed_slice(),
            trains: Vec::with_capacity(trains),
            truncated: 0,
            icmp_errors: 0,
        }
    }

    /// Receives what has arrived, as far as there is room, and says how many trains
    /// [`Receiver::train`] has; 0 when nothing more is there.
    ///
    /// # Errors
    ///
    /// The socket is broken. What ICMP reports about single peers is no such error.
    pub fn receive(&mut self, socket: &impl Socket, family: Family) -> io::Result<usize> {
        let mut icmp_errors = 0;
        loop {
            match socket.receive(family, &mut self.buffer, &mut self.arrivals) {
                Ok(0) => return Ok(0),
                Ok(count) => {
                    let whole = self.note_whole(count);
                    // All were truncated: "nothing more is there" would be wrong.
                    if whole > 0 {
                        return Ok(whole);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_by_icmp(&error) && icmp_errors < ICMP_ERRORS_MAX => {
                    icmp_errors += 1;
                    self.icmp_errors += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The train `index`, counted from 0, of the last receive.
    ///
    /// # Panics
    ///
    /// `index` is not below what the last receive returned.
    pub fn train(&mut self, index: usize) -> Received<'_> {
        let Joined { slot, slots } = self.trains[index];
        let (first, last) = (&self.arrivals[slot], &self.arrivals[slot + slots - 1]);
        let len = first.stride.max(1);
        Received {
            bytes: &mut self.buffer[slot * SLOT_BYTES..][..(slots - 1) * SLOT_BYTES + last.len],
            stride: if slots == 1 { len } else { SLOT_BYTES },
            len,
            from: first.from,
            tos: first.tos,
        }
    }

    /// Trains dropped so far because they were longer than a slot, which no UDP sender can cause.
    pub fn truncated(&self) -> u64 {
        self.truncated
    }

    /// Errors so far that were ICMP's.
    pub fn icmp_errors(&self) -> u64 {
        self.icmp_errors
    }

    fn note_whole(&mut self, count: usize) -> usize {
        self.trains.clear();
        for (slot, arrival) in self.arrivals.iter().enumerate().take(count) {
            if arrival.truncated {
                self.truncated += 1;
                continue;
            }
            let last = self.trains.last_mut();
            if let Some(train) = last.filter(|train| train.slot + train.slots == slot)
                && continues(
                    &self.arrivals[train.slot],
                    &self.arrivals[slot - 1],
                    arrival,
                )
            {
                train.slots += 1;
            } else {
                self.trains.push(Joined { slot, slots: 1 });
            }
        }
        self.trains.len()
    }
}

/// Whether a datagram that arrived alone belongs to the train of those right before it: the rule by
/// which the kernel joins them.
fn continues(first: &Arrival, previous: &Arrival, arrival: &Arrival) -> bool {
    let is_alone = |arrival: &Arrival| arrival.len != 0 && arrival.stride == arrival.len;
    is_alone(first)
        && is_alone(arrival)
        && previous.len == first.len
        && arrival.len <= first.len
        && (arrival.from, arrival.tos) == (first.from, first.tos)
}

/// Errors that a UDP socket gives for ICMP messages about what it sent earlier.
fn is_by_icmp(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNREFUSED
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::EMSGSIZE
                | libc::EPROTO
                | libc::EACCES
        )
    )
}

#[cfg(test)]
mod tests {
    use std::{os::fd::BorrowedFd, sync::Mutex};

    use super::*;
    use crate::udp::Train;

    /// What a socket gives, one after the other.
    struct Script(Mutex<Vec<Result<Vec<Arrival>, i32>>>);

    fn script(steps: impl IntoIterator<Item = Result<Vec<Arrival>, i32>>) -> Script {
        let mut steps: Vec<_> = steps.into_iter().collect();
        steps.reverse();
        Script(Mutex::new(steps))
    }

    impl Script {
        fn step(&self) -> Option<Result<Vec<Arrival>, i32>> {
            self.0.lock().unwrap().pop()
        }
    }

    impl Socket for Script {
        fn fd(&self, _: Family) -> Option<BorrowedFd<'_>> {
            None
        }

        fn gso(&self) -> bool {
            false
        }

        fn send(&self, _: &[u8], trains: &[Train]) -> io::Result<usize> {
            Ok(trains.len())
        }

        fn wait_writable(&self, _: Family, _: u32) -> bool {
            true
        }

        fn receive(
            &self,
            _: Family,
            buffer: &mut [u8],
            arrivals: &mut [Arrival],
        ) -> io::Result<usize> {
            match self.step().unwrap_or(Err(libc::EAGAIN)) {
                Err(error) => Err(io::Error::from_raw_os_error(error)),
                Ok(given) => {
                    for (slot, arrival) in buffer.chunks_exact_mut(SLOT_BYTES).zip(&given) {
                        slot[..arrival.len].fill(arrival.tos);
                    }
                    arrivals[..given.len()].copy_from_slice(&given);
                    Ok(given.len())
                }
            }
        }
    }

    fn arrival(tos: u8, len: usize, truncated: bool) -> Arrival {
        let from = Endpoint::new("192.0.2.1:7".parse().unwrap());
        Arrival {
            from,
            tos,
            len,
            stride: len,
            truncated,
        }
    }

    #[test]
    fn what_was_truncated_is_dropped_and_counted() {
        let given = vec![
            arrival(1, 10, false),
            arrival(2, SLOT_BYTES, true),
            arrival(3, 30, false),
            arrival(4, 5, true),
        ];
        let socket = script([Ok(given)]);
        let mut receiver = Receiver::new(4);
        assert_eq!(receiver.receive(&socket, Family::V4).unwrap(), 2);
        assert_eq!(receiver.truncated(), 2);
        for (index, (tos, len)) in [(1, 10), (3, 30)].into_iter().enumerate() {
            let train = receiver.train(index);
            assert_eq!((train.tos, train.stride), (tos, len));
            assert_eq!(train.bytes, vec![tos; len]);
        }
        assert_eq!(receiver.receive(&socket, Family::V4).unwrap(), 0);
    }

    /// The trains, each as its stride and the lengths and contents of its datagrams.
    fn received(receiver: &mut Receiver, trains: usize) -> Vec<(usize, Vec<(usize, u8)>)> {
        let of = |index| {
            let train = receiver.train(index);
            let (stride, len) = (train.stride, train.len);
            let slots = train.bytes.chunks(stride);
            let datagrams = slots.map(|slot| &slot[..len.min(slot.len())]);
            let told = datagrams.map(|datagram| {
                assert!(datagram.iter().all(|byte| *byte == datagram[0]));
                (datagram.len(), datagram[0])
            });
            (stride, told.collect())
        };
        (0..trains).map(of).collect()
    }

    #[test]
    fn datagrams_of_one_length_that_came_alone_are_one_train() {
        let given = vec![
            arrival(1, 90, false),
            arrival(1, 90, false),
            arrival(1, 50, false),
            // Nothing follows a shorter one.
            arrival(1, 50, false),
            // Longer than the one before.
            arrival(1, 60, false),
        ];
        let mut receiver = Receiver::new(5);
        let trains = receiver.receive(&script([Ok(given)]), Family::V4).unwrap();
        let expected = [
            (SLOT_BYTES, vec![(90, 1), (90, 1), (50, 1)]),
            (50, vec![(50, 1)]),
            (60, vec![(60, 1)]),
        ];
        assert_eq!(received(&mut receiver, trains), expected);
    }

    #[test]
    fn what_differs_or_is_a_train_already_stays_apart() {
        let [one, marked] = [1, 2].map(|tos| arrival(tos, 90, false));
        let elsewhere = Arrival {
            from: Endpoint::new("192.0.2.2:7".parse().unwrap()),
            ..one
        };
        let train = Arrival { stride: 45, ..one };
        let (empty, truncated) = (arrival(1, 0, false), arrival(1, 90, true));
        for other in [marked, elsewhere, train, empty, truncated] {
            let given = vec![one, other, one];
            let mut receiver = Receiver::new(3);
            let trains = receiver.receive(&script([Ok(given)]), Family::V4).unwrap();
            assert_eq!(trains, 3 - usize::from(other.truncated), "{other:?}");
            for index in 0..trains {
                assert!(receiver.train(index).stride < SLOT_BYTES, "{other:?}");
            }
        }
    }

    #[test]
    fn truncated_ones_alone_do_not_hide_what_comes_behind() {
        let socket = script([
            Ok(vec![arrival(1, 9, true)]),
            Ok(vec![arrival(2, 9, false)]),
        ]);
        let mut receiver = Receiver::new(1);
        assert_eq!(receiver.receive(&socket, Family::V4).unwrap(), 1);
        assert_eq!(receiver.train(0).tos, 2);
    }

    #[test]
    fn icmp_errors_do_not_stop_reception() {
        let errors = [
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::EINTR,
            libc::EMSGSIZE,
        ];
        let steps = errors
            .map(Err)
            .into_iter()
            .chain([Ok(vec![arrival(1, 9, false)])]);
        let mut receiver = Receiver::new(2);
        assert_eq!(receiver.receive(&script(steps), Family::V6).unwrap(), 1);
        assert_eq!(receiver.icmp_errors(), 3);
    }

    #[test]
    fn a_broken_socket_is_told_of() {
        let mut receiver = Receiver::new(0);
        let error = receiver
            .receive(&script([Err(libc::EBADF)]), Family::V4)
            .unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        // Also one that fails for ever with what ICMP could have caused.
        let steps = std::iter::repeat_n(Err(libc::ECONNREFUSED), 1000);
        assert!(receiver.receive(&script(steps), Family::V4).is_err());
    }

    #[test]
    fn an_empty_datagram_has_no_chunks() {
        let mut receiver = Receiver::new(1);
        let socket = script([Ok(vec![arrival(1, 0, false)])]);
        assert_eq!(receiver.receive(&socket, Family::V4).unwrap(), 1);
        let train = receiver.train(0);
        assert_eq!(train.bytes.chunks_mut(train.stride).count(), 0);
    }
}
