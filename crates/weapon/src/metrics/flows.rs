//! Metrics of the flow table.

use std::fmt;

use super::{
    Scrape,
    page::{About, Page, label},
};
use crate::flows::FilterCounts;

/// A counter's name, what it counts, and where it is.
type Counted = (&'static str, &'static str, fn(&FilterCounts) -> u64);

const COUNTED: [Counted; 3] = [
    ("flows_begun", "Flows that have begun", |it| it.begun),
    (
        "flows_refused",
        "Packets that would have begun a flow and found no place",
        |it| it.refused,
    ),
    (
        "flow_events_lost",
        "Events of flows that found no room in their queue",
        |it| it.events_lost,
    ),
];

/// Writes them; no rows, if no flows are watched.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let filter = &scrape.filter;
    let rows = filter.iter().map(|it| ([], it.flows));
    page.gauge(About("flows", None, "Flows in the table"), rows)?;
    let rows = filter.iter().map(|it| ([], it.capacity));
    let what = "Flows that there is room for";
    page.gauge(About("flow_capacity", None, what), rows)?;
    for (name, what, count) in COUNTED {
        let rows = filter.iter().map(|it| ([], count(it)));
        page.counter(About(name, None, what), rows)?;
    }
    let ended = filter.iter().flat_map(|it| &it.ended);
    let rows = ended.map(|(reason, count)| ([label("reason", reason)], *count));
    page.counter(About("flows_ended", None, "Flows that are over"), rows)
}
