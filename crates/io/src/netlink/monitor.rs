//! What happens to an interface while we use it.

use std::fmt;

use futures_util::StreamExt;
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::task::AbortHandle;

use super::{Link, Netlink, NetlinkError};

/// A change of the watched interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// It is gone: deleted, or moved to another namespace. Nothing comes after this.
    Deleted,
    /// Set up or set down.
    Up(bool),
    /// Another MTU, in bytes.
    Mtu(u32),
    /// Another name.
    Renamed(String),
}

/// A stream of [`LinkEvent`]s of one interface, without gaps: where the kernel had to leave
/// messages out, the interface is looked up afresh.
pub struct LinkMonitor {
    last: Link,
    pending: Vec<LinkEvent>,
    messages: Messages,
    // For the look-up after an overrun; the socket that hears the group can ask as well, but its
    // answers queue behind the flood that it could not keep up with.
    netlink: Netlink,
    task: AbortHandle,
    ended: bool,
    /// The kernel left messages out, and the interface was not looked up since.
    overrun: bool,
}

type Messages = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

impl LinkMonitor {
    /// Watches the interface `index` of the calling thread's network namespace. Changes from
    /// after this call are reported.
    ///
    /// # Errors
    /// See [`NetlinkError`]; `NotFound` when there is no such interface.
    pub async fn open(index: u32) -> Result<Self, NetlinkError> {
        let (connection, _handle, messages) =
            rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
                .map_err(NetlinkError::Connect)?;
        let task = tokio::spawn(connection).abort_handle();
        let netlink = Netlink::connect()?;
        // After the subscription, so that nothing can happen in between unseen.
        let last = match netlink.link_by_index(index).await {
            Ok(link) => link,
            Err(error) => {
                task.abort();
                return Err(error);
            }
        };
        let messages = messages.map(|(message, _from)| message).boxed();
        Ok(Self {
            last,
            pending: Vec::new(),
            messages,
            netlink,
            task,
            ended: false,
            overrun: false,
        })
    }

    /// The interface as it was after the last event.
    pub fn link(&self) -> &Link {
        &self.last
    }

    /// Waits for the next change; `None` after [`LinkEvent::Deleted`], or when the connection
    /// ended. May be dropped and called again without losing an event.
    pub async fn next(&mut self) -> Option<LinkEvent> {
        loop {
            if !self.pending.is_empty() {
                return Some(self.pending.remove(0));
            }
            if self.ended {
                return None;
            }
            if self.overrun {
                self.look_up().await;
                self.overrun = false;
                continue;
            }
            let message = self.messages.next().await?;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
                    let link = Link::from_message(&message);
                    // Bridges announce their ports under another family, with other attributes.
                    if link.index == self.last.index && link.mtu != 0 {
                        self.note(link);
                    }
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(message)) => {
                    // A port that leaves its bridge is announced with a DelLink of the bridge
                    // family, while the interface stays.
                    let all = rtnetlink::packet_route::AddressFamily::Unspec;
                    let header = &message.header;
                    if header.index == self.last.index && header.interface_family == all {
                        self.end();
                    }
                }
                NetlinkPayload::Overrun(_) => self.overrun = true,
                _ => {}
            }
        }
    }

    async fn look_up(&mut self) {
        match self.netlink.link_by_index(self.last.index).await {
            Ok(link) => self.note(link),
            Err(error) if error.is_not_found() => self.end(),
            Err(error) => tracing::warn!(%error, "lost sight of an interface"),
        }
    }

    fn note(&mut self, link: Link) {
        if link.up != self.last.up {
            self.pending.push(LinkEvent::Up(link.up));
        }
        if link.mtu != self.last.mtu {
            self.pending.push(LinkEvent::Mtu(link.mtu));
        }
        if link.name != self.last.name {
            self.pending.push(LinkEvent::Renamed(link.name.clone()));
        }
        self.last = link;
    }

    fn end(&mut self) {
        self.ended = true;
        self.pending.push(LinkEvent::Deleted);
    }
}

impl fmt::Debug for LinkMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkMonitor")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

impl Drop for LinkMonitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}
