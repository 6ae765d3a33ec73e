//! One rule, from what is written.

use std::collections::BTreeSet;

use ipnet::IpNet;
use weapon_core::filter::{Action, Direction, IcmpType, PortRange, Protocol, Rule, RulePeers};

use super::{DEFAULT_NAME, KnownPeer, RuleDraft, Written, action, values};
use crate::config::problem::{Located, Place, Problems};
use crate::config::suggest;
use crate::config::value::{self, quoted};

/// The rule that stands at `index`, if it is good.
pub fn rule(
    draft: &RuleDraft,
    index: usize,
    peers: &[KnownPeer<'_>],
    before: &[Written],
    problems: &mut Problems,
) -> Option<Rule> {
    let name = name(draft, index, before, problems);
    let action = given_action(draft, problems);
    let direction = direction(draft, problems);
    let named = named_peers(draft, peers, problems);
    let from = list(&draft.from, problems, network);
    let to = list(&draft.to, problems, network);
    let protocols = list(&draft.protocol, problems, values::protocol);
    let source_ports = list(&draft.source_ports, problems, values::ports);
    let ports = list(&draft.ports, problems, values::ports);
    let icmp = list(&draft.icmp, problems, values::icmp);
    let mut rule = Rule {
        name: name?.into(),
        action: action?,
        direction: direction?,
        peers: named?,
        from: from?,
        to: to?,
        protocols: protocols?,
        source_ports: source_ports?,
        ports: ports?,
        icmp: icmp?.concat(),
    };
    let fits = ports_fit(draft, &rule, problems) & icmp_fits(draft, &rule, problems);
    if !rule.icmp.is_empty() {
        rule.protocols = vec![Protocol::Icmp];
    }
    fits.then_some(rule)
}

/// Given, or made of its place in the list.
fn name(
    draft: &RuleDraft,
    index: usize,
    before: &[Written],
    problems: &mut Problems,
) -> Option<String> {
    let (name, place) = match &draft.name {
        Some(name) => (given_name(name, problems)?, name.place.clone()),
        None => (format!("rule-{}", index + 1), at(draft, "rule.name")),
    };
    let same = before.iter().find(|it| *it.rule.name == *name);
    if let Some(same) = same {
        let message = format!(
            "`{name}` is the name of the rule in line {} already; give another",
            same.place.line
        );
        problems.error(&place, message);
        return None;
    }
    Some(name)
}

fn given_name(name: &Located<String>, problems: &mut Problems) -> Option<String> {
    if let Err(message) = value::name(&name.value) {
        problems.error(&name.place, message);
        return None;
    }
    if name.value == DEFAULT_NAME {
        let message = "is what decides where no rule does; give another name";
        problems.error(&name.place, format!("`{DEFAULT_NAME}` {message}"));
        return None;
    }
    Some(name.value.clone())
}

fn given_action(draft: &RuleDraft, problems: &mut Problems) -> Option<Action> {
    if let Some(text) = &draft.action {
        return action(text, problems);
    }
    let place = at(draft, "rule.action");
    problems.error(&place, "is missing; give action = \"allow\" or \"deny\"");
    None
}

fn direction(draft: &RuleDraft, problems: &mut Problems) -> Option<Option<Direction>> {
    let Some(text) = &draft.direction else {
        return Some(None);
    };
    match text.value.as_str() {
        "inbound" => Some(Some(Direction::Inbound)),
        "outbound" => Some(Some(Direction::Outbound)),
        other => {
            let message = format!(
                "{} is not known; it is inbound (from a peer) or outbound (to a peer)",
                quoted(other)
            );
            problems.error(&text.place, message);
            None
        }
    }
}

/// Peers by name and by group: those of both lists.
fn named_peers(
    draft: &RuleDraft,
    peers: &[KnownPeer<'_>],
    problems: &mut Problems,
) -> Option<RulePeers> {
    let mut named = BTreeSet::new();
    let mut is_good = true;
    let names: Vec<&str> = peers.iter().map(|peer| peer.name).collect();
    for text in draft.peer.iter().flatten() {
        let name = text.value.as_str();
        if names.contains(&name) {
            named.insert(name.into());
        } else {
            is_good = false;
            problems.error(&text.place, nobody(name, "peer", &names));
        }
    }
    let groups = peers.iter().flat_map(|peer| &peer.groups);
    let groups: BTreeSet<&str> = groups.copied().collect();
    for text in draft.group.iter().flatten() {
        let name = text.value.as_str();
        let them = peers.iter().filter(|peer| peer.groups.contains(&name));
        named.extend(them.map(|peer| Box::from(peer.name)));
        if !groups.contains(name) {
            is_good = false;
            let groups: Vec<&str> = groups.iter().copied().collect();
            problems.error(&text.place, nobody(name, "group", &groups));
        }
    }
    let is_empty = |list: &Option<Vec<_>>| list.as_ref().is_some_and(Vec::is_empty);
    if is_empty(&draft.peer) || is_empty(&draft.group) {
        let key = if is_empty(&draft.peer) {
            "rule.peer"
        } else {
            "rule.group"
        };
        problems.error(&at(draft, key), EMPTY);
        return None;
    }
    let is_asked = draft.peer.is_some() || draft.group.is_some();
    let peers = if is_asked {
        RulePeers::Named(named)
    } else {
        RulePeers::All
    };
    is_good.then_some(peers)
}

fn nobody(name: &str, what: &str, known: &[&str]) -> String {
    let name = quoted(name);
    match suggest::nearest(&name, known) {
        Some(meant) => format!("there is no {what} {name}; did you mean \"{meant}\"?"),
        None if known.is_empty() => format!("there is no {what} {name}; there is none at all"),
        None => {
            let some: Vec<_> = known.iter().take(10).copied().collect();
            let more = if known.len() > 10 { " and others" } else { "" };
            format!(
                "there is no {what} {name}; there are {}{more}",
                some.join(", ")
            )
        }
    }
}

const EMPTY: &str = "the list is empty, so nothing would match; leave it out to match everything";

fn network(text: &str) -> Result<IpNet, String> {
    let net = value::prefix(text)?;
    let cut = net.trunc();
    if cut != net {
        return Err(format!(
            "{net} has bits behind its prefix; write {cut}, or {} for one host",
            net.addr()
        ));
    }
    Ok(net)
}

/// All values of a list, each with its own problem; nothing if one of them has one.
fn list<T>(
    texts: &Option<Vec<Located<String>>>,
    problems: &mut Problems,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let Some(texts) = texts else {
        return Some(Vec::new());
    };
    let mut values = Vec::with_capacity(texts.len());
    for text in texts {
        match parse(&text.value) {
            Ok(value) => values.push(value),
            Err(message) => problems.error(&text.place, message),
        }
    }
    (values.len() == texts.len()).then_some(values)
}

/// Whether all protocols of the rule have ports, if it asks for ports; and no list is empty.
fn ports_fit(draft: &RuleDraft, rule: &Rule, problems: &mut Problems) -> bool {
    let lists = [
        ("rule.from", &draft.from),
        ("rule.to", &draft.to),
        ("rule.protocol", &draft.protocol),
        ("rule.source_ports", &draft.source_ports),
        ("rule.ports", &draft.ports),
        ("rule.icmp", &draft.icmp),
    ];
    for (key, list) in lists {
        if list.as_ref().is_some_and(Vec::is_empty) {
            problems.error(&at(draft, key), EMPTY);
            return false;
        }
    }
    let is_asked = |list: &[PortRange]| !list.is_empty();
    let written = if is_asked(&rule.ports) {
        &draft.ports
    } else if is_asked(&rule.source_ports) {
        &draft.source_ports
    } else {
        return true;
    };
    let place = written.iter().flatten().next().map(|text| &text.place);
    let place = place.unwrap_or(&draft.place);
    if rule.protocols.is_empty() {
        let message = "ports of which protocol? Give protocol = \"tcp\", \"udp\" or a list";
        problems.error(place, message);
        return false;
    }
    let without = rule.protocols.iter().find(|it| !values::has_ports(**it));
    if let Some(without) = without {
        let message = format!(
            "{} has no ports; write another rule for it, or leave the ports out",
            values::protocol_name(*without)
        );
        problems.error(place, message);
    }
    without.is_none()
}

/// Whether the rule is about ICMP alone, if it asks for types of that; and these can be where the
/// prefixes are.
fn icmp_fits(draft: &RuleDraft, rule: &Rule, problems: &mut Problems) -> bool {
    let Some(first) = draft.icmp.iter().flatten().next() else {
        return true;
    };
    let other = rule.protocols.iter().find(|it| **it != Protocol::Icmp);
    if let Some(other) = other {
        let message = format!(
            "{} has no types of ICMP; write another rule for it",
            values::protocol_name(*other)
        );
        problems.error(&first.place, message);
        return false;
    }
    let is_v4 = |it: &IcmpType| matches!(it, IcmpType::V4(_));
    let nets = rule.from.iter().chain(&rule.to);
    let mut versions = nets.map(|net| net.addr().is_ipv4());
    let fits = versions.all(|net_is_v4| rule.icmp.iter().any(|it| is_v4(it) == net_is_v4));
    if !fits {
        let message = "no such type of ICMP is in packets of the version of from and to";
        problems.error(&first.place, message);
    }
    fits
}

fn at(draft: &RuleDraft, key: &str) -> Place {
    Place {
        key: key.to_owned(),
        ..draft.place.clone()
    }
}
