//! What a file says of limits and marks, before anyone asked whether it makes sense.

use crate::config::problem::{Located, Place};

/// The keys that peers and groups have in common.
#[derive(Debug, Default)]
pub struct ServiceDraft {
    pub rate_limit: Option<Located<String>>,
    pub rate_limit_outbound: Option<Located<String>>,
    pub rate_limit_inbound: Option<Located<String>>,
    pub rate_burst_kb: Option<Located<i64>>,
    pub dscp: Option<Located<String>>,
}

/// `[[group]]`
#[derive(Debug, Default)]
pub struct GroupDraft {
    /// The section's header.
    pub place: Place,
    pub name: Option<Located<String>>,
    pub service: ServiceDraft,
}
