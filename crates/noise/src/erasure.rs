//! Whether secrets leave traces: the process looks for them in its own memory (P101).

use crate::{
    AwaitingResponse, Backend, Entropy, EntropyNotReady, Identity, Keypair, OpenedInitiation,
    PresharedKey, PrivateKey, Remote, SecretKey32, SessionKeys, Tai64n, Tick, initiate,
    open_initiation,
};

#[path = "../tests/cipher/mod.rs"]
mod cipher;
use cipher::cipher;

#[path = "../tests/traces/mod.rs"]
mod traces;
use traces::{Note, Noting, traces};

/// Everything secret that two peers have when a session begins.
struct Everything {
    _identities: [Identity; 2],
    _remotes: [Remote; 2],
    _pending: AwaitingResponse,
    _keypairs: [Keypair; 2],
}

fn note_session(notes: &mut Vec<Note>, keys: &SessionKeys) {
    notes.push(Note::new("session key", keys.send.expose()));
    notes.push(Note::new("session key", keys.receive.expose()));
}

fn handshake(entropy: &mut Noting) -> Everything {
    let [ours, theirs] = ["private key", "private key"]
        .map(|name| Identity::new(PrivateKey::from_bytes(entropy.secret(name).expose())));
    let psk = PresharedKey::from_bytes(entropy.secret("preshared key").expose());
    let to_them = Remote::new(&ours, *theirs.public(), Some(psk.clone()));
    let to_us = Remote::new(&theirs, *ours.public(), Some(psk));
    let static_static = to_us.static_static().unwrap();
    let note = Note::new("static-static", static_static.expose());
    assert_eq!(note.secret(), *static_static);
    entropy.notes.push(note);

    let timestamp = Tai64n::from_unix(1, 0);
    let (pending, initiation) = initiate(&ours, &to_them, 1, timestamp, entropy).unwrap();
    let note = Note::new("chaining key", pending.chaining_key());
    entropy.notes.push(note);
    let opened: OpenedInitiation = open_initiation(&theirs, &initiation).unwrap();
    let verified = opened.verify(&to_us).unwrap();
    let (response, their_keys) = verified.respond(&to_us, 2, entropy).unwrap();
    let our_keys = pending.finish(&ours, &to_them, &response).unwrap();
    note_session(&mut entropy.notes, &our_keys);
    let keypairs =
        [&our_keys, &their_keys].map(|keys| Keypair::new(keys, Tick::default(), cipher()));
    let mut slot = [0; 36];
    keypairs[0].seal(0, b"data", 0, &mut slot).unwrap();
    let mut run = keypairs[1].open_run(Tick::default()).unwrap();
    assert_eq!(run.open(&mut slot), Ok(4));
    drop(run);
    Everything {
        _identities: [ours, theirs],
        _remotes: [to_them, to_us],
        _pending: pending,
        _keypairs: keypairs,
    }
}

#[test]
fn p101_no_secret_outlives_its_owner() {
    let mut entropy = Noting {
        state: 101,
        notes: Vec::new(),
    };
    let everything = handshake(&mut entropy);
    let alive = traces(&entropy.notes);
    for name in [
        "private key",
        "preshared key",
        "static-static",
        "ephemeral or cookie secret",
        "chaining key",
        "session key",
    ] {
        assert!(alive.contains(&name), "{name} is not where we look");
    }
    drop(everything);
    let left = traces(&entropy.notes);
    assert!(left.is_empty(), "{left:?}");
}
