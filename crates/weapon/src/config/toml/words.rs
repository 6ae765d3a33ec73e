//! Values that are one of a few words.

use super::{Reader, Section};
use crate::config::value;

impl Reader<'_, '_> {
    /// "auto", which is true, or "off".
    pub(super) fn switch(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let switch = self.string(section, key)?;
        match switch.value.as_str() {
            "auto" => Some(true),
            "off" => Some(false),
            other => {
                let message = format!("{} is not known; it is auto or off", value::quoted(other));
                self.problems.error(&switch.place, message);
                None
            }
        }
    }

    /// What one of the `known` words stands for.
    pub(super) fn word<T: Copy>(
        &mut self,
        section: &Section<'_>,
        key: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let word = self.string(section, key)?;
        let found = known.iter().find(|(it, _)| *it == word.value);
        if found.is_none() {
            let all: Vec<&str> = known.iter().map(|(it, _)| *it).collect();
            let message = format!(
                "{} is not known; it is {}",
                value::quoted(&word.value),
                all.join(" or ")
            );
            self.problems.error(&word.place, message);
        }
        found.map(|(_, is)| *is)
    }
}
