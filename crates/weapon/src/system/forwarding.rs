//! Forwarding: kernel parameters, per interface where that suffices.
//!
//! IPv4 asks the interface that a packet came by. IPv6 has had such a switch since Linux 6.17
//! (`force_forwarding`); before, all interfaces forward or none does.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::bail;

use super::Wanted;

/// A kernel parameter and the value that it is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Below `/proc/sys`, such as `net/ipv4/conf/eth1/forwarding`.
    pub key: String,
    /// The value.
    pub value: &'static str,
    /// Whether it is the TUN device's own, and goes with it.
    pub is_own: bool,
}

/// A name as `sysctl` takes it: dots and slashes are exchanged.
pub fn spelled(key: &str) -> String {
    let exchanged = key.chars().map(|character| match character {
        '/' => '.',
        '.' => '/',
        other => other,
    });
    exchanged.collect()
}

/// The kernel's parameters.
#[derive(Clone, Debug)]
pub struct Parameters {
    root: PathBuf,
}

impl Default for Parameters {
    fn default() -> Self {
        Self::below("/proc/sys")
    }
}

impl Parameters {
    /// Those in this folder.
    pub fn below(root: impl AsRef<Path>) -> Self {
        Self {
            root: root.as_ref().to_owned(),
        }
    }

    /// The value at this moment; `None` where there is no such parameter, as its interface is gone.
    pub fn read(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.root.join(key)).ok()?;
        Some(text.trim().to_owned())
    }

    /// Gives it a value. That it is gone is no error.
    ///
    /// # Errors
    /// It may not be written.
    pub fn write(&self, key: &str, value: &str) -> anyhow::Result<()> {
        let Err(error) = fs::write(self.root.join(key), value) else {
            return Ok(());
        };
        if error.kind() == io::ErrorKind::NotFound {
            return Ok(());
        }
        let spelled = spelled(key);
        let why = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => "/proc/sys is read-only here".to_owned(),
            _ => error.to_string(),
        };
        bail!(
            "cannot set {spelled} to {value}: {why}; set it where that is possible (sysctl -w \
             {spelled}={value}; for a container: --sysctl net.ipv4.ip_forward=1), or write \
             firewall = \"off\" in [gateway] and see to forwarding yourself"
        )
    }

    /// What is wanted, in the order in which it is set. `held` are those that were set before for
    /// this gateway: they no longer have the value by which they would be found.
    pub fn wanted(&self, wanted: &Wanted, held: &BTreeSet<String>) -> Vec<Setting> {
        let tunnel = wanted.interface.as_str();
        let prefixes = wanted.prefixes();
        let mut interfaces = vec![tunnel];
        interfaces.extend(wanted.interfaces());
        let each = |family: &'static str, name: &'static str| {
            let settings = interfaces.iter().map(move |interface| Setting {
                key: format!("net/{family}/conf/{interface}/{name}"),
                value: "1",
                is_own: *interface == tunnel,
            });
            settings.collect::<Vec<_>>()
        };
        let mut settings = Vec::new();
        if wanted.full_tunnel.as_ref().is_some_and(|full| full.ipv4) {
            // Else the filter of reverse paths (rp_filter) would look for the way back of what
            // comes in from outside in the tunnel's table.
            settings.push(Setting {
                key: "net/ipv4/conf/all/src_valid_mark".to_owned(),
                value: "1",
                is_own: false,
            });
            // Else neighbours would be told by ARP that we have the tunnel's address.
            let key = "net/ipv4/conf/all/arp_ignore".to_owned();
            if held.contains(&key) || self.read(&key).as_deref() == Some("0") {
                settings.push(Setting {
                    key,
                    value: "1",
                    is_own: false,
                });
            }
        }
        if prefixes.iter().any(|it| it.addr().is_ipv4()) {
            settings.extend(each("ipv4", "forwarding"));
        }
        if prefixes.iter().any(|it| it.addr().is_ipv6()) {
            if self.read("net/ipv6/conf/lo/force_forwarding").is_none() {
                settings.extend(self.all_of_ipv6(held));
            } else if self.read("net/ipv6/conf/all/forwarding").as_deref() != Some("1") {
                settings.extend(each("ipv6", "force_forwarding"));
            }
        }
        settings
    }

    /// For a kernel that knows IPv6 forwarding for all interfaces alone. A host that forwards heeds
    /// no router advertisements unless told to: those that were heeded still are.
    fn all_of_ipv6(&self, held: &BTreeSet<String>) -> Vec<Setting> {
        let setting = |key: String, value| Setting {
            key,
            value,
            is_own: false,
        };
        let folder = fs::read_dir(self.root.join("net/ipv6/conf"));
        let entries = folder.into_iter().flatten().filter_map(Result::ok);
        let mut keys: Vec<String> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|interface| !["all", "default", "lo"].contains(&interface.as_str()))
            .map(|interface| format!("net/ipv6/conf/{interface}/accept_ra"))
            .filter(|key| held.contains(key) || self.read(key).as_deref() == Some("1"))
            .collect();
        keys.sort();
        let mut settings: Vec<_> = keys.into_iter().map(|key| setting(key, "2")).collect();
        settings.push(setting("net/ipv6/conf/all/forwarding".into(), "1"));
        settings
    }
}

#[cfg(test)]
mod tests;
