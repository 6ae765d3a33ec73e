//! What is different between a gateway that runs and a file, and what makes them the same.
//!
//! Peers are compared with what the gateway has at this moment, so that what was changed with `wg`
//! is as the file says again. Addresses and routes are compared with the file before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    time::Duration,
};

use anyhow::ensure;
use ipnet::IpNet;
use weapon_core::{GatewayChange, GatewayDump, NetworkChange, PeerChange, PeerDump};

use crate::{
    config::{AuditConfig, Config, FilterConfig, MetricsPlace, PeerConfig, service},
    interface::Fittings,
    resolver,
};

/// What is to be done.
#[derive(Debug, Default)]
pub struct Difference {
    /// What it is, for people, a line each.
    pub lines: Vec<String>,
    /// For the engine.
    pub change: GatewayChange,
    /// Peers whose endpoint is another now.
    pub moved: BTreeSet<String>,
}

/// What else runs: the port and the mark of the sockets.
#[derive(Clone, Copy, Debug)]
pub struct Sockets {
    /// The UDP port.
    pub port: u16,
    /// The mark of what is sent.
    pub fwmark: u32,
}

impl Difference {
    /// From what runs, which was started or last changed by `old`, to `new`; `fittings` are those
    /// of the interface before and after.
    ///
    /// # Errors
    /// Something is different that a running gateway cannot change.
    pub fn between(
        old: &Config,
        new: &Config,
        running: &GatewayDump,
        sockets: Sockets,
        fittings: (&Fittings, &Fittings),
    ) -> anyhow::Result<Self> {
        ensure_changeable(old, new)?;
        let mut found = Self::default();
        let mut say = |what: &str, before: &dyn Display, after: &dyn Display| {
            found.lines.push(format!("{what}: {before} -> {after}"));
        };
        // With port 0 any will do, also the one that there is.
        if new.listen_port != 0 && new.listen_port != sockets.port {
            say("listen port", &sockets.port, &new.listen_port);
        }
        if new.fwmark != sockets.fwmark {
            say("fwmark", &sockets.fwmark, &new.fwmark);
        }
        if new.mtu != old.mtu {
            let name =
                |mtu: Option<u32>| mtu.map_or_else(|| "automatic".into(), |it| it.to_string());
            say("MTU", &name(old.mtu), &name(new.mtu));
        }
        if new.metrics != old.metrics {
            let name = |at: &Option<MetricsPlace>| {
                at.as_ref()
                    .map_or_else(|| "off".into(), ToString::to_string)
            };
            say("metrics", &name(&old.metrics), &name(&new.metrics));
        }
        if running.private_key.as_ref() != Some(&new.private_key) {
            found.lines.push("private key: another".into());
            found.change.private_key = Some(Some(new.private_key.clone()));
        }
        found.fittings(old, new, fittings);
        found.behind(old, new);
        found.filter(old, new)?;
        found.services(old, new);
        found.peers(old, new, running);
        Ok(found)
    }

    fn fittings(&mut self, old: &Config, new: &Config, (before, after): (&Fittings, &Fittings)) {
        let (come, go) = (after.without(before), before.without(after));
        for (what, come, go) in [
            ("address", come.addresses, go.addresses),
            ("route", come.routes, go.routes),
        ] {
            let lines = [(come, "added"), (go, "removed")].into_iter();
            let lines = lines.flat_map(|(list, how)| list.into_iter().map(move |it| (it, how)));
            self.lines
                .extend(lines.map(|(it, how)| format!("{what} {it}: {how}")));
        }
        if old.addresses != new.addresses {
            let addresses = new.addresses.iter().map(IpNet::addr).collect();
            self.change.addresses = Some(addresses);
        }
        if old.mappings() != new.mappings() {
            self.change.mappings = Some(new.mappings());
        }
    }

    fn filter(&mut self, old: &Config, new: &Config) -> anyhow::Result<()> {
        if old.filter != new.filter {
            self.change.policy = Some(new.policy()?);
            let lines = FilterConfig::changes(old.filter.as_ref(), new.filter.as_ref());
            self.lines.extend(lines);
        }
        Ok(())
    }

    fn services(&mut self, old: &Config, new: &Config) {
        let services = new.services();
        if old.services() != services {
            self.change.services = Some(services);
            self.lines.extend(service::changes(old, new));
        }
    }

    fn behind(&mut self, old: &Config, new: &Config) {
        for (one, other, how) in [(new, old, "added"), (old, new, "removed")] {
            let only = one.behind.iter().filter(|it| !other.behind.contains(it));
            let lines = only.map(|it| format!("network {it}: {how}"));
            self.lines.extend(lines);
        }
    }

    fn peers(&mut self, old: &Config, new: &Config, running: &GatewayDump) {
        let there: BTreeMap<_, _> = running
            .peers
            .iter()
            .map(|peer| (peer.status.public_key, peer))
            .collect();
        let before: BTreeMap<_, _> = old.peers.iter().map(|it| (it.public_key, it)).collect();
        let wanted: BTreeSet<_> = new.peers.iter().map(|peer| peer.public_key).collect();
        // Those who go first: their names and networks may be another's now.
        for (&key, peer) in &there {
            if !wanted.contains(&key) {
                self.lines
                    .push(format!("peer `{}`: removed", peer.status.name));
                self.change.peers.push(PeerChange {
                    remove: true,
                    ..PeerChange::of(key)
                });
            }
        }
        for peer in &new.peers {
            let written = before.get(&peer.public_key).copied();
            match there.get(&peer.public_key) {
                Some(there) => self.peer(peer, there, written),
                None => self.new_peer(peer),
            }
        }
    }

    fn new_peer(&mut self, peer: &PeerConfig) {
        self.lines.push(format!("peer `{}`: added", peer.name));
        self.moved.insert(peer.name.clone());
        self.change.peers.push(self::peer(peer));
    }

    /// `written` is what the file before said of the peer.
    fn peer(&mut self, new: &PeerConfig, there: &PeerDump, written: Option<&PeerConfig>) {
        let mut change = PeerChange::of(new.public_key);
        let mut what = Vec::new();
        let before: BTreeSet<IpNet> = there.status.networks.iter().copied().collect();
        let after: BTreeSet<IpNet> = new.networks.iter().copied().collect();
        if there.status.name != new.name {
            what.push(format!("was `{}`", there.status.name));
            change.name = Some(new.name.clone());
        }
        if before != after || change.name.is_some() {
            let come = after.difference(&before).map(|it| format!("+{it}"));
            let go = before.difference(&after).map(|it| format!("-{it}"));
            let all: Vec<_> = come.chain(go).collect();
            if !all.is_empty() {
                what.push(format!("networks {}", all.join(" ")));
            }
            change.replace_networks = true;
            change.networks = given(&new.networks);
        }
        if there.preshared_key != new.preshared_key {
            what.push("another preshared key".into());
            change.preshared_key = Some(new.preshared_key.clone());
        }
        if there.status.persistent_keepalive != interval(new) {
            what.push(match new.persistent_keepalive {
                Some(seconds) => format!("keepalive every {seconds} s"),
                None => "no keepalive".into(),
            });
            change.persistent_keepalive = Some(interval(new));
        }
        // Where it is may be another place than the file says, because it moved.
        let was_at = written.and_then(|written| written.endpoint.as_ref());
        if let Some(endpoint) = &new.endpoint
            && was_at != Some(endpoint)
        {
            what.push(format!("endpoint {endpoint}"));
            change.endpoint = resolver::literal(endpoint);
            self.moved.insert(new.name.clone());
        }
        // Look-ups go by the peer's name.
        if change.name.is_some() && there.status.endpoint.is_none() {
            self.moved.insert(new.name.clone());
        }
        let was_pinned = written.is_some_and(|written| written.endpoint_pin);
        if was_pinned != new.endpoint_pin {
            what.push(if new.endpoint_pin {
                "endpoint pinned".into()
            } else {
                "endpoint not pinned".to_owned()
            });
            change.endpoint_pinned = Some(new.endpoint_pin);
        }
        if !what.is_empty() {
            self.lines
                .push(format!("peer `{}`: {}", new.name, what.join(", ")));
            self.change.peers.push(change);
        }
    }
}

/// A peer that was not there before.
pub fn peer(peer: &PeerConfig) -> PeerChange {
    PeerChange {
        name: Some(peer.name.clone()),
        preshared_key: Some(peer.preshared_key.clone()),
        endpoint: peer.endpoint.as_ref().and_then(resolver::literal),
        endpoint_pinned: Some(peer.endpoint_pin),
        persistent_keepalive: Some(interval(peer)),
        networks: given(&peer.networks),
        ..PeerChange::of(peer.public_key)
    }
}

/// What a gateway is made with stays as long as it runs.
fn ensure_changeable(old: &Config, new: &Config) -> anyhow::Result<()> {
    let fixed = [
        ("name", old.name == new.name),
        ("interface", old.interface == new.interface),
        ("lanes", old.lanes == new.lanes),
        ("cipher_backend", old.cipher_backend == new.cipher_backend),
        ("user", old.user == new.user),
        ("sandbox", old.sandbox == new.sandbox),
        ("offload", old.offload == new.offload),
        ("audit", same_audit(old, new)),
        (
            "danger_export_keys",
            old.danger_export_keys == new.danger_export_keys,
        ),
        ("flows_max", is_table_kept(old, new)),
    ];
    let other: Vec<_> = fixed
        .into_iter()
        .filter_map(|(key, is_same)| (!is_same).then_some(key))
        .collect();
    ensure!(
        other.is_empty(),
        "{}: a running gateway cannot change {}; nothing was changed. Put it back, or stop the \
         gateway with `weapon down {}` and start it again",
        new.source.path.display(),
        other.join(" and "),
        old.name
    );
    Ok(())
}

/// Where in the file it stands does not count.
fn same_audit(old: &Config, new: &Config) -> bool {
    let place = old.audit.as_ref().map(|audit| audit.place.clone());
    let new = new.audit.clone().map(|audit| AuditConfig {
        place: place.unwrap_or_default(),
        ..audit
    });
    old.audit == new
}

/// A table that is there keeps its size.
fn is_table_kept(old: &Config, new: &Config) -> bool {
    match (&old.filter, &new.filter) {
        (Some(old), Some(new)) => old.flows_max == new.flows_max,
        _ => true,
    }
}

fn given(networks: &[IpNet]) -> Vec<NetworkChange> {
    networks.iter().copied().map(NetworkChange::Give).collect()
}

fn interval(peer: &PeerConfig) -> Option<Duration> {
    let seconds = peer.persistent_keepalive?;
    Some(Duration::from_secs(seconds.into()))
}
