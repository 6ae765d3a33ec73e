//! The section `[audit]` of the TOML file.

use toml::de::DeTable;

use super::Reader;
use crate::config::{audit::AuditDraft, problem::Place};

pub(super) const KEYS: &[&str] = &[
    "directory",
    "seal_seconds",
    "file_mb_max",
    "file_hours_max",
    "files_max",
    "flows",
    "on_failure",
    "also",
];

impl Reader<'_, '_> {
    pub(super) fn audit(&mut self, table: &DeTable<'_>, place: Place) -> AuditDraft {
        let section = self.section("audit", table, KEYS);
        AuditDraft {
            place,
            directory: self.string(&section, "directory"),
            seal_seconds: self.integer(&section, "seal_seconds", "seal_seconds = 900"),
            file_mb_max: self.integer(&section, "file_mb_max", "file_mb_max = 16"),
            file_hours_max: self.integer_or_word(
                &section,
                "file_hours_max",
                "off",
                "file_hours_max = 24",
            ),
            files_max: self.integer(&section, "files_max", "files_max = 30"),
            flows: self.located_boolean(&section, "flows"),
            on_failure: self.string(&section, "on_failure"),
            also: self.strings(&section, "also", "\"journald\""),
        }
    }
}
