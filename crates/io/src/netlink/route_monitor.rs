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
    /// Addresses of the host have, among others perhaps.
    pub addresses: bool,
    /// Policy rules have.
    pub policies: bool,
}

/// Word of changed routes and addresses, IPv4 and IPv6, of the whole network namespace.
pub struct RouteMonitor {
    messages: futures_util::stream::BoxStream<'static, RouteChange>,
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
            MulticastGroup::Ipv4Rule,
            MulticastGroup::Ipv6Rule,
        ];
        let (connection, _handle, messages) =
            rtnetlink::new_multicast_connection(&groups).map_err(NetlinkError::Connect)?;
        Ok(Self {
            task: tokio::spawn(connection).abort_handle(),
            messages: messages
                .map(move |(message, _from)| change(&message, interface))
                .boxed(),
            pending: None,
            told: None,
        })
    }

    /// Waits until something has changed, and a moment more if that was told just before. May be
    /// dropped and called again without losing a change.
    pub async fn changed(&mut self) -> RouteChange {
        if self.pending.is_none() {
            let Some(change) = self.messages.next().await else {
                // The connection ended; the link monitor's end says so to whoever can act on it.
                return std::future::pending().await;
            };
            self.pending = Some(change);
        }
        if let Some(told) = self.told {
            sleep(INTERVAL_MIN.saturating_sub(told.elapsed())).await;
        }
        while let Ok(Some(more)) = timeout(Duration::ZERO, self.messages.next()).await {
            let pending = self.pending.get_or_insert_default();
            pending.through_interface |= more.through_interface;
            pending.addresses |= more.addresses;
            pending.policies |= more.policies;
        }
        self.told = Some(Instant::now());
        self.pending.take().unwrap_or_default()
    }
}

/// What the message tells of; all, if it says that others were left out.
fn change(message: &NetlinkMessage<RouteNetlinkMessage>, interface: u32) -> RouteChange {
    let NetlinkPayload::InnerMessage(message) = &message.payload else {
        return RouteChange {
            through_interface: true,
            addresses: true,
            policies: true,
        };
    };
    let through_interface = match message {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            route.attributes.contains(&RouteAttribute::Oif(interface))
        }
        _ => false,
    };
    let addresses = matches!(
        message,
        RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_)
    );
    let policies = matches!(
        message,
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_)
    );
    RouteChange {
        through_interface,
        addresses,
        policies,
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
