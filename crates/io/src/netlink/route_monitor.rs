//! Whether routes or addresses of the host change while we use them.

use std::{
    fmt,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use rtnetlink::{
    MulticastGroup,
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{RouteNetlinkMessage, route::RouteAttribute},
};
use tokio::{
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::NetlinkError;

/// Changes come in bursts: an interface that goes takes all its routes along. The first is told at
/// once, the rest of the burst together after this time.
const INTERVAL_MIN: Duration = Duration::from_millis(20);

/// What has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteChange {
    /// Routes through the interface have, among others perhaps.
    pub through_interface: bool,
}

/// Word of changed routes and addresses, IPv4 and IPv6, of the whole network namespace.
pub struct RouteMonitor {
    /// Whether each is of the interface.
    messages: futures_util::stream::BoxStream<'static, bool>,
    task: AbortHandle,
    /// Something has changed, and nobody was told yet.
    pending: Option<RouteChange>,
    told: Option<Instant>,
}

impl RouteMonitor {
    /// Watches the calling thread's network namespace, with an eye on the routes through
    /// `interface`.
    ///
    /// # Errors
    /// See [`NetlinkError`].
    pub fn open(interface: u32) -> Result<Self, NetlinkError> {
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
            messages: messages
                .map(move |(message, _from)| is_through(&message, interface))
                .boxed(),
            pending: None,
            told: None,
        })
    }

    /// Waits until something has changed, and a moment more if that was told just before. May be
    /// dropped and called again without losing a change.
    pub async fn changed(&mut self) -> RouteChange {
        if self.pending.is_none() {
            let Some(through_interface) = self.messages.next().await else {
                // The connection ended; the link monitor's end says so to whoever can act on it.
                return std::future::pending().await;
            };
            self.pending = Some(RouteChange { through_interface });
        }
        if let Some(told) = self.told {
            sleep(INTERVAL_MIN.saturating_sub(told.elapsed())).await;
        }
        while let Ok(Some(more)) = timeout(Duration::ZERO, self.messages.next()).await {
            let pending = self.pending.get_or_insert_default();
            pending.through_interface |= more;
        }
        self.told = Some(Instant::now());
        self.pending.take().unwrap_or_default()
    }
}

/// Whether the message is of a route through the interface, or says that such were left out.
fn is_through(message: &NetlinkMessage<RouteNetlinkMessage>, interface: u32) -> bool {
    let NetlinkPayload::InnerMessage(message) = &message.payload else {
        return true;
    };
    let (RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route)) = message
    else {
        return false;
    };
    route.attributes.contains(&RouteAttribute::Oif(interface))
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
