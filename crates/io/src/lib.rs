//! Linux: TUN, UDP, netlink, namespaces, clocks.

/// Links, addresses, routes, and what happens to them.
pub mod netlink;

/// Network namespaces, and becoming root in one's own.
pub mod namespace;
