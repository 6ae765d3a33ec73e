//! Our own static key: changed, taken away, given back; and told to who decrypts recordings.

use weapon_noise::{CookieChecker, Identity, KeyLog, PrivateKey};

use super::{Env, Gateway};

impl Gateway {
    /// From here on `log` hears our static key and the secrets of all handshakes.
    pub fn danger_export_keys(&mut self, mut log: Box<dyn KeyLog>) {
        if !self.is_keyless {
            log.note_identity(self.identity.private());
        }
        self.shared.key_log = Some(log);
    }

    /// Changes our static key (P21). The same key again changes nothing. A peer that has the new
    /// key as its own is removed.
    pub fn set_private_key(&mut self, key: PrivateKey, env: &mut Env<'_>) {
        let identity = Identity::new(key);
        if !self.is_keyless && identity.public() == self.identity.public() {
            return;
        }
        if let Some(ourselves) = self.peer_by_key(identity.public()) {
            self.remove_peer(ourselves, env);
        }
        if let Some(log) = &mut self.shared.key_log {
            log.note_identity(identity.private());
        }
        self.set_identity(identity, env);
        if std::mem::take(&mut self.is_keyless) && self.up {
            self.tunnels_up(env);
        }
    }

    /// Takes our static key away: nothing is sent or answered until there is another.
    pub fn take_private_key(&mut self, env: &mut Env<'_>) {
        self.is_keyless = true;
        self.tunnels_down(env);
        // What was derived from the old key goes with it.
        self.set_identity(Identity::new(PrivateKey::from_bytes(&[0; 32])), env);
    }

    fn set_identity(&mut self, identity: Identity, env: &mut Env<'_>) {
        self.cookies = CookieChecker::new(&identity);
        self.identity = identity;
        for id in self.ids() {
            self.with_tunnel(id, env, |tunnel, identity, host| {
                tunnel.set_identity(identity, host)
            });
        }
    }
}
