//! Where handshake messages come from. Who floods us from one network must prove his addresses by
//! a cookie, and has only a part of the queue; everybody else is served as if there were no flood
//! (P74).

use core::net::IpAddr;

use weapon_noise::{LoadGauge, Tick};

use super::HANDSHAKE_QUEUE_MAX;

/// Networks are told apart by a hash, so that memory is bounded. 256 make it rare that an honest
/// peer shares the fate of a flood; who does has to fetch a cookie, no more.
pub const ORIGINS: usize = 256;

/// Messages of one origin that may wait: a quarter of the queue leaves room for the others.
pub const WAITING_OF_ORIGIN_MAX: usize = HANDSHAKE_QUEUE_MAX / 4;

/// The origin of an address: its /24, or its /64, which one host can pick from at will.
pub fn origin(address: IpAddr) -> usize {
    let network = match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    };
    // Multiplicative hashing: the upper bits depend on all of the network's.
    (network.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize % ORIGINS
}

/// Which origins flood us.
#[derive(Debug)]
pub(super) struct Origins(Box<[LoadGauge; ORIGINS]>);

impl Origins {
    pub(super) fn new() -> Self {
        Self(Box::new([LoadGauge::new(); ORIGINS]))
    }

    /// Notes all messages that wait. Returns how many are not part of a flood.
    pub(super) fn note(&mut self, waiting: impl Iterator<Item = IpAddr>, now: Tick) -> usize {
        let mut counts = [0_usize; ORIGINS];
        for address in waiting {
            if let Some(count) = counts.get_mut(origin(address)) {
                *count = count.saturating_add(1);
            }
        }
        let mut others = 0;
        for (gauge, count) in self.0.iter_mut().zip(counts) {
            // What would be a load for the whole gateway, if nobody told origins apart.
            gauge.note_queue(count, HANDSHAKE_QUEUE_MAX, now);
            if !gauge.under_load(now) {
                others = count.saturating_add(others);
            }
        }
        others
    }

    /// Whether this address is of an origin that floods us.
    pub(super) fn under_load(&self, address: IpAddr, now: Tick) -> bool {
        let gauge = self.0.get(origin(address));
        gauge.is_some_and(|gauge| gauge.under_load(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_are_origins() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("::ffff:192.0.2.1", "192.0.2.7", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
        ] {
            let equal = origin(address(one)) == origin(address(other));
            assert_eq!(equal, same, "{one}, {other}");
        }
    }

    #[test]
    fn p74_a_flood_is_its_origins_load_alone() {
        let mut origins = Origins::new();
        let (flooder, honest) = (address("203.0.113.9"), address("192.0.2.1"));
        let waiting = std::iter::repeat_n(flooder, 500).chain([honest]);
        assert_eq!(origins.note(waiting, at(1)), 1);
        assert!(origins.under_load(flooder, at(1)));
        assert!(!origins.under_load(honest, at(1)));
        // It ends a second later, as the gateway's own load does (P73).
        assert!(!origins.under_load(flooder, at(2)));
    }

    #[test]
    fn p74_what_may_wait_of_a_flood_is_enough_to_see_it_and_leaves_room() {
        let mut origins = Origins::new();
        let flooder = address("203.0.113.9");
        let waiting = std::iter::repeat_n(flooder, WAITING_OF_ORIGIN_MAX);
        assert_eq!(origins.note(waiting, at(1)), 0);
        assert!(origins.under_load(flooder, at(1)));
        const { assert!(WAITING_OF_ORIGIN_MAX <= HANDSHAKE_QUEUE_MAX / 2) };
    }

    #[test]
    fn p74_few_messages_are_no_flood() {
        let mut origins = Origins::new();
        let few = HANDSHAKE_QUEUE_MAX / 8 - 1;
        let waiting = std::iter::repeat_n(address("192.0.2.1"), few);
        assert_eq!(origins.note(waiting, at(1)), few);
        assert!(!origins.under_load(address("192.0.2.1"), at(1)));
    }
}
