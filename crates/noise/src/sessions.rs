//! The three slots of a tunnel: previous, current and next keypair (paper 6.1, kernel
//! `noise.c:add_new_keypair`).

use std::sync::Arc;

use crate::{Keypair, handshake::Role};

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
    pub(crate) fn install(&mut self, keypair: Arc<Keypair>) -> [Option<Arc<Keypair>>; 2] {
        match keypair.role() {
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
