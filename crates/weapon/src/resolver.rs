//! Names of endpoints to addresses. The start does not wait for it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::lookup_host, sync::mpsc, time::sleep};

use crate::config::HostPort;

/// Seconds before the first retry; doubled for each further one.
const RETRY_SECONDS_MIN: u64 = 1;

/// Seconds between retries at most.
const RETRY_SECONDS_MAX: u64 = 30;

/// A peer's address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The peer.
    pub peer: String,
    /// Its address.
    pub remote: SocketAddr,
}

/// The address, if `endpoint` is one and no name.
pub fn literal(endpoint: &HostPort) -> Option<SocketAddr> {
    Some(SocketAddr::new(endpoint.host.parse().ok()?, endpoint.port))
}

/// Resolves until it works, and says each time when it does not.
pub async fn resolve(peer: String, endpoint: HostPort, found: Arc<mpsc::Sender<Resolved>>) {
    let mut retry_seconds = RETRY_SECONDS_MIN;
    loop {
        let reason = match lookup_host((endpoint.host.as_str(), endpoint.port)).await {
            Ok(mut addresses) => match addresses.next() {
                Some(remote) => {
                    tracing::info!(peer, endpoint = %endpoint, %remote, "endpoint resolved");
                    // Fails only while the gateway stops.
                    let _ = found.send(Resolved { peer, remote }).await;
                    return;
                }
                None => "the name has no address".to_owned(),
            },
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
