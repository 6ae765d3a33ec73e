//! What is recorded, on its way to the log: it may go through a queue or a socket, and only the
//! writer gives it a number.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::moment::Moment;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The gateway starts.
    Start,
    /// The gateway has stopped.
    Stop,
    /// What the gateway's process may do.
    Privileges,
    /// A handshake with a peer completed: there is a session.
    Handshake,
    /// A peer is somewhere else now.
    Roam,
    /// A key is another.
    KeyChange,
    /// Keys are written to a file, with which others can decrypt.
    KeysExported,
    /// An initiation was not answered.
    Rejected,
    /// The configuration changed.
    Config,
    /// A configuration was refused.
    ConfigRefused,
    /// A flow began.
    FlowStart,
    /// A flow ended.
    FlowEnd,
    /// A flow was denied.
    FlowDeny,
    /// So many records of one sort were left out, because there were too many.
    Suppressed,
    /// So many records were lost on their way to the log.
    Lost,
    /// A file of the log begins.
    File,
    /// What was recorded so far is sealed.
    Seal,
    /// The log ended in the middle of a record, and goes on.
    Recovered,
    /// The log is not as it was left.
    Damaged,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Start,
        Self::Stop,
        Self::Privileges,
        Self::Handshake,
        Self::Roam,
        Self::KeyChange,
        Self::KeysExported,
        Self::Rejected,
        Self::Config,
        Self::ConfigRefused,
        Self::FlowStart,
        Self::FlowEnd,
        Self::FlowDeny,
        Self::Suppressed,
        Self::Lost,
        Self::File,
        Self::Seal,
        Self::Recovered,
        Self::Damaged,
    ];

    /// The name in the log.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Privileges => "privileges",
            Self::Handshake => "handshake",
            Self::Roam => "roam",
            Self::KeyChange => "key_change",
            Self::KeysExported => "keys_exported",
            Self::Rejected => "rejected",
            Self::Config => "config",
            Self::ConfigRefused => "config_refused",
            Self::FlowStart => "flow_start",
            Self::FlowEnd => "flow_end",
            Self::FlowDeny => "flow_deny",
            Self::Suppressed => "suppressed",
            Self::Lost => "lost",
            Self::File => "file",
            Self::Seal => "seal",
            Self::Recovered => "recovered",
            Self::Damaged => "damaged",
        }
    }

    /// Whether somebody may be woken for it.
    pub const fn is_alarm(self) -> bool {
        matches!(
            self,
            Self::KeysExported | Self::Lost | Self::Recovered | Self::Damaged
        )
    }
}

/// Names that every record has: no field may be called so.
pub const RESERVED: [&str; 6] = ["seq", "time", "boot_us", "kind", "hash", "mac"];

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// When.
    pub at: Moment,
    /// What.
    pub kind: Kind,
    /// More of it, by name. Secrets have no place here.
    pub fields: Map<String, Value>,
}

impl Entry {
    /// Something that happens at this moment.
    pub fn new(kind: Kind) -> Self {
        Self::at(Moment::now(), kind)
    }

    /// Something that happened at `at`.
    pub fn at(at: Moment, kind: Kind) -> Self {
        Self {
            at,
            kind,
            fields: Map::new(),
        }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        debug_assert!(!RESERVED.contains(&name), "{name} is taken");
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// With one more field, a text.
    #[must_use]
    pub fn with_text(self, name: &str, value: impl Display) -> Self {
        self.with(name, value.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_spelled_alike_everywhere() {
        for kind in Kind::ALL {
            let value = serde_json::to_value(kind).unwrap();
            assert_eq!(value, kind.label());
        }
        let docs = include_str!("../../../../docs/audit.md");
        for kind in Kind::ALL {
            let row = format!("| `{}` |", kind.label());
            assert!(
                docs.contains(&row),
                "docs/audit.md has no row for {}",
                kind.label()
            );
        }
    }
}
