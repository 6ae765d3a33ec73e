//! Docker's networks, asked at the socket of its API.
//!
//! All of bollard, whose versions break often, is in this file. Whoever answers at the socket is
//! root already; all the same, what comes from it is bounded in size and time.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsStr,
    io,
    net::IpAddr,
    os::unix::ffi::OsStrExt,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bollard::{
    BollardRequest,
    errors::Error,
    models::{ContainerSummary, EventMessage, Network},
    query_parameters::{EventsOptionsBuilder, ListContainersOptions, ListNetworksOptions},
};
use futures_util::{StreamExt, stream::BoxStream};
use hyper::{
    Response, Uri,
    body::Incoming,
    client::conn::http1::handshake,
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    task::JoinSet,
    time::timeout,
};

use crate::config::value;

/// Where Docker listens unless it is told otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Longer than a busy Docker takes to list its networks, and less than `weapon reload` waits.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes that are read of one answer: room for some three thousand networks, or as many events.
const ANSWER_BYTES_MAX: usize = 2 << 20;

/// Subnets of one network. It has one or two of each family.
const SUBNETS_MAX: usize = 64;

/// Characters of a complaint of Docker's that are repeated.
const COMPLAINT_LEN_MAX: usize = 300;

/// The driver whose networks the host itself is a part of.
const BRIDGE: &str = "bridge";

/// The option that names the interface of a network of [`BRIDGE`].
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";

/// Docker, which may or may not be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Docker {
    socket: PathBuf,
    patience: Duration,
}

/// A network of Docker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerNetwork {
    /// Its name.
    pub name: String,
    /// What it is made by.
    pub driver: String,
    /// Whether Docker lets nothing in or out.
    pub internal: bool,
    /// The host's interface in it, if it is a bridge.
    pub interface: Option<String>,
    /// Its prefixes.
    pub subnets: Vec<IpNet>,
}

impl DockerNetwork {
    /// Whether the host is a part of it.
    pub fn is_bridge(&self) -> bool {
        self.driver == BRIDGE
    }
}

/// Why Docker's networks are not known.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No socket.
    #[error(
        "there is no Docker at {}; install it, start it (`systemctl start docker`), or say with \
         DOCKER_HOST=unix://PATH where it listens", .0.display()
    )]
    NotThere(PathBuf),
    /// A socket at which nobody listens.
    #[error(
        "Docker does not run: nobody listens at {}; start it (`systemctl start docker`)",
        .0.display()
    )]
    NotRunning(PathBuf),
    /// A socket that is not for us.
    #[error(
        "Docker's socket {} may not be opened; run weapon as root or in the group `docker`",
        .0.display()
    )]
    NotPermitted(PathBuf),
    /// It says nothing.
    #[error("Docker at {} does not answer; does `docker network ls` work?", .0.display())]
    Silent(PathBuf),
    /// It says something else.
    #[error("Docker at {} gives no usable answer: {reason}", .socket.display())]
    Answer {
        /// Where it was asked.
        socket: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl Docker {
    /// Where `DOCKER_HOST` says, if that is a socket of this host.
    pub fn of_environment() -> Self {
        Self::at(std::env::var_os("DOCKER_HOST").as_deref())
    }

    pub(super) fn at(docker_host: Option<&OsStr>) -> Self {
        let path = docker_host.and_then(|host| host.as_bytes().strip_prefix(b"unix://"));
        let path = path.filter(|path| !path.is_empty());
        let path = path.map_or_else(|| OsStr::new(SOCKET), OsStr::from_bytes);
        Self {
            socket: path.into(),
            patience: ANSWER_TIME_MAX,
        }
    }

    /// All of its networks.
    ///
    /// # Errors
    /// It is not there, or not as Docker is.
    pub async fn networks(&self) -> Result<Vec<DockerNetwork>, DockerError> {
        let ask = async {
            self.connect()?
                .list_networks(None::<ListNetworksOptions>)
                .await
        };
        let answer = timeout(self.patience, ask).await;
        let Ok(answer) = answer else {
            return Err(DockerError::Silent(self.socket.clone()));
        };
        let networks = answer.map_err(|error| self.error(error))?;
        Ok(networks.into_iter().filter_map(network).collect())
    }

    /// The names of the containers that run, by their addresses.
    ///
    /// # Errors
    /// It is not there, or not as Docker is.
    pub async fn containers(&self) -> Result<BTreeMap<IpAddr, String>, DockerError> {
        let ask = async {
            self.connect()?
                .list_containers(None::<ListContainersOptions>)
                .await
        };
        let answer = timeout(self.patience, ask).await;
        let Ok(answer) = answer else {
            return Err(DockerError::Silent(self.socket.clone()));
        };
        let containers = answer.map_err(|error| self.error(error))?;
        Ok(containers.into_iter().flat_map(named).collect())
    }

    /// Whether networks were made, changed or removed, from `since` on, which is seconds since
    /// 1970.
    ///
    /// # Errors
    /// Docker cannot be asked at all.
    pub fn changes(&self, since: u64) -> Result<Changes, DockerError> {
        let wanted = HashMap::from([
            ("type", vec!["network"]),
            ("event", vec!["create", "update", "destroy", "remove"]),
        ]);
        let options = EventsOptionsBuilder::default()
            .since(&since.to_string())
            .filters(&wanted)
            .build();
        let connection = self.connect().map_err(|error| self.error(error))?;
        Ok(Changes {
            events: connection.events(Some(options)).boxed(),
            _connection: connection,
            docker: self.clone(),
        })
    }

    fn connect(&self) -> Result<bollard::Docker, Error> {
        let socket = self.socket.clone();
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let transport = move |request| ask(socket.clone(), Arc::clone(&connections), request);
        bollard::Docker::connect_with_custom_transport(
            transport,
            Some("http://docker"),
            // For the beginning of an answer.
            self.patience.as_secs().max(1),
            // It is not sent: Docker answers by the version that it likes best, and what is asked
            // here is the same in all of them.
            bollard::API_DEFAULT_VERSION,
        )
    }

    fn error(&self, error: Error) -> DockerError {
        let socket = self.socket.clone();
        match &error {
            Error::IOError { err } if err.kind() == io::ErrorKind::NotFound => {
                DockerError::NotThere(socket)
            }
            Error::IOError { err } if err.kind() == io::ErrorKind::ConnectionRefused => {
                DockerError::NotRunning(socket)
            }
            Error::IOError { err } if err.kind() == io::ErrorKind::PermissionDenied => {
                DockerError::NotPermitted(socket)
            }
            Error::RequestTimeoutError => DockerError::Silent(socket),
            _ => {
                let reason = format!("{:#}", anyhow::Error::new(error));
                let reason = reason.chars().take(COMPLAINT_LEN_MAX);
                // It may be what somebody else wrote.
                let reason = reason.map(|c| if c.is_control() { ' ' } else { c });
                DockerError::Answer {
                    socket,
                    reason: reason.collect(),
                }
            }
        }
    }
}

/// Events of Docker's networks.
pub struct Changes {
    events: BoxStream<'static, Result<EventMessage, Error>>,
    /// Ends when this does.
    _connection: bollard::Docker,
    docker: Docker,
}

impl Changes {
    /// Waits for the next; nothing when Docker has ended the conversation. May be dropped and
    /// called again.
    ///
    /// # Errors
    /// Docker is not there, or not as it is.
    pub async fn next(&mut self) -> Option<Result<(), DockerError>> {
        let event = self.events.next().await?;
        Some(event.map(drop).map_err(|error| self.docker.error(error)))
    }
}

/// What is of interest of a network; nothing if nobody can name it.
fn network(network: Network) -> Option<DockerNetwork> {
    let name = value::docker_network(&network.name?).ok()?;
    let driver = network.driver.unwrap_or_default();
    let interface = if driver == BRIDGE {
        let mut options = network.options.unwrap_or_default();
        let given = options.remove(BRIDGE_NAME).filter(|name| !name.is_empty());
        let made = || match (name.as_str(), network.id?.get(..12)?) {
            ("bridge", _) => Some("docker0".to_owned()),
            (_, id) => Some(format!("br-{id}")),
        };
        given
            .or_else(made)
            .filter(|name| value::interface_name(name).is_ok())
    } else {
        None
    };
    let configs = network.ipam.and_then(|ipam| ipam.config);
    let subnets = configs.into_iter().flatten().take(SUBNETS_MAX);
    let subnets = subnets.filter_map(|config| config.subnet?.parse::<IpNet>().ok());
    Some(DockerNetwork {
        driver,
        internal: network.internal.unwrap_or_default(),
        interface,
        subnets: subnets.map(|subnet| subnet.trunc()).collect(),
        name,
    })
}

/// The addresses of a container, each with its name.
fn named(container: ContainerSummary) -> impl Iterator<Item = (IpAddr, String)> {
    let name = container.names.into_iter().flatten().next();
    // Docker writes a slash in front of it.
    let name = name.map(|name| name.trim_start_matches('/').to_owned());
    let name = name.filter(|name| value::docker_network(name).is_ok());
    let networks = container.network_settings.and_then(|it| it.networks);
    let ends = networks.into_iter().flatten();
    let addresses = ends.flat_map(|(_, end)| [end.ip_address, end.global_ipv6_address]);
    let addresses = addresses.flatten().filter_map(|text| text.parse().ok());
    let both = name.map(|name| addresses.map(move |address| (address, name.clone())));
    both.into_iter().flatten()
}

/// One request on a connection of its own, which is driven in `connections` and ends with them.
async fn ask(
    socket: PathBuf,
    connections: Arc<Mutex<JoinSet<()>>>,
    mut request: BollardRequest,
) -> Result<Response<Incoming>, Error> {
    let stream = Bounded {
        stream: UnixStream::connect(socket).await?,
        left: ANSWER_BYTES_MAX,
    };
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
    {
        let mut connections = connections.lock().unwrap_or_else(PoisonError::into_inner);
        while connections.try_join_next().is_some() {}
        // What goes wrong is told to whoever waits for the answer.
        connections.spawn(async move { drop(connection.await) });
    }
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_static("docker"));
    Ok(sender.send_request(request).await?)
}

/// A connection of which no more than so many bytes are read.
struct Bounded {
    stream: UnixStream,
    left: usize,
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        let count = into.filled().len().saturating_sub(before);
        let Some(left) = self.left.checked_sub(count) else {
            let problem = format!("it is longer than {} MiB", ANSWER_BYTES_MAX >> 20);
            return Poll::Ready(Err(io::Error::other(problem)));
        };
        self.left = left;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
pub mod tests;
