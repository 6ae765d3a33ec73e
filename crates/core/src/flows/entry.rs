//! HOT One flow, as the table has it.

use core::time::Duration;

use weapon_noise::Tick;
use weapon_wire::ip;

use super::{
    Key, State,
    event::{Event, EventKind},
    state::Step,
};
use crate::{
    PeerId,
    filter::{Direction, RuleId, Subject},
};

/// No round trip was measured.
const UNKNOWN: u32 = u32::MAX;

/// A flow. Its `opener` is the end that has sent its first packet; of what is there for both ends,
/// the opener's is first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) is_opener_low: bool,
    pub(crate) is_inbound: bool,
    pub(crate) state: State,
    /// All flags of TCP that were seen.
    pub(crate) flags: [u8; 2],
    pub(crate) first_seen: Tick,
    pub(crate) last_seen: Tick,
    pub(crate) packets: [u64; 2],
    pub(crate) bytes: [u64; 2],
    /// Microseconds.
    round_trip: u32,
    pub(crate) rule: u32,
    pub(crate) epoch: u32,
    /// Which of all flows that were in this place.
    pub(crate) generation: u32,
}

/// What the documentation says of the memory that a table takes.
const _: () = assert!(size_of::<Entry>() <= 120);

/// A packet or superpacket that passes, as far as its flow is concerned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passage {
    pub(crate) now: Tick,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Of TCP alone.
    pub(crate) flags: Option<u8>,
}

impl Entry {
    /// A flow that begins with this.
    pub(crate) fn new(
        key: Key,
        is_opener_low: bool,
        direction: Direction,
        passage: &Passage,
    ) -> Self {
        let mut entry = Self {
            key,
            is_opener_low,
            is_inbound: direction == Direction::Inbound,
            state: State::first(passage.flags),
            first_seen: passage.now,
            round_trip: UNKNOWN,
            ..Self::default()
        };
        entry.count(passage, false);
        entry
    }

    /// Counts what passes.
    #[inline]
    pub(crate) fn count(&mut self, passage: &Passage, is_reply: bool) {
        let [opener, other] = &mut self.packets;
        let packets = if is_reply { other } else { opener };
        *packets = packets.saturating_add(passage.packets);
        let [opener, other] = &mut self.bytes;
        let bytes = if is_reply { other } else { opener };
        *bytes = bytes.saturating_add(passage.bytes);
        let [opener, other] = &mut self.flags;
        *(if is_reply { other } else { opener }) |= passage.flags.unwrap_or(0);
        // Lanes do not look at the clock at the same moment.
        self.last_seen = self.last_seen.max(passage.now);
    }

    /// What the packet does to the flow.
    #[inline]
    pub(crate) fn step(&self, flags: Option<u8>, is_reply: bool) -> Step {
        let [opener, other] = self.flags;
        match flags {
            Some(flags) => {
                let of_other = if is_reply { opener } else { other };
                let closed = of_other & weapon_wire::tcp::FIN != 0;
                self.state.after_tcp(flags, is_reply, closed)
            }
            None => Step::Goes(self.state.after(is_reply, self.is_udp())),
        }
    }

    /// Whether more packets from the same end would change nothing, if all that they do is to
    /// acknowledge; `flags` are those of the last one.
    #[inline]
    pub(crate) fn is_steady(&self, flags: Option<u8>, is_reply: bool) -> bool {
        let plain = flags.map(|_| weapon_wire::tcp::ACK);
        self.step(plain, is_reply) == Step::Goes(self.state)
    }

    /// Notes how long the first answer took, if it is clear what it answers (Karn's rule: nothing
    /// was sent twice).
    pub(crate) fn note_reply(&mut self, passage: &Passage) {
        let is_clear = self.packets == [1, 0];
        let is_answer = self.state != State::PickedUp && passage.flags.is_none_or(is_syn_ack);
        if is_clear && is_answer {
            let micros = passage.now.since(self.first_seen).as_micros();
            self.round_trip = u32::try_from(micros).unwrap_or(UNKNOWN);
        }
    }

    /// Time from the first packet to the first answer; of TCP from SYN to SYN-ACK.
    pub(crate) fn round_trip(&self) -> Option<Duration> {
        (self.round_trip != UNKNOWN).then(|| Duration::from_micros(self.round_trip.into()))
    }

    #[inline]
    pub(crate) fn is_over(&self, now: Tick) -> bool {
        now.since(self.last_seen) >= self.timeout()
    }

    /// How long it may be silent.
    #[inline]
    pub(crate) fn timeout(&self) -> Duration {
        self.state.timeout(self.is_udp(), self.is_icmp())
    }

    pub(crate) fn peer(&self) -> PeerId {
        self.key.peer()
    }

    pub(crate) fn direction(&self) -> Direction {
        if self.is_inbound {
            Direction::Inbound
        } else {
            Direction::Outbound
        }
    }

    pub(crate) fn is_icmp(&self) -> bool {
        self.key.protocol()
            == if self.key.is_v4() {
                ip::ICMP
            } else {
                ip::ICMPV6
            }
    }

    fn is_udp(&self) -> bool {
        self.key.protocol() == ip::UDP
    }

    /// What rules were asked about when it began.
    pub(crate) fn subject(&self) -> Subject {
        let (source, destination, ports) = self.key.ends(self.is_opener_low);
        let echo = weapon_wire::Icmp::echo_of(source);
        Subject::of_flow(
            self.direction(),
            self.peer(),
            (source, destination),
            (self.key.protocol(), self.is_icmp()),
            self.key.has_ports().then_some(ports),
            echo,
        )
    }

    /// An event of its own.
    pub(crate) fn event(&self, kind: EventKind, at: Tick) -> Event {
        let (source, destination, ports) = self.key.ends(self.is_opener_low);
        Event {
            kind,
            at,
            direction: self.direction(),
            peer: self.peer(),
            source,
            destination,
            protocol: self.key.protocol(),
            ports: self.key.has_ports().then_some(ports),
            icmp_kind: self
                .is_icmp()
                .then(|| weapon_wire::Icmp::echo_of(source).kind),
            rule: RuleId(self.rule),
            first_seen: self.first_seen,
            last_seen: self.last_seen,
            packets: self.packets,
            bytes: self.bytes,
            tcp_flags: self.flags,
            round_trip: self.round_trip(),
        }
    }
}

fn is_syn_ack(flags: u8) -> bool {
    use weapon_wire::tcp::{ACK, SYN};
    flags & (SYN | ACK) == SYN | ACK
}
