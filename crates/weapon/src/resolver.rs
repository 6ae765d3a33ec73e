//! Names of endpoints to addresses. The start does not wait for it.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::{net::lookup_host, sync::mpsc, task::AbortHandle, time::sleep};

use crate::config::{HostPort, PeerConfig};

/// Names that resolve at the same moment, and wait for their turn.
const RESOLVED_MAX: usize = 16;

/// Seconds before the first retry; doubled for each further one.
const RETRY_SECONDS_MIN: u64 = 1;

/// Seconds between retries at most.
const RETRY_SECONDS_MAX: u64 = 30;

/// A peer's address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The peer.
    pub peer: String,
    /// The endpoint that was looked up; the file may name another by now.
    pub endpoint: HostPort,
    /// Its address.
    pub remote: SocketAddr,
}

/// The address, if `endpoint` is one and no name.
pub fn literal(endpoint: &HostPort) -> Option<SocketAddr> {
    Some(SocketAddr::new(endpoint.host.parse().ok()?, endpoint.port))
}

/// Peers whose endpoint is a name, by their own.
pub type Unresolved = BTreeMap<String, HostPort>;

/// Those of `peers`.
pub fn unresolved<'a>(peers: impl IntoIterator<Item = &'a PeerConfig>) -> Unresolved {
    let named = peers.into_iter().filter_map(|peer| {
        let endpoint = peer.endpoint.as_ref()?;
        literal(endpoint)
            .is_none()
            .then(|| (peer.name.clone(), endpoint.clone()))
    });
    named.collect()
}

/// As they are written.
pub fn written(unresolved: &Unresolved) -> impl Iterator<Item = (String, String)> + '_ {
    unresolved
        .iter()
        .map(|(peer, endpoint)| (peer.clone(), endpoint.to_string()))
}

/// Look-ups that are under way, by the peer's name.
#[derive(Debug)]
pub struct LookUps {
    found: mpsc::Sender<Resolved>,
    running: BTreeMap<String, AbortHandle>,
}

impl LookUps {
    /// None yet. What they find comes out of the other end.
    pub fn new() -> (Self, mpsc::Receiver<Resolved>) {
        let (found, resolved) = mpsc::channel(RESOLVED_MAX);
        let running = BTreeMap::new();
        (Self { found, running }, resolved)
    }

    /// Looks all of them up.
    pub fn begin(&mut self, unresolved: Unresolved) {
        for (peer, endpoint) in unresolved {
            let task = tokio::spawn(resolve(peer.clone(), endpoint, self.found.clone()));
            if let Some(before) = self.running.insert(peer, task.abort_handle()) {
                before.abort();
            }
        }
    }

    /// Ends those of peers that are not to be kept.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.running.retain(|peer, task| {
            let is_kept = is_kept(peer);
            if !is_kept {
                task.abort();
            }
            is_kept
        });
    }
}

/// Resolves until it works, and says each time when it does not.
async fn resolve(peer: String, endpoint: HostPort, found: mpsc::Sender<Resolved>) {
    let mut retry_seconds = RETRY_SECONDS_MIN;
    loop {
        let first = match lookup_host((endpoint.host.as_str(), endpoint.port)).await {
            Ok(mut addresses) => Ok(addresses.next()),
            Err(error) => Err(error),
        };
        let reason = match first {
            Ok(Some(remote)) => {
                tracing::info!(peer, endpoint = %endpoint, %remote, "endpoint resolved");
                let resolved = Resolved {
                    peer,
                    endpoint,
                    remote,
                };
                // Fails only while the gateway stops.
                let _ = found.send(resolved).await;
                return;
            }
            Ok(None) => "the name has no address".to_owned(),
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            peer,
            endpoint = %endpoint,
            reason,
            retry_seconds,
            "endpoint does not resolve; the gateway runs and tries again"
        );
        sleep(Duration::from_secs(retry_seconds)).await;
        retry_seconds = (retry_seconds * 2).min(RETRY_SECONDS_MAX);
    }
}
