//! Limits and marks in `[[peer]]` and `[[group]]` of the TOML file: text to draft.

use toml::Spanned;
use toml::de::DeValue;

use super::{Reader, Section};
use crate::config::problem::Located;
use crate::config::service::{GroupDraft, ServiceDraft};

pub(super) const GROUP_KEYS: &[&str] = &[
    "name",
    "rate_limit",
    "rate_limit_outbound",
    "rate_limit_inbound",
    "rate_burst_kb",
    "dscp",
];

impl Reader<'_, '_> {
    pub(super) fn group_item(&mut self, item: &Spanned<DeValue<'_>>) -> Option<GroupDraft> {
        let section = self.item("group", GROUP_KEYS, item)?;
        Some(GroupDraft {
            place: self.place(item.span(), "group"),
            name: self.string(&section, "name"),
            service: self.service(&section),
        })
    }

    pub(super) fn service(&mut self, section: &Section<'_>) -> ServiceDraft {
        ServiceDraft {
            rate_limit: self.text_of(section, "rate_limit", RATE),
            rate_limit_outbound: self.text_of(section, "rate_limit_outbound", RATE),
            rate_limit_inbound: self.text_of(section, "rate_limit_inbound", RATE),
            rate_burst_kb: self.integer(section, "rate_burst_kb", "rate_burst_kb = 500"),
            dscp: self.text_of(section, "dscp", "\"ef\""),
        }
    }

    /// A text or a number.
    fn text_of(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
    ) -> Option<Located<String>> {
        let value = section.value(key)?;
        self.text(section, key, value, example)
    }
}

const RATE: &str = "\"100 Mbit/s\"";
