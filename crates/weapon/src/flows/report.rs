//! Flows and rules as the local API tells them.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weapon_core::{
    Checkpoint, PeerId,
    filter::{Action, Filter},
    flows::FlowRecord,
};
use weapon_engine::Engine;
use weapon_noise::Tick;

use super::{FlowsQuery, direction_name, flag_letters, protocol_name};

/// A part of the flow table, and what the rules have decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowsReport {
    /// The flows that were asked for.
    pub flows: Vec<FlowReport>,
    /// The cursor with which the next part is asked for; null is the end.
    pub next: Option<usize>,
    /// Flows in the whole table, those included whose time has just run out.
    pub total: usize,
    /// Flows that there is room for.
    pub capacity: usize,
    /// Whether rules decide; if not, flows are watched alone.
    pub enforced: bool,
    /// The rules in their order, and the default at the end.
    pub rules: Vec<RuleReport>,
    /// Events of flows that found no room in their queue.
    pub events_lost: u64,
}

/// What a rule has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// `allow` or `deny`.
    pub action: String,
    /// Packets that it let pass: the first of each flow, and those that belong to none.
    pub allowed: u64,
    /// Packets that it let die. At the default are those too that died whatever the rules say.
    pub denied: u64,
}

/// A flow: what two ends send each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FlowReport {
    /// From or to which peer.
    pub peer: String,
    /// `inbound` if it was opened from the peer's side, `outbound` if from ours.
    pub direction: String,
    /// What it carries: `tcp`, `udp`, `icmp` or a number.
    pub protocol: String,
    /// Who has opened it.
    #[schema(value_type = String)]
    pub source: IpAddr,
    /// Its port; the identifier of an echo.
    pub source_port: Option<u16>,
    /// To whom.
    #[schema(value_type = String)]
    pub destination: IpAddr,
    /// Its port.
    pub destination_port: Option<u16>,
    /// How far it has come: `syn_sent`, `syn_received`, `picked_up`, `established`, `closing`,
    /// `closed`, `reset`; `unreplied`, `replied`, `conversation`.
    pub state: String,
    /// The rule that lets it pass.
    pub rule: Option<String>,
    /// Seconds since its first packet.
    pub age_seconds: f64,
    /// Seconds since its last packet.
    pub idle_seconds: f64,
    /// Seconds until it is forgotten if nothing more comes.
    pub expires_seconds: f64,
    /// Packets from its source.
    pub packets: u64,
    /// Bytes of these, with their IP headers.
    pub bytes: u64,
    /// Packets from its destination.
    pub reply_packets: u64,
    /// Bytes of these, with their IP headers.
    pub reply_bytes: u64,
    /// All flags of TCP that its source has sent, by letters as of tcpdump.
    pub tcp_flags: Option<String>,
    /// The same of its destination.
    pub reply_tcp_flags: Option<String>,
    /// Milliseconds from the first packet to the first answer; of TCP from SYN to SYN-ACK.
    pub round_trip_ms: Option<f64>,
}

/// What a gateway says to the question.
///
/// # Errors
/// It watches no flows.
pub fn looked_up(engine: &Engine, query: &FlowsQuery) -> Result<FlowsReport, String> {
    let fib = engine.fib();
    let Some(checkpoint) = fib.checkpoint.as_deref() else {
        let message = "this gateway has no filter and watches no flows: give [filter] \
                       flows = true, or rules, and reload it";
        return Err(message.to_owned());
    };
    let peers = fib.peers.iter();
    let peers: BTreeMap<_, _> = peers.map(|peer| (peer.id, &*peer.name)).collect();
    let now = weapon_engine::now().tick;
    Ok(report(checkpoint, &peers, query, now))
}

fn report(
    checkpoint: &Checkpoint,
    peers: &BTreeMap<PeerId, &str>,
    query: &FlowsQuery,
    now: Tick,
) -> FlowsReport {
    let (flows, filter) = (checkpoint.flows(), checkpoint.filter());
    let name = |id: PeerId| peers.get(&id).copied().unwrap_or_default();
    let wanted = |record: &FlowRecord| is_wanted(record, name(record.peer), query);
    let page = flows.list(filter, now, query.cursor, query.limit, wanted);
    let shown = page.flows.iter();
    FlowsReport {
        flows: shown
            .map(|it| FlowReport::of(it, name(it.peer), now))
            .collect(),
        next: page.next,
        total: flows.len(),
        capacity: flows.capacity(),
        enforced: checkpoint.enforces(),
        rules: rules(filter),
        events_lost: flows.events().lost(),
    }
}

/// What each rule has decided, in their order; the default at the end.
pub(super) fn rules(filter: &Filter) -> Vec<RuleReport> {
    let counts = filter.counts().into_iter();
    let rules = counts.map(|counts| RuleReport {
        name: counts.name.to_string(),
        action: match counts.action {
            Action::Allow => "allow".to_owned(),
            Action::Deny => "deny".to_owned(),
        },
        allowed: counts.allowed,
        denied: counts.denied,
    });
    rules.collect()
}

fn is_wanted(record: &FlowRecord, peer: &str, query: &FlowsQuery) -> bool {
    let is = |asked: &Option<String>, text: &str| asked.as_deref().is_none_or(|it| it == text);
    let address =
        |net: ipnet::IpNet| net.contains(&record.source) || net.contains(&record.destination);
    let port = |port: u16| {
        let ports = record.ports;
        ports.is_some_and(|(source, destination)| source == port || destination == port)
    };
    let protocol =
        |asked: &str| asked == protocol_of(record) || asked == record.protocol.to_string();
    is(&query.peer, peer)
        && query.address.is_none_or(address)
        && query.port.is_none_or(port)
        && query.protocol.as_deref().is_none_or(protocol)
        && is(&query.state, record.state.label())
        && is(&query.rule, record.rule_name.as_deref().unwrap_or_default())
        && query.direction.is_none_or(|it| it == record.direction)
}

fn protocol_of(record: &FlowRecord) -> String {
    protocol_name(record.protocol, record.echo_id.is_some())
}

impl FlowReport {
    fn of(record: &FlowRecord, peer: &str, now: Tick) -> Self {
        let (source_port, destination_port) = match (record.ports, record.echo_id) {
            (Some((source, destination)), _) => (Some(source), Some(destination)),
            (None, id) => (id, None),
        };
        let [packets, reply_packets] = record.packets;
        let [bytes, reply_bytes] = record.bytes;
        let [tcp_flags, reply_tcp_flags] = record.tcp_flags;
        let flags = |bits| flag_letters(record.protocol, bits);
        Self {
            peer: peer.to_owned(),
            direction: direction_name(record.direction).to_owned(),
            protocol: protocol_of(record),
            source: record.source,
            source_port,
            destination: record.destination,
            destination_port,
            state: record.state.label().to_owned(),
            rule: record.rule_name.as_deref().map(str::to_owned),
            age_seconds: now.since(record.first_seen).as_secs_f64(),
            idle_seconds: now.since(record.last_seen).as_secs_f64(),
            expires_seconds: record.expires_in.as_secs_f64(),
            packets,
            bytes,
            reply_packets,
            reply_bytes,
            tcp_flags: flags(tcp_flags),
            reply_tcp_flags: flags(reply_tcp_flags),
            round_trip_ms: record.round_trip.map(|it| it.as_secs_f64() * 1000.0),
        }
    }
}
