//! Every kind of bad input, and the exact message that a person reads.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::model::Offload;
use super::*;

mod audit;
mod keys;
mod policy;
mod prefixes;
mod random;
mod services;
mod shape;
mod values;
mod wg_quick;

const PRIVATE: &str = "oGw7CM7pELBGdCtSj2n40oY1vVSu3hssLbYcxonUZUk=";
const PUBLIC: &str = "XkCfK4fW2GZ612sDQPR/G/ZWIEPUF/qMNOvjN0M1uQ8=";
const PEER: &str = "00HRU2O8QiyBKLgcDqXJA0uwY9w0irMMyGkYu4ohtFQ=";
const OTHER: &str = "7fheEZsIubApNf7jdCPOc5Y13BFvlLDY9MQNGKXqDgM=";
const SECRET: &str = "SJvEQGh1Va0kfgnucgH0OOOFKE5UHgZfLL6rpvKd9U8=";

/// A folder with a configuration file and key files beside it.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("site-a.key", &format!("{PRIVATE}\n"), 0o600);
        folder.write("open.key", &format!("{PRIVATE}\n"), 0o644);
        folder.write("group.key", &format!("{PRIVATE}\n"), 0o640);
        folder.write("short.key", "oGw7CM7p\n", 0o600);
        folder.write("empty.key", "", 0o600);
        folder.write("shared.secret", &format!("{SECRET}\n"), 0o600);
        folder.write(
            "zero.secret",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
            0o600,
        );
        folder
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self, name: &str, text: &str) -> Result<Loaded, BadConfig> {
        self.write(name, text, 0o600);
        load(&self.0.path().join(name))
    }

    /// What is said about `text`, with the folder cut out.
    fn said(&self, name: &str, text: &str) -> Vec<String> {
        let problems = match self.load(name, text) {
            Ok(Loaded { warnings, .. }) => warnings,
            Err(BadConfig(problems)) => problems,
        };
        self.lines(&problems)
    }

    fn lines(&self, problems: &[Problem]) -> Vec<String> {
        let folder = format!("{}/", self.0.path().display());
        problems
            .iter()
            .map(|problem| problem.to_string().replace(&folder, ""))
            .collect()
    }
}

/// What is said about a TOML file `site-a.toml`.
#[track_caller]
fn toml_says(text: &str, expected: &[&str]) {
    assert_eq!(Folder::new().said("site-a.toml", text), expected, "{text}");
}

/// What is said about a good file to which a line was added to `[gateway]`, as line 2.
#[track_caller]
fn gateway_says(line: &str, expected: &[&str]) {
    let text = format!("[gateway]\n{line}\nprivate_key_file = \"site-a.key\"\n");
    toml_says(&text, expected);
}

/// What is said about a good file to which a line was added to `[[peer]]`, as line 7.
#[track_caller]
fn peer_says(line: &str, expected: &[&str]) {
    let text = format!(
        "[gateway]\nprivate_key_file = \"site-a.key\"\naddress = [\"10.99.0.1/24\"]\n\
         networks = [\"172.17.0.0/16\"]\n[[peer]]\nname = \"site-b\"\n{line}\n\
         public_key = \"{PEER}\"\n"
    );
    toml_says(&text, expected);
}

/// What is said about a peer that has only a name, one `line` more, and no public key.
#[track_caller]
fn keyless_peer_says(line: &str, expected: &[&str]) {
    let text = format!(
        "[gateway]\nprivate_key_file = \"site-a.key\"\n[[peer]]\nname = \"site-b\"\n{line}\n"
    );
    toml_says(&text, expected);
}

#[test]
fn the_example_of_the_design_is_good() {
    let folder = Folder::new();
    let text = format!(
        "[gateway]\nprivate_key_file = \"site-a.key\"\naddress = [\"10.99.0.1/24\"]\n\
         listen  = 51820\nnetworks = [\"172.17.0.0/16\"]\n[[peer]]\nname = \"site-b\"\n\
         public_key = \"{PEER}\"\nendpoint   = \"gw-b.example.net:51820\"\n\
         networks   = [\"172.18.0.0/16\"]\n"
    );
    let Loaded { config, warnings } = folder.load("site-a.toml", &text).unwrap();
    assert_eq!(folder.lines(&warnings), [""; 0]);
    assert_eq!(
        (config.name.as_str(), config.interface.as_str()),
        ("site-a", "site-a")
    );
    assert_eq!(config.private_key.public().to_string(), PUBLIC);
    assert_eq!(
        (config.listen_port, config.fwmark, config.mtu),
        (51820, 0, None)
    );
    assert_eq!(config.lanes, None);
    assert_eq!(config.cipher_backend, CipherBackend::Auto);
    assert_eq!(config.addresses, ["10.99.0.1/24".parse().unwrap()]);
    let network = "172.17.0.0/16".parse().unwrap();
    assert_eq!(config.behind, [Behind::Prefix(network)]);
    assert!(config.routes);
    assert_eq!(
        config.offload,
        Offload {
            tcp: true,
            udp: true,
            gso: true,
            gro: true
        }
    );
    assert_eq!(config.source.format, Format::Toml);
    let [peer] = &config.peers[..] else {
        panic!("one peer")
    };
    assert_eq!(peer.name, "site-b");
    assert_eq!(peer.public_key.to_string(), PEER);
    assert_eq!(
        peer.endpoint.as_ref().unwrap().to_string(),
        "gw-b.example.net:51820"
    );
    assert_eq!(peer.networks, ["172.18.0.0/16".parse().unwrap()]);
    assert!(peer.preshared_key.is_none() && !peer.endpoint_pin);
    assert_eq!(peer.persistent_keepalive, None);
}

#[test]
fn every_key_is_taken() {
    let folder = Folder::new();
    let text = format!(
        "[gateway]\nname = \"berlin\"\ninterface = \"wp0\"\nprivate_key = \"{PRIVATE}\"\n\
         address = [\"fd00::1/64\"]\nlisten = 0\nmtu = 1280\nfwmark = 0x1234\ntable = \"off\"\n\
         lanes = 3\ncipher_backend = \"library\"\n\
         [offload]\ntcp = false\nudp = false\ngso = false\ngro = false\n\
         [[peer]]\nname = \"bonn\"\npublic_key = \"{PEER}\"\n\
         preshared_key_file = \"shared.secret\"\n\
         endpoint = \"[2001:db8::1]:7\"\nnetworks = [\"0.0.0.0/0\"]\npersistent_keepalive = 25\n\
         endpoint_pin = true\n\
         [[peer]]\nname = \"koeln\"\npublic_key = \"{OTHER}\"\n",
    );
    let Loaded { config, warnings } = folder.load("site-a.toml", &text).unwrap();
    assert_eq!(folder.lines(&warnings), [""; 0]);
    assert_eq!(
        (config.name.as_str(), config.interface.as_str()),
        ("berlin", "wp0")
    );
    assert_eq!(
        (config.mtu, config.fwmark, config.routes, config.lanes),
        (Some(1280), 0x1234, false, Some(3))
    );
    assert_eq!(config.cipher_backend, CipherBackend::Library);
    assert_eq!(
        config.offload,
        Offload {
            tcp: false,
            udp: false,
            gso: false,
            gro: false
        }
    );
    assert_eq!(
        config.peers[0]
            .preshared_key
            .as_ref()
            .unwrap()
            .to_base64()
            .as_str(),
        SECRET
    );
    assert_eq!(
        config.peers[0].endpoint,
        Some(HostPort {
            host: "2001:db8::1".into(),
            port: 7
        })
    );
    assert_eq!(config.peers[0].persistent_keepalive, Some(25));
    assert!(config.peers[0].endpoint_pin);
    assert_eq!(config.peers[1].name, "koeln");
}
