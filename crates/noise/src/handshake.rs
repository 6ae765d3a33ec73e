//! The handshake of WireGuard (paper §5.4.1 to §5.4.5): two messages, then keys for both directions.
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

use weapon_wire::message::{Initiation, Response};
use zeroize::Zeroizing;

use crate::{
    Entropy, EntropyNotReady, PresharedKey, PrivateKey, PublicKey, Tai64n,
    crypto::{self, Scalar, SecretKey32},
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

    fn static_static(&self) -> Result<&SecretKey32, HandshakeError> {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
        mut self,
        remote: &Remote,
        local_index: u32,
        entropy: &mut dyn Entropy,
    ) -> Result<(Response, SessionKeys), HandshakeError> {
        if self.remote_public != remote.public {
            return Err(HandshakeError::WrongHandshake);
        }
        let ephemeral = fresh_ephemeral(entropy)?;
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
            &ephemeral,
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
fn fresh_ephemeral(entropy: &mut dyn Entropy) -> Result<Scalar, EntropyNotReady> {
    let mut bytes = Zeroizing::new([0; 32]);
    entropy.fill(bytes.as_mut_slice())?;
    Ok(Scalar::new(&bytes))
}
