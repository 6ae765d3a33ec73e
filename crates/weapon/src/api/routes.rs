//! Which path and method is which request, and which status and body is which answer.
//!
//! Both sides read it: what one writes the other understands.

use hyper::{Method, StatusCode, Uri, header::HeaderMap};
use serde::{Serialize, de::DeserializeOwned};

use super::{Answer, CONFIRM_SECONDS_MAX, Reload, Reloaded, Request, document, problem::Problem};
use crate::{
    capture::{Capture, Expression},
    drops::DropsReport,
    flows::{FlowsQuery, FlowsReport},
    report::Report,
    system::SystemReport,
    why::{WhyQuery, WhyReport},
};

/// The type of a body.
pub const JSON: &str = "application/json";

/// What a path with a method stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// [`Request::Status`]
    Status,
    /// [`Request::System`]
    System,
    /// [`Request::Flows`]
    Flows,
    /// [`Request::Why`]
    Why,
    /// [`Request::Drops`]
    Drops,
    /// [`Request::Down`]
    Down,
    /// [`Request::Reload`]
    Reload,
    /// [`Request::Confirm`]
    Confirm,
    /// [`Request::Capture`]
    Capture,
    /// [`Request::EndCapture`]
    EndCapture,
    /// The description of the API.
    Document,
}

impl Route {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Status,
        Self::System,
        Self::Flows,
        Self::Why,
        Self::Drops,
        Self::Down,
        Self::Reload,
        Self::Confirm,
        Self::Capture,
        Self::EndCapture,
        Self::Document,
    ];

    /// Where it is.
    pub fn path(self) -> &'static str {
        match self {
            Self::Status => "/v1/status",
            Self::System => "/v1/system",
            Self::Flows => "/v1/flows",
            Self::Why => "/v1/why",
            Self::Drops => "/v1/drops",
            Self::Down => "/v1/down",
            Self::Reload => "/v1/reload",
            Self::Confirm => "/v1/confirm",
            Self::Capture => "/v1/capture",
            Self::EndCapture => "/v1/capture/end",
            Self::Document => "/v1/openapi.json",
        }
    }

    /// How it is asked.
    pub fn method(self) -> Method {
        match self {
            Self::Status
            | Self::System
            | Self::Flows
            | Self::Why
            | Self::Drops
            | Self::Document => Method::GET,
            Self::Down | Self::Reload | Self::Confirm | Self::Capture | Self::EndCapture => {
                Method::POST
            }
        }
    }

    /// Finds it.
    ///
    /// # Errors
    /// There is none, or not with this method.
    pub fn find(method: &Method, uri: &Uri) -> Result<Self, Problem> {
        let at = |route: &Self| route.path() == uri.path();
        let Some(route) = Self::ALL.into_iter().find(at) else {
            let all = Self::ALL.map(Self::path).join(", ");
            return Err(Problem::new(
                StatusCode::NOT_FOUND,
                format!("there is no {}; there is {all}", uri.path()),
            ));
        };
        let allowed = route.method();
        // The server leaves out the body of what answers a HEAD.
        let is_head = allowed == Method::GET && method == Method::HEAD;
        if *method != allowed && !is_head {
            let mut problem = Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                format!("{} is asked with {allowed}", route.path()),
            );
            problem.allow = Some(if allowed == Method::GET {
                "GET, HEAD"
            } else {
                "POST"
            });
            return Err(problem);
        }
        if uri.query().is_some() && !matches!(route, Self::Flows | Self::Why) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("{} has no parameters", route.path()),
            ));
        }
        Ok(route)
    }

    /// What is asked of the gateway; nothing if it need not be asked.
    ///
    /// # Errors
    /// The body is not what belongs there.
    pub fn request(
        self,
        uri: &Uri,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<Option<Request>, Problem> {
        match self {
            Self::Reload => {
                return reload(headers, body).map(|reload| Some(Request::Reload(reload)));
            }
            Self::Capture => {
                return capture(headers, body).map(|capture| Some(Request::Capture(capture)));
            }
            Self::EndCapture => {
                return json_body(headers, body).map(|end| Some(Request::EndCapture(end)));
            }
            _ => {}
        }
        if !body.is_empty() {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("{} takes no body", self.path()),
            ));
        }
        Ok(match self {
            Self::Status => Some(Request::Status),
            Self::System => Some(Request::System),
            Self::Drops => Some(Request::Drops),
            Self::Flows => {
                let query = FlowsQuery::parse(uri.query().unwrap_or_default());
                Some(Request::Flows(query.map_err(bad)?))
            }
            Self::Why => {
                let query = WhyQuery::parse(uri.query().unwrap_or_default());
                Some(Request::Why(query.map_err(bad)?))
            }
            Self::Down => Some(Request::Down),
            Self::Confirm => Some(Request::Confirm),
            Self::Reload | Self::Capture | Self::EndCapture | Self::Document => None,
        })
    }

    /// What a client makes of the answer to it.
    ///
    /// # Errors
    /// It is not one.
    pub fn answer(self, status: StatusCode, body: &[u8]) -> anyhow::Result<Answer> {
        if !status.is_success() {
            let problem: Problem = serde_json::from_slice(body)?;
            return Ok(Answer::Error(problem.detail));
        }
        Ok(match self {
            Self::Status => Answer::Status(Box::new(read::<Report>(body)?)),
            Self::System => Answer::System(read::<SystemReport>(body)?),
            Self::Flows => Answer::Flows(read::<FlowsReport>(body)?),
            Self::Why => Answer::Why(read::<WhyReport>(body)?),
            Self::Drops => Answer::Drops(read::<DropsReport>(body)?),
            Self::Reload => Answer::Reloaded(read::<Reloaded>(body)?),
            Self::Down => Answer::Stopping,
            Self::Confirm => Answer::Confirmed,
            Self::EndCapture => Answer::CaptureEnds,
            Self::Capture => anyhow::bail!("it comes bit by bit"),
            Self::Document => anyhow::bail!("nobody asks for this here"),
        })
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> anyhow::Result<T> {
    Ok(serde_json::from_slice(body)?)
}

/// What a body says that must be JSON.
fn json_body<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    let kind = headers.get(hyper::header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // Parameters follow a semicolon, and JSON has none that says anything.
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case(JSON) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("the body is to be {JSON}"),
        ));
    }
    serde_json::from_slice(body).map_err(|error| bad(format!("bad body: {error}")))
}

fn bad(detail: String) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, detail)
}

fn capture(headers: &HeaderMap, body: &[u8]) -> Result<Capture, Problem> {
    let capture: Capture = json_body(headers, body)?;
    if let Some(Err(unclear)) = capture.filter.as_deref().map(Expression::parse) {
        return Err(bad(format!("bad body: {unclear}")));
    }
    let limits = [capture.count, capture.seconds, capture.bytes];
    if limits.contains(&Some(0)) {
        let detail = "bad body: count, seconds and bytes are to be 1 at least, or null";
        return Err(bad(detail.to_owned()));
    }
    Ok(capture)
}

fn reload(headers: &HeaderMap, body: &[u8]) -> Result<Reload, Problem> {
    let reload: Reload = json_body(headers, body)?;
    if !reload.path.is_absolute() {
        return Err(bad("bad body: path is to begin at the root".to_owned()));
    }
    let confirm = reload.confirm_seconds.unwrap_or(1);
    if !(1..=CONFIRM_SECONDS_MAX).contains(&confirm) {
        return Err(bad(format!(
            "bad body: confirm_seconds is to be 1 to {CONFIRM_SECONDS_MAX}, or null"
        )));
    }
    Ok(reload)
}

impl Request {
    /// Where it is asked.
    pub fn route(&self) -> Route {
        match self {
            Self::Status => Route::Status,
            Self::System => Route::System,
            Self::Flows(_) => Route::Flows,
            Self::Why(_) => Route::Why,
            Self::Drops => Route::Drops,
            Self::Down => Route::Down,
            Self::Reload(_) => Route::Reload,
            Self::Confirm => Route::Confirm,
            Self::Capture(_) => Route::Capture,
            Self::EndCapture(_) => Route::EndCapture,
        }
    }

    /// The path, and what follows it.
    pub fn target(&self) -> String {
        let path = self.route().path();
        match self {
            Self::Flows(query) => format!("{path}?{}", query.written()),
            Self::Why(query) => format!("{path}?{}", query.written()),
            _ => path.to_owned(),
        }
    }

    /// The body that belongs to it; empty for most.
    ///
    /// # Errors
    /// A path is not text.
    pub fn body(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Reload(reload) => serde_json::to_vec(reload),
            Self::Capture(capture) => serde_json::to_vec(capture),
            Self::EndCapture(end) => serde_json::to_vec(end),
            Self::Status
            | Self::System
            | Self::Flows(_)
            | Self::Why(_)
            | Self::Drops
            | Self::Down
            | Self::Confirm => Ok(Vec::new()),
        }
    }
}

/// Status and JSON of an answer; empty where the status says all.
///
/// # Errors
/// The gateway could not do it.
pub fn written(route: Route, answer: &Answer) -> Result<(StatusCode, Vec<u8>), Problem> {
    match answer {
        Answer::Status(report) => Ok((StatusCode::OK, json(report)?)),
        Answer::System(system) => Ok((StatusCode::OK, json(system)?)),
        Answer::Flows(flows) => Ok((StatusCode::OK, json(flows)?)),
        Answer::Why(why) => Ok((StatusCode::OK, json(why)?)),
        Answer::Drops(drops) => Ok((StatusCode::OK, json(drops)?)),
        Answer::Reloaded(reloaded) => Ok((StatusCode::OK, json(reloaded)?)),
        // What is captured follows bit by bit.
        Answer::Capturing(_) => Ok((StatusCode::OK, Vec::new())),
        Answer::Confirmed | Answer::CaptureEnds => Ok((StatusCode::NO_CONTENT, Vec::new())),
        Answer::Stopping => Ok((StatusCode::ACCEPTED, Vec::new())),
        Answer::Error(detail) => {
            let status = match route {
                // The file, or the system it is for, does not allow it.
                Route::Reload => StatusCode::UNPROCESSABLE_ENTITY,
                Route::Confirm | Route::EndCapture | Route::Flows => StatusCode::CONFLICT,
                Route::Capture | Route::Why => StatusCode::UNPROCESSABLE_ENTITY,
                Route::System => StatusCode::INTERNAL_SERVER_ERROR,
                Route::Status | Route::Drops | Route::Down | Route::Document => {
                    StatusCode::SERVICE_UNAVAILABLE
                }
            };
            Err(Problem::new(status, detail))
        }
    }
}

/// Status and body of the description.
///
/// # Errors
/// It cannot be written, which does not happen.
pub fn described() -> Result<(StatusCode, Vec<u8>), Problem> {
    Ok((StatusCode::OK, json(&document::document())?))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    let text = serde_json::to_vec(value);
    text.map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
