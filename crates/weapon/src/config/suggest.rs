//! "Did you mean": the known word nearest to one that is not known.

/// What other programs and other habits call our keys.
const ALIASES: &[(&str, &str)] = &[
    ("addresses", "address"),
    ("allowedip", "networks"),
    ("allowedips", "networks"),
    ("fwmark", "fwmark"),
    ("ifname", "interface"),
    ("keepalive", "persistent_keepalive"),
    ("key", "private_key_file"),
    ("keyfile", "private_key_file"),
    ("listenport", "listen"),
    ("port", "listen"),
    ("psk", "preshared_key"),
    ("pskfile", "preshared_key_file"),
    ("routes", "networks"),
    ("secret", "secret_file"),
    ("sharedsecret", "secret_file"),
    ("subnets", "networks"),
];

/// The one of `known` that `word` was most likely meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = plain(word);
    if plain.is_empty() || plain.len() > 40 {
        return None;
    }
    if let Some(same) = known
        .iter()
        .find(|candidate| self::plain(candidate) == plain)
    {
        return Some(same);
    }
    let alias = ALIASES
        .iter()
        .find(|(alias, _)| *alias == plain)
        .map(|(_, meant)| *meant);
    if let Some(meant) = known.iter().find(|candidate| Some(**candidate) == alias) {
        return Some(meant);
    }
    let limit = 1 + plain.len() / 4;
    known
        .iter()
        .map(|candidate| (distance(&plain, &self::plain(candidate)), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Small letters and digits alone: `PrivateKey`, `private-key` and `private_key` are one.
fn plain(word: &str) -> String {
    word.chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect()
}

/// Edits (insert, delete, replace, swap of neighbours) from one ASCII word to the other.
fn distance(from: &str, to: &str) -> usize {
    let (from, to) = (from.as_bytes(), to.as_bytes());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=from.len() {
        for j in 1..=to.len() {
            let differ = usize::from(from[i - 1] != to[j - 1]);
            let mut best = (rows[i - 1][j] + 1)
                .min(rows[i][j - 1] + 1)
                .min(rows[i - 1][j - 1] + differ);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_found() {
        let known = [
            "name",
            "private_key_file",
            "private_key",
            "listen",
            "networks",
            "mtu",
        ];
        for (word, meant) in [
            ("privat_key_file", "private_key_file"),
            ("PrivateKey", "private_key"),
            ("lsiten", "listen"),
            ("ListenPort", "listen"),
            ("allowed_ips", "networks"),
            ("network", "networks"),
            ("mut", "mtu"),
        ] {
            assert_eq!(nearest(word, &known), Some(meant), "{word}");
        }
        for word in ["", "zebra", "x", "endpoint", &"a".repeat(1000)] {
            assert_eq!(nearest(word, &known), None, "{word}");
        }
    }
}
