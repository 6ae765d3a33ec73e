//! Limits of what a peer may send and get, as `weapon status` tells them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weapon_core::{LimitStatus, ServiceStatus};

/// A limit of one direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limit {
    /// `outbound`, to the peer, or `inbound`, from the peer.
    pub direction: String,
    /// The group whose members share it; null if it is the peer's own.
    pub group: Option<String>,
    /// Bits of inner packets in a second.
    pub bits_per_second: u64,
    /// Bytes that pass at once after a rest.
    pub burst_bytes: u64,
}

/// Packets of a peer that died because they were more than its limits let pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Limited {
    /// To the peer.
    pub outbound_packets: u64,
    /// Bytes of those.
    pub outbound_bytes: u64,
    /// From the peer.
    pub inbound_packets: u64,
    /// Bytes of those.
    pub inbound_bytes: u64,
}

/// All limits that hold for a peer: outbound first, and its own before those of groups.
pub(super) fn limits(service: &ServiceStatus) -> Vec<Limit> {
    let of = |direction: &'static str, status: &LimitStatus| {
        let all = status.limits.iter();
        let all = all.map(move |(group, limit)| Limit {
            direction: direction.to_owned(),
            group: group.clone(),
            bits_per_second: limit.bytes_per_second.saturating_mul(8),
            burst_bytes: limit.burst_bytes,
        });
        all.collect::<Vec<_>>()
    };
    let outbound = of("outbound", &service.outbound);
    [outbound, of("inbound", &service.inbound)].concat()
}

/// What they did not let pass; nothing of a peer without limits.
pub(super) fn limited(service: &ServiceStatus) -> Option<Limited> {
    let ServiceStatus {
        outbound, inbound, ..
    } = service;
    let has_limits = !outbound.limits.is_empty() || !inbound.limits.is_empty();
    has_limits.then_some(Limited {
        outbound_packets: outbound.dropped_packets,
        outbound_bytes: outbound.dropped_bytes,
        inbound_packets: inbound.dropped_packets,
        inbound_bytes: inbound.dropped_bytes,
    })
}
