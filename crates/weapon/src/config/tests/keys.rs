//! Keys, secrets, and the files that hold them.

use weapon_noise::{derive_psk, derive_site_keys};

use super::*;

#[test]
fn shared_secret_gives_both_ends_matching_keys() {
    let folder = Folder::new();
    let side = |ours: &str, theirs: &str| {
        let text = format!(
            "[gateway]\nname = \"{ours}\"\nsecret_file = \"shared.secret\"\n\
             [[peer]]\nname = \"{theirs}\"\n"
        );
        folder.load("x.toml", &text).unwrap().config
    };
    let (a, b) = (side("site-a", "site-b"), side("site-b", "site-a"));
    assert_eq!(a.private_key.public(), b.peers[0].public_key);
    assert_eq!(b.private_key.public(), a.peers[0].public_key);
    assert_eq!(a.peers[0].preshared_key, b.peers[0].preshared_key);
    let secret: weapon_noise::PresharedKey = SECRET.parse().unwrap();
    assert_eq!(a.private_key, derive_site_keys(secret.expose(), "site-a"));
    let psk = derive_psk(secret.expose(), "site-b", "site-a");
    assert_eq!(a.peers[0].preshared_key, Some(psk));
}

#[test]
fn shared_secret_misused() {
    toml_says(
        "[gateway]\nsecret_file = \"shared.secret\"\n",
        &[
            "site-a.toml:1:1: gateway.name: with secret_file our key comes from the secret and our \
           name; write the name that the peers know us by",
        ],
    );
    toml_says(
        "[gateway]\nname = \"site-a\"\nsecret_file = \"zero.secret\"\n",
        &[
            "site-a.toml:3:15: gateway.secret_file: the secret is all zero; make one with \
           `weapon genpsk`",
        ],
    );
    toml_says(
        "[gateway]\nname = \"site-a\"\nsecret_file = \"shared.secret\"\n\
         private_key_file = \"site-a.key\"\n",
        &[
            "site-a.toml:3:15: gateway.secret_file: gateway.private_key_file is given too; keep \
             one \
           of them",
        ],
    );
    toml_says(
        "[gateway]\nname = \"site-a\"\nsecret_file = \"shared.secret\"\n\
         [[peer]]\nname = \"site-a\"\n",
        &["site-a.toml:5:8: peer.name: `site-a` is this gateway's own name; a peer has another"],
    );
}

#[test]
fn malformed_keys_are_described_and_never_shown() {
    let cut = &PRIVATE[..43];
    toml_says(
        &format!("[gateway]\nprivate_key = \"{cut}\"\n"),
        &[
            "site-a.toml:2:15: gateway.private_key: a key has 44 characters of base64, this has \
             43; \
           `weapon genkey` prints a right one",
        ],
    );
    let bad = PRIVATE.replace('7', "!");
    toml_says(
        &format!("[gateway]\nprivate_key = \"{bad}\"\n"),
        &[
            "site-a.toml:2:15: gateway.private_key: character 4 of the key is not base64; `weapon \
           genkey` prints a right one",
        ],
    );
    toml_says(
        "[gateway]\nprivate_key = \"\"\n",
        &["site-a.toml:2:15: gateway.private_key: no key is given; `weapon genkey` prints one"],
    );
    keyless_peer_says(
        "public_key = \"abc\"",
        &[
            "site-a.toml:5:14: peer.public_key: a key has 44 characters of base64, this has 3; \
           `weapon pubkey` prints a right one",
        ],
    );
    peer_says(
        "preshared_key = \"abc\"",
        &[
            "site-a.toml:7:17: peer.preshared_key: a key has 44 characters of base64, this has 3; \
           `weapon genpsk` prints a right one",
        ],
    );
    for line in [
        format!("private_key = {PRIVATE}"),
        format!("private_key = [\"{PRIVATE}\"]"),
        format!("private_key = \"{PRIVATE}"),
        format!("name = \"{PRIVATE}\""),
        format!("interface = \"{PRIVATE}\""),
        format!("address = [\"{PRIVATE}\"]"),
        format!("table = \"{PRIVATE}\""),
        PRIVATE.to_owned(),
    ] {
        let said = Folder::new().said("site-a.toml", &format!("[gateway]\n{line}\n"));
        assert!(!said.is_empty(), "{line}");
        assert!(!said.concat().contains(&PRIVATE[..20]), "{said:?}");
    }
}

#[test]
fn key_files_are_found_closed_to_others_and_whole() {
    let says = |file: &str, expected: &str| {
        let text = format!("[gateway]\nprivate_key_file = \"{file}\"\n");
        toml_says(
            &text,
            &[&format!(
                "site-a.toml:2:20: gateway.private_key_file: {expected}"
            )],
        );
    };
    says(
        "open.key",
        "open.key is open to others than its owner (mode 0644); run `chmod 600 open.key`",
    );
    says(
        "group.key",
        "group.key is open to others than its owner (mode 0640); run `chmod 600 group.key`",
    );
    says(
        "none.key",
        "none.key does not exist; make it with `(umask 077; weapon genkey > none.key)`",
    );
    says(
        "short.key",
        "short.key: a key has 44 characters of base64, this has 8; `weapon genkey` prints a right \
         one",
    );
    says(
        "empty.key",
        "empty.key: no key is given; `weapon genkey` prints one",
    );
    says(
        "/dev/null",
        "/dev/null is not a regular file; a file that holds one key is expected",
    );
    toml_says(
        &format!("[gateway]\nprivate_key_file = \"site-a.key\"\nprivate_key = \"{PRIVATE}\"\n"),
        &[
            "site-a.toml:3:15: gateway.private_key: gateway.private_key_file is given too; keep \
             one \
           of them",
        ],
    );
}

#[test]
fn a_file_that_holds_a_key_and_is_open_to_others_is_a_warning() {
    let folder = Folder::new();
    let text = format!("[gateway]\nprivate_key = \"{PRIVATE}\"\n");
    folder.write("site-a.toml", &text, 0o644);
    let loaded = load(&folder.0.path().join("site-a.toml")).unwrap();
    assert_eq!(
        folder.lines(&loaded.warnings),
        [
            "site-a.toml:2:15: warning: gateway.private_key: the key stands in a file that is open \
          to others than its owner (mode 0644); run `chmod 600 site-a.toml`"
        ]
    );
    folder.write(
        "b.toml",
        "[gateway]\nprivate_key_file = \"site-a.key\"\n",
        0o644,
    );
    assert!(
        load(&folder.0.path().join("b.toml"))
            .unwrap()
            .warnings
            .is_empty()
    );
}

#[test]
fn our_own_key_is_no_peers_key() {
    keyless_peer_says(
        &format!("public_key = \"{PUBLIC}\""),
        &[
            "site-a.toml:5:14: peer.public_key: is this gateway's own public key; the peer's is \
           what `weapon pubkey` prints for the peer's key",
        ],
    );
    keyless_peer_says(
        &format!("public_key = \"{PRIVATE}\""),
        &[
            "site-a.toml:5:14: peer.public_key: is this gateway's own private key; the peer's is \
           what `weapon pubkey` prints for the peer's key",
        ],
    );
}

#[test]
fn peers_have_names_and_keys_of_their_own() {
    keyless_peer_says(
        &format!(
            "public_key = \"{PEER}\"\n[[peer]]\nname = \"site-b\"\npublic_key = \"{OTHER}\"\n\
             [[peer]]\nname = \"site-c\"\npublic_key = \"{PEER}\""
        ),
        &[
            "site-a.toml:7:8: peer.name: `site-b` is the name of the peer in line 4 already; a \
             name belongs to one peer",
            "site-a.toml:11:14: peer.public_key: is the key of the peer in line 5 already; one \
             key, one peer",
        ],
    );
    keyless_peer_says(
        &format!("public_key = \"{PEER}\"\n[[peer]]\nname = \"a b\"\npublic_key = \"{OTHER}\""),
        &[
            "site-a.toml:7:8: peer.name: `a b` cannot be a name; a name has 1 to 64 letters, \
             digits \
           and _ = + . -, and does not begin with . or -",
        ],
    );
}
