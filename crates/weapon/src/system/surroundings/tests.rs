//! What `nft` says is understood, as far as it is needed.

use super::*;
use crate::{config::Behind, system::table::tests::wanted};

fn found(text: &str) -> Surroundings {
    Surroundings {
        chains: chains(text),
        ..Surroundings::default()
    }
}

#[test]
fn what_is_not_understood_is_left_out() {
    for text in [
        "",
        "nonsense",
        "[]",
        "{\"nftables\": 3}",
        "{\"nftables\": [{\"chain\": 1}]}",
    ] {
        assert_eq!(found(text), Surroundings::default(), "{text}");
    }
    let text = r#"{"nftables": [{"metainfo": {}}, {"rule": {}}, {"chain": {"family": "ip"}},
        {"chain": {"family": "inet", "table": "t", "name": "c", "handle": 1, "what": [7]}}]}"#;
    assert_eq!(found(text).chains.len(), 1);
    assert!(found(text).has_table("inet", "t") && !found(text).has_table("ip", "t"));
}

#[test]
fn a_chain_that_drops_is_spoken_of_unless_it_is_opened() {
    let wanted = wanted(&["10.1.0.0/24"], &["10.2.0.0/24"]);
    let chain = |family: &str, table: &str, name: &str, policy: &str| {
        let text = format!(
            r#"{{"nftables": [{{"chain": {{"family": "{family}", "table": "{table}",
            "name": "{name}", "type": "filter", "hook": "forward", "prio": 0,
            "policy": "{policy}"}}}}]}}"#
        );
        found(&text)
    };
    let strict = chain("inet", "strict", "f", "drop");
    let warnings = strict.warnings(&wanted);
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("nft add rule inet strict f oifname w-one accept"));
    assert!(
        chain("inet", "strict", "f", "accept")
            .warnings(&wanted)
            .is_empty()
    );
    assert!(
        chain("inet", "weapon-w-one", "f", "drop")
            .warnings(&wanted)
            .is_empty()
    );
    // Without Docker or ufw nobody accepts there.
    let mut forward = chain("ip", "filter", "FORWARD", "drop");
    assert_eq!(forward.warnings(&wanted).len(), 1);
    let with = Saved::parse("iptables", "*filter\n:DOCKER-USER - [0:0]\nCOMMIT\n");
    forward.saved.push(with);
    assert!(forward.warnings(&wanted).is_empty());
}

#[test]
fn docker_with_nftables_is_recognised() {
    let text = r#"{"nftables": [{"chain": {"family": "ip", "table": "docker-bridges",
        "name": "filter-FORWARD", "type": "filter", "hook": "forward", "policy": "drop"}}]}"#;
    let mut wanted = wanted(&["172.17.0.0/16"], &["172.18.0.0/16"]);
    wanted.site.networks[0].said = Behind::Docker("bridge".to_owned());
    let warnings = found(text).warnings(&wanted);
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("trusted_host_interfaces=w-one"),
        "{warnings:?}"
    );
    assert!(found(text).rules(&wanted).is_empty());
}

#[test]
fn who_translates_is_seen() {
    let chain = |family: &str, table: &str, kind: &str| {
        format!(
            r#"{{"nftables": [{{"chain": {{"family": "{family}", "table": "{table}", "name": "c",
            "type": "{kind}", "hook": "postrouting", "prio": 100, "policy": "accept"}}}}]}}"#
        )
    };
    let translates = |text: &str| found(text).translates();
    assert!(translates(&chain("ip", "nat", "nat")));
    assert!(translates(&chain("ip", "weapon-x", "nat")));
    assert!(!translates(&chain("ip", "mangle", "route")));
    // What gateways translate is among their own packets.
    assert!(!translates(&chain("inet", "weapon-other", "nat")));
    let mut legacy = Surroundings::default();
    let text = "*nat\n:POSTROUTING ACCEPT [0:0]\nCOMMIT\n";
    legacy.saved.push(Saved::parse("iptables-legacy", text));
    assert!(legacy.translates());
}
