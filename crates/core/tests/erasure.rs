//! Whether a gateway's secrets leave traces when a peer is removed and when the gateway ends
//! (P101).
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use core::{net::SocketAddr, time::Duration};
use std::io::IoSlice;

use weapon_core::{
    Env, Gateway, GatewayConfig, HANDSHAKE_QUEUE_MAX, HandshakeMessage, Now, Overlay, PeerConfig,
    TimestampStore, Underlay, WallTime,
};
use weapon_noise::{
    Backend, Entropy, EntropyNotReady, Identity, PresharedKey, PrivateKey, PublicKey, Remote,
    SecretKey32, Tai64n, Tick, initiate,
};
use weapon_wire::{
    Endpoint, Flow, VnetHeader,
    message::{Initiation, Response},
};

#[path = "../../noise/tests/cipher/mod.rs"]
mod cipher;
use cipher::cipher;
#[path = "../../noise/tests/traces/mod.rs"]
mod traces;
use traces::{Note, Noting, traces};

#[derive(Default)]
struct Outbox(Vec<Vec<u8>>, Vec<u8>);

impl Underlay for Outbox {
    fn reserve(&mut self, _to: &Endpoint, len: usize) {
        self.1 = vec![0; len];
    }

    fn room(&mut self) -> &mut [u8] {
        &mut self.1
    }

    fn commit(&mut self, len: usize, _tos: u8) {
        self.0.push(self.1.drain(..len).collect());
    }
}

struct Nowhere;

impl Overlay for Nowhere {
    fn write(&mut self, _flow: &Flow, _vnet: &VnetHeader, _parts: &[IoSlice<'_>]) {}
}

impl TimestampStore for Nowhere {
    fn persist(&mut self, _mark: Tai64n) -> bool {
        true
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], port))
}

/// Seconds since boot, and since 1970.
fn now(seconds: u64) -> Now {
    Now {
        tick: Tick::default() + Duration::from_secs(seconds),
        wall: WallTime { seconds, nanos: 0 },
    }
}

/// Calls `gateway` and returns what it sent.
fn call(
    gateway: &mut Gateway,
    seconds: u64,
    entropy: &mut Noting,
    act: impl FnOnce(&mut Gateway, &mut Env<'_>),
) -> Vec<Vec<u8>> {
    let mut outbox = Outbox::default();
    let mut env = Env {
        now: now(seconds),
        underlay: &mut outbox,
        overlay: &mut Nowhere,
        entropy,
        store: &mut Nowhere,
    };
    act(gateway, &mut env);
    outbox.0
}

fn gateway(key: &[u8; 32]) -> Gateway {
    Gateway::new(GatewayConfig {
        private_key: PrivateKey::from_bytes(key),
        mtu: 1420,
        addresses: Vec::new(),
        mappings: Vec::new(),
        policy: None,
        timestamp_mark: None,
        cipher: cipher(),
    })
}

fn peer(public_key: PublicKey, psk: &[u8; 32]) -> PeerConfig {
    PeerConfig {
        name: String::from("peer"),
        public_key,
        preshared_key: Some(PresharedKey::from_bytes(psk)),
        endpoint: Some(address(1)),
        endpoint_pinned: false,
        networks: Vec::new(),
        persistent_keepalive: Some(Duration::from_secs(25)),
    }
}

/// Gives one secret that was noted.
struct Replay<'a>(&'a Note);

impl Entropy for Replay<'_> {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
        out.copy_from_slice(self.0.secret().expose());
        Ok(())
    }
}

/// Notes the session keys that follow from what was noted and what was sent.
fn note_session(entropy: &mut Noting, them: PublicKey, sent: &Initiation, response: &Response) {
    let named = |name| {
        entropy
            .notes
            .iter()
            .filter(move |note: &&Note| note.name == name)
    };
    let ours = Identity::new(PrivateKey::from_bytes(
        named("private key").next().unwrap().secret().expose(),
    ));
    let psk = PresharedKey::from_bytes(named("preshared key").next().unwrap().secret().expose());
    let remote = Remote::new(&ours, them, Some(psk));
    let index = sent.sender.get();
    let keys = named("ephemeral or cookie secret").find_map(|note| {
        let timestamp = Tai64n::from_unix(106, 0);
        let (pending, again) =
            initiate(&ours, &remote, index, timestamp, &mut Replay(note)).unwrap();
        (again.ephemeral == sent.ephemeral)
            .then(|| pending.finish(&ours, &remote, response).unwrap())
    });
    let keys = keys.expect("one of them is the ephemeral of this initiation");
    let notes =
        [keys.send.expose(), keys.receive.expose()].map(|key| Note::new("session key", key));
    entropy.notes.extend(notes);
}

fn handshake(a: &mut Gateway, b: &mut Gateway, entropy: &mut Noting) {
    let deliver = |gateway: &mut Gateway, seconds, bytes: &[u8], entropy: &mut Noting| {
        let message = HandshakeMessage::new(bytes, Endpoint::new(address(1))).unwrap();
        call(gateway, seconds, entropy, |gateway, env| {
            gateway.handle_handshake(&message, env);
        })
    };
    let first = call(a, 100, entropy, |gateway, env| gateway.up(env));
    call(b, 100, entropy, |gateway, env| {
        gateway.up(env);
        gateway.note_handshake_queue(HANDSHAKE_QUEUE_MAX, env);
    });
    let cookie = deliver(b, 100, &first[0], entropy);
    deliver(a, 100, &cookie[0], entropy);
    let second = call(a, 106, entropy, |gateway, env| gateway.handle_timeout(env));
    let response = deliver(b, 106, &second[0], entropy);
    let keepalive = deliver(a, 106, &response[0], entropy);
    assert_eq!(keepalive[0].len(), 32);
    let initiation = Initiation::parse(&second[0]).unwrap();
    let response = Response::parse(&response[0]).unwrap();
    note_session(entropy, b.public_key(), initiation, response);
}

#[test]
fn p101_removed_peers_and_ended_gateways_leave_no_secrets() {
    let mut entropy = Noting {
        state: 7,
        notes: Vec::new(),
    };
    let mut a = gateway(entropy.secret("private key").expose());
    let mut b = gateway(entropy.secret("private key").expose());
    let psk = entropy.secret("preshared key");
    a.add_peers([peer(b.public_key(), psk.expose())]);
    b.add_peers([peer(a.public_key(), psk.expose())]);
    drop(psk);
    handshake(&mut a, &mut b, &mut entropy);

    let mut alive = traces(&entropy.notes);
    alive.dedup();
    assert_eq!(
        alive,
        [
            "ephemeral or cookie secret",
            "preshared key",
            "private key",
            "session key"
        ]
    );

    for gateway in [&mut a, &mut b] {
        let id = gateway.peer_by_name("peer").unwrap();
        call(gateway, 107, &mut entropy, |gateway, env| {
            gateway.remove_peer(id, env)
        });
    }
    let left = traces(&entropy.notes);
    assert!(!left.contains(&"session key"), "{left:?}");
    assert!(!left.contains(&"preshared key"), "{left:?}");
    // Of the 32-byte secrets that were drawn, only B's cookie secret is still in use.
    let drawn = left
        .iter()
        .filter(|name| **name == "ephemeral or cookie secret");
    assert_eq!(drawn.count(), 1, "{left:?}");

    drop((a, b));
    let left = traces(&entropy.notes);
    assert!(left.is_empty(), "{left:?}");
}
