//! What is set on the system follows the gateway: what lies behind it, its port, its interface.

use anyhow::Context as _;
use ipnet::IpNet;
use weapon_io::{netlink::Netlink, tun::Tun};

use super::{Daemon, site::tell_first};
use crate::{
    api::Answer,
    config::Config,
    confined::GatewayProcess,
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
        let site = Site::of(&self.entries);
        let state = (&self.config, &site, &*self.fittings.kept);
        let wanted = wanted(state, self.watch.name(), &self.port);
        let full = wanted.as_ref().and_then(|it| it.full_tunnel.as_ref());
        self.look_ups.set_mark(full.map_or(0, |full| full.mark));
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
            match self.netlink.add_route(&now.route(network, index)).await {
                Ok(()) => tracing::info!(%network, "the route is set, as nothing is taken by it"),
                Err(error) => tracing::warn!(%error, "the route is not set"),
            }
        }
        let before = std::mem::replace(&mut self.fittings, now);
        if before.kept != self.fittings.kept {
            self.follow_system();
        }
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
            let mut routes = self.netlink.routes(index).await?;
            routes.extend(self.netlink.routes_in(self.fittings.table, index).await?);
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
        (lanes, port): (usize, &Port),
        netlink: &Netlink,
    ) -> anyhow::Result<Self> {
        let lookout = Lookout::open(config, None).await?;
        lookout.ensure_good(config, &[])?;
        // What a killed gateway has left is gone before anything is set.
        let mut keeper = Keeper::new(places)?;
        let connected = connected(netlink, &config.interface).await?;
        let fittings = Fittings::of(config, &connected);
        let site = Site::of(lookout.entries());
        let state = (config, &site, &*fittings.kept);
        keeper
            .close_first(wanted(state, &config.interface, port).as_ref())
            .with_context(|| config.at(&config.written.interface))?;
        let tun = interface::make(config, &fittings, lanes, netlink).await?;
        let mut site_watch = lookout.follow(Some(tun.ifindex())).await;
        let entries = site_watch.entries();
        tell_first(&entries);
        let site = Site::of(&entries);
        let state = (config, &site, &*fittings.kept);
        set(&mut keeper, state, &config.interface, port)?;
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
    state: State<'_>,
    interface: &str,
    port: &Port,
) -> anyhow::Result<()> {
    let config = state.0;
    let wanted = wanted(state, interface, port);
    let place = config.written.behind.first();
    let place = place.unwrap_or(&config.written.interface);
    keeper.become_as(wanted).with_context(|| config.at(place))
}

/// What is wanted by a configuration, with this behind us, and these networks beside us.
type State<'s> = (&'s Config, &'s Site, &'s [IpNet]);

/// What that wants, by the name that the interface has now, and by the mark of the sockets.
fn wanted((config, site, kept): State<'_>, interface: &str, port: &Port) -> Option<Wanted> {
    let mut wanted = Wanted::of(config, site, kept, port.number())?;
    interface.clone_into(&mut wanted.interface);
    if let Some(full) = &mut wanted.full_tunnel
        && port.fwmark() != 0
    {
        full.mark = port.fwmark();
    }
    Some(wanted)
}

/// Rules, forwarding and the port become what the second wants, or stay what the first wants.
pub(super) fn change(
    keeper: &mut Keeper,
    (from, to): (State<'_>, State<'_>),
    interface: &str,
    (port, engine): (&Port, &GatewayProcess),
) -> anyhow::Result<()> {
    let new = to.0;
    set(keeper, to, interface, port)?;
    // After what can be undone at once: lanes let go of the old port in their own time.
    let number = Some(new.listen_port).filter(|&port| port != 0);
    let changed = port.change(number, Some(new.fwmark), engine);
    if changed.is_err() {
        keeper.follow(wanted(from, interface, port));
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
