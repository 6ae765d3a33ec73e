//! The local API: one JSON line asked, one answered, over a unix socket that only root may open.

use std::{
    fs, io,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener as StdListener, UnixStream as StdStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{places::Places, report::Report, system::SystemReport};

/// Bytes of a socket's path at most (`sockaddr_un` without its zero byte).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Bytes of a request at most.
const REQUEST_BYTES_MAX: u64 = 4096;

/// Clients that are served at a time.
const CLIENTS_MAX: usize = 16;

/// How long a client may take to ask.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// How long the command line waits for an answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "request")]
pub enum Request {
    /// The state of everything.
    Status,
    /// Stop. Answered at once; the connection closes when nothing is left.
    Down,
    /// Be what a file says.
    Reload {
        /// The file, from the root on.
        path: PathBuf,
        /// Go back after so many seconds, unless [`Request::Confirm`] follows.
        confirm_seconds: Option<u64>,
    },
    /// Keep what would go back.
    Confirm,
    /// What is set on the system.
    System,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// To [`Request::Status`].
    Status(Box<Report>),
    /// To [`Request::Down`].
    Stopping,
    /// To [`Request::Reload`].
    Reloaded {
        /// What is different now, a line each.
        changes: Vec<String>,
        /// When all that is not confirmed goes back.
        confirm_seconds: Option<u64>,
    },
    /// To [`Request::Confirm`].
    Confirmed,
    /// To [`Request::System`].
    System(SystemReport),
    /// The request was not understood, or could not be served.
    Error(String),
}

/// A request and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The answer.
    pub answer: oneshot::Sender<Answer>,
}

/// Listens at the gateway's socket. It appears under its name only when it accepts, so nobody
/// meets a socket that is bound and deaf.
///
/// # Errors
/// The socket can't be made.
pub fn listen(places: &Places) -> anyhow::Result<UnixListener> {
    let path = places.socket();
    // So that the path is as long as it will be.
    let new = path.with_extension("new!");
    bind(&new, &path).with_context(|| {
        let path = path.display();
        if path.to_string().len() > SOCKET_PATH_BYTES_MAX {
            format!(
                "cannot listen at {path}: a socket's path has {SOCKET_PATH_BYTES_MAX} bytes at \
                 most; set RUNTIME_DIRECTORY to a shorter one"
            )
        } else {
            format!("cannot listen at {path}")
        }
    })
}

fn bind(new: &Path, path: &Path) -> io::Result<UnixListener> {
    let listener = place(new, path)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Listens at `new`, for the owner alone, and then gives it the name `path`.
///
/// # Errors
/// What the kernel refused; nothing is left at `new`.
pub fn place(new: &Path, path: &Path) -> io::Result<StdListener> {
    let _ = fs::remove_file(new);
    let listener = StdListener::bind(new)?;
    let placed = fs::set_permissions(new, fs::Permissions::from_mode(0o600))
        .and_then(|()| fs::rename(new, path));
    if placed.is_err() {
        let _ = fs::remove_file(new);
    }
    placed.map(|()| listener)
}

/// Serves clients for ever; each of their requests goes to `calls`.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else {
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
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

async fn serve_client(client: UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let (reader, mut writer) = client.into_split();
    let mut line = String::new();
    let mut reader = tokio::io::BufReader::new(reader.take(REQUEST_BYTES_MAX));
    timeout(REQUEST_TIME, reader.read_line(&mut line)).await??;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => {
            let (answer, answered) = oneshot::channel();
            // Both fail only while the gateway stops.
            let _ = calls.send(Call { request, answer }).await;
            answered
                .await
                .unwrap_or_else(|_| Answer::Error("the gateway is stopping".into()))
        }
        Err(error) => Answer::Error(format!("not a request: {error}")),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    timeout(REQUEST_TIME, writer.write_all(&text)).await??;
    if matches!(answer, Answer::Stopping) {
        // The client waits for the end of the connection, which comes with the end of the process.
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// A connection to a running gateway.
pub struct Client(BufReader<StdStream>);

impl Client {
    /// Connects; `None` if the gateway does not run.
    ///
    /// # Errors
    /// It runs, but may not be asked.
    pub fn connect(places: &Places) -> anyhow::Result<Option<Self>> {
        let path = places.socket();
        match StdStream::connect(&path) {
            Ok(stream) => {
                stream.set_read_timeout(Some(ANSWER_TIME))?;
                Ok(Some(Self(BufReader::new(stream))))
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

    /// Asks.
    ///
    /// # Errors
    /// The gateway went away or does not understand.
    pub fn ask(&mut self, request: Request) -> anyhow::Result<Answer> {
        let mut line = serde_json::to_vec(&request)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)?;
        let mut answer = String::new();
        self.0
            .read_line(&mut answer)
            .context("the gateway does not answer")?;
        match serde_json::from_str(&answer).context("the gateway went away")? {
            Answer::Error(message) => bail!("the gateway says: {message}"),
            answer => Ok(answer),
        }
    }

    /// Waits until the gateway has ended.
    ///
    /// # Errors
    /// It has not, in 10 s.
    pub fn wait_for_end(mut self) -> anyhow::Result<()> {
        let mut rest = Vec::new();
        self.0
            .read_to_end(&mut rest)
            .context("the gateway has not stopped within 10 s")?;
        Ok(())
    }
}
