//! Metrics of the filter: what each rule has decided.

use std::fmt;

use super::{
    Scrape,
    page::{About, Page, label},
};

/// Writes them. There are as many rows as rules, and not more for what strangers send.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let filter = scrape.filter.iter();
    let rows = filter.map(|filter| ([], u32::from(filter.enforced)));
    let about = About("filter_enforced", None, "Whether rules decide what passes");
    page.gauge(about, rows)?;
    let rules = scrape.filter.iter().flat_map(|filter| &filter.rules);
    let rows = rules.flat_map(|rule| {
        let verdicts = [("allowed", rule.allowed), ("denied", rule.denied)];
        verdicts.map(|(verdict, count)| {
            let labels = [label("rule", &rule.name), label("verdict", verdict)];
            (labels, count)
        })
    });
    let what = "Packets that a rule has decided on";
    page.counter(About("rule_packets", None, what), rows)
}
