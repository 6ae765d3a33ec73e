//! A running gateway, of whichever make.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::daemon::{Daemon, Make};
use crate::lab::{self, Host, until};
use crate::machine::{self, Machine};
use crate::plan::Plan;
use crate::weapon::{Home, Weapon};

/// Whose gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Weapon,
    /// WireGuard's own, in Go.
    WireguardGo,
    /// Cloudflare's, in Rust.
    Boringtun,
    /// Mullvad's, in Rust.
    Gotatun,
    /// The kernel's, in a virtual machine.
    Kernel,
}

impl Kind {
    /// Whose daemon it is, where it is one.
    fn make(self) -> Option<Make> {
        match self {
            Self::WireguardGo => Some(Make::WireguardGo),
            Self::Boringtun => Some(Make::Boringtun),
            Self::Gotatun => Some(Make::Gotatun),
            Self::Weapon | Self::Kernel => None,
        }
    }

    /// What a gateway of this kind lacks on this machine, if anything.
    pub fn lacking(self) -> Option<String> {
        match self {
            Self::Weapon => None,
            Self::Kernel => machine::lacking(),
            Self::WireguardGo | Self::Boringtun | Self::Gotatun => {
                let program = self.make()?.program();
                let missing = !lab::is_installed(program);
                missing.then(|| format!("{program} is not installed"))
            }
        }
    }
}

/// A running gateway.
#[derive(Debug)]
pub enum Gateway {
    /// Ours.
    Weapon(Weapon),
    /// Of others, in user space.
    Daemon(Daemon),
    /// The kernel's.
    Machine(Machine),
}

impl Gateway {
    /// Starts a gateway in `host`; returns when it is up. The kernel's is not in a host but a
    /// machine: see [`Machine::start`].
    #[track_caller]
    pub fn start(kind: Kind, host: &Host, home: &Rc<Home>, plan: &Plan) -> Self {
        let Some(make) = kind.make() else {
            assert_eq!(kind, Kind::Weapon, "a machine is started in another way");
            let file_name = format!("{}.toml", plan.name);
            return Self::Weapon(Weapon::start_with(host, home, &file_name, &plan.toml()));
        };
        Self::Daemon(Daemon::start(make, host, home, plan))
    }

    /// Where it believes the peer to be.
    #[track_caller]
    pub fn endpoint(&self, public_key: &str) -> Option<SocketAddr> {
        match self {
            Self::Weapon(weapon) => {
                let peer = weapon.peer(public_key);
                Some(peer["endpoint"].as_str()?.parse().expect("an endpoint"))
            }
            Self::Daemon(other) => other.show("endpoints", public_key).parse().ok(),
            Self::Machine(_) => None,
        }
    }

    /// When the last handshake with the peer completed, in seconds since 1970.
    #[track_caller]
    pub fn latest_handshake(&self, public_key: &str) -> Option<u64> {
        match self {
            Self::Weapon(weapon) => weapon.peer(public_key)["latest_handshake"].as_u64(),
            Self::Daemon(other) => {
                let seconds = other.show("latest-handshakes", public_key);
                seconds.parse().ok().filter(|&seconds| seconds != 0)
            }
            Self::Machine(_) => None,
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
            Self::Daemon(_) | Self::Machine(_) => panic!("not one of ours"),
        }
    }
}
