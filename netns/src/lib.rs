//! End-to-end tests in network namespaces: what their tests in `tests/` are made of.
//!
//! This is for tests alone: whatever does not work as wanted panics and says what it was, and all
//! that was made goes with the value that stands for it.

/// Hosts, cables between them, and whether this machine can have them.
pub mod lab;

/// Processes that end with the test, and their logs.
pub mod process;

/// What a command says that runs to its end.
pub mod said;

/// Calls that a running process is made to make.
pub mod injected;

/// One gateway's configuration, written for weapon or for WireGuard's own tools.
pub mod plan;

/// The program under test.
pub mod weapon;

/// WireGuard of others in user space, configured with `wg`.
pub mod daemon;

/// `weapon-wg`, configured with `wg`.
pub mod weapon_wg;

/// The kernel's WireGuard, in a virtual machine.
pub mod machine;

/// A host on which systemd runs.
pub mod booted;

/// The files of a virtual machine.
pub mod initramfs;

/// Any of them.
pub mod gateway;

/// TCP streams and pings that run while something happens.
pub mod traffic;

/// Handshake messages that nobody has written.
pub mod pressure;

/// Where packets got lost in a host.
pub mod losses;

/// Two gateways and the tunnel between them.
pub mod pair;

/// A Docker with networks and nothing else.
pub mod fake_docker;

/// A name server.
pub mod name_server;

/// What passes a cable.
pub mod tap;

/// What a gateway could leave behind.
pub mod traces;

/// What it could leave behind on the system.
pub mod footprint;

/// A Docker daemon on a host.
#[path = "../../crates/weapon/src/demo/dockerd.rs"]
pub mod dockerd;

/// Initiations without number.
pub mod flood;

/// A bad cable.
pub mod wire;

/// A laptop, an exit, and the rest of the world.
pub mod world;

/// Numbered datagrams.
pub mod volley;

/// What goes wrong, done on purpose.
pub mod chaos;

/// A matrix of peers and what is tried with them.
pub mod interop;

/// Files of which a part is written by a program.
pub mod markdown;

pub use booted::Booted;
pub use footprint::Footprint;
pub use gateway::{Gateway, Kind};
pub use lab::{Host, link, ready, until};
pub use losses::losses;
pub use pair::Pair;
pub use plan::{PeerPlan, Plan};
pub use said::Said;
pub use tap::{Packet, Tap};
pub use traces::Traces;
pub use weapon::{Home, Weapon};
pub use weapon_wg::WeaponWg;
/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without a message").to_owned()
}
