//! The reference model: what was sent, what of it may come out where, and what must.
//!
//! It knows nothing of handshakes and sessions. A packet may come out once, as it went in, at the
//! site that has its destination address, while its sender is a peer there and has its source
//! address. That it must is said by who offers it ([`crate::trial`]).

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use weapon_noise::Tick;
use weapon_wire::VnetHeader;

use crate::{
    packet::{self, MARKER, Read},
    site,
    violation::Violation,
};

/// A packet that was offered to a gateway.
#[derive(Debug)]
struct Offered {
    from: usize,
    len: usize,
    source: IpAddr,
    destination: IpAddr,
    at: Tick,
    is_delivered: bool,
}

/// All packets, and who is whose peer.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// By number.
    offered: Vec<Offered>,
    /// Who has whom in its configuration.
    peers: BTreeSet<(usize, usize)>,
    /// TCP sequence numbers of each flow.
    sequences: BTreeMap<(usize, usize), u32>,
}

impl Model {
    pub(crate) fn add_peer(&mut self, host: usize, peer: usize) {
        self.peers.insert((host, peer));
    }

    pub(crate) fn remove_peer(&mut self, host: usize, peer: usize) {
        self.peers.remove(&(host, peer));
    }

    pub(crate) fn are_peers(&self, one: usize, other: usize) -> bool {
        self.peers.contains(&(one, other)) && self.peers.contains(&(other, one))
    }

    /// A packet is about to be offered to the gateway `from`. Returns its number.
    pub(crate) fn offer(
        &mut self,
        from: usize,
        source: IpAddr,
        destination: IpAddr,
        len: usize,
        at: Tick,
    ) -> u64 {
        self.offered.push(Offered {
            from,
            len,
            source,
            destination,
            at,
            is_delivered: false,
        });
        self.offered.len() as u64 - 1
    }

    /// The sequence number of the next `len` bytes.
    pub(crate) fn sequence(&mut self, from: usize, to: usize, len: usize) -> u32 {
        let next = self.sequences.entry((from, to)).or_default();
        let sequence = *next;
        *next = next.wrapping_add(len as u32);
        sequence
    }

    /// `packet` came out at `host`. Returns how many were in it.
    ///
    /// # Errors
    /// If it must not have.
    pub(crate) fn deliver(
        &mut self,
        host: usize,
        vnet: &VnetHeader,
        packet: &[u8],
    ) -> Result<usize, Violation> {
        let altered = |why| Violation::Altered { host, why };
        let (source, destination, payloads) = match packet::read(vnet, packet).map_err(altered)? {
            Read::Icmp => return Ok(0),
            Read::Payloads {
                source,
                destination,
                payloads,
            } => (source, destination, payloads),
        };
        for payload in &payloads {
            let (Some(marker), Some(number)) =
                (payload.first_chunk::<8>(), payload[8..].first_chunk::<8>())
            else {
                return Err(altered("a payload is too short"));
            };
            let number = u64::from_le_bytes(*number);
            let offered = usize::try_from(number)
                .ok()
                .and_then(|number| self.offered.get_mut(number));
            let Some(offered) = offered.filter(|_| *marker == MARKER) else {
                return Err(Violation::Invented { host });
            };
            if *payload != packet::payload(number, offered.len) {
                return Err(altered("other bytes"));
            }
            if (offered.source, offered.destination) != (source, destination) {
                return Err(altered("other addresses"));
            }
            let from = offered.from;
            if site::of(destination) != host {
                return Err(Violation::WrongSite { host, number });
            }
            if site::of(source) != from {
                return Err(Violation::WrongSource { host, from });
            }
            if !self.peers.contains(&(host, from)) {
                return Err(Violation::FromRemovedPeer { host, from });
            }
            if core::mem::replace(&mut offered.is_delivered, true) {
                return Err(Violation::DeliveredTwice { host, number });
            }
        }
        Ok(payloads.len())
    }

    /// How many packets that were offered from `from` for `to` in this time came out, and how many
    /// there were.
    pub(crate) fn delivered(
        &self,
        from: usize,
        to: usize,
        since: Tick,
        until: Tick,
    ) -> (usize, usize) {
        let meant = self.offered.iter().filter(|offered| {
            offered.from == from
                && site::of(offered.destination) == to
                && (since..=until).contains(&offered.at)
        });
        meant.fold((0, 0), |(delivered, all), offered| {
            (delivered + usize::from(offered.is_delivered), all + 1)
        })
    }

    /// When the last packet was offered from `from` for `to` that did not come out.
    pub(crate) fn last_lost(&self, from: usize, to: usize, since: Tick) -> Option<Tick> {
        let meant = self.offered.iter().filter(|offered| {
            offered.from == from && site::of(offered.destination) == to && offered.at >= since
        });
        meant
            .filter(|offered| !offered.is_delivered)
            .map(|offered| offered.at)
            .max()
    }
}
