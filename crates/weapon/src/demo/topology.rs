//! The network namespaces and what joins them.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::PoisonError;

use anyhow::Context;
use ipnet::{IpNet, Ipv4Net};
use weapon_io::namespace::Namespace;
use weapon_io::netlink::{self, Netlink, NetlinkError, Route};

use super::docker::{self, Daemons};

/// The bridge that containers are ports of, called as Docker calls it.
pub(super) const BRIDGE: &str = "docker0";

/// A host's interface towards the internet.
pub(super) const UPLINK: &str = "wan";

/// A container: nothing but an interface and a default route.
pub(super) struct Container {
    pub(super) name: &'static str,
    pub(super) address: IpAddr,
    pub(super) namespace: Namespace,
}

/// A host with its private network.
pub(super) struct Host {
    /// The name of its gateway.
    pub(super) site: &'static str,
    /// Address on the internet.
    pub(super) address: Ipv4Addr,
    /// The next hop to everywhere.
    pub(super) router: Ipv4Addr,
    /// Where its containers live.
    pub(super) network: Ipv4Net,
    /// Interface of the internet that leads here.
    pub(super) link: &'static str,
    pub(super) namespace: Namespace,
    pub(super) containers: [Container; 2],
    /// Where Docker listens, if the containers are its.
    pub(super) docker: Option<PathBuf>,
}

/// All that there is.
pub(super) struct World {
    pub(super) internet: Namespace,
    pub(super) a: Host,
    pub(super) b: Host,
}

impl World {
    /// Makes the namespaces and the links between them; with daemons of Docker, which are put into
    /// `docker`, if there is such a place.
    ///
    /// # Errors
    /// No namespaces, or the kernel lacks veth or bridges, or Docker does not start.
    pub(super) fn build(docker: Option<Daemons>) -> anyhow::Result<Self> {
        let internet = Namespace::new().context("no network namespace")?;
        inside(&internet, async |netlink| loopback_up(netlink).await)?;
        forward(&internet)?;
        let mut a = Host::new("site-a", "to-a", [203, 0, 113], [172, 17], ["a1", "a2"])?;
        let mut b = Host::new("site-b", "to-b", [198, 51, 100], [172, 18], ["b1", "b2"])?;
        for host in [&mut a, &mut b] {
            host.connect_to(&internet)
                .with_context(|| format!("connecting {}", host.site))?;
            if let Some(daemons) = &docker {
                host.start_docker(daemons)?;
                continue;
            }
            host.lay_bridge()?;
            for (number, container) in host.containers.iter().enumerate() {
                host.plug(number, container)
                    .with_context(|| container.name)?;
            }
        }
        Ok(Self { internet, a, b })
    }

    /// The containers of both sites.
    pub(super) fn containers(&self) -> impl Iterator<Item = &Container> {
        self.a.containers.iter().chain(&self.b.containers)
    }

    /// Each container with each of the other site.
    pub(super) fn pairs(&self) -> Vec<(&Container, &Container)> {
        let mut pairs = Vec::new();
        for (here, there) in [(&self.a, &self.b), (&self.b, &self.a)] {
            for from in &here.containers {
                pairs.extend(there.containers.iter().map(|to| (from, to)));
            }
        }
        pairs
    }

    /// The namespaces, with names for people.
    pub(super) fn places(&self) -> Vec<(&'static str, &Namespace)> {
        let hosts = [
            ("internet", &self.internet),
            ("host A", &self.a.namespace),
            ("host B", &self.b.namespace),
        ];
        let containers = self
            .containers()
            .map(|container| (container.name, &container.namespace));
        hosts.into_iter().chain(containers).collect()
    }
}

impl Host {
    fn new(
        site: &'static str,
        link: &'static str,
        [x, y, z]: [u8; 3],
        [p, q]: [u8; 2],
        names: [&'static str; 2],
    ) -> anyhow::Result<Self> {
        let container = |name, number| {
            let address = Ipv4Addr::new(p, q, 0, number).into();
            let namespace = Namespace::new().context("no network namespace")?;
            anyhow::Ok(Container {
                name,
                address,
                namespace,
            })
        };
        Ok(Self {
            site,
            address: Ipv4Addr::new(x, y, z, 2),
            router: Ipv4Addr::new(x, y, z, 1),
            network: Ipv4Net::new(Ipv4Addr::new(p, q, 0, 0), 16)?,
            link,
            namespace: Namespace::new().context("no network namespace")?,
            containers: [container(names[0], 2)?, container(names[1], 3)?],
            docker: None,
        })
    }

    /// Address of the bridge: the containers' way out.
    fn bridge_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.network.addr().to_bits() + 1)
    }

    /// A cable from the internet to this host.
    fn connect_to(&self, internet: &Namespace) -> anyhow::Result<()> {
        inside(internet, async |netlink| {
            netlink.add_veth(self.link, UPLINK).await?;
            netlink
                .move_link(netlink.link(UPLINK).await?.index, &self.namespace)
                .await?;
            quiet(self.link);
            address_and_up(netlink, self.link, self.router, 24).await?;
            Ok(())
        })?;
        inside(&self.namespace, async |netlink| {
            loopback_up(netlink).await?;
            quiet(UPLINK);
            let uplink = address_and_up(netlink, UPLINK, self.address, 24).await?;
            netlink
                .add_route(&default_route(uplink, self.router))
                .await?;
            Ok(())
        })
    }

    /// The bridge of its containers.
    fn lay_bridge(&self) -> anyhow::Result<()> {
        inside(&self.namespace, async |netlink| {
            netlink.add_bridge(BRIDGE).await?;
            address_and_up(netlink, BRIDGE, self.bridge_address(), 16).await?;
            Ok(())
        })?;
        // As dockerd does.
        forward(&self.namespace)
    }

    /// Docker in the place of bridge and containers.
    fn start_docker(&mut self, daemons: &Daemons) -> anyhow::Result<()> {
        let bridge = format!("{}/{}", self.bridge_address(), self.network.prefix_len());
        let names = [self.containers[0].name, self.containers[1].name];
        let daemon = docker::start(self.site, &self.namespace, &bridge, names)
            .with_context(|| format!("Docker on {}", self.site))?;
        self.docker = Some(daemon.socket());
        // Before all else, so that it ends with the demo whatever comes.
        let mut daemons = daemons.lock().unwrap_or_else(PoisonError::into_inner);
        daemons.push(daemon);
        let daemon = daemons.last().context("a daemon")?;
        for container in &mut self.containers {
            (container.address, container.namespace) = docker::container(daemon, container.name)?;
        }
        Ok(())
    }

    /// A cable from the bridge to a container.
    fn plug(&self, number: usize, container: &Container) -> anyhow::Result<()> {
        let port = format!("veth{number}");
        inside(&self.namespace, async |netlink| {
            netlink.add_veth(&port, "eth0").await?;
            netlink
                .move_link(netlink.link("eth0").await?.index, &container.namespace)
                .await?;
            let (port, bridge) = (netlink.link(&port).await?, netlink.link(BRIDGE).await?);
            netlink.enslave(port.index, bridge.index).await?;
            netlink.set_up(port.index).await
        })?;
        let IpAddr::V4(address) = container.address else {
            return Ok(());
        };
        inside(&container.namespace, async |netlink| {
            loopback_up(netlink).await?;
            let eth0 = address_and_up(netlink, "eth0", address, 16).await?;
            netlink
                .add_route(&default_route(eth0, self.bridge_address()))
                .await
        })?;
        Ok(())
    }
}

/// The number by which `/proc/PID/fd` knows a namespace that this process holds.
pub(super) fn descriptor_of(namespace: &Namespace) -> RawFd {
    namespace.as_fd().as_raw_fd()
}

/// Asks the kernel inside a namespace.
pub(super) fn inside<T: Send>(
    namespace: &Namespace,
    ask: impl AsyncFnOnce(&Netlink) -> Result<T, NetlinkError> + Send,
) -> anyhow::Result<T> {
    Ok(namespace.enter(|| netlink::block_on(ask))??)
}

async fn loopback_up(netlink: &Netlink) -> Result<(), NetlinkError> {
    netlink.set_up(netlink.link("lo").await?.index).await
}

async fn address_and_up(
    netlink: &Netlink,
    name: &str,
    address: Ipv4Addr,
    prefix_len: u8,
) -> Result<u32, NetlinkError> {
    let index = netlink.link(name).await?.index;
    let net = IpNet::new_assert(address.into(), prefix_len);
    netlink.add_address(index, net).await?;
    netlink.set_up(index).await?;
    Ok(index)
}

fn default_route(interface: u32, router: Ipv4Addr) -> Route {
    Route::new(Ipv4Net::default().into(), interface).via(router.into())
}

fn forward(namespace: &Namespace) -> anyhow::Result<()> {
    const SWITCH: &str = "/proc/sys/net/ipv4/ip_forward";
    let written: io::Result<()> = namespace.enter(|| std::fs::write(SWITCH, "1"))?;
    written.with_context(|| format!("cannot write {SWITCH} in a namespace of our own"))
}

/// No IPv6 on this interface, so that what is seen on the internet link is not the neighbour
/// discovery of hosts that have nothing to say to each other. Where there is no IPv6 at all, there
/// is no such file.
fn quiet(interface: &str) {
    let switch = format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6");
    let _ = std::fs::write(switch, "1");
}
