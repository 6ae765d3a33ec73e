//! What a gateway says of a packet, as the local API tells it: the part of the way that only the
//! gateway knows.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weapon_core::{Ahead, DropReason, Examination, Judgement, PeerStatus, filter::Direction};
use weapon_noise::Trouble;

use super::{Step, WhyQuery};
use crate::{
    config::{Config, service::rate},
    drops::explained,
    report::seconds_now,
    status::amounts::{duration, short_duration},
};

/// What would become of a packet in a gateway, step by step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyReport {
    /// Whether it would pass; one that waits for a session that may well come does.
    pub passes: bool,
    /// The peer that it would go to, or come from; null if there is none.
    pub peer: Option<String>,
    /// Its bytes, with the IP header.
    pub size: usize,
    /// Its source, as it would leave the gateway.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// Its destination, as it would leave the gateway.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// The steps in the order of the packet, up to the one that stops it.
    pub steps: Vec<Step>,
}

impl WhyReport {
    /// Of a packet that was examined.
    pub fn new(config: &Config, query: &WhyQuery, seen: &Examination) -> Self {
        let mut steps = Steps {
            config,
            query,
            seen,
            list: Vec::new(),
        };
        if query.from.is_some() {
            steps.inbound();
        } else {
            steps.outbound();
        }
        let mut list = steps.list;
        let end = list.iter().position(Step::decides);
        list.truncate(end.map_or(list.len(), |end| end + 1));
        Self {
            passes: end.is_none(),
            peer: seen.peer.as_ref().map(|peer| peer.name.clone()),
            size: seen.len,
            source: seen.source,
            destination: seen.destination,
            steps: list,
        }
    }
}

/// The steps of an examination.
struct Steps<'a> {
    config: &'a Config,
    query: &'a WhyQuery,
    seen: &'a Examination,
    list: Vec<Step>,
}

impl Steps<'_> {
    fn outbound(&mut self) {
        self.interface();
        self.mapping("source", (self.query.source, self.seen.source));
        self.owner("destination", self.query.destination);
        self.filter();
        self.endpoint();
        self.session();
        self.limit(DropReason::OutboundLimit);
    }

    fn inbound(&mut self) {
        self.interface();
        self.arrival();
        self.owner("source", self.query.source);
        self.filter();
        self.limit(DropReason::InboundLimit);
        let both = (self.query.destination, self.seen.destination);
        self.mapping("destination", both);
    }

    fn died_of(&self, reason: DropReason) -> bool {
        self.seen.ahead == Ahead::Dies(reason)
    }

    fn stops(&mut self, name: &str, says: String, reason: DropReason, place: Option<String>) {
        let step = Step::stops(name, says, explained(reason).remedy).at(place);
        self.list.push(Step {
            reason: Some(reason.label().to_owned()),
            ..step
        });
    }

    fn interface(&mut self) {
        let name = &self.config.interface;
        if self.seen.up {
            let says = format!("{name} is up");
            self.list.push(Step::passes("interface", says));
        } else {
            let says = format!("{name} is down, so nothing passes");
            self.stops("interface", says, DropReason::InterfaceDown, None);
        }
    }

    fn mapping(&mut self, which: &str, (before, after): (IpAddr, IpAddr)) {
        const NAME: &str = "mapping";
        if self.died_of(DropReason::NotMapped) {
            let says = match which {
                "source" => format!("{before} is an address by which only peers know a host"),
                _ => format!("{before} is an address that only hosts behind us have"),
            };
            self.stops(NAME, says, DropReason::NotMapped, None);
        } else if before != after {
            let place = self.mapping_place(before, after);
            let says = format!("the {which} becomes {after}");
            self.list.push(Step::passes(NAME, says).at(place));
        }
    }

    /// The line of the mapping that makes one of the other.
    fn mapping_place(&self, before: IpAddr, after: IpAddr) -> Option<String> {
        let mappings = self.config.behind.iter().map(|behind| match behind {
            crate::config::Behind::Mapped(mapping) => Some(mapping),
            _ => None,
        });
        let mut lines = mappings.zip(&self.config.written.behind);
        let (_, place) = lines.find(|(mapping, _)| {
            mapping.is_some_and(|mapping| {
                let has = |address| {
                    let (inside, outside) = (mapping.inside, mapping.outside);
                    inside.contains(&address) || outside.contains(&address)
                };
                has(before) && has(after)
            })
        })?;
        Some(self.config.at(place))
    }

    /// Cryptokey routing: who has the address.
    fn owner(&mut self, which: &str, address: IpAddr) {
        const NAME: &str = "peer";
        let has = |(peer, network): &(String, IpNet)| format!("{peer} has {network}");
        let owner = self.seen.owner.as_ref();
        let place = owner.and_then(|(_, network)| {
            let place = self.config.written.networks.get(network)?;
            Some(self.config.at(place))
        });
        if self.died_of(DropReason::NoRoute) {
            let says = format!("no peer has {address} among its networks");
            self.stops(NAME, says, DropReason::NoRoute, None);
        } else if self.died_of(DropReason::WrongSource) {
            let whose = owner.map_or_else(|| "nobody has it".to_owned(), has);
            let from = self.query.from.as_deref().unwrap_or_default();
            let says = format!("{address} is not among the networks of {from}: {whose}");
            self.stops(NAME, says, DropReason::WrongSource, place);
        } else if let Some(owner) = owner {
            let says = format!("{}, and so the {which} {address}", has(owner));
            self.list.push(Step::passes(NAME, says).at(place));
        }
    }

    fn filter(&mut self) {
        const NAME: &str = "filter";
        for reason in [
            DropReason::TransportMalformed,
            DropReason::FlowTableFull,
            DropReason::NotRecorded,
        ] {
            if self.died_of(reason) {
                self.stops(NAME, explained(reason).means.to_owned(), reason, None);
                return;
            }
        }
        let Some(judgement) = &self.seen.judgement else {
            return;
        };
        let says = said(judgement);
        let place = self.config.written.rules.place(&judgement.rule);
        let place = place.filter(|_| judgement.enforced);
        let place = place.map(|place| self.config.at(place));
        if self.died_of(DropReason::Denied) {
            self.stops(NAME, says, DropReason::Denied, place);
        } else {
            self.list.push(Step::passes(NAME, says).at(place));
        }
    }

    fn endpoint(&mut self) {
        const NAME: &str = "endpoint";
        let Some(peer) = &self.seen.peer else { return };
        let name = &peer.name;
        match peer.endpoint {
            Some(endpoint) => {
                let says = format!("{name} is at {endpoint}");
                self.list.push(Step::passes(NAME, says));
            }
            None => {
                let says = format!("nobody knows where {name} is");
                self.stops(NAME, says, DropReason::NoEndpoint, None);
            }
        }
    }

    /// Whether the packet can be sealed at once, and if not, whether it is worth waiting.
    fn session(&mut self) {
        const NAME: &str = "session";
        let Some(peer) = &self.seen.peer else { return };
        if !self.seen.has_key {
            let says = "there is no private key of ours".to_owned();
            self.stops(NAME, says, DropReason::NoSession, None);
            return;
        }
        match (self.seen.ahead, peer.trouble) {
            (Ahead::Passes | Ahead::Dies(DropReason::OutboundLimit), _) => {
                let says = session_of(peer);
                self.list.push(Step::passes(NAME, says));
            }
            (_, Some(trouble)) => {
                let says = format!("there is none, and {}", troubled(trouble));
                self.stops(NAME, says, DropReason::NoSession, None);
            }
            (_, None) => {
                let says = format!(
                    "there is none: the packet waits for a handshake, which it begins; {}",
                    last_handshake(peer)
                );
                self.list.push(Step::passes(NAME, says));
            }
        }
    }

    /// Limits let pass what there is room for at this moment.
    fn limit(&mut self, reason: DropReason) {
        const NAME: &str = "limit";
        let Some(limit) = &self.seen.limit else {
            return;
        };
        let peer = self.seen.peer.as_ref().map(|peer| peer.name.as_str());
        let whose = match &limit.group {
            Some(group) => format!("the group `{group}`"),
            None => peer.unwrap_or_default().to_owned(),
        };
        let rate = rate::name(limit.limit.bytes_per_second);
        let room = limit.room_bytes;
        let says = format!("the limit of {whose}, {rate}, lets {room} bytes pass at this moment");
        if self.died_of(reason) {
            let says = format!("{says}, and the packet has {}", self.seen.len);
            self.stops(NAME, says, reason, None);
        } else {
            self.list.push(Step::passes(NAME, says));
        }
    }

    /// What a peer sends comes with a session.
    fn arrival(&mut self) {
        const NAME: &str = "session";
        let Some(peer) = &self.seen.peer else { return };
        if !self.seen.has_key {
            let says = "there is no private key of ours, so nothing is opened".to_owned();
            self.stops(NAME, says, DropReason::InvalidMac1, None);
            return;
        }
        let says = match &peer.session {
            Some(_) => session_of(peer),
            None => format!(
                "there is none, so {} has to begin with a handshake; {}",
                peer.name,
                last_handshake(peer)
            ),
        };
        self.list.push(Step::passes(NAME, says));
    }
}

fn said(judgement: &Judgement) -> String {
    if let Some(flow) = &judgement.flow {
        let age = short_duration(flow.age_ms / 1000);
        let opened = match flow.direction {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        };
        let (state, rule) = (&flow.state, &judgement.rule);
        return format!(
            "it belongs to a flow that is known, {state}, opened {opened} {age} ago by `{rule}`"
        );
    }
    if !judgement.enforced {
        return "flows are watched, and there are no rules".to_owned();
    }
    let verb = if judgement.allows { "allows" } else { "denies" };
    match judgement.rule.as_str() {
        weapon_core::filter::RuleId::DEFAULT_NAME => {
            format!("no rule matches, and the default {verb} it")
        }
        rule => format!("rule `{rule}` {verb} it"),
    }
}

fn session_of(peer: &PeerStatus) -> String {
    match &peer.session {
        Some(session) => format!(
            "there is one with {}, {} old",
            peer.name,
            duration(session.age.as_secs())
        ),
        None => format!("there is one with {}", peer.name),
    }
}

fn last_handshake(peer: &PeerStatus) -> String {
    match peer.last_handshake {
        None => "there was no handshake so far".to_owned(),
        Some(at) => {
            let ago = seconds_now().saturating_sub(at.seconds);
            format!("the last one was {} ago", duration(ago))
        }
    }
}

fn troubled(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::NoAnswer => "the peer does not answer our handshakes",
        Trouble::InvalidResponse => "its responses do not authenticate: the preshared keys differ",
        Trouble::CookiesOnly => "the peer is under load and answers with cookies alone",
        Trouble::Unconfirmed => "the peer does not use the sessions that we answer with",
        Trouble::LowOrder => "the peer's public key is none",
    }
}
