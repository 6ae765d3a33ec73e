//! Linux: TUN, UDP, netlink, namespaces, clocks.
