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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::{self, TAG_LEN, tests::unhex};

    /// `vectors/cacophony_ikpsk2.txt`, by name.
    fn vector(name: &str) -> Vec<u8> {
        include_str!("../vectors/cacophony_ikpsk2.txt")
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| unhex(value))
            .unwrap()
    }

    fn vector_key(name: &str) -> [u8; 32] {
        vector(name).try_into().unwrap()
    }

    #[test]
    fn p12_construction_and_identifier_hash_to_the_known_constants() {
        let construction = crypto::hash(&[crate::protocol::CONSTRUCTION]);
        let known = "60e26daef327efc02ec335e2a025d2d016eb4206f87277f52d38d1988b78cd36";
        assert_eq!(construction.as_slice(), unhex(known));
        let hash = crypto::hash(&[&construction, crate::protocol::IDENTIFIER]);
        let known = "2211b361081ac566691243db458ad5322d9c6c662293e8b70ee19c65ba079ef3";
        assert_eq!(hash.as_slice(), unhex(known));

        let state = SymmetricState::new(crate::protocol::IDENTIFIER, &[5; 32]);
        assert_eq!(state.handshake_hash(), crypto::hash(&[&hash, &[5; 32]]));
    }

    #[test]
    fn p14_cacophony_vector() {
        let prologue = vector("prologue");
        let psk = SecretKey32::from_bytes(&vector_key("psk"));
        let alice = Scalar::new(&vector_key("init_static"));
        let alice_ephemeral = Scalar::new(&vector_key("init_ephemeral"));
        let bob = Scalar::new(&vector_key("resp_static"));
        let bob_ephemeral = Scalar::new(&vector_key("resp_ephemeral"));
        assert_eq!(bob.public(), vector_key("init_remote_static"));

        // -> the first message, written and read
        let payload = vector("payload_1");
        let mut ephemeral = [0; 32];
        let mut encrypted_static = [0; 48];
        let mut encrypted = vec![0; payload.len() + TAG_LEN];
        let mut alices = write_first(
            &Initiator {
                prologue: &prologue,
                local_public: &alice.public(),
                remote_public: &bob.public(),
                static_static: &alice.agree(&bob.public()).unwrap(),
            },
            &alice_ephemeral,
            &payload,
            FirstMut {
                ephemeral: &mut ephemeral,
                encrypted_static: &mut encrypted_static,
                encrypted_payload: &mut encrypted,
            },
        )
        .unwrap();
        let written = [&ephemeral[..], &encrypted_static, &encrypted].concat();
        assert_eq!(written, vector("ciphertext_1"));

        let (mut bobs, remote) = read_first_static(
            &prologue,
            &bob,
            &bob.public(),
            &ephemeral,
            &encrypted_static,
        )
        .unwrap();
        assert_eq!(remote, alice.public());
        let mut opened = vec![0; payload.len()];
        let static_static = bob.agree(&remote).unwrap();
        read_first_payload(&mut bobs, &static_static, &encrypted, &mut opened).unwrap();
        assert_eq!(opened, payload);

        // <- the second message, written and read
        let payload = vector("payload_2");
        let mut second_ephemeral = [0; 32];
        let mut encrypted = vec![0; payload.len() + TAG_LEN];
        write_second(
            &mut bobs,
            &Answer {
                remote_ephemeral: &ephemeral,
                remote_public: &remote,
                psk: &psk,
            },
            &bob_ephemeral,
            &payload,
            &mut second_ephemeral,
            &mut encrypted,
        )
        .unwrap();
        assert_eq!(
            [&second_ephemeral[..], &encrypted].concat(),
            vector("ciphertext_2")
        );
        let mut opened = vec![0; payload.len()];
        read_second(
            &mut alices,
            Local {
                private: &alice,
                ephemeral: &alice_ephemeral,
            },
            &psk,
            &second_ephemeral,
            &encrypted,
            &mut opened,
        )
        .unwrap();
        assert_eq!(opened, payload);

        assert_eq!(alices.handshake_hash(), vector_key("handshake_hash"));
        assert_eq!(bobs.handshake_hash(), vector_key("handshake_hash"));

        // <-> transport messages, by turns
        let (first, second) = alices.split();
        assert_eq!((first.clone(), second.clone()), bobs.split());
        for (number, key, counter) in [
            (3, &first, 0),
            (4, &second, 0),
            (5, &first, 1),
            (6, &second, 1),
        ] {
            let payload = vector(&format!("payload_{number}"));
            let mut sealed = vec![0; payload.len() + TAG_LEN];
            crypto::seal(key, counter, &[], &payload, &mut sealed);
            assert_eq!(
                sealed,
                vector(&format!("ciphertext_{number}")),
                "message {number}"
            );
        }
    }
}
