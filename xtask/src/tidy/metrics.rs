//! Metrics: each drop reason and each counter is described in `docs/metrics.md`, and no other.

use std::collections::BTreeMap;

use super::{
    Finding, Tree,
    source::{Source, Token},
};

const DOCUMENT: &str = "docs/metrics.md";
const DROP_REASONS: &str = "crates/core/src/drop_reason.rs";
const COUNTERS: &str = "crates/core/src/counters.rs";

/// A description shorter than this says nothing.
const DESCRIPTION_LEN_MIN: usize = 20;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let document = tree.file(DOCUMENT).map_or("", |file| file.text.as_str());
    let sections = [
        (
            "## Drop reasons",
            DROP_REASONS,
            labels as fn(&Source) -> Vec<(String, usize)>,
        ),
        ("## Counters", COUNTERS, public_fields),
    ];
    for (heading, path, names_of) in sections {
        let Some(source) = tree.file(path).and_then(|file| file.source.as_ref()) else {
            continue;
        };
        let described = described_in(document, heading);
        let names = names_of(source);
        if names.is_empty() {
            let text = "neither a drop reason nor a counter was found here";
            findings.push(Finding::new("metrics", path, 0, text));
        }
        for (name, line) in &names {
            if described
                .get(name)
                .is_none_or(|(_, len)| *len < DESCRIPTION_LEN_MIN)
            {
                let text = format!("describe `{name}` in {DOCUMENT} under \"{heading}\"");
                findings.push(Finding::new("metrics", path, *line, text));
            }
        }
        for (name, (line, _)) in &described {
            if !names.iter().any(|(known, _)| known == name) {
                let text = format!("`{name}` is not in {path}");
                findings.push(Finding::new("metrics", DOCUMENT, *line, text));
            }
        }
    }
    findings
}

/// The names in the first column of the table under `heading`: line, length of what follows.
fn described_in(document: &str, heading: &str) -> BTreeMap<String, (usize, usize)> {
    document
        .lines()
        .enumerate()
        .skip_while(|(_, line)| *line != heading)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with("## "))
        .filter_map(|(index, line)| {
            let (name, rest) = line.strip_prefix("| `")?.split_once('`')?;
            Some((
                name.to_owned(),
                (index + 1, rest.trim_matches(['|', ' ']).len()),
            ))
        })
        .collect()
}

/// The labels of the drop reasons: what a variant is set to in quotes, else its name.
fn labels(source: &Source) -> Vec<(String, usize)> {
    let mut labels = Vec::new();
    for head in ["enum DropReason {", "drop_reasons ! {"] {
        for at in variants(source, head) {
            let token = &source.tokens[at];
            let quoted = match &source.tokens[at + 1..] {
                [equals, label, ..] if equals.text == "=" => label.text.strip_prefix('"'),
                _ => None,
            };
            let label = quoted.map_or_else(
                || snake_case(&token.text),
                |label| label.trim_end_matches('"').to_owned(),
            );
            labels.push((label, token.line));
        }
    }
    labels
}

/// The public fields of all structs of the file.
fn public_fields(source: &Source) -> Vec<(String, usize)> {
    let mut fields = Vec::new();
    for run in source.tokens.windows(6) {
        let [publicity, rest @ ..] = run else {
            continue;
        };
        let name = match (&*publicity.text, &*rest[0].text) {
            ("pub", "(") if rest[3].text.starts_with(char::is_lowercase) => &rest[3],
            ("pub", _) => &rest[0],
            _ => continue,
        };
        let after = if rest[0].text == "(" {
            &rest[4]
        } else {
            &rest[1]
        };
        if after.text == ":" {
            fields.push((name.text.clone(), name.line));
        }
    }
    fields
}

/// Where the variants stand in the block that `head` opens.
fn variants(source: &Source, head: &str) -> Vec<usize> {
    let words: Vec<&str> = head.split(' ').collect();
    let is_head = |run: &[Token]| {
        run.iter()
            .zip(&words)
            .all(|(token, word)| token.text == *word)
    };
    let Some(start) = source.tokens.windows(words.len()).position(is_head) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    let mut depth = 0;
    for (at, token) in source
        .tokens
        .iter()
        .enumerate()
        .skip(start + words.len() - 1)
    {
        match &*token.text {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            text if depth == 1 && text.starts_with(char::is_uppercase) => found.push(at),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

fn snake_case(name: &str) -> String {
    let mut label = String::new();
    for (index, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && index > 0 {
            label.push('_');
        }
        label.extend(letter.to_lowercase());
    }
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    const REASONS: &str = "\
/// Why.
#[derive(Clone, Copy)]
pub enum DropReason {
    /// None.
    NoRoute,
    #[doc(alias = \"X\")]
    Replay = 3,
}
impl DropReason { pub const ALL: [Self; 2] = [Self::NoRoute, Self::Replay]; }
";
    const FIELDS: &str = "pub struct Counters { pub sent_bytes: AtomicU64, hidden: u8, \
                          pub(crate) lost: [AtomicU64; 3] }";

    fn found(document: &str) -> Vec<String> {
        let tree = Tree::of_texts(vec![
            (COUNTERS.into(), FIELDS.into()),
            (DROP_REASONS.into(), REASONS.into()),
            (DOCUMENT.into(), document.into()),
        ]);
        check(&tree)
            .into_iter()
            .map(|finding| finding.text)
            .collect()
    }

    #[test]
    fn all_described_passes() {
        let text = "long enough to say what it means";
        let document = format!(
            "## Drop reasons\n\n| `no_route` | {text} |\n| `replay` | {text} |\n\n\
             ## Counters\n\n| `sent_bytes` | {text} |\n| `lost` | {text} |\n"
        );
        assert!(found(&document).is_empty(), "{:?}", found(&document));
    }

    #[test]
    fn missing_short_and_stale_descriptions_are_found() {
        let texts = found(
            "## Drop reasons\n| `replay` | short |\n\
             | `gone` | long enough to say what it means |\n",
        );
        let wanted = [
            "describe `no_route`",
            "describe `replay`",
            "`gone` is not in",
        ];
        let wanted = wanted
            .iter()
            .chain(&["describe `sent_bytes`", "describe `lost`"]);
        for (text, start) in texts.iter().zip(wanted.clone()) {
            assert!(text.starts_with(start), "{text}");
        }
        assert_eq!(texts.len(), wanted.count());
    }

    #[test]
    fn a_label_in_quotes_wins_over_the_name() {
        let text = "drop_reasons! {\n/// Why.\nNotWireGuard = \"not_wireguard\",\n/// B.\nB,\n}";
        let found = labels(&Source::parse(text).unwrap());
        assert_eq!(
            found,
            [("not_wireguard".to_owned(), 3), ("b".to_owned(), 5)]
        );
    }

    #[test]
    fn labels_are_snake_case() {
        assert_eq!(snake_case("SourceNotAllowed"), "source_not_allowed");
    }
}
