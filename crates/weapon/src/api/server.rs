//! The gateway's side of the local API.

use futures_util::stream::unfold;
use http_body_util::{BodyExt, Limited, StreamBody};
use hyper::{
    Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{ALLOW, CONNECTION, HeaderValue},
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};
use weapon_io::memory;

use super::{
    Answer, Call, Request,
    problem::{self, Problem},
    routes::{self, JSON, Route},
};
use crate::capture::{NUMBER, PCAPNG, Stream};
use crate::http::{self, Body, CLIENT_TIME, Deadline, Manner, response};

/// Bytes of a request's body at most: a path has 4096 at most, and may need escapes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Serves clients for ever; each of their requests goes to `calls`.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let respond = move |request, deadline| {
        let calls = calls.clone();
        async move { respond(request, &calls, &deadline).await }
    };
    http::serve(listener, respond).await;
}

async fn respond(
    request: HttpRequest<Incoming>,
    calls: &mpsc::Sender<Call>,
    deadline: &Deadline,
) -> Response<Body> {
    match answer(request, calls, deadline).await {
        Ok(response) => response,
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status);
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let body = serde_json::to_vec(&problem).unwrap_or_default();
            let mut response = response(status, Some(problem::CONTENT_TYPE), body);
            if let Some(allow) = problem.allow {
                let allow = HeaderValue::from_static(allow);
                response.headers_mut().insert(ALLOW, allow);
            }
            response
        }
    }
}

async fn answer(
    request: HttpRequest<Incoming>,
    calls: &mpsc::Sender<Call>,
    deadline: &Deadline,
) -> Result<Response<Body>, Problem> {
    let (head, body) = request.into_parts();
    let route = Route::find(&head.method, &head.uri)?;
    let body = read(body).await?;
    let Some(request) = route.request(&head.uri, &head.headers, &body)? else {
        return routes::described().map(|(status, body)| whole(status, body));
    };
    // From here on it waits for us.
    deadline.lift();
    let answer = ask(request, calls).await;
    let (status, body) = routes::written(route, &answer)?;
    Ok(match answer {
        Answer::Capturing(stream) => captured(*stream),
        answer => {
            drop(answer);
            if body.len() > LONG {
                memory::give_back();
            }
            whole(status, body)
        }
    })
}

/// An answer of so many bytes is about thousands of peers; what was needed for it is not kept.
const LONG: usize = 1 << 20;

/// An answer that is there as a whole.
fn whole(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    let kind = (!body.is_empty()).then_some(JSON);
    let mut response = response(status, kind, body);
    if status == StatusCode::ACCEPTED {
        close(&mut response, Manner::LastsUntilTheEnd);
    }
    response
}

/// An answer that goes on as long as packets come and the client reads.
fn captured(stream: Stream) -> Response<Body> {
    let number = HeaderValue::from(stream.number());
    let mut response = response(StatusCode::OK, Some(PCAPNG), Vec::new());
    response.headers_mut().insert(NUMBER, number);
    close(&mut response, Manner::Unhurried);
    let next = |mut stream: Stream| async move {
        let bytes = stream.next().await?;
        Some((Ok(Frame::data(bytes)), stream))
    };
    *response.body_mut() = StreamBody::new(unfold(stream, next)).boxed_unsync();
    response
}

fn close(response: &mut Response<Body>, manner: Manner) {
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response.extensions_mut().insert(manner);
}

async fn read(body: Incoming) -> Result<Bytes, Problem> {
    let whole = Limited::new(body, BODY_BYTES_MAX).collect();
    // Before the connection's own deadline, so that the client hears why.
    let due = Instant::now() + CLIENT_TIME / 2;
    let Ok(whole) = timeout_at(due, whole).await else {
        let detail = "the body has not come in time";
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail));
    };
    match whole {
        Ok(whole) => Ok(whole.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a body has {BODY_BYTES_MAX} bytes at most"),
        )),
        Err(error) => {
            let detail = format!("bad body: {error}");
            Err(Problem::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

async fn ask(request: Request, calls: &mpsc::Sender<Call>) -> Answer {
    let (answer, answered) = oneshot::channel();
    // Both fail only while the gateway stops.
    let _ = calls.send(Call { request, answer }).await;
    let answer = answered.await;
    answer.unwrap_or_else(|_| Answer::Error("the gateway is stopping".into()))
}
