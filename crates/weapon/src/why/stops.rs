//! What is said of what the host does with a packet.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;

use super::{
    Step,
    firewall::{Fate, Passing, fate},
};
use crate::doctor::forwarding_key;

/// The kernel does not believe that a source is behind the interface by which it comes
/// (`net/ipv4/fib_frontend.c`).
const EXDEV: i32 = 18;

/// Where the kernel sends a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goes {
    /// To this host itself.
    Here,
    /// Through an interface.
    Through {
        /// Its name.
        interface: String,
        /// Bytes of the largest packet.
        mtu: u32,
    },
    /// It does not.
    Nowhere {
        /// What the kernel says.
        why: String,
        /// The number of its error.
        errno: Option<i32>,
    },
}

/// Whether the host forwards what comes in by an interface.
pub fn forwarding(interface: &str, is_ipv4: bool, is_on: bool, goes: &Goes) -> Step {
    const NAME: &str = "forwarding";
    let key = forwarding_key(interface, is_ipv4);
    if !is_on {
        return Step::stops(
            NAME,
            format!("this host does not forward what comes in by {interface}: {key} is 0"),
            format!(
                "`sysctl -w {key}=1`; `networks` in [gateway] has that done for what lies behind it"
            ),
        );
    }
    if let Goes::Nowhere {
        errno: Some(EXDEV), ..
    } = goes
    {
        return Step::stops(
            NAME,
            format!(
                "the kernel does not believe that the packet comes in by {interface}, as the \
                 source's route leads elsewhere (rp_filter)"
            ),
            format!(
                "correct the route, or `sysctl -w net.ipv4.conf.{interface}.rp_filter=2`, and that \
                 of `all`"
            ),
        );
    }
    Step::passes(NAME, format!("what comes in by {interface} is forwarded"))
}

/// Whether the route leads into the tunnel.
pub fn into_tunnel(destination: IpAddr, goes: &Goes, tunnel: &str) -> Step {
    let look =
        format!("`ip route get {destination}` says by which route; `weapon doctor` looks at all");
    match goes {
        Goes::Through { interface, .. } if interface == tunnel => {
            Step::passes(ROUTE, format!("{destination} goes through {tunnel}"))
        }
        Goes::Through { interface, .. } => Step::elsewhere(
            ROUTE,
            format!("{destination} goes through {interface}, and not through {tunnel}"),
            look,
        ),
        Goes::Here => Step::elsewhere(
            ROUTE,
            format!("{destination} is an address of this host itself"),
            "ask about an address that is elsewhere",
        ),
        Goes::Nowhere { why, .. } => no_route(destination, why),
    }
}

/// Whether the host knows where to go with what has come out of the tunnel.
pub fn out_of_tunnel(destination: IpAddr, goes: &Goes) -> Step {
    match goes {
        Goes::Here => Step::passes(ROUTE, format!("{destination} is this host itself")),
        Goes::Through { interface, .. } => {
            Step::passes(ROUTE, format!("{destination} goes through {interface}"))
        }
        Goes::Nowhere { why, .. } => no_route(destination, why),
    }
}

const ROUTE: &str = "route";

fn no_route(destination: IpAddr, why: &str) -> Step {
    Step::stops(
        ROUTE,
        format!("this host has no route to {destination}: {why}"),
        format!("`ip route get {destination}` and `ip rule` say why; give it a route"),
    )
}

/// Nobody of that address can send here.
pub fn homeless(source: IpAddr) -> Step {
    Step::stops(
        ROUTE,
        format!("this host has no route to {source}, so no packet comes from there"),
        format!("`ip route get {source}`; give this host a route to it"),
    )
}

/// Nobody in the tunnel has that address.
pub fn nobodys(source: IpAddr, tunnel: &str) -> Step {
    Step::stops(
        ROUTE,
        format!("{source} is behind {tunnel}, and no peer has it among its networks"),
        format!("give the peer the network with {source}, or say who sends it, with --from PEER"),
    )
}

/// Whether the packet is small enough.
pub fn mtu(size: usize, mtu: u32, interface: &str, is_forwarded: bool) -> Step {
    const NAME: &str = "mtu";
    if size <= mtu as usize {
        return Step::passes(
            NAME,
            format!("{size} bytes fit into the {mtu} of {interface}"),
        );
    }
    let told = if is_forwarded {
        "its sender is told by ICMP"
    } else {
        "whoever sends it is told so"
    };
    Step::stops(
        NAME,
        format!(
            "{size} bytes do not fit into the {mtu} of {interface}, and it may not be cut; {told}"
        ),
        format!(
            "send {mtu} bytes at most; if a sender goes on all the same, something keeps ICMP from \
             it"
        ),
    )
}

/// What the host's rules do.
pub fn firewall(rules: Result<&Value, &String>, passing: &Passing<'_>) -> Step {
    const NAME: &str = "firewall";
    let rules = match rules {
        Ok(rules) => rules,
        Err(why) => return Step::unclear(NAME, why.clone()),
    };
    match fate(rules, passing) {
        Fate::Passes => Step::passes(NAME, "no rule of nftables drops it"),
        Fate::Dropped(place) => Step::stops(
            NAME,
            format!("nftables drops it: {place}"),
            "`nft -a list ruleset` shows the place; accept the packet before it, or remove it",
        ),
        Fate::Unclear(chain) => Step::unclear(
            NAME,
            format!("a rule of the chain {chain} decides that is not understood here"),
        ),
    }
}

/// Whether our datagrams find the peer's endpoint.
pub fn underlay(endpoint: SocketAddr, goes: &Goes, tunnel: &str) -> Step {
    const NAME: &str = "path";
    let ip = endpoint.ip();
    match goes {
        Goes::Through { interface, .. } if interface == tunnel => Step::stops(
            NAME,
            format!("the route to {ip} leads into the tunnel itself ({interface})"),
            format!("give {ip} a route of its own outside, or the peer smaller networks"),
        ),
        Goes::Through { interface, .. } => {
            Step::passes(NAME, format!("{endpoint} is reached through {interface}"))
        }
        Goes::Here => Step::passes(NAME, format!("{endpoint} is on this host")),
        Goes::Nowhere { why, .. } => Step::stops(
            NAME,
            format!("this host has no route to the peer's endpoint {ip}: {why}"),
            format!("`ip route get {ip}`; give this host a route to it"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::why::Finding;

    fn through(interface: &str) -> Goes {
        Goes::Through {
            interface: interface.into(),
            mtu: 1420,
        }
    }

    fn nowhere(errno: i32) -> Goes {
        Goes::Nowhere {
            why: "the kernel says no".into(),
            errno: Some(errno),
        }
    }

    #[track_caller]
    fn assert_says(step: &Step, finding: Finding, words: &str) {
        assert_eq!(step.finding, finding, "{step:?}");
        assert!(step.says.contains(words), "{words:?} in {step:?}");
        assert_eq!(step.remedy.is_some(), step.decides(), "{step:?}");
    }

    #[test]
    fn each_way_of_a_route_is_told_apart() {
        let there: IpAddr = [10, 2, 0, 6].into();
        for (goes, finding, words) in [
            (through("w-a"), Finding::Passes, "10.2.0.6 goes through w-a"),
            (
                through("eth0"),
                Finding::Elsewhere,
                "through eth0, and not through w-a",
            ),
            (Goes::Here, Finding::Elsewhere, "this host itself"),
            (
                nowhere(101),
                Finding::Stops,
                "no route to 10.2.0.6: the kernel",
            ),
        ] {
            assert_says(&into_tunnel(there, &goes, "w-a"), finding, words);
        }
        for (goes, finding, words) in [
            (through("eth0"), Finding::Passes, "goes through eth0"),
            (Goes::Here, Finding::Passes, "is this host itself"),
            (nowhere(101), Finding::Stops, "no route to 10.2.0.6"),
        ] {
            assert_says(&out_of_tunnel(there, &goes), finding, words);
        }
        let endpoint = SocketAddr::from(([192, 0, 2, 2], 51_820));
        for (goes, finding, words) in [
            (
                through("w-a"),
                Finding::Stops,
                "leads into the tunnel itself",
            ),
            (through("eth0"), Finding::Passes, "through eth0"),
            (Goes::Here, Finding::Passes, "is on this host"),
            (
                nowhere(101),
                Finding::Stops,
                "no route to the peer's endpoint",
            ),
        ] {
            assert_says(&underlay(endpoint, &goes, "w-a"), finding, words);
        }
        assert_says(&homeless(there), Finding::Stops, "no route to 10.2.0.6");
        assert_says(&nobodys(there, "w-a"), Finding::Stops, "no peer has it");
    }

    #[test]
    fn forwarding_names_the_switch() {
        let good = through("w-a");
        let on = forwarding("eth1", true, true, &good);
        assert_says(&on, Finding::Passes, "by eth1 is forwarded");
        let off = forwarding("eth1", true, false, &nowhere(113));
        assert_says(&off, Finding::Stops, "net.ipv4.conf.eth1.forwarding is 0");
        let off = forwarding("eth1", false, false, &good);
        assert_says(&off, Finding::Stops, "net.ipv6.conf.all.forwarding is 0");
        let not_believed = forwarding("eth1", true, true, &nowhere(EXDEV));
        assert_says(&not_believed, Finding::Stops, "(rp_filter)");
    }

    #[test]
    fn what_is_too_long_is_told() {
        let fits = mtu(1420, 1420, "w-a", true);
        assert_says(
            &fits,
            Finding::Passes,
            "1420 bytes fit into the 1420 of w-a",
        );
        let long = mtu(1421, 1420, "w-a", true);
        assert_says(&long, Finding::Stops, "its sender is told by ICMP");
        let own = mtu(1421, 1420, "w-a", false);
        assert_says(&own, Finding::Stops, "whoever sends it is told so");
    }

    #[test]
    fn rules_that_cannot_be_looked_at_are_unclear() {
        let passing = Passing {
            arrives_by: None,
            leaves_by: Some("w-a"),
            source: [10, 1, 0, 5].into(),
            destination: [10, 2, 0, 6].into(),
            protocol: 6,
            ports: Some((1, 2)),
        };
        let why = "nft is not installed".to_owned();
        let step = firewall(Err(&why), &passing);
        assert_says(&step, Finding::Unclear, "nft is not installed");
        let step = firewall(Ok(&Value::Null), &passing);
        assert_says(&step, Finding::Passes, "no rule of nftables");
    }
}
