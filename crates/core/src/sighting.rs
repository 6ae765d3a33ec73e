//! A packet as somebody sees it who looks over a lane's shoulder.

use crate::{DropReason, Peer, Ruling, filter::Direction};

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Overlay to underlay.
    Outbound,
    /// Underlay to overlay.
    Inbound,
}

impl Way {
    /// The same, as rules call it.
    pub fn direction(self) -> Direction {
        match self {
            Self::Outbound => Direction::Outbound,
            Self::Inbound => Direction::Inbound,
        }
    }
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It went on.
    Passed,
    /// It waits for a session.
    Parked,
    /// It died.
    Dropped(DropReason),
}

/// A decrypted packet, when it is known what becomes of it.
#[derive(Clone, Debug)]
pub struct Sighting<'a> {
    /// Where it goes.
    pub way: Way,
    /// Whom it is for, or from; nobody if it is for none.
    pub peer: Option<&'a Peer>,
    /// Outbound as it was read from the overlay, with its header in front: perhaps a superpacket.
    /// Inbound one packet, perhaps with padding behind it.
    pub bytes: &'a [u8],
    /// What became of it.
    pub fate: Fate,
    /// Who has decided that, if the filter has, and it can be said.
    pub ruling: Option<Ruling>,
}
