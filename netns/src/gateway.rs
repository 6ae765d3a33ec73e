//! A running gateway, of whichever make.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::lab::{Host, until};
use crate::plan::Plan;
use crate::weapon::{Home, Weapon};
use crate::wireguard_go::WireguardGo;

/// Whose gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Weapon,
    /// WireGuard's own, in Go.
    WireguardGo,
}

/// A running gateway.
#[derive(Debug)]
pub enum Gateway {
    /// Ours.
    Weapon(Weapon),
    /// WireGuard's own, in Go.
    WireguardGo(WireguardGo),
}

impl Gateway {
    /// Starts a gateway in `host`; returns when it is up.
    #[track_caller]
    pub fn start(kind: Kind, host: &Host, home: &Rc<Home>, plan: &Plan) -> Self {
        match kind {
            Kind::Weapon => {
                let file_name = format!("{}.toml", plan.name);
                Self::Weapon(Weapon::start_with(host, home, &file_name, &plan.toml()))
            }
            Kind::WireguardGo => Self::WireguardGo(WireguardGo::start(host, home, plan)),
        }
    }

    /// Where it believes the peer to be.
    #[track_caller]
    pub fn endpoint(&self, public_key: &str) -> Option<SocketAddr> {
        match self {
            Self::Weapon(weapon) => {
                let peer = weapon.peer(public_key);
                Some(peer["endpoint"].as_str()?.parse().expect("an endpoint"))
            }
            Self::WireguardGo(other) => other.show("endpoints", public_key).parse().ok(),
        }
    }

    /// When the last handshake with the peer completed, in seconds since 1970.
    #[track_caller]
    pub fn latest_handshake(&self, public_key: &str) -> Option<u64> {
        match self {
            Self::Weapon(weapon) => weapon.peer(public_key)["latest_handshake"].as_u64(),
            Self::WireguardGo(other) => {
                let seconds = other.show("latest-handshakes", public_key);
                seconds.parse().ok().filter(|&seconds| seconds != 0)
            }
        }
    }

    /// Waits until it believes the peer to be at `endpoint`.
    #[track_caller]
    pub fn expect_endpoint(&self, public_key: &str, endpoint: &str) {
        let expected: SocketAddr = endpoint.parse().expect("an endpoint");
        let mut last = None;
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("the peer has moved", Duration::from_secs(15), || {
                last = self.endpoint(public_key);
                (last == Some(expected)).then_some(())
            });
        }));
        assert!(
            found.is_ok(),
            "the peer is believed to be at {last:?}, not at {expected}"
        );
    }

    /// Ours, where it is one.
    #[track_caller]
    pub fn weapon(&self) -> &Weapon {
        match self {
            Self::Weapon(weapon) => weapon,
            Self::WireguardGo(_) => panic!("not one of ours"),
        }
    }
}
