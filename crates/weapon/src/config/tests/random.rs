//! Random files: no panic, no secret in a message, no endless time.

use proptest::prelude::*;

use super::*;

/// Words that get a random file past the first line.
const WORDS: &[&str] = &[
    "[gateway]",
    "[[peer]]",
    "[[group]]",
    "[offload]",
    "rate_limit",
    "rate_burst_kb",
    "dscp",
    "1 Mbit/s",
    "[Interface]",
    "[Peer]",
    "name",
    "listen",
    "address",
    "networks",
    "endpoint",
    "mtu",
    "PrivateKey",
    "AllowedIPs",
    "Endpoint",
    "FwMark",
    "Table",
    "=",
    "= [",
    "]",
    "\"",
    "'",
    "\n",
    "\r\n",
    "#",
    ",",
    "0",
    "0x",
    "-1",
    "10.0.0.0/8",
    "::/0",
    "a:1",
    "[::1]:1",
    "\u{feff}",
    "\u{e9}",
    "\0",
    "{",
    "}",
    ".",
    "true",
    "off",
    "private_key",
    PRIVATE,
];

proptest! {
    #[test]
    fn random_text_never_panics(
        text in "\\PC*",
        words in prop::collection::vec(0..WORDS.len(), 0..60),
    ) {
        let words: String = words.into_iter().map(|word| WORDS[word]).collect();
        for text in [text, words] {
            for name in ["x.toml", "x.conf"] {
                let mut problems = Problems::new(Path::new(name));
                let format = source::format(Path::new(name)).unwrap();
                let draft = match format {
                    Format::Toml => toml::parse(&text, &mut problems),
                    Format::WgQuick => wgquick::parse(&text, &mut problems),
                };
                let source = ConfigSource { path: name.into(), format };
                let good = validate::validate(draft, source, &mut problems).is_some();
                prop_assert_eq!(good, !problems.has_errors());
                for problem in problems.into_list() {
                    prop_assert!(!problem.to_string().contains(PRIVATE), "{}", problem);
                }
            }
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let folder = tempfile::tempdir().unwrap();
        for name in ["x.toml", "x.conf"] {
            let path = folder.path().join(name);
            fs::write(&path, &bytes).unwrap();
            let _ = load(&path);
        }
    }
}

#[test]
fn deep_nesting_and_many_peers_end_in_time() {
    for deep in [
        "[".repeat(100_000),
        "a = ".to_owned() + &"[".repeat(100_000),
    ] {
        let mut problems = Problems::new(Path::new("x.toml"));
        toml::parse(&deep, &mut problems);
        assert!(problems.has_errors());
    }
    let peers = (0..20_000).map(|n| format!("[[peer]]\nname = \"p{n}\"\nlisten = 1\n"));
    let text = format!("[gateway]\n{}", peers.collect::<String>());
    let mut problems = Problems::new(Path::new("x.toml"));
    let draft = toml::parse(&text, &mut problems);
    assert_eq!(draft.peers.len(), 20_000);
}
