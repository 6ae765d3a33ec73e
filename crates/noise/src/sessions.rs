//! The three slots of a tunnel: previous, current and next keypair (paper 6.1, kernel
//! `noise.c:add_new_keypair`).

use crate::{Keypair, handshake::Role, protocol::REKEY_TIMEOUT, sync::Arc};

/// Keypairs that are alive. At most three, so at most three receiver indices (P57).
#[derive(Debug, Default)]
pub struct Sessions {
    previous: Option<Arc<Keypair>>,
    current: Option<Arc<Keypair>>,
    next: Option<Arc<Keypair>>,
    /// Our static key changed: `current` only receives.
    receive_only: bool,
}

impl Sessions {
    /// The keypair that is sent with.
    pub fn current(&self) -> Option<&Arc<Keypair>> {
        self.current.as_ref().filter(|_| !self.receive_only)
    }

    /// The keypair of the session before, for packets still on their way.
    pub fn previous(&self) -> Option<&Arc<Keypair>> {
        self.previous.as_ref()
    }

    /// The responder's new keypair, until the peer has used it.
    pub fn next(&self) -> Option<&Arc<Keypair>> {
        self.next.as_ref()
    }

    /// Puts a new keypair into its slot and returns those that fell out (P55).
    ///
    /// If both ends asked at the same time, each gets two keypairs. The end that `yields` waits for
    /// the other's to be used, and uses it then: so both ends send with the same one, and one end
    /// alone rekeys.
    pub(crate) fn install(
        &mut self,
        keypair: Arc<Keypair>,
        yields: bool,
    ) -> [Option<Arc<Keypair>>; 2] {
        match keypair.role() {
            Role::Initiator if yields && self.asked_at_once(&keypair) => {
                let current = self.current.replace(keypair);
                self.receive_only = false;
                [core::mem::replace(&mut self.previous, current), None]
            }
            // The response has proven that the peer has the key: it may be sent with at once.
            Role::Initiator => {
                let current = self.current.replace(keypair);
                self.receive_only = false;
                match self.next.take() {
                    Some(next) => [self.previous.replace(next), current],
                    None => [core::mem::replace(&mut self.previous, current), None],
                }
            }
            Role::Responder => [self.next.replace(keypair), self.previous.take()],
        }
    }

    /// Whether the peer's initiation that made `next` was on its way while ours was: later it would
    /// have had to wait for 5 s after its answer to ours (P28).
    fn asked_at_once(&self, ours: &Keypair) -> bool {
        self.next
            .as_ref()
            .is_some_and(|next| ours.created().since(next.created()) < REKEY_TIMEOUT)
    }

    /// If the peer has used `next`, it becomes current: `Some` with the keypair that fell out. Else
    /// `None`.
    pub(crate) fn confirm(&mut self) -> Option<Option<Arc<Keypair>>> {
        let next = self.next.take_if(|next| next.is_confirmed())?;
        self.receive_only = false;
        let current = self.current.replace(next);
        Some(core::mem::replace(&mut self.previous, current))
    }

    /// Nothing is sent with the live keypairs any more; the unconfirmed one is returned and dead.
    pub(crate) fn stop_sending(&mut self) -> Option<Arc<Keypair>> {
        self.receive_only = true;
        self.next.take()
    }

    /// Empties all slots and returns what was in them.
    pub(crate) fn erase(&mut self) -> [Option<Arc<Keypair>>; 3] {
        self.receive_only = false;
        [self.previous.take(), self.current.take(), self.next.take()]
    }
}
