//! The wg-quick file (`wg-quick(8)`, `wg(8)` "CONFIGURATION FILE FORMAT"): text to draft.
//!
//! Keys and sections in any case, `#` begins a comment anywhere, lists are split at commas, and
//! repeated keys add up. What we do not act on is a warning, never dropped in silence.

use std::collections::BTreeMap;

use super::draft::{Draft, GatewayDraft, PeerDraft, SecretText, Spelling};
use super::policy::PolicyDraft;
use super::problem::{Located, Place, Problems};
use super::{suggest, value};

/// How this format spells keys.
pub static SPELLING: Spelling = Spelling {
    private_key: "Interface.PrivateKey",
    name: "",
    interface: "",
    peer_name: "",
    public_key: "Peer.PublicKey",
    named_peers: false,
};

const INTERFACE_KEYS: &[&str] = &[
    "PrivateKey",
    "ListenPort",
    "FwMark",
    "Address",
    "DNS",
    "MTU",
    "Table",
    "PreUp",
    "PostUp",
    "PreDown",
    "PostDown",
    "SaveConfig",
];
const PEER_KEYS: &[&str] = &[
    "PublicKey",
    "PresharedKey",
    "AllowedIPs",
    "Endpoint",
    "PersistentKeepalive",
];

/// Reads `text`. What cannot be read is a problem and missing from the draft.
pub fn parse(text: &str, problems: &mut Problems) -> Draft {
    let mut reader = Reader {
        problems,
        section: Section::None,
        seen: BTreeMap::new(),
        draft: Draft {
            policy: PolicyDraft::default(),
            groups: Vec::new(),
            gateway: GatewayDraft::default(),
            peers: Vec::new(),
            spelling: &SPELLING,
        },
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (index, line) in text.lines().enumerate() {
        reader.line(index + 1, line);
    }
    if reader.draft.gateway.place.line == 0 {
        let place = Place {
            line: 1,
            column: 1,
            key: "Interface".to_owned(),
        };
        reader.problems.error(
            &place,
            "the section is missing; a file begins with [Interface]",
        );
    }
    reader.draft
}

/// The section that a line belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Section {
    None,
    Interface,
    Peer,
    Unknown,
}

struct Reader<'p> {
    problems: &'p mut Problems,
    section: Section,
    /// Keys of the section that hold one value, and the line they were given in.
    seen: BTreeMap<&'static str, usize>,
    draft: Draft,
}

impl Reader<'_> {
    fn line(&mut self, number: usize, line: &str) {
        let content = line.split('#').next().unwrap_or_default();
        let text = content.trim();
        if text.is_empty() {
            return;
        }
        let indent = content.chars().take_while(|c| c.is_whitespace()).count();
        let place = Place {
            line: number,
            column: indent + 1,
            key: String::new(),
        };
        if text.starts_with('[') {
            return self.header(text, place);
        }
        let Some((key, value)) = text.split_once('=') else {
            return self
                .problems
                .error(&place, "not understood; a line is `Key = value`");
        };
        let value_column = indent
            + key.chars().count()
            + 2
            + value.chars().take_while(|c| c.is_whitespace()).count();
        let key = key.trim();
        let value = value.trim();
        let at = Place {
            column: value_column,
            ..place.clone()
        };
        match self.section {
            Section::Unknown => {}
            Section::None => self.problems.error(
                &place,
                "stands before any section; a file begins with [Interface]",
            ),
            Section::Interface => match known(key, INTERFACE_KEYS) {
                Some(key) => self.interface(key, value, named(at, "Interface", key)),
                None => self.unknown(key, named(place, "Interface", &key_shown(key))),
            },
            Section::Peer => match known(key, PEER_KEYS) {
                Some(key) => self.peer(key, value, named(at, "Peer", key)),
                None => self.unknown(key, named(place, "Peer", &key_shown(key))),
            },
        }
    }

    fn header(&mut self, text: &str, place: Place) {
        if text.eq_ignore_ascii_case("[interface]") {
            if self.section != Section::Interface {
                self.seen.clear();
            }
            self.section = Section::Interface;
            if self.draft.gateway.place.line == 0 {
                self.draft.gateway.place = Place {
                    key: "Interface".to_owned(),
                    ..place
                };
            }
        } else if text.eq_ignore_ascii_case("[peer]") {
            self.section = Section::Peer;
            self.seen.clear();
            let place = Place {
                key: "Peer".to_owned(),
                ..place
            };
            self.draft.peers.push(PeerDraft {
                place,
                ..PeerDraft::default()
            });
        } else {
            self.section = Section::Unknown;
            self.problems
                .error(&place, "unknown section; there are [Interface] and [Peer]");
        }
    }

    fn unknown(&mut self, key: &str, place: Place) {
        let (keys, others, header) = match self.section {
            Section::Peer => (PEER_KEYS, INTERFACE_KEYS, "[Interface]"),
            _ => (INTERFACE_KEYS, PEER_KEYS, "[Peer]"),
        };
        let message = if known(key, others).is_some() {
            format!("unknown key; it belongs to {header}")
        } else if let Some(meant) = suggest::nearest(key, keys) {
            format!("unknown key; did you mean `{meant}`?")
        } else {
            format!("unknown key; the keys here are {}", keys.join(", "))
        };
        self.problems.error(&place, message);
    }

    fn interface(&mut self, key: &'static str, value: &str, place: Place) {
        if !matches!(
            key,
            "Address" | "DNS" | "PreUp" | "PostUp" | "PreDown" | "PostDown"
        ) {
            self.once(key, &place);
        }
        match key {
            "PrivateKey" => self.draft.gateway.private_key = secret(value, place),
            "ListenPort" => self.draft.gateway.listen = self.number(value, place),
            "FwMark" => self.draft.gateway.fwmark = self.number_or_off(value, place),
            "MTU" => self.draft.gateway.mtu = self.number(value, place),
            "Address" => self.draft.gateway.address.extend(list(value, &place)),
            "Table" => self.draft.gateway.routes = Some(self.table(value, &place)),
            "DNS" => self.draft.gateway.dns.extend(list(value, &place)),
            "SaveConfig" if value.eq_ignore_ascii_case("false") => {}
            "SaveConfig" => self
                .problems
                .warning(&place, "is not acted on yet; this file is never written"),
            _ => self
                .problems
                .warning(&place, "is not acted on yet; the command does not run"),
        }
    }

    fn peer(&mut self, key: &'static str, value: &str, place: Place) {
        if key != "AllowedIPs" {
            self.once(key, &place);
        }
        let keepalive = match key {
            "PersistentKeepalive" => self.number_or_off(value, place.clone()),
            _ => None,
        };
        let Some(peer) = self.draft.peers.last_mut() else {
            return;
        };
        match key {
            "PublicKey" => peer.public_key = secret(value, place),
            "PresharedKey" => peer.preshared_key = secret(value, place),
            "AllowedIPs" => peer.networks.extend(list(value, &place)),
            "Endpoint" => {
                peer.endpoint = Some(Located {
                    value: value.to_owned(),
                    place,
                })
            }
            _ => peer.persistent_keepalive = keepalive,
        }
    }

    /// Warns when a key that holds one value is given again: as with `wg`, the last one holds.
    fn once(&mut self, key: &'static str, place: &Place) {
        if let Some(line) = self.seen.insert(key, place.line) {
            let message = format!("is given in line {line} already; the last one holds");
            self.problems.warning(place, message);
        }
    }

    /// Whether routes are written. Another table than the main one is not built, and routes that
    /// somebody wanted there must not land in the main table.
    fn table(&mut self, text: &str, place: &Place) -> bool {
        if text.eq_ignore_ascii_case("auto") {
            return true;
        }
        if !text.eq_ignore_ascii_case("off") {
            let table = value::quoted(text);
            let message = format!("{table} is not acted on yet; no routes are written, as for off");
            self.problems.warning(place, message);
        }
        false
    }

    fn number_or_off(&mut self, text: &str, place: Place) -> Option<Located<i64>> {
        if text.eq_ignore_ascii_case("off") {
            return Some(Located { value: 0, place });
        }
        self.number(text, place)
    }

    fn number(&mut self, text: &str, place: Place) -> Option<Located<i64>> {
        let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
        let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
        let is_number = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
        match i64::from_str_radix(digits, radix) {
            Ok(value) if is_number => Some(Located { value, place }),
            _ => {
                let what = if is_number {
                    "too large a number"
                } else {
                    "not a number"
                };
                self.problems
                    .error(&place, format!("{} is {what}", value::quoted(text)));
                None
            }
        }
    }
}

/// The key as the manual spells it.
fn known(key: &str, keys: &[&'static str]) -> Option<&'static str> {
    keys.iter()
        .copied()
        .find(|known| known.eq_ignore_ascii_case(key))
}

fn named(place: Place, section: &str, key: &str) -> Place {
    Place {
        key: format!("{section}.{key}"),
        ..place
    }
}

/// A key's name as a message may show it: a pasted secret can stand where a key belongs.
fn key_shown(name: &str) -> String {
    if (1..=30).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return name.to_owned();
    }
    format!("(a name of {} characters)", name.chars().count())
}

fn secret(value: &str, place: Place) -> Option<Located<SecretText>> {
    Some(Located {
        value: SecretText::new(value),
        place,
    })
}

/// The items between commas, each with its own column; empty ones are left out, as `wg` does.
fn list(value: &str, place: &Place) -> Vec<Located<String>> {
    let mut column = place.column;
    let mut items = Vec::new();
    for part in value.split(',') {
        let indent = part.chars().take_while(|c| c.is_whitespace()).count();
        let item = part.trim();
        if !item.is_empty() {
            let place = Place {
                column: column + indent,
                ..place.clone()
            };
            items.push(Located {
                value: item.to_owned(),
                place,
            });
        }
        column += part.chars().count() + 1;
    }
    items
}
