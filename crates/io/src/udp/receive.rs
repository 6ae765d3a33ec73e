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
    /// Which slots hold what the last receive brought.
    filled: Box<[usize]>,
    truncated: u64,
    icmp_errors: u64,
}

/// A train that has arrived, valid until the next [`Receiver::receive`].
pub struct Received<'a> {
    /// Its datagrams, one behind the other: `bytes.chunks_mut(stride)`.
    pub bytes: &'a mut [u8],
    /// The length of each but the last; never 0.
    pub stride: usize,
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
            filled: vec![0; trains].into_boxed_slice(),
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
        let slot = self.filled[index];
        let arrival = &self.arrivals[slot];
        Received {
            bytes: &mut self.buffer[slot * SLOT_BYTES..][..arrival.len],
            stride: arrival.stride.max(1),
            from: arrival.from,
            tos: arrival.tos,
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
        let mut whole = 0;
        for (slot, arrival) in self.arrivals.iter().enumerate().take(count) {
            if arrival.truncated {
                self.truncated += 1;
                continue;
            }
            self.filled[whole] = slot;
            whole += 1;
        }
        whole
    }
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
