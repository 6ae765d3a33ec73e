//! What would become of a packet, stop by stop, without that anything changes: no flow begins, no
//! handshake, and nothing is counted.
//!
//! The stops stand in the order of `outbound.rs` and `inbound.rs`, and ask the same tables.

use core::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_noise::Tick;
use weapon_wire::{Flow, Transport, VnetHeader};

use super::{Gateway, Member, PeerStatus};
use crate::{
    DropReason, Fib, Hypothesis, Peer, PeerId, RateLimit,
    checkpoint::Foresight,
    filter::{Action, Direction, RuleId, Verdict},
    flows::FlowRecord,
    service::Limits,
};

/// What each stop would say; those behind the one that decides are not asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Examination {
    /// What would become of it.
    pub ahead: Ahead,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether there is a key of ours.
    pub has_key: bool,
    /// Bytes of the largest inner packet.
    pub mtu: usize,
    /// Its bytes.
    pub len: usize,
    /// Its source, as it leaves us.
    pub source: IpAddr,
    /// Its destination, as it leaves us.
    pub destination: IpAddr,
    /// Who has the address that routing looks at, outbound the destination and inbound the source,
    /// and by which prefix.
    pub owner: Option<(String, IpNet)>,
    /// What the filter says, if there is one and it is asked.
    pub judgement: Option<Judgement>,
    /// The limit with the least room, if there is one and it is asked.
    pub limit: Option<LimitAhead>,
    /// The peer that it is for, or from. Its networks are left out.
    pub peer: Option<PeerStatus>,
}

/// What would become of it in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ahead {
    /// It goes on.
    Passes,
    /// It waits for a session, and a handshake begins.
    Waits,
    /// It dies.
    Dies(DropReason),
}

/// What the filter says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The rule that decides, or has let the flow pass; [`RuleId::DEFAULT_NAME`] if none does.
    pub rule: String,
    /// Whether it lets the packet pass.
    pub allows: bool,
    /// Whether rules decide; else flows are watched alone.
    pub enforced: bool,
    /// The flow that it belongs to.
    pub flow: Option<KnownFlow>,
}

/// A flow that is there already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownFlow {
    /// How far it has come.
    pub state: String,
    /// Which way it was opened.
    pub direction: Direction,
    /// Milliseconds since its first packet.
    pub age_ms: u64,
}

/// A limit at this moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitAhead {
    /// The group whose members share it; none if it is the peer's own.
    pub group: Option<String>,
    /// What it was made of.
    pub limit: RateLimit,
    /// Bytes that may pass at once.
    pub room_bytes: u64,
}

impl Gateway {
    /// Examines a packet that comes from the peer of this name, or from our side if none is named.
    /// `None` if there is no such peer, or no packet can be like that.
    pub fn examine(
        &self,
        hypothesis: &Hypothesis,
        from: Option<&str>,
        now: Tick,
    ) -> Option<Examination> {
        let packet = hypothesis.packet()?;
        let fib = self.fib().load();
        let from = match from {
            Some(name) => Some(self.peer_by_name(name)?),
            None => None,
        };
        let mut seen = Examination {
            ahead: Ahead::Passes,
            up: self.up,
            has_key: !self.is_keyless,
            mtu: self.mtus.interface(),
            len: packet.len(),
            source: hypothesis.source,
            destination: hypothesis.destination,
            owner: None,
            judgement: None,
            limit: None,
            peer: None,
        };
        let died = match from {
            Some(peer) => self.examine_inbound(packet, peer, (&fib, now), &mut seen),
            None => self.examine_outbound(&packet, (&fib, now), &mut seen),
        };
        seen.ahead = died.unwrap_or_else(Ahead::Dies);
        Some(seen)
    }

    fn examine_outbound(
        &self,
        packet: &[u8],
        (fib, now): (&Fib, Tick),
        seen: &mut Examination,
    ) -> Result<Ahead, DropReason> {
        if !self.up {
            return Err(DropReason::InterfaceDown);
        }
        let mut read = VnetHeader::default().to_bytes().to_vec();
        read.extend_from_slice(packet);
        fib.mappings.leave(&mut read)?;
        let packet = read.get(VnetHeader::LEN..).unwrap_or_default();
        let flow = Flow::parse(packet).map_err(|_| DropReason::OutboundMalformed)?;
        seen.source = flow.source;
        let owner = seen.note_owner(fib, flow.destination);
        let peer = owner.ok_or(DropReason::NoRoute)?;
        let member = self.members.get(&peer.id).ok_or(DropReason::NoRoute)?;
        seen.peer = Some(self.status_of(member, Vec::new(), now));
        seen.note_judgement(fib, Direction::Outbound, peer.id, (&flow, packet), now)?;
        let ahead = self.examine_session(member, now)?;
        if ahead == Ahead::Passes {
            let limits = fib.service(peer.id).map(|service| &service.outbound);
            seen.note_limit(limits, DropReason::OutboundLimit, now)?;
        }
        Ok(ahead)
    }

    /// As the end of `outbound.rs`, and what the control loop does with what waits.
    fn examine_session(&self, member: &Member, now: Tick) -> Result<Ahead, DropReason> {
        let link = &member.peer.link;
        if link.endpoint().is_none() {
            return Err(DropReason::NoEndpoint);
        }
        if link.sending(now).is_some() {
            return Ok(Ahead::Passes);
        }
        match self.cannot_park(member) {
            Some(reason) => Err(reason),
            None => Ok(Ahead::Waits),
        }
    }

    fn examine_inbound(
        &self,
        mut packet: Vec<u8>,
        from: PeerId,
        (fib, now): (&Fib, Tick),
        seen: &mut Examination,
    ) -> Result<Ahead, DropReason> {
        let member = self.members.get(&from).ok_or(DropReason::UnknownPeer)?;
        seen.peer = Some(self.status_of(member, Vec::new(), now));
        if !self.up {
            return Err(DropReason::InterfaceDown);
        }
        let mut flow = Flow::parse(&packet).map_err(|_| DropReason::InnerMalformed)?;
        let owner = seen.note_owner(fib, flow.source);
        if owner.map(|owner| owner.id) != Some(from) {
            return Err(DropReason::WrongSource);
        }
        seen.note_judgement(fib, Direction::Inbound, from, (&flow, &packet), now)?;
        let limits = fib.service(from).map(|service| &service.inbound);
        seen.note_limit(limits, DropReason::InboundLimit, now)?;
        fib.mappings.arrive(&mut packet, &mut flow)?;
        seen.destination = flow.destination;
        Ok(Ahead::Passes)
    }
}

impl Examination {
    fn note_owner<'f>(&mut self, fib: &'f Fib, address: IpAddr) -> Option<&'f Peer> {
        let (network, peer) = fib.routes.lookup_network(address)?;
        self.owner = Some((peer.name.to_string(), network));
        Some(peer)
    }

    fn note_limit(
        &mut self,
        limits: Option<&Limits>,
        reason: DropReason,
        now: Tick,
    ) -> Result<(), DropReason> {
        let Some((one, room_bytes)) = limits.and_then(|limits| limits.tightest(now)) else {
            return Ok(());
        };
        self.limit = Some(LimitAhead {
            group: one.group.as_deref().map(str::to_owned),
            limit: one.bucket.limit(),
            room_bytes,
        });
        if room_bytes < self.len as u64 {
            return Err(reason);
        }
        Ok(())
    }

    fn note_judgement(
        &mut self,
        fib: &Fib,
        direction: Direction,
        peer: PeerId,
        (flow, packet): (&Flow, &[u8]),
        now: Tick,
    ) -> Result<(), DropReason> {
        let Some(checkpoint) = &fib.checkpoint else {
            return Ok(());
        };
        let transport = Transport::of(packet, flow);
        let name = |rule: RuleId| checkpoint.filter().name(rule).map(ToString::to_string);
        let named = |rule| name(rule).unwrap_or_else(|| RuleId::DEFAULT_NAME.to_owned());
        let enforced = checkpoint.enforces();
        let judged = |verdict: Verdict| Judgement {
            rule: named(verdict.rule),
            allows: verdict.action == Action::Allow,
            enforced,
            flow: None,
        };
        match checkpoint.foresee(direction, peer, (flow, &transport), now) {
            Foresight::Known(record) => {
                self.judgement = Some(Judgement {
                    rule: named(record.rule),
                    allows: true,
                    enforced,
                    flow: Some(KnownFlow::of(&record, now)),
                });
                Ok(())
            }
            Foresight::Judged(verdict) => {
                self.judgement = Some(judged(verdict));
                match verdict.action {
                    Action::Deny if enforced => Err(DropReason::Denied),
                    Action::Deny | Action::Allow => Ok(()),
                }
            }
            Foresight::Refused(verdict, reason) => {
                self.judgement = Some(judged(verdict));
                Err(reason)
            }
            Foresight::Unruled(reason) if enforced => Err(reason),
            Foresight::Unruled(_) => Ok(()),
        }
    }
}

impl KnownFlow {
    fn of(record: &FlowRecord, now: Tick) -> Self {
        let age = now.since(record.first_seen).as_millis();
        Self {
            state: record.state.label().to_owned(),
            direction: record.direction,
            age_ms: u64::try_from(age).unwrap_or(u64::MAX),
        }
    }
}
