//! WireGuard's configuration protocol for programs in user space: what `wg` speaks.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "whatever text comes: nothing in it may panic"
    )
)]

pub mod answer;
pub mod request;
pub mod socket;

#[cfg(test)]
mod tests;

use std::{io, sync::Arc, time::Duration};

use rustix::io::Errno;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use zeroize::{Zeroize, Zeroizing};

pub use answer::Text;
pub use request::{Request, SetRequest};
pub use socket::{UapiFile, UapiSocket};

use crate::{confined::GatewayProcess, port::Port};

/// Bytes of a request at most: 130 000 networks take 5 MB.
const REQUEST_BYTES_MAX: usize = 64 << 20;

/// Bytes that a request has room for at first.
const READ_BYTES_MIN: usize = 1 << 16;

/// Clients that are served at a time; more wait to be accepted.
const CLIENTS_MAX: usize = 64;

/// How long a client may say nothing.
const CLIENT_TIME: Duration = Duration::from_secs(5);

/// How long a client may take to read the whole answer.
const ANSWER_TIME: Duration = Duration::from_secs(60);

/// A request and where its answer goes.
pub struct Call {
    /// What is asked.
    pub request: Request,
    /// The answer.
    pub answer: oneshot::Sender<Text>,
}

/// Serves clients until the socket is removed; each request goes to `calls`. One client that says
/// nothing keeps no other waiting (U18).
pub async fn serve(socket: UapiSocket, calls: mpsc::Sender<Call>) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let client = tokio::select! {
            client = socket.accept() => client,
            () = socket.removed() => return,
        };
        match client {
            Ok(client) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = serve_client(client, &calls).await {
                        tracing::debug!(%error, "a client of the configuration protocol left");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client of the configuration protocol");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One request after the other, until the client goes (U18).
async fn serve_client(mut client: UnixStream, calls: &mpsc::Sender<Call>) -> io::Result<()> {
    let mut unread = Unread::default();
    while let Some(text) = unread.request(&mut client).await? {
        let answer = match Request::parse(&text) {
            Ok(request) => {
                drop(text);
                let (answer, answered) = oneshot::channel();
                // Both fail only while the gateway stops.
                let _ = calls.send(Call { request, answer }).await;
                answered.await.unwrap_or_else(|_| answer::failed(Errno::IO))
            }
            Err(bad) => {
                tracing::warn!(%bad, "a request of the configuration protocol is refused");
                match text.starts_with(b"set=1\n") {
                    true => answer::set(Err(bad.errno)),
                    false => answer::failed(bad.errno),
                }
            }
        };
        timeout(ANSWER_TIME, client.write_all(answer.as_bytes())).await??;
    }
    Ok(())
}

/// What a client has sent and was not looked at yet. It may hold secrets, and is erased.
#[derive(Default)]
struct Unread(Zeroizing<Vec<u8>>);

impl Unread {
    /// The next request, without the empty line at its end; `None` if the client has gone before
    /// it was complete: half a request is none (U19).
    async fn request(&mut self, client: &mut UnixStream) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let mut searched = 0;
        loop {
            if let Some(end) = end_of_request(&self.0, searched) {
                let rest = Zeroizing::new(self.0.split_off(end));
                let text = std::mem::replace(&mut self.0, rest);
                return Ok(Some(text));
            }
            searched = self.0.len().saturating_sub(1);
            if self.0.len() > REQUEST_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            self.make_room();
            if timeout(CLIENT_TIME, client.read_buf(&mut *self.0)).await?? == 0 {
                return Ok(None);
            }
        }
    }

    /// Growing leaves no copy behind.
    fn make_room(&mut self) {
        if self.0.len() < self.0.capacity() {
            return;
        }
        let mut larger =
            Vec::with_capacity(self.0.capacity().saturating_mul(2).max(READ_BYTES_MIN));
        larger.extend_from_slice(&self.0);
        self.0.zeroize();
        *self.0 = larger;
    }
}

/// Where the first empty line ends, from `searched` on.
fn end_of_request(text: &[u8], searched: usize) -> Option<usize> {
    if text.first() == Some(&b'\n') {
        return Some(1);
    }
    let rest = text.get(searched..)?;
    let at = rest.windows(2).position(|pair| pair == b"\n\n")?;
    // Not more than there are bytes.
    searched.checked_add(at)?.checked_add(2)
}

/// Does what is asked.
pub fn answer(request: Request, engine: &GatewayProcess, port: &Port) -> Text {
    match request {
        Request::Get => match engine.dump() {
            Ok(dump) => answer::state(&dump, port.number(), port.fwmark()),
            Err(_) => answer::failed(Errno::IO),
        },
        Request::Set(set) => answer::set(change(*set, engine, port)),
    }
}

/// Port and mark first, as only they can fail: then nothing else has changed (U27).
fn change(set: SetRequest, engine: &GatewayProcess, port: &Port) -> Result<(), Errno> {
    port.change(set.listen_port, set.fwmark, engine)
        .map_err(|error| {
            tracing::warn!(%error, "a request of the configuration protocol is refused");
            // What `wg` and scripts know of a port or mark that can't be had (U21).
            Errno::from_io_error(&error).unwrap_or(Errno::ADDRINUSE)
        })?;
    engine.change(set.change);
    Ok(())
}
