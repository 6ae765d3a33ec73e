//! Why a packet died.
//!
//! One reason per way to die, C-like and without data, so that the hot path can count it. The name
//! in snake case is the metric label; `docs/metrics.md` says what an operator should do about each.

use serde::{Deserialize, Serialize};

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $label:literal,)+) => {
        /// Why a packet died.
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        pub enum DropReason {
            $($(#[doc = $doc])+ $name,)+
        }

        impl DropReason {
            /// Every reason, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The name in logs, metrics and `status`.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// Outbound: not a valid IPv4 or IPv6 packet, or an offload header that contradicts it.
    OutboundMalformed = "outbound_malformed",
    /// Outbound: no peer has the destination among its networks. The sender gets an ICMP error.
    NoRoute = "no_route",
    /// Outbound: the peer's address is not known yet. The sender gets an ICMP error.
    NoEndpoint = "no_endpoint",
    /// Outbound: waited for a session, and newer packets needed the room.
    ParkOverflow = "park_overflow",
    /// Outbound: waited for a session that did not come to be.
    NoSession = "no_session",
    /// Outbound: the control loop is behind and takes no more packets to park.
    ControlBusy = "control_busy",
    /// Outbound: a message of our own, which a route has led back into the tunnel.
    RoutingLoop = "routing_loop",
    /// Outbound: a session's counters are used up, or a segment did not fit.
    SealFailed = "seal_failed",
    /// Inbound: not one of WireGuard's four messages, or one of a wrong length.
    NotWireGuard = "not_wireguard",
    /// Inbound: a data message for a session that we do not have (any more).
    UnknownIndex = "unknown_index",
    /// Inbound: a data message of a session older than 180 s.
    SessionExpired = "session_expired",
    /// Inbound: a data message that was seen before or is too old to tell.
    Replayed = "replayed",
    /// Inbound: a data message whose tag is wrong.
    Forged = "forged",
    /// Inbound: an authentic data message that holds no valid IPv4 or IPv6 packet.
    InnerMalformed = "inner_malformed",
    /// Inbound: the inner source address does not belong to the peer that sent it.
    WrongSource = "wrong_source",
    /// Inbound: more handshake messages than the control loop takes.
    HandshakeQueueFull = "handshake_queue_full",
    /// Inbound: a handshake message without a valid mac1: somebody who does not know our key.
    InvalidMac1 = "invalid_mac1",
    /// Inbound: under load, a handshake message without a valid cookie; a cookie was sent.
    CookieRequired = "cookie_required",
    /// Inbound: under load, more handshakes from one address than allowed.
    RateLimited = "rate_limited",
    /// Inbound: a handshake message that does not authenticate.
    HandshakeInvalid = "handshake_invalid",
    /// Inbound: an initiation of a key that is none of our peers'.
    UnknownPeer = "unknown_peer",
    /// Inbound: an initiation whose timestamp is not newer than the last one's.
    InitiationReplayed = "initiation_replayed",
    /// Inbound: two initiations of a peer within 20 ms.
    InitiationFlood = "initiation_flood",
    /// Inbound: a response to an initiation that is not pending.
    ResponseUnasked = "response_unasked",
    /// Inbound: a cookie reply that does not belong to our last message.
    CookieInvalid = "cookie_invalid",
    /// Inbound: a handshake that could not be answered, as the kernel has no randomness yet.
    EntropyNotReady = "entropy_not_ready",
    /// Any: an address on the wrong side of its prefix mapping: from behind us one that only peers
    /// know, or from a peer one that only the hosts behind us have.
    NotMapped = "not_mapped",
    /// Any: a rule of the filter denies it, or the default where no rule matches.
    Denied = "denied",
    /// Any: it would begin a flow, and there is no place for another.
    FlowTableFull = "flow_table_full",
    /// Any: it would begin a flow, and cannot be recorded in the audit log.
    NotRecorded = "not_recorded",
    /// Any: a fragment whose first one has not passed.
    FragmentUnknown = "fragment_unknown",
    /// Any: a first fragment that is too short for the header that has to be judged.
    FragmentTiny = "fragment_tiny",
    /// Any: a fragment that overlaps the first one of its packet, or is a fragment of a fragment.
    FragmentOverlap = "fragment_overlap",
    /// Any: a transport header that is cut off, or flags of TCP that contradict each other.
    TransportMalformed = "transport_malformed",
    /// Outbound: more than a limit of the peer, or of a group of it, lets pass.
    OutboundLimit = "outbound_limit",
    /// Inbound: more than a limit of the peer, or of a group of it, lets pass.
    InboundLimit = "inbound_limit",
    /// Any: the interface is down.
    InterfaceDown = "interface_down",
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_distinct_and_in_order() {
        let labels: BTreeSet<_> = DropReason::ALL
            .iter()
            .map(|reason| reason.label())
            .collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, position);
        }
    }
}
