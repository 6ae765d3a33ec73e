//! Rules that never decide anything: because one before them decides all of theirs, or because no
//! packet is like that.

use ipnet::IpNet;
use weapon_core::filter::{Direction, PortRange, Rule, RulePeers};

use super::{KnownPeer, Written};
use crate::config::problem::Problems;

/// Warns of each of them, with the lines of both rules.
pub fn warn(rules: &[Written], peers: &[KnownPeer<'_>], problems: &mut Problems) {
    for (index, later) in rules.iter().enumerate() {
        let mut before = rules.iter().take(index);
        let covering = before.find(|it| covers(&it.rule, &later.rule));
        if let Some(earlier) = covering {
            let (name, line) = (&earlier.rule.name, earlier.place.line);
            let message = if earlier.rule.action == later.rule.action {
                format!(
                    "`{}` (line {}) is not needed: `{name}` in line {line} says the same of all \
                     that it matches",
                    later.rule.name, later.place.line
                )
            } else {
                format!(
                    "`{}` (line {}) contradicts `{name}` in line {line}, which matches all that \
                     it matches and comes first; put it before that one, or take one away",
                    later.rule.name, later.place.line
                )
            };
            problems.warning(&later.place, message);
        } else if let Some(message) = matches_nothing(&later.rule, peers) {
            problems.warning(&later.place, message);
        }
    }
}

/// Whether all that `later` matches is matched by `earlier`.
fn covers(earlier: &Rule, later: &Rule) -> bool {
    let direction = earlier.direction.is_none() || earlier.direction == later.direction;
    let peers = match (&earlier.peers, &later.peers) {
        (RulePeers::All, _) => true,
        (RulePeers::Named(_), RulePeers::All) => false,
        (RulePeers::Named(earlier), RulePeers::Named(later)) => later.is_subset(earlier),
    };
    direction
        && peers
        && is_within(&later.protocols, &earlier.protocols, |one, other| {
            one == other
        })
        && is_within(&later.ports, &earlier.ports, has_ports)
        && is_within(&later.source_ports, &earlier.source_ports, has_ports)
        && is_within(&later.icmp, &earlier.icmp, |one, other| one == other)
        && is_within(&later.from, &earlier.from, has_net)
        && is_within(&later.to, &earlier.to, has_net)
}

/// Whether each of `inner` is within one of `outer`. An empty list is everything.
fn is_within<T>(inner: &[T], outer: &[T], within: impl Fn(&T, &T) -> bool) -> bool {
    let is_in = |one: &T| outer.iter().any(|other| within(one, other));
    outer.is_empty() || (!inner.is_empty() && inner.iter().all(is_in))
}

fn has_ports(inner: &PortRange, outer: &PortRange) -> bool {
    outer.first <= inner.first && inner.last <= outer.last
}

fn has_net(inner: &IpNet, outer: &IpNet) -> bool {
    outer.contains(inner)
}

/// Why no packet is like that.
fn matches_nothing(rule: &Rule, peers: &[KnownPeer<'_>]) -> Option<String> {
    let is_v4 = |net: &IpNet| net.addr().is_ipv4();
    let has_both = |it: &[IpNet]| it.is_empty() || (it.iter().any(is_v4) && !it.iter().all(is_v4));
    let (from, to) = (&rule.from, &rule.to);
    if !has_both(from) && !has_both(to) && is_v4(&from[0]) != is_v4(&to[0]) {
        return Some("matches nothing: from and to are of different versions of IP".to_owned());
    }
    let direction = rule.direction?;
    let (key, ends) = match direction {
        Direction::Inbound => ("from", from),
        Direction::Outbound => ("to", to),
    };
    let named = |peer: &&KnownPeer<'_>| match &rule.peers {
        RulePeers::All => true,
        RulePeers::Named(names) => names.contains(peer.name),
    };
    let mut networks = peers.iter().filter(named).flat_map(|peer| peer.networks);
    let meet = |net: &IpNet| {
        ends.iter()
            .any(|end| end.contains(net) || net.contains(end))
    };
    let is_possible = ends.is_empty() || networks.any(meet);
    (!is_possible).then(|| {
        let way = match direction {
            Direction::Inbound => "inbound packets come from",
            Direction::Outbound => "outbound packets go to",
        };
        format!("matches nothing: {way} the networks of peers, and {key} is in none of them")
    })
}
