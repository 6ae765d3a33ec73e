//! A page of metrics, as the two formats of Prometheus have it.

use std::{borrow::Cow, fmt};

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, prometheus_text, text,
    },
    metrics::MetricType,
    registry::{Registry, Unit},
};
use weapon_engine::Batches;

use super::{PARTS, Scrape};

/// A label and its value.
pub type Label<'a> = (&'static str, Cow<'a, str>);

/// A label and its value.
pub fn label<'a>(name: &'static str, value: impl Into<Cow<'a, str>>) -> Label<'a> {
    (name, value.into())
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format 0.0.4, for those who do not know the other.
    Text,
}

impl Format {
    /// The format that a client wants by its header `Accept`. All that is not for the older one
    /// alone is for OpenMetrics.
    pub fn wanted(accept: &str) -> Self {
        let has = |kind| accept.split(',').any(|it| it.trim().starts_with(kind));
        if has("text/plain") && !has("application/openmetrics-text") {
            Self::Text
        } else {
            Self::OpenMetrics
        }
    }

    /// The type of the page.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// All metrics of a gateway.
///
/// # Errors
/// There are none: it is written to memory.
pub fn written(scrape: Scrape, format: Format) -> Result<String, fmt::Error> {
    let name = scrape.report.name.clone();
    let labels = [("gateway".into(), name.into())].into_iter();
    let mut registry = Registry::with_prefix_and_labels("weapon", labels);
    registry.register_collector(Box::new(All(scrape)));
    let mut page = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut page, &registry)?,
        Format::Text => prometheus_text::encode(&mut page, &registry)?,
    }
    Ok(page)
}

#[derive(Debug)]
struct All(Scrape);

impl Collector for All {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        PARTS.iter().try_for_each(|part| part(&mut page, &self.0))
    }
}

/// What metrics are written to. Each has a name, to which `weapon_` is added, and its unit; a text
/// for people; and rows of labels and a value.
pub struct Page<'a>(DescriptorEncoder<'a>);

/// The name of a metric without its unit, the unit, and what it is.
pub struct About(pub &'static str, pub Option<Unit>, pub &'static str);

impl Page<'_> {
    /// What only grows. `_total` is added to the name.
    pub fn counter<'l, const N: usize, V: EncodeCounterValue>(
        &mut self,
        About(name, unit, what): About,
        rows: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let kind = MetricType::Counter;
        let mut family = self.0.encode_descriptor(name, what, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            let mut row = family.encode_family(&labels)?;
            row.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// What goes up and down.
    pub fn gauge<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        About(name, unit, what): About,
        rows: impl IntoIterator<Item = ([Label<'l>; N], V)>,
    ) -> fmt::Result {
        let kind = MetricType::Gauge;
        let mut family = self.0.encode_descriptor(name, what, unit.as_ref(), kind)?;
        for (labels, value) in rows {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// What is not a number. `_info` is added to the name, and the value is 1.
    pub fn info<'l, const N: usize>(
        &mut self,
        About(name, unit, what): About,
        rows: impl IntoIterator<Item = [Label<'l>; N]>,
    ) -> fmt::Result {
        let kind = MetricType::Info;
        let mut family = self.0.encode_descriptor(name, what, unit.as_ref(), kind)?;
        for labels in rows {
            family.encode_info(&labels)?;
        }
        Ok(())
    }

    /// Sizes of what was taken in one go.
    pub fn batches<'l, const N: usize>(
        &mut self,
        About(name, unit, what): About,
        rows: impl IntoIterator<Item = ([Label<'l>; N], Batches)>,
    ) -> fmt::Result {
        let kind = MetricType::Histogram;
        let mut family = self.0.encode_descriptor(name, what, unit.as_ref(), kind)?;
        for (labels, Batches { counts, sum }) in rows {
            let mut buckets: Vec<(f64, u64)> =
                (0..).map(f64::from).map(f64::exp2).zip(counts).collect();
            // The last takes all that are larger too.
            if let Some((bound, _)) = buckets.last_mut() {
                *bound = f64::INFINITY;
            }
            let count = counts.iter().sum();
            let mut row = family.encode_family(&labels)?;
            row.encode_histogram::<NoLabelSet>(sum as f64, count, &buckets, None)?;
        }
        Ok(())
    }
}
