//! A flood: initiations with a right mac1, and nothing right in them. Whoever knows a gateway's
//! public key can make them as fast as he can hash.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weapon_noise::{CookieJar, Identity, PublicKey, Remote, Tick};
use weapon_wire::message::Initiation;

use crate::lab::Host;
use crate::plan::private_key;

/// Different ones, made before the flood begins: making them is not what is measured.
const MESSAGES: usize = 4096;

/// Messages that are sent between two looks at the clock.
const BURST: u64 = 32;

/// A flood that goes on until it is stopped.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<FloodCount>>,
}

/// What a flood came to.
#[derive(Clone, Copy, Debug)]
pub struct FloodCount {
    /// Messages that left.
    pub sent: u64,
    /// How long it went on.
    pub time: Duration,
}

impl FloodCount {
    /// Messages that were sent in a second.
    pub fn per_second(&self) -> u64 {
        (self.sent as f64 / self.time.as_secs_f64().max(0.001)) as u64
    }
}

impl Flood {
    /// Begins to send from `sources`, which are addresses of `host` and take turns, to the gateway
    /// `public_key` at `target`; no more than `per_second`.
    #[track_caller]
    pub fn start(
        host: &Host,
        sources: &[IpAddr],
        target: SocketAddr,
        public_key: PublicKey,
        per_second: u64,
    ) -> Self {
        let messages = messages(public_key);
        let open = |source: &IpAddr| {
            let socket = host.enter(|| UdpSocket::bind(SocketAddr::new(*source, 0)));
            let socket = socket.unwrap_or_else(|error| panic!("a socket at {source}: {error}"));
            socket.connect(target).expect("a connected socket");
            socket.set_nonblocking(true).expect("no waiting");
            socket
        };
        let sockets: Vec<UdpSocket> = sources.iter().map(open).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = host.namespace().spawn("flood", move || {
            send(&sockets, &messages, per_second, &seen)
        });
        Self {
            stop,
            thread: thread.expect("a thread"),
        }
    }

    /// Ends it.
    #[track_caller]
    pub fn finish(self) -> FloodCount {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().expect("the flood");
        ended.expect("the host's namespace")
    }
}

/// Random bytes with the type of an initiation and the mac1 that the gateway wants.
fn messages(public_key: PublicKey) -> Vec<Initiation> {
    let remote = Remote::new(&Identity::new(private_key()), public_key, None);
    let mut jar = CookieJar::new();
    let message = |number: usize| {
        let mut message = Initiation::zeroed();
        message.message_type.set(Initiation::TYPE);
        weapon_io::entropy::fill(&mut message.ephemeral).expect("randomness");
        weapon_io::entropy::fill(&mut message.encrypted_static).expect("randomness");
        message.sender.set(number as u32);
        jar.sign(&remote, message.as_mut_bytes(), Tick::default());
        message
    };
    (0..MESSAGES).map(message).collect()
}

fn send(
    sockets: &[UdpSocket],
    messages: &[Initiation],
    per_second: u64,
    stop: &AtomicBool,
) -> FloodCount {
    let start = Instant::now();
    // What was not sent in time, because the machine was busy, is not made up for: that would be
    // a burst of a size that nobody asked for.
    let (mut sent, mut tried) = (0, 0);
    let mut round = Instant::now();
    let pause = Duration::from_secs_f64(BURST as f64 / per_second as f64);
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            let socket = &sockets[tried as usize % sockets.len()];
            let message = &messages[tried as usize % messages.len()];
            tried += 1;
            // The link is full, or the gateway's host says that nobody is there: no matter.
            sent += u64::from(socket.send(message.as_bytes()).is_ok());
        }
        round += pause;
        let now = Instant::now();
        match round.checked_duration_since(now) {
            Some(rest) => std::thread::sleep(rest),
            None if now - round > Duration::from_millis(20) => round = now,
            None => {}
        }
    }
    FloodCount {
        sent,
        time: start.elapsed(),
    }
}
