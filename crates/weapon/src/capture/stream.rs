//! Captures that run: what each has seen goes to its client as fast as that takes it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{bail, ensure};
use hyper::body::Bytes;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use weapon_core::{Fate, Sighting, Way};
use weapon_engine::{Capturing, Engine, Taken};
use weapon_wire::{Flow, VnetHeader};

use super::{Capture, Expression, Stage, recorder::Recorder};

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
    /// Begins one, at the gateway of this name, which has these peers.
    ///
    /// # Errors
    /// What is asked for is not to be had.
    pub fn begin(
        &mut self,
        wanted: &Capture,
        (gateway, peers): (&str, &[&str]),
        engine: &Engine,
    ) -> anyhow::Result<Stream> {
        ensure!(
            lock(&self.running).len() < CAPTURES_MAX,
            "{CAPTURES_MAX} captures run already; end one of them"
        );
        if let Some(peer) = &wanted.peer
            && !peers.contains(&peer.as_str())
        {
            bail!("there is no peer {peer:?}; there is {}", peers.join(", "));
        }
        let wants = wants(wanted)?;
        let something = Arc::new(Notify::new());
        let wake = Arc::clone(&something);
        let capturing = engine.capture(Box::new(wants), move || wake.notify_one());
        self.last += 1;
        let stop = Arc::new(Notify::new());
        lock(&self.running).insert(self.last, Arc::clone(&stop));
        let mut first = Vec::new();
        let recorder = Recorder::new(gateway, wanted, &mut first);
        let time = wanted.seconds.map(Duration::from_secs);
        tracing::warn!(
            capture = self.last,
            peer = wanted.peer,
            filter = wanted.filter,
            "decrypted packets are shown to somebody"
        );
        Ok(Stream {
            number: self.last,
            capturing,
            recorder,
            first: Some(first),
            something,
            stop,
            until: time.and_then(|time| Instant::now().checked_add(time)),
            has_ended: false,
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

/// Which packets are wanted, as lanes ask it.
fn wants(
    wanted: &Capture,
) -> anyhow::Result<impl Fn(&Sighting<'_>) -> bool + Send + Sync + 'static> {
    let filter = wanted.filter.as_deref().map(Expression::parse);
    let filter = filter
        .transpose()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    let (peer, stage) = (wanted.peer.clone(), wanted.stage);
    Ok(move |sighting: &Sighting<'_>| {
        if let Some(peer) = &peer
            && sighting.peer.is_none_or(|it| *it.name != **peer)
        {
            return false;
        }
        if stage == Stage::After && matches!(sighting.fate, Fate::Dropped(_)) {
            return false;
        }
        let Some(filter) = &filter else {
            return true;
        };
        let start = match sighting.way {
            Way::Outbound => VnetHeader::LEN,
            Way::Inbound => 0,
        };
        let packet = sighting.bytes.get(start..).unwrap_or_default();
        Flow::parse(packet).is_ok_and(|flow| filter.fits(&flow, sighting.way))
    })
}

/// A capture that runs as long as this is held.
pub struct Stream {
    number: u64,
    capturing: Capturing,
    recorder: Recorder,
    first: Option<Vec<u8>>,
    something: Arc<Notify>,
    stop: Arc<Notify>,
    until: Option<Instant>,
    has_ended: bool,
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
        if let Some(first) = self.first.take() {
            return Some(first.into());
        }
        if self.has_ended {
            return None;
        }
        let mut is_last = false;
        loop {
            let taken = self.capturing.take();
            let is_something = taken != Taken::default();
            let mut out = Vec::new();
            self.recorder.write(taken, &mut out);
            if is_last || self.recorder.is_full() {
                self.has_ended = true;
                self.recorder.end(now(), &mut out);
                return Some(out.into());
            }
            if is_something && !out.is_empty() {
                return Some(out.into());
            }
            let over = async {
                match self.until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.something.notified() => {}
                () = self.stop.notified() => is_last = true,
                () = over => is_last = true,
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

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
