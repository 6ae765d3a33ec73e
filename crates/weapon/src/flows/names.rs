//! Who has an address behind us: containers, by the names that Docker has for them.

use std::{collections::BTreeMap, net::IpAddr};

use crate::{daemon, site::docker::Docker};

/// The containers of this host, by address; none if Docker is not there, or does not answer.
pub fn of_containers() -> BTreeMap<IpAddr, String> {
    let docker = Docker::of_environment();
    let ask = || anyhow::Ok(daemon::runtime()?.block_on(docker.containers())?);
    ask().unwrap_or_default()
}
