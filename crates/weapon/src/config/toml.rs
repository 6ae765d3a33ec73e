//! The TOML file: text to draft.
//!
//! The tree of the `toml` crate is walked by hand and not by derived deserializers, because those
//! stop at the first error; here every key of the wrong type and every unknown key is reported.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::draft::{Draft, GatewayDraft, OffloadDraft, PeerDraft, Spelling};
use super::model::{CipherBackend, Sandbox};
use super::policy::PolicyDraft;
use super::problem::{Place, Problems};
use super::suggest;

mod audit;
mod lines;
mod policy;
mod service;
mod values;
mod words;
use lines::Lines;
use policy::{FILTER_KEYS, RULE_KEYS, TEST_KEYS};
use service::GROUP_KEYS;

/// How this format spells keys.
pub static SPELLING: Spelling = Spelling {
    private_key: "gateway.private_key_file",
    name: "gateway.name",
    interface: "gateway.interface",
    peer_name: "peer.name",
    public_key: "peer.public_key",
    named_peers: true,
};

const SECTIONS: &[&str] = &[
    "gateway", "peer", "group", "offload", "audit", "filter", "rule", "test",
];
const GATEWAY_KEYS: &[&str] = &[
    "name",
    "private_key_file",
    "private_key",
    "secret_file",
    "address",
    "listen",
    "networks",
    "interface",
    "mtu",
    "fwmark",
    "table",
    "firewall",
    "masquerade",
    "dns",
    "lan_access",
    "kill_switch",
    "metrics",
    "lanes",
    "cipher_backend",
    "user",
    "sandbox",
    "danger_export_keys",
];
const CIPHER_BACKENDS: &[(&str, CipherBackend)] = &[
    ("auto", CipherBackend::Auto),
    ("library", CipherBackend::Library),
];
const SANDBOXES: &[(&str, Sandbox)] = &[
    ("required", Sandbox::Required),
    ("if-possible", Sandbox::IfPossible),
    ("off", Sandbox::Off),
];
/// Where a key belongs that stands in the wrong section; the first one has it.
const ELSEWHERE: [(&str, &[&str]); 8] = [
    ("[gateway]", GATEWAY_KEYS),
    ("[[peer]]", PEER_KEYS),
    ("[offload]", OFFLOAD_KEYS),
    ("[audit]", audit::KEYS),
    ("[filter]", FILTER_KEYS),
    ("[[rule]]", RULE_KEYS),
    ("[[test]]", TEST_KEYS),
    ("[[group]]", GROUP_KEYS),
];
const OFFLOAD_KEYS: &[&str] = &["tcp", "udp", "gso", "gro"];
const PEER_KEYS: &[&str] = &[
    "name",
    "public_key",
    "preshared_key_file",
    "preshared_key",
    "endpoint",
    "networks",
    "persistent_keepalive",
    "endpoint_pin",
    "group",
    "rate_limit",
    "rate_limit_outbound",
    "rate_limit_inbound",
    "rate_burst_kb",
    "dscp",
];

/// Reads `text`. What cannot be read is a problem and missing from the draft.
pub fn parse(text: &str, problems: &mut Problems) -> Draft {
    let mut reader = Reader {
        lines: Lines::new(text),
        problems,
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        // The message alone: the error's full text would quote the line, and a key with it.
        let place = reader.place(error.span().unwrap_or_default(), "");
        reader
            .problems
            .error(&place, format!("not TOML: {}", error.message()));
    }
    if reader.problems.has_errors() {
        return empty();
    }
    reader.document(document.get_ref())
}

fn empty() -> Draft {
    Draft {
        gateway: GatewayDraft::default(),
        peers: Vec::new(),
        groups: Vec::new(),
        policy: PolicyDraft::default(),
        spelling: &SPELLING,
    }
}

/// A table with a name, its header and the keys it may have.
struct Section<'a> {
    label: &'static str,
    table: &'a DeTable<'a>,
    keys: &'static [&'static str],
}

impl Section<'_> {
    fn value(&self, key: &str) -> Option<&Spanned<DeValue<'_>>> {
        self.table
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }
}

struct Reader<'t, 'p> {
    lines: Lines<'t>,
    problems: &'p mut Problems,
}

impl Reader<'_, '_> {
    fn document(&mut self, root: &DeTable<'_>) -> Draft {
        let mut draft = empty();
        for (key, value) in root {
            match (&**key.get_ref(), value.get_ref()) {
                ("gateway", DeValue::Table(table)) => {
                    let before = std::mem::take(&mut draft.gateway);
                    draft.gateway = self.gateway(table, self.place(value.span(), "gateway"));
                    draft.gateway.offload = before.offload;
                    draft.gateway.audit = before.audit;
                }
                ("offload", DeValue::Table(table)) => draft.gateway.offload = self.offload(table),
                ("audit", DeValue::Table(table)) => {
                    let place = self.place(value.span(), "audit");
                    draft.gateway.audit = Some(self.audit(table, place));
                }
                ("peer", DeValue::Array(list)) => {
                    draft.peers = list
                        .iter()
                        .filter_map(|peer| self.peer_item(peer))
                        .collect();
                }
                ("group", DeValue::Array(list)) => {
                    let groups = list.iter().filter_map(|group| self.group_item(group));
                    draft.groups = groups.collect();
                }
                ("filter", DeValue::Table(table)) => {
                    draft.policy.filter = Some(self.filter(table, value.span()));
                }
                ("rule", DeValue::Array(list)) => {
                    let rules = list.iter().filter_map(|rule| self.rule_item(rule));
                    draft.policy.rules = rules.collect();
                }
                ("test", DeValue::Array(list)) => {
                    let tests = list.iter().filter_map(|test| self.test_item(test));
                    draft.policy.tests = tests.collect();
                }
                (list @ ("peer" | "group" | "rule" | "test"), _) => self.error_at(
                    key.span(),
                    list,
                    format!("{list}s are a list; write [[{list}]], with two brackets"),
                ),
                (section @ ("gateway" | "offload" | "audit" | "filter"), other) => self.error_at(
                    value.span(),
                    section,
                    format!("{} where a section [{section}] belongs", kind(other)),
                ),
                (unknown, _) => self.unknown_section(unknown, key.span()),
            }
        }
        if root.keys().all(|key| key.get_ref() != "gateway") {
            let place = Place {
                line: 1,
                column: 1,
                key: "gateway".to_owned(),
            };
            self.problems.error(
                &place,
                "the section is missing; a file begins with [gateway]",
            );
        }
        draft
    }

    fn gateway(&mut self, table: &DeTable<'_>, place: Place) -> GatewayDraft {
        let section = self.section("gateway", table, GATEWAY_KEYS);
        GatewayDraft {
            place,
            name: self.string(&section, "name"),
            private_key: self.secret(&section, "private_key"),
            private_key_file: self.string(&section, "private_key_file"),
            secret_file: self.string(&section, "secret_file"),
            address: self.strings(&section, "address", "\"10.99.0.1/24\""),
            listen: self.integer(&section, "listen", "listen = 51820"),
            networks: self.strings(&section, "networks", "\"172.17.0.0/16\""),
            interface: self.string(&section, "interface"),
            mtu: self.integer(&section, "mtu", "mtu = 1420"),
            fwmark: self.integer_or_word(&section, "fwmark", "off", "fwmark = 0x1234"),
            lanes: self.integer_or_word(&section, "lanes", "auto", "lanes = 2"),
            cipher_backend: self.word(&section, "cipher_backend", CIPHER_BACKENDS),
            user: self.string(&section, "user"),
            sandbox: self.word(&section, "sandbox", SANDBOXES),
            routes: self.switch(&section, "table"),
            masquerade: self.boolean(&section, "masquerade"),
            dns: self.strings(&section, "dns", "\"10.99.0.2\""),
            lan_access: self.boolean(&section, "lan_access"),
            kill_switch: self.boolean(&section, "kill_switch"),
            metrics: self.string(&section, "metrics"),
            danger_export_keys: self.string(&section, "danger_export_keys"),
            firewall: self.switch(&section, "firewall"),
            offload: OffloadDraft::default(),
            audit: None,
        }
    }

    fn offload(&mut self, table: &DeTable<'_>) -> OffloadDraft {
        let section = self.section("offload", table, OFFLOAD_KEYS);
        OffloadDraft {
            tcp: self.boolean(&section, "tcp"),
            udp: self.boolean(&section, "udp"),
            gso: self.boolean(&section, "gso"),
            gro: self.boolean(&section, "gro"),
        }
    }

    fn peer_item(&mut self, item: &Spanned<DeValue<'_>>) -> Option<PeerDraft> {
        let section = self.item("peer", PEER_KEYS, item)?;
        Some(PeerDraft {
            place: self.place(item.span(), "peer"),
            name: self.string(&section, "name"),
            public_key: self.secret(&section, "public_key"),
            preshared_key: self.secret(&section, "preshared_key"),
            preshared_key_file: self.string(&section, "preshared_key_file"),
            endpoint: self.string(&section, "endpoint"),
            networks: self.strings(&section, "networks", "\"172.18.0.0/16\""),
            persistent_keepalive: self.integer_or_word(
                &section,
                "persistent_keepalive",
                "off",
                "persistent_keepalive = 25",
            ),
            endpoint_pin: self.boolean(&section, "endpoint_pin"),
            groups: self
                .texts(&section, "group", "\"phones\"")
                .unwrap_or_default(),
            service: self.service(&section),
        })
    }

    /// One of a list of sections.
    fn item<'a>(
        &mut self,
        label: &'static str,
        keys: &'static [&'static str],
        item: &'a Spanned<DeValue<'a>>,
    ) -> Option<Section<'a>> {
        let DeValue::Table(table) = item.get_ref() else {
            let message = format!(
                "{} where a section [[{label}]] belongs",
                kind(item.get_ref())
            );
            self.error_at(item.span(), label, message);
            return None;
        };
        Some(self.section(label, table, keys))
    }

    /// A section, of whose keys the unknown ones are said.
    fn section<'a>(
        &mut self,
        label: &'static str,
        table: &'a DeTable<'a>,
        keys: &'static [&'static str],
    ) -> Section<'a> {
        let section = Section { label, table, keys };
        self.unknown_keys(&section);
        section
    }

    fn unknown_section(&mut self, name: &str, span: Range<usize>) {
        let message = if GATEWAY_KEYS.contains(&name) {
            format!("stands before any section; `{name}` belongs below [gateway]")
        } else {
            match suggest::nearest(name, SECTIONS) {
                Some(list @ ("peer" | "group" | "rule" | "test")) => {
                    format!("unknown section; did you mean [[{list}]]?")
                }
                Some(meant) => format!("unknown section; did you mean [{meant}]?"),
                None => "unknown section; there are [gateway], [[peer]], [[group]], [filter], \
                         [[rule]], [[test]], [offload] and [audit]"
                    .to_owned(),
            }
        };
        self.error_at(span, &key_shown(name), message);
    }

    fn unknown_keys(&mut self, section: &Section<'_>) {
        for key in section.table.keys() {
            let name: &str = key.get_ref();
            if section.keys.contains(&name) {
                continue;
            }
            let elsewhere = ELSEWHERE.iter().find(|(_, keys)| keys.contains(&name));
            let message = if let Some(meant) = suggest::nearest(name, section.keys) {
                format!("unknown key; did you mean `{meant}`?")
            } else if let Some((header, _)) = elsewhere {
                format!("unknown key; it belongs to {header}")
            } else {
                format!("unknown key; the keys here are {}", section.keys.join(", "))
            };
            self.error_at(
                key.span(),
                &format!("{}.{}", section.label, key_shown(name)),
                message,
            );
        }
    }

    fn error_at(&mut self, span: Range<usize>, key: &str, message: String) {
        let place = self.place(span, key);
        self.problems.error(&place, message);
    }

    fn place_of(&self, section: &Section<'_>, key: &str, span: Range<usize>) -> Place {
        self.place(span, &format!("{}.{key}", section.label))
    }

    fn place(&self, span: Range<usize>, key: &str) -> Place {
        let (line, column) = self.lines.position(span.start);
        Place {
            line,
            column,
            key: key.to_owned(),
        }
    }
}

/// A key's name as a message may show it: a pasted secret can stand where a key belongs.
fn key_shown(name: &str) -> String {
    let is_plain = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if is_plain && (1..=30).contains(&name.len()) {
        return name.to_owned();
    }
    format!("(a name of {} characters)", name.chars().count())
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}
