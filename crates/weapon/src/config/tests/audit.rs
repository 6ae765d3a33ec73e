//! The section `[audit]`.

use std::{path::Path, time::Duration};

use super::*;
use crate::audit::{Copies, OnFailure};

fn audit(lines: &str) -> Result<AuditConfig, Vec<String>> {
    audit_and(lines, "[filter]\nflows = true\n")
}

fn audit_and(lines: &str, others: &str) -> Result<AuditConfig, Vec<String>> {
    let folder = Folder::new();
    let text = format!("[gateway]\nprivate_key = \"{PRIVATE}\"\n[audit]\n{lines}\n{others}");
    match folder.load("site-a.toml", &text) {
        Ok(loaded) => Ok(loaded.config.audit.expect("a section")),
        Err(BadConfig(problems)) => Err(folder.lines(&problems)),
    }
}

#[test]
fn one_line_turns_it_on() {
    let found = audit("").unwrap();
    assert_eq!(found.directory, Path::new("/var/log/weapon/site-a"));
    assert_eq!(found.settings.gateway, "site-a");
    assert_eq!(found.settings.seal_time, Duration::from_secs(900));
    assert_eq!(found.settings.file_bytes_max, 16 << 20);
    let day = Duration::from_secs(86_400);
    assert_eq!(found.settings.file_time_max, Some(day));
    assert_eq!(found.settings.files_max, 30);
    assert!(!found.flows && found.also.is_empty());
    assert_eq!(found.on_failure, OnFailure::Continue);
    assert_eq!(found.place.line, 3);
}

#[test]
fn every_key_of_it_is_taken() {
    let found = audit(
        "directory = \"/srv/audit\"\nseal_seconds = 60\nfile_mb_max = 1\n\
         file_hours_max = \"off\"\nfiles_max = 2\nflows = true\non_failure = \"deny-new\"\n\
         also = [\"journald\", \"syslog\"]",
    )
    .unwrap();
    assert_eq!(found.directory, Path::new("/srv/audit"));
    assert_eq!(found.settings.seal_time, Duration::from_secs(60));
    assert_eq!(found.settings.file_bytes_max, 1 << 20);
    assert_eq!(found.settings.file_time_max, None);
    assert_eq!(found.settings.files_max, 2);
    assert!(found.flows);
    assert_eq!(found.on_failure, OnFailure::DenyNew);
    assert_eq!(found.also, [Copies::Journald, Copies::Syslog]);
    assert_eq!(
        (found.place.line, found.place.key.as_str()),
        (4, "audit.directory")
    );
}

#[test]
fn what_is_wrong_with_it_is_said() {
    for (line, expected) in [
        (
            "directory = \"log\"",
            "audit.directory: `log` is no absolute path; write one, such as \
             /var/log/weapon/site-a",
        ),
        (
            "seal_seconds = 0",
            "audit.seal_seconds: 0 cannot be; it is 1 to 86400 seconds",
        ),
        (
            "file_mb_max = 5000",
            "audit.file_mb_max: 5000 cannot be; it is 1 to 4096 megabytes",
        ),
        (
            "file_hours_max = -1",
            "audit.file_hours_max: -1 cannot be; it is 1 to 8784 hours, or \"off\"",
        ),
        (
            "files_max = 1",
            "audit.files_max: 1 cannot be; it is 2 to 10000 files",
        ),
        (
            "on_failure = \"panic\"",
            "audit.on_failure: `panic` is not known; it is continue, deny-new or stop",
        ),
        (
            "also = [\"kafka\"]",
            "audit.also: `kafka` is not known; it is journald or syslog",
        ),
        (
            "flows = 1",
            "audit.flows: a number where true or false belongs",
        ),
        (
            "on_failur = \"stop\"",
            "audit.on_failur: unknown key; did you mean `on_failure`?",
        ),
        (
            "listen = 1",
            "audit.listen: unknown key; it belongs to [gateway]",
        ),
    ] {
        let found = audit(line).unwrap_err();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("site-a.toml:4:"), "{found:?}");
        let (_, said) = found[0].split_once(": ").unwrap();
        assert_eq!(said, expected);
    }
    toml_says(
        &format!("[gateway]\nprivate_key = \"{PRIVATE}\"\n[audits]\n"),
        &["site-a.toml:3:2: audits: unknown section; did you mean [audit]?"],
    );
}

#[test]
fn flows_that_nobody_watches_are_not_promised() {
    for (line, why) in [
        ("flows = true", "audit.flows: starts of flows are not known"),
        (
            "on_failure = \"deny-new\"",
            "audit.on_failure: it is not known what is a new flow",
        ),
    ] {
        let found = audit_and(line, "").unwrap_err();
        let hint = "give a section [filter], with `flows = true`";
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("site-a.toml:4:"), "{found:?}");
        assert!(found[0].ends_with(&format!("{why}: {hint}")), "{found:?}");
        assert!(audit_and(line, "[filter]\ndefault = \"deny\"\n").is_ok());
    }
    assert!(audit_and("flows = false", "").is_ok());
}
