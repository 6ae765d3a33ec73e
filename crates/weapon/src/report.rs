//! What `weapon status` is told: the answer of the local API, as it is printed with `--json`.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use weapon_core::GatewayStatus;
use weapon_engine::EngineStatus;
use weapon_noise::Role;

mod limits;
pub use limits::{Limit, Limited};

#[cfg(test)]
pub mod sample;

/// A running gateway.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Report {
    /// The gateway's name.
    pub name: String,
    /// Its TUN device.
    pub interface: String,
    /// Its process.
    pub pid: u32,
    /// The file it was started with.
    pub config: String,
    /// Its public key.
    pub public_key: String,
    /// Its UDP port.
    pub listen_port: u16,
    /// The mark of what it sends; 0 for none.
    pub fwmark: u32,
    /// Bytes of the largest inner packet.
    pub mtu: usize,
    /// Whether the interface is up.
    pub up: bool,
    /// Threads that carry packets.
    pub lanes: usize,
    /// What seals and opens.
    pub cipher: Cipher,
    /// What its helper may do, the process `pid`: set interfaces, routes and rules.
    pub privileges: Privileges,
    /// What the process may do that holds the keys and carries packets.
    pub gateway_process: GatewayPrivileges,
    /// Kernel facilities in use at this moment.
    pub offloads: Offloads,
    /// The audit log; null if there is none.
    pub audit: Option<AuditReport>,
    /// The file that keys are written to, with which others can decrypt (`danger_export_keys`);
    /// null if there is none.
    pub exports_keys: Option<String>,
    /// What lies behind us, in the order of the file.
    pub networks: Vec<Behind>,
    /// The peers, in the order of the file.
    pub peers: Vec<Peer>,
    /// Packets that died, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Counters of the gateway.
    pub counters: BTreeMap<String, u64>,
    /// Initiations that were not answered, the newest first; 32 at most.
    pub rejected: Vec<Rejected>,
    /// What is wrong, in plain words; what is wrong with `networks` stands there.
    pub warnings: Vec<Warning>,
}

/// What the gateway's process may do, which holds the keys and carries packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GatewayPrivileges {
    /// The number of the process.
    pub pid: u32,
    /// The number of its user; 0 is root.
    pub user: u32,
    /// Its capabilities; none, unless something is wrong.
    pub capabilities: Vec<String>,
    /// Whether no program that it starts can have more.
    pub no_new: bool,
    /// How many calls of the kernel it may make, any other ends it; null without seccomp.
    pub calls: Option<usize>,
    /// The version of Landlock that keeps it from all files and ports; null without.
    pub landlock: Option<u32>,
    /// Whether its memory never goes to a disk.
    pub locked_memory: bool,
}

/// What a process may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Privileges {
    /// The number of its user; 0 is root.
    pub user: u32,
    /// Its capabilities, as `CAP_NET_ADMIN`.
    pub capabilities: Vec<String>,
    /// Whether no program that it starts can have more.
    pub no_new: bool,
    /// Whether its memory may be written to a core dump.
    pub dumpable: bool,
}

/// The audit log of a gateway, as docs/audit.md describes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditReport {
    /// Its folder.
    pub directory: String,
    /// The file in it that is written to.
    pub file: String,
    /// The number of the last record that will be there whatever happens.
    pub sequence: u64,
    /// The number of the last record that is a seal.
    pub sealed: u64,
    /// Why it cannot be written; null if it can.
    pub failing: Option<String>,
    /// Records that wait for the disk.
    pub waiting: u64,
    /// Records that were lost since the gateway started.
    pub lost: u64,
    /// Records that were left out since the gateway started, because there were many of their sort;
    /// the log says how many, sort by sort.
    pub suppressed: u64,
    /// Records that were written since the gateway started.
    pub written: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// What becomes of the gateway when it cannot be written: `continue`, `deny-new` or `stop`.
    pub on_failure: String,
    /// Nothing new is let through at this moment, because it could not be recorded.
    pub denies_new: bool,
    /// The verification key still lies beside it, where it is of little use.
    pub key_beside: bool,
}

/// Something that a person should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// What is wrong in one word, for programs, as `interface_down`; one that counts drops has
    /// their reason.
    #[serde(default)]
    pub kind: String,
    /// The name of the peer that it is about; null if it is about the gateway itself.
    pub peer: Option<String>,
    /// What is wrong, and what to do.
    pub text: String,
}

/// What seals and opens.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Cipher {
    /// Its name: `library` is aws-lc.
    pub backend: String,
    /// Why it is not the fastest that there is; null if it is.
    pub reason: Option<String>,
}

/// Kernel facilities in use.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Offloads {
    /// TCP superpackets on the TUN device.
    pub tun_tcp: bool,
    /// UDP superpackets on the TUN device.
    pub tun_udp: bool,
    /// Trains in one send.
    pub udp_gso: bool,
    /// Trains in one receive.
    pub udp_gro: bool,
}

/// What lies behind us by an entry of the gateway's `networks`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Behind {
    /// The entry, as it is written.
    pub written: String,
    /// What it stands for at this moment; none, while there is nothing.
    pub prefixes: Vec<BehindPrefix>,
    /// What is wrong with it, in plain words; none, if all is well.
    pub warnings: Vec<String>,
}

/// A prefix behind us.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BehindPrefix {
    /// The prefix as its hosts have it: of a mapped one, the inside.
    pub prefix: String,
    /// The interface that leads there; null while there is none.
    pub interface: Option<String>,
}

/// A peer of a running gateway.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its public key.
    pub public_key: String,
    /// Where it is; null while that is unknown.
    #[schema(value_type = Option<String>, example = "203.0.113.7:51820")]
    pub endpoint: Option<SocketAddr>,
    /// The endpoint as it is written, while its name does not resolve; null else.
    pub unresolved: Option<String>,
    /// The networks behind it.
    pub networks: Vec<String>,
    /// Seconds between keepalives; null is off.
    pub persistent_keepalive: Option<u64>,
    /// When a handshake last completed, in seconds since 1970; null is never.
    pub latest_handshake: Option<u64>,
    /// The session that is sent with.
    pub session: Option<Session>,
    /// Bytes of authenticated messages.
    pub received_bytes: u64,
    /// Bytes of messages sent.
    pub sent_bytes: u64,
    /// Packets that wait for a session.
    pub parked: usize,
    /// The DSCP of datagrams to it, 0 to 63; null if they are not marked.
    pub dscp: Option<u8>,
    /// How much may pass to it and from it; none without limits.
    pub limits: Vec<Limit>,
    /// What those did not let pass; null without limits.
    pub limited: Option<Limited>,
    /// How fast it sends and receives; null until it was asked for twice, a second apart.
    pub rates: Option<Rates>,
    /// What of the peer's messages did not arrive; null before the first one of a session.
    pub loss: Option<Loss>,
    /// Microseconds from our last initiation that was answered to its response; null is never.
    pub round_trip_us: Option<u64>,
    /// The same over all handshakes, the last counting for an eighth; null is never.
    pub round_trip_smoothed_us: Option<u64>,
    /// Handshakes since the last one that both ends have used.
    pub handshake: Handshake,
}

/// How fast a peer sends and receives: the mean since an earlier question to the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rates {
    /// Bytes of authenticated messages in a second.
    pub received_bytes_per_second: u64,
    /// Bytes of messages sent in a second.
    pub sent_bytes_per_second: u64,
    /// Seconds from that earlier question to the one that was answered with this.
    pub span_seconds: u64,
}

/// Messages of the peer that did not arrive, among the newest of the session: up to 8192, those
/// that the replay window covers. Who is late is missing until it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Loss {
    /// So many the peer has sent.
    pub sent: u64,
    /// So many of them are missing.
    pub missing: u64,
}

/// Handshakes with a peer since the last one that both ends have used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Handshake {
    /// Why there is no new session, if one is wanted; null if all is well. One of `no_answer`,
    /// `invalid_response` (the peer has another preshared key), `cookies_only` (the peer is under
    /// load), `unconfirmed` (we answer, and the peer does not use the session: another preshared
    /// key, or our responses do not arrive), `low_order` (the peer's key is none).
    pub trouble: Option<String>,
    /// Initiations that we sent and that were not answered.
    pub unanswered: u16,
    /// When we last sent one, in seconds since 1970; null is never.
    pub last_attempt: Option<u64>,
    /// Responses that did not authenticate.
    pub invalid_responses: u16,
    /// Cookies that came in place of a response.
    pub cookie_replies: u16,
    /// Initiations of the peer that we answered, and whose sessions it did not use.
    pub unconfirmed: u16,
}

/// Initiations of one sender that were not answered, all for the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rejected {
    /// The public key in them; null if they could not be opened so far.
    pub public_key: Option<String>,
    /// The name of the peer that has this key; null if none has.
    pub peer: Option<String>,
    /// Where the last one came from.
    #[schema(value_type = String, example = "203.0.113.7:51820")]
    pub from: SocketAddr,
    /// One of `wrong_mac1` (meant for another public key than ours), `unknown_key` (not among our
    /// peers), `stale_timestamp` (a replay, or the sender's clock went back), `too_soon`,
    /// `under_load` (without a cookie), `rate_limited`, `low_order`, `not_authentic`.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// When the first came, in seconds since 1970.
    pub first: u64,
    /// When the last came, in seconds since 1970.
    pub last: u64,
}

/// A session.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Seconds since it was derived.
    pub age: u64,
    /// Whether we asked for it.
    pub initiator: bool,
    /// Messages sealed with it.
    pub sent_packets: u64,
}

/// The wall clock, as reports have it: in seconds since 1970.
pub fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// What the engine does not know of its gateway.
#[derive(Clone, Debug)]
pub struct Facts {
    /// See [`Report::name`].
    pub name: String,
    /// See [`Report::interface`].
    pub interface: String,
    /// See [`Report::config`].
    pub config: String,
    /// See [`Report::exports_keys`].
    pub exports_keys: Option<String>,
    /// See [`Report::listen_port`].
    pub listen_port: u16,
    /// See [`Report::fwmark`].
    pub fwmark: u32,
    /// See [`Report::cipher`].
    pub cipher: Cipher,
    /// See [`Report::privileges`].
    pub privileges: Privileges,
    /// See [`Report::gateway_process`].
    pub gateway_process: GatewayPrivileges,
    /// See [`Report::networks`].
    pub networks: Vec<Behind>,
    /// See [`Peer::unresolved`], by the peer's name.
    pub unresolved: BTreeMap<String, String>,
    /// Whether trains are received ([`Offloads::udp_gro`]).
    pub udp_gro: bool,
}

impl Report {
    /// Puts both together. Rates, audit log and warnings are still to be added.
    pub fn new(facts: &Facts, status: EngineStatus) -> Self {
        let counters = [
            ("outbound_superpackets", status.outbound_superpackets),
            ("outbound_segments", status.outbound_segments),
            ("inbound_datagrams", status.inbound_datagrams),
            ("inbound_superpackets", status.inbound_superpackets),
            ("send_failures", status.send_failures),
            ("write_failures", status.write_failures),
            ("refused_trains", status.refused_trains),
        ];
        let rejected = rejected(&status.gateway);
        Self {
            rejected,
            name: facts.name.clone(),
            interface: facts.interface.clone(),
            pid: std::process::id(),
            config: facts.config.clone(),
            public_key: status.gateway.public_key.to_string(),
            listen_port: facts.listen_port,
            fwmark: facts.fwmark,
            mtu: status.gateway.mtu,
            up: status.gateway.up,
            lanes: status.lanes,
            cipher: facts.cipher.clone(),
            privileges: facts.privileges.clone(),
            gateway_process: facts.gateway_process.clone(),
            offloads: Offloads {
                tun_tcp: status.tun_offloads.tcp,
                tun_udp: status.tun_offloads.udp,
                udp_gso: status.udp_gso,
                udp_gro: facts.udp_gro,
            },
            audit: None,
            exports_keys: facts.exports_keys.clone(),
            networks: facts.networks.clone(),
            peers: status
                .gateway
                .peers
                .into_iter()
                .map(|peer| Peer {
                    unresolved: facts.unresolved.get(&peer.name).cloned(),
                    ..Peer::from(peer)
                })
                .collect(),
            drops: status
                .drops
                .into_iter()
                .map(|(reason, count)| (reason.label().to_owned(), count))
                .collect(),
            counters: counters
                .map(|(name, count)| (name.to_owned(), count))
                .into(),
            warnings: Vec::new(),
        }
    }
}

impl From<weapon_core::PeerStatus> for Peer {
    fn from(status: weapon_core::PeerStatus) -> Self {
        let attempts = status.attempts;
        let service = status.service.as_ref();
        Self {
            dscp: service.map(|it| it.dscp).filter(|dscp| *dscp != 0),
            limits: service.map(limits::limits).unwrap_or_default(),
            limited: service.and_then(limits::limited),
            name: status.name,
            public_key: status.public_key.to_string(),
            endpoint: status.endpoint,
            unresolved: None,
            networks: status.networks.iter().map(ToString::to_string).collect(),
            persistent_keepalive: status.persistent_keepalive.map(|every| every.as_secs()),
            latest_handshake: status.last_handshake.map(|at| at.seconds),
            session: status.session.map(|session| Session {
                age: session.age.as_secs(),
                initiator: session.role == Role::Initiator,
                sent_packets: session.sent_packets,
            }),
            received_bytes: status.received_bytes,
            sent_bytes: status.sent_bytes,
            parked: status.parked,
            rates: None,
            loss: status.arrivals.map(|arrivals| Loss {
                sent: arrivals.sent,
                missing: arrivals.missing(),
            }),
            round_trip_us: attempts.round_trip.map(|time| time.last_us.into()),
            round_trip_smoothed_us: attempts.round_trip.map(|time| time.smoothed_us.into()),
            handshake: Handshake {
                trouble: status.trouble.map(|trouble| trouble.label().to_owned()),
                unanswered: attempts.unanswered,
                last_attempt: status.last_attempt_age.and_then(seconds_at),
                invalid_responses: attempts.invalid_responses,
                cookie_replies: attempts.cookie_replies,
                unconfirmed: attempts.unconfirmed,
            },
        }
    }
}

fn rejected(status: &GatewayStatus) -> Vec<Rejected> {
    let name = |key| {
        let peer = status.peers.iter().find(|peer| peer.public_key == key)?;
        Some(peer.name.clone())
    };
    let all = status.rejections.iter().map(|it| Rejected {
        public_key: it.key.map(|key| key.to_string()),
        peer: it.key.and_then(name),
        from: it.from,
        reason: it.because.label().to_owned(),
        count: it.count,
        first: it.first.seconds,
        last: it.last.seconds,
    });
    all.collect()
}

/// The moment that is so long ago, in seconds since 1970.
fn seconds_at(age: Duration) -> Option<u64> {
    let at = SystemTime::now().checked_sub(age)?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
