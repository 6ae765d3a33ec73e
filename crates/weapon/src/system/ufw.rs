//! The rules that ufw needs, in its chains for users' rules. They are gone when ufw is loaded
//! again, and then they are set again.

use super::{
    Wanted,
    iptables::{Rule, Saved, mark},
};

/// The rules that are wanted among those of `saved`.
pub fn rules(wanted: &Wanted, saved: &Saved) -> Vec<Rule> {
    let tunnel = &wanted.interface;
    let mark = mark(tunnel);
    let ufw = if saved.is_ipv4() { "ufw" } else { "ufw6" };
    let mut rules = Vec::new();
    let mut accept = |chain: String, matches: String, why: String| {
        if saved.has_chain("filter", &chain) {
            rules.push(Rule::new(saved, ("filter", &chain), matches, &why));
        }
    };
    let forward = || format!("{ufw}-user-forward");
    let from = format!("{mark}from peers to what lies behind this gateway");
    let to = format!("{mark}from what lies behind this gateway to peers");
    accept(forward(), format!("-i {tunnel}"), from);
    accept(forward(), format!("-o {tunnel}"), to);
    let port = wanted.listen_port;
    // Which one it will be is not known to a plan.
    if port != 0 {
        accept(
            format!("{ufw}-user-input"),
            format!("-p udp -m udp --dport {port}"),
            format!("{mark}the UDP port {port} of the tunnel"),
        );
    }
    rules
}
