//! `[[test]]`: packets that are to pass, or not, whatever becomes of the rules.

use std::net::IpAddr;

use weapon_core::{
    PeerId,
    filter::{Action, Direction, IcmpType, Protocol, Subject},
};

use super::{DEFAULT_NAME, KnownPeer, TrialDraft, Written, action, values};
use crate::config::problem::{Located, Place, Problems};
use crate::config::value::{self, quoted};

/// The source port of a packet of which none is said: of those that nobody chooses.
const SOURCE_PORT: u16 = 49_152;

/// A packet that is tried.
struct Trial<'a> {
    from: IpAddr,
    to: IpAddr,
    protocol: Protocol,
    ports: Option<(u16, u16)>,
    icmp: Option<IcmpType>,
    /// On its way from one peer to another it goes through the rules twice.
    ways: Vec<(Direction, &'a KnownPeer<'a>)>,
    expected: Action,
}

/// Runs all tests; one that fails is an error, which names the packet and who decides.
pub fn run(
    tests: &[TrialDraft],
    rules: &[Written],
    default: Action,
    peers: &[KnownPeer<'_>],
    problems: &mut Problems,
) {
    for test in tests {
        let Some(trial) = trial(test, peers, problems) else {
            continue;
        };
        let verdicts = trial.ways.iter().map(|&(direction, peer)| {
            let subject = trial.subject(direction);
            let first = rules.iter().find(|it| it.rule.matches(&subject, peer.name));
            (direction, peer, first)
        });
        let action = |first: Option<&Written>| first.map_or(default, |first| first.rule.action);
        let denied = verdicts.clone().find(|it| action(it.2) == Action::Deny);
        let outcome = if denied.is_some() {
            Action::Deny
        } else {
            Action::Allow
        };
        let Some((direction, peer, first)) = denied.or_else(|| verdicts.clone().next()) else {
            continue;
        };
        if outcome == trial.expected {
            continue;
        }
        let who = match first {
            Some(first) => {
                let (name, line) = (&first.rule.name, first.place.line);
                format!("rule `{name}` in line {line} {} it", verb(outcome))
            }
            None => format!(
                "no rule matches, and the {DEFAULT_NAME} {} it",
                verb(outcome)
            ),
        };
        let place = test.expect.as_ref().map_or(&test.place, |it| &it.place);
        let message = format!(
            "the test fails: {}, {} `{}`: {who}",
            trial.packet(),
            match direction {
                Direction::Inbound => "inbound from",
                Direction::Outbound => "outbound to",
            },
            peer.name
        );
        problems.error(place, message);
    }
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::Allow => "allows",
        Action::Deny => "denies",
    }
}

impl Trial<'_> {
    fn subject(&self, direction: Direction) -> Subject {
        Subject {
            direction,
            peer: PeerId(0),
            source: self.from,
            destination: self.to,
            protocol: self.protocol,
            ports: self.ports,
            icmp: self.icmp,
        }
    }

    /// The packet in words.
    fn packet(&self) -> String {
        let protocol = values::protocol_name(self.protocol);
        let (source, destination) = (self.from, self.to);
        match self.ports {
            Some((_, port)) => {
                let to = std::net::SocketAddr::new(destination, port);
                format!("{protocol} from {source} to {to}")
            }
            None => format!("{protocol} from {source} to {destination}"),
        }
    }
}

fn trial<'a>(
    test: &TrialDraft,
    peers: &'a [KnownPeer<'a>],
    problems: &mut Problems,
) -> Option<Trial<'a>> {
    let from = address(test, &test.from, "test.from", problems);
    let to = address(test, &test.to, "test.to", problems);
    let expected = match &test.expect {
        Some(text) => action(text, problems),
        None => {
            let message = "is missing; give expect = \"allow\" or \"deny\"";
            problems.error(&at(test, "test.expect"), message);
            None
        }
    };
    let (protocol, icmp) = carries(test, from, problems)?;
    let ports = ports(test, protocol, problems)?;
    let (from, to, expected) = (from?, to?, expected?);
    if from.is_ipv4() != to.is_ipv4() {
        let message = "from and to are of different versions of IP";
        problems.error(&at(test, "test.to"), message);
        return None;
    }
    Some(Trial {
        from,
        to,
        protocol,
        ports,
        icmp,
        ways: ways(test, from, to, peers, problems)?,
        expected,
    })
}

/// From a peer, to a peer, or from one to another.
fn ways<'a>(
    test: &TrialDraft,
    from: IpAddr,
    to: IpAddr,
    peers: &'a [KnownPeer<'a>],
    problems: &mut Problems,
) -> Option<Vec<(Direction, &'a KnownPeer<'a>)>> {
    let inbound = owner(from, peers).map(|peer| (Direction::Inbound, peer));
    let outbound = owner(to, peers).map(|peer| (Direction::Outbound, peer));
    let ways: Vec<_> = inbound.into_iter().chain(outbound).collect();
    if ways.is_empty() {
        let message = format!("neither {from} nor {to} is in a network of a peer");
        problems.error(&test.place, message);
        return None;
    }
    if let Some(peer) = &test.peer
        && ways.iter().all(|(_, way)| way.name != peer.value)
    {
        let there: Vec<_> = ways
            .iter()
            .map(|(_, peer)| format!("`{}`", peer.name))
            .collect();
        let message = format!(
            "such a packet is not from or to {}, but {}",
            quoted(&peer.value),
            there.join(" and ")
        );
        problems.error(&peer.place, message);
        return None;
    }
    Some(ways)
}

/// The peer with the longest prefix.
fn owner<'a>(address: IpAddr, peers: &'a [KnownPeer<'a>]) -> Option<&'a KnownPeer<'a>> {
    let all = peers
        .iter()
        .flat_map(|peer| peer.networks.iter().map(move |net| (net, peer)));
    let of_it = all.filter(|(net, _)| net.contains(&address));
    let longest = of_it.max_by_key(|(net, _)| net.prefix_len());
    longest.map(|(_, peer)| peer)
}

/// The protocol, and the type if it is ICMP. Without either it is TCP if there is a port, and else
/// an echo.
fn carries(
    test: &TrialDraft,
    from: Option<IpAddr>,
    problems: &mut Problems,
) -> Option<(Protocol, Option<IcmpType>)> {
    let protocol = match test.protocol.iter().flatten().next() {
        Some(text) => match values::protocol(&text.value) {
            Ok(protocol) => protocol,
            Err(message) => {
                problems.error(&text.place, message);
                return None;
            }
        },
        None if test.port.is_some() => Protocol::Number(6),
        None => Protocol::Icmp,
    };
    let written = test.icmp.iter().flatten().next();
    if protocol != Protocol::Icmp {
        if let Some(text) = written {
            let message = format!("{} has no types of ICMP", values::protocol_name(protocol));
            problems.error(&text.place, message);
            return None;
        }
        return Some((protocol, None));
    }
    let types = match written {
        Some(text) => match values::icmp(&text.value) {
            Ok(types) => types,
            Err(message) => {
                problems.error(&text.place, message);
                return None;
            }
        },
        None => values::icmp("echo-request").unwrap_or_default(),
    };
    // Of the version of the packet.
    let is_v4 = from.is_none_or(|from| from.is_ipv4());
    let fits = |it: &&IcmpType| matches!(it, IcmpType::V4(_)) == is_v4;
    let kind = types.iter().find(fits).copied();
    if kind.is_none() {
        let message = "there is no such type of ICMP in packets of this version of IP";
        problems.error(&at(test, "test.icmp"), message);
        return None;
    }
    Some((protocol, kind))
}

fn ports(
    test: &TrialDraft,
    protocol: Protocol,
    problems: &mut Problems,
) -> Option<Option<(u16, u16)>> {
    let port = |it: &Option<Located<i64>>, problems: &mut Problems| match it {
        Some(written) => match value::port(written.value) {
            Ok(port) => Some(Some(port)),
            Err(message) => {
                problems.error(&written.place, message);
                None
            }
        },
        None => Some(None),
    };
    let written = test.port.as_ref().or(test.source_port.as_ref());
    let (destination, source) = (
        port(&test.port, problems)?,
        port(&test.source_port, problems)?,
    );
    if values::has_ports(protocol) {
        let Some(destination) = destination else {
            let name = values::protocol_name(protocol);
            problems.error(
                &at(test, "test.port"),
                format!("is missing; {name} has ports"),
            );
            return None;
        };
        return Some(Some((source.unwrap_or(SOURCE_PORT), destination)));
    }
    if let Some(written) = written {
        let message = format!("{} has no ports", values::protocol_name(protocol));
        problems.error(&written.place, message);
        return None;
    }
    Some(None)
}

fn address(
    test: &TrialDraft,
    text: &Option<Located<String>>,
    key: &str,
    problems: &mut Problems,
) -> Option<IpAddr> {
    let Some(text) = text else {
        let message = "is missing; give the address of a host, as peers know it";
        problems.error(&at(test, key), message);
        return None;
    };
    let address = text.value.parse();
    if address.is_err() {
        let message = format!(
            "{} is not the address of a host; write it like 10.1.0.5 or fd00:1::5",
            quoted(&text.value)
        );
        problems.error(&text.place, message);
    }
    address.ok()
}

fn at(test: &TrialDraft, key: &str) -> Place {
    Place {
        key: key.to_owned(),
        ..test.place.clone()
    }
}
