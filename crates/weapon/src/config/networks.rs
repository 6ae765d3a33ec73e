//! Addresses and networks, ours and the peers', and what may not overlap.
//!
//! A network belongs to one peer, and what lies behind a peer does not lie behind us. A peer's
//! network may cover ours (10.0.0.0/8 around 10.1.0.0/16, or everything): the longer prefix wins.
//! It may also cover our address in the tunnel, as in nearly every client's file.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use weapon_core::PrefixMapping;

use super::draft::{GatewayDraft, PeerDraft};
use super::model::{Behind, PeerConfig};
use super::problem::{Located, Place, Problems};
use super::value;

/// All addresses and networks of a file, in its order.
pub struct Networks {
    /// Of the TUN device, with host bits.
    pub addresses: Vec<Located<IpNet>>,
    /// Behind us, masked.
    pub ours: Vec<Behind>,
    /// Where they stand.
    pub our_places: Vec<Place>,
    /// Behind each peer, masked.
    pub of_peers: Vec<Vec<IpNet>>,
    /// Where the peers' networks stand.
    pub places: BTreeMap<IpNet, Place>,
}

impl Networks {
    /// Whether IPv6 runs through the tunnel.
    pub fn has_ipv6(&self) -> bool {
        let addresses = self.addresses.iter().map(|address| &address.value);
        let of_peers = self.of_peers.iter().flatten();
        addresses.chain(of_peers).any(|net| is_ipv6(*net))
            || self
                .ours
                .iter()
                .any(|behind| behind.prefix().is_some_and(is_ipv6))
    }

    /// The name servers and search domains among `texts`, as wg-quick tells them apart.
    pub fn dns(texts: &[Located<String>], problems: &mut Problems) -> (Vec<IpAddr>, Vec<String>) {
        let (mut servers, mut domains) = (Vec::new(), Vec::new());
        for Located { value, place } in texts {
            match value.parse::<IpAddr>() {
                Ok(server) => servers.push(server),
                Err(_) if value::is_host(value) => domains.push(value.clone()),
                Err(_) => problems.error(
                    place,
                    format!(
                        "{} is neither the address of a name server, as 10.99.0.2, nor a domain \
                         in which names are looked for",
                        value::quoted(value)
                    ),
                ),
            }
        }
        if let (Some(first), true) = (texts.first(), servers.is_empty() && !domains.is_empty()) {
            let message = "a domain is of no use without the address of a name server";
            problems.error(&first.place, message);
        }
        (servers, domains)
    }

    /// Whether a mark is needed, as a peer is the way to everywhere, or packets leave by the tunnel
    /// alone; says what does not go with that.
    pub fn check_full_tunnel(&self, gateway: &GatewayDraft, problems: &mut Problems) -> bool {
        let has_routes = gateway.routes.unwrap_or(true);
        let all = |wanted: fn(IpNet) -> bool| {
            let mut all = self.places.iter().filter(|_| has_routes);
            all.find(|(net, _)| net.prefix_len() == 0 && wanted(**net))
        };
        let (ipv4, ipv6) = (all(|net| !is_ipv6(net)), all(is_ipv6));
        let is_closed = gateway.kill_switch.unwrap_or(false);
        if let (Some((_, place)), None) = (ipv4, ipv6) {
            let message = "IPv6 goes beside the tunnel; add \"::/0\", also where the other end has \
                           none, so that nothing leaves this host in clear";
            problems.warning(place, message);
        }
        let needs_mark = ipv4.or(ipv6).is_some() || is_closed;
        let fwmark = gateway.fwmark.as_ref();
        if let Some(mark) = fwmark.filter(|mark| needs_mark && mark.value == 0) {
            let message = "a tunnel that is the way to everywhere, or has a kill switch, needs a \
                           mark, by which its own packets stay out of it; leave this out, or give \
                           a number";
            problems.error(&mark.place, message);
        }
        needs_mark
    }
}

fn is_ipv6(net: IpNet) -> bool {
    net.addr().is_ipv6()
}

/// Parses and checks all of them.
pub fn check(gateway: &GatewayDraft, peers: &[PeerDraft], problems: &mut Problems) -> Networks {
    let addresses = addresses(&gateway.address, problems);
    let ours = our_networks(&gateway.networks, &addresses, problems);
    let mut taken = BTreeMap::new();
    let mut of_peers = Vec::with_capacity(peers.len());
    let mut places = BTreeMap::new();
    for (index, peer) in peers.iter().enumerate() {
        let mut list = Vec::with_capacity(peer.networks.len());
        for text in &peer.networks {
            let Some(net) = masked(text, problems) else {
                continue;
            };
            let at = Located {
                value: net,
                place: text.place.clone(),
            };
            if !is_first(&at, index, &mut taken, problems) {
                continue;
            }
            not_ours(&at, &addresses, &ours, problems);
            list.push(net);
            places.insert(net, at.place);
        }
        of_peers.push(list);
    }
    Networks {
        addresses,
        our_places: ours.iter().map(|net| net.place.clone()).collect(),
        ours: ours.into_iter().map(|net| net.value).collect(),
        of_peers,
        places,
    }
}

fn addresses(texts: &[Located<String>], problems: &mut Problems) -> Vec<Located<IpNet>> {
    let mut list: Vec<Located<IpNet>> = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(value) = parsed(text, problems) else {
            continue;
        };
        let place = &text.place;
        let address = value.addr();
        if address.is_unspecified() || address.is_multicast() || address.is_loopback() {
            let message = format!("{address} cannot be the address of an interface");
            problems.error(place, message);
            continue;
        }
        if list.iter().any(|other| other.value.addr() == address) {
            problems.error(place, format!("{address} is given twice"));
            continue;
        }
        if value.max_prefix_len() - value.prefix_len() > 1 && address == value.network() {
            let host = value.hosts().next().unwrap_or(address);
            problems.warning(
                place,
                format!(
                    "{value} is the address of the network itself; an address of a host, such as \
                     {host}/{}, is usual",
                    value.prefix_len()
                ),
            );
        }
        list.push(Located {
            value,
            place: place.clone(),
        });
    }
    list
}

fn our_networks(
    texts: &[Located<String>],
    addresses: &[Located<IpNet>],
    problems: &mut Problems,
) -> Vec<Located<Behind>> {
    let mut list: Vec<Located<Behind>> = Vec::with_capacity(texts.len());
    for text in texts {
        let Some(value) = behind(text, problems) else {
            continue;
        };
        if list.iter().any(|other| other.value == value) {
            problems.warning(&text.place, format!("{value} is given twice"));
            continue;
        }
        if let Some(other) = list.iter().find(|other| collide(&other.value, &value)) {
            let line = other.place.line;
            let message = format!(
                "{value} and {} (line {line}) overlap: peers could not tell one from the other",
                other.value
            );
            problems.error(&text.place, message);
            continue;
        }
        if let Behind::Mapped(PrefixMapping { outside, .. }) = value
            && let Some(ours) = addresses
                .iter()
                .find(|it| outside.contains(&it.value.addr()))
        {
            let message = format!(
                "{outside} holds our own address {} (line {}), which stays what it is; choose \
                 another prefix",
                ours.value.addr(),
                ours.place.line
            );
            problems.error(&text.place, message);
            continue;
        }
        list.push(Located {
            value,
            place: text.place.clone(),
        });
    }
    list
}

/// Whether one address could mean a host of either, where at least one of them is mapped.
fn collide(one: &Behind, other: &Behind) -> bool {
    let overlap = |a: IpNet, b: IpNet| a.contains(&b) || b.contains(&a);
    match (one, other) {
        (Behind::Mapped(one), Behind::Mapped(other)) => {
            overlap(one.inside, other.inside) || overlap(one.outside, other.outside)
        }
        (Behind::Mapped(mapping), Behind::Prefix(prefix))
        | (Behind::Prefix(prefix), Behind::Mapped(mapping)) => {
            overlap(mapping.outside, *prefix) || overlap(mapping.inside, *prefix)
        }
        _ => false,
    }
}

fn behind(text: &Located<String>, problems: &mut Problems) -> Option<Behind> {
    if let Some(network) = text.value.strip_prefix("docker:") {
        let good = value::docker_network(network);
        return parsed_as(good, text, problems).map(Behind::Docker);
    }
    if let Some(interface) = text.value.strip_prefix("lan:") {
        let good = value::interface_name(interface).map(|()| interface.to_owned());
        return parsed_as(good, text, problems).map(Behind::Lan);
    }
    let Some((inside, outside)) = text.value.split_once(" as ") else {
        return masked(text, problems).map(Behind::Prefix);
    };
    let side = |side: &str| Located {
        value: side.trim().to_owned(),
        place: text.place.clone(),
    };
    let inside = masked(&side(inside), problems);
    let outside = masked(&side(outside), problems);
    let (inside, outside) = (inside?, outside?);
    if inside.prefix_len() != outside.prefix_len()
        || inside.addr().is_ipv4() != outside.addr().is_ipv4()
    {
        let message = format!(
            "{inside} cannot be {outside}: each address has its own in the other, so both have \
             the same length"
        );
        problems.error(&text.place, message);
        return None;
    }
    if inside.contains(&outside) {
        let message = format!("{inside} is that already; leave out `as {outside}`");
        problems.error(&text.place, message);
        return None;
    }
    Some(Behind::Mapped(PrefixMapping { inside, outside }))
}

fn parsed_as<T>(
    result: Result<T, String>,
    text: &Located<String>,
    problems: &mut Problems,
) -> Option<T> {
    result
        .map_err(|message| problems.error(&text.place, message))
        .ok()
}

fn parsed(text: &Located<String>, problems: &mut Problems) -> Option<IpNet> {
    parsed_as(value::prefix(&text.value), text, problems)
}

/// The network of `text`; host bits are cut off, as `wg` does, but not in silence.
fn masked(text: &Located<String>, problems: &mut Problems) -> Option<IpNet> {
    let given = parsed(text, problems)?;
    let net = given.trunc();
    if net != given {
        problems.warning(
            &text.place,
            format!("{given} has host bits set; taken as {net}"),
        );
    }
    Some(net)
}

/// Whether no peer has this network yet.
fn is_first(
    net: &Located<IpNet>,
    peer: usize,
    taken: &mut BTreeMap<IpNet, (usize, usize)>,
    problems: &mut Problems,
) -> bool {
    let Located { value, place } = net;
    let Some((owner, line)) = taken.get(value) else {
        taken.insert(*value, (peer, place.line));
        return true;
    };
    if *owner == peer {
        problems.warning(place, format!("{value} is given twice"));
    } else {
        let message = format!(
            "{value} belongs to the peer in line {line} already; a network belongs to one peer"
        );
        problems.error(place, message);
    }
    false
}

/// A peer's network is not ours, nor a part of ours. Where everything lies behind us, we are a way
/// out for the peers, and it is a part of that.
fn not_ours(
    net: &Located<IpNet>,
    addresses: &[Located<IpNet>],
    ours: &[Located<Behind>],
    problems: &mut Problems,
) {
    let Located { value, place } = net;
    for our in ours {
        let line = our.place.line;
        if let Behind::Mapped(PrefixMapping { inside, .. }) = our.value
            && (inside.contains(value) || (value.contains(&inside) && value.prefix_len() > 0))
        {
            let message = format!(
                "{value} and our own network {inside} (line {line}) overlap: the hosts behind us \
                 cannot reach it; the peer gives its network another prefix too, and that stands \
                 here"
            );
            problems.error(place, message);
            continue;
        }
        let Some(our) = our.value.prefix() else {
            continue;
        };
        if our == *value {
            let message = format!(
                "{value} is our own network (line {line}); a peer's networks lie behind the peer"
            );
            problems.error(place, message);
        } else if our.contains(value) && our.prefix_len() > 0 {
            let message = format!(
                "{value} lies in our own network {our} (line {line}); a peer's networks lie \
                 behind the peer"
            );
            problems.error(place, message);
        } else if value.contains(&our) && value.prefix_len() > 0 {
            let message =
                format!("{value} covers our own network {our} (line {line}), which stays with us");
            problems.warning(place, message);
        }
    }
    let host = value.prefix_len() == value.max_prefix_len();
    for address in addresses {
        if host && address.value.addr() == value.addr() {
            let message = format!(
                "{} is our own address (line {}); a peer has another",
                value.addr(),
                address.place.line
            );
            problems.error(place, message);
        }
    }
}

/// Warns when the route to a peer's network would lead the tunnel's own packets into the tunnel.
pub fn endpoint_outside(peer: &PeerConfig, draft: &PeerDraft, problems: &mut Problems) {
    let (Some(endpoint), Some(text)) = (&peer.endpoint, &draft.endpoint) else {
        return;
    };
    let Ok(address) = endpoint.host.parse::<IpAddr>() else {
        return;
    };
    // A default route is reported for itself.
    let covers = |net: &&IpNet| net.prefix_len() > 0 && net.contains(&address);
    if let Some(net) = peer.networks.iter().find(covers) {
        let message = format!(
            "{address} lies in the peer's own network {net}: unless a longer route leads there, \
             the tunnel's packets run into the tunnel"
        );
        problems.warning(&text.place, message);
    }
}
