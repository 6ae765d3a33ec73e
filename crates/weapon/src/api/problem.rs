//! What went wrong with a request, as RFC 9457 writes it.

use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The type of a body that holds a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// Why a request was not served (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says which problem it is.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: String,
    /// The status in words.
    #[schema(example = "Not Found")]
    pub title: String,
    /// The status.
    #[schema(example = 404)]
    pub status: u16,
    /// What is wrong, and what would be right.
    pub detail: String,
    /// The methods that the path has, where it does not have the one asked for.
    #[serde(skip)]
    pub allow: Option<&'static str>,
}

impl Problem {
    /// One.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            allow: None,
        }
    }
}
