//! The secrets of handshakes, for who decrypts a recording of the outer packets elsewhere. Nobody
//! does unless somebody asked for it in so many words: with these, who has recorded the datagrams
//! reads what was in them.

use crate::{
    PresharedKey, PrivateKey, PublicKey,
    crypto::Scalar,
    handshake::{Remote, Role},
};

/// Hears the secrets of handshakes.
pub trait KeyLog: core::fmt::Debug + Send {
    /// This is our key from here on.
    fn note_identity(&mut self, private: &PrivateKey);

    /// A handshake message with a new ephemeral key of ours is about to be sent.
    fn note_handshake(&mut self, secrets: &HandshakeSecrets<'_>);
}

/// What a handshake adds to the static keys.
#[derive(Debug)]
pub struct HandshakeSecrets<'a> {
    /// Our side of it.
    pub role: Role,
    /// The peer's static public key.
    pub remote: &'a PublicKey,
    /// The ephemeral key that we made for it.
    pub ephemeral: PrivateKey,
    /// The preshared key, if there is one.
    pub preshared_key: Option<&'a PresharedKey>,
}

impl<'a> HandshakeSecrets<'a> {
    #[cold]
    pub(crate) fn new(role: Role, remote: &'a Remote, ephemeral: &Scalar) -> Self {
        Self {
            role,
            remote: remote.public(),
            ephemeral: PrivateKey::from_bytes(ephemeral.export().expose()),
            preshared_key: Some(remote.psk()).filter(|key| !key.is_none()),
        }
    }
}
