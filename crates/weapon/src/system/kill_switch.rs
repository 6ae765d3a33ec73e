//! The kill switch: a table of its own that lets packets out by the tunnel alone.
//!
//! It is loaded before the device is up, replaced in one transaction, and stays when the gateway
//! ends, in whatever way: only `weapon down` lifts it, or a file that wants it no more. What goes
//! out beside the tunnel is the tunnel itself, what it takes to find its peers, answers to who came
//! in from outside, and what a network needs to have us in it (DHCP, neighbour discovery).

use weapon_io::program::ProgramError;

use super::{
    Keeper, Wanted,
    journal::{Entry, Journal},
    leftovers,
    table::{self, Loaded, Table, matches, rule},
    wanted::FullTunnel,
};

/// What the names of these tables begin with.
const PREFIX: &str = "weapon_kill-";

/// The table of the gateway with this interface.
fn name(interface: &str) -> String {
    format!("{PREFIX}{}", table::escaped(interface))
}

/// The table that is wanted, if one is.
pub fn table(wanted: &Wanted) -> Option<Table> {
    let full = wanted.full_tunnel.as_ref().filter(|_| wanted.kill_switch)?;
    let mut text = String::new();
    let (tunnel, mark) = (&wanted.interface, full.mark);
    text.push_str("\tchain from_outside {\n");
    text.push_str("\t\ttype filter hook prerouting priority mangle; policy accept;\n");
    rule(
        &mut text,
        &begun_outside(tunnel, mark),
        "begun from outside",
    );
    text.push_str("\t}\n\tchain output {\n");
    text.push_str("\t\ttype filter hook output priority filter; policy accept;\n");
    let inside = format!("oifname {{ \"{tunnel}\", \"lo\" }} accept");
    rule(&mut text, &inside, "by the tunnel");
    others(&mut text, wanted, full);
    let port = wanted.listen_port;
    let own = format!("meta mark {mark:#x} udp sport {port} accept");
    rule(&mut text, &own, "the tunnel itself");
    let names = format!("meta mark {mark:#x} meta l4proto {{ tcp, udp }} th dport 53 accept");
    rule(&mut text, &names, "where our peers are");
    rule(&mut text, &answer(mark), "answers to who came from outside");
    for needed in [
        "udp sport 68 udp dport 67 accept",
        "udp sport 546 udp dport 547 accept",
        "icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, \
         mld-listener-report, mld2-listener-report } accept",
    ] {
        rule(&mut text, needed, "what a network needs to have us in it");
    }
    kept(&mut text, full);
    rule(&mut text, "counter drop", "nothing else leaves in clear");
    text.push_str("\t}\n\tchain forward {\n");
    text.push_str("\t\ttype filter hook forward priority filter; policy accept;\n");
    for way in ["iifname", "oifname"] {
        let inside = format!("{way} \"{tunnel}\" accept");
        rule(&mut text, &inside, "by the tunnel");
    }
    others(&mut text, wanted, full);
    rule(&mut text, &answer(mark), "answers to who came from outside");
    kept(&mut text, full);
    rule(&mut text, "counter drop", "nothing else leaves in clear");
    text.push_str("\t}\n");
    Some(Table::new(name(&wanted.interface), &text))
}

/// What marks connections that were begun from outside.
pub fn begun_outside(tunnel: &str, mark: u32) -> String {
    format!(
        "iifname != {{ \"{tunnel}\", \"lo\" }} ct direction original ct mark 0 \
         ct mark set {mark:#x}"
    )
}

fn answer(mark: u32) -> String {
    format!("ct direction reply ct mark {mark:#x} accept")
}

/// Where the peers' networks are not everything, the rest is not for the tunnel.
fn others(text: &mut String, wanted: &Wanted, full: &FullTunnel) {
    let families = [(full.ipv4, "ipv4", true), (full.ipv6, "ipv6", false)];
    for (takes_all, family, is_ipv4) in families {
        if takes_all {
            continue;
        }
        let peers = wanted.peers.iter();
        let peers = peers.filter(|it| it.addr().is_ipv4() == is_ipv4);
        let all = matches("daddr !=", peers);
        let other = all.into_iter().next();
        let other = other.unwrap_or_else(|| format!("meta nfproto {family} "));
        rule(text, &format!("{other}accept"), "not for peers");
    }
}

/// What is beside a tunnel that takes all.
fn kept(text: &mut String, full: &FullTunnel) {
    if full.takes_all() {
        for matching in matches("daddr", full.kept.iter()) {
            rule(
                text,
                &format!("{matching}accept"),
                "reached beside the tunnel",
            );
        }
    }
}

/// Lifts that of the gateway with this interface.
///
/// # Errors
/// What `nft` complains of.
pub fn lift(interface: &str) -> Result<(), ProgramError> {
    table::remove(&name(interface))
}

impl Keeper {
    /// Lets packets out by the tunnel alone, before there is one, if that is wanted; or lifts what
    /// forbids them, if it is not any more.
    ///
    /// # Errors
    /// What `nft` complains of.
    pub fn close_first(&mut self, wanted: Option<&Wanted>) -> anyhow::Result<()> {
        let Some((wanted, table)) = wanted.and_then(|it| Some((it, table(it)?))) else {
            return self.open();
        };
        wanted.ensure_names()?;
        let mut journal = Journal::open(&self.places)?;
        let name = self.places.name();
        let before = journal.entry(name).cloned().unwrap_or_default();
        journal.put(Entry {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            interface: wanted.interface.clone(),
            kill_switch: true,
            ..before
        });
        journal.save()?;
        Loaded::ensure(&mut self.kill_switch, &table)?;
        Ok(())
    }

    /// The kill switch is not wanted.
    pub(super) fn open(&mut self) -> anyhow::Result<()> {
        if !self.places.journal().exists() {
            return Ok(());
        }
        let mut journal = Journal::open(&self.places)?;
        if leftovers::lift(&mut journal, self.places.name())? {
            tracing::info!("the kill switch is lifted");
        }
        self.kill_switch = None;
        Ok(())
    }

    /// When all is undone, the kill switch is lifted too: that is what was asked for.
    pub fn lift_at_end(&mut self) {
        self.is_lifted = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::table::tests::wanted;

    fn full(takes_all: bool) -> Wanted {
        let mut wanted = wanted(&[], &["10.2.0.0/16"]);
        wanted.kill_switch = true;
        wanted.full_tunnel = Some(FullTunnel {
            mark: 7,
            table: 7,
            ipv4: takes_all,
            ipv6: takes_all,
            kept: vec!["172.17.0.0/16".parse().unwrap()],
            addresses: Vec::new(),
        });
        wanted
    }

    #[test]
    fn only_who_wants_one_has_one() {
        let mut wanted = full(true);
        assert!(table(&wanted).is_some());
        wanted.kill_switch = false;
        assert!(table(&wanted).is_none());
    }

    #[test]
    fn where_the_tunnel_takes_all_nothing_else_passes() {
        let text = table(&full(true)).unwrap().text;
        assert_eq!(text.matches("counter drop").count(), 2, "{text}");
        assert_eq!(text.matches("ip daddr { 172.17.0.0/16 } accept").count(), 2);
        assert!(!text.contains("not for peers"), "{text}");
        // The mark alone does not do: who may set one is not yet the tunnel.
        for line in text.lines().filter(|line| line.contains("meta mark")) {
            assert!(
                line.contains("udp sport 51820") || line.contains("dport 53"),
                "{line}"
            );
        }
    }

    #[test]
    fn where_it_does_not_only_what_is_for_peers_is_forbidden() {
        let text = table(&full(false)).unwrap().text;
        let other = "ip daddr != { 10.2.0.0/16 } accept comment \"weapon: not for peers\"";
        assert_eq!(text.matches(other).count(), 2, "{text}");
        assert_eq!(text.matches("meta nfproto ipv6 accept").count(), 2);
        // A LAN that claims a peer's network does not get what is for the peer.
        assert!(!text.contains("172.17.0.0/16"), "{text}");
    }
}
