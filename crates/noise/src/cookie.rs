//! mac1 and mac2, the cookies between them, and when they are asked for (paper §5.3, §5.4.4,
//! §5.4.7).

use core::net::{IpAddr, SocketAddr};

use weapon_wire::message::CookieReply;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Entropy, EntropyNotReady, Identity, RateLimiter, Remote, Tick,
    crypto::{self, SecretKey32},
    handshake::Hashes,
    protocol::{COOKIE_SECRET_TIME, COOKIE_USE_TIME, UNDER_LOAD_FRACTION, UNDER_LOAD_TIME},
    reply_limit::ReplyLimit,
};

/// Bytes of a mac, and of a cookie.
const MAC_LEN: usize = 16;

/// Proof that its bearer receives at one address and port.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Cookie(Box<[u8; MAC_LEN]>);

/// A sender's side, one per peer: signs our handshake messages and keeps the peer's cookie.
#[derive(Default)]
pub struct CookieJar {
    /// mac1 of our last message, unless a cookie for it was taken.
    mac1_sent: Option<[u8; MAC_LEN]>,
    cookie: Option<(Cookie, Tick)>,
}

impl CookieJar {
    /// An empty jar.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes mac1 and mac2 into the last 32 bytes of an initiation or response.
    ///
    /// mac2 is zero unless the peer gave us a cookie less than 115 s ago.
    /// What is shorter than these is no handshake message, and is left as it is.
    pub fn sign(&mut self, remote: &Remote, message: &mut [u8], now: Tick) {
        let Some((signed, macs)) = message.split_last_chunk_mut::<{ 2 * MAC_LEN }>() else {
            return;
        };
        let (mac1, mac2) = macs.split_at_mut(MAC_LEN);
        let made = crypto::mac(&remote.hashes().mac1, &[signed]);
        mac1.copy_from_slice(&made);
        self.mac1_sent = Some(made);

        if self
            .cookie
            .as_ref()
            .is_some_and(|(_, born)| now.since(*born) >= COOKIE_USE_TIME)
        {
            self.cookie = None;
        }
        match &self.cookie {
            Some((cookie, _)) => {
                mac2.copy_from_slice(&crypto::mac(cookie.0.as_slice(), &[signed, mac1]));
            }
            None => mac2.fill(0),
        }
    }

    /// Keeps the cookie of a reply to our last message; the next one will carry it. Whether it was
    /// kept. Nothing else follows from a reply: no resend, no change of endpoint.
    pub fn accept(&mut self, remote: &Remote, reply: &CookieReply, now: Tick) -> bool {
        let Some(mac1) = &self.mac1_sent else {
            return false;
        };
        let mut sealed = Zeroizing::new(reply.encrypted_cookie);
        let key = &remote.hashes().cookie;
        if crypto::open_cookie(key, &reply.nonce, mac1, &mut sealed).is_err() {
            return false;
        }
        let mut cookie = Cookie(Box::new([0; MAC_LEN]));
        let (opened, _) = sealed.split_at(MAC_LEN);
        cookie.0.copy_from_slice(opened);
        self.cookie = Some((cookie, now));
        self.mac1_sent = None;
        true
    }
}

impl core::fmt::Debug for CookieJar {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CookieJar")
            .field("has_cookie", &self.cookie.is_some())
            .finish_non_exhaustive()
    }
}

/// What becomes of an initiation or response before anything is computed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The sender does not know our public key, or the message is damaged. No answer.
    InvalidMac1,
    /// Go on with it.
    Proceed,
    /// Drop it, and send this to where it came from.
    CookieReply(CookieReply),
    /// A proven address asks too often, or one that is not proven was sent enough cookies. No
    /// answer.
    RateLimited,
    /// A cookie would be due, and there is no randomness to make it of. No answer.
    EntropyNotReady,
}

/// A receiver's side, one per gateway: tells who proved their address while we are under load.
pub struct CookieChecker {
    hashes: Hashes,
    secret: Option<(SecretKey32, Tick)>,
    limiter: RateLimiter,
    replies: ReplyLimit,
}

impl CookieChecker {
    /// The checker of messages to `identity`.
    pub fn new(identity: &Identity) -> Self {
        Self {
            hashes: identity.hashes().clone(),
            secret: None,
            limiter: RateLimiter::new(),
            replies: ReplyLimit::new(),
        }
    }

    /// Judges an initiation or response of `from` by its macs, with hashes alone.
    ///
    /// Not under load, mac2 is not looked at. Under load it must be made with the cookie of the
    /// address and port it came from, and no address may come more often than [`RateLimiter`] says.
    /// Who has no cookie is sent one, but none of these more than a few a second: a flood has no
    /// use for them.
    pub fn check(
        &mut self,
        message: &[u8],
        from: SocketAddr,
        now: Tick,
        under_load: bool,
        entropy: &mut dyn Entropy,
    ) -> Verdict {
        let Some((signed, macs)) = message.split_last_chunk::<{ 2 * MAC_LEN }>() else {
            return Verdict::InvalidMac1;
        };
        let (mac1, mac2) = macs.split_at(MAC_LEN);
        if !crypto::same(mac1, &crypto::mac(&self.hashes.mac1, &[signed])) {
            return Verdict::InvalidMac1;
        }
        if !under_load {
            return Verdict::Proceed;
        }
        let Ok(cookie) = self.cookie(from, now, entropy) else {
            return Verdict::EntropyNotReady;
        };
        if crypto::same(mac2, &crypto::mac(cookie.as_slice(), &[signed, mac1])) {
            return if self.limiter.allow(from.ip(), now) {
                Verdict::Proceed
            } else {
                Verdict::RateLimited
            };
        }
        if !self.replies.allow(&cookie, now) {
            return Verdict::RateLimited;
        }
        self.reply(signed, mac1, &cookie, entropy)
            .map_or(Verdict::EntropyNotReady, Verdict::CookieReply)
    }

    /// MAC(R, A): the cookie of an address and port. The secret R is a new one every two minutes,
    /// and cookies of the one before are worth nothing.
    fn cookie(
        &mut self,
        from: SocketAddr,
        now: Tick,
        entropy: &mut dyn Entropy,
    ) -> Result<Zeroizing<[u8; MAC_LEN]>, EntropyNotReady> {
        let aged = |born| now.since(born) >= COOKIE_SECRET_TIME;
        if self.secret.as_ref().is_none_or(|(_, born)| aged(*born)) {
            let mut secret = SecretKey32::zero();
            entropy.fill(secret.expose_mut())?;
            self.secret = Some((secret, now));
        }
        let secret = match &self.secret {
            Some((secret, _)) => secret.expose(),
            None => return Err(EntropyNotReady),
        };
        let port = from.port().to_be_bytes();
        // One peer on a dual-stack socket must be one, however its address is written.
        Ok(Zeroizing::new(match from.ip().to_canonical() {
            IpAddr::V4(address) => crypto::mac(secret, &[&address.octets(), &port]),
            IpAddr::V6(address) => crypto::mac(secret, &[&address.octets(), &port]),
        }))
    }

    /// The message that carries `cookie` to the sender of the message with `mac1`.
    fn reply(
        &self,
        signed: &[u8],
        mac1: &[u8],
        cookie: &[u8; MAC_LEN],
        entropy: &mut dyn Entropy,
    ) -> Result<CookieReply, EntropyNotReady> {
        let mut reply = CookieReply::zeroed();
        // Initiation and response have their sender's index in the same place.
        let sender = signed.get(4..8).and_then(|bytes| bytes.try_into().ok());
        reply
            .receiver
            .set(u32::from_le_bytes(sender.unwrap_or_default()));
        entropy.fill(&mut reply.nonce)?;
        reply.encrypted_cookie =
            crypto::seal_cookie(&self.hashes.cookie, &reply.nonce, mac1, cookie);
        Ok(reply)
    }
}

impl core::fmt::Debug for CookieChecker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("CookieChecker(..)")
    }
}

/// Whether the gateway has more handshakes waiting than it should; told by the queue's length.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadGauge {
    loaded: Option<Tick>,
}

impl LoadGauge {
    /// A gauge that has seen no load.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes that `len` of `capacity` places are taken. To be told whenever a message is taken
    /// from the queue; the load then ends a second after the queue was last an eighth full.
    pub fn note_queue(&mut self, len: usize, capacity: usize, now: Tick) {
        if len > 0 && len.saturating_mul(UNDER_LOAD_FRACTION) >= capacity {
            self.loaded = Some(now);
        }
    }

    /// Whether cookies are asked for.
    pub fn under_load(&self, now: Tick) -> bool {
        self.loaded
            .is_some_and(|loaded| now.since(loaded) < UNDER_LOAD_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        PrivateKey, Seeded, Tai64n,
        crypto::{count::x25519_operations, tests::unhex},
        initiate, open_initiation,
    };
    use core::time::Duration;
    use weapon_wire::message::{Initiation, Response};

    /// A gateway under test, and a peer of it that signs messages.
    struct Fixture {
        checker: CookieChecker,
        gateway: Identity,
        peer: Identity,
        remote: Remote,
        jar: CookieJar,
        entropy: Seeded,
    }

    struct NoEntropy;

    impl Entropy for NoEntropy {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), EntropyNotReady> {
            Err(EntropyNotReady)
        }
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_nanos(0) + Duration::from_secs(seconds)
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    const PEER: &str = "192.0.2.1:51820";

    impl Fixture {
        fn new() -> Self {
            let gateway = Identity::new(PrivateKey::from_bytes(&[1; 32]));
            let peer = Identity::new(PrivateKey::from_bytes(&[2; 32]));
            let remote = Remote::new(&peer, *gateway.public(), None);
            Self {
                checker: CookieChecker::new(&gateway),
                gateway,
                peer,
                remote,
                jar: CookieJar::new(),
                entropy: Seeded::danger_new(1),
            }
        }

        fn initiation(&mut self, now: Tick) -> Initiation {
            let stamp = Tai64n::from_unix(now.as_nanos(), 0);
            let (_, mut message) = initiate(
                &self.peer,
                &self.remote,
                0x0403_0201,
                stamp,
                &mut self.entropy,
            )
            .unwrap();
            self.jar.sign(&self.remote, message.as_mut_bytes(), now);
            message
        }

        fn check(&mut self, message: &[u8], from: &str, now: Tick, under_load: bool) -> Verdict {
            self.checker
                .check(message, address(from), now, under_load, &mut self.entropy)
        }

        fn cookie_reply(&mut self, message: &[u8], from: &str, now: Tick) -> CookieReply {
            match self.check(message, from, now, true) {
                Verdict::CookieReply(reply) => reply,
                verdict => panic!("{verdict:?} where a cookie was due"),
            }
        }

        /// Fetches a cookie for `from` at `now`, having none.
        fn fetch(&mut self, from: &str, now: Tick) {
            self.jar = CookieJar::new();
            let message = self.initiation(now);
            let reply = self.cookie_reply(message.as_bytes(), from, now);
            assert!(self.jar.accept(&self.remote, &reply, now));
        }

        /// The verdict under load on a new message of `from`.
        fn knock(&mut self, from: &str, now: Tick) -> Verdict {
            let message = self.initiation(now);
            self.check(message.as_bytes(), from, now, true)
        }
    }

    #[test]
    fn p04_wrong_mac1_costs_no_diffie_hellman() {
        let mut fixture = Fixture::new();
        let message = fixture.initiation(at(1));
        let before = x25519_operations();
        for under_load in [false, true] {
            for place in 0..132 {
                for bit in 0..8 {
                    let mut damaged = message;
                    damaged.as_mut_bytes()[place] ^= 1 << bit;
                    let verdict = fixture.check(damaged.as_bytes(), PEER, at(1), under_load);
                    assert_eq!(verdict, Verdict::InvalidMac1, "bit {bit} of byte {place}");
                }
            }
        }
        assert_eq!(x25519_operations(), before);
        // The counter does count.
        open_initiation(&fixture.gateway, &message).unwrap();
        assert_eq!(x25519_operations(), before + 1);
    }

    #[test]
    fn p04_a_message_to_another_gateway_has_a_wrong_mac1() {
        let mut fixture = Fixture::new();
        let other = Identity::new(PrivateKey::from_bytes(&[3; 32]));
        fixture.remote = Remote::new(&fixture.peer, *other.public(), None);
        let message = fixture.initiation(at(1));
        assert_eq!(
            fixture.check(message.as_bytes(), PEER, at(1), false),
            Verdict::InvalidMac1
        );
    }

    /// Computed with Python's hashlib and a plain X25519 from the paper's formulas.
    #[test]
    fn p12_labels_and_macs_are_the_papers() {
        let gateway = Identity::new(PrivateKey::from_bytes(&[1; 32]));
        let peer = Identity::new(PrivateKey::from_bytes(&[2; 32]));
        let remote = Remote::new(&peer, *gateway.public(), None);
        let known = "092e86eb3b31b1e8724b94390ca2108920e58a7af72d595180623502cb49c9c3";
        assert_eq!(remote.hashes().cookie.as_slice(), unhex(known));

        let mut jar = CookieJar::new();
        let cookie = Cookie(Box::new(core::array::from_fn(|i| i as u8)));
        jar.cookie = Some((cookie, at(1)));
        let mut message = Initiation::zeroed();
        jar.sign(&remote, message.as_mut_bytes(), at(1));
        assert_eq!(
            message.mac1.as_slice(),
            unhex("23f108ee2c68b126620e217010be5dfb")
        );
        assert_eq!(
            message.mac2.as_slice(),
            unhex("ed447ee7f5776b8f925e0132bf212c18")
        );
    }

    #[test]
    fn p01_a_message_too_short_for_macs_is_dropped() {
        let mut fixture = Fixture::new();
        for len in 0..40 {
            let message = vec![0; len];
            assert_eq!(
                fixture.check(&message, PEER, at(1), true),
                Verdict::InvalidMac1
            );
        }
    }

    #[test]
    fn p65_mac2_is_ignored_without_load() {
        let mut fixture = Fixture::new();
        let mut message = fixture.initiation(at(1));
        message.mac2 = [0xff; 16];
        assert_eq!(
            fixture.check(message.as_bytes(), PEER, at(1), false),
            Verdict::Proceed
        );
        message.mac2 = [0; 16];
        assert_eq!(
            fixture.check(message.as_bytes(), PEER, at(1), false),
            Verdict::Proceed
        );
    }

    #[test]
    fn p66_under_load_mac2_is_asked_for() {
        let mut fixture = Fixture::new();
        let mut message = fixture.initiation(at(1));
        assert_eq!(message.mac2, [0; 16]);
        let before = x25519_operations();
        let reply = fixture.cookie_reply(message.as_bytes(), PEER, at(1));
        assert_eq!(reply.as_bytes().len(), 64);
        assert_eq!(reply.receiver.get(), 0x0403_0201);
        message.mac2 = [7; 16];
        fixture.cookie_reply(message.as_bytes(), PEER, at(1));
        assert_eq!(x25519_operations(), before);
    }

    #[test]
    fn p66_responses_are_asked_for_mac2_as_well() {
        let mut fixture = Fixture::new();
        let mut response = Response::zeroed();
        response.sender.set(0x0a0b_0c0d);
        fixture
            .jar
            .sign(&fixture.remote, response.as_mut_bytes(), at(1));
        let reply = fixture.cookie_reply(response.as_bytes(), PEER, at(1));
        assert_eq!(reply.receiver.get(), 0x0a0b_0c0d);
        assert!(fixture.jar.accept(&fixture.remote, &reply, at(1)));
        fixture
            .jar
            .sign(&fixture.remote, response.as_mut_bytes(), at(2));
        assert_eq!(
            fixture.check(response.as_bytes(), PEER, at(2), true),
            Verdict::Proceed
        );
    }

    #[test]
    fn p67_a_cookie_is_bound_to_address_and_port() {
        let mut fixture = Fixture::new();
        fixture.fetch(PEER, at(1));
        assert_eq!(fixture.knock(PEER, at(2)), Verdict::Proceed);
        for other in ["192.0.2.1:51821", "192.0.2.2:51820", "[2001:db8::1]:51820"] {
            let verdict = fixture.knock(other, at(2));
            assert!(
                matches!(verdict, Verdict::CookieReply(_)),
                "{other}: {verdict:?}"
            );
        }
    }

    #[test]
    fn p67_a_cookie_of_the_secret_before_is_refused() {
        let mut fixture = Fixture::new();
        // The secret is made with the first cookie, at second 1.
        fixture.fetch(PEER, at(1));
        fixture.fetch(PEER, at(100));
        assert_eq!(fixture.knock(PEER, at(120)), Verdict::Proceed);
        let verdict = fixture.knock(PEER, at(121));
        assert!(matches!(verdict, Verdict::CookieReply(_)), "{verdict:?}");
    }

    #[test]
    fn p82_a_mapped_address_has_the_cookie_of_its_v4_address() {
        let mut fixture = Fixture::new();
        fixture.fetch(PEER, at(1));
        assert_eq!(
            fixture.knock("[::ffff:192.0.2.1]:51820", at(1)),
            Verdict::Proceed
        );
    }

    #[test]
    fn p68_the_reply_is_sealed_for_the_mac1_it_answers() {
        let mut fixture = Fixture::new();
        let message = fixture.initiation(at(1));
        let one = fixture.cookie_reply(message.as_bytes(), PEER, at(1));
        let two = fixture.cookie_reply(message.as_bytes(), PEER, at(1));
        assert_ne!(one.nonce, two.nonce);

        let key = crypto::hash(&[b"cookie--", fixture.gateway.public().as_bytes()]);
        let mut cookies = [one.encrypted_cookie, two.encrypted_cookie];
        crypto::open_cookie(&key, &one.nonce, &message.mac1, &mut cookies[0]).unwrap();
        crypto::open_cookie(&key, &two.nonce, &message.mac1, &mut cookies[1]).unwrap();
        assert_eq!(cookies[0][..16], cookies[1][..16]);

        let mut sealed = one.encrypted_cookie;
        assert!(crypto::open_cookie(&key, &one.nonce, &message.mac2, &mut sealed).is_err());
    }

    #[test]
    fn p69_a_reply_counts_once_and_only_for_our_last_message() {
        let mut fixture = Fixture::new();
        let first = fixture.initiation(at(1));
        let to_first = fixture.cookie_reply(first.as_bytes(), PEER, at(1));
        let second = fixture.initiation(at(6));
        let to_second = fixture.cookie_reply(second.as_bytes(), PEER, at(6));

        let Fixture { jar, remote, .. } = &mut fixture;
        assert!(!jar.accept(remote, &to_first, at(6)));
        for place in 8..64 {
            let mut damaged = to_second;
            damaged.as_mut_bytes()[place] ^= 1;
            assert!(!jar.accept(remote, &damaged, at(6)), "byte {place}");
        }
        assert!(jar.accept(remote, &to_second, at(6)));
        assert!(!jar.accept(remote, &to_second, at(6)));
        // Who sent nothing awaits no cookie.
        assert!(!CookieJar::new().accept(remote, &to_second, at(6)));
    }

    #[test]
    fn p69_a_refused_reply_leaves_the_cookie() {
        let mut fixture = Fixture::new();
        fixture.fetch(PEER, at(1));
        let forged = CookieReply::zeroed();
        assert!(!fixture.jar.accept(&fixture.remote, &forged, at(2)));
        assert_eq!(fixture.knock(PEER, at(3)), Verdict::Proceed);
        assert!(!fixture.jar.accept(&fixture.remote, &forged, at(3)));
        assert_eq!(fixture.knock(PEER, at(4)), Verdict::Proceed);
    }

    #[test]
    fn p70_a_cookie_is_used_for_115_seconds() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.initiation(at(1)).mac2, [0; 16]);
        fixture.fetch(PEER, at(10));
        assert_ne!(fixture.initiation(at(10)).mac2, [0; 16]);
        assert_ne!(fixture.initiation(at(124)).mac2, [0; 16]);
        assert_eq!(fixture.initiation(at(125)).mac2, [0; 16]);
        assert_eq!(fixture.initiation(at(126)).mac2, [0; 16]);
    }

    #[test]
    fn p71_valid_mac2_is_rate_limited_by_address() {
        let mut fixture = Fixture::new();
        fixture.fetch(PEER, at(1));
        let verdicts: Vec<_> = (0..7).map(|_| fixture.knock(PEER, at(2))).collect();
        assert_eq!(verdicts[..5], [Verdict::Proceed; 5]);
        assert_eq!(verdicts[5..], [Verdict::RateLimited; 2]);
        assert_eq!(fixture.knock(PEER, at(3)), Verdict::Proceed);
    }

    #[test]
    fn p71_messages_without_cookie_do_not_use_up_the_rate() {
        let mut fixture = Fixture::new();
        fixture.fetch(PEER, at(1));
        let mut forged = fixture.initiation(at(2));
        forged.mac2 = [1; 16];
        for _ in 0..100 {
            let verdict = fixture.check(forged.as_bytes(), PEER, at(2), true);
            assert_ne!(verdict, Verdict::Proceed);
        }
        assert_eq!(fixture.knock(PEER, at(2)), Verdict::Proceed);
    }

    #[test]
    fn p74_a_flood_is_answered_seldom_and_its_neighbours_as_ever() {
        let mut fixture = Fixture::new();
        let message = fixture.initiation(at(1));
        let verdicts: Vec<_> = (0..1000)
            .map(|_| fixture.check(message.as_bytes(), "192.0.2.66:9", at(1), true))
            .collect();
        let is_reply = |verdict: &&Verdict| matches!(verdict, Verdict::CookieReply(_));
        assert_eq!(verdicts.iter().filter(is_reply).count(), 5);
        let silent = verdicts.iter().filter(|it| **it == Verdict::RateLimited);
        assert_eq!(silent.count(), 995);
        // Another port is another sender: it may be another host behind the same address.
        for other in ["192.0.2.66:10", "192.0.2.1:9"] {
            fixture.cookie_reply(message.as_bytes(), other, at(1));
        }
        // A second later there are cookies again.
        fixture.fetch("192.0.2.66:9", at(2));
        assert_eq!(fixture.knock("192.0.2.66:9", at(2)), Verdict::Proceed);
    }

    #[test]
    fn p73_load_lasts_a_second_after_the_queue_fell() {
        let mut gauge = LoadGauge::new();
        gauge.note_queue(127, 1024, at(1));
        assert!(!gauge.under_load(at(1)));
        gauge.note_queue(128, 1024, at(2));
        assert!(gauge.under_load(at(2)));
        gauge.note_queue(127, 1024, at(2));
        assert!(gauge.under_load(Tick::from_nanos(2_999_999_999)));
        assert!(!gauge.under_load(at(3)));

        // An empty queue is no load, however small the queue is.
        gauge.note_queue(0, 4, at(5));
        gauge.note_queue(0, 0, at(5));
        assert!(!gauge.under_load(at(5)));
        gauge.note_queue(1, 4, at(6));
        assert!(gauge.under_load(at(6)));
    }

    #[test]
    fn p75_load_does_not_stick() {
        let mut fixture = Fixture::new();
        let mut gauge = LoadGauge::new();
        for second in 0..1000 {
            gauge.note_queue(1024, 1024, at(second));
            fixture.knock(PEER, at(second));
        }
        let later = at(1001);
        assert!(!gauge.under_load(later));
        let message = fixture.initiation(later);
        let under_load = gauge.under_load(later);
        assert_eq!(
            fixture.check(message.as_bytes(), PEER, later, under_load),
            Verdict::Proceed
        );
    }

    #[test]
    fn p76_the_cookie_path_works_for_both_families_and_roles() {
        for from in [PEER, "[2001:db8::7]:51820", "[fe80::1%3]:51820"] {
            for is_response in [false, true] {
                let mut fixture = Fixture::new();
                let mut initiation = fixture.initiation(at(1));
                let mut response = Response::zeroed();
                let message = if is_response {
                    response.as_mut_bytes()
                } else {
                    initiation.as_mut_bytes()
                };
                fixture.jar.sign(&fixture.remote, message, at(1));
                let reply = fixture.cookie_reply(message, from, at(1));
                assert!(fixture.jar.accept(&fixture.remote, &reply, at(1)));
                fixture.jar.sign(&fixture.remote, message, at(2));
                assert_eq!(
                    fixture.check(message, from, at(2), true),
                    Verdict::Proceed,
                    "{from}"
                );
            }
        }
    }

    #[test]
    fn p104_without_entropy_no_cookie_is_made() {
        let mut fixture = Fixture::new();
        let message = fixture.initiation(at(1));
        let from = address(PEER);
        let verdict = fixture
            .checker
            .check(message.as_bytes(), from, at(1), true, &mut NoEntropy);
        assert_eq!(verdict, Verdict::EntropyNotReady);
        // With a secret, but without a nonce, neither.
        fixture.cookie_reply(message.as_bytes(), PEER, at(1));
        let verdict = fixture
            .checker
            .check(message.as_bytes(), from, at(1), true, &mut NoEntropy);
        assert_eq!(verdict, Verdict::EntropyNotReady);
        // A wrong mac1 is told without randomness.
        let verdict = fixture
            .checker
            .check(&[0; 148], from, at(1), true, &mut NoEntropy);
        assert_eq!(verdict, Verdict::InvalidMac1);
    }
}
