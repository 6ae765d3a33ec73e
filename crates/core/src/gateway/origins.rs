//! Where handshake messages come from. Who floods us from one network must prove his addresses by
//! a cookie, and has only a part of the queue; everybody else is served as if there were no flood
//! (P74).

use core::net::IpAddr;

use weapon_noise::{Entropy, EntropyNotReady, LoadGauge, Tick};

use super::HANDSHAKE_QUEUE_MAX;

/// Networks are told apart by a hash, so that memory is bounded. 256 make it rare that an honest
/// peer shares the fate of a flood; who does has to fetch a cookie, no more.
pub const ORIGINS: usize = 256;

/// Messages of one origin that may wait: a quarter of the queue leaves room for the others.
pub const WAITING_OF_ORIGIN_MAX: usize = HANDSHAKE_QUEUE_MAX / 4;

/// Finds the place of an address's origin: its /24, or its /64, which one host can pick from at
/// will. With a key that nobody else knows, so that nobody finds networks that share the place of
/// an honest peer's.
#[derive(Clone, Copy)]
pub struct OriginHash([u64; 3]);

impl OriginHash {
    /// With a key of random bytes.
    ///
    /// # Errors
    /// There is no randomness yet.
    pub fn new(entropy: &mut dyn Entropy) -> Result<Self, EntropyNotReady> {
        let mut key = [0; size_of::<Self>()];
        entropy.fill(&mut key)?;
        let (words, _) = key.as_chunks();
        let mut words = words.iter().map(|word| u64::from_le_bytes(*word));
        Ok(Self(core::array::from_fn(|_| {
            words.next().unwrap_or_default()
        })))
    }

    /// The place of the origin of `address`, below [`ORIGINS`].
    pub fn origin(&self, address: IpAddr) -> usize {
        let network = network(address);
        // Dietzfelbinger's multiply-shift: the upper bits of a * low + b * high + c modulo 2^64 are
        // the same for two networks with the probability 1 / ORIGINS, whichever they are.
        let [a, b, c] = self.0;
        let sum = a
            .wrapping_mul(network & u64::from(u32::MAX))
            .wrapping_add(b.wrapping_mul(network >> 32))
            .wrapping_add(c);
        (sum >> 56) as usize % ORIGINS
    }
}

impl core::fmt::Debug for OriginHash {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("OriginHash(..)")
    }
}

/// The /24 or /64 of an address.
pub(super) fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits() >> 8),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    }
}

/// Which origins flood us.
#[derive(Debug)]
pub(super) struct Origins {
    gauges: Box<[LoadGauge; ORIGINS]>,
    /// Made with the first message.
    hash: Option<OriginHash>,
}

impl Origins {
    pub(super) fn new() -> Self {
        Self {
            gauges: Box::new([LoadGauge::new(); ORIGINS]),
            hash: None,
        }
    }

    /// Notes all messages that wait. Returns how many are not part of a flood.
    pub(super) fn note(
        &mut self,
        waiting: impl Iterator<Item = IpAddr>,
        now: Tick,
        entropy: &mut dyn Entropy,
    ) -> usize {
        let Some(hash) = self.hash(entropy) else {
            // Then nothing is answered either (P104).
            return waiting.count();
        };
        let mut counts = [0_usize; ORIGINS];
        for address in waiting {
            if let Some(count) = counts.get_mut(hash.origin(address)) {
                *count = count.saturating_add(1);
            }
        }
        let mut others = 0;
        for (gauge, count) in self.gauges.iter_mut().zip(counts) {
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
        let gauge = self
            .hash
            .and_then(|hash| self.gauges.get(hash.origin(address)));
        gauge.is_some_and(|gauge| gauge.under_load(now))
    }

    fn hash(&mut self, entropy: &mut dyn Entropy) -> Option<OriginHash> {
        self.hash = self.hash.or_else(|| OriginHash::new(entropy).ok());
        self.hash
    }
}

#[cfg(test)]
mod tests {
    use weapon_noise::Seeded;

    use super::*;

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(seconds * 1_000_000_000)
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn hash(seed: u64) -> OriginHash {
        OriginHash::new(&mut Seeded::danger_new(seed)).unwrap()
    }

    #[test]
    fn networks_are_origins() {
        for (one, other, same) in [
            ("192.0.2.1", "192.0.2.254", true),
            ("192.0.2.1", "192.0.3.1", false),
            ("::ffff:192.0.2.1", "192.0.2.7", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("2001:db8::1", "2001:db9::1", false),
        ] {
            let equal = |seed| {
                let hash = hash(seed);
                hash.origin(address(one)) == hash.origin(address(other))
            };
            let times = (0..1000).filter(|&seed| equal(seed)).count();
            if same {
                assert_eq!(times, 1000, "{one}, {other}");
            } else {
                // One time in 256, whichever they are: it depends on the key alone.
                assert!(times < 20, "{one}, {other}: {times} times the same");
            }
        }
    }

    #[test]
    fn many_networks_spread_over_all_origins() {
        let hash = hash(1);
        let networks = (0..=u16::MAX).map(|number| {
            let [high, low] = number.to_be_bytes();
            IpAddr::from([10, high, low, 1])
        });
        let mut counts = [0; ORIGINS];
        networks.for_each(|network| counts[hash.origin(network)] += 1);
        let mean = 65_536 / ORIGINS;
        assert!(counts.iter().all(|&count| count > 0 && count < 4 * mean));
    }

    #[test]
    fn p104_without_entropy_all_are_one_load() {
        struct NoEntropy;
        impl Entropy for NoEntropy {
            fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyNotReady> {
                Err(EntropyNotReady)
            }
        }
        let mut origins = Origins::new();
        let waiting = std::iter::repeat_n(address("192.0.2.1"), 500);
        assert_eq!(origins.note(waiting, at(1), &mut NoEntropy), 500);
        assert!(!origins.under_load(address("192.0.2.1"), at(1)));
    }

    #[test]
    fn p74_a_flood_is_its_origins_load_alone() {
        let mut origins = Origins::new();
        let entropy = &mut Seeded::danger_new(2);
        let (flooder, honest) = (address("203.0.113.9"), address("192.0.2.1"));
        let waiting = std::iter::repeat_n(flooder, 500).chain([honest]);
        assert_eq!(origins.note(waiting, at(1), entropy), 1);
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
        let entropy = &mut Seeded::danger_new(4);
        assert_eq!(origins.note(waiting, at(1), entropy), 0);
        assert!(origins.under_load(flooder, at(1)));
        const { assert!(WAITING_OF_ORIGIN_MAX <= HANDSHAKE_QUEUE_MAX / 2) };
    }

    #[test]
    fn p74_few_messages_are_no_flood() {
        let mut origins = Origins::new();
        let few = HANDSHAKE_QUEUE_MAX / 8 - 1;
        let waiting = std::iter::repeat_n(address("192.0.2.1"), few);
        let entropy = &mut Seeded::danger_new(3);
        assert_eq!(origins.note(waiting, at(1), entropy), few);
        assert!(!origins.under_load(address("192.0.2.1"), at(1)));
    }
}
