//! Checks of what this machine lets through: forwarding, nftables, Docker.

use serde_json::Value;

use super::check::Check;
use crate::system::SystemReport;

/// What nftables has, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains that the kernel calls.
    pub chains: Vec<Chain>,
    /// Rules in them that drop or reject.
    pub drops: Vec<Drop>,
    /// Ports that some rule accepts, by the hook of its chain.
    pub accepts: Vec<(String, u16)>,
    /// Whether Docker's chain for our rules is there.
    pub has_docker_user: bool,
}

/// A chain that the kernel calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Family, table and name: `inet filter input`.
    pub name: String,
    /// Where it is called: `input`, `forward`.
    pub hook: String,
    /// Whether it drops what no rule accepts.
    pub drops: bool,
}

/// A rule that drops UDP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drop {
    /// Its chain: family, table and name.
    pub chain: String,
    /// Where that is called.
    pub hook: String,
    /// The UDP port that it drops, at either end; `None` is any.
    pub port: Option<u16>,
}

impl Ruleset {
    /// Reads what `nft -j list ruleset` says. What is not understood is left out.
    pub fn parse(json: &Value) -> Self {
        let mut ruleset = Self::default();
        let objects = json["nftables"].as_array();
        let objects = objects.map(Vec::as_slice).unwrap_or_default();
        for chain in objects.iter().filter_map(|object| object.get("chain")) {
            ruleset.has_docker_user |= chain["name"] == "DOCKER-USER";
            if let (Some(hook), Some(name)) = (chain["hook"].as_str(), full_name(chain, "name")) {
                ruleset.chains.push(Chain {
                    name,
                    hook: hook.to_owned(),
                    drops: chain["policy"] == "drop",
                });
            }
        }
        for rule in objects.iter().filter_map(|object| object.get("rule")) {
            let Some(name) = full_name(rule, "chain") else {
                continue;
            };
            let Some(chain) = ruleset.chains.iter().find(|chain| chain.name == name) else {
                continue;
            };
            let hook = chain.hook.clone();
            match judge(
                rule["expr"]
                    .as_array()
                    .map(Vec::as_slice)
                    .unwrap_or_default(),
            ) {
                Some(Effect::Drop(port)) => ruleset.drops.push(Drop {
                    chain: name,
                    hook,
                    port,
                }),
                Some(Effect::Accept(port)) => ruleset.accepts.push((hook, port)),
                None => {}
            }
        }
        ruleset
    }

    /// A rule that drops what comes to our UDP port, or goes from it.
    pub fn udp(&self, port: u16) -> Check {
        const NAME: &str = "firewall";
        let hooks = ["prerouting", "input", "output", "postrouting"];
        let ours = |drop: &&Drop| {
            hooks.contains(&drop.hook.as_str()) && drop.port.is_none_or(|its| its == port)
        };
        if let Some(drop) = self.drops.iter().find(ours) {
            let what = match drop.port {
                Some(port) => format!("UDP port {port}"),
                None => "UDP".to_owned(),
            };
            return Check::bad(
                NAME,
                format!(
                    "a rule in the chain {} ({}) drops {what}",
                    drop.chain, drop.hook
                ),
                format!(
                    "remove it, or accept UDP port {port} before it: `nft -a list ruleset` shows \
                     its place"
                ),
            );
        }
        let policy = |chain: &&Chain| chain.hook == "input" && chain.drops;
        let is_accepted = self.accepts.contains(&("input".to_owned(), port));
        match self.chains.iter().find(policy) {
            Some(chain) if !is_accepted => Check::warning(
                NAME,
                format!(
                    "the chain {} drops what no rule accepts, and none names UDP port {port}",
                    chain.name
                ),
                format!("`nft insert rule {} udp dport {port} accept`", chain.name),
            ),
            _ => Check::good(
                NAME,
                format!("no rule of nftables keeps UDP port {port} out"),
            ),
        }
    }

    /// Chains that drop what is forwarded.
    pub fn forward(&self, has_site: bool) -> Check {
        const NAME: &str = "forward chains";
        if !has_site {
            return Check::not_applicable(NAME, "nothing lies behind us");
        }
        let policy = |chain: &&Chain| chain.hook == "forward" && chain.drops;
        match self.chains.iter().find(policy) {
            None => Check::good(NAME, "no chain drops what is forwarded"),
            Some(chain) => Check::warning(
                NAME,
                format!(
                    "the chain {} drops what no rule accepts, also between the tunnel and what \
                     lies behind us",
                    chain.name
                ),
                format!(
                    "accept the tunnel's interface there: `nft list chain {}`",
                    chain.name
                ),
            ),
        }
    }

    /// Docker's chain for the rules of others.
    pub fn docker(&self, wants_docker: bool) -> Check {
        const NAME: &str = "docker";
        match (wants_docker, self.has_docker_user) {
            (true, true) => Check::good(NAME, "DOCKER-USER is there"),
            (false, _) => Check::not_applicable(NAME, "no network of Docker's lies behind us"),
            (true, false) => Check::warning(
                NAME,
                "a network of Docker's lies behind us, and there is no chain DOCKER-USER",
                "start Docker; with its rules switched off (`iptables: false`) nothing is missing",
            ),
        }
    }
}

/// Whether what a gateway has set for what lies behind it is there; nothing if it sets no rules.
pub fn rules(system: &SystemReport) -> Option<Check> {
    const NAME: &str = "rules";
    if !system.steps.iter().any(|step| step.kind == "table") {
        return None;
    }
    let lost = system.steps.iter().find(|step| step.there == Some(false));
    Some(match (lost, system.warnings.first()) {
        (Some(lost), _) => Check::bad(
            NAME,
            format!("this is not on the system as it should be: {}", lost.text),
            format!(
                "see the log of {0}, and `weapon status --system {0}`",
                system.name
            ),
        ),
        (None, Some(warning)) => Check::warning(NAME, warning, "do what it says"),
        (None, None) => Check::good(NAME, "forwarding and rules are as they should be"),
    })
}

enum Effect {
    Drop(Option<u16>),
    Accept(u16),
}

fn full_name(object: &Value, key: &str) -> Option<String> {
    let part = |key: &str| object[key].as_str();
    Some(format!(
        "{} {} {}",
        part("family")?,
        part("table")?,
        part(key)?
    ))
}

/// What a rule does with UDP: drops it, or accepts a port of it. Rules that look at anything else,
/// such as addresses or states, are not judged: whether they meet a packet of ours is not known.
fn judge(expressions: &[Value]) -> Option<Effect> {
    let mut port = None;
    let mut is_udp = false;
    for expression in expressions {
        if let Some(found) = expression.get("match") {
            let (left, right) = (&found["left"], &found["right"]);
            if found["op"] != "==" && found["op"] != "in" {
                return None;
            }
            let payload = &left["payload"];
            match (payload["protocol"].as_str(), payload["field"].as_str()) {
                (Some("udp" | "th"), Some("dport" | "sport")) => {
                    is_udp |= payload["protocol"] == "udp";
                    port = Some(u16::try_from(right.as_u64()?).ok()?);
                }
                (Some("ip"), Some("protocol")) | (Some("ip6"), Some("nexthdr"))
                    if right == "udp" =>
                {
                    is_udp = true;
                }
                _ if left["meta"]["key"] == "l4proto" && right == "udp" => is_udp = true,
                _ => return None,
            }
        } else if expression.get("drop").is_some() || expression.get("reject").is_some() {
            // One that drops all there is stands at the end of a list of exceptions.
            return is_udp.then_some(Effect::Drop(port));
        } else if expression.get("accept").is_some() {
            return port.map(Effect::Accept);
        } else if expression.get("counter").is_none() && expression.get("log").is_none() {
            return None;
        }
    }
    None
}

/// What is to be seen of forwarding towards what lies behind us.
#[derive(Clone, Debug, Default)]
pub struct Forwarding {
    /// What lies behind us, as it is written.
    pub behind: Vec<String>,
    /// What is wrong with it, such as an interface that is not there.
    pub warnings: Vec<String>,
    /// Interfaces that must forward and do not: `net.ipv4.conf.eth1.forwarding`.
    pub off: Vec<String>,
    /// Whether some of it is Docker's.
    pub wants_docker: bool,
}

impl Forwarding {
    /// What lies behind us is there.
    pub fn site(&self) -> Vec<Check> {
        let warnings = self.warnings.iter().map(|warning| {
            Check::warning(
                "networks",
                warning,
                "bring it up, or take it out of the gateway's `networks`",
            )
        });
        warnings.collect()
    }

    /// This machine forwards between the tunnel and what lies behind us.
    pub fn check(&self) -> Check {
        const NAME: &str = "forwarding";
        if self.behind.is_empty() {
            let says = "nothing lies behind us, or the gateway does not run";
            return Check::not_applicable(NAME, says);
        }
        let Some(first) = self.off.first() else {
            let behind = self.behind.join(", ");
            return Check::good(NAME, format!("this machine forwards to {behind}"));
        };
        Check::bad(
            NAME,
            format!(
                "this machine does not forward: {} is 0",
                self.off.join(", ")
            ),
            format!("`sysctl -w {first}=1`"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::check::Verdict, system::StepReport};

    fn ruleset(text: &str) -> Ruleset {
        Ruleset::parse(&serde_json::from_str(text).unwrap())
    }

    fn input(policy: &str, rules: &str) -> Ruleset {
        ruleset(&format!(
            r#"{{"nftables": [{{"metainfo": {{}}}},
            {{"chain": {{"family": "inet", "table": "f", "name": "in", "hook": "input",
                         "type": "filter", "prio": 0, "policy": "{policy}"}}}}{rules}]}}"#
        ))
    }

    fn rule(expressions: &str) -> String {
        format!(
            r#",{{"rule": {{"family": "inet", "table": "f", "chain": "in",
            "expr": [{expressions}]}}}}"#
        )
    }

    const DPORT: &str = r#"{"match": {"op": "==", "right": 51820,
        "left": {"payload": {"protocol": "udp", "field": "dport"}}}}"#;
    const SADDR: &str = r#"{"match": {"op": "==", "right": "10.0.0.1",
        "left": {"payload": {"protocol": "ip", "field": "saddr"}}}}"#;
    const UDP: &str = r#"{"match": {"op": "==", "right": "udp",
        "left": {"meta": {"key": "l4proto"}}}}"#;

    #[test]
    fn a_rule_that_drops_our_port_is_found() {
        let drop = r#"{"counter": {"packets": 0}}, {"drop": null}"#;
        for (match_, port, expected) in [
            (DPORT, 51_820, Verdict::Bad),
            (DPORT, 51_821, Verdict::Good),
            (UDP, 51_821, Verdict::Bad),
            (SADDR, 51_820, Verdict::Good),
        ] {
            let ruleset = input("accept", &rule(&format!("{match_}, {drop}")));
            let check = ruleset.udp(port);
            assert_eq!(check.result, expected, "{match_}: {check:?}");
        }
        let all = input("accept", &rule(drop));
        assert_eq!(all.udp(51_820).result, Verdict::Good, "of what is left");
    }

    #[test]
    fn a_policy_is_told_unless_the_port_is_accepted() {
        let accept = rule(&format!(r#"{DPORT}, {{"accept": null}}"#));
        assert_eq!(input("drop", "").udp(51_820).result, Verdict::Warning);
        assert_eq!(input("drop", &accept).udp(51_820).result, Verdict::Good);
        assert_eq!(input("drop", &accept).udp(1).result, Verdict::Warning);
        assert_eq!(input("accept", "").udp(1).result, Verdict::Good);
    }

    #[test]
    fn rules_that_are_kept_are_held_against_what_there_is() {
        let step = |kind: &str, there| StepReport {
            kind: kind.into(),
            text: format!("a {kind}"),
            detail: None,
            there: Some(there),
        };
        let mut system = SystemReport {
            name: "a".into(),
            steps: vec![step("route", true)],
            warnings: Vec::new(),
        };
        assert!(rules(&system).is_none(), "it keeps none");
        system.steps.push(step("table", true));
        let verdict = |system: &SystemReport| rules(system).map(|check| check.result);
        assert_eq!(verdict(&system), Some(Verdict::Good));
        system.warnings.push("firewalld needs a policy".into());
        assert_eq!(verdict(&system), Some(Verdict::Warning));
        system.steps.push(step("rule", false));
        let check = rules(&system).unwrap();
        assert_eq!(check.result, Verdict::Bad);
        assert!(check.says.ends_with("a rule"), "{}", check.says);
    }

    #[test]
    fn what_is_forwarded_is_looked_at_where_something_lies_behind_us() {
        let text = r#"{"nftables": [{"chain": {"family": "ip", "table": "filter",
            "name": "FORWARD", "hook": "forward", "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER"}}, 7]}"#;
        let ruleset = ruleset(text);
        let check = ruleset.forward(true);
        assert_eq!(check.result, Verdict::Warning);
        assert!(check.says.contains("ip filter FORWARD"), "{check:?}");
        assert_eq!(ruleset.forward(false).result, Verdict::NotApplicable);
        assert_eq!(ruleset.docker(true).result, Verdict::Good);
        let none = Ruleset::parse(&Value::Null);
        assert_eq!(none, Ruleset::default());
        assert_eq!(none.docker(true).result, Verdict::Warning);
        assert_eq!(none.forward(true).result, Verdict::Good);
    }

    #[test]
    fn forwarding_that_is_off_says_which() {
        let mut forwarding = Forwarding::default();
        assert_eq!(forwarding.check().result, Verdict::NotApplicable);
        forwarding.behind = vec!["lan:eth1".into()];
        assert_eq!(forwarding.check().result, Verdict::Good);
        assert_eq!(forwarding.site(), []);
        forwarding.warnings = vec!["there is no interface eth1".into()];
        assert_eq!(forwarding.site()[0].result, Verdict::Warning);
        forwarding.off = vec!["net.ipv4.conf.eth1.forwarding".into()];
        let check = forwarding.check();
        assert_eq!(check.result, Verdict::Bad);
        let remedy = check.remedy.unwrap();
        assert_eq!(remedy, "`sysctl -w net.ipv4.conf.eth1.forwarding=1`");
    }
}
