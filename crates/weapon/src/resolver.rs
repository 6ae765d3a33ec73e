//! Names of endpoints to addresses. The start does not wait for it.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::mpsc, time::sleep};

use crate::config::{HostPort, PeerConfig};

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

/// Looks all of them up; each says what it has found.
pub fn begin_to_resolve(unresolved: Unresolved, found: &Arc<mpsc::Sender<Resolved>>) {
    for (peer, endpoint) in unresolved {
        tokio::spawn(resolve(peer, endpoint, Arc::clone(found)));
    }
}

/// Resolves until it works, and says each time when it does not.
async fn resolve(peer: String, endpoint: HostPort, found: Arc<mpsc::Sender<Resolved>>) {
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
