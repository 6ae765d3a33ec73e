//! Who has an address: containers, by the names that Docker has for them, and hosts, by those that
//! DNS has.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use hickory_resolver::{TokioResolver, proto::rr::RData};
use tokio::{runtime::Runtime, time::timeout};

use super::FlowsReport;
use crate::{daemon, site::docker::Docker};

/// Names that are asked for at the same time.
const ASKED_MAX: usize = 32;

/// How long flows wait for the names of their ends. What comes later is not there until it is asked
/// for again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Characters of a name at most (RFC 1035 section 2.3.4).
const NAME_LEN_MAX: usize = 253;

/// Who knows names.
pub struct Names {
    runtime: Runtime,
    resolver: Option<TokioResolver>,
    /// What DNS has said; `None` is that it knows none.
    hosts: BTreeMap<IpAddr, Option<String>>,
}

impl Names {
    /// Docker, and if `resolve` says so whoever resolves names for this host.
    ///
    /// # Errors
    /// There are too few descriptors, or it is not written whom to ask for names.
    pub fn new(resolve: bool) -> anyhow::Result<Self> {
        let runtime = daemon::runtime()?;
        let make = || anyhow::Ok(TokioResolver::builder_tokio()?.build()?);
        let resolver = {
            let _entered = runtime.enter();
            resolve.then(make).transpose()?
        };
        Ok(Self {
            runtime,
            resolver,
            hosts: BTreeMap::new(),
        })
    }

    /// The names of the ends of these flows, as far as somebody knows them.
    pub fn of(&mut self, report: &FlowsReport) -> BTreeMap<IpAddr, String> {
        let docker = Docker::of_environment();
        // None if it is not there, or does not answer.
        let mut names = self
            .runtime
            .block_on(docker.containers())
            .unwrap_or_default();
        let ends = report.flows.iter();
        let ends: BTreeSet<IpAddr> = ends
            .flat_map(|flow| [flow.source, flow.destination])
            .filter(|end| !names.contains_key(end))
            .collect();
        self.resolve(&ends);
        for end in ends {
            if let Some(Some(name)) = self.hosts.get(&end) {
                names.insert(end, name.clone());
            }
        }
        names
    }

    fn resolve(&mut self, ends: &BTreeSet<IpAddr>) {
        let Some(resolver) = &self.resolver else {
            return;
        };
        let hosts = &mut self.hosts;
        let unknown: Vec<IpAddr> = ends
            .iter()
            .copied()
            .filter(|end| !hosts.contains_key(end))
            .collect();
        let asked = stream::iter(unknown)
            .map(async |end| (end, name_of(resolver, end).await))
            .buffer_unordered(ASKED_MAX)
            .for_each(|(end, name)| {
                hosts.insert(end, name);
                std::future::ready(())
            });
        // What was not answered in time is asked for again.
        let _ = self
            .runtime
            .block_on(async { timeout(PATIENCE, asked).await });
    }
}

async fn name_of(resolver: &TokioResolver, end: IpAddr) -> Option<String> {
    let answer = resolver.reverse_lookup(end).await.ok()?;
    let names = answer.answers().iter().filter_map(|it| match &it.data {
        RData::PTR(name) => Some(name.0.to_utf8()),
        _ => None,
    });
    let names = names.map(|name| name.trim_end_matches('.').to_owned());
    names.into_iter().find(|name| is_host_name(name))
}

/// Whoever owns an address says what it is called, and may say anything.
fn is_host_name(name: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=NAME_LEN_MAX).contains(&name.len()) && name.bytes().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_of_a_host_is_not_shown() {
        for name in ["gw-1.example.net", "localhost", "_dmarc.example"] {
            assert!(is_host_name(name), "{name}");
        }
        for name in ["", "a\u{1b}[31mb", "a b", "ä.example", &"a".repeat(254)] {
            assert!(!is_host_name(name), "{name}");
        }
    }
}
