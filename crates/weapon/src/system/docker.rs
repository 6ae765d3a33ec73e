//! What Docker's rules would drop, and the rules in its chains that let it pass.
//!
//! `DOCKER-USER` is the chain that Docker leaves to others. From version 28 on it also drops, in
//! the raw table, what comes to a container's address by another interface than its bridge.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Wanted,
    iptables::{Rule, Saved, mark},
    surroundings::Surroundings,
};

/// Docker's chain for the rules of others.
pub const CHAIN: &str = "DOCKER-USER";

/// The rules that are wanted among those of `saved`.
pub fn rules(wanted: &Wanted, saved: &Saved) -> Vec<Rule> {
    let tunnel = &wanted.interface;
    let mark = mark(tunnel);
    let mut rules = Vec::new();
    if saved.has_chain("filter", CHAIN) {
        let place = ("filter", CHAIN);
        let from = format!("{mark}from peers to what lies behind this gateway");
        let to = format!("{mark}from what lies behind this gateway to peers");
        rules.push(Rule::new(saved, place, format!("-i {tunnel}"), &from));
        rules.push(Rule::new(saved, place, format!("-o {tunnel}"), &to));
    }
    let dropped: Vec<IpAddr> = dropped(saved).collect();
    for prefix in IpNet::aggregate(&wanted.prefixes()) {
        if dropped.iter().any(|address| prefix.contains(address)) {
            let why = format!("{mark}from peers to containers of {prefix}");
            let matches = format!("-d {prefix} -i {tunnel}");
            rules.push(Rule::new(saved, ("raw", "PREROUTING"), matches, &why));
        }
    }
    rules
}

/// The addresses to which Docker lets nothing pass but by their bridge:
/// `-d 172.17.0.2/32 ! -i docker0 -j DROP`.
fn dropped(saved: &Saved) -> impl Iterator<Item = IpAddr> {
    saved.rules("raw", "PREROUTING").filter_map(|rule| {
        let words: Vec<&str> = rule.split_whitespace().collect();
        let ["-d", address, "!", "-i", _bridge, .., "-j", "DROP"] = words[..] else {
            return None;
        };
        Some(address.parse::<IpNet>().ok()?.addr())
    })
}

/// What is to be done by hand.
pub fn warnings(wanted: &Wanted, surroundings: &Surroundings) -> Vec<String> {
    let has_tables = surroundings.has_table("ip", "docker-bridges")
        || surroundings.has_table("ip6", "docker-bridges");
    if !has_tables || !wanted.has_docker() {
        return Vec::new();
    }
    vec![format!(
        "Docker keeps its rules in nftables, where nobody else can accept: let its networks trust \
         the tunnel, `docker network create -o \
         com.docker.network.bridge.trusted_host_interfaces={} ...`, or start dockerd with \
         --bridge-accept-fwmark",
        wanted.interface
    )]
}

#[cfg(test)]
mod tests;
