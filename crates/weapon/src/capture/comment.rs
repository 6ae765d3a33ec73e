//! What is said of a packet: what became of it, and who has decided that.

use weapon_core::{
    Fate, Ruling,
    filter::{Action, RuleId},
};

/// The comment of a packet; none if it went on and nobody has decided that.
pub fn of(fate: Fate, ruling: Option<&Ruling>) -> Option<String> {
    let fate = match fate {
        Fate::Passed => None,
        Fate::Parked => Some("parked: waits for a session".to_owned()),
        Fate::Dropped(reason) => Some(format!("dropped: {}", reason.label())),
    };
    let parts: Vec<String> = fate.into_iter().chain(ruling.map(decided)).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

fn decided(ruling: &Ruling) -> String {
    let (action, rule) = match ruling {
        Ruling::Related => return "allowed: about a known flow".to_owned(),
        Ruling::Rule(Action::Allow, rule) => ("allowed", rule),
        Ruling::Rule(Action::Deny, rule) => ("denied", rule),
    };
    if **rule == *RuleId::DEFAULT_NAME {
        format!("{action} by default")
    } else {
        format!("{action} by rule \"{rule}\"")
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::DropReason;

    use super::*;

    #[test]
    fn fate_and_rule_are_told() {
        let by = |action, rule: &str| Some(Ruling::Rule(action, rule.into()));
        let denied = Fate::Dropped(DropReason::Denied);
        for (fate, ruling, expected) in [
            (Fate::Passed, None, None),
            (
                Fate::Passed,
                by(Action::Allow, "web"),
                Some("allowed by rule \"web\""),
            ),
            (
                Fate::Passed,
                Some(Ruling::Related),
                Some("allowed: about a known flow"),
            ),
            (
                Fate::Parked,
                by(Action::Allow, "default"),
                Some("parked: waits for a session; allowed by default"),
            ),
            (
                denied,
                by(Action::Deny, "default"),
                Some("dropped: denied; denied by default"),
            ),
            (
                denied,
                by(Action::Deny, "no-web"),
                Some("dropped: denied; denied by rule \"no-web\""),
            ),
            (
                Fate::Dropped(DropReason::NoRoute),
                None,
                Some("dropped: no_route"),
            ),
        ] {
            assert_eq!(of(fate, ruling.as_ref()).as_deref(), expected);
        }
    }
}
