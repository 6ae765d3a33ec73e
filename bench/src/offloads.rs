//! The offloads of the link between the hosts, switched off for a while.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::lab::{Lab, Side, UNDERLAY, output, run};

/// What is switched off: the name that ethtool shows, the name that it takes.
const OFFLOADS: [(&str, &str); 4] = [
    ("tcp-segmentation-offload", "tso"),
    ("generic-segmentation-offload", "gso"),
    ("generic-receive-offload", "gro"),
    ("tx-udp-segmentation", "tx-udp-segmentation"),
];

/// Runs `inside` while both ends of the link have no offloads; they are given back afterwards.
pub(crate) fn without<T>(lab: &Lab, inside: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = [states(lab, Side::A)?, states(lab, Side::B)?];
    let off = OFFLOADS.map(|(_, name)| (name, false));
    for side in Side::BOTH {
        set(lab, side, &off)?;
    }
    let result = inside();
    for (side, states) in Side::BOTH.into_iter().zip(before) {
        set(lab, side, &states)?;
    }
    result
}

fn states(lab: &Lab, side: Side) -> Result<Vec<(&'static str, bool)>> {
    let text = output(lab.command(side, "ethtool").args(["-k", UNDERLAY]))?;
    OFFLOADS
        .iter()
        .map(|&(shown, name)| {
            let is_on = is_on(&text, shown).with_context(|| format!("ethtool shows no {shown}"))?;
            Ok((name, is_on))
        })
        .collect()
}

fn is_on(text: &str, feature: &str) -> Option<bool> {
    text.lines().find_map(|line| {
        let state = line.trim().strip_prefix(feature)?.strip_prefix(": ")?;
        Some(state.split(' ').next() == Some("on"))
    })
}

fn set(lab: &Lab, side: Side, states: &[(&str, bool)]) -> Result<()> {
    let mut command: Command = lab.command(side, "ethtool");
    command.args(["-K", UNDERLAY]);
    for (name, is_on) in states {
        command.args([*name, if *is_on { "on" } else { "off" }]);
    }
    run(&mut command)?;
    let text = output(lab.command(side, "ethtool").args(["-k", UNDERLAY]))?;
    for (name, wanted) in states {
        let shown = OFFLOADS.iter().find(|(_, takes)| takes == name);
        let now = shown.and_then(|(shown, _)| is_on(&text, shown));
        ensure!(now == Some(*wanted), "ethtool did not switch {name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_ethtool() {
        let text = "Features for under:\n\
                    tcp-segmentation-offload: on\n\
                    \ttx-udp-segmentation: off\n\
                    generic-receive-offload: off [requested on]\n";
        assert_eq!(is_on(text, "tcp-segmentation-offload"), Some(true));
        assert_eq!(is_on(text, "tx-udp-segmentation"), Some(false));
        assert_eq!(is_on(text, "generic-receive-offload"), Some(false));
        assert_eq!(is_on(text, "generic"), None);
    }
}
