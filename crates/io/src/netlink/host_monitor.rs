//! Whether anything of the host's own networks changes: interfaces, addresses, routes.

use std::{fmt, time::Duration};

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::NetlinkError;

/// Changes come in bursts, and what they lead to is of interest: an interface that is made anew is
/// gone for a moment, and a bridge of Docker's before Docker says so. They are told together, this
/// time after the first.
const SETTLE: Duration = Duration::from_millis(500);

/// What is watched beside the interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Addresses of all interfaces.
    pub addresses: bool,
    /// Routes of all tables. A router may have many that change all the time.
    pub routes: bool,
}

/// Word that interfaces, addresses or routes of the network namespace have changed, but not which.
pub struct HostMonitor {
    messages: futures_util::stream::BoxStream<'static, ()>,
    task: AbortHandle,
    /// Something has changed, and nobody was told yet.
    pending: bool,
}

impl HostMonitor {
    /// Watches the calling thread's network namespace. Changes from after this call are told.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn open(watched: Watched) -> Result<Self, NetlinkError> {
        let mut groups = vec![MulticastGroup::Link];
        if watched.addresses {
            groups.extend([MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr]);
        }
        if watched.routes {
            groups.extend([MulticastGroup::Ipv4Route, MulticastGroup::Ipv6Route]);
        }
        let (connection, _handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Connect)?;
        Ok(Self {
            task: tokio::spawn(connection).abort_handle(),
            // That messages were left out is a message too.
            messages: messages.map(|_| ()).boxed(),
            pending: false,
        })
    }

    /// Waits until something has changed, and a moment more for what comes of it. May be dropped
    /// and called again without losing a change.
    pub async fn changed(&mut self) {
        if !self.pending {
            if self.messages.next().await.is_none() {
                // The connection ended; the link monitor's end says so to whoever can act on it.
                return std::future::pending().await;
            }
            self.pending = true;
        }
        sleep(SETTLE).await;
        while let Ok(Some(())) = timeout(Duration::ZERO, self.messages.next()).await {}
        self.pending = false;
    }
}

impl fmt::Debug for HostMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostMonitor").finish_non_exhaustive()
    }
}

impl Drop for HostMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
