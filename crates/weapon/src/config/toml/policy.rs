//! `[filter]`, `[[rule]]` and `[[test]]` of the TOML file: text to draft.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Reader, Section, kind};
use crate::config::policy::{FilterDraft, RuleDraft, TrialDraft};
use crate::config::problem::Located;

pub(super) const FILTER_KEYS: &[&str] = &["default", "flows", "flows_max"];
pub(super) const RULE_KEYS: &[&str] = &[
    "name",
    "action",
    "direction",
    "peer",
    "group",
    "from",
    "to",
    "protocol",
    "ports",
    "source_ports",
    "icmp",
];
pub(super) const TEST_KEYS: &[&str] = &[
    "from",
    "to",
    "protocol",
    "port",
    "source_port",
    "icmp",
    "peer",
    "expect",
];

impl Reader<'_, '_> {
    pub(super) fn filter(
        &mut self,
        table: &DeTable<'_>,
        place: std::ops::Range<usize>,
    ) -> FilterDraft {
        let section = self.section("filter", table, FILTER_KEYS);
        FilterDraft {
            place: self.place(place, "filter"),
            default: self.string(&section, "default"),
            flows: self.boolean(&section, "flows"),
            flows_max: self.integer(&section, "flows_max", "flows_max = 65536"),
        }
    }

    pub(super) fn rule_item(&mut self, item: &Spanned<DeValue<'_>>) -> Option<RuleDraft> {
        let section = self.item("rule", RULE_KEYS, item)?;
        Some(RuleDraft {
            place: self.place(item.span(), "rule"),
            name: self.string(&section, "name"),
            action: self.string(&section, "action"),
            direction: self.string(&section, "direction"),
            peer: self.texts(&section, "peer", "\"site-b\""),
            group: self.texts(&section, "group", "\"phones\""),
            from: self.texts(&section, "from", "\"10.1.0.0/16\""),
            to: self.texts(&section, "to", "\"10.1.0.0/16\""),
            protocol: self.texts(&section, "protocol", "\"tcp\""),
            source_ports: self.texts(&section, "source_ports", "53"),
            ports: self.texts(&section, "ports", "22"),
            icmp: self.texts(&section, "icmp", "\"echo-request\""),
        })
    }

    pub(super) fn test_item(&mut self, item: &Spanned<DeValue<'_>>) -> Option<TrialDraft> {
        let section = self.item("test", TEST_KEYS, item)?;
        Some(TrialDraft {
            place: self.place(item.span(), "test"),
            from: self.string(&section, "from"),
            to: self.string(&section, "to"),
            protocol: self.single(&section, "protocol", "\"tcp\""),
            port: self.integer(&section, "port", "port = 22"),
            source_port: self.integer(&section, "source_port", "source_port = 53"),
            icmp: self.single(&section, "icmp", "\"echo-request\""),
            peer: self.string(&section, "peer"),
            expect: self.string(&section, "expect"),
        })
    }

    /// A text, a number, or a list of these. `None` if it is not written.
    pub(super) fn texts(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
    ) -> Option<Vec<Located<String>>> {
        let value = section.value(key)?;
        let DeValue::Array(list) = value.get_ref() else {
            return self.single(section, key, example);
        };
        let mut texts = Vec::with_capacity(list.len());
        for item in list.iter() {
            texts.extend(self.text(section, key, item, example));
        }
        // What was refused is not an empty list.
        (list.is_empty() || !texts.is_empty()).then_some(texts)
    }

    /// A text or a number, as a list of one.
    fn single(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
    ) -> Option<Vec<Located<String>>> {
        let value = section.value(key)?;
        Some(vec![self.text(section, key, value, example)?])
    }

    pub(super) fn text(
        &mut self,
        section: &Section<'_>,
        key: &str,
        item: &Spanned<DeValue<'_>>,
        example: &str,
    ) -> Option<Located<String>> {
        let place = self.place_of(section, key, item.span());
        let value = match item.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix());
                number.map_or_else(
                    |_| "a number that is too large".to_owned(),
                    |it| it.to_string(),
                )
            }
            other => {
                let message = format!("{} where {example} belongs", kind(other));
                self.problems.error(&place, message);
                return None;
            }
        };
        Some(Located { value, place })
    }
}
