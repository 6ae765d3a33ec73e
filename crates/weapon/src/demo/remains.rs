//! What a gateway leaves behind.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use ipnet::IpNet;

use super::gateway::RUNTIME_DIRECTORY;
use super::topology::{Host, World, inside};

/// What there is on both hosts, in words: interfaces, addresses, routes, with Docker the rules of
/// the firewall; and the processes of Docker.
pub(super) struct Inventory(Vec<String>, Vec<String>);

impl Inventory {
    /// Takes stock.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub(super) fn of(world: &World) -> anyhow::Result<Self> {
        let mut found = Vec::new();
        let mut running = Vec::new();
        for host in [&world.a, &world.b] {
            found.extend(things(host)?);
            if host.docker.is_some() {
                found.extend(rules(host)?);
                running.extend(processes(host)?);
            }
        }
        Ok(Self(found, running))
    }

    /// What there is that was not there, what was there and is gone, and whatever still runs.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub(super) fn difference(&self, world: &World) -> anyhow::Result<Vec<String>> {
        let present = Self::of(world)?;
        let more = present.0.iter().filter(|thing| !self.0.contains(thing));
        let less = self.0.iter().filter(|thing| !present.0.contains(thing));
        let mut difference: Vec<_> = more.cloned().collect();
        difference.extend(less.map(|thing| format!("{thing} is gone")));
        for host in [&world.a, &world.b] {
            let running = processes(host)?.into_iter();
            difference.extend(running.filter(|process| !self.1.contains(process)));
        }
        difference.extend(files());
        Ok(difference)
    }
}

/// What an interface of ours has. Addresses of the link alone come and go by the kernel's own
/// doing, and with their interface.
fn things(host: &Host) -> anyhow::Result<Vec<String>> {
    let site = host.site;
    inside(&host.namespace, async |netlink| {
        let mut found = Vec::new();
        for link in netlink.links().await? {
            found.push(format!(
                "{site}: interface {} (MTU {})",
                link.name, link.mtu
            ));
            for address in netlink
                .addresses(link.index)
                .await?
                .into_iter()
                .filter(is_lasting)
            {
                found.push(format!("{site}: address {address} on {}", link.name));
            }
        }
        let routes = netlink.all_routes().await?;
        for route in routes.iter().filter(|route| is_lasting(&route.destination)) {
            found.push(format!("{site}: {route}"));
        }
        Ok(found)
    })
}

/// The rules of the firewall, without their counters.
fn rules(host: &Host) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new("nft");
    host.namespace
        .command(command.args(["-s", "list", "ruleset"]))?;
    let output = command.output().context("nft")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text
        .lines()
        .map(|line| format!("{}: rule {}", host.site, line.trim()));
    Ok(lines.collect())
}

fn is_lasting(net: &IpNet) -> bool {
    !matches!(net, IpNet::V6(net) if net.addr().is_unicast_link_local())
}

/// Files below the directory of sockets. The state directory keeps its time stamps on purpose.
fn files() -> Vec<String> {
    let Ok(entries) = fs::read_dir(RUNTIME_DIRECTORY) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| format!("file {}", entry.path().display()))
        .collect()
}

/// Processes in the host's network namespace. This one is in none of the demo's.
fn processes(host: &Host) -> io::Result<Vec<String>> {
    let namespace = host.namespace.inode()?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        // Whoever is not a process, has ended, or is another user's is not ours.
        let Ok(link) = fs::metadata(entry.path().join("ns/net")) else {
            continue;
        };
        if std::os::unix::fs::MetadataExt::ino(&link) == namespace {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let id = Path::new(&entry.file_name()).display().to_string();
            found.push(format!("{}: process {id} {}", host.site, name.trim()));
        }
    }
    Ok(found)
}
