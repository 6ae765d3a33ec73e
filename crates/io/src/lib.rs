//! Linux: TUN, UDP, netlink, namespaces, clocks.

/// CLOCK_BOOTTIME and CLOCK_REALTIME.
pub mod clock;

/// Randomness of the kernel.
pub mod entropy;

/// What a lane sleeps on.
pub mod poll;

/// The overlay.
pub mod tun;

/// The underlay.
pub mod udp;

/// Links, addresses, routes, and what happens to them.
pub mod netlink;

/// Network namespaces, and becoming root in one's own.
pub mod namespace;

/// What passes an interface.
pub mod capture;

/// ICMP echo.
pub mod ping;

/// Programs of the system.
pub mod program;

/// What happens to a file.
pub mod file_watch;

/// Files that whoever started us gave us.
pub mod inherited;

/// Signals that are not heard.
pub mod signals;

/// Memory that is free again.
pub mod memory;
