//! What peers get: limits of what passes, and marks of datagrams, of one peer and of groups.

// What is written.
mod draft;
pub use draft::{GroupDraft, ServiceDraft};

// The values.
pub mod dscp;
pub mod rate;

use std::collections::{BTreeMap, BTreeSet};

use weapon_core::{GroupService, PeerService, RateLimit, RateLimits, Services};

use super::draft::PeerDraft;
use super::model::{Config, PeerConfig};
use super::problem::{Located, Place, Problems};
use super::suggest;
use super::value::{self, quoted};

/// What a section `[[peer]]` or `[[group]]` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceConfig {
    /// The limits.
    pub limits: RateLimits,
    /// The mark of datagrams, 0 to 63.
    pub dscp: Option<u8>,
}

/// A group, and what is said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name.
    pub name: String,
    /// What its members get.
    pub service: ServiceConfig,
}

impl Config {
    /// What each peer gets, as the gateway wants it: who has no mark of its own has that of its
    /// groups. Peers that get nothing else than all others are not named.
    pub fn services(&self) -> Services {
        let has_limits = |group: &&GroupConfig| group.service.limits != RateLimits::default();
        let limited = self.groups.iter().filter(has_limits);
        let peers = self.peers.iter().filter_map(|peer| {
            let mut groups = self
                .groups
                .iter()
                .filter(|it| peer.groups.contains(&it.name));
            let mark = groups.clone().find_map(|group| group.service.dscp);
            let dscp = peer.service.dscp.or(mark).unwrap_or(0);
            let limits = peer.service.limits;
            let is_plain = dscp == 0
                && limits == RateLimits::default()
                && !groups.clone().any(|group| has_limits(&group));
            let shared = groups.by_ref().filter(has_limits);
            (!is_plain).then(|| PeerService {
                public_key: peer.public_key,
                dscp,
                limits,
                groups: shared.map(|group| group.name.clone()).collect(),
            })
        });
        Services {
            peers: peers.collect(),
            groups: limited
                .map(|group| GroupService {
                    name: group.name.clone(),
                    limits: group.service.limits,
                })
                .collect(),
        }
    }
}

/// What the keys of a section come to; what is wrong is noted.
pub fn service(draft: &ServiceDraft, problems: &mut Problems) -> ServiceConfig {
    let burst = burst(draft, problems);
    let mut limit = |text: &Option<Located<String>>| -> Option<RateLimit> {
        let text = text.as_ref()?;
        match rate::parse(&text.value) {
            Ok(rate) => Some(rate::limit(rate, burst)),
            Err(message) => {
                problems.error(&text.place, message);
                None
            }
        }
    };
    let both = limit(&draft.rate_limit);
    let outbound = limit(&draft.rate_limit_outbound);
    let inbound = limit(&draft.rate_limit_inbound);
    let single = [&draft.rate_limit_outbound, &draft.rate_limit_inbound];
    let single = single.into_iter().flatten().next();
    if let (Some(both), Some(single)) = (&draft.rate_limit, single) {
        let message = format!(
            "{} is given too, and holds for both directions; keep it, or give each its own",
            both.place.key
        );
        problems.error(&single.place, message);
    }
    if let (Some(burst), None, None) = (&draft.rate_burst_kb, &draft.rate_limit, single) {
        problems.error(&burst.place, "of which limit? Give rate_limit too");
    }
    let dscp = draft.dscp.as_ref().and_then(|text| {
        let parsed = dscp::parse(&text.value);
        parsed
            .map_err(|message| problems.error(&text.place, message))
            .ok()
    });
    ServiceConfig {
        limits: RateLimits {
            outbound: outbound.or(both),
            inbound: inbound.or(both),
        },
        dscp,
    }
}

/// Bytes of a burst, if they are written.
fn burst(draft: &ServiceDraft, problems: &mut Problems) -> Option<u64> {
    let Located { value, place } = draft.rate_burst_kb.as_ref()?;
    let (min, max) = (rate::BURST_KB_MIN, rate::BURST_KB_MAX);
    if !(min..=max).contains(value) {
        let message = format!(
            "{value} is out of range; it is {min} to {max} kilobytes: the largest packet has to \
             find room"
        );
        problems.error(place, message);
    }
    Some(u64::try_from(*value).unwrap_or(0).saturating_mul(1000))
}

/// The groups. Where fewer peers are good than are written, a group could miss those: then nothing
/// is said of members.
pub fn groups(
    drafts: &[GroupDraft],
    peers: &[PeerConfig],
    peer_drafts: &[PeerDraft],
    problems: &mut Problems,
) -> Vec<GroupConfig> {
    let mut groups: Vec<(GroupConfig, &Place)> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let service = service(&draft.service, problems);
        let Some(name) = group_name(draft, &groups, problems) else {
            continue;
        };
        if peers.len() == peer_drafts.len() {
            ensure_members(name, peers, problems);
        }
        let ServiceDraft {
            rate_limit,
            rate_limit_outbound,
            rate_limit_inbound,
            rate_burst_kb: _,
            dscp,
        } = &draft.service;
        let asked = [rate_limit, rate_limit_outbound, rate_limit_inbound, dscp];
        if asked.iter().all(|key| key.is_none()) {
            let message = "nothing is asked for; give rate_limit or dscp, or leave the section out";
            problems.error(&draft.place, message);
        }
        let name = name.value.clone();
        groups.push((GroupConfig { name, service }, &draft.place));
    }
    if peers.len() == peer_drafts.len() {
        for (peer, draft) in peers.iter().zip(peer_drafts) {
            ensure_one_mark(peer, draft, &groups, problems);
        }
    }
    groups.into_iter().map(|(group, _)| group).collect()
}

fn group_name<'d>(
    draft: &'d GroupDraft,
    before: &[(GroupConfig, &Place)],
    problems: &mut Problems,
) -> Option<&'d Located<String>> {
    let Some(name) = &draft.name else {
        let place = Place {
            key: "group.name".to_owned(),
            ..draft.place.clone()
        };
        let message = "the group has no name; give it that which peers have as group";
        problems.error(&place, message);
        return None;
    };
    if let Err(message) = value::name(&name.value) {
        problems.error(&name.place, message);
        return None;
    }
    let same = before.iter().find(|(group, _)| group.name == name.value);
    if let Some((_, place)) = same {
        let message = format!(
            "the group in line {} is `{}` already; put both together",
            place.line, name.value
        );
        problems.error(&name.place, message);
        return None;
    }
    Some(name)
}

/// Somebody is in the group.
fn ensure_members(name: &Located<String>, peers: &[PeerConfig], problems: &mut Problems) {
    let known: BTreeSet<&str> = peers
        .iter()
        .flat_map(|peer| &peer.groups)
        .map(String::as_str)
        .collect();
    if known.contains(name.value.as_str()) {
        return;
    }
    let shown = quoted(&name.value);
    let known: Vec<&str> = known.into_iter().collect();
    let message = match suggest::nearest(&name.value, &known) {
        Some(meant) => format!("no peer is in the group {shown}; did you mean \"{meant}\"?"),
        None => format!(
            "no peer is in the group {shown}; give a peer group = {:?}",
            name.value
        ),
    };
    problems.error(&name.place, message);
}

/// Groups of a peer without a mark of its own do not contradict each other.
fn ensure_one_mark(
    peer: &PeerConfig,
    draft: &PeerDraft,
    groups: &[(GroupConfig, &Place)],
    problems: &mut Problems,
) {
    if draft.service.dscp.is_some() {
        return;
    }
    let marks = groups
        .iter()
        .filter(|(it, _)| peer.groups.contains(&it.name));
    let mut marks = marks.filter_map(|(group, _)| Some((&group.name, group.service.dscp?)));
    let Some((first, mark)) = marks.next() else {
        return;
    };
    if let Some((other, another)) = marks.find(|(_, another)| *another != mark) {
        let message = format!(
            "the groups `{first}` and `{other}` mark with {} and {}; give the peer dscp, which \
             goes first",
            dscp::name(mark),
            dscp::name(another)
        );
        let place = Place {
            key: "peer.dscp".to_owned(),
            ..draft.place.clone()
        };
        problems.error(&place, message);
    }
}

/// What is different of peers that were and are there, and of groups: a line each.
pub fn changes(before: &Config, after: &Config) -> Vec<String> {
    let (old, new) = (before.services(), after.services());
    let of_group = |services: &Services, name: &str| {
        let group = services.groups.iter().find(|group| group.name == name);
        group.map_or_else(|| NOTHING.to_owned(), |group| shown(&group.limits, &[], 0))
    };
    let names = old.groups.iter().chain(&new.groups);
    let names: BTreeSet<&str> = names.map(|group| group.name.as_str()).collect();
    let groups = names.into_iter().filter_map(|name| {
        let (before, after) = (of_group(&old, name), of_group(&new, name));
        (before != after).then(|| format!("limits of the group `{name}`: {before} -> {after}"))
    });
    let of_peers = |services: &Services| {
        let all = services.peers.iter();
        let all = all.map(|it| (it.public_key, shown(&it.limits, &it.groups, it.dscp)));
        all.collect::<BTreeMap<_, _>>()
    };
    let (old, new) = (of_peers(&old), of_peers(&new));
    let were_there: BTreeSet<_> = before.peers.iter().map(|peer| peer.public_key).collect();
    let stay = after.peers.iter();
    let stay = stay.filter(|peer| were_there.contains(&peer.public_key));
    let peers = stay.filter_map(|peer| {
        let text = |all: &BTreeMap<_, String>| {
            let text = all.get(&peer.public_key).map(String::as_str);
            text.unwrap_or(NOTHING).to_owned()
        };
        let (before, after) = (text(&old), text(&new));
        (before != after).then(|| format!("limits of peer `{}`: {before} -> {after}", peer.name))
    });
    groups.chain(peers).collect()
}

const NOTHING: &str = "none";

/// `100 Mbit/s outbound, 20 Mbit/s inbound, shares in phones, dscp ef`.
fn shown(limits: &RateLimits, groups: &[String], mark: u8) -> String {
    let limit = |limit: Option<RateLimit>, way: &str| {
        let limit = limit?;
        let mut text = format!("{} {way}", rate::name(limit.bytes_per_second));
        if limit != rate::limit(limit.bytes_per_second, None) {
            let kilobytes = limit.burst_bytes / 1000;
            text.push_str(&format!(" (burst {kilobytes} kB)"));
        }
        Some(text)
    };
    let groups = (!groups.is_empty()).then(|| format!("shares in {}", groups.join(" and ")));
    let mark = (mark != 0).then(|| format!("dscp {}", dscp::name(mark)));
    let all = [
        limit(limits.outbound, "outbound"),
        limit(limits.inbound, "inbound"),
        groups,
        mark,
    ];
    let all: Vec<String> = all.into_iter().flatten().collect();
    if all.is_empty() {
        return NOTHING.to_owned();
    }
    all.join(", ")
}
