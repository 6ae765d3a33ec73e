//! All of a gateway's configuration, secrets included: what a `get` of WireGuard's configuration
//! protocol asks for. `status` has no secrets.

use weapon_noise::{PresharedKey, PrivateKey, Tick};

use super::{Gateway, PeerStatus};

/// A gateway's configuration and state at one moment, with its secrets.
#[derive(Debug)]
pub struct GatewayDump {
    /// Our static key, if we have one.
    pub private_key: Option<PrivateKey>,
    /// The peers, in the order of their addition.
    pub peers: Vec<PeerDump>,
}

/// A peer's configuration and state at one moment, with its secret.
#[derive(Debug)]
pub struct PeerDump {
    /// All that is no secret.
    pub status: PeerStatus,
    /// The pre-shared key, if there is one.
    pub preshared_key: Option<PresharedKey>,
}

impl Gateway {
    /// Everything at `now`.
    pub fn dump(&self, now: Tick) -> GatewayDump {
        let status = self.status(now);
        // Both go through the members in their order.
        let peers = status.peers.into_iter().zip(self.members.values());
        GatewayDump {
            private_key: (!self.is_keyless).then(|| self.identity.private().clone()),
            peers: peers
                .map(|(status, member)| PeerDump {
                    status,
                    preshared_key: member.tunnel.preshared_key().cloned(),
                })
                .collect(),
        }
    }
}
