//! A name server for a host, which says what it is told to.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use weapon_io::namespace::{cover_with_tmpfs, isolate};

use crate::lab::{Host, ready};

/// What names stand for, and for how many seconds that counts.
type Names = BTreeMap<String, (Vec<IpAddr>, u32)>;

/// Runs `test` on a thread of its own, which has an `/etc` of its own, in which names are looked
/// for in `hosts` (as `nsswitch.conf` has it), and hands it to what it starts.
#[track_caller]
pub fn with_own_etc(hosts: &'static str, test: impl FnOnce() + Send + 'static) {
    if !ready(&[]) {
        return;
    }
    let test = std::thread::spawn(move || {
        isolate().expect("a mount namespace");
        cover_with_tmpfs("/etc").expect("an empty /etc");
        let nsswitch = format!("hosts: {hosts}\n");
        fs::write("/etc/nsswitch.conf", nsswitch).expect("nsswitch.conf");
        fs::write("/etc/hosts", "127.0.0.1 localhost\n").expect("hosts");
        test();
    });
    if let Err(panic) = test.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A name server of a host, at [`NameServer::ADDRESS`]. Names that it was not told of do not exist.
#[derive(Debug)]
pub struct NameServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    names: Mutex<Names>,
    /// How often each name was asked for, with either type.
    asked: Mutex<BTreeMap<String, usize>>,
    is_silent: AtomicBool,
    stop: AtomicBool,
}

const HEADER_LEN: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NAME_ERROR: u8 = 3;

impl NameServer {
    /// Where it is.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);

    /// Starts it.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        Self::start_at(host, Self::ADDRESS.into())
    }

    /// Starts one at another address of the host.
    #[track_caller]
    pub fn start_at(host: &Host, address: IpAddr) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = host.enter(|| UdpSocket::bind((address, 53)));
        let socket = socket.expect("the port of a name server");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a limit");
        let serving = Arc::clone(&shared);
        let thread = std::thread::spawn(move || serve(&socket, &serving));
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// From now on `name` stands for these addresses.
    pub fn set(&self, name: &str, addresses: &[&str], ttl_seconds: u32) {
        let addresses = addresses
            .iter()
            .map(|text| text.parse().expect("an address"));
        let entry = (addresses.collect(), ttl_seconds);
        lock(&self.shared.names).insert(name.to_owned(), entry);
    }

    /// Answers no more, or again.
    pub fn be_silent(&self, is_silent: bool) {
        self.shared.is_silent.store(is_silent, Ordering::Relaxed);
    }

    /// How many queries for `name` came.
    pub fn asked(&self, name: &str) -> usize {
        lock(&self.shared.asked).get(name).copied().unwrap_or(0)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(socket: &UdpSocket, shared: &Shared) -> std::io::Result<()> {
    let mut query = [0; 512];
    while !shared.stop.load(Ordering::Relaxed) {
        let Ok((len, client)) = socket.recv_from(&mut query) else {
            continue;
        };
        let Some((name, kind, question)) = question(&query[..len]) else {
            continue;
        };
        *lock(&shared.asked).entry(name.clone()).or_default() += 1;
        if !shared.is_silent.load(Ordering::Relaxed) {
            let known = lock(&shared.names).get(&name).cloned();
            let _too_late = socket.send_to(&answer(&query[..2], question, kind, known), client);
        }
    }
    Ok(())
}

/// The name and the type that are asked for, and the whole question (RFC 1035 section 4.1.2).
fn question(query: &[u8]) -> Option<(String, u16, &[u8])> {
    let mut labels = Vec::new();
    let mut at = HEADER_LEN;
    loop {
        let len = usize::from(*query.get(at)?);
        at += 1;
        if len == 0 {
            break;
        }
        let label = query.get(at..at + len)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += len;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    Some((labels.join("."), kind, query.get(HEADER_LEN..at + 4)?))
}

fn answer(id: &[u8], question: &[u8], kind: u16, known: Option<(Vec<IpAddr>, u32)>) -> Vec<u8> {
    let code = if known.is_none() { NAME_ERROR } else { 0 };
    let (addresses, ttl) = known.unwrap_or_default();
    let fitting = addresses.iter().filter(|address| match address {
        IpAddr::V4(_) => kind == TYPE_A,
        IpAddr::V6(_) => kind == TYPE_AAAA,
    });
    let fitting: Vec<&IpAddr> = fitting.collect();
    let mut answer = id.to_vec();
    // It is an answer, recursion was wanted and is to be had.
    answer.extend([0x81, 0x80 | code]);
    answer.extend([0, 1, 0, fitting.len() as u8, 0, 0, 0, 0]);
    answer.extend(question);
    for address in fitting {
        // The name is the one in the question.
        answer.extend([0xc0, HEADER_LEN as u8]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1]);
        answer.extend(ttl.to_be_bytes());
        match address {
            IpAddr::V4(address) => {
                answer.extend([0, 4]);
                answer.extend(address.octets());
            }
            IpAddr::V6(address) => {
                answer.extend([0, 16]);
                answer.extend(address.octets());
            }
        }
    }
    answer
}
