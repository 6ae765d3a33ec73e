//! What each drop reason means, and what helps: one text for the command line, for the local API
//! and for docs/metrics.md.

use weapon_core::DropReason;

/// What is to be said of a drop reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explained {
    /// What has happened to a packet that died of it.
    pub means: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

macro_rules! explained {
    ($($name:ident: $means:literal, $remedy:literal;)+) => {
        /// Of each reason: one that is not explained here does not compile.
        pub fn explained(reason: DropReason) -> Explained {
            let (means, remedy) = match reason {
                $(DropReason::$name => ($means, $remedy),)+
            };
            Explained { means, remedy }
        }
    };
}

explained! {
    OutboundMalformed:
        "the system handed over something that is not a valid IPv4 or IPv6 packet, or an \
         offload header that contradicts it",
        "nothing for single ones; if it grows, switch the offloads off in the configuration \
         and report it";
    NoRoute:
        "a packet for a destination that is in no peer's networks; its sender got an ICMP \
         error",
        "a few are the host's own multicast (IPv6 router solicitations); for others compare \
         the routes into the interface with the peers' networks";
    NoEndpoint:
        "a packet for a peer whose address is not known, because none is configured and it \
         has not spoken yet; its sender got an ICMP error",
        "give the peer an `endpoint`, or let it begin";
    ParkOverflow:
        "more packets waited for a session than there is room for; the oldest went",
        "normal while a handshake runs under load; if it lasts, the peer does not answer";
    NoSession:
        "packets waited for a session that did not come to be",
        "look at the peer: is it up, is its port open, do the keys match?";
    ControlBusy:
        "the control loop was behind and took no more packets to park",
        "the machine is overloaded, or very many peers come up at once";
    RoutingLoop:
        "our own data messages came back to us as packets to be sent: the host's route to the \
         peer's endpoint leads into the tunnel",
        "give the endpoint a route past the tunnel, or use `fwmark` with a routing rule";
    SealFailed:
        "a session's counters were used up, or a segment did not fit its place",
        "should be zero: report it";
    NotWireGuard:
        "a datagram that is none of WireGuard's four messages, or has a wrong length",
        "scanners cause it; if nothing works, something else sends to this port";
    UnknownIndex:
        "a data message for a session that this gateway does not have, or not any more",
        "normal after a restart, until the peer shakes hands again";
    SessionExpired:
        "a data message of a session that is older than 180 s",
        "a path that holds packets back very long, or a replay";
    Replayed:
        "a data message that was seen before, or is too old to tell",
        "a path that duplicates or reorders widely, or an attacker who replays";
    Forged:
        "a data message for a live session whose tag is wrong",
        "damage on the path, or an attacker";
    InnerMalformed:
        "an authentic data message that does not hold a valid IPv4 or IPv6 packet",
        "the peer's software is at fault";
    WrongSource:
        "an authentic packet whose inner source address is not in that peer's networks",
        "add the network to the peer if it is meant to come from there";
    HandshakeQueueFull:
        "more handshake messages arrived than the control loop takes, from all together or \
         from one network (a /24, a /64)",
        "a flood, or very many peers at once; legitimate peers try again";
    InvalidMac1:
        "a handshake message from somebody who does not know our public key",
        "a peer with our old or a wrong public key, or a scanner";
    CookieRequired:
        "under load, or from a network that floods us, a handshake message without a valid \
         cookie; a cookie was sent",
        "a flood; peers come back with the cookie";
    RateLimited:
        "under load, more handshakes from one address than allowed, or more cookies asked for \
         from one address and port than are sent",
        "a flood, or very many peers behind one address";
    HandshakeInvalid:
        "a handshake message that does not authenticate",
        "the preshared keys differ, or the message is forged";
    UnknownPeer:
        "an initiation with a key that is none of our peers'",
        "add the peer, or remove us there";
    InitiationReplayed:
        "an initiation whose timestamp is not newer than the last one's",
        "the peer's clock went back, or an attacker replays";
    InitiationFlood:
        "two initiations of one peer within 20 ms",
        "nothing for single ones; if it grows, two machines use one key";
    ResponseUnasked:
        "a response to an initiation that is not pending",
        "normal when an answer comes late or twice";
    CookieInvalid:
        "a cookie reply that does not belong to our last message",
        "normal when it comes late; else an attacker";
    EntropyNotReady:
        "a handshake was not answered because the kernel has no randomness yet",
        "wait: early in the boot of a small machine";
    NotMapped:
        "an address on the wrong side of a prefix mapping (`networks = [\"… as …\"]`): a host \
         behind us that calls itself by the prefix that only peers use, or a peer that asks \
         for an address that only hosts behind us have",
        "let the peer use the prefix behind `as`; else somebody pretends to be a neighbour";
    Denied:
        "a rule of the filter denies the packet, or the default does where no rule matches; \
         `weapon flows` counts them by rule",
        "what is meant to pass needs a rule; `weapon check` tries one out with `[[test]]`";
    FlowTableFull:
        "the packet would begin a flow, and its set in the table is full of flows that are \
         assured and in use, or of as many of one peer as it may have",
        "raise `flows_max`; look at `weapon flows` for a host that opens very many";
    NotRecorded:
        "the packet would begin a flow, or belongs to none, while the audit log cannot be written \
         and `on_failure` is `\"deny-new\"`",
        "make room for the log, or mend its disk; `weapon status` says what is wrong";
    FragmentUnknown:
        "a fragment whose first one was not seen, or was dropped, or is older than 30 s",
        "a path that reorders fragments, or what was denied with its first one; avoid \
         fragments by a right MTU";
    FragmentTiny:
        "a first fragment that is too short for the header which has to be judged",
        "no host sends such; somebody tries to get around the filter";
    FragmentOverlap:
        "a fragment that overlaps the first one of its packet, or is a fragment of a fragment",
        "no host sends such; somebody tries to get around the filter";
    TransportMalformed:
        "a header of TCP, UDP, SCTP, DCCP or ICMP that is cut off, or flags of TCP that \
         contradict each other",
        "scanners send such; else the sender is at fault";
    OutboundLimit:
        "more was to be sent to a peer than a `rate_limit` of it or of a group of it lets pass; \
         each segment of a superpacket counts",
        "it is what the limit is for; `weapon status` says which peer it is. A stream of TCP that \
         stays far below the limit wants a larger `rate_burst_kb`";
    InboundLimit:
        "a peer sent more than a `rate_limit` of it or of a group of it lets pass",
        "the same, at the other end";
    InterfaceDown:
        "a packet arrived while the interface was down",
        "set the interface up";
}

#[cfg(test)]
mod tests {
    use std::{env, fmt::Write as _, fs, path::PathBuf};

    use super::*;

    /// Between these lines, docs/metrics.md is made of what is said here.
    const BEGIN: &str = "<!-- made of the code from here on -->\n";
    const END: &str = "<!-- to here -->\n";

    /// To renew it: `WEAPON_RENEW_DOCS=1 cargo test -p weapon --lib docs_are_those_of_the_reasons`.
    #[test]
    fn docs_are_those_of_the_reasons() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/metrics.md");
        let found = fs::read_to_string(&path).unwrap();
        let (before, rest) = found.split_once(BEGIN).unwrap();
        let (_, after) = rest.split_once(END).unwrap();
        let mut table = String::from("| label | means | what to do |\n|---|---|---|\n");
        for &reason in DropReason::ALL {
            let Explained { means, remedy } = explained(reason);
            writeln!(table, "| `{}` | {means} | {remedy} |", reason.label()).unwrap();
        }
        let expected = format!("{before}{BEGIN}{table}{END}{after}");
        if env::var_os("WEAPON_RENEW_DOCS").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let found = fs::read_to_string(&path).unwrap();
        assert!(
            found == expected,
            "docs/metrics.md is not what is said here: see the head of this test"
        );
    }
}
