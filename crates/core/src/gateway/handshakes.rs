//! Handshake messages that lanes handed over.

use weapon_noise::{HandshakeError, PublicKey, Refused, Rejected, Verdict, open_initiation};
use weapon_wire::message::{CookieReply, Initiation, Kind, Response, kind};

use super::{Env, Gateway, Happening, RejectedBecause};
use crate::{DropReason, Dropped, ports::HandshakeMessage};

/// Handshake messages that wait for the control loop at most. An eighth of it is "under load"
/// (paper 5.3; wireguard-go `QueueHandshakeSize`).
pub const HANDSHAKE_QUEUE_MAX: usize = 1024;

impl Gateway {
    /// Notes how many handshake messages were waiting when the control loop came to look.
    pub fn note_handshake_queue(&mut self, len: usize, env: &Env<'_>) {
        self.load.note_queue(len, HANDSHAKE_QUEUE_MAX, env.now.tick);
    }

    /// Notes the handshake messages that wait, by where they come from: a flood from one network is
    /// no load for the others (P74).
    pub fn note_handshakes<'a>(
        &mut self,
        waiting: impl Iterator<Item = &'a HandshakeMessage>,
        env: &mut Env<'_>,
    ) {
        let addresses = waiting.map(|message| message.from.remote.ip());
        let others = self.origins.note(addresses, env.now.tick, env.entropy);
        self.note_handshake_queue(others, env);
    }

    /// Handles one handshake message. Only authentic ones, and those that must prove their address
    /// first, are answered.
    pub fn handle_handshake(&mut self, message: &HandshakeMessage, env: &mut Env<'_>) {
        let mut claimed = Claimed::default();
        let Err(reason) = self.try_handshake(message, &mut claimed, env) else {
            return;
        };
        let from = message.from.remote;
        let peer = claimed.key.and_then(|key| self.peer_by_key(&key));
        let dropped = Dropped::sealed(reason, peer, from);
        self.shared.counters.note(dropped, 1, env.now.tick);
        if matches!(kind(message.bytes()), Ok(Kind::Initiation))
            && let Some(because) = because(reason, claimed.is_low_order)
        {
            self.rejections.note(claimed.key, from, because, env.now);
            let peer = peer.and_then(|id| self.members.get(&id));
            self.shared.happenings.note(|| Happening::Rejected {
                peer: peer.map(|member| member.peer.name.clone()),
                key: claimed.key,
                from,
                because,
            });
        }
    }

    fn try_handshake(
        &mut self,
        message: &HandshakeMessage,
        claimed: &mut Claimed,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        if !self.up {
            return Err(DropReason::InterfaceDown);
        }
        if self.is_keyless {
            // Whoever it is meant for, it is not us.
            return Err(DropReason::InvalidMac1);
        }
        let bytes = message.bytes();
        match kind(bytes).map_err(|_| DropReason::NotWireGuard)? {
            Kind::Initiation => {
                self.check_macs(message, env)?;
                let initiation = Initiation::parse(bytes).ok_or(DropReason::NotWireGuard)?;
                self.initiation(initiation, message, claimed, env)
            }
            Kind::Response => {
                self.check_macs(message, env)?;
                let response = Response::parse(bytes).ok_or(DropReason::NotWireGuard)?;
                self.response(response, message, env)
            }
            Kind::CookieReply => {
                let reply = CookieReply::parse(bytes).ok_or(DropReason::NotWireGuard)?;
                self.cookie_reply(reply, env)
            }
            Kind::Data => Err(DropReason::NotWireGuard),
        }
    }

    /// mac1 always, mac2 and the rate under load (P04, P65, P66).
    fn check_macs(
        &mut self,
        message: &HandshakeMessage,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let now = env.now.tick;
        let from = message.from.remote;
        let under_load = self.load.under_load(now) || self.origins.under_load(from.ip(), now);
        match self
            .cookies
            .check(message.bytes(), from, now, under_load, env.entropy)
        {
            Verdict::Proceed => Ok(()),
            Verdict::InvalidMac1 => Err(DropReason::InvalidMac1),
            Verdict::RateLimited => Err(DropReason::RateLimited),
            Verdict::EntropyNotReady => Err(DropReason::EntropyNotReady),
            Verdict::CookieReply(reply) => {
                env.underlay.send(&message.from, 0, reply.as_bytes());
                Err(DropReason::CookieRequired)
            }
        }
    }

    fn initiation(
        &mut self,
        initiation: &Initiation,
        message: &HandshakeMessage,
        claimed: &mut Claimed,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let opened = open_initiation(&self.identity, initiation).map_err(|error| {
            claimed.is_low_order = error == HandshakeError::LowOrder;
            DropReason::HandshakeInvalid
        })?;
        claimed.key = Some(*opened.remote_public());
        let id = self
            .peer_by_key(opened.remote_public())
            .ok_or(DropReason::UnknownPeer)?;
        self.with_tunnel(id, env, |tunnel, _, host| {
            tunnel.accept_initiation(opened, &message.from, host.now().tick, host)
        })
        .unwrap_or(Ok(()))
        .map_err(|rejected| {
            let low_order = Rejected::Handshake(HandshakeError::LowOrder);
            claimed.is_low_order = rejected == low_order;
            reason(rejected)
        })
    }

    fn response(
        &mut self,
        response: &Response,
        message: &HandshakeMessage,
        env: &mut Env<'_>,
    ) -> Result<(), DropReason> {
        let holder = self.shared.indices.holder(response.receiver.get());
        let id = holder.ok_or(DropReason::ResponseUnasked)?;
        self.with_tunnel(id, env, |tunnel, identity, host| {
            tunnel.accept_response(identity, response, &message.from, host.now().tick, host)
        })
        .unwrap_or(Ok(()))
        .map_err(reason)
    }

    fn cookie_reply(&mut self, reply: &CookieReply, env: &mut Env<'_>) -> Result<(), DropReason> {
        let holder = self.shared.indices.holder(reply.receiver.get());
        let id = holder.ok_or(DropReason::CookieInvalid)?;
        self.with_tunnel(id, env, |tunnel, _, host| {
            tunnel.accept_cookie(reply, host.now().tick)
        })
        .unwrap_or(Ok(()))
        .map_err(reason)
    }
}

fn reason(rejected: Rejected) -> DropReason {
    match rejected {
        Rejected::Handshake(HandshakeError::EntropyNotReady(_)) | Rejected::EntropyNotReady => {
            DropReason::EntropyNotReady
        }
        Rejected::Handshake(_) => DropReason::HandshakeInvalid,
        Rejected::Refused(Refused::Replay) => DropReason::InitiationReplayed,
        Rejected::Refused(Refused::Flood) => DropReason::InitiationFlood,
        Rejected::Unasked => DropReason::ResponseUnasked,
        Rejected::Cookie => DropReason::CookieInvalid,
    }
}

/// What became known of an initiation until it was dropped.
#[derive(Default)]
struct Claimed {
    key: Option<PublicKey>,
    is_low_order: bool,
}

/// What a person is told of an initiation that was dropped for `reason`; nothing if the reason is
/// ours.
fn because(reason: DropReason, is_low_order: bool) -> Option<RejectedBecause> {
    match reason {
        DropReason::InvalidMac1 => Some(RejectedBecause::WrongMac1),
        DropReason::CookieRequired => Some(RejectedBecause::UnderLoad),
        DropReason::RateLimited => Some(RejectedBecause::RateLimited),
        DropReason::HandshakeInvalid if is_low_order => Some(RejectedBecause::LowOrder),
        DropReason::HandshakeInvalid => Some(RejectedBecause::NotAuthentic),
        DropReason::UnknownPeer => Some(RejectedBecause::UnknownKey),
        DropReason::InitiationReplayed => Some(RejectedBecause::StaleTimestamp),
        DropReason::InitiationFlood => Some(RejectedBecause::TooSoon),
        _ => None,
    }
}
