//! What happens to the interface, in whichever network namespace it is.

use std::{collections::VecDeque, io, time::Duration};

use tokio::time::{Instant, sleep_until};
use weapon_core::Mtus;
use weapon_io::{
    netlink::{LinkEvent, LinkMonitor, Netlink},
    tun::{LinkState, Tun, TunLink, is_gone},
};

/// How often an interface is looked at that netlink does not tell us of. Its deletion is noticed at
/// once all the same, by whoever reads it (U08).
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Tells of changes of the interface. While it is where it was made, netlink tells, and nothing
/// wakes us; when it was moved, it is looked at (U09, U10).
#[derive(Debug)]
pub struct InterfaceWatch {
    monitor: Option<LinkMonitor>,
    link: TunLink,
    last: LinkState,
    /// What it was called last where it was made.
    name: String,
    pending: VecDeque<LinkEvent>,
    next_look: Instant,
    /// It could not be looked at, and this was said.
    is_blind: bool,
}

impl InterfaceWatch {
    /// Watches the interface of `tun`.
    ///
    /// # Errors
    /// No more files, or it was deleted already.
    pub async fn of(tun: &Tun) -> anyhow::Result<Self> {
        let monitor = LinkMonitor::open(tun.ifindex()).await?;
        let link = TunLink::of(tun)?;
        let last = link.look()?;
        Ok(Self {
            name: last.name.clone(),
            last,
            monitor: Some(monitor),
            link,
            pending: VecDeque::new(),
            next_look: Instant::now(),
            is_blind: false,
        })
    }

    /// The interface as it was after the last event.
    pub fn state(&self) -> &LinkState {
        &self.last
    }

    /// Its name where it was made, the last one that it had there. What it is called where it was
    /// moved to is chosen by whoever is at home there, and says nothing of this host.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index, as long as it is where it was made.
    pub fn index(&self) -> Option<u32> {
        Some(self.monitor.as_ref()?.link().index)
    }

    /// The interface's MTU, and those of routes through it: padding stops there (P89). Where the
    /// interface was moved to, routes are not looked at.
    pub async fn mtus(&self, netlink: &Netlink) -> Mtus {
        let routes = match self.index() {
            Some(index) => netlink.route_mtus(index).await,
            None => Ok(Vec::new()),
        };
        let routes = routes.unwrap_or_else(|error| {
            tracing::warn!(%error, "routes with a smaller MTU than the interface's are not heeded");
            Vec::new()
        });
        let routes = routes.into_iter().map(|mtu| mtu as usize).collect();
        Mtus::new(self.last.mtu as usize, routes)
    }

    /// Waits for the next change; `None` when nothing more will be told. May be dropped and called
    /// again without losing an event.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            let Some(monitor) = &mut self.monitor else {
                sleep_until(self.next_look).await;
                self.next_look = Instant::now() + LOOK_EVERY;
                self.look();
                continue;
            };
            match monitor.next().await? {
                LinkEvent::Deleted => {
                    self.monitor = None;
                    self.look();
                    if self.pending.back() != Some(&LinkEvent::Deleted) {
                        tracing::info!("the interface was moved to another network namespace");
                    }
                }
                event => {
                    match &event {
                        LinkEvent::Up(up) => self.last.up = *up,
                        LinkEvent::Mtu(mtu) => self.last.mtu = *mtu,
                        LinkEvent::Renamed(name) => {
                            self.last.name.clone_from(name);
                            self.name.clone_from(name);
                        }
                        LinkEvent::Deleted => {}
                    }
                    return Some(event);
                }
            }
        }
    }

    fn look(&mut self) {
        match self.link.look() {
            Ok(state) => {
                self.is_blind = false;
                self.note(state);
            }
            Err(error) if is_gone(&error) => self.pending.push_back(LinkEvent::Deleted),
            // Renamed or moved while we looked: the next look is better.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                if !self.is_blind {
                    tracing::warn!(%error, "cannot see the interface in its network namespace");
                }
                self.is_blind = true;
            }
        }
    }

    fn note(&mut self, state: LinkState) {
        if state.up != self.last.up {
            self.pending.push_back(LinkEvent::Up(state.up));
        }
        if state.mtu != self.last.mtu {
            self.pending.push_back(LinkEvent::Mtu(state.mtu));
        }
        if state.name != self.last.name {
            let name = state.name.clone();
            self.pending.push_back(LinkEvent::Renamed(name));
        }
        self.last = state;
    }
}
