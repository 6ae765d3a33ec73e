//! Keys on their way between the two processes, and what they are part of.

use std::{fmt, net::IpAddr, net::SocketAddr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};
use weapon_core::{
    GatewayChange, GatewayDump, NetworkChange, PeerChange, PeerDump, PeerStatus, Policy,
    PrefixMapping, Services,
};
use weapon_noise::{PresharedKey, PrivateKey, PublicKey};
use zeroize::Zeroizing;

/// A secret key on the heap: it is moved without copies, and erased when it is dropped.
pub struct Key(Box<Zeroizing<[u8; KEY_LEN]>>);

/// Bytes of a key.
const KEY_LEN: usize = 32;

impl Key {
    /// All zero, to be filled in place.
    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_LEN])))
    }

    fn of(bytes: &[u8; KEY_LEN]) -> Self {
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        key
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter())
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(InPlace)
    }
}

/// Reads a key byte by byte to where it stays.
struct InPlace;

impl<'de> Visitor<'de> for InPlace {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of {KEY_LEN} bytes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut bytes: A) -> Result<Key, A::Error> {
        let mut key = Key::zero();
        for (at, byte) in key.0.iter_mut().enumerate() {
            let next = bytes.next_element()?;
            *byte = next.ok_or_else(|| A::Error::invalid_length(at, &self))?;
        }
        match bytes.next_element::<u8>()? {
            None => Ok(key),
            Some(_) => Err(A::Error::invalid_length(KEY_LEN + 1, &self)),
        }
    }
}

impl From<&PrivateKey> for Key {
    fn from(key: &PrivateKey) -> Self {
        Self::of(key.expose())
    }
}

impl From<&PresharedKey> for Key {
    fn from(key: &PresharedKey) -> Self {
        Self::of(key.expose())
    }
}

impl From<&Key> for PrivateKey {
    fn from(key: &Key) -> Self {
        Self::from_bytes(&key.0)
    }
}

impl From<&Key> for PresharedKey {
    fn from(key: &Key) -> Self {
        Self::from_bytes(&key.0)
    }
}

/// What stays, goes, or is another: JSON knows one kind of nothing alone.
#[derive(Debug, Serialize, Deserialize)]
enum Setting<T> {
    Stays,
    Goes,
    Is(T),
}

impl<T> Setting<T> {
    fn of<S>(wanted: Option<Option<S>>, one: impl FnOnce(S) -> T) -> Self {
        match wanted {
            None => Self::Stays,
            Some(None) => Self::Goes,
            Some(Some(is)) => Self::Is(one(is)),
        }
    }

    fn wanted<S>(&self, one: impl FnOnce(&T) -> S) -> Option<Option<S>> {
        match self {
            Self::Stays => None,
            Self::Goes => Some(None),
            Self::Is(is) => Some(Some(one(is))),
        }
    }
}

/// A [`GatewayChange`].
#[derive(Debug, Serialize, Deserialize)]
pub struct ChangeMessage {
    private_key: Setting<Key>,
    addresses: Option<Vec<IpAddr>>,
    mappings: Option<Vec<PrefixMapping>>,
    policy: Setting<Policy>,
    services: Option<Services>,
    replace_peers: bool,
    peers: Vec<PeerMessage>,
}

/// A [`PeerChange`].
#[derive(Debug, Serialize, Deserialize)]
struct PeerMessage {
    public_key: PublicKey,
    remove: bool,
    update_only: bool,
    name: Option<String>,
    preshared_key: Setting<Key>,
    endpoint: Option<SocketAddr>,
    endpoint_pinned: Option<bool>,
    persistent_keepalive: Setting<Duration>,
    replace_networks: bool,
    networks: Vec<NetworkChange>,
    greet: bool,
}

impl From<GatewayChange> for ChangeMessage {
    fn from(change: GatewayChange) -> Self {
        Self {
            private_key: Setting::of(change.private_key, |key| Key::from(&key)),
            addresses: change.addresses,
            mappings: change.mappings,
            policy: Setting::of(change.policy, |policy| policy),
            services: change.services,
            replace_peers: change.replace_peers,
            peers: change.peers.into_iter().map(PeerMessage::from).collect(),
        }
    }
}

impl From<ChangeMessage> for GatewayChange {
    fn from(message: ChangeMessage) -> Self {
        Self {
            private_key: message.private_key.wanted(|key| key.into()),
            addresses: message.addresses,
            mappings: message.mappings,
            policy: message.policy.wanted(Policy::clone),
            services: message.services,
            replace_peers: message.replace_peers,
            peers: message.peers.into_iter().map(PeerChange::from).collect(),
        }
    }
}

impl From<PeerChange> for PeerMessage {
    fn from(change: PeerChange) -> Self {
        Self {
            public_key: change.public_key,
            remove: change.remove,
            update_only: change.update_only,
            name: change.name,
            preshared_key: Setting::of(change.preshared_key, |key| Key::from(&key)),
            endpoint: change.endpoint,
            endpoint_pinned: change.endpoint_pinned,
            persistent_keepalive: Setting::of(change.persistent_keepalive, |time| time),
            replace_networks: change.replace_networks,
            networks: change.networks,
            greet: change.greet,
        }
    }
}

impl From<PeerMessage> for PeerChange {
    fn from(message: PeerMessage) -> Self {
        Self {
            public_key: message.public_key,
            remove: message.remove,
            update_only: message.update_only,
            name: message.name,
            preshared_key: message.preshared_key.wanted(|key| key.into()),
            endpoint: message.endpoint,
            endpoint_pinned: message.endpoint_pinned,
            persistent_keepalive: message.persistent_keepalive.wanted(|&time| time),
            replace_networks: message.replace_networks,
            networks: message.networks,
            greet: message.greet,
        }
    }
}

/// A [`GatewayDump`].
#[derive(Debug, Serialize, Deserialize)]
pub struct DumpMessage {
    private_key: Option<Key>,
    peers: Vec<(PeerStatus, Option<Key>)>,
}

impl From<GatewayDump> for DumpMessage {
    fn from(dump: GatewayDump) -> Self {
        let peers = dump.peers.into_iter();
        Self {
            private_key: dump.private_key.as_ref().map(Key::from),
            peers: peers
                .map(|peer| (peer.status, peer.preshared_key.as_ref().map(Key::from)))
                .collect(),
        }
    }
}

impl From<DumpMessage> for GatewayDump {
    fn from(message: DumpMessage) -> Self {
        let peers = message.peers.into_iter();
        Self {
            private_key: message.private_key.as_ref().map(PrivateKey::from),
            peers: peers
                .map(|(status, key)| PeerDump {
                    status,
                    preshared_key: key.as_ref().map(PresharedKey::from),
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::{GroupService, PeerService, RateLimit, RateLimits};

    use super::*;

    fn again(change: GatewayChange) -> GatewayChange {
        let text = serde_json::to_string(&ChangeMessage::from(change)).unwrap();
        serde_json::from_str::<ChangeMessage>(&text).unwrap().into()
    }

    /// A group with a limit, and a peer that is in it.
    fn services() -> Services {
        let limits = RateLimits {
            outbound: Some(RateLimit {
                bytes_per_second: 1_250_000,
                burst_bytes: 256_000,
            }),
            inbound: None,
        };
        let group = GroupService {
            name: "phones".to_owned(),
            limits,
        };
        let peer = PeerService {
            public_key: PublicKey::from_bytes([3; 32]),
            dscp: 46,
            limits,
            groups: vec![group.name.clone()],
        };
        Services {
            groups: vec![group],
            peers: vec![peer],
        }
    }

    #[test]
    fn a_change_is_the_same_on_the_other_side() {
        let mut peer = PeerChange::of(PublicKey::from_bytes([3; 32]));
        peer.name = Some("site-b".to_owned());
        peer.preshared_key = Some(Some(PresharedKey::from_bytes(&[4; 32])));
        peer.endpoint = Some("192.0.2.1:51820".parse().unwrap());
        peer.persistent_keepalive = Some(None);
        peer.networks = vec![
            NetworkChange::Give("10.0.0.0/8".parse().unwrap()),
            NetworkChange::Take("fd00::/8".parse().unwrap()),
        ];
        let mut other = PeerChange::of(PublicKey::from_bytes([5; 32]));
        other.preshared_key = Some(None);
        other.persistent_keepalive = Some(Some(Duration::from_secs(25)));
        let change = || GatewayChange {
            private_key: Some(Some(PrivateKey::from_bytes(&[1; 32]))),
            addresses: Some(vec!["10.0.0.1".parse().unwrap()]),
            services: Some(services()),
            ..GatewayChange::default()
        };
        let mut before = change();
        before.peers = vec![peer, other];
        let shown = format!("{before:?}");
        let after = again(before);
        assert_eq!(format!("{after:?}"), shown);
        let key = after.peers[0].preshared_key.clone().flatten().unwrap();
        assert_eq!(key.expose(), &[4; 32]);
        let key = after.private_key.flatten().unwrap();
        assert_eq!(key, PrivateKey::from_bytes(&[1; 32]));
    }

    #[test]
    fn nothing_and_none_are_told_apart() {
        let of = |private_key| {
            again(GatewayChange {
                private_key,
                ..GatewayChange::default()
            })
            .private_key
        };
        assert!(of(None).is_none());
        assert!(matches!(of(Some(None)), Some(None)));
    }

    #[test]
    fn a_key_has_32_bytes() {
        for len in [0, 31, 33] {
            let text = serde_json::to_string(&vec![7_u8; len]).unwrap();
            assert!(serde_json::from_str::<Key>(&text).is_err(), "{len}");
        }
        assert!(serde_json::from_str::<Key>("\"text\"").is_err());
    }

    #[test]
    fn a_key_is_not_shown() {
        let key = Key::from(&PrivateKey::from_bytes(&[0xab; 32]));
        assert_eq!(format!("{key:?}"), "Key(..)");
    }
}
