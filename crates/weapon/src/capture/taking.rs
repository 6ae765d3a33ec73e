//! What the gateway's process does for a capture: a thread of its own writes what lanes have seen,
//! as fast as it is read.

use std::{
    io::{self, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use weapon_core::{Fate, Sighting, Way};
use weapon_engine::{Capturing, Engine};
use weapon_io::poll::EventFd;
use weapon_wire::{Flow, VnetHeader};

use super::{Capture, Expression, Stage, recorder::Recorder};

/// Writes to `file` until a limit is reached, or the other end closes its way of writing; or all of
/// it, and then nobody reads any more.
///
/// # Errors
/// There is no such peer, the expression is none, or there are no more files or threads.
pub fn begin(engine: &Engine, gateway: &str, wanted: Capture, file: OwnedFd) -> io::Result<()> {
    let fib = engine.fib();
    let peers: Vec<&str> = fib.peers.iter().map(|peer| &*peer.name).collect();
    if let Some(peer) = &wanted.peer
        && !peers.contains(&peer.as_str())
    {
        let peers = peers.join(", ");
        return Err(io::Error::other(format!(
            "there is no peer {peer:?}; there is {peers}"
        )));
    }
    let wants = wants(&wanted).map_err(io::Error::other)?;
    let something = Arc::new(EventFd::new()?);
    let wake = Arc::clone(&something);
    let capturing = engine.capture(Box::new(wants), move || wake.wake());
    let mut first = Vec::new();
    let taking = Taking {
        recorder: Recorder::new(gateway, &wanted, &mut first),
        to: file.into(),
        capturing,
        something,
        until: wanted
            .seconds
            .and_then(|time| Instant::now().checked_add(Duration::from_secs(time))),
    };
    let builder = thread::Builder::new().name("capture".to_owned());
    builder.spawn(move || {
        // Nobody reads any more.
        let _ = taking.run(&first);
    })?;
    Ok(())
}

struct Taking {
    recorder: Recorder,
    to: UnixStream,
    capturing: Capturing,
    something: Arc<EventFd>,
    until: Option<Instant>,
}

impl Taking {
    fn run(mut self, first: &[u8]) -> io::Result<()> {
        self.to.write_all(first)?;
        let mut is_last = false;
        loop {
            self.something.drain();
            let mut out = Vec::new();
            self.recorder.write(self.capturing.take(), &mut out);
            if is_last || self.recorder.is_full() {
                self.recorder.end(now(), &mut out);
                return self.to.write_all(&out);
            }
            self.to.write_all(&out)?;
            is_last = self.wait()?;
        }
    }

    /// Waits until there is something; true if it is time to end.
    fn wait(&self) -> io::Result<bool> {
        let left = self
            .until
            .map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(true);
        }
        let left = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut files = [
            PollFd::new(&*self.something, PollFlags::IN),
            // It never sends anything: that it can be read is its end.
            PollFd::new(&self.to, PollFlags::IN),
        ];
        let ready = rustix::io::retry_on_intr(|| poll(&mut files, left.as_ref()))?;
        Ok(ready == 0 || !files[1].revents().is_empty())
    }
}

/// Which packets are wanted, as lanes ask it.
fn wants(
    wanted: &Capture,
) -> Result<impl Fn(&Sighting<'_>) -> bool + Send + Sync + 'static, String> {
    let filter = wanted.filter.as_deref().map(Expression::parse);
    let filter = filter.transpose().map_err(|error| error.to_string())?;
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

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos() as u64)
}
