//! What helper and gateway say to each other.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::OwnedFd,
};

use serde::{Deserialize, Serialize};
use weapon_core::{Examination, Hypothesis, Mtus, Policy, PrefixMapping, Services};
use weapon_engine::{EngineStatus, Event, ThreadStatus, Waiting};
use weapon_io::{
    tun::TunFacts,
    udp::{Family, Files, Sockets, UdpFacts},
};
use weapon_noise::{PublicKey, Tai64n};

use super::{
    link::Bounds,
    secret::{ChangeMessage, DumpMessage, Key},
};
use crate::{
    capture::Capture,
    config::{CipherBackend, Sandbox},
    drops::DropsReport,
    flows::{FilterCounts, FlowsQuery, FlowsReport, ToldFlows, WantedFlows},
    key_log::KeyFile,
    report::Cipher,
};

/// Of commands and their answers: a gateway with 100 000 peers has room.
pub const COMMAND_BOUNDS: Bounds = Bounds {
    bytes: 256 << 20,
    files: 2048,
};

/// Of what the gateway asks of the helper.
pub const REQUEST_BOUNDS: Bounds = Bounds {
    bytes: 64 << 10,
    files: 0,
};

/// What the helper commands. Each command is answered, in order.
#[derive(Debug, Serialize, Deserialize)]
pub enum Command {
    /// The first: give up all that can be given up. Answered by [`Answer::Held`].
    Confine(Confinement),
    /// The second: carry packets. It comes with the files of a link for requests, of the queues
    /// and of the sockets. Answered by [`Answer::Begun`].
    Begin(Box<BeginMessage>),
    /// See [`Engine::status`](weapon_engine::Engine::status); and so on.
    Status,
    SetAddresses {
        peer: String,
        addresses: Vec<SocketAddr>,
    },
    ClearSource(PublicKey),
    SetMtus(Mtus),
    SetUp(bool),
    Change(Box<ChangeMessage>),
    Dump,
    /// The helper has set the mark already.
    SetMark(u32),
    Rebind,
    /// Answered by [`Answer::Files`], with the files.
    Files,
    AskThreads,
    HaveThreadsAnswered,
    /// See [`Engine::threads`](weapon_engine::Engine::threads), `waiting` and [`FilterCounts`].
    Counts,
    /// What passes at this moment. Answered by [`Answer::Flows`], or why not.
    Flows(Box<FlowsQuery>),
    /// What would become of a packet. Answered by [`Answer::Examined`].
    Examine(Hypothesis, Option<String>),
    /// The latest packets that died. Answered by [`Answer::Drops`].
    LatestDrops,
    /// Whether flows may begin.
    DenyNew(bool),
    /// It comes with the file to which what is seen is written, as pcapng, by the gateway of this
    /// name.
    Capture {
        gateway: String,
        wanted: Box<Capture>,
    },
}

/// What the gateway answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Done,
    Held(Held),
    Begun(Cipher),
    Status(Box<EngineStatus>),
    Dump(Box<DumpMessage>),
    Files(Layout),
    Threads(bool),
    Counts(Vec<ThreadStatus>, Waiting, Option<FilterCounts>),
    Flows(Box<FlowsReport>),
    Examined(Option<Box<Examination>>),
    Drops(Box<DropsReport>),
    Failed(String),
}

/// All that the gateway may ask of the helper. Each request is answered, in order.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// This mark survives a crash.
    Persist(Tai64n),
    /// Sockets, as the configuration says.
    OpenSockets,
    /// The engine tells something.
    Tell(Event),
    /// What happened to flows.
    TellFlows(ToldFlows),
}

/// What the helper answers.
#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    /// With the files.
    Opened(UdpFacts, Layout),
    Refused(String),
}

/// What the gateway gives up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Confinement {
    /// Whose it is from then on, and whether it may stay whose it is if that cannot be.
    pub user: Option<Identity>,
    /// Whether it must be able to become that.
    pub must_become: bool,
    pub sandbox: Sandbox,
    pub cipher: CipherBackend,
    /// As `LevelFilter` writes it.
    pub log_level: String,
    pub colour: bool,
}

/// The numbers of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub user: u32,
    pub group: u32,
}

/// What holds in the gateway's process, as far as only it knows. The rest the kernel shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How many calls it may make; any other ends it. `None` without seccomp.
    pub calls: Option<usize>,
    /// The version of Landlock that keeps it from files and ports; `None` without.
    pub landlock: Option<u32>,
    /// Whether its memory never goes to a disk.
    pub locked_memory: bool,
}

/// With what it begins to carry packets.
#[derive(Debug, Serialize, Deserialize)]
pub struct BeginMessage {
    pub private_key: Option<Key>,
    pub mtu: usize,
    pub addresses: Vec<IpAddr>,
    pub mappings: Vec<PrefixMapping>,
    pub policy: Option<Policy>,
    pub services: Services,
    pub timestamp_mark: Option<Tai64n>,
    pub up: bool,
    pub is_recorded: bool,
    pub flows: Option<WantedFlows>,
    /// Keys are written to the last of the files, so many bytes at most.
    pub exports_keys: Option<u64>,
    pub peers: ChangeMessage,
    pub tun: TunFacts,
    pub queues: usize,
    pub udp: Option<UdpFacts>,
    pub sockets: Layout,
}

/// The same, as the helper has it.
#[derive(Debug)]
pub struct Begin {
    /// Our key, if there is one already.
    pub private_key: Option<weapon_noise::PrivateKey>,
    /// Bytes of the largest inner packet.
    pub mtu: u32,
    /// Our addresses on the overlay.
    pub addresses: Vec<IpAddr>,
    /// Prefixes behind us that peers know by others.
    pub mappings: Vec<PrefixMapping>,
    /// Which packets may pass.
    pub policy: Option<Policy>,
    /// How much of them, and with which mark.
    pub services: Services,
    /// What was kept last.
    pub timestamp_mark: Option<Tai64n>,
    /// Whether the interface is up.
    pub up: bool,
    /// Whether what happens to peers is told.
    pub is_recorded: bool,
    /// What is told of flows; `None` is nothing.
    pub flows: Option<WantedFlows>,
    /// Where keys are written, for who decrypts recordings.
    pub danger_export_keys: Option<KeyFile>,
    /// The peers.
    pub peers: weapon_core::GatewayChange,
}

/// Which of the files that come with a message are what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    lanes: Vec<Vec<Family>>,
    doors: Vec<Vec<Family>>,
}

impl Layout {
    /// Of these sockets; and their files in that order.
    pub fn of(sockets: Sockets<Files>) -> (Self, Vec<OwnedFd>) {
        let mut files = Vec::new();
        let mut families = |all: Vec<Files>| {
            let all = all.into_iter().map(|one| {
                let families = one.into_iter().map(|(family, file)| {
                    files.push(file);
                    family
                });
                families.collect()
            });
            all.collect()
        };
        let layout = Self {
            lanes: families(sockets.lanes),
            doors: families(sockets.doors),
        };
        (layout, files)
    }

    /// The sockets again; `None` if there are more files, or fewer.
    pub fn sockets(&self, files: Vec<OwnedFd>) -> Option<Sockets<Files>> {
        let mut files = files.into_iter();
        let mut whole = |all: &[Vec<Family>]| {
            let all = all.iter().map(|families| {
                let one = families.iter();
                one.map(|&family| Some((family, files.next()?))).collect()
            });
            all.collect::<Option<Vec<Files>>>()
        };
        let sockets = Sockets {
            lanes: whole(&self.lanes)?,
            doors: whole(&self.doors)?,
        };
        files.next().is_none().then_some(sockets)
    }
}

#[cfg(test)]
mod tests {
    use weapon_core::{
        DropReason, GatewayStatus, LimitStatus, PeerStatus, RateLimit, ServiceStatus, WallTime,
        flows,
    };
    use weapon_io::tun::Offloads;

    use super::*;
    use crate::flows::{TOLD_MAX, Told};

    fn file() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    #[test]
    fn sockets_are_laid_out_and_put_together_again() {
        let pair = || vec![(Family::V4, file()), (Family::V6, file())];
        let sockets = Sockets {
            lanes: vec![pair(), pair()],
            doors: vec![vec![(Family::V4, file())]],
        };
        let (layout, files) = Layout::of(sockets);
        assert_eq!(files.len(), 5);
        let again = layout.sockets(files).unwrap();
        assert_eq!(Layout::of(again).0, layout);
        assert!(layout.sockets(vec![file()]).is_none());
        assert!(Layout::default().sockets(vec![file()]).is_none());
    }

    #[test]
    fn what_is_told_of_flows_at_once_is_no_longer_than_allowed() {
        let address = "2001:0db8:ffff:ffff:ffff:ffff:ffff:ffff".parse().unwrap();
        let event = flows::Event {
            kind: flows::EventKind::Deny {
                reason: DropReason::TransportMalformed,
                suppressed: u64::MAX,
            },
            at: weapon_noise::Tick::from_nanos(u64::MAX),
            direction: weapon_core::filter::Direction::Outbound,
            peer: weapon_core::PeerId(u32::MAX),
            source: address,
            destination: address,
            protocol: 255,
            ports: Some((u16::MAX, u16::MAX)),
            icmp_kind: Some(255),
            rule: weapon_core::filter::RuleId(u32::MAX),
            first_seen: weapon_noise::Tick::from_nanos(u64::MAX),
            last_seen: weapon_noise::Tick::from_nanos(u64::MAX),
            packets: [u64::MAX; 2],
            bytes: [u64::MAX; 2],
            tcp_flags: [255; 2],
            round_trip: Some(std::time::Duration::MAX),
        };
        let told = Told {
            event,
            peer: "p".repeat(64),
            rule: "r".repeat(64),
        };
        let told = ToldFlows {
            events: vec![told; TOLD_MAX],
            lost: u64::MAX,
        };
        let text = serde_json::to_string(&Request::TellFlows(told)).unwrap();
        assert!(text.len() <= REQUEST_BOUNDS.bytes, "{}", text.len());
    }

    #[test]
    fn a_status_is_the_same_on_the_other_side() {
        let limit = RateLimit {
            bytes_per_second: 1_250_000,
            burst_bytes: 256_000,
        };
        let peer = PeerStatus {
            name: "site-b".to_owned(),
            public_key: PublicKey::from_bytes([7; 32]),
            endpoint: Some("[2001:db8::1]:51820".parse().unwrap()),
            source: None,
            networks: vec!["10.0.0.0/8".parse().unwrap()],
            persistent_keepalive: Some(std::time::Duration::from_secs(25)),
            last_handshake: Some(WallTime {
                seconds: 1,
                nanos: 2,
            }),
            session: None,
            last_received_age: None,
            received_bytes: u64::MAX,
            received_packets: 9,
            sent_packets: 8,
            sent_bytes: 0,
            parked: 3,
            arrivals: None,
            attempts: weapon_noise::Attempts::default(),
            last_attempt_age: None,
            trouble: Some(weapon_noise::Trouble::NoAnswer),
            service: Some(ServiceStatus {
                dscp: 46,
                outbound: LimitStatus {
                    limits: vec![(None, limit), (Some("phones".to_owned()), limit)],
                    dropped_packets: 1,
                    dropped_bytes: 2,
                },
                inbound: LimitStatus::default(),
            }),
        };
        let status = EngineStatus {
            gateway: GatewayStatus {
                public_key: PublicKey::from_bytes([1; 32]),
                up: true,
                mtu: 1420,
                peers: vec![peer],
                rejections: Vec::new(),
            },
            drops: DropReason::ALL.iter().map(|&reason| (reason, 1)).collect(),
            outbound_superpackets: 1,
            outbound_segments: 2,
            inbound_datagrams: 3,
            inbound_superpackets: 4,
            send_failures: 5,
            write_failures: 6,
            refused_trains: 7,
            lanes: 8,
            tun_offloads: Offloads::default(),
            udp_gso: true,
        };
        let text = serde_json::to_string(&status).unwrap();
        let again: EngineStatus = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{again:?}"), format!("{status:?}"));
    }
}
