//! Limits and marks, and what is said of bad ones.

use weapon_core::{RateLimit, RateLimits};

use super::*;

/// A gateway with two peers, as lines 1 to 8: the second is in two groups.
fn gateway() -> String {
    format!(
        "[gateway]\nprivate_key_file = \"site-a.key\"\n\
         [[peer]]\nname = \"phone\"\npublic_key = \"{OTHER}\"\ngroup = [\"mobile\", \"guests\"]\n\
         [[peer]]\nname = \"site-b\"\npublic_key = \"{PEER}\"\n"
    )
}

#[track_caller]
fn config(more: &str) -> Config {
    let text = gateway() + more;
    let Loaded { config, warnings } = Folder::new().load("site-a.toml", &text).unwrap();
    assert!(warnings.is_empty());
    config
}

/// What is said of these lines of `site-b`, from line 10 on.
#[track_caller]
fn says(lines: &str, expected: &[&str]) {
    toml_says(&(gateway() + lines), expected);
}

fn limit(bytes_per_second: u64, burst_bytes: u64) -> Option<RateLimit> {
    Some(RateLimit {
        bytes_per_second,
        burst_bytes,
    })
}

#[test]
fn without_a_word_of_it_nobody_has_a_limit_or_a_mark() {
    assert_eq!(config("").services(), Default::default());
}

#[test]
fn a_peer_has_its_own_and_shares_that_of_its_groups() {
    let config = config(
        "rate_limit = \"100 Mbit/s\"\ndscp = 10\n\
         [[group]]\nname = \"mobile\"\nrate_limit_inbound = \"8 Mbit/s\"\nrate_burst_kb = 100\n\
         dscp = \"EF\"\n\
         [[group]]\nname = \"guests\"\ndscp = \"ef\"\n",
    );
    let services = config.services();
    let [phone, site] = &services.peers[..] else {
        panic!("both get something");
    };
    assert_eq!((phone.dscp, site.dscp), (46, 10));
    assert_eq!(phone.limits, RateLimits::default());
    assert_eq!(phone.groups, ["mobile"], "the other has no limit");
    let own = limit(12_500_000, 3_125_000);
    let both = RateLimits {
        outbound: own,
        inbound: own,
    };
    assert_eq!((site.limits, site.groups.len()), (both, 0));
    let [group] = &services.groups[..] else {
        panic!("one has a limit");
    };
    let inbound = RateLimits {
        outbound: None,
        inbound: limit(1_000_000, 100_000),
    };
    assert_eq!((group.name.as_str(), group.limits), ("mobile", inbound));
}

#[test]
fn the_mark_of_a_peer_goes_before_that_of_its_group_and_may_be_none() {
    let text = gateway().replace("[\"mobile\", \"guests\"]", "\"mobile\"\ndscp = 0")
        + "group = \"mobile\"\n[[group]]\nname = \"mobile\"\ndscp = \"ef\"\n";
    let Loaded { config, .. } = Folder::new().load("site-a.toml", &text).unwrap();
    let services = config.services();
    assert_eq!(services.peers.len(), 1, "the phone is like all others");
    assert_eq!(services.peers[0].public_key.to_string(), PEER);
}

#[test]
fn a_rate_that_is_none_is_named_with_what_is_right() {
    for (value, expected) in [
        (
            "100",
            "10:14: peer.rate_limit: `100` has no unit; write it like \"100 Mbit/s\"",
        ),
        (
            "\"100 MB/s\"",
            "10:14: peer.rate_limit: `100 MB/s`: rates are in bits, a byte is eight of them; write \
             it like \"100 Mbit/s\"",
        ),
        (
            "\"100 mbit/s\"",
            "10:14: peer.rate_limit: `100 mbit/s`: the unit is bit/s, kbit/s, Mbit/s or Gbit/s; \
             write it like \"100 Mbit/s\"",
        ),
        (
            "\"fast\"",
            "10:14: peer.rate_limit: `fast` is not a rate; write it like \"100 Mbit/s\"",
        ),
        (
            "\"-1 Mbit/s\"",
            "10:14: peer.rate_limit: `-1 Mbit/s` is not a rate; write it like \"100 Mbit/s\"",
        ),
        (
            "\"1.2.3 Mbit/s\"",
            "10:14: peer.rate_limit: `1.2.3 Mbit/s` is not a rate; write it like \"100 Mbit/s\"",
        ),
        (
            "\"0 Mbit/s\"",
            "10:14: peer.rate_limit: 0 would let nothing pass; leave it out for no limit, or deny \
             with a rule of the filter",
        ),
        (
            "\"15.9 kbit/s\"",
            "10:14: peer.rate_limit: `15.9 kbit/s` is less than a large packet in a second; it is \
             16 kbit/s to 100 Gbit/s",
        ),
        (
            "\"101 Gbit/s\"",
            "10:14: peer.rate_limit: `101 Gbit/s` is more than can be counted; it is 16 kbit/s to \
             100 Gbit/s",
        ),
        (
            "true",
            "10:14: peer.rate_limit: true or false where \"100 Mbit/s\" belongs",
        ),
    ] {
        says(
            &format!("rate_limit = {value}\n"),
            &[&format!("site-a.toml:{expected}")],
        );
    }
}

#[test]
fn keys_that_contradict_each_other_are_named() {
    says(
        "rate_limit = \"1 Mbit/s\"\nrate_limit_inbound = \"2 Mbit/s\"\n",
        &[
            "site-a.toml:11:22: peer.rate_limit_inbound: peer.rate_limit is given too, and holds \
             for both directions; keep it, or give each its own",
        ],
    );
    says(
        "rate_burst_kb = 100\n",
        &["site-a.toml:10:17: peer.rate_burst_kb: of which limit? Give rate_limit too"],
    );
    says(
        "rate_limit_outbound = \"1 Mbit/s\"\nrate_burst_kb = 65\n",
        &[
            "site-a.toml:11:17: peer.rate_burst_kb: 65 is out of range; it is 66 to 4000000 \
             kilobytes: the largest packet has to find room",
        ],
    );
    says(
        "dscp = \"fast\"\n",
        &[
            "site-a.toml:10:8: peer.dscp: `fast` is no DSCP; it is 0 to 63, or a name such as \
             \"ef\", \"af41\" or \"cs1\"",
        ],
    );
    says(
        "rate_limits = 1\n",
        &["site-a.toml:10:1: peer.rate_limits: unknown key; did you mean `rate_limit`?"],
    );
}

#[test]
fn groups_that_are_none_are_named() {
    says(
        "[group]\nname = \"mobile\"\n",
        &["site-a.toml:10:2: group: groups are a list; write [[group]], with two brackets"],
    );
    says(
        "[[group]]\ndscp = 1\n",
        &[
            "site-a.toml:10:1: group.name: the group has no name; give it that which peers have as \
             group",
        ],
    );
    says(
        "[[group]]\nname = \"mobil\"\ndscp = 1\n[[group]]\nname = \"servers\"\ndscp = 1\n",
        &[
            "site-a.toml:11:8: group.name: no peer is in the group `mobil`; did you mean \
             \"mobile\"?",
            "site-a.toml:14:8: group.name: no peer is in the group `servers`; give a peer group = \
             \"servers\"",
        ],
    );
    says(
        "[[group]]\nname = \"mobile\"\ndscp = 1\n[[group]]\nname = \"mobile\"\ndscp = 1\n",
        &[
            "site-a.toml:14:8: group.name: the group in line 10 is `mobile` already; put both \
             together",
        ],
    );
    says(
        "[[group]]\nname = \"mobile\"\n",
        &[
            "site-a.toml:10:1: group: nothing is asked for; give rate_limit or dscp, or leave the \
             section out",
        ],
    );
    says(
        "[[group]]\nname = \"mobile\"\ndscp = 1\n[[group]]\nname = \"guests\"\ndscp = \"cs1\"\n",
        &[
            "site-a.toml:3:1: peer.dscp: the groups `mobile` and `guests` mark with le and cs1; \
             give the peer dscp, which goes first",
        ],
    );
}

#[test]
fn what_is_different_is_told() {
    let before = config("");
    let group = "[[group]]\nname = \"mobile\"\nrate_limit = \"1 Mbit/s\"\n";
    let after = config(&format!(
        "rate_limit_outbound = \"1.5 Mbit/s\"\nrate_burst_kb = 100\ndscp = 46\n{group}"
    ));
    let expected = [
        "limits of the group `mobile`: none -> 1 Mbit/s outbound, 1 Mbit/s inbound",
        "limits of peer `phone`: none -> shares in mobile",
        "limits of peer `site-b`: none -> 1.5 Mbit/s outbound (burst 100 kB), dscp ef",
    ];
    assert_eq!(service::changes(&before, &after), expected);
    let back = service::changes(&after, &before);
    assert_eq!(back[1], "limits of peer `phone`: shares in mobile -> none");
    assert!(service::changes(&after, &after).is_empty());
}
