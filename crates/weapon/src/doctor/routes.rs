//! Checks of the routes to what lies behind a peer.

use std::net::IpAddr;

use ipnet::IpNet;

use super::check::Check;

/// A network of a peer, and where the kernel sends what goes there.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The peer.
    pub peer: String,
    /// The network.
    pub network: IpNet,
    /// The gateway's interface.
    pub ours: String,
    /// Whether the main table has a route to the network, or to one around it, through ours.
    pub has_route: bool,
    /// Whether the gateway writes routes (`table = "auto"`).
    pub writes_routes: bool,
    /// An address of the network that was looked up.
    pub sample: IpAddr,
    /// Where that goes: an interface, or why it goes nowhere.
    pub goes: Result<String, String>,
    /// Routes to parts of the network that lead elsewhere, and through which interface.
    pub parts: Vec<(IpNet, String)>,
}

impl Reach {
    /// What goes to the network goes into the tunnel.
    pub fn check(&self) -> Check {
        const NAME: &str = "route";
        let Self {
            network,
            ours,
            sample,
            ..
        } = self;
        let add = format!("`ip route add {network} dev {ours}`");
        let check = match &self.goes {
            Ok(interface) if interface == ours => match self.parts.first() {
                None => Check::good(NAME, format!("{network} goes through {ours}")),
                Some((part, other)) => Check::warning(
                    NAME,
                    format!("{part}, a part of {network}, goes through {other}"),
                    format!("nothing if that is meant; else `ip route del {part} dev {other}`"),
                ),
            },
            _ if !self.has_route && !self.writes_routes => Check::warning(
                NAME,
                format!("there is no route to {network}, and `table` is off"),
                add,
            ),
            _ if !self.has_route => Check::bad(
                NAME,
                format!(
                    "the route to {network} through {ours} is missing{}",
                    self.instead()
                ),
                format!("{add}; whoever removed it may do it again"),
            ),
            Ok(interface) => self.shadowed(interface),
            Err(error) => Check::bad(
                NAME,
                format!(
                    "there is a route to {network} through {ours}, and {sample} is refused all \
                     the same: {error}"
                ),
                format!("`ip route get {sample}` and `ip rule` say which rule or route it is"),
            ),
        };
        check.about(&self.peer)
    }

    fn instead(&self) -> String {
        match &self.goes {
            Ok(interface) => format!("; {} goes through {interface}", self.sample),
            Err(_) => String::new(),
        }
    }

    /// There is a route, and what was looked up goes elsewhere.
    fn shadowed(&self, interface: &str) -> Check {
        const NAME: &str = "route";
        let Self {
            network, sample, ..
        } = self;
        let nearer = self.parts.iter().find(|(part, _)| part.contains(sample));
        match nearer {
            Some((part, other)) => Check::bad(
                NAME,
                format!("{network} is shadowed by the route to {part} through {other}"),
                format!("`ip route del {part} dev {other}`, if it is not needed"),
            ),
            None => Check::bad(
                NAME,
                format!(
                    "{sample} of {network} goes through {interface}: a routing rule or another \
                     table comes before the main one"
                ),
                "`ip rule` and `ip route show table all` say which; remove it, or give it a \
                 greater number than 32766",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Verdict;

    fn reach(goes: Result<&str, &str>) -> Reach {
        Reach {
            peer: "site-b".into(),
            network: "10.50.0.0/16".parse().unwrap(),
            ours: "w-a".into(),
            has_route: true,
            writes_routes: true,
            sample: "10.50.0.1".parse().unwrap(),
            goes: goes.map(str::to_owned).map_err(str::to_owned),
            parts: Vec::new(),
        }
    }

    #[track_caller]
    fn assert_says(reach: &Reach, result: Verdict, words: &str) {
        let check = reach.check();
        assert_eq!(check.result, result, "{check:?}");
        assert!(check.says.contains(words), "{words:?} in {check:?}");
    }

    #[test]
    fn each_way_to_lose_a_route_is_told_apart() {
        let good = reach(Ok("w-a"));
        assert_says(&good, Verdict::Good, "10.50.0.0/16 goes through w-a");

        let mut missing = reach(Ok("eth0"));
        missing.has_route = false;
        assert_says(
            &missing,
            Verdict::Bad,
            "is missing; 10.50.0.1 goes through eth0",
        );
        missing.writes_routes = false;
        assert_says(&missing, Verdict::Warning, "`table` is off");

        let mut part = good;
        part.parts = vec![("10.50.7.0/24".parse().unwrap(), "eth1".into())];
        assert_says(&part, Verdict::Warning, "10.50.7.0/24, a part of");

        let mut shadowed = reach(Ok("eth1"));
        assert_says(&shadowed, Verdict::Bad, "a routing rule or another table");
        shadowed.parts = vec![("10.50.0.0/24".parse().unwrap(), "eth1".into())];
        assert_says(
            &shadowed,
            Verdict::Bad,
            "shadowed by the route to 10.50.0.0/24",
        );

        let refused = reach(Err("Invalid argument"));
        assert_says(&refused, Verdict::Bad, "Invalid argument");
    }
}
