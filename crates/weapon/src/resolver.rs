//! Names of endpoints to addresses, again and again: when what the name service said is too old,
//! and when handshakes fail. The start does not wait for it, and peers without a name cost nothing.

use std::{
    collections::BTreeMap,
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use hickory_resolver::{
    Resolver,
    config::LookupIpStrategy,
    system_conf::{parse_resolv_conf, read_system_conf},
};
use tokio::{
    net::lookup_host,
    sync::{Notify, mpsc},
    task::AbortHandle,
    time::{sleep, timeout},
};
use weapon_core::ADDRESSES_MAX;

use crate::{
    config::{HostPort, PeerConfig},
    marked::{MarkedRuntime, mark_socket},
};

/// Where systemd-resolved writes which name servers it asks itself.
const SYSTEMD_SERVERS: &str = "/run/systemd/resolve/resolv.conf";

/// Names that resolve at the same moment, and wait for their turn.
const RESOLVED_MAX: usize = 16;

/// Seconds before the first retry; doubled for each further one.
const RETRY_SECONDS_MIN: u64 = 1;

/// Seconds between retries at most.
const RETRY_SECONDS_MAX: u64 = 30;

/// How long an answer counts at least and at most, whatever the name service says.
const TTL_MIN: Duration = Duration::from_secs(30);
const TTL_MAX: Duration = Duration::from_secs(3600);

/// How long it counts where the name service does not say.
const TTL_UNKNOWN: Duration = Duration::from_secs(60);

/// Between two look-ups of a name at least, however often handshakes fail.
const PAUSE_MIN: Duration = Duration::from_secs(5);

/// Addresses of a peer were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The peer.
    pub peer: String,
    /// The endpoint that was looked up; the file may name another by now.
    pub endpoint: HostPort,
    /// Its addresses, the best first.
    pub addresses: Vec<SocketAddr>,
}

/// The address, if `endpoint` is one and no name.
pub fn literal(endpoint: &HostPort) -> Option<SocketAddr> {
    Some(SocketAddr::new(endpoint.host.parse().ok()?, endpoint.port))
}

/// Peers whose endpoint is a name, by their own.
pub type Unresolved = BTreeMap<String, HostPort>;

/// Those of `peers`.
pub fn unresolved<'a>(peers: impl IntoIterator<Item = &'a PeerConfig>) -> Unresolved {
    let named = peers.into_iter().filter_map(|peer| {
        let endpoint = peer.endpoint.as_ref()?;
        literal(endpoint)
            .is_none()
            .then(|| (peer.name.clone(), endpoint.clone()))
    });
    named.collect()
}

/// As they are written.
pub fn written(unresolved: &Unresolved) -> impl Iterator<Item = (String, String)> + '_ {
    unresolved
        .iter()
        .map(|(peer, endpoint)| (peer.clone(), endpoint.to_string()))
}

/// Names that are looked up, by the peer's own.
#[derive(Debug)]
pub struct LookUps {
    found: mpsc::Sender<Resolved>,
    /// The firewall mark of all queries; 0 for none.
    mark: Arc<AtomicU32>,
    running: BTreeMap<String, LookUp>,
}

/// One of them.
#[derive(Debug)]
struct LookUp {
    endpoint: HostPort,
    task: AbortHandle,
    /// Tells the task that what it knows is not good enough.
    again: Arc<Notify>,
}

impl LookUps {
    /// None yet. What they find comes out of the other end.
    pub fn new() -> (Self, mpsc::Receiver<Resolved>) {
        let (found, resolved) = mpsc::channel(RESOLVED_MAX);
        let look_ups = Self {
            found,
            mark: Arc::default(),
            running: BTreeMap::new(),
        };
        (look_ups, resolved)
    }

    /// What is asked from here on carries this mark: where the tunnel is the way to everywhere, the
    /// answers would come by it alone.
    pub fn set_mark(&self, mark: u32) {
        self.mark.store(mark, Ordering::Relaxed);
    }

    /// Looks all of them up, now and whenever it is time.
    pub fn begin(&mut self, unresolved: Unresolved) {
        for (peer, endpoint) in unresolved {
            let again = Arc::new(Notify::new());
            let (name, found) = (peer.clone(), self.found.clone());
            let wakes = (Arc::clone(&again), Arc::clone(&self.mark));
            let following = follow(name, endpoint.clone(), found, wakes);
            let look_up = LookUp {
                endpoint,
                task: tokio::spawn(following).abort_handle(),
                again,
            };
            if let Some(before) = self.running.insert(peer, look_up) {
                before.task.abort();
            }
        }
    }

    /// Ends those of peers that are not to be kept.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&str) -> bool) {
        self.running.retain(|peer, look_up| {
            let is_kept = is_kept(peer);
            if !is_kept {
                look_up.task.abort();
            }
            is_kept
        });
    }

    /// Whether somebody still asks for what was found.
    pub fn is_wanted(&self, found: &Resolved) -> bool {
        let look_up = self.running.get(&found.peer);
        look_up.is_some_and(|look_up| look_up.endpoint == found.endpoint)
    }

    /// `peer` does not answer: its name is looked up again, before what is known of it is old.
    pub fn again(&self, peer: &str) {
        if let Some(look_up) = self.running.get(peer) {
            look_up.again.notify_one();
        }
    }
}

/// Resolves for ever, and says each time when it does not work.
async fn follow(
    peer: String,
    endpoint: HostPort,
    found: mpsc::Sender<Resolved>,
    (again, mark): (Arc<Notify>, Arc<AtomicU32>),
) {
    let mut retry_seconds = RETRY_SECONDS_MIN;
    let mut known = Vec::new();
    loop {
        let wait = match look_up(&endpoint, mark.load(Ordering::Relaxed)).await {
            Ok(answer) => {
                retry_seconds = RETRY_SECONDS_MIN;
                let Answer { addresses, ttl } = answer;
                if known != addresses {
                    tracing::info!(peer, endpoint = %endpoint, ?addresses, "endpoint resolved");
                    known.clone_from(&addresses);
                }
                let resolved = Resolved {
                    peer: peer.clone(),
                    endpoint: endpoint.clone(),
                    addresses,
                };
                if found.send(resolved).await.is_err() {
                    // The gateway stops.
                    return;
                }
                ttl.clamp(TTL_MIN, TTL_MAX)
            }
            Err(reason) => {
                tracing::warn!(
                    peer,
                    endpoint = %endpoint,
                    reason,
                    retry_seconds,
                    "endpoint does not resolve; the gateway runs and tries again"
                );
                let wait = Duration::from_secs(retry_seconds);
                retry_seconds = (retry_seconds * 2).min(RETRY_SECONDS_MAX);
                wait
            }
        };
        let woken = async {
            sleep(PAUSE_MIN).await;
            again.notified().await;
        };
        // It is one or the other.
        let _ = timeout(wait, woken).await;
    }
}

/// What a name service said.
#[derive(Debug)]
struct Answer {
    addresses: Vec<SocketAddr>,
    /// How long it counts.
    ttl: Duration,
}

/// Asks the name servers of `/etc/resolv.conf`, after `/etc/hosts`, for they say how long an answer
/// counts; and where that comes to nothing, the system, which may know other ways
/// (`/etc/nsswitch.conf`). Both files are read anew. Without a `mark`, names are looked up the way
/// of all other traffic of the host.
async fn look_up(endpoint: &HostPort, mark: u32) -> Result<Answer, String> {
    let (host, port) = (endpoint.host.as_str(), endpoint.port);
    let asked = ask_name_servers(host, mark).await;
    let (addresses, ttl) = match asked {
        Some((addresses, ttl)) => {
            let addresses = addresses.into_iter();
            (addresses.map(|it| SocketAddr::new(it, port)).collect(), ttl)
        }
        None => match lookup_host((host, port)).await {
            Ok(addresses) => (addresses.collect(), TTL_UNKNOWN),
            Err(error) => return Err(error.to_string()),
        },
    };
    let addresses = ordered(addresses, mark);
    if addresses.is_empty() {
        return Err("the name has no address".to_owned());
    }
    Ok(Answer { addresses, ttl })
}

/// The addresses, and how long they count; nothing if there are none, for whatever reason.
async fn ask_name_servers(host: &str, mark: u32) -> Option<(Vec<IpAddr>, Duration)> {
    let runtime = MarkedRuntime::new(mark);
    let (mut servers, options) = read_system_conf().ok()?;
    let is_on_this_host = servers.name_servers().iter().all(|it| it.ip.is_loopback());
    // Who forwards queries on this host does not mark them.
    if mark != 0
        && is_on_this_host
        && let Ok(text) = fs::read(SYSTEMD_SERVERS)
        && let Ok((behind, _)) = parse_resolv_conf(text)
    {
        servers = behind;
    }
    let mut builder = Resolver::builder_with_config(servers, runtime).with_options(options);
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv6AndIpv4;
    options.cache_size = 0;
    let answer = builder.build().ok()?.lookup_ip(host).await;
    let answer = answer
        .inspect_err(|error| tracing::debug!(host, %error, "the name servers do not say"))
        .ok()?;
    let ttl = answer
        .valid_until()
        .saturating_duration_since(Instant::now());
    let addresses: Vec<IpAddr> = answer.iter().take(ADDRESSES_MAX).collect();
    (!addresses.is_empty()).then_some((addresses, ttl))
}

/// Each once, the best first, as RFC 6724 section 6 has it: what the host has a route to, then by
/// precedence. Among equals the order stays.
fn ordered(addresses: Vec<SocketAddr>, mark: u32) -> Vec<SocketAddr> {
    let mut known: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !known.contains(&address) && known.len() < ADDRESSES_MAX {
            known.push(address);
        }
    }
    known.sort_by_cached_key(|it| {
        let precedence = std::cmp::Reverse(precedence(it.ip()));
        (!has_route(*it, mark), precedence)
    });
    known
}

/// Whether the kernel knows a way there for what has this mark; nothing is sent.
fn has_route(remote: SocketAddr, mark: u32) -> bool {
    let any: IpAddr = match remote {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0))
        .is_ok_and(|socket| mark_socket(&socket, mark).is_ok() && socket.connect(remote).is_ok())
}

/// RFC 6724 section 2.1, the default policy table.
fn precedence(address: IpAddr) -> u8 {
    let IpAddr::V6(address) = address else {
        return 35;
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 50,
        [0, 0, 0, 0, 0, 0xffff, ..] => 35,
        [0, 0, 0, 0, 0, 0, ..] => 1,
        [0x2002, ..] => 30,
        [0x2001, 0, ..] => 5,
        [0x3ffe, ..] => 1,
        [first, ..] if first & 0xfe00 == 0xfc00 => 3,
        [first, ..] if first & 0xffc0 == 0xfec0 => 1,
        _ => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_rfc_6724() {
        let order = [
            "::1",
            "2606:4700::1",
            "192.0.2.1",
            "2002:c000:201::1",
            "2001:0:1::1",
            "fd00::1",
            "fec0::1",
        ];
        let all = order.map(|text| precedence(text.parse().expect("an address")));
        assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
        assert_eq!(precedence("::ffff:1.2.3.4".parse().expect("one")), 35);
        assert_eq!(precedence("2001:db8::1".parse().expect("one")), 40);
    }

    #[test]
    fn each_address_is_there_once_and_what_has_no_route_comes_last() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        // Nobody may send to all without having asked to.
        let given = vec![
            at("255.255.255.255:1"),
            at("127.0.0.1:1"),
            at("127.0.0.1:1"),
        ];
        assert_eq!(
            ordered(given, 0),
            [at("127.0.0.1:1"), at("255.255.255.255:1")]
        );
        let many = (1..=40).map(|last| SocketAddr::from(([127, 0, 0, last], 1)));
        assert_eq!(ordered(many.collect(), 0).len(), ADDRESSES_MAX);
    }
}
