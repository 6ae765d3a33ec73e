//! What the host's nftables do with a packet that begins a connection.
//!
//! Rules are walked as the kernel walks them, as far as they are understood: by interfaces,
//! addresses, protocols, ports, and states of connections. A rule that asks for something else may
//! match or not: where that makes a difference, what becomes of the packet is not clear.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

/// How deep chains may call chains: as deep as the kernel allows (`NFT_JUMP_STACK_SIZE`).
const DEPTH_MAX: usize = 16;

/// A packet on its way through the host.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// The interface by which it comes; none if this host sends it.
    pub arrives_by: Option<&'a str>,
    /// The interface by which it goes; none if it is for this host.
    pub leaves_by: Option<&'a str>,
    /// Where it is from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// The number of what it carries.
    pub protocol: u8,
    /// Source and destination port, if the protocol has some.
    pub ports: Option<(u16, u16)>,
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// No chain drops it.
    Passes,
    /// This chain does: its family, table and name, and what in it.
    Dropped(String),
    /// It is up to a rule of this chain that is not understood.
    Unclear(String),
}

/// What the end of a chain, or a rule, says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    Accepts,
    Drops(String),
    /// Nothing: the rule behind it is next.
    GoesOn,
}

/// Whether a rule is about the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Match {
    Yes,
    No,
    Maybe,
}

/// What `nft -j list ruleset` says, and the packet that is asked about.
struct Walk<'a> {
    objects: &'a [Value],
    passing: &'a Passing<'a>,
    /// What rules say that may be about the packet.
    doubts: Vec<End>,
}

/// What the rules in `json`, from `nft -j list ruleset`, make of the packet.
pub fn fate(json: &Value, passing: &Passing<'_>) -> Fate {
    let objects = json["nftables"].as_array();
    let objects = objects.map(Vec::as_slice).unwrap_or_default();
    let mut unclear = None;
    for hook in passing.hooks() {
        for chain in base_chains(objects, hook, passing) {
            let mut walk = Walk {
                objects,
                passing,
                doubts: Vec::new(),
            };
            let name = name_of(chain, "name");
            let policy_drops = chain["policy"] == "drop";
            let end = match walk.chain(chain, 0) {
                End::GoesOn if policy_drops => End::Drops(format!(
                    "{name}, whose policy is to drop what no rule accepts"
                )),
                End::GoesOn => End::Accepts,
                end => end,
            };
            let drops = |end: &End| matches!(end, End::Drops(_));
            let is_doubtful = walk.doubts.iter().any(|doubt| drops(doubt) != drops(&end));
            match end {
                _ if is_doubtful => unclear = unclear.or(Some(name)),
                End::Drops(place) => return Fate::Dropped(place),
                End::Accepts | End::GoesOn => {}
            }
        }
    }
    unclear.map_or(Fate::Passes, Fate::Unclear)
}

impl Passing<'_> {
    fn hooks(&self) -> &'static [&'static str] {
        match (self.arrives_by, self.leaves_by) {
            (None, _) => &["output", "postrouting"],
            (Some(_), None) => &["prerouting", "input"],
            (Some(_), Some(_)) => &["prerouting", "forward", "postrouting"],
        }
    }
}

/// The chains that the kernel calls there, in their order. Those that translate drop nothing.
fn base_chains<'a>(
    objects: &'a [Value],
    hook: &str,
    passing: &Passing<'_>,
) -> impl Iterator<Item = &'a Value> {
    let family = if passing.source.is_ipv4() {
        "ip"
    } else {
        "ip6"
    };
    let chains = objects.iter().filter_map(|object| object.get("chain"));
    let mut chains: Vec<&Value> = chains
        .filter(|chain| {
            let is_of_it = chain["family"] == "inet" || chain["family"] == family;
            is_of_it && chain["hook"] == hook && chain["type"] != "nat"
        })
        .collect();
    chains.sort_by_key(|chain| chain["prio"].as_i64());
    chains.into_iter()
}

fn name_of(object: &Value, key: &str) -> String {
    let part = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
    format!("{} {} {}", part("family"), part("table"), part(key))
}

impl Walk<'_> {
    fn chain(&mut self, chain: &Value, depth: usize) -> End {
        let name = name_of(chain, "name");
        let rules = self.objects.iter().filter_map(|object| object.get("rule"));
        let rules: Vec<&Value> = rules
            .filter(|rule| name_of(rule, "chain") == name)
            .collect();
        for rule in rules {
            if let Some(end) = self.rule(rule, chain, depth) {
                return end;
            }
        }
        End::GoesOn
    }

    /// What the rule says of the packet; nothing if the next one is to be asked. To go on is to
    /// return from its chain.
    fn rule(&mut self, rule: &Value, chain: &Value, depth: usize) -> Option<End> {
        let expressions = rule["expr"].as_array();
        let mut matches = Match::Yes;
        for expression in expressions.map(Vec::as_slice).unwrap_or_default() {
            match self.matches(expression) {
                Some(Match::No) => return None,
                Some(Match::Maybe) => matches = Match::Maybe,
                Some(Match::Yes) => {}
                None => {
                    let end = self.verdict(expression, rule, chain, depth)?;
                    if matches == Match::Yes {
                        return Some(end);
                    }
                    // A chain that is perhaps left early says nothing by that.
                    self.doubts.extend((end != End::GoesOn).then_some(end));
                    return None;
                }
            }
        }
        None
    }

    fn verdict(
        &mut self,
        expression: &Value,
        rule: &Value,
        chain: &Value,
        depth: usize,
    ) -> Option<End> {
        let has = |key: &str| expression.get(key).is_some();
        if has("drop") || has("reject") {
            let comment = rule["comment"].as_str().map(|it| format!(": {it}"));
            let handle = rule["handle"].as_u64().unwrap_or_default();
            let chain = name_of(rule, "chain");
            let comment = comment.unwrap_or_default();
            return Some(End::Drops(format!("{chain}, handle {handle}{comment}")));
        }
        if has("accept") {
            return Some(End::Accepts);
        }
        if has("return") {
            return Some(End::GoesOn);
        }
        if let Some(map) = expression.get("vmap") {
            return self.mapped(map, rule, chain, depth);
        }
        let called = ["jump", "goto"].into_iter().find(|key| has(key))?;
        let target = expression[called]["target"].as_str()?;
        let there = self.objects.iter().filter_map(|object| object.get("chain"));
        let mut there = there.filter(|it| {
            it["family"] == chain["family"] && it["table"] == chain["table"] && it["name"] == target
        });
        let target = there.next().filter(|_| depth < DEPTH_MAX)?;
        match self.chain(target, depth + 1) {
            End::GoesOn if called == "jump" => None,
            end => Some(end),
        }
    }

    /// Of a map of verdicts, the one whose key the packet has.
    fn mapped(&mut self, map: &Value, rule: &Value, chain: &Value, depth: usize) -> Option<End> {
        let values = self.values(&map["key"]);
        let Some(elements) = map["data"]["set"].as_array() else {
            // A map by name, which may have changed since.
            let drops = End::Drops(name_of(rule, "chain"));
            self.doubts.extend([End::Accepts, drops]);
            return None;
        };
        for element in elements {
            let has_key = values
                .as_ref()
                .map_or(Match::Maybe, |values| any(values, &element[0]));
            if has_key == Match::No {
                continue;
            }
            let end = self.verdict(&element[1], rule, chain, depth);
            if has_key == Match::Yes {
                return end;
            }
            self.doubts.extend(end.filter(|end| *end != End::GoesOn));
        }
        None
    }

    /// Whether an expression is about the packet; nothing if it is a verdict.
    fn matches(&self, expression: &Value) -> Option<Match> {
        let (key, inner) = expression.as_object()?.iter().next()?;
        match key.as_str() {
            "match" => Some(self.compare(inner)),
            "drop" | "reject" | "accept" | "return" | "jump" | "goto" | "vmap" => None,
            // What these do changes nothing of the way.
            "counter" | "log" | "notrack" | "comment" | "quota" | "mangle" | "flow" => {
                Some(Match::Yes)
            }
            _ => Some(Match::Maybe),
        }
    }

    fn compare(&self, inner: &Value) -> Match {
        let (left, right) = (&inner["left"], &inner["right"]);
        let found = match self.values(left) {
            Some(values) => any(&values, right),
            None => Match::Maybe,
        };
        match (inner["op"].as_str(), found) {
            (Some("==" | "in"), found) => found,
            (Some("!="), Match::Yes) => Match::No,
            (Some("!="), Match::No) => Match::Yes,
            _ => Match::Maybe,
        }
    }

    /// What the packet has there, in all ways in which that may be written; nothing if that is not
    /// known. What it has not is an empty list.
    fn values(&self, left: &Value) -> Option<Vec<Value>> {
        let passing = self.passing;
        let name = |name: Option<&str>| Some(vec![Value::from(name.unwrap_or_default())]);
        let payload = &left["payload"];
        match left["meta"]["key"].as_str() {
            Some("iifname" | "iif") => return name(passing.arrives_by),
            Some("oifname" | "oif") => return name(passing.leaves_by),
            Some("l4proto") => return Some(self.protocols()),
            Some("nfproto") => {
                let family = if passing.source.is_ipv4() {
                    "ipv4"
                } else {
                    "ipv6"
                };
                return Some(vec![family.into()]);
            }
            Some(_) => return None,
            None => {}
        }
        if left["ct"]["key"] == "state" {
            return Some(vec!["new".into(), "untracked".into()]);
        }
        if left["ct"]["key"] == "status" {
            // Nobody has translated it.
            return Some(Vec::new());
        }
        let version = if passing.source.is_ipv4() {
            "ip"
        } else {
            "ip6"
        };
        let carries = self.protocols();
        let of = payload["protocol"].as_str()?;
        let is_of = of == version || of == "th" || carries.iter().any(|it| it == of);
        if !is_of {
            return Some(Vec::new());
        }
        let ports = passing.ports;
        match payload["field"].as_str()? {
            "saddr" => Some(vec![passing.source.to_string().into()]),
            "daddr" => Some(vec![passing.destination.to_string().into()]),
            "protocol" | "nexthdr" => Some(carries),
            "sport" => Some(vec![ports?.0.into()]),
            "dport" => Some(vec![ports?.1.into()]),
            _ => None,
        }
    }

    /// By name and number.
    fn protocols(&self) -> Vec<Value> {
        let name = match self.passing.protocol {
            1 => "icmp",
            6 => "tcp",
            17 => "udp",
            47 => "gre",
            50 => "esp",
            58 => "icmpv6",
            132 => "sctp",
            _ => "",
        };
        let mut all = vec![Value::from(self.passing.protocol)];
        all.extend((!name.is_empty()).then(|| name.into()));
        // `nft` has two names for it.
        all.extend((name == "icmpv6").then(|| "ipv6-icmp".into()));
        all
    }
}

/// Whether one of the `values` is what is wanted.
fn any(values: &[Value], wanted: &Value) -> Match {
    let mut is_clear = true;
    for value in values {
        match is_in(value, wanted) {
            Match::Yes => return Match::Yes,
            Match::Maybe => is_clear = false,
            Match::No => {}
        }
    }
    if is_clear { Match::No } else { Match::Maybe }
}

fn is_in(value: &Value, wanted: &Value) -> Match {
    let all = wanted.as_array().or_else(|| wanted["set"].as_array());
    if let Some(all) = all {
        let found: Vec<Match> = all.iter().map(|it| is_in(value, it)).collect();
        return if found.contains(&Match::Yes) {
            Match::Yes
        } else if found.contains(&Match::Maybe) {
            Match::Maybe
        } else {
            Match::No
        };
    }
    let yes = |is: bool| if is { Match::Yes } else { Match::No };
    if let Some(prefix) = wanted.get("prefix") {
        let text = format!(
            "{}/{}",
            prefix["addr"].as_str().unwrap_or_default(),
            prefix["len"]
        );
        return match (text.parse::<IpNet>(), address(value)) {
            (Ok(net), Some(address)) => yes(net.contains(&address)),
            _ => Match::Maybe,
        };
    }
    if let Some([first, last]) = wanted["range"].as_array().map(Vec::as_slice) {
        if let (Some(value), Some(first), Some(last)) =
            (value.as_u64(), first.as_u64(), last.as_u64())
        {
            return yes((first..=last).contains(&value));
        }
        return match (address(value), address(first), address(last)) {
            (Some(value), Some(first), Some(last)) => yes((first..=last).contains(&value)),
            _ => Match::Maybe,
        };
    }
    match (value, wanted) {
        // A set by name, which may have changed since.
        (_, Value::String(name)) if name.starts_with('@') => Match::Maybe,
        (Value::String(value), Value::String(wanted)) => {
            let start = wanted.strip_suffix('*');
            yes(value == wanted || start.is_some_and(|start| value.starts_with(start)))
        }
        (Value::Number(value), Value::Number(wanted)) => yes(value == wanted),
        // The other way to write the same.
        (Value::String(_), Value::Number(_)) | (Value::Number(_), Value::String(_)) => Match::No,
        _ => Match::Maybe,
    }
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDED: Passing<'_> = Passing {
        arrives_by: Some("eth1"),
        leaves_by: Some("w-a"),
        source: IpAddr::V4(core::net::Ipv4Addr::new(10, 1, 0, 5)),
        destination: IpAddr::V4(core::net::Ipv4Addr::new(10, 2, 0, 6)),
        protocol: 6,
        ports: Some((50_000, 443)),
    };

    fn ruleset(policy: &str, rules: &[&str]) -> Value {
        let mut objects = vec![
            format!(
                r#"{{"chain": {{"family": "inet", "table": "f", "name": "fwd", "hook": "forward",
                "type": "filter", "prio": 0, "policy": "{policy}"}}}}"#
            ),
            r#"{"chain": {"family": "inet", "table": "f", "name": "sub"}}"#.to_owned(),
        ];
        for (handle, rule) in rules.iter().enumerate() {
            let (chain, expressions) = match rule.strip_prefix("sub: ") {
                Some(rest) => ("sub", rest),
                None => ("fwd", *rule),
            };
            objects.push(format!(
                r#"{{"rule": {{"family": "inet", "table": "f", "chain": "{chain}",
                "handle": {handle}, "expr": [{expressions}]}}}}"#
            ));
        }
        let text = format!(r#"{{"nftables": [{}]}}"#, objects.join(","));
        serde_json::from_str(&text).expect("JSON")
    }

    fn matching(left: &str, right: &str) -> String {
        format!(r#"{{"match": {{"op": "==", "left": {left}, "right": {right}}}}}"#)
    }

    const OIF: &str = r#"{"meta": {"key": "oifname"}}"#;
    const DPORT: &str = r#"{"payload": {"protocol": "tcp", "field": "dport"}}"#;
    const SADDR: &str = r#"{"payload": {"protocol": "ip", "field": "saddr"}}"#;
    const STATE: &str = r#"{"ct": {"key": "state"}}"#;
    const XT: &str = r#"{"xt": {"type": "match", "name": "addrtype"}}"#;
    const ACCEPT: &str = r#"{"accept": null}"#;
    const DROP: &str = r#"{"counter": {"packets": 0}}, {"drop": null}"#;

    #[track_caller]
    fn assert_fate(policy: &str, rules: &[&str], expected: &Fate) {
        let found = fate(&ruleset(policy, rules), &FORWARDED);
        assert_eq!(found, *expected, "{rules:?}");
    }

    fn dropped_by(handle: usize) -> Fate {
        Fate::Dropped(format!("inet f fwd, handle {handle}"))
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let to_tunnel = matching(OIF, r#""w-a""#);
        let to_other = matching(OIF, r#""eth*""#);
        let web = matching(DPORT, r#"{"set": [80, {"range": [440, 450]}]}"#);
        let ssh = matching(DPORT, "22");
        let site = matching(SADDR, r#"{"prefix": {"addr": "10.1.0.0", "len": 16}}"#);
        let answers = matching(STATE, r#"["established", "related"]"#);
        let policy =
            Fate::Dropped("inet f fwd, whose policy is to drop what no rule accepts".to_owned());
        for (policy_is, rules, expected) in [
            ("accept", vec![], Fate::Passes),
            ("drop", vec![], policy.clone()),
            ("drop", vec![format!("{to_tunnel}, {ACCEPT}")], Fate::Passes),
            (
                "drop",
                vec![format!("{to_other}, {ACCEPT}")],
                policy.clone(),
            ),
            ("drop", vec![format!("{answers}, {ACCEPT}")], policy),
            ("accept", vec![format!("{web}, {DROP}")], dropped_by(0)),
            ("accept", vec![format!("{ssh}, {DROP}")], Fate::Passes),
            (
                "accept",
                vec![format!("{site}, {ACCEPT}"), DROP.to_owned()],
                Fate::Passes,
            ),
            (
                "accept",
                vec![format!("{ssh}, {ACCEPT}"), DROP.to_owned()],
                dropped_by(1),
            ),
        ] {
            let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
            assert_fate(policy_is, &rules, &expected);
        }
    }

    #[test]
    fn chains_are_called_and_left() {
        let jump = r#"{"jump": {"target": "sub"}}"#;
        let goto = r#"{"goto": {"target": "sub"}}"#;
        let by_sub = Fate::Dropped("inet f sub, handle 1".to_owned());
        assert_fate("accept", &[jump, &format!("sub: {DROP}")], &by_sub);
        let leaves = r#"sub: {"return": null}"#;
        assert_fate("accept", &[jump, leaves, DROP], &dropped_by(2));
        // Who went there does not come back.
        assert_fate("accept", &[goto, leaves, DROP], &Fate::Passes);
        let around = r#"sub: {"jump": {"target": "sub"}}"#;
        assert_fate("accept", &[jump, around], &Fate::Passes);
    }

    #[test]
    fn of_a_map_the_verdict_counts_whose_key_the_packet_has() {
        let map = |key: &str, elements: &str| {
            format!(r#"{{"vmap": {{"key": {key}, "data": {elements}}}}}"#)
        };
        let to_sub = r#"{"jump": {"target": "sub"}}"#;
        let states = map(
            STATE,
            r#"{"set": [["established", {"accept": null}], ["invalid", {"drop": null}]]}"#,
        );
        assert_fate("accept", &[&states], &Fate::Passes);
        let ports = |verdict: &str| {
            let elements = format!(r#"{{"set": [[22, {{"drop": null}}], [443, {verdict}]]}}"#);
            map(DPORT, &elements)
        };
        assert_fate("accept", &[&ports(r#"{"drop": null}"#)], &dropped_by(0));
        assert_fate("drop", &[&ports(ACCEPT)], &Fate::Passes);
        let by_sub = Fate::Dropped("inet f sub, handle 1".to_owned());
        assert_fate(
            "accept",
            &[&ports(to_sub), &format!("sub: {DROP}")],
            &by_sub,
        );
        let unclear = Fate::Unclear("inet f fwd".to_owned());
        assert_fate("accept", &[&map(DPORT, r#""@ports""#)], &unclear);
        let marks = map(
            r#"{"meta": {"key": "mark"}}"#,
            r#"{"set": [[1, {"drop": null}]]}"#,
        );
        assert_fate("accept", &[&marks], &unclear);
        assert_fate("accept", &[&marks, DROP], &dropped_by(1));
    }

    #[test]
    fn what_is_not_understood_matters_only_where_it_makes_a_difference() {
        let perhaps_drop = format!("{XT}, {DROP}");
        let perhaps_accept = format!("{XT}, {ACCEPT}");
        let unclear = Fate::Unclear("inet f fwd".to_owned());
        assert_fate("accept", &[&perhaps_drop], &unclear);
        assert_fate("accept", &[&perhaps_accept], &Fate::Passes);
        assert_fate("drop", &[&perhaps_accept], &unclear);
        assert_fate("accept", &[&perhaps_drop, DROP], &dropped_by(1));
        let named = matching(SADDR, r#""@friends""#);
        assert_fate("drop", &[&format!("{named}, {ACCEPT}")], &unclear);
    }

    #[test]
    fn other_hooks_and_versions_are_not_asked() {
        let all = ruleset("drop", &[]);
        let local = Passing {
            arrives_by: None,
            ..FORWARDED
        };
        assert_eq!(fate(&all, &local), Fate::Passes);
        let text = all.to_string().replace("\"inet\"", "\"ip6\"");
        let v6 = serde_json::from_str(&text).unwrap();
        assert_eq!(fate(&v6, &FORWARDED), Fate::Passes);
        assert_eq!(fate(&Value::Null, &FORWARDED), Fate::Passes);
    }
}
