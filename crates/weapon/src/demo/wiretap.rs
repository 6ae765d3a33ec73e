//! Who listens on the wire: every frame of an interface, sorted into what it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use weapon_io::capture::{Capture, CaptureFilter};
use weapon_io::namespace::Namespace;
use weapon_wire::message::{self, Kind};

use super::gateway::PORT;

/// How long a listener sleeps when nothing passes, before it asks whether it is to stop.
const NAP: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 20_000_000,
};

/// Strangers that are described; the rest is counted.
const STRANGERS_SHOWN_MAX: usize = 5;

const ETHERNET_HEADER_LEN: usize = 14;

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Datagrams that are WireGuard messages (a train of segments counts as one).
    pub(super) wireguard: u64,
    /// Of these, those with packets of the private networks in them.
    pub(super) data: u64,
    /// Handshake initiations and responses.
    pub(super) initiations: u64,
    pub(super) responses: u64,
    /// From the first initiation to the first response.
    pub(super) handshake: Option<Duration>,
    /// Address resolution, which stays on the cable.
    pub(super) neighbours: u64,
    /// Anything else.
    pub(super) strangers: u64,
    /// The first few of them in words.
    pub(super) descriptions: Vec<String>,
    /// Frames in which the marker stood in clear.
    pub(super) marker: u64,
    first_initiation: Option<Duration>,
}

/// A thread that listens.
pub(super) struct Wiretap {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<anyhow::Result<Heard>>,
}

impl Wiretap {
    /// Listens on `interface` for everything that `filter` shows, and for `marker` in it.
    ///
    /// # Errors
    /// No packet socket.
    pub(super) fn start(
        namespace: &Namespace,
        interface: &str,
        filter: CaptureFilter,
        marker: &str,
    ) -> anyhow::Result<Self> {
        let capture = namespace
            .enter(|| Capture::open(interface, filter))?
            .with_context(|| format!("cannot capture on {interface}"))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, marker) = (stop.clone(), marker.as_bytes().to_vec());
        let thread = std::thread::Builder::new()
            .name("wiretap".into())
            .spawn(move || listen(capture, &marker, &stopped))?;
        Ok(Self { stop, thread })
    }

    /// Hears out what has passed so far, and says what it was.
    ///
    /// # Errors
    /// When frames were lost: then nothing can be said about all of them.
    pub(super) fn finish(self) -> anyhow::Result<Heard> {
        self.stop.store(true, Ordering::Release);
        self.thread
            .join()
            .map_err(|_| anyhow!("the listener has died"))?
    }
}

fn listen(mut capture: Capture, marker: &[u8], stop: &AtomicBool) -> anyhow::Result<Heard> {
    let mut heard = Heard::default();
    loop {
        // Asked before reading: what passed before the stop is then read for certain.
        let last = stop.load(Ordering::Acquire);
        while let Some(frame) = capture.read()? {
            heard.note(frame.bytes, frame.at, marker);
        }
        if last {
            break;
        }
        let mut waiting = [PollFd::new(&capture, PollFlags::IN)];
        match rustix::event::poll(&mut waiting, Some(&NAP)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let lost = capture.lost()?;
    ensure!(lost == 0, "{lost} frames passed too fast to be looked at");
    Ok(heard)
}

impl Heard {
    fn note(&mut self, frame: &[u8], at: Duration, marker: &[u8]) {
        if frame.windows(marker.len()).any(|window| window == marker) {
            self.marker += 1;
        }
        if is_address_resolution(frame) {
            self.neighbours += 1;
            return;
        }
        match wireguard(frame) {
            Some(Kind::Initiation) => {
                self.initiations += 1;
                self.first_initiation.get_or_insert(at);
            }
            Some(Kind::Response) => {
                self.responses += 1;
                let since = self
                    .first_initiation
                    .and_then(|first| at.checked_sub(first));
                self.handshake = self.handshake.or(since);
            }
            Some(Kind::Data) => self.data += 1,
            Some(Kind::CookieReply) => {}
            None => {
                self.strangers += 1;
                if self.descriptions.len() < STRANGERS_SHOWN_MAX {
                    self.descriptions.push(describe(frame));
                }
                return;
            }
        }
        self.wireguard += 1;
    }
}

fn is_address_resolution(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[0x08, 0x06])
}

/// The kind of WireGuard message in an Ethernet frame, if it is one between the gateways' ports.
fn wireguard(frame: &[u8]) -> Option<Kind> {
    const UDP: u8 = 17;
    const UDP_HEADER_LEN: usize = 8;
    if frame.get(12..14)? != [0x08, 0x00] {
        return None;
    }
    let packet = frame.get(ETHERNET_HEADER_LEN..)?;
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let is_fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff != 0;
    if *packet.get(9)? != UDP || is_fragment {
        return None;
    }
    let datagram = packet.get(header_len..total_len)?;
    let port = PORT.to_be_bytes();
    if datagram.get(..2)? != port || datagram.get(2..4)? != port {
        return None;
    }
    message::kind(datagram.get(UDP_HEADER_LEN..)?).ok()
}

fn describe(frame: &[u8]) -> String {
    let kind = frame
        .get(12..14)
        .map_or(0, |kind| u16::from_be_bytes([kind[0], kind[1]]));
    let ip = |at: usize| -> String {
        let octets = frame.get(at..at + 4).unwrap_or_default();
        octets
            .iter()
            .map(u8::to_string)
            .collect::<Vec<_>>()
            .join(".")
    };
    match kind {
        0x0800 => format!(
            "IPv4 {} to {}, protocol {}, {} bytes",
            ip(26),
            ip(30),
            frame.get(23).copied().unwrap_or_default(),
            frame.len()
        ),
        kind => format!("EtherType {kind:#06x}, {} bytes", frame.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame with a UDP datagram between the gateways' ports.
    fn frame(payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend((28 + payload.len() as u16).to_be_bytes());
        frame.extend([0, 0, 0, 0, 64, 17, 0, 0, 203, 0, 113, 2, 198, 51, 100, 2]);
        frame.extend(PORT.to_be_bytes());
        frame.extend(PORT.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(payload);
        frame
    }

    fn message(kind: u8, len: usize) -> Vec<u8> {
        let mut message = vec![0; len];
        message[0] = kind;
        frame(&message)
    }

    #[test]
    fn messages_are_told_apart() {
        let mut heard = Heard::default();
        let at = Duration::from_millis;
        heard.note(&message(1, 148), at(10), b"marker");
        heard.note(&message(2, 92), at(13), b"marker");
        heard.note(&message(4, 32), at(14), b"marker");
        heard.note(&message(4, 60_000), at(14), b"marker");
        assert_eq!(
            (
                heard.wireguard,
                heard.initiations,
                heard.responses,
                heard.data
            ),
            (4, 1, 1, 2)
        );
        assert_eq!(heard.handshake, Some(at(3)));
        assert_eq!((heard.strangers, heard.marker), (0, 0));
    }

    #[test]
    fn strangers_are_noticed() {
        let mut heard = Heard::default();
        let mut icmp = message(4, 64);
        icmp[23] = 1;
        let mut other_port = message(4, 64);
        other_port[36] ^= 1;
        let mut fragment = message(4, 64);
        fragment[20] = 0x20;
        let mut vlan = message(4, 64);
        vlan[12..14].copy_from_slice(&[0x81, 0x00]);
        let strangers = [
            icmp,
            other_port,
            fragment,
            vlan,
            message(5, 64),
            message(1, 149),
            vec![],
            vec![8; 9],
        ];
        for stranger in &strangers {
            heard.note(stranger, Duration::ZERO, b"marker");
        }
        assert_eq!(
            (heard.strangers, heard.wireguard),
            (strangers.len() as u64, 0)
        );
        assert_eq!(heard.descriptions.len(), STRANGERS_SHOWN_MAX);
    }

    #[test]
    fn marker_is_found_wherever_it_stands() {
        let mut heard = Heard::default();
        heard.note(
            &frame(b"\x04\0\0\0.........marker................."),
            Duration::ZERO,
            b"marker",
        );
        heard.note(b"marker", Duration::ZERO, b"marker");
        assert_eq!(heard.marker, 2);
    }
}
