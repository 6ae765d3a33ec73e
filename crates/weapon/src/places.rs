//! Where a gateway keeps its files: what lives while it runs, and the one that outlives it.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::bail;

use crate::config::{self, BadConfig};

/// Files of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    runtime: PathBuf,
    state: PathBuf,
    name: String,
}

impl Places {
    /// The places of the gateway `name`: `$RUNTIME_DIRECTORY` and `$STATE_DIRECTORY` where set, as
    /// systemd does, else `/run/weapon` and `/var/lib/weapon`.
    pub fn of(name: &str) -> Self {
        Self {
            runtime: runtime_directory(),
            state: directory("STATE_DIRECTORY", "/var/lib/weapon"),
            name: name.to_owned(),
        }
    }

    /// The gateway.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says who runs; locked while it does.
    pub fn claim(&self) -> PathBuf {
        self.runtime.join(format!("{}.json", self.name))
    }

    /// The local API.
    pub fn socket(&self) -> PathBuf {
        self.runtime.join(format!("{}.sock", self.name))
    }

    /// What gateways have set on the system; one file for all of them.
    pub fn journal(&self) -> PathBuf {
        self.runtime.join("system.journal")
    }

    /// The high-water mark of the timestamps that were sent. It stays when the gateway stops, on
    /// purpose: a gateway that went below it would be locked out by its peers.
    pub fn timestamp(&self) -> PathBuf {
        self.state.join(format!("{}.timestamp", self.name))
    }

    /// The folder of claims and sockets.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// The folder of timestamps.
    pub fn state(&self) -> &Path {
        &self.state
    }
}

/// The folder of the folders of audit logs: `$LOGS_DIRECTORY` if set, else `/var/log/weapon`.
pub fn logs() -> PathBuf {
    directory("LOGS_DIRECTORY", "/var/log/weapon")
}

/// Names of the gateways that have a socket, sorted.
pub fn gateways() -> Vec<String> {
    let Ok(entries) = runtime_directory().read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name();
            Some(name.to_str()?.strip_suffix(".sock")?.to_owned())
        })
        .collect();
    names.sort();
    names
}

/// The gateway that is meant: the only one that runs, if none is named.
///
/// # Errors
/// It cannot be the name of one, or it is not clear which one is meant.
pub fn running_gateway(target: Option<&str>) -> anyhow::Result<String> {
    if let Some(target) = target {
        return Ok(config::gateway_name(target).map_err(|problem| BadConfig(vec![problem]))?);
    }
    let mut running = gateways();
    match running.len() {
        1 => Ok(running.swap_remove(0)),
        0 => bail!("no gateway runs"),
        _ => bail!(
            "several gateways run; name one of them: {}",
            running.join(", ")
        ),
    }
}

fn runtime_directory() -> PathBuf {
    directory("RUNTIME_DIRECTORY", "/run/weapon")
}

/// systemd gives a list separated by colons; the first is ours.
fn directory(variable: &str, default: &str) -> PathBuf {
    let value = env::var_os(variable).unwrap_or_default();
    match value.to_str().and_then(|list| list.split(':').next()) {
        Some(first) if !first.is_empty() => PathBuf::from(first),
        _ => PathBuf::from(default),
    }
}
