//! Who asked to hear the secrets of handshakes hears those, and nobody else does.

use core::time::Duration;
use std::sync::{Arc, Mutex};

use weapon_noise::{HandshakeSecrets, KeyLog, PresharedKey, PrivateKey, PublicKey, Role};

use crate::world::{A, B, C, Wire, World, private_key, public_key};

/// What was heard: our static keys, and of handshakes the role, the peer and both other keys.
type Heard = (
    Vec<PublicKey>,
    Vec<(Role, PublicKey, PublicKey, Option<PresharedKey>)>,
);

#[derive(Clone, Debug, Default)]
struct Listener(Arc<Mutex<Heard>>);

impl KeyLog for Listener {
    fn note_identity(&mut self, private: &PrivateKey) {
        self.0.lock().unwrap().0.push(private.public());
    }

    fn note_handshake(&mut self, secrets: &HandshakeSecrets<'_>) {
        self.0.lock().unwrap().1.push((
            secrets.role,
            *secrets.remote,
            secrets.ephemeral.public(),
            secrets.preshared_key.cloned(),
        ));
    }
}

/// The ephemeral keys that a site has put on the wire, in messages of this kind.
fn ephemerals(world: &World, us: usize, what: Wire) -> Vec<PublicKey> {
    let at = if what == Wire::Initiation { 8 } else { 12 };
    let sent = world.log.iter();
    let sent = sent.filter(|(_, by, kind, _)| (*by, *kind) == (us, what));
    let keys = sent.map(|(.., sent)| {
        let bytes = sent.bytes[at..at + 32].try_into().unwrap();
        PublicKey::from_bytes(bytes)
    });
    keys.collect()
}

#[test]
fn both_sides_hear_what_they_have_sent() {
    let mut world = World::new(3, 2);
    let heard = [Listener::default(), Listener::default()];
    for us in [A, B] {
        let log = Box::new(heard[us].clone());
        world.sites[us].gateway.danger_export_keys(log);
    }
    world.ping(A, B, b"hello").unwrap();
    world.drive(Duration::from_secs(1));
    let preshared = PresharedKey::from_bytes(&[7 + (A + B) as u8; 32]);
    for (us, them, role, what) in [
        (A, B, Role::Initiator, Wire::Initiation),
        (B, A, Role::Responder, Wire::Response),
    ] {
        let sent = ephemerals(&world, us, what);
        assert_eq!(sent.len(), 1);
        let (identities, handshakes) = &*heard[us].0.lock().unwrap();
        assert_eq!(identities, &[public_key(us)]);
        let expected = (role, public_key(them), sent[0], Some(preshared.clone()));
        assert_eq!(handshakes, &[expected]);
    }
}

#[test]
fn another_static_key_is_heard_too() {
    let mut world = World::new(4, 2);
    let heard = Listener::default();
    let log = Box::new(heard.clone());
    world.sites[A].gateway.danger_export_keys(log);
    world.control(A, |gateway, env| {
        gateway.set_private_key(private_key(C), env);
        // The same again is no other.
        gateway.set_private_key(private_key(C), env);
        // What there is instead of a key is none.
        gateway.take_private_key(env);
        gateway.set_private_key(private_key(A), env);
    });
    let (identities, _) = &*heard.0.lock().unwrap();
    assert_eq!(identities, &[A, C, A].map(public_key));
}
