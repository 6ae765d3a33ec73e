//! What a filter is, as plainly as it can be said: lists that are gone through from the beginning.

use core::{net::IpAddr, time::Duration};

use weapon_core::{
    DropReason, PeerId,
    filter::{Action, Direction, IcmpType, Protocol, Rule, RulePeers},
};
use weapon_noise::Tick;

use super::headers::{Kind, Packet, icmp_type, is_cut, is_error, number, ports, read};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

/// An address and a port.
type End = (IpAddr, u16);

/// What tells a flow from others, seen from our side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    peer: PeerId,
    ours: End,
    theirs: End,
    protocol: u8,
    /// Of an echo: whether we ask.
    we_ask: Option<bool>,
    /// Which way it goes, where both ends are the same.
    if_same: Option<Direction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Syn,
    SynAck,
    Late,
    Open,
    HalfClosed,
    Closed,
    Reset,
    Asked,
    Answered,
    Talk,
}

#[derive(Clone, Debug)]
struct Flow {
    identity: Identity,
    opened: Direction,
    stage: Stage,
    /// Who has closed, and who has sent anything: we, they.
    closed: [bool; 2],
    sent: [bool; 2],
    last: Tick,
}

#[derive(Clone, Debug)]
struct Begun {
    of: (Direction, PeerId, IpAddr, IpAddr, u8, u32),
    len: usize,
    spoilt: bool,
    at: Tick,
}

pub(super) struct Reference {
    default: Action,
    rules: Vec<Rule>,
    flows: Vec<Flow>,
    begun: Vec<Begun>,
}

type Outcome = Result<(), DropReason>;

impl Reference {
    pub(super) fn new(default: Action, rules: Vec<Rule>) -> Self {
        Self {
            default,
            rules,
            flows: Vec::new(),
            begun: Vec::new(),
        }
    }

    pub(super) fn judge(
        &mut self,
        direction: Direction,
        peer: (PeerId, &str),
        bytes: &[u8],
        now: Tick,
    ) -> Outcome {
        let packet = read(bytes, false).ok_or(DropReason::InnerMalformed)?;
        self.flows
            .retain(|flow| now.since(flow.last) < flow.timeout());
        self.begun
            .retain(|it| now.since(it.at) < Duration::from_secs(30));
        let is_v4 = packet.source.is_ipv4();
        let of = |id| {
            let protocol = if is_v4 { packet.protocol } else { 0 };
            (
                direction,
                peer.0,
                packet.source,
                packet.destination,
                protocol,
                id,
            )
        };
        match packet.kind {
            Kind::Whole => self.judge_whole(direction, peer, &packet, now),
            Kind::Nested => Err(DropReason::FragmentOverlap),
            Kind::Later { id, offset } => {
                let begun = self.begun.iter_mut().find(|it| it.of == of(id));
                let begun = begun.ok_or(DropReason::FragmentUnknown)?;
                begun.spoilt |= offset < begun.len;
                let spoilt = begun.spoilt;
                if spoilt {
                    Err(DropReason::FragmentOverlap)
                } else {
                    Ok(())
                }
            }
            Kind::First { id, len } => {
                let begun = self.begun.iter().position(|it| it.of == of(id));
                if let Some(index) = begun {
                    let begun = &mut self.begun[index];
                    begun.spoilt |= begun.len != len;
                    if begun.spoilt {
                        return Err(DropReason::FragmentOverlap);
                    }
                }
                let result = if is_cut(&packet) {
                    Err(DropReason::FragmentTiny)
                } else {
                    self.judge_whole(direction, peer, &packet, now)
                };
                match (&result, begun) {
                    (Ok(()), None) => self.begun.push(Begun {
                        of: of(id),
                        len,
                        spoilt: false,
                        at: now,
                    }),
                    (Ok(()), Some(index)) => self.begun[index].at = now,
                    (Err(_), Some(index)) => self.begun[index].spoilt = true,
                    (Err(_), None) => {}
                }
                result
            }
        }
    }

    fn judge_whole(
        &mut self,
        direction: Direction,
        peer: (PeerId, &str),
        packet: &Packet<'_>,
        now: Tick,
    ) -> Outcome {
        if is_cut(packet) {
            return Err(DropReason::TransportMalformed);
        }
        let flags = (packet.protocol == 6).then(|| packet.rest[13]);
        if flags.is_some_and(is_absurd) {
            return Err(DropReason::TransportMalformed);
        }
        let icmp = icmp_type(packet);
        if is_error(icmp) && self.is_related(direction, peer.0, packet) {
            return Ok(());
        }
        let identity = identity(direction, peer.0, packet, icmp);
        let is_reply_alone = matches!(icmp, Some(IcmpType::V4(0) | IcmpType::V6(129)));
        let at = identity.and_then(|it| self.flows.iter().position(|flow| flow.identity == it));
        let (Some(identity), false) = (identity, is_reply_alone && at.is_none()) else {
            return self.ask(direction, peer.1, packet, icmp);
        };
        let side = usize::from(direction == Direction::Inbound);
        if let Some(at) = at {
            let flow = &mut self.flows[at];
            let is_reply = direction != flow.opened;
            match flow.next(flags, is_reply, side) {
                Next::Goes(stage) => {
                    flow.stage = stage;
                    flow.note(flags, side, now);
                    return Ok(());
                }
                Next::Apart => return self.ask(direction, peer.1, packet, icmp),
                Next::Anew => {
                    self.ask(direction, peer.1, packet, icmp)?;
                    self.flows.remove(at);
                }
            }
        } else {
            self.ask(direction, peer.1, packet, icmp)?;
            if flags.is_some_and(|flags| flags & RST != 0) {
                return Ok(());
            }
        }
        let stage = match flags {
            None => Stage::Asked,
            Some(flags) if flags & SYN != 0 && flags & ACK == 0 => Stage::Syn,
            Some(_) => Stage::Late,
        };
        let mut flow = Flow {
            identity,
            opened: direction,
            stage,
            closed: [false; 2],
            sent: [false; 2],
            last: now,
        };
        flow.note(flags, side, now);
        self.flows.push(flow);
        Ok(())
    }

    /// The rules, from the first one on.
    fn ask(
        &self,
        direction: Direction,
        peer: &str,
        packet: &Packet<'_>,
        icmp: Option<IcmpType>,
    ) -> Outcome {
        let ports = ports(packet);
        let protocol = if icmp.is_some() {
            Protocol::Icmp
        } else {
            Protocol::Number(packet.protocol)
        };
        for rule in &self.rules {
            let mut matches = true;
            if let Some(asked) = rule.direction {
                matches &= asked == direction;
            }
            if let RulePeers::Named(names) = &rule.peers {
                matches &= names.iter().any(|name| **name == *peer);
            }
            for (nets, address) in [(&rule.from, packet.source), (&rule.to, packet.destination)] {
                matches &= nets.is_empty() || nets.iter().any(|net| net.contains(&address));
            }
            matches &= rule.protocols.is_empty() || rule.protocols.contains(&protocol);
            for (ranges, port) in [
                (&rule.source_ports, ports.map(|it| it.0)),
                (&rule.ports, ports.map(|it| it.1)),
            ] {
                let is_in = |port| ranges.iter().any(|it| it.first <= port && port <= it.last);
                matches &= ranges.is_empty() || port.is_some_and(is_in);
            }
            matches &= rule.icmp.is_empty() || icmp.is_some_and(|it| rule.icmp.contains(&it));
            if matches {
                return verdict(rule.action);
            }
        }
        verdict(self.default)
    }

    /// Whether the error quotes a packet of a flow that the host which gets it has sent.
    fn is_related(&self, direction: Direction, peer: PeerId, packet: &Packet<'_>) -> bool {
        let Some(quoted) = packet.rest.get(8..).and_then(|quote| read(quote, true)) else {
            return false;
        };
        if packet.rest.len() == 8
            || !matches!(quoted.kind, Kind::Whole | Kind::First { .. })
            || quoted.rest.len() < 8
            || quoted.source != packet.destination
        {
            return false;
        }
        let back = match direction {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        };
        let icmp = icmp_type(&quoted);
        let Some(identity) = identity(back, peer, &quoted, icmp) else {
            return false;
        };
        let sender = usize::from(back == Direction::Inbound);
        self.flows
            .iter()
            .any(|flow| flow.identity == identity && flow.sent[sender])
    }
}

enum Next {
    Goes(Stage),
    Anew,
    Apart,
}

impl Flow {
    fn note(&mut self, flags: Option<u8>, side: usize, now: Tick) {
        self.closed[side] |= flags.is_some_and(|flags| flags & FIN != 0);
        self.sent[side] = true;
        self.last = now;
    }

    fn next(&self, flags: Option<u8>, is_reply: bool, side: usize) -> Next {
        use Stage::{Answered, Asked, Closed, HalfClosed, Late, Open, Reset, Syn, SynAck, Talk};
        let Some(flags) = flags else {
            let is_udp = self.identity.protocol == 17;
            return Next::Goes(match self.stage {
                Asked if is_reply => Answered,
                Answered if !is_reply && is_udp => Talk,
                stage => stage,
            });
        };
        let has = |flag| flags & flag != 0;
        if has(RST) {
            return Next::Goes(Reset);
        }
        if has(SYN) && !has(ACK) {
            return match (self.stage, is_reply) {
                (Syn | SynAck, true) => Next::Goes(SynAck),
                (Syn | SynAck, false) => Next::Goes(self.stage),
                (Open | HalfClosed, false) => Next::Goes(self.stage),
                (Open | HalfClosed, true) => Next::Apart,
                _ => Next::Anew,
            };
        }
        if has(FIN) {
            return Next::Goes(match self.stage {
                Syn | Reset | Closed => self.stage,
                _ if self.closed[1 - side] => Closed,
                _ => HalfClosed,
            });
        }
        Next::Goes(match self.stage {
            Syn if is_reply && has(SYN) => SynAck,
            SynAck if !is_reply => Open,
            Late if is_reply => Open,
            stage => stage,
        })
    }

    fn timeout(&self) -> Duration {
        let identity = &self.identity;
        let is_icmp = identity.we_ask.is_some();
        Duration::from_secs(match self.stage {
            Stage::Open => 2 * 3600 + 4 * 60,
            Stage::Syn | Stage::SynAck | Stage::Late | Stage::HalfClosed | Stage::Closed => 240,
            Stage::Reset => 10,
            Stage::Talk => 300,
            Stage::Asked | Stage::Answered if identity.protocol == 17 => 120,
            Stage::Asked | Stage::Answered if is_icmp => 60,
            Stage::Asked | Stage::Answered => 600,
        })
    }
}

fn verdict(action: Action) -> Outcome {
    match action {
        Action::Allow => Ok(()),
        Action::Deny => Err(DropReason::Denied),
    }
}

fn is_absurd(flags: u8) -> bool {
    let has = |flag| flags & flag != 0;
    (has(SYN) && has(FIN))
        || (has(SYN) && has(RST))
        || (has(FIN) && has(RST))
        || !(has(SYN) || has(RST) || has(ACK))
}

fn identity(
    direction: Direction,
    peer: PeerId,
    packet: &Packet<'_>,
    icmp: Option<IcmpType>,
) -> Option<Identity> {
    let is_ours = direction == Direction::Outbound;
    let id = || number(&packet.rest[4..6]) as u16;
    let (ports, we_ask) = match icmp {
        Some(IcmpType::V4(8) | IcmpType::V6(128)) => ((id(), id()), Some(is_ours)),
        Some(IcmpType::V4(0) | IcmpType::V6(129)) => ((id(), id()), Some(!is_ours)),
        Some(_) => return None,
        None => (ports(packet).unwrap_or_default(), None),
    };
    let source = (packet.source, ports.0);
    let destination = (packet.destination, ports.1);
    let (ours, theirs) = if is_ours {
        (source, destination)
    } else {
        (destination, source)
    };
    Some(Identity {
        peer,
        ours,
        theirs,
        protocol: packet.protocol,
        we_ask,
        if_same: (ours == theirs).then_some(direction),
    })
}
