//! Metrics of the audit log.

use std::fmt;

use prometheus_client::registry::Unit;

use super::{
    Scrape,
    page::{About, Page},
};
use crate::report::AuditReport;

/// A name, what it is, and where it is.
type Told = (&'static str, &'static str, fn(&AuditReport) -> u64);

const COUNTED: [Told; 3] = [
    ("audit_records", "Records that were written", |it| {
        it.written
    }),
    ("audit_lost_records", "Records that were lost", |it| it.lost),
    (
        "audit_suppressed_records",
        "Records left out because there were many of their sort",
        |it| it.suppressed,
    ),
];

const STATES: [Told; 4] = [
    ("audit_failing", "Whether the log cannot be written", |it| {
        it.failing.is_some().into()
    }),
    (
        "audit_denies_new",
        "Whether nothing new is let through because of it",
        |it| it.denies_new.into(),
    ),
    (
        "audit_waiting_records",
        "Records that wait for the disk",
        |it| it.waiting,
    ),
    (
        "audit_unsealed_records",
        "Records behind the last seal",
        |it| it.sequence.saturating_sub(it.sealed),
    ),
];

/// Writes them; no rows, if there is no log.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let audit = &scrape.report.audit;
    for (name, what, count) in COUNTED {
        let rows = audit.iter().map(|it| ([], count(it)));
        page.counter(About(name, None, what), rows)?;
    }
    let what = "Bytes of records that were written";
    let about = About("audit_written", Some(Unit::Bytes), what);
    page.counter(about, audit.iter().map(|it| ([], it.bytes)))?;
    for (name, what, state) in STATES {
        let rows = audit.iter().map(|it| ([], state(it)));
        page.gauge(About(name, None, what), rows)?;
    }
    Ok(())
}
