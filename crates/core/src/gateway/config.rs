//! What a gateway and its peers are told before they start.

use core::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use ipnet::IpNet;
use weapon_noise::{Cipher, PresharedKey, PrivateKey, PublicKey, Tai64n};

use super::Policy;
use crate::PrefixMapping;

/// Settings of a gateway.
#[derive(Debug)]
pub struct GatewayConfig {
    /// Our static private key.
    pub private_key: PrivateKey,
    /// Bytes of the largest inner packet.
    pub mtu: usize,
    /// Our addresses on the overlay: ICMPv6 errors come from the first of them.
    pub addresses: Vec<IpAddr>,
    /// Prefixes behind us that peers know by others.
    pub mappings: Vec<PrefixMapping>,
    /// Rules and flows, if packets are to be judged or watched.
    pub policy: Option<Policy>,
    /// What the [`TimestampStore`](crate::TimestampStore) persisted last.
    pub timestamp_mark: Option<Tai64n>,
    /// What seals and opens data messages: a [`Backend`](weapon_noise::Backend).
    pub cipher: &'static dyn Cipher,
}

/// Settings of a peer.
#[derive(Debug)]
pub struct PeerConfig {
    /// Its name for people.
    pub name: String,
    /// Its static public key.
    pub public_key: PublicKey,
    /// The pre-shared key.
    pub preshared_key: Option<PresharedKey>,
    /// Where it is, if that is known.
    pub endpoint: Option<SocketAddr>,
    /// Whether it stays there.
    pub endpoint_pinned: bool,
    /// The networks behind it.
    pub networks: Vec<IpNet>,
    /// An empty packet this long after the last one.
    pub persistent_keepalive: Option<Duration>,
}

impl PeerConfig {
    /// A peer of whom nothing but the key is known, which is its name as well.
    pub fn unnamed(public_key: PublicKey) -> Self {
        Self {
            name: public_key.to_string(),
            public_key,
            preshared_key: None,
            endpoint: None,
            endpoint_pinned: false,
            networks: Vec::new(),
            persistent_keepalive: None,
        }
    }
}
