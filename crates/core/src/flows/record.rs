//! A flow as it is shown.

use core::{net::IpAddr, time::Duration};
use std::sync::Arc;

use weapon_noise::Tick;

use super::{Entry, State};
use crate::{
    PeerId,
    filter::{Direction, Filter, RuleId},
};

/// A flow at one moment. What there is of both ends is first of the one that has opened it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    /// Which way its first packet went.
    pub direction: Direction,
    /// From or to which peer.
    pub peer: PeerId,
    /// Who has opened it, as peers know the address.
    pub source: IpAddr,
    /// To whom, as peers know the address.
    pub destination: IpAddr,
    /// The number of what it carries.
    pub protocol: u8,
    /// Source and destination port, if the protocol has some.
    pub ports: Option<(u16, u16)>,
    /// The identifier, if it is an ICMP echo.
    pub echo_id: Option<u16>,
    /// How far it has come.
    pub state: State,
    /// The rule that lets it pass.
    pub rule: RuleId,
    /// Its name.
    pub rule_name: Option<Arc<str>>,
    /// When it began.
    pub first_seen: Tick,
    /// When its last packet passed.
    pub last_seen: Tick,
    /// How long it may be silent from now on.
    pub expires_in: Duration,
    /// Packets.
    pub packets: [u64; 2],
    /// Bytes of these, with their IP headers.
    pub bytes: [u64; 2],
    /// All flags of TCP that were seen.
    pub tcp_flags: [u8; 2],
    /// Time from the first packet to the first answer; of TCP from SYN to SYN-ACK.
    pub round_trip: Option<Duration>,
}

impl FlowRecord {
    pub(super) fn of(entry: &Entry, filter: &Filter, now: Tick) -> Self {
        let (source, destination, ports) = entry.key.ends(entry.is_opener_low);
        Self {
            direction: entry.direction(),
            peer: entry.peer(),
            source,
            destination,
            protocol: entry.key.protocol(),
            ports: entry.key.has_ports().then_some(ports),
            echo_id: entry.is_icmp().then_some(ports.0),
            state: entry.state,
            rule: RuleId(entry.rule),
            rule_name: filter.name(RuleId(entry.rule)).map(Arc::clone),
            first_seen: entry.first_seen,
            last_seen: entry.last_seen,
            expires_in: entry.timeout().saturating_sub(now.since(entry.last_seen)),
            packets: entry.packets,
            bytes: entry.bytes,
            tcp_flags: entry.flags,
            round_trip: entry.round_trip(),
        }
    }
}
