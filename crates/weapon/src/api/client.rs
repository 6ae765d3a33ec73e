//! The command line's side of the local API.

use std::{
    io, os::unix::net::UnixStream as StdStream, panic::resume_unwind, path::Path, thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request as HttpRequest, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt, net::UnixStream, time::timeout};

use super::{
    Answer, Request,
    routes::{JSON, Route},
};
use crate::{
    capture::NUMBER,
    claim, daemon,
    places::{self, Places},
};

/// How long the command line waits for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Bytes of an answer at most: some hundred thousand peers.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A connection to a running gateway, for one question.
pub struct Client(StdStream);

impl Client {
    /// Connects; `None` if the gateway does not run.
    ///
    /// # Errors
    /// It runs, but may not be asked.
    pub fn connect(places: &Places) -> anyhow::Result<Option<Self>> {
        Self::at(&places.socket())
    }

    /// As [`Client::connect`], by the socket's path.
    pub(super) fn at(path: &Path) -> anyhow::Result<Option<Self>> {
        match StdStream::connect(path) {
            Ok(stream) => {
                stream.set_nonblocking(true)?;
                Ok(Some(Self(stream)))
            }
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| {
                format!(
                    "cannot ask the gateway at {}; run as root, or as the user that started it",
                    path.display()
                )
            }),
        }
    }

    /// Connects to the gateway `name`.
    ///
    /// # Errors
    /// It does not run, or may not be asked.
    pub fn of(name: &str) -> anyhow::Result<Self> {
        Self::connect(&Places::of(name))?.ok_or_else(|| Self::missing(name))
    }

    /// The error that the gateway `name` does not run, with those that do.
    pub fn missing(name: &str) -> anyhow::Error {
        if let Some(pid) = claim::running_pid(&Places::of(name)) {
            return anyhow!(
                "the gateway {name:?} runs as process {pid}, but does not listen yet; try again"
            );
        }
        let running = places::gateways();
        let others = if running.is_empty() {
            "none runs".to_owned()
        } else {
            format!("running: {}", running.join(", "))
        };
        anyhow!("there is no running gateway {name:?}; {others}")
    }

    /// Asks.
    ///
    /// # Errors
    /// The gateway went away or does not understand, or could not do it.
    pub fn ask(self, request: &Request) -> anyhow::Result<Answer> {
        let (answer, _) = wait(exchange(self.0, request))?;
        refused(answer)
    }

    /// Asks for packets: the capture's number, and what comes bit by bit.
    ///
    /// # Errors
    /// The gateway went away or refuses.
    pub async fn stream(self, request: &Request) -> anyhow::Result<(u64, Incoming)> {
        let stream = TokioIo::new(UnixStream::from_std(self.0)?);
        let (mut sender, connection) = http1::handshake(stream).await?;
        // It ends with what it carries.
        tokio::spawn(connection);
        let asked = sender.send_request(asked(request)?);
        let response = timeout(ANSWER_TIME, asked)
            .await
            .map_err(|_| anyhow!("the gateway does not answer"))?
            .context("the gateway went away")?;
        let status = response.status();
        let number = response.headers().get(NUMBER).cloned();
        if status == StatusCode::OK
            && let Some(number) = number
        {
            return Ok((number.to_str()?.parse()?, response.into_body()));
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
        refused(understood(request.route(), status, &body.to_bytes())?)?;
        bail!("the gateway answers something else ({status})")
    }

    /// Asks the gateway to stop, and waits until nothing of it is left.
    ///
    /// # Errors
    /// It has not, in 10 s.
    pub fn stop(self) -> anyhow::Result<()> {
        wait(async {
            let (answer, mut stream) = exchange(self.0, &Request::Down).await?;
            refused(answer)?;
            let mut rest = Vec::new();
            timeout(ANSWER_TIME, stream.read_to_end(&mut rest))
                .await
                .map_err(|_| anyhow!("the gateway has not stopped within 10 s"))??;
            Ok(())
        })
    }
}

/// Waits for what comes of it: on a thread of its own, as who asks may be a task itself.
fn wait<T: Send>(task: impl Future<Output = anyhow::Result<T>> + Send) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("asks".into());
        let thread = thread.spawn_scoped(scope, || daemon::runtime()?.block_on(task))?;
        thread
            .join()
            .unwrap_or_else(|panicked| resume_unwind(panicked))
    })
}

fn refused(answer: Answer) -> anyhow::Result<Answer> {
    match answer {
        Answer::Error(message) => bail!("the gateway says: {message}"),
        answer => Ok(answer),
    }
}

/// The answer, and the connection: it may stay open for longer.
async fn exchange(stream: StdStream, request: &Request) -> anyhow::Result<(Answer, UnixStream)> {
    let stream = TokioIo::new(UnixStream::from_std(stream)?);
    let (mut sender, connection) = http1::handshake(stream).await?;
    let route = request.route();
    let wanted = asked(request)?;
    let asked = async {
        let response = sender.send_request(wanted).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(anyhow::Error::from_boxed)?;
        anyhow::Ok((status, body.to_bytes()))
    };
    let both = async { tokio::join!(asked, connection.without_shutdown()) };
    let (asked, parts) = timeout(ANSWER_TIME, both)
        .await
        .map_err(|_| anyhow!("the gateway does not answer"))?;
    let (status, body) = asked.context("the gateway went away")?;
    let answer = understood(route, status, &body)?;
    let parts = parts.context("the gateway went away")?;
    Ok((answer, parts.io.into_inner()))
}

/// A request as HTTP.
fn asked(request: &Request) -> anyhow::Result<HttpRequest<Full<Bytes>>> {
    let route = request.route();
    let asked = HttpRequest::builder()
        .method(route.method())
        .uri(request.target())
        // It needs one, though a socket has no name.
        .header(HOST, "localhost")
        .header(CONNECTION, "close")
        .header(CONTENT_TYPE, JSON);
    Ok(asked.body(Full::new(Bytes::from(request.body()?)))?)
}

fn understood(route: Route, status: StatusCode, body: &[u8]) -> anyhow::Result<Answer> {
    let answer = route.answer(status, body);
    answer.with_context(|| format!("the gateway answers something else ({status})"))
}
