//! The site, found and followed.

use std::{future::pending, net::IpAddr};

use anyhow::bail;
use ipnet::IpNet;
use tokio::{sync::watch, task::AbortHandle};
use weapon_io::netlink::{HostMonitor, Netlink, NetlinkError, Watched};

use super::{
    docker::Docker,
    docker_watch::{DockerWatch, Known},
    entry::{Entry, Host, Remark, Wanted},
};
use crate::config::{Behind, Config};

/// Addresses of a prefix that are tried to find the way to it. The first may be the host's own.
const TRIED_MAX: usize = 4;

/// The site as it was found; it is not followed yet.
#[derive(Debug)]
pub struct Lookout {
    wanted: Wanted,
    /// What is needed to look; nothing where the file names nothing.
    senses: Option<Senses>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Senses {
    netlink: Netlink,
    monitor: HostMonitor,
    docker: Option<DockerWatch>,
    /// The tunnel's interface, once there is one.
    tunnel: Option<u32>,
}

impl Lookout {
    /// Looks for what the configuration says. What was known of Docker's networks by the watch
    /// `before` holds as long as Docker is away.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    pub async fn open(config: &Config, before: Option<&SiteWatch>) -> anyhow::Result<Self> {
        let wanted = Wanted::of(config);
        let mut lookout = Self {
            senses: None,
            entries: Vec::new(),
            wanted,
        };
        if config.behind.is_empty() {
            return Ok(lookout);
        }
        let any = |is: fn(&Behind) -> bool| config.behind.iter().any(is);
        // Before anything is looked at, so that nothing can happen in between unseen.
        let monitor = HostMonitor::open(Watched {
            addresses: any(|it| matches!(it, Behind::Lan(_))),
            routes: any(|it| matches!(it, Behind::Prefix(_) | Behind::Mapped(_))),
        })?;
        let docker = if any(|it| matches!(it, Behind::Docker(_))) {
            let before = before.map(SiteWatch::docker).unwrap_or_default();
            Some(DockerWatch::open(Docker::of_environment(), before).await)
        } else {
            None
        };
        let senses = lookout.senses.insert(Senses {
            netlink: Netlink::connect()?,
            monitor,
            docker,
            tunnel: None,
        });
        lookout.entries = lookout.wanted.find(&senses.look(&lookout.wanted).await?);
        Ok(lookout)
    }

    /// Whether a gateway may have what was found. It may if it runs with the same `already`: a
    /// network that went meanwhile is in no other change's way.
    ///
    /// # Errors
    /// What the file names is not there, or belongs to somebody else.
    pub fn ensure_good(&self, config: &Config, already: &[Entry]) -> anyhow::Result<()> {
        for (entry, place) in self.entries.iter().zip(&config.written.behind) {
            let before = already.iter().find(|before| before.said == entry.said);
            let is_new = |remark| !before.is_some_and(|it| it.remarks.contains(remark));
            for remark in entry.remarks.iter().filter(|&remark| is_new(remark)) {
                if let Remark::Refusal(text) = remark {
                    bail!("{}: {text}", config.at(place));
                }
            }
        }
        Ok(())
    }

    /// What the file's entries stand for.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Looks once more, as the tunnel's interface is there now, and follows from then on.
    pub async fn follow(mut self, tunnel: Option<u32>) -> SiteWatch {
        if let Some(senses) = &mut self.senses {
            senses.tunnel = tunnel;
            if let Some(entries) = look(senses, &self.wanted).await {
                self.entries = entries;
            }
        }
        let known = self.senses.as_mut().and_then(|it| it.docker.as_mut());
        let known = known.map(DockerWatch::known).unwrap_or_default();
        let (tell, found) = watch::channel(Found {
            entries: self.entries,
            docker: known,
        });
        let task = self.senses.map(|senses| {
            let task = tokio::spawn(follow(senses, self.wanted, tell));
            task.abort_handle()
        });
        SiteWatch { found, task }
    }
}

/// The site, which is followed until this is dropped.
#[derive(Debug)]
pub struct SiteWatch {
    found: watch::Receiver<Found>,
    task: Option<AbortHandle>,
}

#[derive(Debug, PartialEq, Eq)]
struct Found {
    entries: Vec<Entry>,
    docker: Known,
}

impl SiteWatch {
    /// What the file's entries stand for at this moment. They make the [`Site`].
    ///
    /// [`Site`]: super::Site
    pub fn entries(&mut self) -> Vec<Entry> {
        self.found.borrow_and_update().entries.clone()
    }

    /// Waits until something is different: the site, or what is to be said of it. May be dropped
    /// and called again without losing a change. Where nothing happens, nothing wakes up.
    pub async fn changed(&mut self) -> Vec<Entry> {
        if self.found.changed().await.is_err() {
            // Nothing is followed.
            return pending().await;
        }
        self.entries()
    }

    fn docker(&self) -> Known {
        self.found.borrow().docker.clone()
    }
}

impl Drop for SiteWatch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn follow(mut senses: Senses, wanted: Wanted, tell: watch::Sender<Found>) {
    loop {
        senses.changed().await;
        let Some(entries) = look(&mut senses, &wanted).await else {
            continue;
        };
        let docker = senses.docker.as_mut().map(DockerWatch::known);
        let now = Found {
            entries,
            docker: docker.unwrap_or_default(),
        };
        tell.send_if_modified(|found| {
            let is_different = found.entries != now.entries;
            *found = now;
            is_different
        });
    }
}

/// What the entries stand for now; nothing if the kernel would not say, and what was holds.
async fn look(senses: &mut Senses, wanted: &Wanted) -> Option<Vec<Entry>> {
    match senses.look(wanted).await {
        Ok(host) => Some(wanted.find(&host)),
        Err(error) => {
            tracing::warn!(%error, "cannot see what lies behind us; what was before holds");
            None
        }
    }
}

impl Senses {
    async fn changed(&mut self) {
        let docker = async {
            match &mut self.docker {
                Some(docker) => docker.changed().await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = self.monitor.changed() => {}
            () = docker => {}
        }
    }

    async fn look(&mut self, wanted: &Wanted) -> Result<Host, NetlinkError> {
        // First, so that its interfaces are among those that are found after it.
        let docker = self.docker.as_mut().map(DockerWatch::known);
        let mut host = Host {
            links: self.netlink.links().await?,
            addresses: self.netlink.connected_networks().await?,
            docker: docker.unwrap_or_default(),
            tunnel: self.tunnel,
            ..Host::default()
        };
        for prefix in wanted.prefixes() {
            if let Some(way) = way_to(prefix, &host, &self.netlink).await {
                host.ways.insert(prefix, way);
            }
        }
        Ok(host)
    }
}

/// The interface by which the kernel would send there.
async fn way_to(prefix: IpNet, host: &Host, netlink: &Netlink) -> Option<u32> {
    let is_loopback = |index: u32| {
        let mut links = host.links.iter();
        links.any(|link| link.index == index && link.loopback)
    };
    let is_ours = |address: &IpAddr| {
        let mut all = host.addresses.iter();
        all.any(|connected| connected.address.addr() == *address)
    };
    let others = prefix.hosts().filter(|address| !is_ours(address));
    for address in others.take(TRIED_MAX) {
        let path = netlink.path_to(address, None, 0).await;
        // What is ours in another way, as the anycast address of routers, leads to ourselves.
        if let Some(path) = path.ok().filter(|path| !is_loopback(path.interface)) {
            return Some(path.interface);
        }
    }
    None
}
