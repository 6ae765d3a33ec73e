//! TCP streams and pings that run while something happens.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use weapon_io::ping::Ping;

use crate::lab::{Host, until};
use crate::losses;
use crate::weapon::PATIENCE;

/// A stream that stands still this long is lost.
const STANDSTILL_MAX: Duration = Duration::from_secs(30);

/// A ping that is not answered within this time is lost.
///
/// Tests ask whether packets get lost, not how fast they are, and a machine with many tests on few
/// processors may let a process wait for seconds. Ten are an order of magnitude beyond that, and
/// what is really lost never comes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// An answer that takes longer is late: counted and told of, but no fault.
const ON_TIME: Duration = Duration::from_secs(1);

/// Bytes that are written at a time.
const BLOCK_LEN: usize = 64 << 10;

/// Which source address `to` sees of what `from` sends to its address.
#[track_caller]
pub fn source_seen(from: &Host, to: &Host, address: &str) -> IpAddr {
    let address: IpAddr = address.parse().expect("an address");
    let receiver = to.enter(|| UdpSocket::bind((address, 0)).expect("a socket"));
    let there = receiver.local_addr().expect("its address");
    let any = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    let sender = from.enter(|| UdpSocket::bind(any).expect("a socket"));
    let patience = Some(Duration::from_millis(200));
    receiver.set_read_timeout(patience).expect("a time-out");
    until("a datagram arrives", PATIENCE, || {
        sender.send_to(b"from where?", there).expect("it is sent");
        let (_, source) = receiver.recv_from(&mut [0; 64]).ok()?;
        Some(source.ip())
    })
}

/// A TCP stream of bytes that only its sender and receiver know, each compared at arrival.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

#[derive(Debug, Default)]
struct Shared {
    received: AtomicU64,
    stop: AtomicBool,
}

/// How fast and how much.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Bytes to send, then the stream ends by itself.
    pub bytes: Option<u64>,
    /// What is waited between two blocks of 64 KiB.
    pub pause: Duration,
}

impl Stream {
    /// Connects from one host to `address`, which is the other's, and begins to send.
    #[track_caller]
    pub fn start(from: &Host, to: &Host, address: &str, pace: Pace) -> Self {
        Self::start_mapped(from, to, (address, address), pace)
    }

    /// As [`Stream::start`], to a host that has the first address and is known by the second.
    #[track_caller]
    pub fn start_mapped(from: &Host, to: &Host, known: (&str, &str), pace: Pace) -> Self {
        let [address, outside]: [IpAddr; 2] =
            [known.0, known.1].map(|text| text.parse().expect("an address"));
        let listener = to.enter(|| TcpListener::bind(SocketAddr::new(address, 0)));
        let listener = listener.unwrap_or_else(|error| panic!("listen at {address}: {error}"));
        let mut remote = listener.local_addr().expect("the address listened at");
        remote.set_ip(outside);
        let connection = from.enter(move || TcpStream::connect_timeout(&remote, STANDSTILL_MAX));
        let outgoing = connection.unwrap_or_else(|error| panic!("connect to {remote}: {error}"));
        let (incoming, _) = listener.accept().expect("the connection just made");
        for end in [&outgoing, &incoming] {
            end.set_read_timeout(Some(STANDSTILL_MAX)).expect("a limit");
            end.set_write_timeout(Some(STANDSTILL_MAX))
                .expect("a limit");
        }
        let shared = Arc::new(Shared::default());
        let (sending, receiving) = (Arc::clone(&shared), Arc::clone(&shared));
        Self {
            shared,
            sender: std::thread::spawn(move || send(outgoing, pace, &sending)),
            receiver: std::thread::spawn(move || receive(incoming, &receiving)),
        }
    }

    /// Bytes that have arrived.
    pub fn received(&self) -> u64 {
        self.shared.received.load(Ordering::Relaxed)
    }

    /// Waits until `bytes` more have arrived: the connection lives.
    #[track_caller]
    pub fn expect_progress(&self, bytes: u64) {
        let goal = self.received() + bytes;
        until("the stream goes on", STANDSTILL_MAX, || {
            (self.received() >= goal).then_some(())
        });
    }

    /// Ends the stream, waits until all has arrived, and returns how many bytes that were. Panics
    /// when any was lost or changed, or the connection broke.
    #[track_caller]
    pub fn finish(self) -> u64 {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.join()
    }

    /// Waits until all that it is to send has arrived; as [`Stream::finish`] otherwise.
    #[track_caller]
    pub fn join(self) -> u64 {
        let sent = self.sender.join().expect("the sender's side of the stream");
        let received = self
            .receiver
            .join()
            .expect("the receiver's side of the stream");
        assert_eq!(received, sent, "bytes received and sent");
        sent
    }
}

/// Sends `bytes` from one host to `address`, which is the other's, and compares each of them.
/// Returns the time that it took.
#[track_caller]
pub fn transfer(from: &Host, to: &Host, address: &str, bytes: u64) -> Duration {
    let start = Instant::now();
    let pace = Pace {
        bytes: Some(bytes),
        pause: Duration::ZERO,
    };
    let sent = Stream::start(from, to, address, pace).join();
    assert_eq!(sent, bytes);
    start.elapsed()
}

fn send(mut stream: TcpStream, pace: Pace, shared: &Shared) -> u64 {
    let mut contents = Contents::default();
    let mut block = vec![0; BLOCK_LEN];
    let mut sent = 0;
    while !shared.stop.load(Ordering::Relaxed) {
        let left = pace.bytes.map_or(u64::MAX, |bytes| bytes - sent);
        let len = left.min(BLOCK_LEN as u64) as usize;
        if len == 0 {
            break;
        }
        contents.fill(&mut block);
        stream
            .write_all(&block[..len])
            .expect("the stream takes more");
        sent += len as u64;
        std::thread::sleep(pace.pause);
    }
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("the stream ends in order");
    // The other side closes when it has read everything.
    assert_eq!(
        stream
            .read(&mut [0])
            .expect("the other side closes in order"),
        0
    );
    sent
}

fn receive(mut stream: TcpStream, shared: &Shared) -> u64 {
    let mut contents = Contents::default();
    let (mut block, mut expected) = (vec![0; BLOCK_LEN], vec![0; BLOCK_LEN]);
    let mut received = 0;
    loop {
        let mut len = 0;
        while len < BLOCK_LEN {
            match stream.read(&mut block[len..]).expect("the stream goes on") {
                0 => break,
                more => len += more,
            }
            shared
                .received
                .store(received + len as u64, Ordering::Relaxed);
        }
        contents.fill(&mut expected);
        assert!(block[..len] == expected[..len], "bytes changed on the way");
        received += len as u64;
        if len < BLOCK_LEN {
            return received;
        }
    }
}

/// Bytes that never repeat: what is lost, doubled or moved is found by comparing.
#[derive(Default)]
struct Contents {
    state: u64,
}

impl Contents {
    /// The next bytes (SplitMix64).
    fn fill(&mut self, block: &mut [u8]) {
        for word in block.chunks_exact_mut(8) {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
        }
    }
}

/// Pings, one after the other, until told to stop.
#[derive(Debug)]
pub struct Pings {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<std::io::Result<PingCount>>,
}

/// How many pings were sent, and which of them were not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PingCount {
    /// Sent.
    pub sent: u32,
    /// Not answered.
    pub lost: Vec<LostPing>,
    /// Answered after more than a second.
    pub late: u32,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// The longest that the machine let the pinging thread itself wait beyond a pause.
    pub overslept: Duration,
    /// Packets that the host's raw sockets had no room for. The pings' own keep nothing but answers
    /// to the one request that is on its way, so it is a fault of the test if there are any.
    pub socket_drops: u64,
}

/// A ping that was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPing {
    /// Its number, counted from 1.
    pub number: u32,
    /// When it was sent.
    pub sent: SystemTime,
    /// What was heard instead of an answer.
    pub fate: String,
}

impl Pings {
    /// Begins to ping `address` from `host`, with a pause in between.
    #[track_caller]
    pub fn start(host: &Host, address: &str, pause: Duration) -> Self {
        let address: IpAddr = address.parse().expect("an address");
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = host.namespace().spawn("pings", move || {
            let mut ping = Ping::open(address, &[0x5a; 56]).expect("a socket for pings");
            let mut count = PingCount::default();
            while !seen.load(Ordering::Relaxed) {
                count.sent += 1;
                let sent = SystemTime::now();
                match ping.once(ANSWERED_WITHIN) {
                    Ok(time) => {
                        count.slowest = count.slowest.max(time);
                        count.late += u32::from(time > ON_TIME);
                    }
                    Err(error) => count.lost.push(LostPing {
                        number: count.sent,
                        sent,
                        fate: error.to_string(),
                    }),
                }
                let start = Instant::now();
                std::thread::sleep(pause);
                count.overslept = count.overslept.max(start.elapsed().saturating_sub(pause));
            }
            count.socket_drops = losses::of_raw_sockets();
            count
        });
        Self {
            stop,
            thread: thread.expect("a thread"),
        }
    }

    /// Stops, and says how it went.
    #[track_caller]
    pub fn finish(self) -> PingCount {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().expect("the pings");
        ended.expect("the host's namespace")
    }
}
