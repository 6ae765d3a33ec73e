//! Our own table of nftables: its text, and how it is loaded, listed and removed.
//!
//! Each gateway has one, so that each can go without the others. It is replaced in one
//! transaction: there is no moment without rules.

use std::fmt::Write as _;

use ipnet::IpNet;
use weapon_io::program::{self, ProgramError};

use super::{Wanted, kill_switch::begun_outside, wanted::FullTunnel};

/// What belongs to somebody else's connection, path MTU discovery above all.
const ICMP_ERRORS: [&str; 2] = [
    "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
];

/// A table that was loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The table.
    pub table: Table,
    /// How it was listed then; `None` if somebody had taken rules away by that time.
    listing: Option<String>,
}

impl Loaded {
    /// Whether `table` is what was `loaded` last, and is as it was then.
    pub fn is_there(loaded: Option<&Self>, table: &Table) -> bool {
        let loaded = loaded.filter(|it| it.table == *table);
        loaded.is_some_and(|it| it.listing.is_some() && listing(&it.table.name) == it.listing)
    }

    /// Loads `table` in place of what has its name, unless it is there. Of the same table the first
    /// listing is kept, as somebody may change it again before it is listed.
    ///
    /// # Errors
    /// What `nft` complains of; nothing counts as loaded then.
    pub fn ensure(loaded: &mut Option<Self>, table: &Table) -> Result<(), ProgramError> {
        if Self::is_there(loaded.as_ref(), table) {
            return Ok(());
        }
        let before = loaded.take().filter(|it| it.table == *table);
        table.load()?;
        let listing = before.and_then(|it| it.listing);
        *loaded = Some(Self {
            listing: listing.or_else(|| table.listing()),
            table: table.clone(),
        });
        Ok(())
    }
}

/// A table that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name, in family `inet`.
    pub name: String,
    /// What `nft -f -` is fed.
    pub text: String,
}

impl Table {
    /// That of a gateway. Where nobody translates addresses, prefixes alone decide, and the kernel
    /// does not come to track connections for our sake, which costs more than all rules.
    pub fn of(wanted: &Wanted, others_translate: bool) -> Self {
        let is_tracked = others_translate || wanted.masquerade || wanted.is_exit();
        let mut text = String::new();
        if wanted.has_site {
            chain_forward(&mut text, wanted);
            chain_from_tunnel(&mut text, wanted, is_tracked);
            chain_to_tunnel(&mut text, wanted, is_tracked);
            if is_tracked {
                chain_postrouting(&mut text, wanted);
            }
        }
        if let Some(full) = wanted.takes_all() {
            chains_of_full_tunnel(&mut text, &wanted.interface, full);
        }
        Self::new(name(&wanted.interface), &text)
    }

    /// With these chains.
    pub fn new(name: String, chains: &str) -> Self {
        let text = format!("{}table inet {name} {{\n{chains}}}\n", removal(&name));
        Self { name, text }
    }

    /// How it is listed, now that it was loaded; `None` if somebody has taken rules away since.
    fn listing(&self) -> Option<String> {
        let rules = |text: &str| text.matches("comment \"weapon: ").count();
        listing(&self.name).filter(|listed| rules(listed) == rules(&self.text))
    }

    fn load(&self) -> Result<(), ProgramError> {
        program::run("nft", &["-f", "-"], &self.text).map(drop)
    }
}

/// What the names of all our tables begin with.
const PREFIX: &str = "weapon-";

/// Whether a table of family `inet` is a gateway's.
pub fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The table of the gateway with this interface.
pub fn name(interface: &str) -> String {
    format!("{PREFIX}{}", escaped(interface))
}

/// An interface's name as a part of a table's. Of the characters that interfaces may have and
/// tables may not, the code stands there.
pub fn escaped(interface: &str) -> String {
    let mut name = String::new();
    for character in interface.chars() {
        if character.is_ascii_alphanumeric() || matches!(character, '_' | '-' | '.') {
            name.push(character);
        } else {
            let _ = write!(name, "/{:x}", u32::from(character));
        }
    }
    name
}

/// The table as it is now, without its counters; `None` where there is none.
pub fn listing(name: &str) -> Option<String> {
    program::run("nft", &["-s", "list", "table", "inet", name], "").ok()
}

/// Removes the table, if it is there.
///
/// # Errors
/// What `nft` complains of.
pub fn remove(name: &str) -> Result<(), ProgramError> {
    program::run("nft", &["-f", "-"], &removal(name)).map(drop)
}

/// What removes a table, whether it is there or not.
fn removal(name: &str) -> String {
    format!("add table inet {name}\ndelete table inet {name}\n")
}

/// Adds a rule, with its reason.
pub fn rule(text: &mut String, what: &str, why: &str) {
    let _ = writeln!(text, "\t\t{what} comment \"weapon: {why}\"");
}

/// Before other chains, so that what we drop is dropped, whatever they accept.
fn chain_forward(text: &mut String, wanted: &Wanted) {
    let tunnel = &wanted.interface;
    text.push_str("\tchain forward {\n");
    text.push_str("\t\ttype filter hook forward priority filter - 5; policy accept;\n");
    let syn = "tcp flags syn / syn,rst tcp option maxseg size set rt mtu";
    let fits = "TCP segments that fit through the tunnel";
    rule(text, &format!("iifname \"{tunnel}\" {syn}"), fits);
    rule(text, &format!("oifname \"{tunnel}\" {syn}"), fits);
    let jump = |way: &str, chain: &str| format!("{way} \"{tunnel}\" jump {chain}");
    let what = jump("iifname", "from_tunnel");
    rule(text, &what, "what comes from peers");
    rule(text, &jump("oifname", "to_tunnel"), "what goes to peers");
    text.push_str("\t}\n");
}

fn chain_from_tunnel(text: &mut String, wanted: &Wanted, is_tracked: bool) {
    text.push_str("\tchain from_tunnel {\n");
    if wanted.masquerade {
        // Else a peer could bend the answers of others to itself: what it sends from our own port
        // would stand in the table of connections as ours (port shadow, CVE-2021-3773).
        let what = format!("udp sport {} counter drop", wanted.listen_port);
        rule(text, &what, "from the port of the tunnel itself");
    }
    if is_tracked {
        rule(text, "ct state established,related accept", "answers");
        rule(
            text,
            "ct status dnat accept",
            "ports that this host itself publishes",
        );
    }
    rule(
        text,
        &format!("oifname \"{}\" accept", wanted.interface),
        "from peer to peer",
    );
    for matching in matches("daddr", wanted.prefixes().iter()) {
        rule(
            text,
            &format!("{matching}accept"),
            "to what lies behind this gateway",
        );
    }
    rule(text, "counter drop", "nothing else is for peers");
    text.push_str("\t}\n");
}

/// A source is believed from the interface that leads to it, and from no other: else a neighbour on
/// any network of this host could send to peers in the name of what lies behind it.
fn chain_to_tunnel(text: &mut String, wanted: &Wanted, is_tracked: bool) {
    text.push_str("\tchain to_tunnel {\n");
    if is_tracked {
        rule(text, "ct state established,related accept", "answers");
    }
    rule(
        text,
        &format!("iifname \"{}\" accept", wanted.interface),
        "from peer to peer",
    );
    for interface in wanted.interfaces() {
        let from = format!("iifname \"{interface}\" ");
        // Who is everywhere answers, and begins nothing.
        let there = wanted
            .prefixes_by(interface)
            .filter(|it| it.prefix_len() > 0);
        for matching in matches("saddr", there) {
            let why = "from what lies behind this gateway";
            rule(text, &format!("{from}{matching}accept"), why);
        }
        if !is_tracked {
            // From routers on the way there, which may have addresses of any kind.
            for errors in ICMP_ERRORS {
                rule(text, &format!("{from}{errors} accept"), "errors");
            }
        }
    }
    rule(
        text,
        "counter drop",
        "does not lie behind this gateway, see networks in [gateway]",
    );
    text.push_str("\t}\n");
}

/// Before everybody else's translation. A connection that is translated, be it to its own address,
/// is not translated again: so it stays what it is, whoever masquerades later.
fn chain_postrouting(text: &mut String, wanted: &Wanted) {
    text.push_str("\tchain postrouting {\n");
    text.push_str("\t\ttype nat hook postrouting priority srcnat - 10; policy accept;\n");
    let tunnel = &wanted.interface;
    let true_address = "sites see each other's true addresses";
    for (family, site, peers) in by_family(&wanted.prefixes(), &wanted.peers) {
        let out = format!(
            "oifname \"{tunnel}\" {}{}",
            one_match(family, "saddr", &site),
            one_match(family, "daddr", &peers)
        );
        let itself = format!("snat {family} to {family} saddr");
        rule(text, &format!("{out}{itself}"), true_address);
        let into = format!(
            "iifname \"{tunnel}\" {}{}",
            one_match(family, "saddr", &peers),
            one_match(family, "daddr", &site)
        );
        if wanted.masquerade {
            let why = "masquerade = true: hosts here answer without a route to the peers";
            // Ports are never what the peer wished, so that nobody can guess another's.
            rule(text, &format!("{into}masquerade fully-random"), why);
        } else {
            rule(text, &format!("{into}{itself}"), true_address);
        }
    }
    text.push_str("\t}\n");
}

/// What comes in from outside is answered the way it came, though all else goes into the tunnel;
/// and what was begun before there was one goes on.
fn chains_of_full_tunnel(text: &mut String, tunnel: &str, full: &FullTunnel) {
    let outside = format!("iifname != {{ \"{tunnel}\", \"lo\" }}");
    let mark = full.mark;
    text.push_str("\tchain own_address {\n");
    text.push_str("\t\ttype filter hook prerouting priority raw; policy accept;\n");
    // Else a neighbour could find out what the tunnel's address is, and disturb connections
    // through it (CVE-2019-14899).
    let addresses: Vec<IpNet> = full.addresses.iter().map(|&it| it.into()).collect();
    for matching in matches("daddr", addresses.iter()) {
        let what = format!("{outside} {matching}counter drop");
        rule(
            text,
            &what,
            "our address in the tunnel is reached by the tunnel alone",
        );
    }
    text.push_str("\t}\n\tchain from_outside {\n");
    text.push_str("\t\ttype filter hook prerouting priority mangle; policy accept;\n");
    let begun = begun_outside(tunnel, mark);
    rule(text, &begun, "begun from outside");
    let local = format!("{outside} fib daddr type local meta mark set {mark:#x}");
    rule(text, &local, "its way back is not in the tunnel");
    let answer = format!("ct direction reply ct mark {mark:#x} meta mark set {mark:#x}");
    rule(text, &answer, "answered the way it came");
    text.push_str("\t}\n\tchain to_outside {\n");
    text.push_str("\t\ttype route hook output priority mangle; policy accept;\n");
    rule(text, &answer, "answered the way it came");
    let before = format!(
        "ct state new tcp flags & (fin|syn|rst|ack) == ack oifname != \"lo\" \
         ct mark set {mark:#x} meta mark set {mark:#x}"
    );
    rule(text, &before, "begun before there was a tunnel");
    let goes_on = format!("ct direction original ct mark {mark:#x} meta mark set {mark:#x}");
    rule(text, &goes_on, "begun before there was a tunnel");
    text.push_str("\t}\n");
}

/// The families that both sides have something of.
fn by_family(
    site: &[IpNet],
    peers: &[IpNet],
) -> impl Iterator<Item = (&'static str, Vec<IpNet>, Vec<IpNet>)> {
    let families = [("ip", true), ("ip6", false)].into_iter();
    families.filter_map(|(family, is_ipv4)| {
        let (site, peers) = (of_family(site, is_ipv4), of_family(peers, is_ipv4));
        (!site.is_empty() && !peers.is_empty()).then_some((family, site, peers))
    })
}

/// A match for each family that has prefixes.
pub fn matches<'p>(side: &str, prefixes: impl Iterator<Item = &'p IpNet>) -> Vec<String> {
    let prefixes: Vec<IpNet> = prefixes.copied().collect();
    let families = [("ip", true), ("ip6", false)].into_iter();
    let found = families.filter_map(|(family, is_ipv4)| {
        let prefixes = of_family(&prefixes, is_ipv4);
        if prefixes.is_empty() {
            return None;
        }
        let one = one_match(family, side, &prefixes);
        // Everything of a family needs no set, but must not be taken for the other family.
        let ipv = if is_ipv4 { "ipv4" } else { "ipv6" };
        Some(if one.is_empty() {
            format!("meta nfproto {ipv} ")
        } else {
            one
        })
    });
    found.collect()
}

/// Those of one family, none within another: nftables takes no sets that overlap.
fn of_family(prefixes: &[IpNet], is_ipv4: bool) -> Vec<IpNet> {
    let prefixes = prefixes.iter().filter(|it| it.addr().is_ipv4() == is_ipv4);
    IpNet::aggregate(&prefixes.map(IpNet::trunc).collect())
}

/// A match on addresses, with a space behind it; nothing if all addresses do.
fn one_match(family: &str, side: &str, prefixes: &[IpNet]) -> String {
    if prefixes.iter().any(|prefix| prefix.prefix_len() == 0) {
        return String::new();
    }
    let list: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
    format!("{family} {side} {{ {} }} ", list.join(", "))
}

#[cfg(test)]
pub(super) mod tests;
