//! The gateway in a process of its own, which may do nothing but carry packets.
//!
//! What was started is the **helper**: it may change interfaces, routes and rules, reads the
//! configuration, and is the process that people, signals and the service manager know. It starts
//! the **gateway**, gives it the open device and sockets, and lets it go on without any privilege:
//! keys and packets of strangers are there alone.
//!
//! ```text
//!  helper: CAP_NET_ADMIN                          gateway: no capability, no files, few calls
//! ┌───────────────────────┐  commands, answered  ┌──────────────────────────┐
//! │ configuration, rules, │ ───────────────────▶ │ engine: control loop,    │ ◀─▶ TUN
//! │ interface, local API  │                      │ lanes, keys              │ ◀─▶ UDP
//! │                       │ ◀─────────────────── │                          │
//! └───────────────────────┘  requests, checked   └──────────────────────────┘
//! ```
//!
//! The helper commands whatever it likes. The gateway may ask for three things alone
//! ([`message::Request`]): that a timestamp is kept, that sockets are opened as the configuration
//! says, and that something is heard. Either ends when the other does.
//! `docs/decisions/0019-two-processes.md` says why the boundary is here.

// What they say to each other, and how.
mod link;
mod message;
mod secret;

// The helper's side.
mod ambient;
mod process;
mod questions;
mod requests;
mod shown;
mod user;

// The gateway's side.
mod calls;
mod inside;
mod sandbox;

pub use inside::{GATEWAY, is_gateway, main};
pub use message::Begin;
pub use process::{GatewayProcess, Spawned, Wanted};
pub use requests::{Parts, Tell, teller};
pub use user::User;
