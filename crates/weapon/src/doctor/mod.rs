//! `weapon doctor`: looks at the whole chain, from privileges to the routes behind the peers, and
//! ends with what to do.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::bail;
use serde::Serialize;

use crate::{
    cli::{self, DoctorArgs, EXIT_FAILED},
    config::{BadConfig, gateway_name, locate},
    daemon, places,
};

// What is found out.
mod check;
mod facts;

// What is made of it, in the order of the chain.
mod firewall;
mod gateway;
mod machine;
mod peers;
mod routes;

// How it is found out.
mod gather;
mod probe;
mod proc;

pub use gather::rules_of_host;
pub use proc::{forwarding_key, forwards};

use check::{Check, Verdict};
use gather::{Subject, gather};

/// What is printed with `--json`.
#[derive(Serialize)]
struct Diagnosis {
    /// The gateway; null if none was named and none runs.
    gateway: Option<String>,
    /// Nothing is bad.
    ok: bool,
    /// All checks, in the order in which one thing needs another.
    checks: Vec<Check>,
}

/// Examines one gateway, or all that run.
pub fn run(args: &DoctorArgs) -> anyhow::Result<ExitCode> {
    let subjects = subjects(args.target.as_deref())?;
    let mut diagnoses = Vec::new();
    for subject in subjects {
        let runtime = daemon::runtime()?;
        let gateway = subject.as_ref().map(|subject| subject.name.clone());
        let facts = runtime.block_on(gather(subject))?;
        // A look-up that hangs does not hold us up.
        runtime.shutdown_background();
        let checks = facts.checks();
        diagnoses.push(Diagnosis {
            gateway,
            ok: checks.iter().all(|check| check.result != Verdict::Bad),
            checks,
        });
    }
    let text = match (&diagnoses[..], args.json) {
        ([one], true) if args.target.is_some() => serde_json::to_string_pretty(one)?,
        (all, true) => serde_json::to_string_pretty(all)?,
        (all, false) => {
            let colour = cli::stdout_colour();
            let all: Vec<String> = all.iter().map(|it| describe(it, colour)).collect();
            all.join("\n")
        }
    };
    cli::print(text.trim_end())?;
    Ok(if diagnoses.iter().all(|diagnosis| diagnosis.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_FAILED)
    })
}

fn subjects(target: Option<&str>) -> anyhow::Result<Vec<Option<Subject>>> {
    let Some(target) = target else {
        let running = places::gateways().into_iter().map(|name| {
            Some(Subject {
                start: name.clone(),
                name,
                file: None,
            })
        });
        let running: Vec<Option<Subject>> = running.collect();
        return Ok(if running.is_empty() {
            vec![None]
        } else {
            running
        });
    };
    let name = gateway_name(target).map_err(|problem| BadConfig(vec![problem]))?;
    let is_running = places::gateways().contains(&name);
    let file = match locate(target) {
        Ok(file) if file.exists() => Some(file),
        // It runs with a file that is elsewhere, and says where.
        _ if is_running => None,
        Ok(file) => bail!("{}: the file does not exist", file.display()),
        Err(problem) => return Err(BadConfig(vec![problem]).into()),
    };
    Ok(vec![Some(Subject {
        name,
        start: target.to_owned(),
        file,
    })])
}

/// For people. Writing to a `String` cannot fail.
fn describe(diagnosis: &Diagnosis, colour: bool) -> String {
    let mut text = String::new();
    let paint = |text: &str, code: &str| cli::paint(text, code, colour);
    if let Some(gateway) = &diagnosis.gateway {
        let _ = writeln!(text, "{}", paint(&format!("gateway {gateway}"), "1"));
    }
    for check in &diagnosis.checks {
        let mark = match check.result {
            Verdict::Good => paint("ok", "32"),
            Verdict::Warning => paint("! ", "33"),
            Verdict::Bad => paint("!!", "31"),
            Verdict::NotApplicable => paint("--", "2"),
        };
        let about = match &check.subject {
            Some(subject) => format!("{subject}: "),
            None => String::new(),
        };
        let _ = writeln!(text, "  {mark} {:<14} {about}{}", check.name, check.says);
    }
    let wanted = |wanted: Verdict| {
        let found = diagnosis
            .checks
            .iter()
            .filter(move |it| it.result == wanted);
        found.filter_map(|check| Some((check, check.remedy.as_deref()?)))
    };
    let mut remedies: Vec<String> = Vec::new();
    for (check, remedy) in wanted(Verdict::Bad).chain(wanted(Verdict::Warning)) {
        let about = check.subject.as_deref();
        let about = about.map_or(String::new(), |subject| format!(", {subject}"));
        remedies.push(format!("{}{about}: {remedy}", check.name));
    }
    remedies.dedup();
    text.push('\n');
    if remedies.is_empty() {
        text.push_str("Nothing is to be done.\n");
    } else {
        let _ = writeln!(text, "{}", paint("What to do", "1"));
        for (number, remedy) in remedies.iter().enumerate() {
            let _ = writeln!(text, "  {}. {remedy}", number + 1);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bad_is_to_be_done_first() {
        let mut checks = vec![
            Check::good("device", "/dev/net/tun opens"),
            Check::warning("clock", "it went back", "set the clock"),
            Check::bad("handshake", "no answer", "start it").about("site-b"),
        ];
        let mut diagnosis = Diagnosis {
            gateway: Some("a".into()),
            ok: false,
            checks: checks.clone(),
        };
        let expected = "gateway a\n  ok device         /dev/net/tun opens\n  \
                        !  clock          it went back\n  \
                        !! handshake      site-b: no answer\n\nWhat to do\n  \
                        1. handshake, site-b: start it\n  2. clock: set the clock\n";
        assert_eq!(describe(&diagnosis, false), expected);
        assert!(describe(&diagnosis, true).contains("\x1b[31m!!\x1b[0m handshake"));
        checks.truncate(1);
        diagnosis.checks = checks;
        let text = describe(&diagnosis, false);
        assert!(text.ends_with("\n\nNothing is to be done.\n"), "{text}");
    }
}
