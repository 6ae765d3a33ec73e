//! Values of the TOML file, by their kind: what is of another one is noted.

use toml::de::DeValue;

use super::{Reader, Section, kind};
use crate::config::{draft::SecretText, problem::Located};

impl Reader<'_, '_> {
    pub(super) fn string(&mut self, section: &Section<'_>, key: &str) -> Option<Located<String>> {
        let value = section.value(key)?;
        let place = self.place_of(section, key, value.span());
        match value.get_ref() {
            DeValue::String(text) => Some(Located {
                value: text.to_string(),
                place,
            }),
            other => {
                let message = format!("{} where text in quotes belongs", kind(other));
                self.problems.error(&place, message);
                None
            }
        }
    }

    pub(super) fn secret(
        &mut self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<Located<SecretText>> {
        let Located { value, place } = self.string(section, key)?;
        Some(Located {
            value: SecretText(value.into()),
            place,
        })
    }

    pub(super) fn strings(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
    ) -> Vec<Located<String>> {
        let Some(value) = section.value(key) else {
            return Vec::new();
        };
        let wrong = |other: &DeValue<'_>| {
            format!("{} where a list belongs: {key} = [{example}]", kind(other))
        };
        let DeValue::Array(list) = value.get_ref() else {
            let place = self.place_of(section, key, value.span());
            self.problems.error(&place, wrong(value.get_ref()));
            return Vec::new();
        };
        let mut texts = Vec::with_capacity(list.len());
        for item in list.iter() {
            let place = self.place_of(section, key, item.span());
            match item.get_ref() {
                DeValue::String(text) => texts.push(Located {
                    value: text.to_string(),
                    place,
                }),
                other => {
                    let message = format!("{} where text like {example} belongs", kind(other));
                    self.problems.error(&place, message);
                }
            }
        }
        texts
    }

    pub(super) fn integer(
        &mut self,
        section: &Section<'_>,
        key: &str,
        example: &str,
    ) -> Option<Located<i64>> {
        let value = section.value(key)?;
        let place = self.place_of(section, key, value.span());
        let DeValue::Integer(number) = value.get_ref() else {
            let kind = kind(value.get_ref());
            let message = format!("{kind} where a number belongs: {example}");
            self.problems.error(&place, message);
            return None;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(value) => Some(Located { value, place }),
            Err(_) => {
                self.problems.error(&place, "the number is too large");
                None
            }
        }
    }

    /// A number, or the word that stands for 0.
    pub(super) fn integer_or_word(
        &mut self,
        section: &Section<'_>,
        key: &str,
        word: &str,
        example: &str,
    ) -> Option<Located<i64>> {
        let value = section.value(key)?;
        match value.get_ref().as_str() {
            Some(text) if text == word => Some(Located {
                value: 0,
                place: self.place_of(section, key, value.span()),
            }),
            _ => self.integer(section, key, &format!("{example}, or {key} = \"{word}\"")),
        }
    }

    pub(super) fn boolean(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        self.located_boolean(section, key).map(|flag| flag.value)
    }

    pub(super) fn located_boolean(
        &mut self,
        section: &Section<'_>,
        key: &str,
    ) -> Option<Located<bool>> {
        let value = section.value(key)?;
        let place = self.place_of(section, key, value.span());
        if let DeValue::Boolean(flag) = *value.get_ref() {
            return Some(Located { value: flag, place });
        }
        let kind = kind(value.get_ref());
        self.problems
            .error(&place, format!("{kind} where true or false belongs"));
        None
    }
}
