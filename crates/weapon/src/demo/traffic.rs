//! Pings, connections and transfers between containers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use aws_lc_rs::digest::{Context as Hasher, SHA256};
use weapon_io::namespace::Namespace;
use weapon_io::ping::Ping;

use super::topology::Container;

/// Every container listens here and takes what comes.
const TCP_PORT: u16 = 7000;

/// Nobody listens there, and a rule forbids to try.
pub(super) const FORBIDDEN_PORT: u16 = 22;

/// Where transfers go.
pub(super) const TRANSFER_PORT: u16 = 7001;

/// Where the marker goes.
const MARKER_PORT: u16 = 7002;

/// How long it is tried.
const FORBIDDEN_PATIENCE: Duration = Duration::from_millis(300);

/// How many datagrams carry the marker.
const MARKER_COUNT: usize = 20;

/// A transfer that does not move for so long has failed.
const STALL_MAX: Duration = Duration::from_secs(5);

/// What is written at once.
const CHUNK_LEN: usize = 256 << 10;

/// What is read at once.
const READ_LEN: usize = 256 << 10;

const DIGEST_LEN: usize = 32;

/// Opens a listener in `container` that accepts whoever comes, until this process ends.
///
/// # Errors
/// The port can't be had.
pub(super) fn answer_connections(container: &Container) -> anyhow::Result<()> {
    let address = SocketAddr::new(container.address, TCP_PORT);
    let listener = container.namespace.enter(|| TcpListener::bind(address))??;
    thread::Builder::new()
        .name("listener".into())
        .spawn(move || {
            // Accepting is all: the connection is closed at once.
            for connection in listener.incoming() {
                drop(connection);
            }
        })?;
    Ok(())
}

/// Whether `to` answers a ping from the namespace within `patience`, and after which time.
///
/// # Errors
/// Why not.
pub(super) fn ping(from: &Namespace, to: IpAddr, patience: Duration) -> anyhow::Result<Duration> {
    Ok(from.enter(|| Ping::open(to, &[0x5a; 48])?.once(patience))??)
}

/// Whether a TCP connection to the listener of `to` comes about.
///
/// # Errors
/// Why not.
pub(super) fn connect(from: &Namespace, to: IpAddr, patience: Duration) -> anyhow::Result<()> {
    let remote = SocketAddr::new(to, TCP_PORT);
    from.enter(|| TcpStream::connect_timeout(&remote, patience))??;
    Ok(())
}

/// Tries a connection that a rule forbids.
///
/// # Errors
/// It did not come about.
pub(super) fn try_forbidden(from: &Namespace, to: IpAddr) -> anyhow::Result<()> {
    let remote = SocketAddr::new(to, FORBIDDEN_PORT);
    from.enter(|| TcpStream::connect_timeout(&remote, FORBIDDEN_PATIENCE))??;
    Ok(())
}

/// `count` round trips, sorted.
///
/// # Errors
/// A ping without answer.
pub(super) fn round_trips(
    from: &Namespace,
    to: IpAddr,
    count: usize,
) -> anyhow::Result<Vec<Duration>> {
    let measured = from.enter(|| {
        let mut ping = Ping::open(to, &[0x5a; 48])?;
        (0..count)
            .map(|_| ping.once(Duration::from_secs(1)))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut measured = measured?;
    measured.sort_unstable();
    Ok(measured)
}

/// Sends `marker` in datagrams, all of which must arrive.
///
/// # Errors
/// One did not.
pub(super) fn send_marker(from: &Container, to: &Container, marker: &str) -> anyhow::Result<()> {
    let remote = SocketAddr::new(to.address, MARKER_PORT);
    let receiver = to.namespace.enter(|| UdpSocket::bind(remote))??;
    receiver.set_read_timeout(Some(Duration::from_secs(1)))?;
    let sender = from
        .namespace
        .enter(|| UdpSocket::bind((from.address, 0)))??;
    let mut buffer = [0; 256];
    for _ in 0..MARKER_COUNT {
        sender.send_to(marker.as_bytes(), remote)?;
        let len = receiver
            .recv(&mut buffer)
            .context("the marker did not arrive")?;
        ensure!(
            &buffer[..len] == marker.as_bytes(),
            "the marker arrived garbled"
        );
    }
    Ok(())
}

/// The bytes of a transfer: no two chunks are alike, so none can be lost, doubled or swapped
/// unnoticed.
struct Content {
    chunk: Vec<u8>,
    left: u64,
    number: u64,
}

impl Content {
    fn new(bytes: u64) -> Self {
        // xorshift64 (G. Marsaglia, 2003): looks random to anything that might compress.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let chunk = (0..CHUNK_LEN / 8)
            .flat_map(|_| next().to_le_bytes())
            .collect();
        Self {
            chunk,
            left: bytes,
            number: 0,
        }
    }

    fn next(&mut self) -> Option<&[u8]> {
        let len = self
            .chunk
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.chunk[..8].copy_from_slice(&self.number.to_le_bytes());
        self.number += 1;
        self.left -= len as u64;
        (len > 0).then(|| &self.chunk[..len])
    }
}

/// The SHA-256 of a transfer's content.
pub(super) fn digest_of(bytes: u64) -> Vec<u8> {
    let mut content = Content::new(bytes);
    let mut hasher = Hasher::new(&SHA256);
    while let Some(chunk) = content.next() {
        hasher.update(chunk);
    }
    hasher.finish().as_ref().to_vec()
}

/// Sends `bytes` over one TCP connection; the receiver answers with the SHA-256 of what it got,
/// which must be `digest`. Returns the time until it had got everything.
///
/// # Errors
/// The connection broke, stalled, or something else arrived.
pub(super) fn transfer(
    from: &Container,
    to: &Container,
    bytes: u64,
    digest: &[u8],
) -> anyhow::Result<Duration> {
    let (mut stream, receiver) = open(from, to, receive_and_hash)?;
    let start = Instant::now();
    let mut content = Content::new(bytes);
    while let Some(chunk) = content.next() {
        stream.write_all(chunk).context("sending")?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = [0; DIGEST_LEN];
    stream
        .read_exact(&mut answer)
        .context("waiting for the receiver's checksum")?;
    let took = start.elapsed();
    let received = receiver
        .join()
        .map_err(|_| anyhow!("the receiver has died"))??;
    ensure!(received == bytes, "{received} of {bytes} bytes arrived");
    ensure!(answer == digest, "the checksum of what arrived is another");
    Ok(took)
}

/// Sends as much as passes in `duration`; returns bits per second as they arrived.
///
/// # Errors
/// The connection broke or stalled.
pub(super) fn throughput(
    from: &Container,
    to: &Container,
    duration: Duration,
) -> anyhow::Result<f64> {
    let (mut stream, receiver) = open(from, to, |mut stream| {
        let mut buffer = vec![0; READ_LEN];
        let start = Instant::now();
        let mut received = 0;
        loop {
            match stream.read(&mut buffer)? {
                0 => return Ok((received, start.elapsed())),
                len => received += len as u64,
            }
        }
    })?;
    let chunk = vec![0xa5; CHUNK_LEN];
    let start = Instant::now();
    while start.elapsed() < duration {
        stream.write_all(&chunk).context("sending")?;
    }
    drop(stream);
    let (received, took) = receiver
        .join()
        .map_err(|_| anyhow!("the receiver has died"))??;
    Ok(received as f64 * 8.0 / took.as_secs_f64())
}

type Receiver<T> = thread::JoinHandle<io::Result<T>>;

/// A connection from one container to another, where a thread does `receive` with the other end.
fn open<T: Send + 'static>(
    from: &Container,
    to: &Container,
    receive: impl FnOnce(TcpStream) -> io::Result<T> + Send + 'static,
) -> anyhow::Result<(TcpStream, Receiver<T>)> {
    let remote = SocketAddr::new(to.address, TRANSFER_PORT);
    let listener = to.namespace.enter(|| TcpListener::bind(remote))??;
    let stream = from
        .namespace
        .enter(|| TcpStream::connect_timeout(&remote, STALL_MAX))??;
    stream.set_write_timeout(Some(STALL_MAX))?;
    stream.set_read_timeout(Some(STALL_MAX))?;
    let receiver = thread::Builder::new()
        .name("receiver".into())
        .spawn(move || {
            // The connection is there already, or the connect above would have failed.
            let (stream, _) = listener.accept()?;
            stream.set_read_timeout(Some(STALL_MAX))?;
            receive(stream)
        })?;
    Ok((stream, receiver))
}

fn receive_and_hash(mut stream: TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; READ_LEN];
    let mut hasher = Hasher::new(&SHA256);
    let mut received = 0;
    loop {
        let len = stream.read(&mut buffer)?;
        if len == 0 {
            break;
        }
        hasher.update(&buffer[..len]);
        received += len as u64;
    }
    stream.write_all(hasher.finish().as_ref())?;
    Ok(received)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_has_its_length_and_repeats_nothing() {
        for bytes in [0, 1, CHUNK_LEN as u64, 3 * CHUNK_LEN as u64 + 5] {
            let mut content = Content::new(bytes);
            let mut all = Vec::new();
            while let Some(chunk) = content.next() {
                all.extend_from_slice(chunk);
            }
            assert_eq!(all.len() as u64, bytes);
            let mut heads: Vec<_> = all
                .chunks_exact(CHUNK_LEN)
                .map(|chunk| &chunk[..8])
                .collect();
            heads.sort_unstable();
            heads.dedup();
            assert_eq!(heads.len(), all.len() / CHUNK_LEN);
        }
        assert_ne!(digest_of(1 << 20), digest_of((1 << 20) + 1));
    }
}
