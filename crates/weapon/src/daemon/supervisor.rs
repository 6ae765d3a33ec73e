//! The service manager that has started the gateway, systemd as a rule: it hears when all is up and
//! how it goes, ends us if our threads hang, and keeps our sockets while we are replaced.

use std::{
    collections::BTreeMap,
    fs::File,
    future::pending,
    io::{self, Read, Seek, Write},
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use weapon_core::{GatewayChange, GatewayStatus, PeerChange};
use weapon_io::{
    inherited,
    udp::{Family, Files, Sockets},
};

use super::Daemon;
use crate::{
    config::Config,
    notify::{self, Notifier},
};

/// How often in its time a watchdog hears of us. What was asked at one moment must be answered by
/// the next: so threads that hang are silent for three quarters of that time at least.
const MEALS: u32 = 4;

/// The name of the file in which it stands with whom we have sessions.
const PEERS: &str = "peers";

/// Bytes of that file that are read: 100 000 peers.
const PEERS_BYTES_MAX: u64 = 16 << 20;

/// The service manager.
pub(super) struct Supervisor {
    notifier: Notifier,
    watchdog: Option<Interval>,
    /// What it was told last of how it goes.
    status: String,
}

impl Supervisor {
    /// The one that the environment speaks of, or nobody; and what it has kept for us.
    pub(super) fn of_environment() -> (Self, HandedOver) {
        let notifier = Notifier::of_environment();
        let watchdog = notify::watchdog().filter(|_| notifier.is_heard());
        let watchdog = watchdog.map(|period| {
            let period = period / MEALS;
            let mut meals = interval_at(Instant::now() + period, period);
            meals.set_missed_tick_behavior(MissedTickBehavior::Delay);
            meals
        });
        let supervisor = Self {
            notifier,
            watchdog,
            status: String::new(),
        };
        let kept = supervisor.handed_over();
        (supervisor, kept)
    }

    /// Until the watchdog is to be fed; for ever if there is none.
    pub(super) async fn meal(&mut self) {
        match &mut self.watchdog {
            Some(meals) => drop(meals.tick().await),
            None => pending().await,
        }
    }

    /// The file is read again.
    pub(super) fn reloading(&self) {
        let micros = notify::monotonic_micros();
        self.notifier
            .tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    pub(super) fn stopping(&self) {
        self.notifier.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// What the gateway before us has left in the manager's keeping, which is ours again.
    fn handed_over(&self) -> HandedOver {
        let files = inherited::handed_over().unwrap_or_else(|error| {
            tracing::warn!(%error, "what was kept for us is lost");
            Vec::new()
        });
        for (name, _) in &files {
            self.notifier.keep_no_more(name);
        }
        if !files.is_empty() {
            // As long as the manager has them too, their port is taken.
            self.notifier.wait();
        }
        HandedOver::of(files)
    }

    fn tell(&mut self, what: &str, status: Option<&GatewayStatus>) {
        let status = status.map(text_of).unwrap_or_default();
        if status == self.status {
            self.notifier.tell(what);
        } else {
            self.notifier.tell(&format!("{what}\nSTATUS={status}"));
            self.status = status;
        }
    }
}

impl Daemon {
    /// All is up, or is what the file says now.
    pub(super) fn tell_ready(&mut self) {
        if !self.supervisor.notifier.is_heard() {
            return;
        }
        // Answered until the first meal.
        self.engine.ask_threads();
        let status = self.engine.status().ok();
        let status = status.as_ref().map(|status| &status.gateway);
        self.supervisor.tell("READY=1", status);
    }

    /// Tells that all is well, if all threads have gone round since they were asked.
    pub(super) fn feed_watchdog(&mut self) {
        if !self.engine.have_threads_answered() {
            tracing::error!("a thread hangs: the watchdog is not fed");
            return;
        }
        self.engine.ask_threads();
        if let Ok(status) = self.engine.status() {
            self.supervisor.tell("WATCHDOG=1", Some(&status.gateway));
        }
    }

    /// Gives the sockets and the sessions' peers into the manager's keeping, for the gateway that
    /// it starts in place of this one. If it starts none it throws them away.
    pub(super) fn hand_over(&self) {
        let notifier = &self.supervisor.notifier;
        if !notifier.is_heard() {
            return;
        }
        let kept = self.engine.files().and_then(|sockets| {
            for (name, file) in named(&sockets) {
                notifier.keep(&name, file.as_fd());
            }
            let status = self.engine.status().map_err(io::Error::other)?;
            let peers = written(&peers_of(&status.gateway))?;
            notifier.keep(PEERS, peers.as_fd());
            Ok(())
        });
        if let Err(error) = kept {
            tracing::warn!(%error, "not everything is kept for the next start");
        }
        notifier.wait();
    }
}

fn text_of(status: &GatewayStatus) -> String {
    let peers = &status.peers;
    let connected = peers.iter().filter(|peer| peer.session.is_some()).count();
    let state = if status.up { "up" } else { "interface down" };
    format!("{state}, {connected} of {} peers connected", peers.len())
}

/// What a gateway has left for the next.
#[derive(Debug, Default)]
pub(super) struct HandedOver {
    /// Its sockets; no lanes if there is none, or one is missing.
    pub(super) sockets: Sockets<Files>,
    peers: Vec<Peer>,
}

/// With whom there was a session, and where it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Peer {
    public_key: String,
    endpoint: SocketAddr,
}

impl HandedOver {
    fn of(files: Vec<(String, OwnedFd)>) -> Self {
        let mut sockets: [BTreeMap<usize, Files>; 2] = Default::default();
        let mut peers = Vec::new();
        for (name, file) in files {
            if name == PEERS {
                peers = read(file).unwrap_or_default();
            } else if let Some((kind, number, family)) = parsed(&name) {
                let files = sockets[kind].entry(number).or_default();
                files.push((family, file));
            } else {
                tracing::debug!(name, "is of no use");
            }
        }
        let is_whole = |all: &BTreeMap<usize, Files>| all.keys().copied().eq(0..all.len());
        let sockets = if sockets.iter().all(is_whole) {
            let [lanes, doors] = sockets.map(|all| all.into_values().collect());
            Sockets { lanes, doors }
        } else {
            Sockets::default()
        };
        Self { sockets, peers }
    }

    /// Speaks to those with whom there were sessions: they would hear of the restart by our silence
    /// alone, and that takes 15 s.
    pub(super) fn greetings(&self, config: &Config) -> GatewayChange {
        let greeted = self.peers.iter().filter_map(|before| {
            let is_same =
                |now: &&crate::config::PeerConfig| now.public_key.to_string() == before.public_key;
            let now = config.peers.iter().find(is_same)?;
            Some(PeerChange {
                update_only: true,
                greet: true,
                // It may have moved since the file was written.
                endpoint: (!now.endpoint_pin).then_some(before.endpoint),
                ..PeerChange::of(now.public_key)
            })
        });
        GatewayChange {
            peers: greeted.collect(),
            ..GatewayChange::default()
        }
    }
}

const KINDS: [&str; 2] = ["lane", "door"];
const FAMILIES: [(&str, Family); 2] = [("v4", Family::V4), ("v6", Family::V6)];

/// The sockets' files by their names, such as `lane-0-v4`.
fn named(sockets: &Sockets<Files>) -> impl Iterator<Item = (String, &OwnedFd)> {
    let kinds = KINDS.into_iter().zip([&sockets.lanes, &sockets.doors]);
    kinds.flat_map(|(kind, all)| {
        all.iter().enumerate().flat_map(move |(number, files)| {
            files.iter().map(move |(family, file)| {
                let word = FAMILIES.iter().find(|(_, it)| it == family);
                let word = word.map_or("", |(word, _)| word);
                (format!("{kind}-{number}-{word}"), file)
            })
        })
    })
}

fn parsed(name: &str) -> Option<(usize, usize, Family)> {
    let mut words = name.split('-');
    let kind = words.next()?;
    let number = words.next()?.parse().ok()?;
    let family = words.next()?;
    let kind = KINDS.iter().position(|it| *it == kind)?;
    let (_, family) = FAMILIES.iter().find(|(word, _)| *word == family)?;
    Some((kind, number, *family))
}

fn peers_of(status: &GatewayStatus) -> Vec<Peer> {
    let connected = status.peers.iter().filter(|peer| peer.session.is_some());
    let peers = connected.filter_map(|peer| {
        Some(Peer {
            public_key: peer.public_key.to_string(),
            endpoint: peer.endpoint?,
        })
    });
    peers.collect()
}

fn written(peers: &[Peer]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("weapon-peers", MemfdFlags::CLOEXEC)?);
    file.write_all(&serde_json::to_vec(peers)?)?;
    Ok(file.into())
}

fn read(file: OwnedFd) -> io::Result<Vec<Peer>> {
    let mut file = File::from(file);
    file.rewind()?;
    let mut text = Vec::new();
    file.take(PEERS_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> OwnedFd {
        File::open("/dev/null").unwrap().into()
    }

    fn sockets(lanes: usize, doors: usize) -> Sockets<Files> {
        let pair = || vec![(Family::V4, file()), (Family::V6, file())];
        Sockets {
            lanes: (0..lanes).map(|_| pair()).collect(),
            doors: (0..doors).map(|_| pair()).collect(),
        }
    }

    fn again(sockets: &Sockets<Files>) -> Vec<(String, OwnedFd)> {
        let files = named(sockets).map(|(name, file)| (name, file.try_clone().unwrap()));
        files.collect()
    }

    #[test]
    fn sockets_come_back_in_their_order_whatever_the_order_of_the_files() {
        let before = sockets(12, 16);
        let mut files = again(&before);
        assert_eq!(files.len(), 56);
        assert_eq!(files[2].0, "lane-1-v4");
        files.reverse();
        let peer = Peer {
            public_key: "somebody".to_owned(),
            endpoint: "192.0.2.2:51820".parse().unwrap(),
        };
        let peers = written(std::slice::from_ref(&peer)).unwrap();
        files.push((PEERS.to_owned(), peers));
        files.push(("lane-x-v4".to_owned(), file()));
        let after = HandedOver::of(files);
        let counts = (after.sockets.lanes.len(), after.sockets.doors.len());
        assert_eq!(counts, (12, 16));
        assert_eq!(after.peers, [peer]);
    }

    #[test]
    fn if_one_is_missing_there_is_none() {
        let mut files = again(&sockets(2, 16));
        files.retain(|(name, _)| !name.starts_with("door-7-"));
        let after = HandedOver::of(files);
        assert!(after.sockets.lanes.is_empty() && after.sockets.doors.is_empty());
    }
}
