//! HOT A list of rules, compiled to what a lane asks.
//!
//! Each thing that a rule may ask for is an [`Axis`]. A verdict is a search on each of them and an
//! AND of their rows, 64 rules a word: the first bit that is left is the first rule that matches.

use core::net::IpAddr;
use std::{collections::BTreeMap, sync::Arc};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    Action, Direction, IcmpType, PortRange, Protocol, Rule, RuleCounts, RulePeers, Subject, Tally,
    axis::{Axis, Wanted, words_for},
};
use crate::PeerId;

/// Which rule, for as long as the gateway runs: a name keeps its number when rules are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleId(pub u32);

impl RuleId {
    /// What decides where no rule does.
    pub const DEFAULT: Self = Self(0);
    /// Its name.
    pub const DEFAULT_NAME: &'static str = "default";
}

/// What was decided, and who did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What becomes of the packet.
    pub action: Action,
    /// The rule that says so.
    pub rule: RuleId,
}

/// All axes of an address, which rules ask for in both versions.
#[derive(Debug)]
struct Addresses {
    v4: Axis<u32>,
    v6: Axis<u128>,
}

/// A list of rules as lanes ask it.
#[derive(Debug)]
pub struct Filter {
    default: Action,
    /// Grows with each change: a flow that was judged before is judged again.
    epoch: u32,
    /// Action and number of each rule.
    verdicts: Box<[Verdict]>,
    inbound: Box<[u64]>,
    outbound: Box<[u64]>,
    peers: Axis<u32>,
    source: Addresses,
    destination: Addresses,
    protocol: Axis<u32>,
    source_port: Axis<u32>,
    port: Axis<u32>,
    icmp: Axis<u32>,
    /// Who has rules: a flow of somebody else is no flow any more.
    known_peers: Box<[PeerId]>,
    /// Names of all rules there ever were, by number.
    names: Vec<Arc<str>>,
    /// What they have decided.
    tallies: Vec<Arc<Tally>>,
    /// What shows whether it has to be compiled again.
    made_of: Vec<(PeerId, Box<str>)>,
}

/// A packet without ports, or without a type of ICMP, is behind all that can be asked for.
const NONE: u32 = u32::MAX;
/// Types of ICMPv6 are behind those of ICMP, by this upper byte.
const V6: u8 = 1;
/// The number that ICMP has as a protocol, behind all that are one.
const ICMP: u32 = 256;

impl Filter {
    /// Compiles `rules`. Numbers and counts go on from `before`.
    #[cold]
    pub fn new(
        default: Action,
        rules: &[Rule],
        peers: Vec<(PeerId, Box<str>)>,
        before: Option<&Self>,
    ) -> Self {
        let (names, tallies, numbers) = numbered(rules, before);
        let verdicts = rules.iter().map(|rule| Verdict {
            action: rule.action,
            rule: RuleId(numbers.get(&*rule.name).copied().unwrap_or(0)),
        });
        let named = |rule: &Rule| match &rule.peers {
            RulePeers::All => None,
            RulePeers::Named(names) => {
                let them = peers.iter().filter(|(_, name)| names.contains(name));
                Some(them.map(|(id, _)| (id.0, id.0)).collect())
            }
        };
        let mut known_peers: Vec<_> = peers.iter().map(|(id, _)| *id).collect();
        known_peers.sort_unstable();
        Self {
            default,
            epoch: before.map_or(1, |before| before.epoch.saturating_add(1)),
            verdicts: verdicts.collect(),
            inbound: direction_row(rules, Direction::Inbound),
            outbound: direction_row(rules, Direction::Outbound),
            peers: axis(rules, named),
            source: Addresses::new(rules, |rule| &rule.from),
            destination: Addresses::new(rules, |rule| &rule.to),
            protocol: axis(rules, |rule| {
                wanted(&rule.protocols, |it| protocol_value(*it))
            }),
            source_port: axis(rules, |rule| ports(&rule.source_ports)),
            port: axis(rules, |rule| ports(&rule.ports)),
            icmp: axis(rules, |rule| wanted(&rule.icmp, |it| icmp_value(Some(*it)))),
            known_peers: known_peers.into(),
            names,
            tallies,
            made_of: peers,
        }
    }

    /// What is to become of a packet.
    #[inline]
    pub fn judge(&self, subject: &Subject) -> Verdict {
        self.first(subject).unwrap_or(Verdict {
            action: self.default,
            rule: RuleId::DEFAULT,
        })
    }

    #[inline]
    fn first(&self, subject: &Subject) -> Option<Verdict> {
        if self.verdicts.is_empty() {
            return None;
        }
        let (source_port, port) = match subject.ports {
            Some((source, destination)) => (u32::from(source), u32::from(destination)),
            None => (NONE, NONE),
        };
        let rows = [
            match subject.direction {
                Direction::Inbound => &self.inbound,
                Direction::Outbound => &self.outbound,
            },
            self.protocol.row(protocol_value(subject.protocol)),
            self.port.row(port),
            self.destination.row(subject.destination),
            self.source.row(subject.source),
            self.peers.row(subject.peer.0),
            self.source_port.row(source_port),
            self.icmp.row(icmp_value(subject.icmp)),
        ];
        for word in 0..words_for(self.verdicts.len()) {
            let mut left = u64::MAX;
            for row in &rows {
                left &= row.get(word).copied().unwrap_or(0);
            }
            if left != 0 {
                let rule = word
                    .saturating_mul(64)
                    .saturating_add(left.trailing_zeros() as usize);
                return self.verdicts.get(rule).copied();
            }
        }
        None
    }

    /// Which of all filters of this gateway it is: later ones have larger numbers.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether `peer` is a peer still.
    pub fn knows(&self, peer: PeerId) -> bool {
        self.known_peers.binary_search(&peer).is_ok()
    }

    /// Whether it was compiled for these peers.
    pub(crate) fn is_of(&self, peers: &[(PeerId, Box<str>)]) -> bool {
        self.made_of == peers
    }

    /// The counts of a rule.
    #[inline]
    pub(crate) fn tally(&self, rule: RuleId) -> Option<&Tally> {
        self.tallies.get(rule.0 as usize).map(|tally| &**tally)
    }

    /// So many packets pass as the rule says.
    pub(crate) fn count_allowed(&self, rule: RuleId, packets: u64) {
        if let Some(tally) = self.tally(rule) {
            tally.count(Action::Allow, packets);
        }
    }

    /// The name of a rule, also of one that is there no more.
    pub fn name(&self, rule: RuleId) -> Option<&Arc<str>> {
        self.names.get(rule.0 as usize)
    }

    /// All rules there ever were, by number.
    pub(crate) fn ids(&self) -> impl Iterator<Item = RuleId> + use<> {
        (0..self.names.len() as u32).map(RuleId)
    }

    /// What the rules have decided, in their order, and the default at the end.
    #[cold]
    pub fn counts(&self) -> Vec<RuleCounts> {
        let default = Verdict {
            action: self.default,
            rule: RuleId::DEFAULT,
        };
        let all = self.verdicts.iter().chain([&default]);
        let counted = all.filter_map(|verdict| {
            let tally = self.tally(verdict.rule)?;
            Some(RuleCounts {
                name: Arc::clone(self.name(verdict.rule)?),
                action: verdict.action,
                allowed: tally.allowed.load(core::sync::atomic::Ordering::Relaxed),
                denied: tally.denied.load(core::sync::atomic::Ordering::Relaxed),
            })
        });
        counted.collect()
    }
}

impl Addresses {
    #[cold]
    fn new(rules: &[Rule], prefixes: impl Fn(&Rule) -> &[IpNet]) -> Self {
        let v4 = |net: &IpNet| match net {
            IpNet::V4(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
            IpNet::V6(_) => None,
        };
        let v6 = |net: &IpNet| match net {
            IpNet::V4(_) => None,
            IpNet::V6(net) => Some((net.network().to_bits(), net.broadcast().to_bits())),
        };
        // A rule with prefixes of one version alone matches no packet of the other.
        Self {
            v4: axis(rules, |rule| ranges(prefixes(rule), v4)),
            v6: axis(rules, |rule| ranges(prefixes(rule), v6)),
        }
    }

    #[inline]
    fn row(&self, address: IpAddr) -> &[u64] {
        match address {
            IpAddr::V4(address) => self.v4.row(address.to_bits()),
            IpAddr::V6(address) => self.v6.row(address.to_bits()),
        }
    }
}

#[inline]
fn protocol_value(protocol: Protocol) -> u32 {
    match protocol {
        Protocol::Icmp => ICMP,
        Protocol::Number(number) => u32::from(number),
    }
}

#[inline]
fn icmp_value(icmp: Option<IcmpType>) -> u32 {
    match icmp {
        Some(IcmpType::V4(kind)) => u32::from(kind),
        Some(IcmpType::V6(kind)) => u16::from_be_bytes([V6, kind]).into(),
        None => NONE,
    }
}

#[cold]
fn axis<V: super::axis::Value>(rules: &[Rule], of: impl Fn(&Rule) -> Wanted<V>) -> Axis<V> {
    let wanted: Vec<_> = rules.iter().map(of).collect();
    Axis::new(&wanted)
}

#[cold]
fn wanted<T>(list: &[T], value: impl Fn(&T) -> u32) -> Wanted<u32> {
    ranges(list, |it| Some((value(it), value(it))))
}

#[cold]
fn ports(list: &[PortRange]) -> Wanted<u32> {
    ranges(list, |it| Some((it.first.into(), it.last.into())))
}

/// Nothing that is asked for is everything.
#[cold]
fn ranges<T, V>(list: &[T], range: impl Fn(&T) -> Option<(V, V)>) -> Wanted<V> {
    (!list.is_empty()).then(|| list.iter().filter_map(range).collect())
}

#[cold]
fn direction_row(rules: &[Rule], direction: Direction) -> Box<[u64]> {
    let all = Axis::new(&[]);
    let fits = |rule: &Rule| match rule.direction {
        Some(it) if it != direction => Some(Vec::new()),
        Some(_) | None => None,
    };
    let axis: Axis<u32> = if rules.is_empty() {
        all
    } else {
        axis(rules, fits)
    };
    axis.row(0).into()
}

type Numbered = (Vec<Arc<str>>, Vec<Arc<Tally>>, BTreeMap<Arc<str>, u32>);

/// The names of all rules there ever were, their counts, and the numbers of the names.
#[cold]
fn numbered(rules: &[Rule], before: Option<&Filter>) -> Numbered {
    let (mut names, mut tallies) = (Vec::new(), Vec::new());
    match before {
        Some(before) => {
            names.extend(before.names.iter().map(Arc::clone));
            tallies.extend(before.tallies.iter().map(Arc::clone));
        }
        None => {
            names.push(Arc::from(RuleId::DEFAULT_NAME));
            tallies.push(Arc::default());
        }
    }
    let all = names.iter().zip(0..);
    let mut numbers: BTreeMap<_, _> = all.map(|(name, it)| (Arc::clone(name), it)).collect();
    for rule in rules {
        if !numbers.contains_key(&*rule.name) {
            let name: Arc<str> = Arc::from(&*rule.name);
            numbers.insert(Arc::clone(&name), names.len() as u32);
            names.push(name);
            tallies.push(Arc::default());
        }
    }
    (names, tallies, numbers)
}

#[cfg(test)]
mod tests;
