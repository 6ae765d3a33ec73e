//! What is recorded of flows: that they begin and end, and what is denied.

use weapon_core::flows::{Event, EventKind};

use super::{
    entry::{Entry, Kind},
    moment::Moment,
    sender::Sender,
};
use crate::flows::{Told, ToldFlows, direction_name, flag_letters, protocol_name};

/// Records what the gateway's process tells. Never waits.
pub fn record(log: &Sender, flows: ToldFlows) {
    // What was lost came before.
    if flows.lost != 0 {
        let because = "more flows began, ended and were denied at once than are kept";
        log.missed(flows.lost, because);
    }
    for told in flows.events {
        let event = &told.event;
        match event.kind {
            EventKind::Start => log.send(entry(Kind::FlowStart, &told)),
            EventKind::End(because) => {
                let entry = entry(Kind::FlowEnd, &told).with("because", because.label());
                log.send(counted(entry, event));
            }
            // Who is denied can try as often as he likes, and a rule can deny many.
            EventKind::Deny { reason, suppressed } => {
                let sort = format!("{} by {} from {}", reason.label(), told.rule, event.source);
                let entry = entry(Kind::FlowDeny, &told)
                    .with("reason", reason.label())
                    .with("suppressed", suppressed);
                log.send_limited_as(&sort, entry, suppressed.saturating_add(1));
            }
            EventKind::Suppressed(packets) => {
                log.leave_out(Kind::FlowDeny, &format!("by {}", told.rule), packets);
            }
        }
    }
}

/// Who has to do with whom, and by which rule.
fn entry(kind: Kind, told: &Told) -> Entry {
    let event = &told.event;
    let mut entry = Entry::at(Moment::at_boot(event.at.as_nanos()), kind)
        .with("peer", told.peer.as_str())
        .with("direction", direction_name(event.direction))
        .with(
            "protocol",
            protocol_name(event.protocol, event.icmp_kind.is_some()),
        )
        .with_text("source", event.source)
        .with_text("destination", event.destination)
        .with("rule", told.rule.as_str());
    if let Some((source, destination)) = event.ports {
        entry = entry
            .with("source_port", source)
            .with("destination_port", destination);
    }
    if let Some(kind) = event.icmp_kind {
        entry = entry.with("icmp_type", kind);
    }
    entry
}

/// How much it was, and for how long.
fn counted(entry: Entry, event: &Event) -> Entry {
    let [packets, reply_packets] = event.packets;
    let [bytes, reply_bytes] = event.bytes;
    let time = event.last_seen.since(event.first_seen);
    let mut entry = entry
        .with("seconds", time.as_secs_f64())
        .with("packets", packets)
        .with("bytes", bytes)
        .with("reply_packets", reply_packets)
        .with("reply_bytes", reply_bytes);
    let [flags, reply_flags] = event.tcp_flags;
    if let Some(flags) = flag_letters(event.protocol, flags) {
        let reply = flag_letters(event.protocol, reply_flags);
        entry = entry
            .with("tcp_flags", flags)
            .with("reply_tcp_flags", reply);
    }
    if let Some(time) = event.round_trip {
        entry = entry.with("round_trip_ms", time.as_secs_f64() * 1000.0);
    }
    entry
}
