//! HOT Prefixes that peers see as others: how two sites with the same addresses are linked.
//!
//! The mapping is one to one and keeps no state. What leaves the site gets the source that peers
//! know; what enters it, the destination that its hosts have. ICMP errors quote a packet that went
//! the other way, and there the other address is mapped.
//!
//! ```text
//!             packet                    packet quoted by an ICMP error
//!  outbound   source:      in -> out    destination: in -> out
//!  inbound    destination: out -> in    source:      out -> in
//! ```
//!
//! An address on the wrong side of its mapping would be answered by another than was asked, or let
//! a host pass for its neighbour: such a packet is dropped.

use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_wire::{
    Flow, VnetHeader,
    rewrite::{self, Side},
};

use crate::DropReason;

/// A prefix behind us, and the prefix of the same length by which peers know it. The bits of the
/// host stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefixMapping {
    /// As the hosts behind us have it.
    pub inside: IpNet,
    /// As the peers have it.
    pub outside: IpNet,
}

/// All mappings of a gateway.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mappings(Box<[PrefixMapping]>);

/// What a mapping makes of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mapped {
    /// It is in none.
    Same,
    /// This one.
    Becomes(IpAddr),
    /// Nobody there has such an address.
    Nobodys,
}

impl Mappings {
    /// These. Neither the prefixes inside overlap each other, nor those outside.
    pub fn new(mappings: Vec<PrefixMapping>) -> Self {
        Self(mappings.into())
    }

    /// Whether nothing is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Makes of what was read from the overlay, with its [`VnetHeader`] in front, what peers are to
    /// see.
    ///
    /// # Errors
    /// It is no packet, or is from an address that only peers may use.
    pub fn leave(&self, read: &mut [u8]) -> Result<(), DropReason> {
        let malformed = DropReason::OutboundMalformed;
        let vnet = VnetHeader::parse(read).map_err(|_| malformed)?;
        let packet = read.get_mut(VnetHeader::LEN..).unwrap_or_default();
        let mut flow = Flow::parse(packet).map_err(|_| malformed)?;
        let needs_checksum = vnet.flags & VnetHeader::NEEDS_CSUM != 0;
        // Else the checksum that is not there yet is that of a packet inside of this one.
        let is_partial = needs_checksum && usize::from(vnet.csum_start) == flow.header_len;
        self.replace(packet, &mut flow, Side::Source, is_partial)
    }

    /// Makes of `packet`, which came from a peer and was parsed to `flow`, what the hosts behind us
    /// are to see.
    ///
    /// # Errors
    /// It is for an address that only hosts behind us may use.
    pub fn arrive(&self, packet: &mut [u8], flow: &mut Flow) -> Result<(), DropReason> {
        self.replace(packet, flow, Side::Destination, false)
    }

    /// What peers call the `address` of a host behind us.
    #[cold]
    pub(crate) fn known_as(&self, address: IpAddr) -> IpAddr {
        match self.mapped(address, Side::Source) {
            Mapped::Becomes(address) => address,
            Mapped::Same | Mapped::Nobodys => address,
        }
    }

    /// Maps the address on this side of `packet` and its `flow`, and the one on the other side of
    /// what it quotes.
    #[inline]
    fn replace(
        &self,
        packet: &mut [u8],
        flow: &mut Flow,
        side: Side,
        is_partial: bool,
    ) -> Result<(), DropReason> {
        let (address, other, malformed) = match side {
            Side::Source => (
                &mut flow.source,
                Side::Destination,
                DropReason::OutboundMalformed,
            ),
            Side::Destination => (
                &mut flow.destination,
                Side::Source,
                DropReason::InnerMalformed,
            ),
        };
        match self.mapped(*address, side) {
            Mapped::Same => {}
            Mapped::Becomes(new) => {
                rewrite::replace(packet, side, new, is_partial).map_err(|_| malformed)?;
                *address = new;
            }
            Mapped::Nobodys => return Err(DropReason::NotMapped),
        }
        // Nothing else quotes: most packets need not be parsed again.
        if !flow.is_icmp() {
            return Ok(());
        }
        let Some(quoted) = rewrite::quoted(packet) else {
            return Ok(());
        };
        let address = match other {
            Side::Source => quoted.source,
            Side::Destination => quoted.destination,
        };
        if let Mapped::Becomes(new) = self.mapped(address, side) {
            rewrite::replace_quoted(packet, other, new, is_partial);
        }
        Ok(())
    }

    /// What peers call the `address` of a packet whose source is mapped; what the hosts behind us
    /// call it, of one whose destination is.
    fn mapped(&self, address: IpAddr, side: Side) -> Mapped {
        let mut is_nobodys = false;
        for mapping in &self.0 {
            let (from, to) = match side {
                Side::Source => (mapping.inside, mapping.outside),
                Side::Destination => (mapping.outside, mapping.inside),
            };
            if from.contains(&address) {
                return moved(address, to).map_or(Mapped::Same, Mapped::Becomes);
            }
            is_nobodys |= to.contains(&address);
        }
        if is_nobodys {
            Mapped::Nobodys
        } else {
            Mapped::Same
        }
    }
}

/// The same host of the prefix `to`.
fn moved(address: IpAddr, to: IpNet) -> Option<IpAddr> {
    match (address, to) {
        (IpAddr::V4(address), IpNet::V4(to)) => {
            let host = address.to_bits() & to.hostmask().to_bits();
            let address = to.network().to_bits() | host;
            Some(IpAddr::V4(address.into()))
        }
        (IpAddr::V6(address), IpNet::V6(to)) => {
            let host = address.to_bits() & to.hostmask().to_bits();
            let address = to.network().to_bits() | host;
            Some(IpAddr::V6(address.into()))
        }
        // Both sides of a mapping are of one family.
        (IpAddr::V4(_), IpNet::V6(_)) | (IpAddr::V6(_), IpNet::V4(_)) => None,
    }
}
