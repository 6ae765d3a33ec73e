//! A device without a kernel, and the host behind it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use weapon_wire::VnetHeader;

use super::{Device, Offloads};
use crate::poll::EventFd;

/// Packets that wait to be read at most, as many as the ring of a TUN device of the kernel.
const QUEUE_LEN_MAX: usize = 500;

/// A packet and what the header before it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The header.
    pub vnet: VnetHeader,
    /// The packet or superpacket.
    pub packet: Vec<u8>,
}

/// What a gateway holds instead of a [`Tun`](super::Tun).
pub struct MemoryTun {
    shared: Arc<Shared>,
    offloads: Offloads,
}

/// The other side of a [`MemoryTun`]: what the host's network stack would be.
pub struct Host {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Readable as long as `to_gateway` has a packet or the device is gone.
    ready: EventFd,
}

#[derive(Default)]
struct State {
    to_gateway: VecDeque<Crossing>,
    from_gateway: VecDeque<Crossing>,
    gone: bool,
}

/// A device and the host behind it.
///
/// # Errors
///
/// No more files or memory.
pub fn pair(offloads: Offloads) -> io::Result<(MemoryTun, Host)> {
    let state = Mutex::new(State::default());
    let shared = Arc::new(Shared {
        state,
        ready: EventFd::new()?,
    });
    let host = Host {
        shared: Arc::clone(&shared),
    };
    Ok((MemoryTun { shared, offloads }, host))
}

impl Host {
    /// Gives the gateway a packet to read; `false` and dropped when 500 wait already.
    pub fn send(&self, vnet: VnetHeader, packet: &[u8]) -> bool {
        let mut state = self.shared.lock();
        if state.gone || state.to_gateway.len() >= QUEUE_LEN_MAX {
            return false;
        }
        state.to_gateway.push_back(Crossing {
            vnet,
            packet: packet.to_vec(),
        });
        self.shared.ready.wake();
        true
    }

    /// The next packet that the gateway wrote.
    pub fn receive(&self) -> Option<Crossing> {
        self.shared.lock().from_gateway.pop_front()
    }

    /// What `ip link delete` does.
    pub fn delete(&self) {
        self.shared.lock().gone = true;
        self.shared.ready.wake();
    }
}

impl Device for MemoryTun {
    fn queues(&self) -> usize {
        1
    }

    fn queue(&self, _queue: usize) -> BorrowedFd<'_> {
        self.shared.ready.as_fd()
    }

    fn read(&self, _queue: usize, buffer: &mut [u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        if state.gone {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        let Some(crossing) = state.to_gateway.pop_front() else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        if state.to_gateway.is_empty() {
            self.shared.ready.drain();
        }
        // As the kernel does it: what does not fit is cut off.
        let header = crossing.vnet.to_bytes();
        let bytes = header.iter().chain(&crossing.packet);
        Ok(buffer
            .iter_mut()
            .zip(bytes)
            .map(|(to, from)| *to = *from)
            .count())
    }

    fn write(&self, _queue: usize, vnet: &VnetHeader, parts: &[IoSlice<'_>]) -> io::Result<()> {
        if parts.len() > super::PARTS_MAX {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut state = self.shared.lock();
        if state.gone {
            return Err(io::Error::from_raw_os_error(libc::EBADFD));
        }
        let packet = parts.iter().flat_map(|part| part.iter().copied()).collect();
        state.from_gateway.push_back(Crossing {
            vnet: *vnet,
            packet,
        });
        Ok(())
    }

    fn offloads(&self) -> Offloads {
        self.offloads
    }
}

impl Shared {
    /// The state is whole after every statement, so that a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        poll::{Epoll, Events, Interest},
        tun::{READ_BYTES, is_gone},
    };

    #[test]
    fn packets_cross_in_both_directions() {
        let (device, host) = pair(Offloads {
            tcp: true,
            udp: false,
        })
        .unwrap();
        let epoll = Epoll::new().unwrap();
        epoll.add(device.queue(0), 1, Interest::Readable).unwrap();
        let mut events = Events::with_capacity(1);
        let mut buffer = vec![0; READ_BYTES];
        assert_eq!(
            device.read(0, &mut buffer).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        assert_eq!(epoll.wait(&mut events, Some(0)).unwrap(), 0);

        let vnet = VnetHeader {
            gso_size: 77,
            ..VnetHeader::default()
        };
        for packet in [&b"one"[..], b"two"] {
            assert!(host.send(vnet, packet));
        }
        for packet in [&b"one"[..], b"two"] {
            assert_eq!(epoll.wait(&mut events, Some(1000)).unwrap(), 1);
            let len = device.read(0, &mut buffer).unwrap();
            assert_eq!(VnetHeader::parse(&buffer).unwrap(), vnet);
            assert_eq!(&buffer[VnetHeader::LEN..len], packet);
        }
        assert_eq!(epoll.wait(&mut events, Some(0)).unwrap(), 0);

        device
            .write(0, &vnet, &[IoSlice::new(b"th"), IoSlice::new(b"ree")])
            .unwrap();
        assert_eq!(
            host.receive(),
            Some(Crossing {
                vnet,
                packet: b"three".to_vec()
            })
        );
        assert_eq!(host.receive(), None);
    }

    #[test]
    fn a_full_queue_drops_and_a_deleted_device_is_gone() {
        let (device, host) = pair(Offloads::default()).unwrap();
        for _ in 0..QUEUE_LEN_MAX {
            assert!(host.send(VnetHeader::default(), b"x"));
        }
        assert!(!host.send(VnetHeader::default(), b"x"));
        host.delete();
        assert!(is_gone(&device.read(0, &mut [0; 100]).unwrap_err()));
        assert!(is_gone(
            &device.write(0, &VnetHeader::default(), &[]).unwrap_err()
        ));
    }
}
