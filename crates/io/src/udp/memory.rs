//! A network without a kernel: datagrams that are sent to a bound address arrive there, in order.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, PoisonError},
};

use weapon_wire::{Endpoint, Source};

use super::{Arrival, Family, SLOT_BYTES, Socket, Train};
use crate::poll::EventFd;

/// Trains that wait at one address at most; more are dropped, as by a full socket buffer.
const QUEUE_LEN_MAX: usize = 1024;

/// A network on which addresses can be bound. Clones are the same network.
#[derive(Clone, Default)]
pub struct Network {
    boxes: Arc<Mutex<BTreeMap<SocketAddr, Arc<Mailbox>>>>,
}

/// What a gateway holds instead of a [`Udp`](super::Udp).
pub struct MemoryUdp {
    network: Network,
    address: SocketAddr,
    mailbox: Arc<Mailbox>,
    gso: bool,
}

struct Mailbox {
    queue: Mutex<VecDeque<(Arrival, Vec<u8>)>>,
    /// Readable as long as the queue is not empty.
    ready: EventFd,
}

impl Network {
    /// Binds `address`, which must not be unspecified, until the socket is dropped. With `gso`,
    /// trains arrive as they were sent.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`], or no more files.
    pub fn bind(&self, address: SocketAddr, gso: bool) -> io::Result<MemoryUdp> {
        let address = Endpoint::new(address).remote;
        let mailbox = Arc::new(Mailbox {
            queue: Mutex::default(),
            ready: EventFd::new()?,
        });
        let mut boxes = self.boxes.lock().unwrap_or_else(PoisonError::into_inner);
        if boxes.contains_key(&address) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        boxes.insert(address, Arc::clone(&mailbox));
        Ok(MemoryUdp {
            network: self.clone(),
            address,
            mailbox,
            gso,
        })
    }
}

impl MemoryUdp {
    /// Where others reach it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Socket for MemoryUdp {
    fn fd(&self, family: Family) -> Option<BorrowedFd<'_>> {
        (family == Family::of(&self.address)).then(|| self.mailbox.ready.as_fd())
    }

    fn gso(&self) -> bool {
        self.gso
    }

    fn send(&self, buffer: &[u8], trains: &[Train]) -> io::Result<usize> {
        let source = Source {
            address: self.address.ip(),
            interface: 1,
        };
        for train in trains {
            let boxes = self
                .network
                .boxes
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Nobody there: lost, as on a real network.
            let Some(mailbox) = boxes.get(&train.to.remote) else {
                continue;
            };
            let to = Source {
                address: train.to.remote.ip(),
                ..source
            };
            let arrival = Arrival {
                from: Endpoint::new(self.address).with_source(to),
                tos: train.tos,
                len: train.len,
                stride: train.stride.max(1),
                truncated: false,
            };
            mailbox.push(arrival, &buffer[train.start..][..train.len]);
        }
        Ok(trains.len())
    }

    fn wait_writable(&self, _: Family, _: u32) -> bool {
        true
    }

    fn receive(
        &self,
        family: Family,
        buffer: &mut [u8],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        if family != Family::of(&self.address) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let mut queue = self
            .mailbox
            .queue
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut count = 0;
        for (slot, arrival) in buffer.chunks_exact_mut(SLOT_BYTES).zip(arrivals) {
            let Some((arrived, bytes)) = queue.pop_front() else {
                break;
            };
            *arrival = arrived;
            slot[..bytes.len()].copy_from_slice(&bytes);
            count += 1;
        }
        if queue.is_empty() {
            self.mailbox.ready.drain();
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    }
}

impl Drop for MemoryUdp {
    fn drop(&mut self) {
        let mut boxes = self
            .network
            .boxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        boxes.remove(&self.address);
    }
}

impl Mailbox {
    fn push(&self, arrival: Arrival, bytes: &[u8]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < QUEUE_LEN_MAX {
            queue.push_back((arrival, bytes.to_vec()));
            self.ready.wake();
        }
    }
}
