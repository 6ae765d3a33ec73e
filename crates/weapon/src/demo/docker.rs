//! Two hosts with Docker: daemons, and containers that are Docker's.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use anyhow::{Context, bail, ensure};
use weapon_io::namespace::{Isolation, Namespace, cover_with_tmpfs};

use super::dockerd::{self, Dockerd};

/// Covered with a file system in memory, of which nobody else sees anything: images and containers
/// go there, and with it.
const ROOT: &str = "/mnt";

/// Daemons that run, shared with whoever has to end them.
pub(super) type Daemons = Arc<Mutex<Vec<Dockerd>>>;

/// Finds out whether Docker can run here.
///
/// # Errors
/// What is missing, and where to get it.
pub(super) fn check(isolation: Isolation) -> anyhow::Result<()> {
    if let Some(missing) = dockerd::missing() {
        bail!("no Docker can be started here: {missing}");
    }
    ensure!(
        isolation == Isolation::Privileged,
        "Docker daemons need root: sudo weapon demo --docker"
    );
    cover_with_tmpfs(ROOT).with_context(|| format!("cannot cover {ROOT} with a private tmpfs"))
}

/// A daemon on the host `site`.
///
/// # Errors
/// It does not start.
pub(super) fn start(
    site: &str,
    host: &Namespace,
    bridge: &str,
    containers: [&str; 2],
) -> anyhow::Result<Dockerd> {
    let folder = PathBuf::from(ROOT).join(site);
    fs::create_dir_all(&folder)?;
    let daemon = Dockerd::start(host, &folder, bridge)?;
    for name in containers {
        daemon.run(name)?;
    }
    Ok(daemon)
}

/// Where a container of the daemon is, and its address.
///
/// # Errors
/// It does not run.
pub(super) fn container(daemon: &Dockerd, name: &str) -> anyhow::Result<(IpAddr, Namespace)> {
    let address = daemon.address_of(name)?;
    let address = address
        .parse()
        .with_context(|| format!("{name}: {address}"))?;
    Ok((address, daemon.namespace_of(name)?))
}
