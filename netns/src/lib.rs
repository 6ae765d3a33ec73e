//! End-to-end tests in network namespaces: what their tests in `tests/` are made of.
//!
//! This is for tests alone: whatever does not work as wanted panics and says what it was, and all
//! that was made goes with the value that stands for it.

/// Hosts, cables between them, and whether this machine can have them.
pub mod lab;

/// Processes that end with the test, and their logs.
pub mod process;

/// One gateway's configuration, written for weapon or for WireGuard's own tools.
pub mod plan;

/// The program under test.
pub mod weapon;

/// Debian's wireguard-go, configured with `wg`.
pub mod wireguard_go;

/// Either of both.
pub mod gateway;

/// TCP streams and pings that run while something happens.
pub mod traffic;

/// Handshake messages that nobody has written.
pub mod flood;

/// Where packets got lost in a host.
pub mod losses;

/// Two gateways and the tunnel between them.
pub mod pair;

/// What passes a cable.
pub mod tap;

/// What a gateway could leave behind.
pub mod traces;

pub use gateway::{Gateway, Kind};
pub use lab::{Host, link, ready, until};
pub use losses::losses;
pub use pair::Pair;
pub use plan::{PeerPlan, Plan};
pub use tap::{Packet, Tap};
pub use traces::Traces;
pub use weapon::{Home, Weapon};
