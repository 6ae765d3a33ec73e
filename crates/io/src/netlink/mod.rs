//! Links, addresses and routes, asked of the kernel over rtnetlink.
//!
//! A connection belongs to the network namespace in which it was opened, and stays there.
//! Everything that rtnetlink's crates export ends in this folder: their versions break often.

/// What was asked, and why the kernel would not.
mod error;

/// Interfaces: flags, MTU, veth pairs, bridges, moves between namespaces.
mod link;

/// Addresses of an interface.
mod address;

/// Routes of an interface, and the route to a destination.
mod route;

/// Which table of routes a packet is looked up in.
mod policy;

/// What happens to an interface while we use it.
mod monitor;

/// Whether routes or addresses of the host change while we use them.
mod route_monitor;

/// Whether anybody changes rules of nftables.
mod rule_monitor;

/// Whether interfaces, addresses or routes change, of whichever interface.
mod host_monitor;

pub use address::ConnectedNetwork;
pub use error::NetlinkError;
pub use host_monitor::{HostMonitor, Watched};
pub use link::Link;
pub use monitor::{LinkEvent, LinkMonitor};
pub use policy::Policy;
pub use route::{MAIN_TABLE, Path, Route};
pub use route_monitor::{RouteChange, RouteMonitor};
pub use rule_monitor::RuleMonitor;

use rtnetlink::proto::Connection;
use rtnetlink::sys::AsyncSocket;
use tokio::task::AbortHandle;

/// A request socket of rtnetlink. Needs a running tokio runtime with I/O enabled.
#[derive(Debug)]
pub struct Netlink {
    handle: rtnetlink::Handle,
    task: AbortHandle,
}

impl Netlink {
    /// Connects in the network namespace of the calling thread.
    ///
    /// # Errors
    /// [`NetlinkError::Connect`] when the socket can't be had.
    pub fn connect() -> Result<Self, NetlinkError> {
        // Strict checks make the kernel filter dumps by interface: a host with a full BGP table
        // is not to be read whole for the sake of our own five routes.
        let (mut connection, handle, _events) =
            rtnetlink::new_connection_with_strict_check().map_err(NetlinkError::Connect)?;
        explain_errors(&mut connection);
        let task = tokio::spawn(connection).abort_handle();
        Ok(Self { handle, task })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        // The task owns the socket.
        self.task.abort();
    }
}

/// Runs `ask` on a connection of its own, on a runtime of its own, and returns when it is done.
/// For callers that have no runtime: a thread that entered a namespace, a test.
///
/// # Errors
/// [`NetlinkError::Connect`] when there is no socket, or whatever `ask` returns.
pub fn block_on<T>(
    ask: impl AsyncFnOnce(&Netlink) -> Result<T, NetlinkError>,
) -> Result<T, NetlinkError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(NetlinkError::Connect)?;
    runtime.block_on(async {
        let netlink = Netlink::connect()?;
        ask(&netlink).await
    })
}

/// Asks the kernel for a sentence with each error. Old kernels have none to give.
fn explain_errors<M>(connection: &mut Connection<M>)
where
    M: std::fmt::Debug
        + rtnetlink::packet_core::NetlinkSerializable
        + rtnetlink::packet_core::NetlinkDeserializable
        + Unpin,
{
    if let Err(error) = connection.socket_mut().socket_mut().set_ext_ack(true) {
        tracing::debug!(%error, "netlink errors come without explanations");
    }
}
