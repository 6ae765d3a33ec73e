//! The ends of a tunnel, before anybody writes them down in his own format.

use anyhow::{Context, Result};
use weapon_noise::{PrivateKey, PublicKey};

use crate::lab::Side;

/// UDP port of every end.
pub(crate) const PORT: u16 = 51820;

/// One end: who it is, and whom it knows.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) side: Side,
    pub(crate) private_key: PrivateKey,
    pub(crate) peers: Vec<Peer>,
}

/// Somebody an end knows.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) public_key: PublicKey,
    /// `address:port`, if the end speaks first.
    pub(crate) endpoint: Option<String>,
    pub(crate) networks: Vec<String>,
}

impl End {
    /// Two ends that know each other, with new keys.
    pub(crate) fn pair() -> Result<[Self; 2]> {
        let keys = [random_key()?, random_key()?];
        let [a, b] = [keys[0].public(), keys[1].public()];
        let [key_a, key_b] = keys;
        Ok([
            Self::towards_one(Side::A, key_a, b),
            Self::towards_one(Side::B, key_b, a),
        ])
    }

    fn towards_one(side: Side, private_key: PrivateKey, public_key: PublicKey) -> Self {
        let other = side.other();
        let peer = Peer {
            public_key,
            endpoint: Some(format!("{}:{PORT}", other.underlay())),
            networks: vec![
                format!("{}/32", other.overlay()),
                format!("{}/128", other.overlay_ipv6()),
            ],
        };
        Self {
            side,
            private_key,
            peers: vec![peer],
        }
    }

    /// Its addresses in the tunnel, with the length of the prefix.
    pub(crate) fn addresses(&self) -> [String; 2] {
        [
            format!("{}/24", self.side.overlay()),
            format!("{}/64", self.side.overlay_ipv6()),
        ]
    }
}

/// A new private key.
pub(crate) fn random_key() -> Result<PrivateKey> {
    let mut bytes = [0; 32];
    weapon_io::entropy::fill(&mut bytes).context("the kernel has no randomness")?;
    Ok(PrivateKey::from_bytes(&bytes))
}
