//! Several lanes: several queues of the interface, several sockets on one port, and every flow in
//! order.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use weapon_netns::traffic::{Pace, Stream};
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Host, Pair, Plan, Weapon, ready, until};

/// Flows of numbered datagrams at the same time.
const FLOWS: usize = 16;
/// Datagrams of each flow.
const DATAGRAMS: u32 = 2000;
/// Datagrams of a flow that may be on their way.
const AHEAD_MAX: u32 = 16;
/// Every so many datagrams one is answered, which lets the kernel choose the flow's queue anew.
const ANSWER_EVERY: u32 = 50;

fn start_both(pair: &Pair, lanes: &str) -> (Weapon, Weapon) {
    let toml = |plan: &Plan| {
        let text = plan.toml();
        assert!(text.starts_with("[gateway]\n"));
        text.replacen("[gateway]\n", &format!("[gateway]\nlanes = {lanes}\n"), 1)
    };
    let (other, one) = (toml(&pair.other_plan), toml(&pair.plan));
    let other = Weapon::start_with(&pair.other, &pair.home, "other.toml", &other);
    let one = Weapon::start_with(&pair.one, &pair.home, "one.toml", &one);
    pair.one.ping("10.99.0.2");
    (one, other)
}

#[test]
fn streams_and_pings_pass_through_several_lanes() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (mut one, other) = start_both(&pair, "4");
    assert_eq!(one.status()["lanes"], 4);
    let link = pair.one.run("ip -d link show w-one");
    assert!(link.contains("numqueues 4 "), "{link}");
    let sockets = pair.one.run("cat /proc/net/udp");
    let on_port = sockets.lines().filter(|line| line.contains(":CA6C "));
    // One for each lane, and the doors for handshake messages (decision 0009).
    assert_eq!(on_port.count(), 4 + 16, "{sockets}");

    let pace = Pace {
        bytes: None,
        pause: Duration::ZERO,
    };
    let streams: Vec<_> = ["10.99.0.2", "fd99::2", "10.99.0.2", "10.99.0.2"]
        .iter()
        .map(|address| Stream::start(&pair.one, &pair.other, address, pace))
        .chain(
            ["10.99.0.1", "fd99::1"]
                .iter()
                .map(|address| Stream::start(&pair.other, &pair.one, address, pace)),
        )
        .collect();
    for stream in &streams {
        stream.expect_progress(10_000_000);
    }
    for stream in streams {
        let _bytes = stream.finish();
    }
    for name in ["forged", "replayed", "inner_malformed", "unknown_index"] {
        assert_eq!(one.drops(name) + other.drops(name), 0, "{name}");
    }

    // All sockets close and come back with the interface.
    pair.one.run("ip link set w-one down");
    until("the port closes", PATIENCE, || {
        let sockets = pair.one.run("cat /proc/net/udp");
        (!sockets.contains(":CA6C ")).then_some(())
    });
    pair.one.run("ip link set w-one up");
    pair.one.ping("10.99.0.2");
    assert!(one.process().ended().is_none());
    assert_eq!(one.stop().code(), Some(0));
    assert_eq!(other.stop().code(), Some(0));
}

fn socket(host: &Host, address: &str) -> UdpSocket {
    host.enter(|| UdpSocket::bind((address, 0)))
        .expect("a socket of the host")
}

#[test]
fn no_flow_is_reordered() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (one, other) = start_both(&pair, "4");
    let pairs: Vec<_> = (0..FLOWS)
        .map(|_| {
            let (here, there) = (
                socket(&pair.one, "10.99.0.1"),
                socket(&pair.other, "10.99.0.2"),
            );
            here.connect(there.local_addr().expect("an address"))
                .expect("a connected socket");
            there
                .connect(here.local_addr().expect("an address"))
                .expect("a connected socket");
            there
                .set_read_timeout(Some(Duration::from_secs(3)))
                .expect("a time limit");
            (here, there)
        })
        .collect();
    let reached: Vec<AtomicU32> = (0..FLOWS).map(|_| AtomicU32::new(0)).collect();
    let arrived: Vec<Vec<u32>> = std::thread::scope(|scope| {
        let receivers: Vec<_> = pairs
            .iter()
            .zip(&reached)
            .map(|((_, there), reached)| {
                scope.spawn(move || {
                    let mut numbers = Vec::new();
                    let mut datagram = [0; 600];
                    // Ends after the last, or when nothing came for a while.
                    while numbers.last() != Some(&(DATAGRAMS - 1))
                        && let Ok(len) = there.recv(&mut datagram)
                    {
                        let bytes = datagram[..len].first_chunk().expect("a number");
                        let number = u32::from_le_bytes(*bytes);
                        numbers.push(number);
                        reached.store(number, Relaxed);
                        if number.is_multiple_of(ANSWER_EVERY) {
                            // The sender reads no answers; that they are sent is what matters.
                            let _sent = there.send(&bytes[..]);
                        }
                    }
                    numbers
                })
            })
            .collect();
        for number in 0..DATAGRAMS {
            for (flow, (here, _)) in pairs.iter().enumerate() {
                let mut datagram = [0; 600];
                datagram[..4].copy_from_slice(&number.to_le_bytes());
                let len = 4 + (number as usize * 37 + flow * 11) % 500;
                here.send(&datagram[..len]).expect("the datagram is sent");
            }
            // On a busy machine the receivers may be late; what is lost is not waited for long.
            let deadline = Instant::now() + Duration::from_millis(100);
            let is_ahead = |reached: &AtomicU32| reached.load(Relaxed) + AHEAD_MAX < number;
            while reached.iter().any(is_ahead) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        receivers
            .into_iter()
            .map(|receiver| receiver.join().expect("a receiver"))
            .collect()
    });
    for (flow, numbers) in arrived.iter().enumerate() {
        let most = DATAGRAMS as usize * 9 / 10;
        assert!(numbers.len() > most, "flow {flow}: {} came", numbers.len());
        let turned = numbers.windows(2).find(|two| two[0] >= two[1]);
        assert_eq!(turned, None, "flow {flow} is out of order");
    }
    drop((one, other));
}
