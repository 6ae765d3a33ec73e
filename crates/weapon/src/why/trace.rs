//! The whole way of a packet, and what comes of it: for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{Finding, Step, WhyQuery, stops::Goes};
use crate::cli;

/// What is printed with `--json`.
#[derive(Debug, Serialize)]
pub struct Trace {
    /// The gateway.
    gateway: String,
    /// The packet in words.
    packet: String,
    /// `outbound` or `inbound`: from one peer to another it is both, and inbound here.
    direction: &'static str,
    /// Whether it would pass, as far as that is clear.
    pub passes: bool,
    /// What comes of it, in a sentence.
    verdict: String,
    /// The steps in the order of the packet; the one that does not let it pass is the last.
    steps: Vec<Step>,
}

/// The way of a packet, as far as it is known.
#[derive(Debug, Default)]
pub struct Way {
    steps: Vec<Step>,
    /// The peer that it goes to.
    pub to: Option<String>,
    /// Where the host sends it, if it came out of the tunnel.
    pub goes: Option<Goes>,
}

impl Way {
    /// Adds what comes next, up to the step that does not let the packet pass. Returns whether it
    /// goes on.
    pub fn goes_on(&mut self, steps: impl IntoIterator<Item = Step>) -> bool {
        for step in steps {
            let decides = step.decides();
            self.steps.push(step);
            if decides {
                return false;
            }
        }
        true
    }
}

impl Trace {
    /// Of a packet, and its way.
    pub fn new(gateway: &str, query: &WhyQuery, way: Way) -> Self {
        let verdict = verdict(query, &way);
        Self {
            gateway: gateway.to_owned(),
            packet: query.packet(),
            direction: match query.from {
                Some(_) => "inbound",
                None => "outbound",
            },
            passes: !way.steps.last().is_some_and(Step::decides),
            verdict,
            steps: way.steps,
        }
    }

    /// For people. Writing to a `String` cannot fail.
    pub fn describe(&self, colour: bool) -> String {
        let paint = |text: &str, code: &str| cli::paint(text, code, colour);
        let head = format!("{}, {} at {}", self.packet, self.direction, self.gateway);
        let mut text = format!("{}\n", paint(&head, "1"));
        for step in &self.steps {
            let mark = match step.finding {
                Finding::Passes => paint("ok", "32"),
                Finding::Unclear => paint("? ", "33"),
                Finding::Stops | Finding::Elsewhere => paint("!!", "31"),
            };
            let decides = if step.decides() { "  <- decides" } else { "" };
            let _ = writeln!(text, "  {mark} {:<10} {}{decides}", step.name, said(step));
        }
        let code = if self.passes { "32" } else { "31" };
        let _ = writeln!(text, "{}", paint(&self.verdict, code));
        let last = self.steps.last().filter(|step| step.decides());
        if let Some(remedy) = last.and_then(|step| step.remedy.as_deref()) {
            let _ = writeln!(text, "{} {remedy}", paint("to do:", "1"));
        }
        text
    }
}

/// What a step says, and in which line of the file that stands.
fn said(step: &Step) -> String {
    match &step.place {
        Some(place) => format!("{} ({place})", step.says),
        None => step.says.clone(),
    }
}

fn verdict(query: &WhyQuery, way: &Way) -> String {
    if let Some(step) = way.steps.last().filter(|step| step.decides()) {
        let what = match (step.finding, &step.reason) {
            (Finding::Elsewhere, _) => "would not go through the tunnel".to_owned(),
            (_, Some(reason)) => format!("dropped ({reason})"),
            (_, None) => "dropped".to_owned(),
        };
        return format!("{what}: {} decides: {}", step.name, said(step));
    }
    let mut text = "would pass".to_owned();
    if let Some(from) = &query.from {
        let _ = write!(text, " from peer {from}");
    }
    match (&way.to, &way.goes) {
        (Some(to), _) => {
            let _ = write!(text, " to peer {to}");
        }
        (None, Some(Goes::Here)) => text.push_str(" to this host"),
        (None, Some(Goes::Through { interface, .. })) => {
            let _ = write!(text, " and leave by {interface}");
        }
        (None, Some(Goes::Nowhere { .. }) | None) => {}
    }
    let mut unclear = way.steps.iter().filter(|it| it.finding == Finding::Unclear);
    if let Some(step) = unclear.next() {
        let _ = write!(text, ", if {} lets it", step.name);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: Option<&str>) -> WhyQuery {
        WhyQuery {
            port: Some(443),
            from: from.map(str::to_owned),
            ..WhyQuery::between([10, 1, 0, 5].into(), [10, 2, 0, 6].into())
        }
    }

    #[test]
    fn the_step_that_decides_is_the_last() {
        let mut way = Way::default();
        assert!(way.goes_on([Step::passes("route", "10.2.0.6 goes through w-a")]));
        let denied = Step {
            reason: Some("denied".into()),
            ..Step::stops("filter", "rule `web` denies it", "write another")
                .at(Some("a.toml:17:1: rule".into()))
        };
        assert!(!way.goes_on([denied, Step::passes("session", "there is one")]));
        let trace = Trace::new("a", &query(None), way);
        assert!(!trace.passes);
        let expected = "\
tcp 10.1.0.5 -> 10.2.0.6:443, outbound at a
  ok route      10.2.0.6 goes through w-a
  !! filter     rule `web` denies it (a.toml:17:1: rule)  <- decides
dropped (denied): filter decides: rule `web` denies it (a.toml:17:1: rule)
to do: write another
";
        assert_eq!(trace.describe(false), expected);
        assert!(trace.describe(true).contains("\x1b[31m!!\x1b[0m filter"));
        let json = serde_json::to_value(&trace).unwrap();
        assert_eq!(json["steps"][1]["finding"], "stops");
    }

    #[test]
    fn what_passes_says_where_it_goes() {
        let verdict_of = |from, to: Option<&str>, goes, steps: Vec<Step>| {
            let mut way = Way {
                to: to.map(str::to_owned),
                goes,
                ..Way::default()
            };
            way.goes_on(steps);
            let trace = Trace::new("a", &query(from), way);
            (trace.passes, trace.verdict)
        };
        let lan = Goes::Through {
            interface: "eth1".into(),
            mtu: 1500,
        };
        let unclear = vec![Step::unclear("firewall", "who knows")];
        let elsewhere = vec![Step::elsewhere("route", "it goes through eth0", "look")];
        for (found, passes, expected) in [
            (
                verdict_of(None, Some("b"), None, Vec::new()),
                true,
                "would pass to peer b",
            ),
            (
                verdict_of(Some("b"), None, Some(Goes::Here), Vec::new()),
                true,
                "would pass from peer b to this host",
            ),
            (
                verdict_of(Some("b"), None, Some(lan), unclear),
                true,
                "would pass from peer b and leave by eth1, if firewall lets it",
            ),
            (
                verdict_of(Some("b"), Some("c"), Some(Goes::Here), Vec::new()),
                true,
                "would pass from peer b to peer c",
            ),
            (
                verdict_of(None, None, None, elsewhere),
                false,
                "would not go through the tunnel: route decides: it goes through eth0",
            ),
        ] {
            assert_eq!(found, (passes, expected.to_owned()));
        }
    }
}
