//! The latest drops as the local API tells them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weapon_core::{
    LATEST_DROPS_MAX, LatestDrop, PeerId,
    filter::{Filter, Protocol},
};
use weapon_engine::Engine;
use weapon_wire::ip;

use super::{Explained, explained};
use crate::{
    config::{Config, protocol_name},
    flows::direction_name,
};

/// The latest packets that died.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropsReport {
    /// The newest first, 64 at most. Packets that are like each other are one.
    pub drops: Vec<DropReport>,
    /// Packets that died just while somebody looked: they are counted as all are, and not listed.
    pub missed: u64,
}

/// Packets that died, for the same reason and between the same ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DropReport {
    /// Why, as docs/metrics.md has it.
    pub reason: String,
    /// What that means.
    pub means: String,
    /// What to do.
    pub remedy: String,
    /// How many there were, since this entry was made.
    pub count: u64,
    /// When the first one died, in seconds since 1970.
    pub first: u64,
    /// When the last one died, in seconds since 1970.
    pub last: u64,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Whom it was for, or from; null if that is not known.
    pub peer: Option<String>,
    /// Of what came in: who sent the datagram that it was in.
    #[schema(value_type = Option<String>, example = "203.0.113.7:51820")]
    pub from: Option<SocketAddr>,
    /// What it carried: `tcp`, `udp`, `icmp` and so on; null if it was not seen in clear.
    pub protocol: Option<String>,
    /// Its source, as peers know it.
    #[schema(value_type = Option<String>)]
    pub source: Option<IpAddr>,
    /// Its source port.
    pub source_port: Option<u16>,
    /// Its destination, as peers know it.
    #[schema(value_type = Option<String>)]
    pub destination: Option<IpAddr>,
    /// Its destination port.
    pub destination_port: Option<u16>,
    /// Its type of ICMP.
    pub icmp_type: Option<u8>,
    /// The rule that denied it.
    pub rule: Option<String>,
    /// Where that stands, as `FILE:LINE:COLUMN`; null if it is not in the file any more.
    pub place: Option<String>,
}

/// What the gateway's process knows of the latest drops.
pub fn latest(engine: &Engine) -> DropsReport {
    let fib = engine.fib();
    let peers = fib.peers.iter();
    let peers: BTreeMap<PeerId, &str> = peers.map(|peer| (peer.id, &*peer.name)).collect();
    let filter = fib.checkpoint.as_ref().map(|it| &**it.filter());
    let (drops, missed) = engine.latest_drops();
    let now = weapon_engine::now();
    let seconds = |at| {
        now.wall
            .seconds
            .saturating_sub(now.tick.since(at).as_secs())
    };
    let drops = drops.iter().take(LATEST_DROPS_MAX).map(|drop| DropReport {
        first: seconds(drop.first),
        last: seconds(drop.last),
        ..DropReport::of(drop, &peers, filter)
    });
    DropsReport {
        drops: drops.collect(),
        missed,
    }
}

impl DropsReport {
    /// Adds where the rules stand.
    pub fn locate(&mut self, config: &Config) {
        for drop in &mut self.drops {
            let rule = drop.rule.as_deref();
            let place = rule.and_then(|rule| config.written.rules.place(rule));
            drop.place = place.map(|place| config.at(place));
        }
    }
}

impl DropReport {
    fn of(drop: &LatestDrop, peers: &BTreeMap<PeerId, &str>, filter: Option<&Filter>) -> Self {
        let dropped = &drop.dropped;
        let Explained { means, remedy } = explained(dropped.reason);
        let headers = dropped.headers.as_ref();
        let ports = headers.and_then(|headers| headers.ports);
        let peer = dropped.peer.and_then(|peer| peers.get(&peer).copied());
        let rule = dropped.rule.and_then(|rule| filter?.name(rule));
        Self {
            reason: dropped.reason.label().to_owned(),
            means: means.to_owned(),
            remedy: remedy.to_owned(),
            count: drop.count,
            first: 0,
            last: 0,
            direction: direction_name(dropped.way.direction()).to_owned(),
            peer: peer.map(str::to_owned),
            from: dropped.from,
            protocol: headers.map(|headers| {
                let number = headers.protocol;
                let is_icmp = ip::is_icmp(number, headers.source);
                protocol_name(if is_icmp {
                    Protocol::Icmp
                } else {
                    Protocol::Number(number)
                })
            }),
            source: headers.map(|headers| headers.source),
            source_port: ports.map(|(source, _)| source),
            destination: headers.map(|headers| headers.destination),
            destination_port: ports.map(|(_, destination)| destination),
            icmp_type: headers.and_then(|headers| headers.icmp_kind),
            rule: rule.map(ToString::to_string),
            place: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::{
        DropReason, Dropped, Headers, Way,
        filter::{Action, RuleId},
    };
    use weapon_noise::Tick;

    use super::*;

    #[test]
    fn a_drop_is_told_by_names() {
        let dropped = Dropped {
            reason: DropReason::Denied,
            way: Way::Inbound,
            peer: Some(PeerId(3)),
            from: Some(([203, 0, 113, 7], 51_820).into()),
            headers: Some(Headers {
                source: [10, 0, 1, 6].into(),
                destination: [10, 0, 0, 5].into(),
                protocol: 6,
                ports: Some((50_000, 22)),
                icmp_kind: None,
            }),
            rule: Some(RuleId::DEFAULT),
        };
        let drop = LatestDrop {
            dropped,
            count: 4,
            first: Tick::default(),
            last: Tick::default(),
        };
        let filter = Filter::new(Action::Deny, &[], Vec::new(), None);
        let report = DropReport::of(&drop, &[(PeerId(3), "site-b")].into(), Some(&filter));
        assert_eq!(
            (
                report.reason.as_str(),
                report.direction.as_str(),
                report.count
            ),
            ("denied", "inbound", 4)
        );
        assert_eq!(report.peer.as_deref(), Some("site-b"));
        assert_eq!(report.rule.as_deref(), Some("default"));
        assert_eq!(report.protocol.as_deref(), Some("tcp"));
        assert_eq!(report.destination_port, Some(22));
        // Who has no name any more has none here.
        let gone = DropReport::of(&drop, &BTreeMap::new(), None);
        assert_eq!((gone.peer, gone.rule), (None, None));
    }
}
