//! `weapon capture`: decrypted packets, as a file that Wireshark and tcpdump read.

// Which packets.
mod expression;

// How they are written.
mod comment;
mod pcapng;
mod recorder;

// The side of the gateway's process, and of its helper.
mod stream;
pub mod taking;

// The command line's side.
mod command;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use command::run;
pub use expression::Expression;
pub use stream::{Captures, Stream};

/// The type of the answer.
pub const PCAPNG: &str = "application/x-pcapng";

/// The header of the answer with the capture's number.
pub const NUMBER: &str = "weapon-capture";

/// Which packets are to be captured, and how many.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Capture {
    /// Only those for this peer, or from it; null or left out is all.
    pub peer: Option<String>,
    /// Where packets are looked at: `before` the filter decides, with those that die; or `after`
    /// it, those alone that go on. The former if left out.
    #[schema(value_type = String, example = "before")]
    pub stage: Stage,
    /// Only those that an expression fits, as `tcp port 443 and net 10.1.0.0/16`; null or left out
    /// is all.
    pub filter: Option<String>,
    /// End after so many packets; null or left out is never.
    #[schema(minimum = 1)]
    pub count: Option<u64>,
    /// End after so many seconds; null or left out is never.
    #[schema(minimum = 1)]
    pub seconds: Option<u64>,
    /// End before the capture has more than so many bytes; null or left out is never.
    #[schema(minimum = 1)]
    pub bytes: Option<u64>,
}

/// Where packets are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the filter.
    #[default]
    Before,
    /// After it.
    After,
}

/// A capture that is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CaptureEnd {
    /// Its number: the header `weapon-capture` of its answer.
    pub capture: u64,
}
