//! The local API: HTTP with JSON over a unix socket that only root may open.
//!
//! The command line is its first client. docs/api.md describes it for others, docs/openapi.json
//! for their programs.

// What is asked and answered, and how that reads as HTTP.
mod document;
mod problem;
mod routes;

// The gateway's side.
mod listener;
mod server;

// The command line's side.
mod client;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use utoipa::ToSchema;

pub use client::Client;
pub use listener::{listen, place};
pub use server::serve;

use crate::{
    capture::{Capture, CaptureEnd, Stream},
    drops::DropsReport,
    flows::{FlowsQuery, FlowsReport},
    report::Report,
    system::SystemReport,
    why::{WhyQuery, WhyReport},
};

/// The longest time that anybody would wait for who has locked himself out: a day, in seconds.
pub const CONFIRM_SECONDS_MAX: u64 = 24 * 60 * 60;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// The state of everything.
    Status,
    /// Stop. Answered at once; the connection closes when nothing is left.
    Down,
    /// Be what a file says.
    Reload(Reload),
    /// Keep what would go back.
    Confirm,
    /// What is set on the system.
    System,
    /// Packets, decrypted, as they pass.
    Capture(Capture),
    /// The end of a capture.
    EndCapture(CaptureEnd),
    /// What passes at this moment.
    Flows(FlowsQuery),
    /// What would become of a packet.
    Why(WhyQuery),
    /// The latest packets that died.
    Drops,
}

/// What is answered.
#[derive(Debug)]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Report>),
    /// To [`Request::Down`].
    Stopping,
    /// To [`Request::Reload`].
    Reloaded(Reloaded),
    /// To [`Request::Confirm`].
    Confirmed,
    /// To [`Request::System`].
    System(SystemReport),
    /// To [`Request::Capture`]. A client is given the file itself, bit by bit.
    Capturing(Box<Stream>),
    /// To [`Request::EndCapture`].
    CaptureEnds,
    /// To [`Request::Flows`].
    Flows(FlowsReport),
    /// To [`Request::Why`].
    Why(WhyReport),
    /// To [`Request::Drops`].
    Drops(DropsReport),
    /// It could not be done.
    Error(String),
}

/// A file to be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reload {
    /// The file, from the root on.
    #[schema(value_type = String, example = "/etc/weapon/site-a.toml")]
    pub path: PathBuf,
    /// Go back after so many seconds unless that is confirmed; null or left out is never.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400)]
    pub confirm_seconds: Option<u64>,
}

/// What a file has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What is different now, a line each.
    pub changes: Vec<String>,
    /// In how many seconds all that is not confirmed goes back; null is never.
    pub confirm_seconds: Option<u64>,
}

/// A request and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The answer.
    pub answer: oneshot::Sender<Answer>,
}

#[cfg(test)]
mod tests;
