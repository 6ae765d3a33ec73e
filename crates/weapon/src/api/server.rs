//! The gateway's side of the local API: a task for each client, and bounds for all of them.

use std::{convert::Infallible, future::pending, io, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request as HttpRequest, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::{Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    Answer, Call, Request,
    problem::{self, Problem},
    routes::{self, JSON, Route},
};

/// Bytes of a request's body at most: a path has 4096 at most, and may need escapes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// Bytes of a request's first line and headers at most: the least that hyper takes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Headers of a request at most. curl sends three, a browser some twenty.
const HEADERS_MAX: usize = 64;

/// Clients that are served at a time; others wait until one has gone.
const CLIENTS_MAX: usize = 16;

/// How long a client may take to ask, to take the answer, and to ask again.
const CLIENT_TIME: Duration = Duration::from_secs(5);

/// Until when a client has to have done its part; none while it waits for us.
type Deadline = watch::Sender<Option<Instant>>;

/// Serves clients for ever; each of their requests goes to `calls`.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((client, _)) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_client(client, &calls).await {
                        tracing::debug!(%error, "a client of the local API went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client of the local API");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one client, request after request, until it goes or is too slow.
async fn serve_client(client: UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let (deadline, due) = watch::channel(Some(Instant::now() + CLIENT_TIME));
    let (stopping, stops) = watch::channel(false);
    let service = service_fn(async |request: HttpRequest<Incoming>| {
        let answer = respond(request, calls, &deadline).await;
        stopping.send_replace(answer.status() == StatusCode::ACCEPTED);
        deadline.send_replace(Some(Instant::now() + CLIENT_TIME));
        Ok::<_, Infallible>(answer)
    });
    let connection = http1::Builder::new()
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // Ours counts the time to take the answer too.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(client), service)
        .without_shutdown();
    let parts = tokio::select! {
        ended = connection => ended.map_err(io::Error::other)?,
        () = overdue(due) => return Err(io::ErrorKind::TimedOut.into()),
    };
    if *stops.borrow() {
        // The client waits for the end of the connection, which comes with the end of the process.
        pending::<()>().await;
    }
    drop(parts);
    Ok(())
}

/// Ends when a deadline passes.
async fn overdue(mut due: watch::Receiver<Option<Instant>>) {
    loop {
        let at = *due.borrow_and_update();
        let passed = async {
            match at {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = passed => return,
            changed = due.changed() => if changed.is_err() {
                return pending().await;
            },
        }
    }
}

async fn respond(
    request: HttpRequest<Incoming>,
    calls: &mpsc::Sender<Call>,
    deadline: &Deadline,
) -> Response<Full<Bytes>> {
    match answer(request, calls, deadline).await {
        Ok((status, body)) => {
            let kind = (!body.is_empty()).then_some(JSON);
            let mut response = response(status, kind, body);
            if status == StatusCode::ACCEPTED {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            response
        }
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

fn response(
    status: StatusCode,
    kind: Option<&'static str>,
    body: Vec<u8>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}

async fn answer(
    request: HttpRequest<Incoming>,
    calls: &mpsc::Sender<Call>,
    deadline: &Deadline,
) -> Result<(StatusCode, Vec<u8>), Problem> {
    let (head, body) = request.into_parts();
    let route = Route::find(&head.method, &head.uri)?;
    let body = read(body).await?;
    let Some(request) = route.request(&head.uri, &head.headers, &body)? else {
        return routes::described();
    };
    // From here on it waits for us.
    deadline.send_replace(None);
    routes::written(route, &ask(request, calls).await)
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
