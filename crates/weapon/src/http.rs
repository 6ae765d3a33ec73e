//! HTTP/1.1 for clients on this host: a task for each of them, and bounds for all.

use std::{
    convert::Infallible,
    future::{Future, pending},
    io,
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::{Semaphore, watch},
    time::{Instant, sleep, sleep_until},
};

/// Bytes of a request's first line and headers at most: the least that hyper takes.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// Headers of a request at most. curl sends three, a browser some twenty.
const HEADERS_MAX: usize = 64;

/// Clients that are served at a time; others wait until one has gone.
const CLIENTS_MAX: usize = 16;

/// How long a client may take to ask, to take the answer, and to ask again.
pub const CLIENT_TIME: Duration = Duration::from_secs(5);

/// What an answer carries: all at once, or bit by bit.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;

/// Where clients come from.
pub trait Accept: Send + 'static {
    /// A client's connection.
    type Client: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn next(&self) -> impl Future<Output = io::Result<Self::Client>> + Send;
}

impl Accept for UnixListener {
    type Client = tokio::net::UnixStream;

    async fn next(&self) -> io::Result<Self::Client> {
        Ok(self.accept().await?.0)
    }
}

impl Accept for TcpListener {
    type Client = tokio::net::TcpStream;

    async fn next(&self) -> io::Result<Self::Client> {
        Ok(self.accept().await?.0)
    }
}

/// Until when a client has to have done its part; none while it waits for us.
#[derive(Clone)]
pub struct Deadline(watch::Sender<Option<Instant>>);

impl Deadline {
    /// From here on it waits for us.
    pub fn lift(&self) {
        self.0.send_replace(None);
    }

    fn renew(&self) {
        self.0.send_replace(Some(Instant::now() + CLIENT_TIME));
    }
}

/// What is special about an answer: an extension of the response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// The connection ends with the process, so that a client can wait for that.
    LastsUntilTheEnd,
    /// It is taken as slowly as the client likes.
    Unhurried,
}

/// Serves clients for ever; each of their requests goes to `respond`.
pub async fn serve<L, F, R>(listener: L, respond: F)
where
    L: Accept,
    F: Fn(Request<Incoming>, Deadline) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Response<Body>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.next().await {
            Ok(client) => {
                let respond = respond.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_client(client, respond).await {
                        tracing::debug!(%error, "a client went away");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Serves one client, request after request, until it goes or is too slow.
async fn serve_client<C, F, R>(client: C, respond: F) -> io::Result<()>
where
    C: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Fn(Request<Incoming>, Deadline) -> R,
    R: Future<Output = Response<Body>>,
{
    let (deadline, due) = watch::channel(Some(Instant::now() + CLIENT_TIME));
    let deadline = Deadline(deadline);
    let (stopping, stops) = watch::channel(false);
    let service = service_fn(async |request: Request<Incoming>| {
        let answer = respond(request, deadline.clone()).await;
        let manner = answer.extensions().get::<Manner>().copied();
        stopping.send_replace(manner == Some(Manner::LastsUntilTheEnd));
        if manner == Some(Manner::Unhurried) {
            deadline.lift();
        } else {
            deadline.renew();
        }
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

/// An answer that is there as a whole.
pub fn response(status: StatusCode, kind: Option<&'static str>, body: Vec<u8>) -> Response<Body> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(kind) = kind {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    response
}
