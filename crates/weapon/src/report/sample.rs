//! A report for tests: a gateway with three peers, of which one is well.

use std::collections::BTreeMap;

use super::{
    Behind, BehindPrefix, Cipher, GatewayPrivileges, Handshake, Loss, Offloads, Peer, Privileges,
    Rates, Report, Session,
};

/// The moment of the report, in seconds since 1970.
pub const NOW: u64 = 1_800_000_000;

/// A gateway.
pub fn report() -> Report {
    let counters = ["outbound_superpackets", "send_failures", "write_failures"];
    Report {
        name: "site-a".to_owned(),
        interface: "w-site-a".to_owned(),
        pid: 4711,
        config: "/etc/weapon/site-a.toml".to_owned(),
        public_key: "c2l0ZS1hJ3Mga2V5IGlzIDMyIGJ5dGVzIGxvbmchISE=".to_owned(),
        listen_port: 51_820,
        fwmark: 0,
        mtu: 1420,
        up: true,
        lanes: 1,
        cipher: Cipher {
            backend: "avx512".to_owned(),
            reason: None,
        },
        privileges: Privileges {
            user: 0,
            capabilities: vec!["CAP_NET_ADMIN".to_owned(), "CAP_SYS_ADMIN".to_owned()],
            no_new: true,
            dumpable: false,
        },
        gateway_process: GatewayPrivileges {
            pid: 4243,
            user: 998,
            capabilities: Vec::new(),
            no_new: true,
            calls: Some(48),
            landlock: Some(7),
            locked_memory: true,
        },
        offloads: Offloads {
            tun_tcp: true,
            tun_udp: true,
            udp_gso: true,
            udp_gro: true,
        },
        audit: None,
        exports_keys: None,
        networks: vec![Behind {
            written: "docker:bridge".to_owned(),
            prefixes: vec![BehindPrefix {
                prefix: "172.17.0.0/16".to_owned(),
                interface: Some("docker0".to_owned()),
            }],
            warnings: Vec::new(),
        }],
        peers: vec![well(), silent(), nameless()],
        drops: BTreeMap::from([("no_route".to_owned(), 4), ("forged".to_owned(), 0)]),
        counters: counters.map(|name| (name.to_owned(), 0)).into(),
        rejected: Vec::new(),
        warnings: Vec::new(),
    }
}

/// A peer with which all is well.
pub fn well() -> Peer {
    Peer {
        name: "site-b".to_owned(),
        public_key: "c2l0ZS1iJ3Mga2V5IGlzIDMyIGJ5dGVzIGxvbmchISE=".to_owned(),
        endpoint: Some(([203, 0, 113, 7], 51_820).into()),
        unresolved: None,
        networks: vec!["172.18.0.0/16".to_owned(), "10.99.0.2/32".to_owned()],
        persistent_keepalive: Some(25),
        latest_handshake: Some(NOW - 12),
        session: Some(Session {
            age: 12,
            initiator: true,
            sent_packets: 5000,
        }),
        received_bytes: 5 << 30,
        sent_bytes: 1536,
        parked: 0,
        dscp: None,
        limits: Vec::new(),
        limited: None,
        rates: Some(Rates {
            received_bytes_per_second: 3 << 20,
            sent_bytes_per_second: 900,
            span_seconds: 1,
        }),
        loss: Some(Loss {
            sent: 8192,
            missing: 33,
        }),
        round_trip_us: Some(11_300),
        round_trip_smoothed_us: Some(12_480),
        handshake: Handshake::default(),
    }
}

/// A peer that is asked and does not answer.
pub fn silent() -> Peer {
    Peer {
        name: "roof".to_owned(),
        endpoint: Some(([198, 51, 100, 9], 51_820).into()),
        networks: vec!["192.168.7.0/24".to_owned()],
        persistent_keepalive: None,
        latest_handshake: None,
        session: None,
        received_bytes: 0,
        sent_bytes: 740,
        parked: 3,
        rates: None,
        loss: None,
        round_trip_us: None,
        round_trip_smoothed_us: None,
        ..well()
    }
}

/// A peer whose name does not resolve.
pub fn nameless() -> Peer {
    Peer {
        name: "depot".to_owned(),
        endpoint: None,
        unresolved: Some("gw.depot.example:51820".to_owned()),
        networks: vec!["192.168.8.0/24".to_owned()],
        sent_bytes: 0,
        parked: 0,
        ..silent()
    }
}
