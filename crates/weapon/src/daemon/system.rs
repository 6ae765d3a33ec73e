//! What is set on the system follows the gateway: what lies behind it, its port, its interface.

use anyhow::Context as _;
use weapon_engine::Engine;
use weapon_io::{
    netlink::{Netlink, Route},
    tun::Tun,
};

use super::{Daemon, site::tell_first};
use crate::{
    api::Answer,
    config::Config,
    interface::{self, Fittings},
    left_out::connected,
    places::Places,
    port::Port,
    site::{Entry, Lookout, Site, SiteWatch},
    system::{Device, Keeper, Step, SystemReport, Wanted},
};

impl Daemon {
    /// Something that the rules are made of has changed.
    pub(super) fn follow_system(&mut self) {
        let (interface, port) = (self.watch.name(), self.port.number());
        let wanted = wanted(&self.config, &Site::of(&self.entries), interface, port);
        self.keeper.follow(wanted);
    }

    /// The host has come to be part of other prefixes: routes that would be taken from it go, and
    /// those come that are no longer.
    pub(super) async fn follow_connected(&mut self) {
        let Some(index) = self.watch.index() else {
            return;
        };
        let connected = match connected(&self.netlink, self.watch.name()).await {
            Ok(connected) => connected,
            Err(error) => {
                tracing::warn!(%error, "it is not known which prefixes this host is part of");
                return;
            }
        };
        let now = Fittings::of(&self.config, &connected);
        for left in &now.left_out {
            if !self.fittings.left_out.contains(left) {
                tracing::warn!("{left}");
            }
        }
        let gone = self.fittings.without(&now);
        gone.remove(index, &self.netlink).await;
        for network in now.without(&self.fittings).routes {
            match self.netlink.add_route(&Route::new(network, index)).await {
                Ok(()) => tracing::info!(%network, "the route is set, as nothing is taken by it"),
                Err(error) => tracing::warn!(%error, "the route is not set"),
            }
        }
        self.fittings = now;
    }

    /// What is set on the system, and whether it is so at this moment.
    pub(super) async fn system(&self) -> Answer {
        match self.system_report().await {
            Ok(report) => Answer::System(report),
            Err(error) => Answer::Error(format!("{error:#}")),
        }
    }

    async fn system_report(&self) -> anyhow::Result<SystemReport> {
        let state = self.watch.state();
        let mut device = Device {
            mtu: state.mtu,
            ..Device::default()
        };
        if let Some(index) = self.watch.index() {
            device.addresses = self.netlink.addresses(index).await?;
            let routes = self.netlink.routes(index).await?;
            device.routes = routes.into_iter().map(|route| route.destination).collect();
        }
        let mtu = self.config.mtu.unwrap_or(state.mtu);
        let steps = device_steps(self.watch.name(), mtu, &self.fittings);
        Ok(SystemReport {
            name: self.config.name.clone(),
            steps: self.keeper.report(&steps, &device)?,
            warnings: self.keeper.warnings().to_vec(),
        })
    }
}

/// What a gateway is made in.
pub(super) struct Ground {
    pub(super) tun: Tun,
    pub(super) fittings: Fittings,
    pub(super) site_watch: SiteWatch,
    pub(super) entries: Vec<Entry>,
    pub(super) keeper: Keeper,
}

impl Ground {
    /// Makes the interface, and sets what is wanted of the system. If anything fails, nothing of
    /// it is left.
    pub(super) async fn make(
        config: &Config,
        places: &Places,
        (lanes, port): (usize, u16),
        netlink: &Netlink,
    ) -> anyhow::Result<Self> {
        let lookout = Lookout::open(config, None).await?;
        lookout.ensure_good(config, &[])?;
        // What a killed gateway has left is gone before anything is set.
        let mut keeper = Keeper::new(places)?;
        let connected = connected(netlink, &config.interface).await?;
        let fittings = Fittings::of(config, &connected);
        let tun = interface::make(config, &fittings, lanes, netlink).await?;
        let mut site_watch = lookout.follow(Some(tun.ifindex())).await;
        let entries = site_watch.entries();
        tell_first(&entries);
        let site = Site::of(&entries);
        set(&mut keeper, config, &site, &config.interface, port)?;
        Ok(Self {
            tun,
            fittings,
            site_watch,
            entries,
            keeper,
        })
    }
}

/// Makes rules and forwarding what `config` and `site` want.
pub(super) fn set(
    keeper: &mut Keeper,
    config: &Config,
    site: &Site,
    interface: &str,
    port: u16,
) -> anyhow::Result<()> {
    let wanted = wanted(config, site, interface, port);
    let place = config.written.behind.first();
    let place = place.unwrap_or(&config.written.interface);
    keeper.become_as(wanted).with_context(|| config.at(place))
}

/// What `config` and `site` want, by the name that the interface has now.
fn wanted(config: &Config, site: &Site, interface: &str, port: u16) -> Option<Wanted> {
    Wanted::of(config, site, port).map(|wanted| Wanted {
        interface: interface.to_owned(),
        ..wanted
    })
}

/// Rules, forwarding and the port become what the second wants, or stay what the first wants.
pub(super) fn change(
    keeper: &mut Keeper,
    (from, to): ((&Config, &Site), (&Config, &Site)),
    interface: &str,
    (port, engine): (&Port, &Engine),
) -> anyhow::Result<()> {
    let before = port.number();
    let new = to.0;
    set(keeper, new, to.1, interface, before)?;
    // After what can be undone at once: lanes let go of the old port in their own time.
    let number = Some(new.listen_port).filter(|&port| port != 0);
    let changed = port.change(number, Some(new.fwmark), engine);
    if changed.is_err() {
        keeper.follow(wanted(from.0, from.1, interface, before));
    }
    changed.with_context(|| new.at(&new.written.listen))
}

/// What is set on the device itself.
pub fn device_steps(interface: &str, mtu: u32, fittings: &Fittings) -> Vec<Step> {
    let mut steps = vec![Step::Interface(interface.to_owned()), Step::Mtu(mtu)];
    steps.extend(fittings.addresses.iter().copied().map(Step::Address));
    steps.extend(fittings.routes.iter().copied().map(Step::Route));
    steps.extend(fittings.left_out.iter().cloned().map(Step::LeftOut));
    steps
}
