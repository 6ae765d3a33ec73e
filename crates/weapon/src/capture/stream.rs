//! Captures that run: what each has seen goes to its client as fast as that takes it.

use std::{
    collections::BTreeMap,
    fmt,
    os::unix::net::UnixStream as StdStream,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{bail, ensure};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    sync::Notify,
};

use super::Capture;
use crate::confined::GatewayProcess;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 << 10;

/// Captures at a time: each has room for what it has seen, and takes the place of a client.
const CAPTURES_MAX: usize = 4;

type Running = Arc<Mutex<BTreeMap<u64, Arc<Notify>>>>;

/// All that run.
#[derive(Debug, Default)]
pub struct Captures {
    running: Running,
    last: u64,
}

impl Captures {
    /// Begins one, at the gateway of this name.
    ///
    /// # Errors
    /// What is asked for is not to be had.
    pub fn begin(
        &mut self,
        wanted: &Capture,
        gateway: &str,
        engine: &GatewayProcess,
    ) -> anyhow::Result<Stream> {
        ensure!(
            lock(&self.running).len() < CAPTURES_MAX,
            "{CAPTURES_MAX} captures run already; end one of them"
        );
        let (from, to) = StdStream::pair()?;
        from.set_nonblocking(true)?;
        let from = UnixStream::from_std(from)?;
        engine.capture(gateway, wanted, to.into())?;
        self.last += 1;
        let stop = Arc::new(Notify::new());
        lock(&self.running).insert(self.last, Arc::clone(&stop));
        tracing::warn!(
            capture = self.last,
            peer = wanted.peer,
            filter = wanted.filter,
            "decrypted packets are shown to somebody"
        );
        Ok(Stream {
            number: self.last,
            from,
            stop,
            is_stopping: false,
            running: Arc::clone(&self.running),
        })
    }

    /// Ends one. What it has seen is still to be had.
    ///
    /// # Errors
    /// There is none of this number.
    pub fn end(&self, number: u64) -> anyhow::Result<()> {
        let running = lock(&self.running);
        let Some(stop) = running.get(&number) else {
            bail!("there is no capture {number}");
        };
        stop.notify_one();
        Ok(())
    }
}

fn lock(running: &Running) -> MutexGuard<'_, BTreeMap<u64, Arc<Notify>>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A capture that runs as long as this is held.
pub struct Stream {
    number: u64,
    /// What the gateway's process writes; that nothing is written to it any more is its end.
    from: UnixStream,
    stop: Arc<Notify>,
    is_stopping: bool,
    running: Running,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("number", &self.number)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// Which one it is.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The next piece of the file; none at its end.
    pub async fn next(&mut self) -> Option<Bytes> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            tokio::select! {
                read = self.from.read_buf(&mut piece) => {
                    return match read {
                        Ok(len) if len > 0 => Some(piece.into()),
                        // It has ended, or the gateway has.
                        _ => None,
                    };
                }
                () = self.stop.notified(), if !self.is_stopping => {
                    self.is_stopping = true;
                    // It has ended by itself.
                    let _ = self.from.shutdown().await;
                }
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.number);
        tracing::info!(capture = self.number, "the capture has ended");
    }
}
