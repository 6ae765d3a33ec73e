//! The handshake of WireGuard (paper §5.4.1 to §5.4.5): two messages, then keys for both ways.
//!
//! ```text
//!   initiator                                    responder
//!   initiate ─────────── Initiation ───────────▶ open_initiation   whose is it?
//!      │                                            │ verify       is it theirs? when made?
//!   AwaitingResponse                                │ respond
//!      │ finish ◀──────── Response ─────────────────┤
//!   SessionKeys                                  SessionKeys
//! ```
//!
//! Each step takes the state that it ends. The macs of the messages are in [`crate::cookie`].

use serde::{Deserialize, Serialize};
use weapon_wire::message::{Initiation, Response};
use zeroize::Zeroizing;

use crate::{
    Entropy, EntropyNotReady, PresharedKey, PrivateKey, PublicKey, Tai64n,
    crypto::{self, Scalar, SecretKey32},
    key_log::HandshakeSecrets,
    pattern::{self, PatternError},
    protocol::{IDENTIFIER, LABEL_COOKIE, LABEL_MAC1},
    symmetric::SymmetricState,
};

/// Why there is no handshake. Nothing is ever sent in answer to any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A Diffie-Hellman result was zero: one of the public keys is a low-order point.
    #[error("a public key is a low-order point")]
    LowOrder,
    /// A tag did not verify: damaged, forged, or made with another key or preshared key.
    #[error("the message does not authenticate")]
    BadTag,
    /// The message belongs to another handshake or another peer.
    #[error("the message is not for this handshake")]
    WrongHandshake,
    /// There is no randomness yet to make an ephemeral key of.
    #[error(transparent)]
    EntropyNotReady(#[from] EntropyNotReady),
}

impl From<PatternError> for HandshakeError {
    fn from(error: PatternError) -> Self {
        match error {
            PatternError::LowOrder => Self::LowOrder,
            PatternError::BadTag => Self::BadTag,
        }
    }
}

/// A gateway's own key pair, and what follows from it.
pub struct Identity {
    private: PrivateKey,
    scalar: Scalar,
    public: PublicKey,
    hashes: Hashes,
}

impl Identity {
    /// The identity of a private key.
    pub fn new(private: PrivateKey) -> Self {
        let scalar = private.scalar();
        let public = PublicKey::from_bytes(scalar.public());
        Self {
            private,
            scalar,
            public,
            hashes: Hashes::of(&public),
        }
    }

    /// The private key, as clamped.
    pub fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// What macs and cookies to us are keyed with.
    pub(crate) fn hashes(&self) -> &Hashes {
        &self.hashes
    }
}

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Identity")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// The two keys that everybody who knows a public key can compute.
#[derive(Clone)]
pub(crate) struct Hashes {
    /// HASH(LABEL-MAC1 ‖ S_pub): the key of mac1 in messages to its owner (paper §5.4.4).
    pub(crate) mac1: [u8; 32],
    /// HASH(LABEL-COOKIE ‖ S_pub): what its owner seals cookies with (paper §5.4.7).
    pub(crate) cookie: [u8; 32],
}

impl Hashes {
    fn of(public: &PublicKey) -> Self {
        Self {
            mac1: crypto::hash(&[LABEL_MAC1, public.as_bytes()]),
            cookie: crypto::hash(&[LABEL_COOKIE, public.as_bytes()]),
        }
    }
}

/// A peer as the handshake sees it.
pub struct Remote {
    public: PublicKey,
    /// DH of both static keys, the same in every handshake. `None`: the peer's key is a low-order
    /// point, with which there is no handshake.
    static_static: Option<SecretKey32>,
    psk: PresharedKey,
    hashes: Hashes,
}

impl Remote {
    /// The peer of `identity` with this public key. No preshared key is 32 zero bytes.
    pub fn new(identity: &Identity, public: PublicKey, psk: Option<PresharedKey>) -> Self {
        Self {
            public,
            static_static: identity.scalar.agree(public.as_bytes()).ok(),
            psk: psk.unwrap_or_else(PresharedKey::none),
            hashes: Hashes::of(&public),
        }
    }

    /// The peer's public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The preshared key; 32 zero bytes if there is none.
    pub fn psk(&self) -> &PresharedKey {
        &self.psk
    }

    /// Changes the preshared key. It takes part in what is finished or answered from here on;
    /// sessions that exist are not touched.
    pub fn set_psk(&mut self, psk: Option<PresharedKey>) {
        self.psk = psk.unwrap_or_else(PresharedKey::none);
    }

    /// Follows a change of our own private key. Handshakes and sessions of the old one are the
    /// caller's to end.
    pub fn set_identity(&mut self, identity: &Identity) {
        self.static_static = identity.scalar.agree(self.public.as_bytes()).ok();
    }

    /// Whether the peer's key is a low-order point: it may be configured, but nothing is ever sent
    /// to it.
    pub fn is_low_order(&self) -> bool {
        self.static_static.is_none()
    }

    pub(crate) fn static_static(&self) -> Result<&SecretKey32, HandshakeError> {
        self.static_static.as_ref().ok_or(HandshakeError::LowOrder)
    }

    pub(crate) fn hashes(&self) -> &Hashes {
        &self.hashes
    }
}

impl core::fmt::Debug for Remote {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Remote")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

/// Which side of the handshake we were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// We asked for the session, and may send at once.
    Initiator,
    /// We were asked, and may send once the initiator has.
    Responder,
}

/// What a handshake yields: a key for each direction.
#[derive(Debug)]
pub struct SessionKeys {
    /// Seals what we send.
    pub send: SecretKey32,
    /// Opens what we receive.
    pub receive: SecretKey32,
    /// The index in messages to us.
    pub local_index: u32,
    /// The index in messages to the peer.
    pub remote_index: u32,
    /// Which side we were.
    pub role: Role,
}

/// An initiation was made; its response is missing.
pub struct AwaitingResponse {
    state: SymmetricState,
    ephemeral: Scalar,
    local_index: u32,
}

/// Makes an initiation for `remote`, macs still zero (paper §5.4.2).
///
/// `local_index` must be fresh and `timestamp` later than every one before, for each call.
///
/// # Errors
/// [`HandshakeError::LowOrder`] for a peer to whom nothing is sent,
/// [`HandshakeError::EntropyNotReady`].
pub fn initiate(
    identity: &Identity,
    remote: &Remote,
    local_index: u32,
    timestamp: Tai64n,
    entropy: &mut dyn Entropy,
) -> Result<(AwaitingResponse, Initiation), HandshakeError> {
    let initiator = pattern::Initiator {
        prologue: IDENTIFIER,
        local_public: identity.public.as_bytes(),
        remote_public: remote.public.as_bytes(),
        static_static: remote.static_static()?,
    };
    let ephemeral = fresh_ephemeral(entropy)?;
    let mut message = Initiation::zeroed();
    message.sender.set(local_index);
    let out = pattern::FirstMut {
        ephemeral: &mut message.ephemeral,
        encrypted_static: &mut message.encrypted_static,
        encrypted_payload: &mut message.encrypted_timestamp,
    };
    let state = pattern::write_first(&initiator, &ephemeral, timestamp.as_bytes(), out)?;
    Ok((
        AwaitingResponse {
            state,
            ephemeral,
            local_index,
        },
        message,
    ))
}

impl AwaitingResponse {
    /// The index by which the response will address us.
    pub fn local_index(&self) -> u32 {
        self.local_index
    }

    /// What decrypts this handshake and its session, together with the static keys.
    #[cold]
    pub(crate) fn secrets<'a>(&self, remote: &'a Remote) -> HandshakeSecrets<'a> {
        HandshakeSecrets::new(Role::Initiator, remote, &self.ephemeral)
    }

    /// The chaining key between the two messages.
    #[cfg(test)]
    pub(crate) fn chaining_key(&self) -> &[u8; 32] {
        self.state.chaining_key()
    }

    /// Takes the response, and yields the keys (paper §5.4.3). On success this state must be
    /// dropped: a response counts once. On failure it is as before, and a later response may do.
    ///
    /// # Errors
    /// [`HandshakeError::WrongHandshake`] for another's index, [`HandshakeError::BadTag`],
    /// [`HandshakeError::LowOrder`].
    pub fn finish(
        &self,
        identity: &Identity,
        remote: &Remote,
        response: &Response,
    ) -> Result<SessionKeys, HandshakeError> {
        if response.receiver.get() != self.local_index {
            return Err(HandshakeError::WrongHandshake);
        }
        let mut state = self.state.clone();
        pattern::read_second(
            &mut state,
            pattern::Local {
                private: &identity.scalar,
                ephemeral: &self.ephemeral,
            },
            remote.psk.secret(),
            &response.ephemeral,
            &response.encrypted_nothing,
            &mut [],
        )?;
        let (send, receive) = state.split();
        Ok(SessionKeys {
            send,
            receive,
            local_index: self.local_index,
            remote_index: response.sender.get(),
            role: Role::Initiator,
        })
    }
}

impl core::fmt::Debug for AwaitingResponse {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("AwaitingResponse")
            .field("local_index", &self.local_index)
            .finish_non_exhaustive()
    }
}

/// An initiation that names its sender. Not yet proof of anything: the named key's owner may not
/// have made it.
pub struct OpenedInitiation {
    state: SymmetricState,
    ephemeral: [u8; 32],
    encrypted_timestamp: [u8; 28],
    remote_public: PublicKey,
    remote_index: u32,
}

/// Opens the static key in an initiation (paper §5.4.2). Costs a Diffie-Hellman: mac1, and under
/// load mac2, must have been checked.
///
/// # Errors
/// [`HandshakeError::BadTag`], [`HandshakeError::LowOrder`].
pub fn open_initiation(
    identity: &Identity,
    initiation: &Initiation,
) -> Result<OpenedInitiation, HandshakeError> {
    let (state, remote_public) = pattern::read_first_static(
        IDENTIFIER,
        &identity.scalar,
        identity.public.as_bytes(),
        &initiation.ephemeral,
        &initiation.encrypted_static,
    )?;
    Ok(OpenedInitiation {
        state,
        ephemeral: initiation.ephemeral,
        encrypted_timestamp: initiation.encrypted_timestamp,
        remote_public: PublicKey::from_bytes(remote_public),
        remote_index: initiation.sender.get(),
    })
}

impl OpenedInitiation {
    /// Whose initiation it claims to be.
    pub fn remote_public(&self) -> &PublicKey {
        &self.remote_public
    }

    /// Proves that the owner of the key made it, and opens the timestamp.
    ///
    /// # Errors
    /// [`HandshakeError::WrongHandshake`] if `remote` is someone else, [`HandshakeError::BadTag`],
    /// [`HandshakeError::LowOrder`].
    pub fn verify(mut self, remote: &Remote) -> Result<VerifiedInitiation, HandshakeError> {
        if self.remote_public != remote.public {
            return Err(HandshakeError::WrongHandshake);
        }
        let mut timestamp = [0; 12];
        pattern::read_first_payload(
            &mut self.state,
            remote.static_static()?,
            &self.encrypted_timestamp,
            &mut timestamp,
        )?;
        Ok(VerifiedInitiation {
            state: self.state,
            ephemeral: self.ephemeral,
            timestamp: Tai64n::from_bytes(timestamp),
            remote_public: self.remote_public,
            remote_index: self.remote_index,
        })
    }
}

/// An initiation that the peer did make, at some time: it may still be a replay.
pub struct VerifiedInitiation {
    state: SymmetricState,
    ephemeral: [u8; 32],
    timestamp: Tai64n,
    remote_public: PublicKey,
    remote_index: u32,
}

impl VerifiedInitiation {
    /// When it was made; see [`InitiationGate`](crate::InitiationGate).
    pub fn timestamp(&self) -> Tai64n {
        self.timestamp
    }

    /// The index by which the peer wants to be addressed.
    pub fn remote_index(&self) -> u32 {
        self.remote_index
    }

    /// Makes the response, macs still zero, and the keys (paper §5.4.3).
    ///
    /// # Errors
    /// [`HandshakeError::WrongHandshake`] if `remote` is not the one it was verified for,
    /// [`HandshakeError::LowOrder`], [`HandshakeError::EntropyNotReady`].
    pub fn respond(
        self,
        remote: &Remote,
        local_index: u32,
        entropy: &mut dyn Entropy,
    ) -> Result<(Response, SessionKeys), HandshakeError> {
        let ephemeral = fresh_ephemeral(entropy)?;
        self.respond_with(remote, local_index, &ephemeral)
    }

    /// As [`VerifiedInitiation::respond`], with a key of [`fresh_ephemeral`].
    pub(crate) fn respond_with(
        mut self,
        remote: &Remote,
        local_index: u32,
        ephemeral: &Scalar,
    ) -> Result<(Response, SessionKeys), HandshakeError> {
        if self.remote_public != remote.public {
            return Err(HandshakeError::WrongHandshake);
        }
        let mut message = Response::zeroed();
        message.sender.set(local_index);
        message.receiver.set(self.remote_index);
        let answer = pattern::Answer {
            remote_ephemeral: &self.ephemeral,
            remote_public: remote.public.as_bytes(),
            psk: remote.psk.secret(),
        };
        pattern::write_second(
            &mut self.state,
            &answer,
            ephemeral,
            &[],
            &mut message.ephemeral,
            &mut message.encrypted_nothing,
        )?;
        let (receive, send) = self.state.split();
        let keys = SessionKeys {
            send,
            receive,
            local_index,
            remote_index: self.remote_index,
            role: Role::Responder,
        };
        Ok((message, keys))
    }
}

/// DH-GENERATE: an ephemeral key, used for one handshake.
pub(crate) fn fresh_ephemeral(entropy: &mut dyn Entropy) -> Result<Scalar, EntropyNotReady> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut_slice())?;
    Ok(Scalar::new(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Seeded,
        crypto::tests::{LOW_ORDER, key},
    };

    /// Gives the bytes it was made of, then nothing more.
    struct Script(Vec<u8>);

    impl Entropy for Script {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), EntropyNotReady> {
            if self.0.len() < out.len() {
                return Err(EntropyNotReady);
            }
            let rest = self.0.split_off(out.len());
            out.copy_from_slice(&self.0);
            self.0 = rest;
            Ok(())
        }
    }

    const STAMP: Tai64n = Tai64n::from_bytes([0x40, 0, 0, 0, 0x69, 0, 0, 0, 0x21, 0, 0, 0]);

    struct Sides {
        alice: Identity,
        bob: Identity,
        alices_bob: Remote,
        bobs_alice: Remote,
    }

    fn sides(psk: Option<[u8; 32]>) -> Sides {
        let alice = Identity::new(PrivateKey::from_bytes(&[0xa1; 32]));
        let bob = Identity::new(PrivateKey::from_bytes(&[0xb0; 32]));
        let psk = psk.map(|bytes| PresharedKey::from_bytes(&bytes));
        let alices_bob = Remote::new(&alice, *bob.public(), psk.clone());
        let bobs_alice = Remote::new(&bob, *alice.public(), psk);
        Sides {
            alice,
            bob,
            alices_bob,
            bobs_alice,
        }
    }

    impl Sides {
        fn initiate(&self, seed: u64) -> (AwaitingResponse, Initiation) {
            initiate(
                &self.alice,
                &self.alices_bob,
                7,
                STAMP,
                &mut Seeded::danger_new(seed),
            )
            .unwrap()
        }

        fn respond(&self, initiation: &Initiation) -> (Response, SessionKeys) {
            let verified = open_initiation(&self.bob, initiation)
                .unwrap()
                .verify(&self.bobs_alice)
                .unwrap();
            verified
                .respond(&self.bobs_alice, 9, &mut Seeded::danger_new(1))
                .unwrap()
        }
    }

    fn assert_matching(one: &SessionKeys, other: &SessionKeys) {
        assert_eq!(one.send, other.receive);
        assert_eq!(one.receive, other.send);
        assert_ne!(one.send, one.receive);
        assert_eq!(one.local_index, other.remote_index);
        assert_eq!(one.remote_index, other.local_index);
        assert_ne!(one.role, other.role);
    }

    #[test]
    fn both_sides_get_the_same_keys() {
        let sides = sides(Some([5; 32]));
        let (awaiting, initiation) = sides.initiate(0);
        let opened = open_initiation(&sides.bob, &initiation).unwrap();
        assert_eq!(opened.remote_public(), sides.alice.public());
        let verified = opened.verify(&sides.bobs_alice).unwrap();
        assert_eq!(verified.timestamp(), STAMP);
        assert_eq!(verified.remote_index(), 7);

        let (response, bobs) = sides.respond(&initiation);
        let alices = awaiting
            .finish(&sides.alice, &sides.alices_bob, &response)
            .unwrap();
        assert_matching(&alices, &bobs);
        assert_eq!((alices.role, alices.local_index), (Role::Initiator, 7));
    }

    const ALICES_EPHEMERAL: [u8; 32] = [0x3c; 32];
    const BOBS_EPHEMERAL: [u8; 32] = [0x5f; 32];

    fn snow_builder<'a>(
        private: &'a [u8; 32],
        ephemeral: &'a [u8; 32],
        psk: &'a [u8; 32],
    ) -> snow::Builder<'a> {
        let construction = str::from_utf8(crate::protocol::CONSTRUCTION).unwrap();
        snow::Builder::new(construction.parse().unwrap())
            .prologue(IDENTIFIER)
            .unwrap()
            .local_private_key(private)
            .unwrap()
            .fixed_ephemeral_key_for_testing_only(ephemeral)
            .psk(2, psk)
            .unwrap()
    }

    /// What snow seals with its session, ours opens, and the other way round.
    fn assert_snow_agrees(keys: &SessionKeys, snow: snow::HandshakeState) {
        let mut snow = snow.into_transport_mode().unwrap();
        let mut sealed = [0; 64];
        let len = snow.write_message(b"from snow", &mut sealed).unwrap();
        let mut opened = [0; 9];
        crypto::open(&keys.receive, 0, &[], &sealed[..len], &mut opened).unwrap();
        assert_eq!(&opened, b"from snow");
        let mut sealed = [0; 7 + 16];
        crypto::seal(&keys.send, 0, &[], b"to snow", &mut sealed);
        let len = snow.read_message(&sealed, &mut opened).unwrap();
        assert_eq!(&opened[..len], b"to snow");
    }

    fn agrees_with_snow_as_initiator(psk: Option<[u8; 32]>) {
        let sides = sides(psk);
        let psk = psk.unwrap_or_default();
        let mut entropy = Script(ALICES_EPHEMERAL.to_vec());
        let (awaiting, initiation) =
            initiate(&sides.alice, &sides.alices_bob, 7, STAMP, &mut entropy).unwrap();

        // Snow in our place writes the same bytes.
        let mut twin = snow_builder(sides.alice.private().expose(), &ALICES_EPHEMERAL, &psk)
            .remote_public_key(sides.bob.public().as_bytes())
            .unwrap()
            .build_initiator()
            .unwrap();
        let mut noise = [0; 108];
        assert_eq!(
            twin.write_message(STAMP.as_bytes(), &mut noise).unwrap(),
            108
        );
        assert_eq!(initiation.as_bytes()[..8], [1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(initiation.as_bytes()[8..116], noise);
        assert_eq!(initiation.as_bytes()[116..], [0; 32]);

        // Snow in the peer's place answers, and the sessions are the same.
        let mut peer = snow_builder(sides.bob.private().expose(), &BOBS_EPHEMERAL, &psk)
            .build_responder()
            .unwrap();
        let mut payload = [0; 12];
        assert_eq!(peer.read_message(&noise, &mut payload).unwrap(), 12);
        assert_eq!(&payload, STAMP.as_bytes());
        let mut noise = [0; 48];
        assert_eq!(peer.write_message(&[], &mut noise).unwrap(), 48);
        let mut response = Response::zeroed();
        response.receiver.set(7);
        response.sender.set(9);
        response.as_mut_bytes()[12..60].copy_from_slice(&noise);
        let keys = awaiting
            .finish(&sides.alice, &sides.alices_bob, &response)
            .unwrap();
        assert_snow_agrees(&keys, peer);
    }

    fn agrees_with_snow_as_responder(psk: Option<[u8; 32]>) {
        let sides = sides(psk);
        let psk = psk.unwrap_or_default();
        let mut peer = snow_builder(sides.alice.private().expose(), &ALICES_EPHEMERAL, &psk)
            .remote_public_key(sides.bob.public().as_bytes())
            .unwrap()
            .build_initiator()
            .unwrap();
        let mut initiation = Initiation::zeroed();
        initiation.sender.set(7);
        let noise = &mut initiation.as_mut_bytes()[8..116];
        assert_eq!(peer.write_message(STAMP.as_bytes(), noise).unwrap(), 108);
        let first = noise.to_vec();

        let opened = open_initiation(&sides.bob, &initiation).unwrap();
        let verified = opened.verify(&sides.bobs_alice).unwrap();
        assert_eq!(verified.timestamp(), STAMP);
        let mut entropy = Script(BOBS_EPHEMERAL.to_vec());
        let (response, keys) = verified
            .respond(&sides.bobs_alice, 9, &mut entropy)
            .unwrap();

        // Snow in our place writes the same bytes.
        let mut twin = snow_builder(sides.bob.private().expose(), &BOBS_EPHEMERAL, &psk)
            .build_responder()
            .unwrap();
        twin.read_message(&first, &mut [0; 12]).unwrap();
        let mut noise = [0; 48];
        twin.write_message(&[], &mut noise).unwrap();
        assert_eq!(
            response.as_bytes()[..12],
            [2, 0, 0, 0, 9, 0, 0, 0, 7, 0, 0, 0]
        );
        assert_eq!(response.as_bytes()[12..60], noise);
        assert_eq!(response.as_bytes()[60..], [0; 32]);

        peer.read_message(&noise, &mut []).unwrap();
        assert_snow_agrees(&keys, peer);
    }

    #[test]
    fn p13_snow_agrees_with_us_as_initiator() {
        agrees_with_snow_as_initiator(Some([0x77; 32]));
    }

    #[test]
    fn p13_snow_agrees_with_us_as_responder() {
        agrees_with_snow_as_responder(Some([0x77; 32]));
    }

    #[test]
    fn p15_no_psk_is_32_zero_bytes() {
        // Snow's PSK is 32 zero bytes in these.
        agrees_with_snow_as_initiator(None);
        agrees_with_snow_as_responder(None);
        assert!(sides(None).alices_bob.psk().is_none());
        assert!(!sides(Some([1; 32])).alices_bob.psk().is_none());
    }

    #[test]
    fn p06_an_initiation_that_does_not_open_yields_nothing() {
        let sides = sides(None);
        let (_, initiation) = sides.initiate(0);
        for place in 8..88 {
            let mut damaged = initiation;
            damaged.as_mut_bytes()[place] ^= 1;
            let result = open_initiation(&sides.bob, &damaged);
            assert_eq!(result.err(), Some(HandshakeError::BadTag), "byte {place}");
        }
        // Sealed for someone else.
        let result = open_initiation(&sides.alice, &initiation);
        assert_eq!(result.err(), Some(HandshakeError::BadTag));
    }

    #[test]
    fn p06_a_stranger_is_not_verified_as_a_peer() {
        let sides = sides(None);
        let stranger = Identity::new(PrivateKey::from_bytes(&[0xee; 32]));
        let remote = Remote::new(&stranger, *sides.bob.public(), None);
        let mut entropy = Seeded::danger_new(3);
        let (_, initiation) = initiate(&stranger, &remote, 1, STAMP, &mut entropy).unwrap();
        let opened = open_initiation(&sides.bob, &initiation).unwrap();
        assert_eq!(opened.remote_public(), stranger.public());
        let result = opened.verify(&sides.bobs_alice);
        assert_eq!(result.err(), Some(HandshakeError::WrongHandshake));
    }

    #[test]
    fn p07_a_timestamp_that_does_not_open_yields_nothing() {
        let sides = sides(None);
        let (_, initiation) = sides.initiate(0);
        for place in 88..116 {
            let mut damaged = initiation;
            damaged.as_mut_bytes()[place] ^= 0x80;
            let opened = open_initiation(&sides.bob, &damaged).unwrap();
            let result = opened.verify(&sides.bobs_alice);
            assert_eq!(result.err(), Some(HandshakeError::BadTag), "byte {place}");
        }
    }

    #[test]
    fn p16_nothing_is_made_for_low_order_peers() {
        let sides = sides(None);
        for text in LOW_ORDER {
            let remote = Remote::new(&sides.alice, PublicKey::from_bytes(key(text)), None);
            assert!(remote.is_low_order());
            let mut entropy = Script(vec![1; 32]);
            let result = initiate(&sides.alice, &remote, 1, STAMP, &mut entropy);
            assert_eq!(result.err(), Some(HandshakeError::LowOrder), "{text}");
            assert_eq!(entropy.0.len(), 32, "an ephemeral key was made for nobody");
        }
        assert!(!sides.alices_bob.is_low_order());
    }

    #[test]
    fn p16_low_order_ephemerals_abort_the_handshake() {
        let sides = sides(None);
        let (awaiting, initiation) = sides.initiate(0);
        let (response, bobs) = sides.respond(&initiation);
        for text in LOW_ORDER {
            let mut forged = initiation;
            forged.ephemeral = key(text);
            let result = open_initiation(&sides.bob, &forged);
            assert_eq!(result.err(), Some(HandshakeError::LowOrder), "{text}");

            let mut forged = response;
            forged.ephemeral = key(text);
            let result = awaiting.finish(&sides.alice, &sides.alices_bob, &forged);
            assert_eq!(result.err(), Some(HandshakeError::LowOrder), "{text}");
        }
        let alices = awaiting
            .finish(&sides.alice, &sides.alices_bob, &response)
            .unwrap();
        assert_matching(&alices, &bobs);
    }

    #[test]
    fn p17_no_two_initiations_share_an_ephemeral() {
        let sides = sides(None);
        let mut entropy = Seeded::danger_new(4);
        let mut seen = std::collections::BTreeSet::new();
        for index in 0..50 {
            let (awaiting, initiation) =
                initiate(&sides.alice, &sides.alices_bob, index, STAMP, &mut entropy).unwrap();
            assert_eq!(awaiting.local_index(), index);
            assert!(seen.insert(initiation.ephemeral));
        }
    }

    #[test]
    fn p19_bad_responses_do_no_harm() {
        let sides = sides(Some([8; 32]));
        let (awaiting, initiation) = sides.initiate(0);
        let (response, bobs) = sides.respond(&initiation);
        let finish = |response: &Response| {
            awaiting
                .finish(&sides.alice, &sides.alices_bob, response)
                .map_err(Some)
        };

        let mut other = response;
        other.receiver.set(8);
        assert_eq!(
            finish(&other).err(),
            Some(Some(HandshakeError::WrongHandshake))
        );
        for place in 12..60 {
            let mut damaged = response;
            damaged.as_mut_bytes()[place] ^= 4;
            assert_eq!(
                finish(&damaged).err(),
                Some(Some(HandshakeError::BadTag)),
                "byte {place}"
            );
        }
        // The response to an initiation that a newer one replaced.
        let (_, newer) = sides.initiate(99);
        let (crossed, _) = sides.respond(&newer);
        assert_eq!(finish(&crossed).err(), Some(Some(HandshakeError::BadTag)));

        // After all of these, and however late, the right one does.
        assert_matching(&finish(&response).unwrap(), &bobs);
    }

    #[test]
    fn p21_a_changed_private_key_takes_effect() {
        let mut sides = sides(None);
        sides.alice = Identity::new(PrivateKey::from_bytes(&[0xa2; 32]));
        sides.alices_bob.set_identity(&sides.alice);
        let (awaiting, initiation) = sides.initiate(0);
        // Bob does not know the new key yet.
        let opened = open_initiation(&sides.bob, &initiation).unwrap();
        assert_eq!(opened.remote_public(), sides.alice.public());
        assert!(opened.verify(&sides.bobs_alice).is_err());

        sides.bobs_alice = Remote::new(&sides.bob, *sides.alice.public(), None);
        let (response, bobs) = sides.respond(&initiation);
        let alices = awaiting
            .finish(&sides.alice, &sides.alices_bob, &response)
            .unwrap();
        assert_matching(&alices, &bobs);
    }

    #[test]
    fn p23_a_changed_psk_takes_part_in_the_next_handshake() {
        let mut sides = sides(None);
        let (awaiting, initiation) = sides.initiate(0);
        let (response, before) = sides.respond(&initiation);

        let psk = PresharedKey::from_bytes(&[9; 32]);
        sides.alices_bob.set_psk(Some(psk.clone()));
        let result = awaiting.finish(&sides.alice, &sides.alices_bob, &response);
        assert_eq!(result.err(), Some(HandshakeError::BadTag));

        sides.bobs_alice.set_psk(Some(psk));
        let (awaiting, initiation) = sides.initiate(0);
        let (response, after) = sides.respond(&initiation);
        let alices = awaiting
            .finish(&sides.alice, &sides.alices_bob, &response)
            .unwrap();
        assert_matching(&alices, &after);
        assert_ne!(before.send, after.send);

        sides.alices_bob.set_psk(None);
        assert!(sides.alices_bob.psk().is_none());
    }

    #[test]
    fn p104_without_entropy_nothing_is_sent_or_answered() {
        let sides = sides(None);
        let mut empty = Script(Vec::new());
        let result = initiate(&sides.alice, &sides.alices_bob, 7, STAMP, &mut empty);
        assert_eq!(
            result.err(),
            Some(HandshakeError::EntropyNotReady(EntropyNotReady))
        );

        let (_, initiation) = sides.initiate(0);
        let opened = open_initiation(&sides.bob, &initiation).unwrap();
        let verified = opened.verify(&sides.bobs_alice).unwrap();
        let result = verified.respond(&sides.bobs_alice, 9, &mut empty);
        assert_eq!(
            result.err(),
            Some(HandshakeError::EntropyNotReady(EntropyNotReady))
        );
    }

    #[test]
    fn p101_nothing_prints_a_secret() {
        let sides = sides(Some([0x77; 32]));
        let (awaiting, initiation) = sides.initiate(0);
        let (_, keys) = sides.respond(&initiation);
        let text = format!(
            "{:?} {:?} {awaiting:?} {keys:?}",
            sides.alice, sides.alices_bob
        );
        for secret in [
            sides.alice.private().to_base64(),
            sides.alices_bob.psk().to_base64(),
        ] {
            assert!(!text.contains(&*secret));
        }
        let digits = |bytes: &[u8]| format!("{bytes:?}").replace(['[', ']'], "");
        for secret in [
            sides.alice.private().expose(),
            keys.send.expose(),
            keys.receive.expose(),
        ] {
            assert!(!text.contains(&digits(&secret[..4])), "{text}");
        }
    }
}
