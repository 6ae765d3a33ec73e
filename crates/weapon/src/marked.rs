//! Queries to name servers that carry a firewall mark: a tunnel that is the way to everywhere finds
//! its own peers beside it.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use hickory_resolver::net::runtime::{
    RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime, iocompat::AsyncIoTokioAsStd,
};
use socket2::SockRef;
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

/// How long a connection to a name server may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// Makes the sockets of queries, on the runtime of the moment.
#[derive(Clone, Default)]
pub struct MarkedRuntime {
    tokio: TokioRuntimeProvider,
    mark: u32,
}

impl MarkedRuntime {
    /// With this mark on all sockets; 0 for none.
    pub fn new(mark: u32) -> Self {
        Self {
            tokio: TokioRuntimeProvider::new(),
            mark,
        }
    }
}

/// Marks what a socket sends (SO_MARK); 0 leaves it as it is, which needs no privilege.
///
/// # Errors
/// CAP_NET_ADMIN is missing.
pub fn mark_socket<'s>(socket: impl Into<SockRef<'s>>, mark: u32) -> io::Result<()> {
    match mark {
        0 => Ok(()),
        mark => socket.into().set_mark(mark),
    }
}

type Made<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;

impl RuntimeProvider for MarkedRuntime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = UdpSocket;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> Self::Handle {
        self.tokio.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        time: Option<Duration>,
    ) -> Made<Self::Tcp> {
        let mark = self.mark;
        Box::pin(async move {
            let socket = match server {
                SocketAddr::V4(_) => TcpSocket::new_v4(),
                SocketAddr::V6(_) => TcpSocket::new_v6(),
            }?;
            mark_socket(&socket, mark)?;
            if let Some(local) = local {
                socket.bind(local)?;
            }
            socket.set_nodelay(true)?;
            let connecting = socket.connect(server);
            let connected = timeout(time.unwrap_or(CONNECT_TIME_MAX), connecting).await;
            Ok(AsyncIoTokioAsStd(connected??))
        })
    }

    fn bind_udp(&self, local: SocketAddr, _server: SocketAddr) -> Made<Self::Udp> {
        let mark = self.mark;
        Box::pin(async move {
            let socket = UdpSocket::bind(local).await?;
            mark_socket(&socket, mark)?;
            Ok(socket)
        })
    }
}
