//! Which session goes to which slot. Not in `sessions.rs`, which `weapon-core` tries with loom, on
//! a keypair of its own.

use core::time::Duration;

use weapon_aead::Backend;

use crate::{
    SecretKey32, SessionKeys, Tick, handshake::Role, keypair::Keypair, protocol::REKEY_TIMEOUT,
    sessions::Sessions, sync::Arc,
};

fn keypair(role: Role, index: u32, age: Duration) -> Arc<Keypair> {
    let keys = SessionKeys {
        send: SecretKey32::from_bytes(&[1; 32]),
        receive: SecretKey32::from_bytes(&[2; 32]),
        local_index: index,
        remote_index: index,
        role,
    };
    Arc::new(Keypair::new(
        &keys,
        Tick::default() + age,
        &Backend::library(),
    ))
}

/// The slots after the peer's session, the first, and ours, the second and `gap` later.
fn slots(gap: Duration, yields: bool) -> [Option<u32>; 3] {
    let mut sessions = Sessions::default();
    let theirs = keypair(Role::Responder, 1, Duration::ZERO);
    assert_eq!(sessions.install(theirs, false).iter().flatten().count(), 0);
    let ours = keypair(Role::Initiator, 2, gap);
    assert_eq!(sessions.install(ours, yields).iter().flatten().count(), 0);
    [sessions.previous(), sessions.current(), sessions.next()]
        .map(|slot| slot.map(|keypair| keypair.local_index()))
}

#[test]
fn p20_who_yields_waits_for_a_session_that_was_asked_for_at_once() {
    let soon = REKEY_TIMEOUT.saturating_sub(Duration::from_nanos(1));
    assert_eq!(slots(soon, true), [None, Some(2), Some(1)]);
    assert_eq!(slots(soon, false), [Some(1), Some(2), None]);
    // By then the peer would have been kept waiting for our answer to theirs.
    assert_eq!(slots(REKEY_TIMEOUT, true), [Some(1), Some(2), None]);
}
