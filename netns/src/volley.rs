//! Numbered datagrams from one host to another: how many came, how many came twice, and whether
//! any came that nobody has sent.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use crate::lab::Host;

/// Nothing comes any more when nothing came for this long.
const SILENCE: Duration = Duration::from_secs(1);

/// Room for what the receiver is late to read.
const RECEIVE_BUFFER_BYTES: usize = 32 << 20;

/// What is to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Volley {
    /// How many datagrams.
    pub count: u32,
    /// Bytes of each; at least 8.
    pub len: usize,
    /// Between two of them.
    pub pause: Duration,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrival {
    /// Sent.
    pub sent: u32,
    /// Came at least once.
    pub came: u32,
    /// Came again.
    pub again: u32,
    /// Came and was not what was sent.
    pub corrupt: u32,
}

impl Arrival {
    /// The share of those sent that did not come.
    pub fn loss(&self) -> f64 {
        f64::from(self.sent - self.came) / f64::from(self.sent.max(1))
    }
}

impl Volley {
    /// Sends them from one host to `address`, which is the other's, and waits for the last.
    #[track_caller]
    pub fn send(self, from: &Host, to: &Host, address: &str) -> Arrival {
        let address: IpAddr = address.parse().expect("an address");
        let bind = |host: &Host, at: SocketAddr| {
            let socket = host.enter(|| UdpSocket::bind(at));
            socket.unwrap_or_else(|error| panic!("{}: {at}: {error}", host.name))
        };
        let receiver = bind(to, SocketAddr::new(address, 0));
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let sender = bind(from, any.parse().expect("an address"));
        let target = receiver.local_addr().expect("its address");
        sender.connect(target).expect("a route");
        let sized = rustix::net::sockopt::set_socket_recv_buffer_size_force(
            &receiver,
            RECEIVE_BUFFER_BYTES,
        );
        sized.expect("a large buffer");
        receiver.set_read_timeout(Some(SILENCE)).expect("a limit");
        std::thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&receiver, self));
            let mut due = Instant::now();
            for number in 0..self.count {
                // A link that is down refuses: lost, like others on the way.
                let _ = sender.send(&contents(number, self.len));
                due += self.pause;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            receiving.join().expect("the receiver")
        })
    }
}

fn receive(socket: &UdpSocket, volley: Volley) -> Arrival {
    let mut seen = BTreeSet::new();
    let mut arrival = Arrival {
        sent: volley.count,
        ..Arrival::default()
    };
    let mut buffer = vec![0; 65_536];
    // All that is sent takes its time, also when nothing comes through.
    let earliest = Instant::now() + volley.pause * volley.count;
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let number = buffer[..len]
                    .first_chunk()
                    .map(|head| u32::from_le_bytes(*head));
                let known = number.filter(|&it| it < volley.count);
                match known {
                    Some(number) if contents(number, volley.len) == buffer[..len] => {
                        if seen.insert(number) {
                            arrival.came += 1;
                        } else {
                            arrival.again += 1;
                        }
                    }
                    _ => arrival.corrupt += 1,
                }
            }
            Err(_) if Instant::now() > earliest => return arrival,
            Err(_) => {}
        }
    }
}

/// The number, and bytes that follow from it.
fn contents(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.max(8)];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    let mut state = number.wrapping_mul(0x9e37_79b9);
    for byte in &mut bytes[4..] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    bytes
}
