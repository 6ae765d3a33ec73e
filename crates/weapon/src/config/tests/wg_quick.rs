//! wg-quick files.

use std::net::IpAddr;

use super::*;

#[test]
fn wg_quick_file_is_taken_as_it_is() {
    let folder = Folder::new();
    let text = format!(
        "# a comment\r\n[interface]\r\nprivatekey={PRIVATE} # ours\r\nADDRESS = 10.99.0.1/24, \
         fd00::1/64\r\nAddress = 10.98.0.1\r\nListenPort = 51820\r\nFwMark = 0xca6c\r\n\
         MTU = 1400\r\nSaveConfig = false\r\nTable = auto\r\n\r\n[PEER]\r\n\
         PublicKey = {PEER}\r\nPresharedKey = {SECRET}\r\nAllowedIPs = 10.1.0.0/16,10.2.0.0/16\r\n\
         AllowedIPs = fd01::/64\r\nEndpoint = gw-b.example.net:51820\r\n\
         PersistentKeepalive = 25\r\n[Peer]\r\nPublicKey = {OTHER}\r\nAllowedIPs =\r\n\
         PersistentKeepalive = off\r\n"
    );
    let Loaded { config, warnings } = folder.load("wg0.conf", &text).unwrap();
    assert_eq!(folder.lines(&warnings), [""; 0]);
    assert_eq!(
        (config.name.as_str(), config.interface.as_str()),
        ("wg0", "wg0")
    );
    assert_eq!(
        (config.listen_port, config.fwmark, config.mtu),
        (51820, 0xca6c, Some(1400))
    );
    let addresses = ["10.99.0.1/24", "fd00::1/64", "10.98.0.1/32"];
    assert_eq!(config.addresses, addresses.map(|net| net.parse().unwrap()));
    assert_eq!(config.private_key.public().to_string(), PUBLIC);
    assert_eq!(config.source.format, Format::WgQuick);
    let [first, second] = &config.peers[..] else {
        panic!("two peers")
    };
    assert_eq!(first.name, "00HRU2O8");
    let networks = ["10.1.0.0/16", "10.2.0.0/16", "fd01::/64"];
    assert_eq!(first.networks, networks.map(|net| net.parse().unwrap()));
    assert_eq!(
        first.preshared_key.as_ref().unwrap().to_base64().as_str(),
        SECRET
    );
    assert_eq!(first.persistent_keepalive, Some(25));
    assert_eq!(
        (second.persistent_keepalive, second.networks.len()),
        (None, 0)
    );
}

#[test]
fn wg_quick_keys_that_we_do_not_act_on_are_warnings() {
    let text = format!(
        "[Interface]\nPrivateKey = {PRIVATE}\n\nTable = 1234\nPreUp = a=b\n\
         PostUp = iptables -A FORWARD -i %i\nPreDown = x\n  PostDown =  y\nSaveConfig = true\n\
         MTU = 1400\nMTU = 1420\n"
    );
    assert_eq!(
        Folder::new().said("wg0.conf", &text),
        [
            "wg0.conf:4:9: warning: Interface.Table: `1234` is not acted on yet; no routes are \
             written, as for off",
            "wg0.conf:5:9: warning: Interface.PreUp: is not acted on yet; the command does not run",
            "wg0.conf:6:10: warning: Interface.PostUp: is not acted on yet; the command does not \
             run",
            "wg0.conf:7:11: warning: Interface.PreDown: is not acted on yet; the command does not \
             run",
            "wg0.conf:8:15: warning: Interface.PostDown: is not acted on yet; the command does \
             not run",
            "wg0.conf:9:14: warning: Interface.SaveConfig: is not acted on yet; this file is \
             never written",
            "wg0.conf:11:7: warning: Interface.MTU: is given in line 10 already; the last one \
             holds",
        ]
    );
}

#[test]
fn wg_quick_file_that_is_wrong() {
    let text = format!(
        "PrivateKey = {PRIVATE}\n[Interface]\nListenPort = 70000\nFwMark = 0xzz\nAddres = 1\n\
         Endpoint = a:1\n{PRIVATE}\nhello\n[Server]\nwhat = ever\n[Peer]\nPublicKey = {PEER}x\n\
         AllowedIPs = 10.0.0.0/8, 10.0.0.0/99\nEndpoint = nowhere\nPersistentKeepalive = often\n"
    );
    assert_eq!(
        Folder::new().said("wg0.conf", &text),
        [
            "wg0.conf:1:1: stands before any section; a file begins with [Interface]",
            "wg0.conf:2:1: Interface.PrivateKey: the gateway has no key; give PrivateKey = … \
             (from `weapon genkey`)",
            "wg0.conf:3:14: Interface.ListenPort: 70000 is not a port; ports are 0 to 65535",
            "wg0.conf:4:10: Interface.FwMark: `0xzz` is not a number",
            "wg0.conf:5:1: Interface.Addres: unknown key; did you mean `Address`?",
            "wg0.conf:6:1: Interface.Endpoint: unknown key; it belongs to [Peer]",
            "wg0.conf:7:1: Interface.(a name of 43 characters): unknown key; the keys here are \
             PrivateKey, ListenPort, FwMark, Address, DNS, MTU, Table, PreUp, PostUp, PreDown, \
             PostDown, SaveConfig",
            "wg0.conf:8:1: not understood; a line is `Key = value`",
            "wg0.conf:9:1: unknown section; there are [Interface] and [Peer]",
            "wg0.conf:12:13: Peer.PublicKey: a key has 44 characters of base64, this has 45; \
             `weapon pubkey` prints a right one",
            "wg0.conf:13:26: Peer.AllowedIPs: `10.0.0.0/99`: the prefix length of IPv4 is 0 to 32",
            "wg0.conf:14:12: Peer.Endpoint: `nowhere` has no port; write it like \
             gw.example.net:51820, 192.0.2.1:51820 or [2001:db8::1]:51820",
            "wg0.conf:15:23: Peer.PersistentKeepalive: `often` is not a number",
        ]
    );
    assert_eq!(
        Folder::new().said("wg0.conf", ""),
        ["wg0.conf:1:1: Interface: the section is missing; a file begins with [Interface]"]
    );
}

#[test]
fn name_servers_are_told_from_domains() {
    let folder = Folder::new();
    let text = |dns: &str| format!("[Interface]\nPrivateKey = {PRIVATE}\nDNS = {dns}\n");
    let config = folder
        .load("wg0.conf", &text("10.0.0.1, fd00::1,corp.example"))
        .unwrap()
        .config;
    let servers: [IpAddr; 2] = ["10.0.0.1", "fd00::1"].map(|it| it.parse().unwrap());
    assert_eq!(config.name_servers, servers);
    assert_eq!(config.search_domains, ["corp.example"]);
    for (dns, said) in [
        (
            "corp.example",
            "wg0.conf:3:7: Interface.DNS: a domain is of no use without the address of a name \
             server",
        ),
        (
            "10.0.0.1, a b",
            "wg0.conf:3:17: Interface.DNS: `a b` is neither the address of a name server, as \
             10.99.0.2, nor a domain in which names are looked for",
        ),
    ] {
        assert_eq!(folder.said("wg0.conf", &text(dns)), [said]);
    }
}
