//! Metrics of each thread: what passed, and how much of it in one go.

use std::fmt;

use weapon_engine::ThreadStatus;

use super::{
    Scrape,
    page::{About, Page, label},
};

/// A counter's name, what it counts, and where it is.
type Counted = (&'static str, &'static str, fn(&ThreadStatus) -> u64);

const COUNTED: [Counted; 4] = [
    (
        "outbound_superpackets",
        "Superpackets read of the interface",
        |it| it.outbound_superpackets,
    ),
    ("outbound_segments", "Packets sealed", |it| {
        it.outbound_segments
    }),
    ("inbound_datagrams", "Datagrams received", |it| {
        it.inbound_datagrams
    }),
    (
        "inbound_superpackets",
        "Superpackets written to the interface",
        |it| it.inbound_superpackets,
    ),
];

/// Writes them.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let threads = &scrape.threads;
    for (name, what, count) in COUNTED {
        let rows = threads.iter();
        let rows = rows.map(|thread| ([label("thread", &thread.name)], count(thread)));
        page.counter(About(name, None, what), rows)?;
    }
    let rows = threads.iter();
    let rows = rows.map(|thread| ([label("thread", &thread.name)], thread.outbound_batches));
    let what = "Superpackets read of the interface in one go";
    page.batches(About("outbound_batch_superpackets", None, what), rows)?;
    let rows = threads.iter();
    let rows = rows.map(|thread| ([label("thread", &thread.name)], thread.inbound_batches));
    let what = "Datagrams received in one call";
    page.batches(About("inbound_batch_datagrams", None, what), rows)
}
