//! What a world must never show.

use core::{fmt, time::Duration};

use weapon_core::DropReason;

/// A rule that was broken. Gateways are meant by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`Display` says what each field is, in a sentence"
)]
pub enum Violation {
    /// An inner packet came out that is not as it went in.
    Altered { host: usize, why: &'static str },
    /// An inner packet came out that nobody sent.
    Invented { host: usize },
    /// An inner packet came out more often than it was sent.
    DeliveredTwice { host: usize, number: u64 },
    /// An inner packet came out at a site that it was not for.
    WrongSite { host: usize, number: u64 },
    /// An inner packet came out whose source address its sender must not use.
    WrongSource { host: usize, from: usize },
    /// An inner packet of a peer came out after the peer was removed.
    FromRemovedPeer { host: usize, from: usize },
    /// A payload can be read on the wire.
    InClear { host: usize },
    /// Two initiations to one peer within 5 s (P28).
    InitiationTooEarly {
        host: usize,
        peer: usize,
        after: Duration,
    },
    /// An initiation that is for nobody.
    InitiationForNobody { host: usize },
    /// The counters of a session do not rise by one (P58, P59).
    WrongCounter {
        host: usize,
        receiver: u32,
        expected: u64,
        counter: u64,
    },
    /// A datagram with the wrong DS field.
    WrongMark { host: usize },
    /// A datagram that is none of WireGuard's.
    NotWireGuard { host: usize },
    /// A datagram when there was nothing to say (P51).
    NotSilent { host: usize },
    /// A deadline that was handled is still due.
    DeadlineNotMoved { host: usize, reason: &'static str },
    /// More packets wait for a session than may.
    ParkedTooMany { host: usize, parked: usize },
    /// Packets that had to be delivered were not.
    NotDelivered {
        from: usize,
        to: usize,
        lost: usize,
        offered: usize,
    },
    /// Packets died of what cannot happen in this world: what would be an ERROR in the log of a
    /// gateway that had one.
    UnexpectedDrop {
        host: usize,
        reason: DropReason,
        count: u64,
    },
    /// Keys outlived the time after which all is erased (P47).
    KeysNotErased { host: usize },
    /// The gateway panicked.
    Panicked { what: String },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Altered { host, why } => {
                write!(f, "a packet came out altered at site {host}: {why}")
            }
            Self::Invented { host } => {
                write!(f, "a packet came out at site {host} that nobody sent")
            }
            Self::DeliveredTwice { host, number } => {
                write!(f, "packet {number} came out twice at site {host}")
            }
            Self::WrongSite { host, number } => {
                write!(
                    f,
                    "packet {number} came out at site {host}, and was not for it"
                )
            }
            Self::WrongSource { host, from } => write!(
                f,
                "at site {host} a packet of gateway {from} came out with a foreign source address"
            ),
            Self::FromRemovedPeer { host, from } => write!(
                f,
                "at site {host} a packet of gateway {from} came out, which is not its peer any more"
            ),
            Self::NotDelivered {
                from,
                to,
                lost,
                offered,
            } => write!(
                f,
                "the tunnel from site {from} to site {to} is not back: {lost} of {offered} packets \
                 did not come out"
            ),
            Self::UnexpectedDrop {
                host,
                reason,
                count,
            } => write!(
                f,
                "gateway {host} dropped {count} packet(s) as `{}`, for which there is no cause",
                reason.label()
            ),
            Self::Panicked { what } => write!(f, "a gateway panicked: {what}"),
            _ => self.fmt_of_gateway(f),
        }
    }
}

impl Violation {
    fn fmt_of_gateway(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InClear { host } => write!(f, "gateway {host} sent a payload in clear"),
            Self::InitiationTooEarly { host, peer, after } => write!(
                f,
                "gateway {host} sent gateway {peer} another initiation after {after:?}"
            ),
            Self::InitiationForNobody { host } => {
                write!(f, "gateway {host} sent an initiation that is for nobody")
            }
            Self::WrongCounter {
                host,
                receiver,
                expected,
                counter,
            } => write!(
                f,
                "gateway {host} sent counter {counter} instead of {expected} to index {receiver:#x}"
            ),
            Self::WrongMark { host } => {
                write!(f, "gateway {host} sent a datagram with the wrong DS field")
            }
            Self::NotWireGuard { host } => {
                write!(
                    f,
                    "gateway {host} sent a datagram that is none of WireGuard's"
                )
            }
            Self::NotSilent { host } => {
                write!(
                    f,
                    "gateway {host} sent a datagram when there was nothing to say"
                )
            }
            Self::DeadlineNotMoved { host, reason } => {
                write!(f, "a deadline of gateway {host} is still due: {reason}")
            }
            Self::ParkedTooMany { host, parked } => {
                write!(f, "gateway {host} has parked {parked} packets of one peer")
            }
            Self::KeysNotErased { host } => {
                write!(
                    f,
                    "gateway {host} still has keys that nobody used for an hour"
                )
            }
            _ => Ok(()),
        }
    }
}
