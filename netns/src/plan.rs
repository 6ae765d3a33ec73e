//! One gateway's configuration, written for weapon or for WireGuard's own tools.

use std::fmt::Write;

use weapon_noise::{PresharedKey, PrivateKey, PublicKey};

/// A gateway to be.
#[derive(Debug)]
pub struct Plan {
    /// The gateway's name, and the stem of its file's.
    pub name: String,
    /// Its TUN device.
    pub interface: String,
    /// Its key.
    pub private_key: PrivateKey,
    /// Its UDP port; 0 lets the kernel pick one.
    pub listen: u16,
    /// The mark of what it sends; 0 for none.
    pub fwmark: u32,
    /// Addresses of its interface, with their prefix lengths.
    pub addresses: Vec<String>,
    /// Whom it talks to.
    pub peers: Vec<PeerPlan>,
}

/// A peer of a gateway to be.
#[derive(Debug)]
pub struct PeerPlan {
    /// Its name.
    pub name: String,
    /// Its key.
    pub public_key: PublicKey,
    /// A second secret that both know.
    pub preshared_key: Option<PresharedKey>,
    /// Where it is; unknown until it comes to us.
    pub endpoint: Option<String>,
    /// Its allowed IPs.
    pub networks: Vec<String>,
    /// Seconds between keepalives.
    pub keepalive: Option<u16>,
}

/// The cipher's backend that all gateways of a test are told to use: what this variable says, so
/// that all tests can be run with each. It is for tests alone; the program knows nothing of it.
pub fn cipher_backend() -> Option<String> {
    std::env::var("WEAPON_TEST_CIPHER").ok()
}

/// A new private key.
pub fn private_key() -> PrivateKey {
    PrivateKey::from_bytes(&random())
}

/// A new preshared key.
pub fn preshared_key() -> PresharedKey {
    PresharedKey::from_bytes(&random())
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    weapon_io::entropy::fill(&mut bytes).expect("randomness");
    bytes
}

impl Plan {
    /// A gateway with a new key, interface `w-NAME`, port 51820 and no peers.
    pub fn new(name: &str, addresses: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            interface: format!("w-{name}"),
            private_key: private_key(),
            listen: 51_820,
            fwmark: 0,
            addresses: addresses.iter().map(|&text| text.to_owned()).collect(),
            peers: Vec::new(),
        }
    }

    /// The gateway as others have it among their peers.
    pub fn as_peer(&self, networks: &[&str]) -> PeerPlan {
        PeerPlan {
            name: self.name.clone(),
            public_key: self.private_key.public(),
            preshared_key: None,
            endpoint: None,
            networks: networks.iter().map(|&text| text.to_owned()).collect(),
            keepalive: None,
        }
    }

    /// As a file of weapon's own format.
    pub fn toml(&self) -> String {
        let mut text = format!(
            "[gateway]\nname = {:?}\ninterface = {:?}\nprivate_key = {:?}\naddress = {:?}\n",
            self.name,
            self.interface,
            self.private_key.to_base64().as_str(),
            self.addresses
        );
        let mut line = |text_of: std::fmt::Arguments<'_>| {
            writeln!(text, "{text_of}").expect("room in a string");
        };
        if let Some(backend) = cipher_backend() {
            line(format_args!("cipher_backend = {backend:?}"));
        }
        if self.listen != 0 {
            line(format_args!("listen = {}", self.listen));
        }
        if self.fwmark != 0 {
            line(format_args!("fwmark = {}", self.fwmark));
        }
        for peer in &self.peers {
            let key = peer.public_key.to_string();
            line(format_args!("\n[[peer]]\nname = {:?}", peer.name));
            line(format_args!("public_key = {key:?}"));
            line(format_args!("networks = {:?}", peer.networks));
            if let Some(key) = &peer.preshared_key {
                line(format_args!(
                    "preshared_key = {:?}",
                    key.to_base64().as_str()
                ));
            }
            if let Some(endpoint) = &peer.endpoint {
                line(format_args!("endpoint = {endpoint:?}"));
            }
            if let Some(seconds) = peer.keepalive {
                line(format_args!("persistent_keepalive = {seconds}"));
            }
        }
        text
    }

    /// As [`Plan::toml`], with more lines in the section `[gateway]`.
    pub fn toml_with(&self, lines: &str) -> String {
        let section = format!("[gateway]\n{lines}\n");
        self.toml().replacen("[gateway]\n", &section, 1)
    }

    /// As a file for `wg setconf`.
    pub fn wg_conf(&self) -> String {
        self.conf("")
    }

    /// As a file for `wg-quick up`.
    pub fn wg_quick_conf(&self) -> String {
        self.conf(&format!("Address = {}\n", self.addresses.join(", ")))
    }

    fn conf(&self, more: &str) -> String {
        let key = self.private_key.to_base64();
        let mut text = format!("[Interface]\nPrivateKey = {}\n{more}", key.as_str());
        let mut line = |text_of: std::fmt::Arguments<'_>| {
            writeln!(text, "{text_of}").expect("room in a string");
        };
        if self.listen != 0 {
            line(format_args!("ListenPort = {}", self.listen));
        }
        if self.fwmark != 0 {
            line(format_args!("FwMark = {:#x}", self.fwmark));
        }
        for peer in &self.peers {
            line(format_args!("\n[Peer]\nPublicKey = {}", peer.public_key));
            line(format_args!("AllowedIPs = {}", peer.networks.join(", ")));
            if let Some(key) = &peer.preshared_key {
                line(format_args!("PresharedKey = {}", key.to_base64().as_str()));
            }
            if let Some(endpoint) = &peer.endpoint {
                line(format_args!("Endpoint = {endpoint}"));
            }
            if let Some(seconds) = peer.keepalive {
                line(format_args!("PersistentKeepalive = {seconds}"));
            }
        }
        text
    }
}

/// Makes each a peer of the other with the same preshared key, if any, and these allowed IPs.
pub fn introduce(
    (one, networks_of_one): (&mut Plan, &[&str]),
    (other, networks_of_other): (&mut Plan, &[&str]),
    key: Option<&PresharedKey>,
) {
    let again = |key: &PresharedKey| PresharedKey::from_bytes(key.expose());
    let mut peer = other.as_peer(networks_of_other);
    peer.preshared_key = key.map(again);
    one.peers.push(peer);
    let mut peer = one.as_peer(networks_of_one);
    peer.preshared_key = key.map(again);
    other.peers.push(peer);
}
