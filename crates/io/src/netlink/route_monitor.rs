//! Whether routes or addresses of the host change while we use them.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::NetlinkError;

/// Changes come in bursts: an interface that goes takes all its routes along. The first is told at
/// once, the rest of the burst together after this time.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// Word of changed routes and addresses, IPv4 and IPv6, of the whole network namespace.
pub struct RouteMonitor {
    messages: futures_util::stream::BoxStream<'static, ()>,
    task: AbortHandle,
    /// Something has changed, and nobody was told yet.
    pending: bool,
    told: Option<Instant>,
}

impl RouteMonitor {
    /// Watches the calling thread's network namespace.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn open() -> Result<Self, NetlinkError> {
        let groups = [
            MulticastGroup::Ipv4Route,
            MulticastGroup::Ipv6Route,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (connection, _handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Connect)?;
        Ok(Self {
            task: tokio::spawn(connection).abort_handle(),
            // An overrun is a change too.
            messages: messages.map(|_| ()).boxed(),
            pending: false,
            told: None,
        })
    }

    /// Waits until something has changed, and a moment more if that was told just before. May be
    /// dropped and called again without losing a change.
    pub async fn changed(&mut self) {
        if !self.pending && self.messages.next().await.is_none() {
            // The connection ended; the link monitor's end says so to whoever can act on it.
            std::future::pending::<()>().await;
        }
        self.pending = true;
        if let Some(told) = self.told {
            sleep(INTERVAL_MIN.saturating_sub(told.elapsed())).await;
        }
        while let Ok(Some(())) = timeout(Duration::ZERO, self.messages.next()).await {}
        self.pending = false;
        self.told = Some(Instant::now());
    }
}

impl fmt::Debug for RouteMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteMonitor").finish_non_exhaustive()
    }
}

impl Drop for RouteMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
