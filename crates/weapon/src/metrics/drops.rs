//! Metrics of packets that died: by reason and thread.

use std::fmt;

use super::{
    Scrape,
    page::{About, Page, label},
};

/// Writes them.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let rows = scrape.threads.iter().flat_map(|thread| {
        thread.drops.iter().map(|(reason, count)| {
            let labels = [
                label("reason", reason.label()),
                label("thread", &thread.name),
            ];
            (labels, *count)
        })
    });
    page.counter(About("drops", None, "Packets that died"), rows)
}
