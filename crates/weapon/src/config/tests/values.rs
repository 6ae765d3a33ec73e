//! Numbers, names and endpoints.

use super::*;

#[test]
fn keys_are_exported_to_a_file_and_never_in_silence() {
    const SAID: &str = "the private key and the keys of all sessions are written to \
                        /root/k/a.keys: \
                        whoever gets that file can read recorded traffic and pass for this \
                        gateway. Take this line out, and remove the file, as soon as you have seen \
                        what you were looking for";
    for (path, said) in [
        (
            "/root/k/a.keys",
            format!("warning: gateway.danger_export_keys: {SAID}"),
        ),
        (
            "a.keys",
            "gateway.danger_export_keys: `a.keys` is no absolute path; write one, such as \
             /root/weapon-keys/site-a.keys"
                .to_owned(),
        ),
        (
            "/",
            "gateway.danger_export_keys: this is no file; write one, such as \
             /root/weapon-keys/site-a.keys"
                .to_owned(),
        ),
    ] {
        let expected = format!("site-a.toml:2:22: {said}");
        gateway_says(&format!("danger_export_keys = {path:?}"), &[&expected]);
    }
}

#[test]
fn numbers_are_in_range() {
    for (line, expected) in [
        (
            "listen = 70000",
            "2:10: gateway.listen: 70000 is not a port; ports are 0 to 65535",
        ),
        (
            "listen = -1",
            "2:10: gateway.listen: -1 is not a port; ports are 0 to 65535",
        ),
        (
            "mtu = 575",
            "2:7: gateway.mtu: 575 is not a valid MTU; it is 576 to 65455 bytes",
        ),
        (
            "mtu = 65456",
            "2:7: gateway.mtu: 65456 is not a valid MTU; it is 576 to 65455 bytes",
        ),
        (
            "fwmark = 0x100000000",
            "2:10: gateway.fwmark: 4294967296 is not a firewall mark; marks \
                                  are 0 (off) to 0xffffffff",
        ),
        (
            "lanes = 65",
            "2:9: gateway.lanes: 65 lanes cannot be; it is 1 to 64, or \"auto\"",
        ),
        (
            "lanes = -1",
            "2:9: gateway.lanes: -1 lanes cannot be; it is 1 to 64, or \"auto\"",
        ),
        (
            "lanes = \"many\"",
            "2:9: gateway.lanes: text where a number belongs: lanes = 2, or lanes = \"auto\"",
        ),
        (
            "cipher_backend = \"fast\"",
            "2:18: gateway.cipher_backend: `fast` is not known; it is auto or library",
        ),
        (
            "cipher_backend = true",
            "2:18: gateway.cipher_backend: true or false where text in quotes belongs",
        ),
    ] {
        gateway_says(line, &[&format!("site-a.toml:{expected}")]);
    }
    gateway_says(
        "mtu = 1279\naddress = [\"fd00::1/64\"]",
        &[
            "site-a.toml:2:7: gateway.mtu: 1279 is not a valid MTU; it is 1280 to 65455 bytes with \
           IPv6 in the tunnel",
        ],
    );
    peer_says(
        "persistent_keepalive = 65536",
        &[
            "site-a.toml:7:24: peer.persistent_keepalive: 65536 is out of range; it is 1 to 65535 \
           seconds, or \"off\"",
        ],
    );
    for good in [
        "listen = 0",
        "listen = 65535",
        "mtu = 576",
        "fwmark = \"off\"",
        "lanes = 64",
        "lanes = \"auto\"",
        "cipher_backend = \"auto\"",
        "cipher_backend = \"library\"",
    ] {
        gateway_says(good, &[]);
    }
    for good in ["persistent_keepalive = \"off\"", "persistent_keepalive = 0"] {
        peer_says(good, &[]);
    }
}

#[test]
fn interface_names_are_what_linux_takes() {
    for (name, expected) in [
        (
            "sixteen-letters-",
            "`sixteen-letters-` has 16 bytes; an interface name has 1 to 15",
        ),
        (
            "",
            "`` cannot name an interface; letters, digits and _ = + . - can",
        ),
        (
            "..",
            "`..` cannot name an interface; letters, digits and _ = + . - can",
        ),
        (
            "a/b",
            "`a/b` cannot name an interface; letters, digits and _ = + . - can",
        ),
        (
            "wp%d",
            "`wp%d` cannot name an interface; letters, digits and _ = + . - can",
        ),
    ] {
        let message = format!("site-a.toml:2:13: gateway.interface: {expected}");
        gateway_says(&format!("interface = \"{name}\""), &[&message]);
    }
    gateway_says(
        "name = \"headquarters-berlin\"",
        &[
            "site-a.toml:1:1: warning: gateway.interface: `headquarters-berlin` has more than the \
           15 bytes of an interface name, so the interface is `headquarters-be`; set interface to \
           choose another",
        ],
    );
    let good = "[gateway]\nprivate_key_file = \"site-a.key\"\n";
    assert_eq!(
        Folder::new().said("my site.toml", good),
        [
            "my site.toml:1:1: gateway.name: the file's name `my site` cannot be a name; a name \
             has \
          1 to 64 letters, digits and _ = + . -, and does not begin with . or -; give a name here"
        ]
    );
    let good = format!("[Interface]\nPrivateKey = {PRIVATE}\n");
    assert_eq!(
        Folder::new().said("sixteen-letters-.conf", &good),
        [
            "sixteen-letters-.conf:1:1: the file's name `sixteen-letters-` has more than 15 bytes; \
             rename it"
        ]
    );
}

#[test]
fn endpoints_have_a_host_and_a_port() {
    const RIGHT: &str =
        "write it like gw.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820";
    for (text, expected) in [
        ("gw-b.example.net", "`gw-b.example.net` has no port; "),
        ("gw:0", "`gw:0`: the port is a number, 1 to 65535; "),
        ("gw:65536", "`gw:65536`: the port is a number, 1 to 65535; "),
        ("gw:", "`gw:`: the port is a number, 1 to 65535; "),
        ("gw:+1", "`gw:+1`: the port is a number, 1 to 65535; "),
        (":51820", "`:51820` is not a host and a port; "),
        (
            "2001:db8::1",
            "`2001:db8::1`: an IPv6 address goes in brackets, with the port after \
                         them; ",
        ),
        (
            "2001:db8::1:51820",
            "`2001:db8::1:51820`: an IPv6 address goes in brackets, with the \
                               port after them; ",
        ),
        (
            "[2001:db8::x]:1",
            "`[2001:db8::x]:1`: no IPv6 address in the brackets; ",
        ),
        ("10.1:51820", "`10.1:51820` is not a host and a port; "),
        ("256.1.1.1:5", "`256.1.1.1:5` is not a host and a port; "),
        ("a..b:1", "`a..b:1` is not a host and a port; "),
        (
            "http://x:1",
            "`http://x:1`: an IPv6 address goes in brackets, with the port after \
                        them; ",
        ),
    ] {
        let message = format!("site-a.toml:7:12: peer.endpoint: {expected}{RIGHT}");
        peer_says(&format!("endpoint = \"{text}\""), &[&message]);
    }
    for good in [
        "a:1",
        "gw_1.example.net.:65535",
        "[fe80::1%eth0]:1",
        "192.0.2.1:51820",
    ] {
        peer_says(&format!("endpoint = \"{good}\""), &[]);
    }
    peer_says(
        "endpoint_pin = true",
        &[
            "site-a.toml:5:1: peer.endpoint_pin: there is no endpoint to pin; give endpoint, or \
           leave this out",
        ],
    );
    peer_says(
        "endpoint = \"192.0.2.1:7\"\nnetworks = [\"192.0.2.0/24\"]",
        &[
            "site-a.toml:7:12: warning: peer.endpoint: 192.0.2.1 lies in the peer's own network \
           192.0.2.0/24: unless a longer route leads there, the tunnel's packets run into the \
           tunnel",
        ],
    );
}
