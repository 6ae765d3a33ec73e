//! The network between the gateways: addresses, lines that lose and delay, NATs.

use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};
use std::collections::{BTreeSet, VecDeque};

use weapon_noise::Tick;

use crate::{dice::Dice, nat::Nat, story::Place};

/// The line between a gateway and the network. What it does happens to what the gateway sends;
/// delay, loss and the limit on size also to what it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Least time for a datagram, in ms.
    pub latency_ms: u16,
    /// At most added to it, at random: more than the time between two datagrams reorders them.
    pub jitter_ms: u16,
    /// So many per cent are lost.
    pub loss: u8,
    /// So many per cent arrive twice.
    pub duplicate: u8,
    /// In so many per cent a bit is flipped.
    pub corrupt: u8,
    /// UDP payloads longer than this are lost.
    pub datagram_len_max: u16,
}

impl Line {
    /// A line without faults.
    pub const GOOD: Self = Self {
        latency_ms: 10,
        jitter_ms: 0,
        loss: 0,
        duplicate: 0,
        corrupt: 0,
        datagram_len_max: 1472,
    };
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::GOOD {
            return f.write_str("is good");
        }
        write!(f, "takes {} ms", self.latency_ms)?;
        if self.jitter_ms != 0 {
            write!(f, " and up to {} ms more", self.jitter_ms)?;
        }
        for (percent, what) in [
            (self.loss, "loses"),
            (self.duplicate, "doubles"),
            (self.corrupt, "flips a bit in"),
        ] {
            if percent != 0 {
                write!(f, ", {what} {percent} %")?;
            }
        }
        if self.datagram_len_max != Self::GOOD.datagram_len_max {
            write!(f, ", carries {} bytes at most", self.datagram_len_max)?;
        }
        Ok(())
    }
}

/// A datagram on its way.
#[derive(Clone, Debug)]
pub(crate) struct Datagram {
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Vec<u8>,
}

/// Where a gateway is.
#[derive(Debug)]
struct Attachment {
    /// Addresses that it had before.
    moves: u8,
    nat: Option<Nat>,
    line: Line,
    /// Datagrams that it got, the newest last: what somebody on the way has recorded.
    recorded: VecDeque<Vec<u8>>,
}

/// All lines.
#[derive(Debug)]
pub(crate) struct Network {
    dice: Dice,
    attached: Vec<Attachment>,
    /// Pairs between whom nothing goes, the smaller number first.
    cut: BTreeSet<(usize, usize)>,
}

/// The port that every gateway listens on.
pub(crate) const PORT: u16 = 51_820;

/// The first octet of a gateway's address before it moved, without and with a NAT.
const PUBLIC: u8 = 20;
const BEHIND_NAT: u8 = 120;
/// Moves after which an address is used again.
const MOVES: u8 = 64;

/// Datagrams of each gateway that are kept for replays.
const RECORDED_MAX: usize = 32;

/// From where recordings are sent.
const ATTACKER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9)), 9);

impl Network {
    pub(crate) fn new(seed: u64, places: &[Place]) -> Self {
        let attach = |place: &Place| Attachment {
            moves: 0,
            nat: place.nat.map(|nat| {
                let expiry = Duration::from_secs(u64::from(nat.expiry_secs));
                Nat::new(nat.kind, expiry, nat.keeps_port)
            }),
            line: Line::GOOD,
            recorded: VecDeque::new(),
        };
        Self {
            dice: Dice::new(seed ^ 0x6e65_7477_6f72_6b00),
            attached: places.iter().map(attach).collect(),
            cut: BTreeSet::new(),
        }
    }

    /// Where the others find `host`: its own address or that of its NAT.
    pub(crate) fn outer_address(&self, host: usize) -> SocketAddr {
        let attached = &self.attached[host];
        let base = if attached.nat.is_some() {
            BEHIND_NAT
        } else {
            PUBLIC
        };
        let [high, low] = (host as u16).to_be_bytes();
        let ip = Ipv4Addr::new(base + attached.moves % MOVES, 0, high, low);
        SocketAddr::from((ip, PORT))
    }

    /// The address that `host` itself has.
    pub(crate) fn own_address(&self, host: usize) -> IpAddr {
        if self.attached[host].nat.is_some() {
            let [high, low] = (host as u16).to_be_bytes();
            IpAddr::from([10, 200 + self.attached[host].moves % 8, high, low])
        } else {
            self.outer_address(host).ip()
        }
    }

    /// Who knew this gateway's address at the start knows it still, and it lets in everybody.
    pub(crate) fn is_where_it_was(&self, host: usize) -> bool {
        self.attached[host].nat.is_none() && self.attached[host].moves == 0
    }

    /// `host` gets another address, behind a NAT that does not know it if it had one.
    pub(crate) fn roam(&mut self, host: usize) {
        self.attached[host].moves += 1;
        self.reboot_nat(host);
    }

    pub(crate) fn reboot_nat(&mut self, host: usize) {
        if let Some(nat) = &mut self.attached[host].nat {
            nat.reboot();
        }
    }

    pub(crate) fn set_line(&mut self, host: usize, line: Line) {
        self.attached[host].line = line;
    }

    /// Nothing goes between the two, or everything again.
    pub(crate) fn set_cut(&mut self, one: usize, other: usize, is_cut: bool) {
        let pair = (one.min(other), one.max(other));
        if is_cut {
            self.cut.insert(pair);
        } else {
            self.cut.remove(&pair);
        }
    }

    /// All lines are good, nothing is cut.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        for attached in &mut self.attached {
            attached.line = Line::GOOD;
        }
    }

    /// `host` sends: what arrives of it, and when.
    pub(crate) fn send(
        &mut self,
        host: usize,
        to: SocketAddr,
        mut bytes: Vec<u8>,
        now: Tick,
    ) -> Vec<(Tick, Datagram)> {
        let mut from = self.outer_address(host);
        if let Some(nat) = &mut self.attached[host].nat {
            from.set_port(nat.outbound(PORT, to, now));
        }
        let line = self.attached[host].line;
        let far = self.host_at(to.ip()).map(|far| self.attached[far].line);
        let far = far.unwrap_or(Line::GOOD);
        let is_too_long = bytes.len() > usize::from(line.datagram_len_max)
            || bytes.len() > usize::from(far.datagram_len_max);
        if is_too_long || self.dice.happens(line.loss) || self.dice.happens(far.loss) {
            return Vec::new();
        }
        let copies = 1 + usize::from(self.dice.happens(line.duplicate));
        if self.dice.happens(line.corrupt) {
            let bit = self.dice.below(bytes.len() as u64 * 8) as usize;
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        let datagram = Datagram { from, to, bytes };
        (0..copies)
            .map(|_| {
                let latency = u64::from(line.latency_ms) + u64::from(far.latency_ms);
                let jitter = u64::from(line.jitter_ms) + u64::from(far.jitter_ms);
                // In ns, so that two datagrams seldom arrive at the same moment.
                let jitter = Duration::from_nanos(self.dice.below(jitter * 1_000_000 + 1));
                let at = now + Duration::from_millis(latency) + jitter;
                (at, datagram.clone())
            })
            .collect()
    }

    /// Who gets `datagram` that arrives at `now`; nobody if it meets a closed NAT, or the place is
    /// left.
    pub(crate) fn arrive(&mut self, datagram: &Datagram, now: Tick) -> Option<usize> {
        let host = self.host_at(datagram.to.ip())?;
        let is_cut = self
            .host_at(datagram.from.ip())
            .is_some_and(|from| self.cut.contains(&(host.min(from), host.max(from))));
        if is_cut {
            return None;
        }
        let attached = &mut self.attached[host];
        let is_open = match &mut attached.nat {
            Some(nat) => nat.lets_in(datagram.to.port(), datagram.from, now),
            None => datagram.to.port() == PORT,
        };
        if !is_open {
            return None;
        }
        // What was damaged or comes from the attacker is recorded too: it may come again.
        attached.recorded.push_back(datagram.bytes.clone());
        if attached.recorded.len() > RECORDED_MAX {
            attached.recorded.pop_front();
        }
        Some(host)
    }

    /// The last `count` datagrams that `host` got, as an attacker sends them again.
    pub(crate) fn replay(&self, host: usize, count: usize) -> Vec<Datagram> {
        let recorded = &self.attached[host].recorded;
        let skipped = recorded.len().saturating_sub(count);
        recorded
            .iter()
            .skip(skipped)
            .map(|bytes| Datagram {
                from: ATTACKER,
                to: self.outer_address(host),
                bytes: bytes.clone(),
            })
            .collect()
    }

    /// Who is at `address`.
    pub(crate) fn host_at(&self, address: IpAddr) -> Option<usize> {
        let IpAddr::V4(v4) = address else {
            return None;
        };
        let [_, _, high, low] = v4.octets();
        let host = usize::from(u16::from_be_bytes([high, low]));
        let is_there = host < self.attached.len() && self.outer_address(host).ip() == address;
        is_there.then_some(host)
    }
}
