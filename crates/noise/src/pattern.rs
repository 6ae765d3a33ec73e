//! The Noise pattern IKpsk2, token by token, with prologue and payloads as inputs.
//!
//! ```text
//! IKpsk2:
//!   <- s
//!   ...
//!   -> e, es, s, ss
//!   <- e, ee, se, psk
//! ```
//!
//! The static-static result is an input too: it is the same for every handshake of two keys, and
//! is kept rather than computed anew.

use crate::{
    crypto::{BadTag, LowOrder, Scalar, SecretKey32},
    symmetric::SymmetricState,
};

/// Why a message could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatternError {
    LowOrder,
    BadTag,
}

impl From<LowOrder> for PatternError {
    fn from(LowOrder: LowOrder) -> Self {
        Self::LowOrder
    }
}

impl From<BadTag> for PatternError {
    fn from(BadTag: BadTag) -> Self {
        Self::BadTag
    }
}

/// The first message's fields, where it is written to. The payload is longer by a tag.
pub(crate) struct FirstMut<'a> {
    pub(crate) ephemeral: &'a mut [u8; 32],
    pub(crate) encrypted_static: &'a mut [u8; 48],
    pub(crate) encrypted_payload: &'a mut [u8],
}

/// What the initiator knows of both sides.
pub(crate) struct Initiator<'a> {
    pub(crate) prologue: &'a [u8],
    pub(crate) local_public: &'a [u8; 32],
    pub(crate) remote_public: &'a [u8; 32],
    pub(crate) static_static: &'a SecretKey32,
}

/// `-> e, es, s, ss`
pub(crate) fn write_first(
    initiator: &Initiator<'_>,
    ephemeral: &Scalar,
    payload: &[u8],
    out: FirstMut<'_>,
) -> Result<SymmetricState, PatternError> {
    let mut state = SymmetricState::new(initiator.prologue, initiator.remote_public);

    *out.ephemeral = ephemeral.public();
    state.mix_hash(out.ephemeral);
    state.mix(out.ephemeral); // with a PSK in the pattern, e is mixed into the key (Noise §9.2)

    let key = state.mix_key(&ephemeral.agree(initiator.remote_public)?);
    state.seal(&key, initiator.local_public, out.encrypted_static);

    let key = state.mix_key(initiator.static_static);
    state.seal(&key, payload, out.encrypted_payload);
    Ok(state)
}

/// `-> e, es, s`: as far as the initiator's static key, which says whose `ss` comes next.
pub(crate) fn read_first_static(
    prologue: &[u8],
    local: &Scalar,
    local_public: &[u8; 32],
    ephemeral: &[u8; 32],
    encrypted_static: &[u8; 48],
) -> Result<(SymmetricState, [u8; 32]), PatternError> {
    let mut state = SymmetricState::new(prologue, local_public);
    state.mix_hash(ephemeral);
    state.mix(ephemeral);

    let key = state.mix_key(&local.agree(ephemeral)?);
    let mut remote_public = [0; 32];
    state.open(&key, encrypted_static, &mut remote_public)?;
    Ok((state, remote_public))
}

/// `-> ss` and the payload.
pub(crate) fn read_first_payload(
    state: &mut SymmetricState,
    static_static: &SecretKey32,
    encrypted_payload: &[u8],
    payload: &mut [u8],
) -> Result<(), PatternError> {
    let key = state.mix_key(static_static);
    Ok(state.open(&key, encrypted_payload, payload)?)
}

/// What the responder knows when it answers.
pub(crate) struct Answer<'a> {
    pub(crate) remote_ephemeral: &'a [u8; 32],
    pub(crate) remote_public: &'a [u8; 32],
    pub(crate) psk: &'a SecretKey32,
}

/// `<- e, ee, se, psk`
pub(crate) fn write_second(
    state: &mut SymmetricState,
    answer: &Answer<'_>,
    ephemeral: &Scalar,
    payload: &[u8],
    out_ephemeral: &mut [u8; 32],
    out_encrypted_payload: &mut [u8],
) -> Result<(), PatternError> {
    *out_ephemeral = ephemeral.public();
    state.mix_hash(out_ephemeral);
    state.mix(out_ephemeral);

    state.mix(ephemeral.agree(answer.remote_ephemeral)?.expose());
    state.mix(ephemeral.agree(answer.remote_public)?.expose());

    let key = state.mix_psk(answer.psk);
    state.seal(&key, payload, out_encrypted_payload);
    Ok(())
}

/// The initiator's two private keys.
pub(crate) struct Local<'a> {
    pub(crate) private: &'a Scalar,
    pub(crate) ephemeral: &'a Scalar,
}

/// `<- e, ee, se, psk`, as the initiator reads it.
pub(crate) fn read_second(
    state: &mut SymmetricState,
    local: Local<'_>,
    psk: &SecretKey32,
    ephemeral: &[u8; 32],
    encrypted_payload: &[u8],
    payload: &mut [u8],
) -> Result<(), PatternError> {
    state.mix_hash(ephemeral);
    state.mix(ephemeral);

    state.mix(local.ephemeral.agree(ephemeral)?.expose());
    state.mix(local.private.agree(ephemeral)?.expose());

    let key = state.mix_psk(psk);
    Ok(state.open(&key, encrypted_payload, payload)?)
}
