//! The doors: the sockets at which handshake messages come in, apart from data and by the network
//! that they come from.
//!
//! The control loop itself looks here, so a flood of them takes nothing from the lanes: neither
//! their time nor room in their sockets (`docs/decisions/0009-doors-for-handshakes.md`). The
//! messages go the same way as those that come to a lane, through the mailbox with its quotas. So
//! does data, which the kernel hands over here when it has joined it to a handshake message.

use std::{io, sync::Arc};

use weapon_core::HANDSHAKE_QUEUE_MAX;
use weapon_io::{
    poll::{Epoll, Events},
    tun::Device,
    udp::{Family, Socket},
};
use weapon_noise::Tick;

use crate::{lane_inbound::LaneInbound, socket_cell::SocketHold};

/// Tokens of the files, from this one up.
const DOORS: u64 = 1 << 33;

/// What the doors consist of.
pub(crate) struct Doors<D, S> {
    pub(crate) sockets: SocketHold<S>,
    pub(crate) inbound: LaneInbound<D>,
    pub(crate) epoll: Arc<Epoll>,
}

impl<D: Device, S: Socket> Doors<D, S> {
    /// Looks whether the sockets were replaced.
    pub(crate) fn refresh(&mut self) -> io::Result<()> {
        self.sockets.refresh_in(&self.epoll, DOORS)
    }

    /// Takes what has come into the mailbox: at each door as much as there is room for, so that a
    /// flood at one keeps neither the others waiting nor deadlines and commands. It is four times
    /// what one network may have there. To drop the rest is cheap, and whoever shares the door
    /// with a flood is behind it.
    pub(crate) fn receive(&mut self, events: &Events, now: Tick) -> io::Result<()> {
        for event in events.iter().filter(|event| event.token >= DOORS) {
            let number = (event.token - DOORS) as usize;
            let family = Family::ALL[number % Family::ALL.len()];
            let Some(socket) = self.sockets.all().get(number / Family::ALL.len()) else {
                continue;
            };
            let mut taken = 0;
            while taken < HANDSHAKE_QUEUE_MAX {
                match self.inbound.batch(socket, family, now)?.trains {
                    0 => break,
                    trains => taken += trains,
                }
            }
        }
        Ok(())
    }
}
