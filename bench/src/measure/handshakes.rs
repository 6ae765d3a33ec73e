//! Handshakes: how many initiations per second a gateway accepts.
//!
//! Initiations of many peers are made beforehand, so that making them costs nothing while the
//! gateway works. They are sent in a window: a new one whenever a response has come. So the queue
//! of the gateway never fills and the gateway never has to defend itself; one that asks for cookies
//! all the same gets them. Every response is finished afterwards, so that only real ones count.

use std::collections::{BTreeMap, VecDeque};
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use weapon_engine::KernelEntropy;
use weapon_noise::{
    AwaitingResponse, CookieJar, Identity, PrivateKey, Remote, Tai64n, Tick, initiate,
};
use weapon_wire::message::{CookieReply, Initiation, Response};

use crate::contender::end::{End, PORT, Peer, random_key};
use crate::contender::{Contender, Programs};
use crate::lab::{Lab, Side};

/// How many peers the gateway knows.
pub(crate) const PEERS: u32 = 2000;
/// How often each of them comes. An implementation lets a peer come some twenty times a second, so
/// up to 40 000 handshakes per second nobody comes too often.
const PASSES: u32 = 5;
/// How many initiations are on their way at once: enough to keep all processors busy, and fewer
/// than any implementation takes for an attack.
const WINDOW: usize = 32;
/// How long the gateway is measured, if the initiations last.
const DURATION: Duration = Duration::from_secs(2);
/// What is not answered by then was lost or refused.
const PATIENCE: Duration = Duration::from_millis(300);

/// What a measurement gave.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) accepted_per_second: f64,
    pub(crate) accepted: usize,
    pub(crate) unanswered: usize,
    /// How often the gateway asked for a cookie instead of answering.
    pub(crate) cookies: usize,
    pub(crate) seconds: f64,
}

/// The peers, and all they will ever say. The gateway is new each time, so it may be said again.
pub(crate) struct Crowd {
    host: End,
    calls: Vec<Call>,
}

/// An initiation that waits to be sent; its place in the crowd is its sender index.
struct Call {
    identity: Identity,
    remote: Remote,
    awaiting: AwaitingResponse,
    initiation: Initiation,
}

impl Crowd {
    /// Makes keys and initiations for `peers` peers, each of which comes `passes` times.
    fn new(peers: u32, passes: u32) -> Result<Self> {
        let host_key = random_key()?;
        let keys: Vec<PrivateKey> = (0..peers).map(|_| random_key()).collect::<Result<_>>()?;
        let (seconds, _) = weapon_io::clock::realtime();
        let mut calls = Vec::new();
        for pass in 0..passes {
            let timestamp = Tai64n::from_unix(seconds + u64::from(pass), 0);
            for key in &keys {
                let identity = Identity::new(PrivateKey::from_bytes(key.expose()));
                let remote = Remote::new(&identity, host_key.public(), None);
                let index = u32::try_from(calls.len())?;
                let (awaiting, initiation) =
                    initiate(&identity, &remote, index, timestamp, &mut KernelEntropy)?;
                calls.push(Call {
                    identity,
                    remote,
                    awaiting,
                    initiation,
                });
            }
        }
        let peers = keys.iter().zip(0_u32..).map(|(key, number)| Peer {
            public_key: key.public(),
            endpoint: None,
            networks: vec![format!("10.100.{}.{}/32", number >> 8, number & 0xff)],
        });
        let host = End {
            side: Side::B,
            private_key: host_key,
            peers: peers.collect(),
        };
        Ok(Self { host, calls })
    }

    /// The crowd of the benchmark.
    pub(crate) fn of_benchmark() -> Result<Self> {
        Self::new(PEERS, PASSES)
    }
}

/// Starts one end of a contender and lets the crowd come; none if it does not speak WireGuard.
pub(crate) fn measure(
    lab: &Lab,
    contender: Contender,
    programs: &Programs,
    crowd: &Crowd,
) -> Result<Option<Handshakes>> {
    let Some(mut gateway) = contender.start_alone(lab, programs, &crowd.host)? else {
        return Ok(None);
    };
    let local = (Side::A.underlay(), 0);
    let socket = lab
        .namespace(Side::A)?
        .enter(|| UdpSocket::bind(local))?
        .context("no socket")?;
    socket.connect((Side::B.underlay(), PORT))?;
    wait_until_answered(&socket, crowd)?;
    let started = Instant::now();
    let talk = Talk::new(&socket, crowd).run(DURATION)?;
    let seconds = started.elapsed().as_secs_f64();
    ensure!(!gateway.has_ended()?, "it died of handshakes");
    drop(gateway);
    let accepted = talk.responses.len();
    talk.verify()?;
    ensure!(accepted > 0, "no initiation was accepted");
    Ok(Some(Handshakes {
        accepted_per_second: accepted as f64 / seconds,
        accepted,
        unanswered: talk.unanswered,
        cookies: talk.cookies,
        seconds,
    }))
}

/// Waits until the gateway listens: then what it does not understand raises no ICMP error.
fn wait_until_answered(socket: &UdpSocket, crowd: &Crowd) -> Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let deadline = Instant::now() + Duration::from_secs(10);
    // The first peer's first initiation is spent on this; a refusal would be its retransmission.
    let call = crowd.calls.first().context("an empty crowd")?;
    let mut buffer = [0; 2048];
    while Instant::now() < deadline {
        let mut message = call.initiation;
        CookieJar::new().sign(&call.remote, message.as_mut_bytes(), now());
        let answered = socket
            .send(message.as_bytes())
            .and_then(|_| socket.recv(&mut buffer));
        if answered.is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    anyhow::bail!("no handshake was answered within 10 s")
}

/// The crowd and a gateway, talking.
struct Talk<'a> {
    socket: &'a UdpSocket,
    calls: &'a [Call],
    next: usize,
    /// When each initiation was sent, and the jar that signed it, by sender index.
    sent: BTreeMap<u32, (Instant, CookieJar)>,
    /// Sender indices in the order in which they were sent; some are answered already.
    order: VecDeque<(Instant, u32)>,
    /// The jar with the gateway's cookie for our address, once it has sent one.
    jar: Option<CookieJar>,
    responses: Vec<Response>,
    unanswered: usize,
    cookies: usize,
}

impl<'a> Talk<'a> {
    fn new(socket: &'a UdpSocket, crowd: &'a Crowd) -> Self {
        Self {
            socket,
            calls: &crowd.calls,
            // The first was spent on finding out whether anybody listens.
            next: 1,
            sent: BTreeMap::new(),
            order: VecDeque::new(),
            jar: None,
            responses: Vec::new(),
            unanswered: 0,
            cookies: 0,
        }
    }

    fn run(mut self, duration: Duration) -> Result<Self> {
        self.socket
            .set_read_timeout(Some(Duration::from_millis(20)))?;
        let end = Instant::now() + duration;
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            while self.sent.len() < WINDOW && self.next < self.calls.len() {
                let index = u32::try_from(self.next)?;
                self.next += 1;
                self.send(index)?;
            }
            if self.sent.is_empty() {
                break;
            }
            // Nothing within the timeout: somebody may be overdue.
            if let Ok(len) = self.socket.recv(&mut buffer) {
                self.receive(&buffer[..len])?;
            }
            self.forget_overdue();
        }
        Ok(self)
    }

    fn send(&mut self, index: u32) -> Result<()> {
        let call = &self.calls[index as usize];
        let mut message = call.initiation;
        let mut own = CookieJar::new();
        let jar = self.jar.as_mut().unwrap_or(&mut own);
        jar.sign(&call.remote, message.as_mut_bytes(), now());
        self.socket.send(message.as_bytes())?;
        let sent_at = Instant::now();
        self.sent.insert(index, (sent_at, own));
        self.order.push_back((sent_at, index));
        Ok(())
    }

    fn receive(&mut self, datagram: &[u8]) -> Result<()> {
        if let Some(response) = Response::parse(datagram) {
            if self.sent.remove(&response.receiver.get()).is_some() {
                self.responses.push(*response);
            }
        } else if let Some(reply) = CookieReply::parse(datagram) {
            let index = reply.receiver.get();
            if let Some((_, mut jar)) = self.sent.remove(&index) {
                self.cookies += 1;
                // All of the crowd has one address, so one cookie does for all.
                let remote = &self.calls[index as usize].remote;
                if self.jar.is_none() && jar.accept(remote, reply, now()) {
                    self.jar = Some(jar);
                }
                self.send(index)?;
            }
        }
        Ok(())
    }

    fn forget_overdue(&mut self) {
        while let Some(&(sent_at, index)) = self.order.front() {
            let is_waiting = self.sent.get(&index).is_some_and(|(at, _)| *at == sent_at);
            if is_waiting {
                if sent_at.elapsed() < PATIENCE {
                    return;
                }
                self.sent.remove(&index);
                self.unanswered += 1;
            }
            self.order.pop_front();
        }
    }

    /// Finishes every handshake; an error if a response is not what the protocol says.
    fn verify(&self) -> Result<()> {
        for response in &self.responses {
            let call = &self.calls[response.receiver.get() as usize];
            call.awaiting
                .finish(&call.identity, &call.remote, response)
                .context("a response does not authenticate")?;
        }
        Ok(())
    }
}

fn now() -> Tick {
    Tick::from_nanos(weapon_io::clock::boottime_nanos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread::JoinHandle;
    use weapon_noise::open_initiation;

    /// Answers the crowd's initiations as a gateway does; every third one not at all, and with a
    /// cipher text that is wrong if it is told to.
    fn gateway(crowd: &Arc<Crowd>, socket: UdpSocket, damage: bool) -> JoinHandle<usize> {
        let crowd = Arc::clone(crowd);
        std::thread::spawn(move || {
            let identity = Identity::new(PrivateKey::from_bytes(crowd.host.private_key.expose()));
            let mut buffer = [0; 2048];
            let mut answered = 0;
            let patience = Some(Duration::from_millis(700));
            socket.set_read_timeout(patience).unwrap();
            while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                let initiation = Initiation::parse(&buffer[..len]).unwrap();
                if initiation.sender.get() % 3 == 2 {
                    continue;
                }
                let opened = open_initiation(&identity, initiation).unwrap();
                let remote = Remote::new(&identity, *opened.remote_public(), None);
                let verified = opened.verify(&remote).unwrap();
                let (mut response, _) = verified
                    .respond(&remote, answered as u32, &mut KernelEntropy)
                    .unwrap();
                response.encrypted_nothing[0] ^= u8::from(damage);
                socket.send_to(response.as_bytes(), from).unwrap();
                answered += 1;
            }
            answered
        })
    }

    fn talk(damage: bool) -> (Arc<Crowd>, UdpSocket, JoinHandle<usize>) {
        let crowd = Arc::new(Crowd::new(6, 2).unwrap());
        let host = UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(host.local_addr().unwrap()).unwrap();
        let thread = gateway(&crowd, host, damage);
        (crowd, socket, thread)
    }

    #[test]
    fn answers_are_counted_and_silence_too() {
        let (crowd, socket, gateway) = talk(false);
        let talk = Talk::new(&socket, &crowd)
            .run(Duration::from_secs(5))
            .unwrap();
        // Of 12, the first is left out, and 2, 5, 8 and 11 stay without an answer.
        assert_eq!((talk.responses.len(), talk.unanswered), (7, 4));
        talk.verify().unwrap();
        assert_eq!(gateway.join().unwrap(), 7);
    }

    #[test]
    fn answers_that_do_not_authenticate_are_an_error() {
        let (crowd, socket, gateway) = talk(true);
        let talk = Talk::new(&socket, &crowd)
            .run(Duration::from_secs(5))
            .unwrap();
        assert!(talk.verify().is_err());
        gateway.join().unwrap();
    }

    #[test]
    fn each_peer_comes_later_than_before_and_under_another_index() {
        let crowd = Crowd::new(2, 3).unwrap();
        let host = Identity::new(PrivateKey::from_bytes(crowd.host.private_key.expose()));
        let mut last = BTreeMap::new();
        for (index, call) in crowd.calls.iter().enumerate() {
            assert_eq!(call.initiation.sender.get() as usize, index);
            let opened = open_initiation(&host, &call.initiation).unwrap();
            let public = *opened.remote_public();
            assert!(crowd.host.peers.iter().any(|it| it.public_key == public));
            let remote = Remote::new(&host, public, None);
            let timestamp = opened.verify(&remote).unwrap().timestamp();
            let before = last.insert(*public.as_bytes(), timestamp);
            assert!(before.is_none_or(|before| before < timestamp));
        }
        assert_eq!(last.len(), 2);
    }
}
