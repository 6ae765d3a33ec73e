//! What peers get of a gateway: what is wanted, and what is made of it for the peers of the moment.

use core::sync::atomic::Ordering::Relaxed;
use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use weapon_noise::PublicKey;

use super::Gateway;
use crate::{
    RateLimit,
    filter::Direction,
    service::{Bucket, Excess, GroupBucket, Limits, Service, ServiceTable},
};

/// What peers and groups of peers get; who is not named gets all that there is, and no mark.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// Limits that the members of a group share.
    pub groups: Vec<GroupService>,
    /// Peers, by their keys: who is removed and added again gets the same.
    pub peers: Vec<PeerService>,
}

/// What all members of a group get together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupService {
    /// Its name.
    pub name: String,
    /// The limits.
    pub limits: RateLimits,
}

/// What one peer gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerService {
    /// Who it is.
    pub public_key: PublicKey,
    /// DSCP of datagrams to it, 0 to 63.
    pub dscp: u8,
    /// Its own limits.
    pub limits: RateLimits,
    /// The groups in whose limits it shares.
    pub groups: Vec<String>,
}

/// Limits of both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimits {
    /// To a peer.
    pub outbound: Option<RateLimit>,
    /// From a peer.
    pub inbound: Option<RateLimit>,
}

impl RateLimits {
    /// That of one direction.
    pub fn of(&self, direction: Direction) -> Option<RateLimit> {
        match direction {
            Direction::Outbound => self.outbound,
            Direction::Inbound => self.inbound,
        }
    }
}

/// What a peer gets at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// DSCP of datagrams to it.
    pub dscp: u8,
    /// To the peer.
    pub outbound: LimitStatus,
    /// From the peer.
    pub inbound: LimitStatus,
}

/// The limits of a peer in one direction, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitStatus {
    /// Its own, which belongs to no group, and those of its groups.
    pub limits: Vec<(Option<String>, RateLimit)>,
    /// Packets that were too many.
    pub dropped_packets: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
}

/// What was made of it: buckets outlive a change that does not touch their limit.
#[derive(Debug, Default)]
pub(super) struct Made {
    groups: BTreeMap<String, [Option<Arc<Bucket>>; 2]>,
    peers: BTreeMap<PublicKey, Arc<Service>>,
}

const DIRECTIONS: [Direction; 2] = [Direction::Outbound, Direction::Inbound];

impl Gateway {
    /// Changes what peers get, from the next packet on. A limit that is another than before begins
    /// with all of its burst.
    pub fn set_services(&mut self, services: &Services) {
        self.replace_services(services);
        self.publish();
    }

    /// The same, without telling the lanes yet.
    pub(super) fn replace_services(&mut self, services: &Services) {
        self.services = self.services.changed(services);
    }

    /// For lanes; nothing if all peers get the same.
    pub(super) fn service_table(&self) -> Option<Arc<ServiceTable>> {
        let services = self.services.peers.iter().filter_map(|(key, service)| {
            let id = self.by_key.get(key)?;
            Some((*id, Arc::clone(service)))
        });
        let services: Vec<_> = services.collect();
        (!services.is_empty()).then(|| Arc::new(ServiceTable::new(services)))
    }

    pub(super) fn service_status(&self, key: &PublicKey) -> Option<ServiceStatus> {
        let service = self.services.peers.get(key)?;
        Some(ServiceStatus {
            dscp: service.dscp,
            outbound: LimitStatus::of(&service.outbound),
            inbound: LimitStatus::of(&service.inbound),
        })
    }
}

impl LimitStatus {
    fn of(limits: &Limits) -> Self {
        let all = limits.buckets.iter();
        Self {
            limits: all
                .map(|it| (it.group.as_deref().map(str::to_owned), it.bucket.limit()))
                .collect(),
            dropped_packets: limits.dropped.packets.load(Relaxed),
            dropped_bytes: limits.dropped.bytes.load(Relaxed),
        }
    }
}

impl Made {
    /// What `wanted` says, with the buckets that may stay.
    fn changed(&self, wanted: &Services) -> Self {
        let groups = wanted.groups.iter().map(|group| {
            let before = self.groups.get(&group.name);
            let buckets = DIRECTIONS.map(|direction| {
                let before = before.and_then(|all| of(all, direction).as_ref());
                bucket(group.limits.of(direction), before)
            });
            (group.name.clone(), buckets)
        });
        let groups: BTreeMap<_, _> = groups.collect();
        let peers = wanted.peers.iter().map(|peer| {
            let before = self.peers.get(&peer.public_key);
            let [outbound, inbound] = DIRECTIONS.map(|direction| {
                let before = before.map(|service| match direction {
                    Direction::Outbound => &service.outbound,
                    Direction::Inbound => &service.inbound,
                });
                limits(peer, direction, before, &groups)
            });
            let service = Service {
                dscp: peer.dscp,
                outbound,
                inbound,
            };
            (peer.public_key, Arc::new(service))
        });
        Self {
            peers: peers.collect(),
            groups,
        }
    }
}

/// Of a peer: its own bucket, and those of its groups.
fn limits(
    peer: &PeerService,
    direction: Direction,
    before: Option<&Limits>,
    groups: &BTreeMap<String, [Option<Arc<Bucket>>; 2]>,
) -> Limits {
    let own = before.and_then(|limits| limits.buckets.iter().find(|it| it.group.is_none()));
    let own = bucket(peer.limits.of(direction), own.map(|own| &own.bucket));
    let own = own.map(|bucket| GroupBucket {
        group: None,
        bucket,
    });
    let shared = peer.groups.iter().filter_map(|name| {
        let bucket = of(groups.get(name)?, direction).as_ref()?;
        Some(GroupBucket {
            group: Some(name.as_str().into()),
            bucket: Arc::clone(bucket),
        })
    });
    Limits {
        buckets: own.into_iter().chain(shared).collect(),
        dropped: match before {
            Some(before) => Arc::clone(&before.dropped),
            None => Arc::new(Excess::default()),
        },
    }
}

/// The bucket of a limit: the one that there is, if it is of the same.
fn bucket(limit: Option<RateLimit>, before: Option<&Arc<Bucket>>) -> Option<Arc<Bucket>> {
    let limit = limit?;
    let same = before.filter(|bucket| bucket.limit() == limit);
    Some(same.map_or_else(|| Arc::new(Bucket::new(limit)), Arc::clone))
}

fn of<T>([outbound, inbound]: &[T; 2], direction: Direction) -> &T {
    match direction {
        Direction::Outbound => outbound,
        Direction::Inbound => inbound,
    }
}
