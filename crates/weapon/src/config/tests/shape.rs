//! Files of the wrong shape: unknown, missing and mistyped keys, and files that are none.

use super::*;

#[test]
fn unknown_keys_are_named_with_what_was_meant() {
    gateway_says(
        "lisen = 1",
        &["site-a.toml:2:1: gateway.lisen: unknown key; did you mean `listen`?"],
    );
    gateway_says(
        "zebra = 1",
        &[
            "site-a.toml:2:1: gateway.zebra: unknown key; the keys here are name, \
           private_key_file, private_key, secret_file, address, listen, networks, interface, mtu, \
           fwmark, table, firewall, masquerade, dns, lan_access, kill_switch, metrics, lanes, \
           cipher_backend, user, sandbox, danger_export_keys",
        ],
    );
    gateway_says(
        "endpoint = \"a:1\"",
        &["site-a.toml:2:1: gateway.endpoint: unknown key; it belongs to [[peer]]"],
    );
    peer_says(
        "allowed_ips = []",
        &["site-a.toml:7:1: peer.allowed_ips: unknown key; did you mean `networks`?"],
    );
    toml_says(
        "listen = 1\n[gatway]\n[[peers]]\n",
        &[
            "site-a.toml:1:1: listen: stands before any section; `listen` belongs below [gateway]",
            "site-a.toml:1:1: gateway: the section is missing; a file begins with [gateway]",
            "site-a.toml:2:2: gatway: unknown section; did you mean [gateway]?",
            "site-a.toml:3:3: peers: unknown section; did you mean [[peer]]?",
        ],
    );
    gateway_says(
        &format!("\"{SECRET}\" = 1"),
        &[
            "site-a.toml:2:1: gateway.(a name of 44 characters): unknown key; the keys here are \
           name, private_key_file, private_key, secret_file, address, listen, networks, \
           interface, mtu, fwmark, table, firewall, masquerade, dns, lan_access, kill_switch, \
           metrics, lanes, cipher_backend, user, sandbox, danger_export_keys",
        ],
    );
}

#[test]
fn wrong_types_are_named_with_what_is_right() {
    for (line, expected) in [
        (
            "listen = \"51820\"",
            "2:10: gateway.listen: text where a number belongs: listen = 51820",
        ),
        (
            "listen = 1.5",
            "2:10: gateway.listen: a number with a point where a number belongs: \
                          listen = 51820",
        ),
        (
            "listen = 99999999999999999999",
            "2:10: gateway.listen: the number is too large",
        ),
        (
            "name = 7",
            "2:8: gateway.name: a number where text in quotes belongs",
        ),
        (
            "address = \"10.99.0.1/24\"",
            "2:11: gateway.address: text where a list belongs: \
                                        address = [\"10.99.0.1/24\"]",
        ),
        (
            "address = [1]",
            "2:12: gateway.address: a number where text like \"10.99.0.1/24\" \
                           belongs",
        ),
        (
            "fwmark = \"on\"",
            "2:10: gateway.fwmark: text where a number belongs: fwmark = 0x1234, \
                             or fwmark = \"off\"",
        ),
        (
            "table = \"main\"",
            "2:9: gateway.table: `main` is not known; it is auto or off",
        ),
    ] {
        gateway_says(line, &[&format!("site-a.toml:{expected}")]);
    }
    peer_says(
        "endpoint_pin = 1",
        &["site-a.toml:7:16: peer.endpoint_pin: a number where true or false belongs"],
    );
    toml_says(
        "offload = 3\npeer = 1\ngateway = []\n",
        &[
            "site-a.toml:1:11: offload: a number where a section [offload] belongs",
            "site-a.toml:2:1: peer: peers are a list; write [[peer]], with two brackets",
            "site-a.toml:3:11: gateway: a list where a section [gateway] belongs",
        ],
    );
}

#[test]
fn missing_keys_are_named_with_the_line_of_their_section() {
    toml_says(
        "[gateway]\nlisten = 1\n[[peer]]\n",
        &[
            "site-a.toml:1:1: gateway.private_key_file: the gateway has no key; give \
             private_key_file = \"NAME.key\" (a file from `weapon genkey`), or secret_file",
            "site-a.toml:3:1: peer.name: the peer has no name; give it one: name = \"site-b\"",
        ],
    );
    keyless_peer_says(
        "",
        &[
            "site-a.toml:3:1: peer.public_key: the peer has no public key; it is what `weapon \
           pubkey` prints for the peer's key",
        ],
    );
}

#[test]
fn files_that_are_no_configuration() {
    let folder = Folder::new();
    let says = |name: &str, expected: &str| {
        let BadConfig(problems) = load(&folder.0.path().join(name)).err().unwrap();
        assert_eq!(folder.lines(&problems), [expected]);
    };
    says("none.toml", "none.toml: the file does not exist");
    says(
        "site-a.key",
        "site-a.key: the format is told by the extension: .toml, or .conf for a \
                        wg-quick file",
    );
    fs::create_dir(folder.0.path().join("folder.toml")).unwrap();
    says(
        "folder.toml",
        "folder.toml: the file cannot be read: Is a directory (os error 21)",
    );
    fs::write(folder.0.path().join("bytes.toml"), b"[gateway]\n\xff\n").unwrap();
    says(
        "bytes.toml",
        "bytes.toml:2: not text: a byte that is not UTF-8 stands in this line",
    );
    toml_says(
        "[gateway\n",
        &["site-a.toml:1:9: not TOML: unclosed table, expected `]`"],
    );
    toml_says(
        "[gateway]\nlisten = 1\nlisten = 2\n",
        &["site-a.toml:3:1: not TOML: duplicate key"],
    );
}

#[test]
fn values_cannot_command_the_terminal() {
    gateway_says(
        "name = \"a\\u001b[31m\"",
        &[
            "site-a.toml:2:8: gateway.name: `a\\u{1b}[31m` cannot be a name; a name has 1 to 64 \
           letters, digits and _ = + . -, and does not begin with . or -",
        ],
    );
}

#[test]
fn name_of_a_gateway_survives_a_broken_file() {
    let folder = Folder::new();
    let path = |name: &str| folder.0.path().join(name).display().to_string();
    folder.write("a.toml", "[gateway]\nname = \"berlin\"\nzebra = 1\n", 0o600);
    folder.write("b.toml", "[gateway\n", 0o600);
    assert_eq!(gateway_name(&path("a.toml")).unwrap(), "berlin");
    assert_eq!(gateway_name(&path("b.toml")).unwrap(), "b");
    assert_eq!(gateway_name(&path("gone.toml")).unwrap(), "gone");
    assert_eq!(gateway_name(&path("wg0.conf")).unwrap(), "wg0");
    assert_eq!(gateway_name("site-a").unwrap(), "site-a");
    assert!(gateway_name("a b").is_err());
}
