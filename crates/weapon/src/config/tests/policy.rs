//! Rules, and what is said of bad ones.

use weapon_core::filter::{Action, Direction, IcmpType, PortRange, Protocol, RulePeers};

use super::*;

/// A gateway with two peers, as lines 1 to 12.
fn gateway() -> String {
    format!(
        "[gateway]\nprivate_key_file = \"site-a.key\"\nnetworks = [\"10.0.0.0/24\"]\n\
         [[peer]]\nname = \"site-b\"\npublic_key = \"{PEER}\"\nnetworks = [\"10.1.0.0/24\"]\n\
         [[peer]]\nname = \"phone\"\npublic_key = \"{OTHER}\"\ngroup = \"mobile\"\n\
         networks = [\"10.2.0.5/32\", \"fd00:2::/64\"]\n"
    )
}

/// What is said when `text` follows from line 13 on.
#[track_caller]
fn says(text: &str, expected: &[&str]) {
    toml_says(&(gateway() + text), expected);
}

/// What is said of a rule with these lines, from line 17 on.
#[track_caller]
fn rule_says(lines: &str, expected: &[&str]) {
    says(
        &format!("[filter]\ndefault = \"deny\"\n[[rule]]\naction = \"allow\"\n{lines}\n"),
        expected,
    );
}

#[test]
fn nothing_is_judged_unless_it_is_asked_for() {
    let Loaded { config, .. } = Folder::new().load("site-a.toml", &gateway()).unwrap();
    assert!(config.filter.is_none());
    assert!(config.policy().unwrap().is_none());
    assert_eq!(config.peers[1].groups, ["mobile"]);
}

#[test]
fn flows_can_be_watched_alone() {
    let text = gateway() + "[filter]\nflows = true\nflows_max = 1000\n";
    let Loaded { config, warnings } = Folder::new().load("site-a.toml", &text).unwrap();
    assert!(warnings.is_empty());
    let policy = config.policy().unwrap().unwrap();
    assert_eq!(
        (policy.default, policy.rules.len(), policy.flows_max),
        (None, 0, 1000)
    );
    let other = config.policy().unwrap().unwrap();
    assert_ne!(policy.seed, other.seed);
}

#[test]
fn every_key_of_a_rule_is_taken() {
    let text = gateway()
        + "[filter]\ndefault = \"deny\"\n\
           [[rule]]\nname = \"web\"\naction = \"allow\"\ndirection = \"inbound\"\n\
           peer = \"site-b\"\ngroup = [\"mobile\"]\nfrom = \"10.0.0.0/8\"\n\
           to = [\"10.0.0.7\", \"10.0.0.8/31\"]\nprotocol = [\"tcp\", \"UDP\"]\n\
           ports = [80, \"8000-8100\"]\nsource_ports = \"1024-65535\"\n\
           [[rule]]\naction = \"deny\"\nprotocol = 47\n\
           [[rule]]\naction = \"allow\"\ndirection = \"outbound\"\ngroup = \"mobile\"\n\
           icmp = [\"echo-request\", \"v4:13\", \"packet-too-big\"]\n";
    let Loaded { config, warnings } = Folder::new().load("site-a.toml", &text).unwrap();
    assert!(warnings.is_empty());
    let filter = config.filter.unwrap();
    assert_eq!(
        (filter.default, filter.flows_max),
        (Some(Action::Deny), 65_536)
    );
    let [web, gre, icmp] = &filter.rules[..] else {
        panic!("three rules")
    };
    assert_eq!((&*web.name, web.action), ("web", Action::Allow));
    assert_eq!(web.direction, Some(Direction::Inbound));
    let named = |names: &[&str]| RulePeers::Named(names.iter().map(|it| Box::from(*it)).collect());
    assert_eq!(web.peers, named(&["site-b", "phone"]));
    assert_eq!(web.from, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(
        web.to,
        ["10.0.0.7/32", "10.0.0.8/31"].map(|it| it.parse().unwrap())
    );
    assert_eq!(web.protocols, [6, 17].map(Protocol::Number));
    let range = |first, last| PortRange { first, last };
    assert_eq!(web.ports, [range(80, 80), range(8000, 8100)]);
    assert_eq!(web.source_ports, [range(1024, 65_535)]);
    assert_eq!(
        (&*gre.name, &gre.protocols[..]),
        ("rule-2", &[Protocol::Number(47)][..])
    );
    assert_eq!((&gre.peers, gre.direction), (&RulePeers::All, None));
    assert_eq!(icmp.peers, named(&["phone"]));
    assert_eq!(icmp.protocols, [Protocol::Icmp]);
    let kinds = [
        IcmpType::V4(8),
        IcmpType::V6(128),
        IcmpType::V4(13),
        IcmpType::V6(2),
    ];
    assert_eq!(icmp.icmp, kinds);
}

#[test]
fn a_filter_needs_a_default() {
    const MISSING: &str = "what becomes of packets that no rule matches? Give [filter] \
                           default = \"deny\" or default = \"allow\"";
    says(
        "[[rule]]\naction = \"deny\"\n",
        &[&format!("site-a.toml:13:1: rule: {MISSING}")],
    );
    says(
        "[filter]\nflows = true\n[[test]]\nfrom = \"10.1.0.1\"\nto = \"10.0.0.1\"\n\
         expect = \"allow\"\n",
        &[&format!("site-a.toml:13:1: filter: {MISSING}")],
    );
    says(
        "[filter]\n",
        &[
            "site-a.toml:13:1: filter: nothing is asked for; give default = \"deny\" or \
           \"allow\", or flows = true to watch what passes",
        ],
    );
    says(
        "[filter]\ndefault = \"drop\"\n",
        &["site-a.toml:14:11: filter.default: `drop` is not known; it is allow or deny"],
    );
    says(
        "[filter]\ndefault = \"deny\"\nflows = false\n",
        &[
            "site-a.toml:13:1: filter.flows: answers pass because their flow is known, so a \
           filter has to remember flows; leave this out",
        ],
    );
    for flows in ["15", "-1", "1048577", "9223372036854775807"] {
        says(
            &format!("[filter]\nflows = true\nflows_max = {flows}\n"),
            &[&format!(
                "site-a.toml:15:13: filter.flows_max: {flows} is out of range; it is 16 to \
                 1048576 flows, of 128 bytes each"
            )],
        );
    }
}

#[test]
fn sections_of_the_wrong_form_are_named() {
    says(
        "[rule]\n",
        &["site-a.toml:13:2: rule: rules are a list; write [[rule]], with two brackets"],
    );
    says(
        "[test]\n",
        &["site-a.toml:13:2: test: tests are a list; write [[test]], with two brackets"],
    );
    says(
        "[[filter]]\n",
        &["site-a.toml:13:1: filter: a list where a section [filter] belongs"],
    );
    says(
        "[[rules]]\n",
        &["site-a.toml:13:3: rules: unknown section; did you mean [[rule]]?"],
    );
    says(
        "[filters]\n",
        &["site-a.toml:13:2: filters: unknown section; did you mean [filter]?"],
    );
    rule_says(
        "port = 22",
        &["site-a.toml:17:1: rule.port: unknown key; did you mean `ports`?"],
    );
    rule_says(
        "expect = \"deny\"",
        &["site-a.toml:17:1: rule.expect: unknown key; it belongs to [[test]]"],
    );
}

#[test]
fn who_is_not_there_is_named() {
    rule_says(
        "peer = \"siteb\"",
        &["site-a.toml:17:8: rule.peer: there is no peer `siteb`; did you mean \"site-b\"?"],
    );
    rule_says(
        "peer = [\"phone\", \"zebra\"]",
        &["site-a.toml:17:18: rule.peer: there is no peer `zebra`; there are site-b, phone"],
    );
    rule_says(
        "group = \"phones\"",
        &["site-a.toml:17:9: rule.group: there is no group `phones`; there are mobile"],
    );
    rule_says(
        "peer = []",
        &[
            "site-a.toml:15:1: rule.peer: the list is empty, so nothing would match; leave it out \
           to match everything",
        ],
    );
    toml_says(
        "[gateway]\nprivate_key_file = \"site-a.key\"\n[filter]\ndefault = \"deny\"\n[[rule]]\n\
         action = \"allow\"\ngroup = \"x\"\n",
        &["site-a.toml:7:9: rule.group: there is no group `x`; there is none at all"],
    );
    says(
        "[[peer]]\nname = \"c\"\n[[rule]]\naction = \"deny\"\npeer = \"c\"\n",
        &[
            "site-a.toml:13:1: peer.public_key: the peer has no public key; it is what \
           `weapon pubkey` prints for the peer's key",
        ],
    );
}

#[test]
fn bad_values_are_named() {
    rule_says(
        "from = \"10.1.0.0/33\"",
        &["site-a.toml:17:8: rule.from: `10.1.0.0/33`: the prefix length of IPv4 is 0 to 32"],
    );
    rule_says(
        "to = \"10.1.0.7/24\"",
        &[
            "site-a.toml:17:6: rule.to: 10.1.0.7/24 has bits behind its prefix; write 10.1.0.0/24, \
           or 10.1.0.7 for one host",
        ],
    );
    rule_says(
        "to = []",
        &[
            "site-a.toml:15:1: rule.to: the list is empty, so nothing would match; leave it out to \
           match everything",
        ],
    );
    rule_says(
        "direction = \"in\"",
        &[
            "site-a.toml:17:13: rule.direction: `in` is not known; it is inbound (from a peer) or \
           outbound (to a peer)",
        ],
    );
    rule_says(
        "name = \"a b\"",
        &[
            "site-a.toml:17:8: rule.name: `a b` cannot be a name; a name has 1 to 64 \
           letters, digits and _ = + . -, and does not begin with . or -",
        ],
    );
    rule_says(
        "name = \"default\"",
        &[
            "site-a.toml:17:8: rule.name: `default` is what decides where no rule does; give \
           another name",
        ],
    );
    rule_says(
        "name = \"a\"\nports = 22\nprotocol = \"tcp\"\n[[rule]]\nname = \"a\"\naction = \"deny\"",
        &[
            "site-a.toml:21:8: rule.name: `a` is the name of the rule in line 15 already; give \
           another",
        ],
    );
    // Also if it is one that was made for the rule.
    rule_says(
        "name = \"rule-2\"\n[[rule]]\naction = \"deny\"",
        &[
            "site-a.toml:18:1: rule.name: `rule-2` is the name of the rule in line 15 already; \
           give another",
        ],
    );
    rule_says(
        "from = true",
        &["site-a.toml:17:8: rule.from: true or false where \"10.1.0.0/16\" belongs"],
    );
    says(
        "[filter]\ndefault = \"deny\"\n[[rule]]\nports = 22\nprotocol = \"tcp\"\n",
        &["site-a.toml:15:1: rule.action: is missing; give action = \"allow\" or \"deny\""],
    );
}

#[test]
fn ports_belong_to_protocols_that_have_some() {
    rule_says(
        "ports = 22",
        &[
            "site-a.toml:17:9: rule.ports: ports of which protocol? Give protocol = \"tcp\", \
           \"udp\" or a list",
        ],
    );
    rule_says(
        "protocol = [\"tcp\", \"icmp\"]\nports = 22",
        &[
            "site-a.toml:18:9: rule.ports: icmp has no ports; write another rule for it, or leave \
           the ports out",
        ],
    );
    rule_says(
        "protocol = 47\nsource_ports = [22]",
        &[
            "site-a.toml:18:17: rule.source_ports: gre has no ports; write another rule for it, or \
           leave the ports out",
        ],
    );
    for ports in [
        "\"70000\"",
        "\"22-\"",
        "\"ssh\"",
        "-1",
        "\"+5\"",
        "\"1-2-3\"",
    ] {
        let text = ports.trim_matches('"');
        rule_says(
            &format!("protocol = \"tcp\"\nports = {ports}"),
            &[&format!(
                "site-a.toml:18:9: rule.ports: `{text}` is not a port; write 22, or \
                 \"8000-8100\" for a range, from 0 to 65535"
            )],
        );
    }
    rule_says(
        "protocol = \"tcp\"\nports = \"90-80\"",
        &["site-a.toml:18:9: rule.ports: `90-80` begins behind its end; write \"80-90\""],
    );
}

#[test]
fn protocols_and_types_are_known_or_numbers() {
    rule_says(
        "protocol = \"tpc\"",
        &[
            "site-a.toml:17:12: rule.protocol: `tpc` is no protocol that is known here; did you \
           mean \"tcp\"? There are icmp, tcp, udp, dccp, sctp, udplite, igmp, ipip, gre, esp, \
           ah, ospf, pim, vrrp, l2tp, or a number from 0 to 255",
        ],
    );
    rule_says(
        "protocol = 58",
        &["site-a.toml:17:12: rule.protocol: 58 is written \"icmp\", in both versions of IP"],
    );
    rule_says(
        "protocol = \"icmpv6\"",
        &[
            "site-a.toml:17:12: rule.protocol: `icmpv6` is icmp here: of IPv4 in IPv4 and of IPv6 \
           in IPv6; with from, to or icmp it is of one alone",
        ],
    );
    rule_says(
        "icmp = 8",
        &[
            "site-a.toml:17:8: rule.icmp: `8` is another type in IPv4 than in IPv6; write \"v4:8\" \
           or \"v6:8\", or its name",
        ],
    );
    rule_says(
        "icmp = \"v4:300\"",
        &[
            "site-a.toml:17:8: rule.icmp: `v4:300` is no type of ICMP that is known here; there \
             are \
           echo-request, echo-reply, unreachable, packet-too-big, time-exceeded, \
           parameter-problem, redirect, router-solicitation, router-advertisement, \
           neighbour-solicitation, neighbour-advertisement, timestamp-request, timestamp-reply, \
           or a number as \"v4:8\" or \"v6:128\"",
        ],
    );
    rule_says(
        "protocol = \"udp\"\nicmp = \"echo-request\"",
        &["site-a.toml:18:8: rule.icmp: udp has no types of ICMP; write another rule for it"],
    );
    rule_says(
        "from = \"10.1.0.0/16\"\nicmp = \"packet-too-big\"",
        &[
            "site-a.toml:18:8: rule.icmp: no such type of ICMP is in packets of the version of \
           from and to",
        ],
    );
}

#[test]
fn rules_that_never_decide_are_warned_of() {
    let rules = |first: &str, second: &str| {
        format!(
            "[filter]\ndefault = \"allow\"\n[[rule]]\nname = \"a\"\n{first}\n\
             [[rule]]\nname = \"b\"\n{second}\n"
        )
    };
    says(
        &rules(
            "action = \"deny\"",
            "action = \"allow\"\nprotocol = \"tcp\"\nports = 22",
        ),
        &[
            "site-a.toml:18:1: warning: rule: `b` (line 18) contradicts `a` in line 15, which \
           matches all that it matches and comes first; put it before that one, or take one away",
        ],
    );
    says(
        &rules(
            "action = \"deny\"\nprotocol = [\"tcp\", \"udp\"]\nports = \"1-100\"",
            "action = \"deny\"\nprotocol = \"tcp\"\nports = [22, \"80-90\"]\npeer = \"phone\"",
        ),
        &[
            "site-a.toml:20:1: warning: rule: `b` (line 20) is not needed: `a` in line 15 says the \
           same of all that it matches",
        ],
    );
    for (first, second) in [
        (
            "protocol = \"tcp\"\nports = 22",
            "protocol = \"tcp\"\nports = \"22-23\"",
        ),
        (
            "protocol = \"tcp\"\nsource_ports = 22",
            "protocol = \"tcp\"",
        ),
        ("direction = \"inbound\"", "direction = \"outbound\""),
        ("direction = \"inbound\"", ""),
        ("peer = \"phone\"", ""),
        ("peer = \"phone\"", "peer = [\"phone\", \"site-b\"]"),
        ("from = \"10.1.0.0/16\"", "from = \"10.0.0.0/8\""),
        (
            "to = [\"10.1.0.0/16\"]",
            "to = [\"10.1.0.0/24\", \"10.2.0.0/24\"]",
        ),
        ("icmp = \"echo-request\"", "protocol = \"icmp\""),
        ("icmp = \"v4:8\"", "icmp = \"echo-request\""),
        ("protocol = \"tcp\"", "protocol = \"udp\""),
    ] {
        let action = |lines: &str| format!("action = \"deny\"\n{lines}");
        says(&rules(&action(first), &action(second)), &[]);
    }
    rule_says(
        "from = \"10.1.0.0/24\"\nto = \"fd00::/8\"",
        &[
            "site-a.toml:15:1: warning: rule: matches nothing: from and to are of different \
           versions of IP",
        ],
    );
    rule_says(
        "direction = \"inbound\"\nfrom = \"10.0.0.0/24\"",
        &[
            "site-a.toml:15:1: warning: rule: matches nothing: inbound packets come from the \
           networks of peers, and from is in none of them",
        ],
    );
    rule_says(
        "direction = \"outbound\"\npeer = \"phone\"\nto = \"10.1.0.0/24\"",
        &[
            "site-a.toml:15:1: warning: rule: matches nothing: outbound packets go to the networks \
           of peers, and to is in none of them",
        ],
    );
    rule_says(
        "direction = \"outbound\"\npeer = \"phone\"\nto = \"10.2.0.0/16\"",
        &[],
    );
}

const RULES: &str = "[filter]\ndefault = \"deny\"\n\
    [[rule]]\nname = \"ssh\"\naction = \"allow\"\ndirection = \"inbound\"\npeer = \"site-b\"\n\
    protocol = \"tcp\"\nports = 22\n\
    [[rule]]\nname = \"no-ping\"\naction = \"deny\"\nicmp = \"echo-request\"\npeer = \"site-b\"\n\
    [[rule]]\nname = \"out\"\naction = \"allow\"\ndirection = \"outbound\"\n";

/// What is said of a test with these lines, from line 32 on.
#[track_caller]
fn test_says(lines: &str, expected: &[&str]) {
    says(&format!("{RULES}[[test]]\n{lines}\n"), expected);
}

#[test]
fn tests_that_hold_say_nothing() {
    for (from, to, more, expect) in [
        ("10.1.0.9", "10.0.0.1", "port = 22", "allow"),
        (
            "10.1.0.9",
            "10.0.0.1",
            "protocol = \"tcp\"\nport = 23",
            "deny",
        ),
        (
            "10.1.0.9",
            "10.0.0.1",
            "protocol = \"udp\"\nport = 22",
            "deny",
        ),
        ("10.2.0.5", "10.0.0.1", "port = 22", "deny"),
        ("10.0.0.1", "10.2.0.5", "", "allow"),
        ("10.0.0.1", "10.1.0.9", "", "deny"),
        (
            "10.0.0.1",
            "10.1.0.9",
            "icmp = \"timestamp-request\"",
            "allow",
        ),
        (
            "10.0.0.1",
            "10.1.0.9",
            "protocol = \"gre\"\npeer = \"site-b\"",
            "allow",
        ),
        (
            "fd00:1::1",
            "fd00:2::1",
            "port = 22\nsource_port = 22",
            "allow",
        ),
        // From one peer to another: in and out again.
        ("10.1.0.9", "10.2.0.5", "port = 22", "allow"),
        ("10.2.0.5", "10.1.0.9", "port = 22", "deny"),
    ] {
        let lines = format!("from = \"{from}\"\nto = \"{to}\"\n{more}\nexpect = \"{expect}\"");
        test_says(&lines, &[]);
    }
}

#[test]
fn a_test_that_fails_names_the_packet_and_who_decides() {
    test_says(
        "from = \"10.1.0.9\"\nto = \"10.0.0.1\"\nport = 22\nexpect = \"deny\"",
        &[
            "site-a.toml:35:10: test.expect: the test fails: tcp from 10.1.0.9 to 10.0.0.1:22, \
           inbound from `site-b`: rule `ssh` in line 15 allows it",
        ],
    );
    test_says(
        "from = \"10.0.0.1\"\nto = \"10.1.0.9\"\nexpect = \"allow\"",
        &[
            "site-a.toml:34:10: test.expect: the test fails: icmp from 10.0.0.1 to 10.1.0.9, \
           outbound to `site-b`: rule `no-ping` in line 22 denies it",
        ],
    );
    test_says(
        "from = \"10.2.0.5\"\nto = \"10.1.0.9\"\nport = 80\nexpect = \"allow\"",
        &[
            "site-a.toml:35:10: test.expect: the test fails: tcp from 10.2.0.5 to 10.1.0.9:80, \
           inbound from `phone`: no rule matches, and the default denies it",
        ],
    );
}

#[test]
fn bad_tests_are_named() {
    test_says(
        "",
        &[
            "site-a.toml:31:1: test.from: is missing; give the address of a host, as peers know it",
            "site-a.toml:31:1: test.to: is missing; give the address of a host, as peers know it",
            "site-a.toml:31:1: test.expect: is missing; give expect = \"allow\" or \"deny\"",
        ],
    );
    let test = |lines: &str| {
        format!("from = \"10.1.0.9\"\nto = \"10.0.0.1\"\nexpect = \"allow\"\n{lines}")
    };
    test_says(
        "from = \"10.1.0.0/24\"\nto = \"fd00::1\"\nexpect = \"yes\"",
        &[
            "site-a.toml:32:8: test.from: `10.1.0.0/24` is not the address of a host; write it \
             like 10.1.0.5 or fd00:1::5",
            "site-a.toml:34:10: test.expect: `yes` is not known; it is allow or deny",
        ],
    );
    test_says(
        "from = \"10.1.0.9\"\nto = \"fd00::1\"\nexpect = \"allow\"",
        &["site-a.toml:31:1: test.to: from and to are of different versions of IP"],
    );
    test_says(
        "from = \"10.0.0.9\"\nto = \"10.0.0.1\"\nexpect = \"allow\"",
        &["site-a.toml:31:1: test: neither 10.0.0.9 nor 10.0.0.1 is in a network of a peer"],
    );
    test_says(
        &test("peer = \"phone\""),
        &["site-a.toml:35:8: test.peer: such a packet is not from or to `phone`, but `site-b`"],
    );
    test_says(
        &test("protocol = \"udp\""),
        &["site-a.toml:31:1: test.port: is missing; udp has ports"],
    );
    test_says(
        &test("protocol = \"icmp\"\nport = 22"),
        &["site-a.toml:36:8: test.port: icmp has no ports"],
    );
    test_says(
        &test("port = 70000"),
        &["site-a.toml:35:8: test.port: 70000 is not a port; ports are 0 to 65535"],
    );
    test_says(
        &test("port = 22\nicmp = \"echo-reply\""),
        &["site-a.toml:36:8: test.icmp: tcp has no types of ICMP"],
    );
    test_says(
        &test("icmp = \"packet-too-big\""),
        &[
            "site-a.toml:31:1: test.icmp: there is no such type of ICMP in packets of this version \
           of IP",
        ],
    );
}

#[test]
fn what_is_different_is_said() {
    let filter = |text: &str| {
        let Loaded { config, .. } = Folder::new()
            .load("site-a.toml", &(gateway() + text))
            .unwrap();
        config.filter
    };
    let changes = |before: &str, after: &str| {
        FilterConfig::changes(filter(before).as_ref(), filter(after).as_ref())
    };
    let rules = "[filter]\ndefault = \"deny\"\n[[rule]]\nname = \"a\"\naction = \"allow\"\n\
                 protocol = \"tcp\"\n[[rule]]\nname = \"b\"\naction = \"allow\"\n";
    assert_eq!(changes("", ""), [""; 0]);
    assert_eq!(changes("", rules), ["filter and flows: on"]);
    assert_eq!(changes(rules, ""), ["filter and flows: off"]);
    assert_eq!(
        changes(
            "[filter]\nflows = true\n",
            "[filter]\ndefault = \"allow\"\n"
        ),
        ["default of the filter: none, flows alone -> allow"]
    );
    let other = rules
        .replace("\"b\"", "\"c\"")
        .replace("\"tcp\"", "\"udp\"");
    assert_eq!(
        changes(rules, &other),
        ["rule `a`: changed", "rule `c`: added", "rule `b`: removed"]
    );
    let turned = "[filter]\ndefault = \"deny\"\n[[rule]]\nname = \"b\"\naction = \"allow\"\n\
                  [[rule]]\nname = \"a\"\naction = \"allow\"\nprotocol = \"tcp\"\n";
    assert_eq!(changes(rules, turned), ["rules: in another order"]);
}
