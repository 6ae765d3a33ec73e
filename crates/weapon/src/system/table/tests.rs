//! The text of the table.

use super::*;
use crate::{
    config::Behind,
    site::{Site, SiteNetwork},
};

/// A gateway with these prefixes behind it, and these behind its peers.
pub(in crate::system) fn wanted(site: &[&str], peers: &[&str]) -> Wanted {
    let prefix = |text: &&str| -> IpNet { text.parse().unwrap() };
    let networks = site.iter().map(prefix).map(|prefix| SiteNetwork {
        prefix,
        interface: Some("eth1".to_owned()),
        said: Behind::Prefix(prefix),
    });
    Wanted {
        interface: "w-one".to_owned(),
        site: Site {
            networks: networks.collect(),
        },
        peers: peers.iter().map(prefix).collect(),
        masquerade: false,
        listen_port: 51_820,
        has_site: true,
        firewall: true,
        full_tunnel: None,
        kill_switch: false,
        dns: (Vec::new(), Vec::new()),
    }
}

#[test]
fn the_text_is_this() {
    let wanted = wanted(
        &["10.1.0.0/24", "10.1.1.0/24", "fd01::/64"],
        &["10.2.0.0/16", "10.2.7.0/24", "fd02::/64"],
    );
    let table = Table::of(&wanted, true);
    let expected = "\
add table inet weapon-w-one
delete table inet weapon-w-one
table inet weapon-w-one {
\tchain forward {
\t\ttype filter hook forward priority filter - 5; policy accept;
\t\tiifname \"w-one\" tcp flags syn / syn,rst tcp option maxseg size set rt mtu \
comment \"weapon: TCP segments that fit through the tunnel\"
\t\toifname \"w-one\" tcp flags syn / syn,rst tcp option maxseg size set rt mtu \
comment \"weapon: TCP segments that fit through the tunnel\"
\t\tiifname \"w-one\" jump from_tunnel comment \"weapon: what comes from peers\"
\t\toifname \"w-one\" jump to_tunnel comment \"weapon: what goes to peers\"
\t}
\tchain from_tunnel {
\t\tct state established,related accept comment \"weapon: answers\"
\t\tct status dnat accept comment \"weapon: ports that this host itself publishes\"
\t\toifname \"w-one\" accept comment \"weapon: from peer to peer\"
\t\tip daddr { 10.1.0.0/23 } accept comment \"weapon: to what lies behind this gateway\"
\t\tip6 daddr { fd01::/64 } accept comment \"weapon: to what lies behind this gateway\"
\t\tcounter drop comment \"weapon: nothing else is for peers\"
\t}
\tchain to_tunnel {
\t\tct state established,related accept comment \"weapon: answers\"
\t\tiifname \"w-one\" accept comment \"weapon: from peer to peer\"
\t\tiifname \"eth1\" ip saddr { 10.1.0.0/23 } accept \
comment \"weapon: from what lies behind this gateway\"
\t\tiifname \"eth1\" ip6 saddr { fd01::/64 } accept \
comment \"weapon: from what lies behind this gateway\"
\t\tcounter drop comment \"weapon: does not lie behind this gateway, see networks in [gateway]\"
\t}
\tchain postrouting {
\t\ttype nat hook postrouting priority srcnat - 10; policy accept;
\t\toifname \"w-one\" ip saddr { 10.1.0.0/23 } ip daddr { 10.2.0.0/16 } snat ip to ip saddr \
comment \"weapon: sites see each other's true addresses\"
\t\tiifname \"w-one\" ip saddr { 10.2.0.0/16 } ip daddr { 10.1.0.0/23 } snat ip to ip saddr \
comment \"weapon: sites see each other's true addresses\"
\t\toifname \"w-one\" ip6 saddr { fd01::/64 } ip6 daddr { fd02::/64 } snat ip6 to ip6 saddr \
comment \"weapon: sites see each other's true addresses\"
\t\tiifname \"w-one\" ip6 saddr { fd02::/64 } ip6 daddr { fd01::/64 } snat ip6 to ip6 saddr \
comment \"weapon: sites see each other's true addresses\"
\t}
}
";
    assert_eq!(table.name, "weapon-w-one");
    assert_eq!(table.text, expected);
}

/// Where nobody translates, nothing makes the kernel track connections.
#[test]
fn nothing_is_tracked_for_our_sake() {
    let mut wanted = wanted(&["10.1.0.0/24", "10.9.0.0/24"], &["10.2.0.0/16"]);
    wanted.site.networks[1].interface = Some("eth2".to_owned());
    let text = Table::of(&wanted, false).text;
    for word in ["\tct ", " nat ", "masquerade"] {
        assert!(!text.contains(word), "{word} in {text}");
    }
    let expected = "\
\tchain from_tunnel {
\t\toifname \"w-one\" accept comment \"weapon: from peer to peer\"
\t\tip daddr { 10.1.0.0/24, 10.9.0.0/24 } accept \
comment \"weapon: to what lies behind this gateway\"
\t\tcounter drop comment \"weapon: nothing else is for peers\"
\t}
\tchain to_tunnel {
\t\tiifname \"w-one\" accept comment \"weapon: from peer to peer\"
\t\tiifname \"eth1\" ip saddr { 10.1.0.0/24 } accept \
comment \"weapon: from what lies behind this gateway\"
\t\tiifname \"eth1\" icmp type { destination-unreachable, time-exceeded, parameter-problem } \
accept comment \"weapon: errors\"
\t\tiifname \"eth1\" icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, \
parameter-problem } accept comment \"weapon: errors\"
\t\tiifname \"eth2\" ip saddr { 10.9.0.0/24 } accept \
comment \"weapon: from what lies behind this gateway\"
";
    assert!(text.contains(expected), "{text}");
}

/// Names are texts in rules.
#[test]
fn a_name_that_means_something_else_in_a_rule_is_refused() {
    let good = wanted(&["10.1.0.0/24"], &[]);
    good.ensure_names().unwrap();
    let tunnel = Wanted {
        interface: "w\"accept".to_owned(),
        ..good.clone()
    };
    assert!(tunnel.ensure_names().is_err());
    for name in ["eth*", "e\"drop;", "e\\", "e\u{7f}", "\u{e9}th0"] {
        let mut wanted = good.clone();
        wanted.site.networks[0].interface = Some(name.to_owned());
        assert!(wanted.ensure_names().is_err(), "{name:?}");
    }
}

#[test]
fn everything_behind_us_needs_no_set() {
    let text = Table::of(&wanted(&["0.0.0.0/0"], &["10.2.0.0/16"]), true).text;
    assert!(text.contains("\t\tmeta nfproto ipv4 accept"), "{text}");
    assert!(
        !text.contains("0.0.0.0/0") && !text.contains("ip6"),
        "{text}"
    );
    assert!(text.contains("oifname \"w-one\" ip daddr { 10.2.0.0/16 } snat"));
}

/// While nothing is there, as with a network of Docker's that is still to come, all is dropped.
#[test]
fn nothing_behind_us_lets_nothing_pass() {
    let text = Table::of(&wanted(&[], &["10.2.0.0/16"]), true).text;
    assert!(!text.contains("daddr") && !text.contains("saddr"), "{text}");
    assert_eq!(text.matches("counter drop").count(), 2);
}

#[test]
fn a_masquerade_is_of_what_comes_from_peers_alone() {
    let wanted = Wanted {
        masquerade: true,
        ..wanted(&["10.1.0.0/24"], &["10.2.0.0/16"])
    };
    let text = Table::of(&wanted, false).text;
    let rule = "iifname \"w-one\" ip saddr { 10.2.0.0/16 } ip daddr { 10.1.0.0/24 } masquerade \
                fully-random";
    assert_eq!(
        (
            text.matches(rule).count(),
            text.matches("masquerade fully-random comment").count()
        ),
        (1, 1)
    );
    assert_eq!(text.matches("snat ip to ip saddr").count(), 1);
}

#[test]
fn each_interface_has_a_table_of_its_own() {
    assert_eq!(name("w-one"), "weapon-w-one");
    assert_eq!(name("a+b=c_d.e"), "weapon-a/2bb/3dc_d.e");
    assert_ne!(name("a+b"), name("a=b"));
}
