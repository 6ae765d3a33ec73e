//! Cookies and the rate limiter: mac1, mac2, replies, and who is let in under load, each against
//! the plainest account of the rule.

use core::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use std::collections::BTreeMap;

use blake2::{
    Blake2s256, Blake2sMac, Digest,
    digest::{FixedOutput, KeyInit, Update, consts::U16},
};
use weapon_noise::{
    CookieChecker, CookieJar, Identity, LoadGauge, PrivateKey, RATE_LIMIT_ENTRIES_MAX, RateLimiter,
    Remote, Seeded, Tick, Verdict,
};
use weapon_wire::message::{CookieReply, Initiation, Response};

use crate::input::Input;

/// Steps of one input; more only make it slow.
const STEPS_MAX: usize = 200;

/// What the bytes say happens to cookies, and to a rate limiter.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    if input.u8() & 1 == 0 {
        check_cookies(&mut input);
    } else {
        check_limiter(&mut input);
    }
}

struct Gate {
    now: Tick,
    checker: CookieChecker,
    gauge: LoadGauge,
    remote: Remote,
    jar: CookieJar,
    entropy: Seeded,
    public: [u8; 32],
    /// For whom the jar has a cookie, since when, and how old the secret was then at least.
    has: Option<(SocketAddr, Tick)>,
    /// When the checker made its secret.
    secret: Option<Tick>,
    limiter: Buckets,
    /// To whom replies went, and when.
    replies: Vec<(SocketAddr, Tick)>,
}

fn check_cookies(input: &mut Input<'_>) {
    let us = Identity::new(PrivateKey::from_bytes(&[1; 32]));
    let them = Identity::new(PrivateKey::from_bytes(&[2; 32]));
    let mut gate = Gate {
        now: Tick::default() + Duration::from_secs(1000),
        checker: CookieChecker::new(&us),
        gauge: LoadGauge::new(),
        remote: Remote::new(&them, *us.public(), None),
        jar: CookieJar::new(),
        entropy: Seeded::danger_new(7),
        public: *us.public().as_bytes(),
        has: None,
        secret: None,
        limiter: Buckets::default(),
        replies: Vec::new(),
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        gate.step(input);
    }
}

/// A few addresses, some of which count as one.
fn address(number: u8) -> SocketAddr {
    let port = 1000 + u16::from(number >> 3 & 1);
    let ip: IpAddr = match number & 7 {
        low @ 0..4 => Ipv4Addr::new(192, 0, 2, low).into(),
        4 => Ipv4Addr::new(192, 0, 2, 1).to_ipv6_mapped().into(),
        low => Ipv6Addr::new(0x2001, 0xdb8, 0, (low & 1).into(), 0, 0, 0, low.into()).into(),
    };
    SocketAddr::new(ip, port)
}

fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    one.ip().to_canonical() == other.ip().to_canonical() && one.port() == other.port()
}

impl Gate {
    fn step(&mut self, input: &mut Input<'_>) {
        let step = input.u8();
        match step & 3 {
            0 => {
                let millis = if step & 4 == 0 { 10 } else { 500 };
                self.now = self.now + Duration::from_millis(u64::from(input.u8()) * millis);
            }
            1 => self.gauge.note_queue(input.u16().into(), 4096, self.now),
            _ => self.knock(step, input),
        }
    }

    /// A message comes, signed and perhaps changed; a reply goes back, perhaps changed.
    fn knock(&mut self, step: u8, input: &mut Input<'_>) {
        let len = match step >> 2 & 3 {
            0 | 1 => Initiation::LEN,
            2 => Response::LEN,
            _ => 32 + usize::from(input.u8()),
        };
        let mut message = vec![step; len];
        message[0] = input.u8();
        self.jar.sign(&self.remote, &mut message, self.now);
        let (at, bits) = if step & 64 == 0 {
            (0, 0)
        } else {
            (usize::from(input.u8()) % len, input.u8())
        };
        message[at] ^= bits;
        if step & 128 != 0 {
            message.truncate(at);
        }
        let from = address(input.u8());
        let under_load = self.gauge.under_load(self.now);
        let verdict = self
            .checker
            .check(&message, from, self.now, under_load, &mut self.entropy);
        let is_fresh = bits == 0 && step & 128 == 0;
        self.check_verdict(&verdict, &message, from, is_fresh);
        if let Verdict::CookieReply(reply) = verdict {
            self.take(reply, from, is_fresh, input);
        }
    }

    fn check_verdict(
        &mut self,
        verdict: &Verdict,
        message: &[u8],
        from: SocketAddr,
        is_fresh: bool,
    ) {
        let is_known = self.is_mac1_right(message);
        assert_eq!(*verdict != Verdict::InvalidMac1, is_known);
        if !self.gauge.under_load(self.now) || !is_known {
            assert!(!is_known || *verdict == Verdict::Proceed);
            return;
        }
        let is_aged = |born: Tick, secs: u64| self.now.since(born) >= Duration::from_secs(secs);
        if self.secret.is_none_or(|born| is_aged(born, 120)) {
            self.secret = Some(self.now);
            // Cookies of the secret before are worth nothing, but the jar does not know that.
            self.has = None;
        }
        let has = self.has.filter(|&(_, since)| !is_aged(since, 115));
        let is_proven = is_fresh && has.is_some_and(|(of, _)| is_same(of, from));
        if is_proven {
            let is_allowed = self.limiter.allow(from.ip(), self.now);
            let expected = if is_allowed {
                Verdict::Proceed
            } else {
                Verdict::RateLimited
            };
            assert_eq!(*verdict, expected);
        } else {
            self.check_reply(verdict, from);
        }
    }

    /// 20 replies a second, 5 at once: who gets none would get one too many. Others may have had
    /// them in his place, but nobody gets more of one secret.
    fn check_reply(&mut self, verdict: &Verdict, from: SocketAddr) {
        let is_too_many = |replies: &[Tick]| {
            replies.iter().enumerate().any(|(number, &first)| {
                let count = (replies.len() - number + 1) as u32;
                Buckets::COST * count > self.now.since(first) + Buckets::FULL
            })
        };
        match verdict {
            Verdict::CookieReply(_) => {
                let own = self.replies.iter().filter(|(to, at)| {
                    is_same(*to, from) && self.secret.is_some_and(|born| *at >= born)
                });
                let own: Vec<_> = own.map(|&(_, at)| at).collect();
                assert!(!is_too_many(&own), "too many replies");
                self.replies.push((from, self.now));
            }
            Verdict::RateLimited => {
                let all: Vec<_> = self.replies.iter().map(|&(_, at)| at).collect();
                assert!(is_too_many(&all), "too few replies");
            }
            Verdict::InvalidMac1 | Verdict::Proceed | Verdict::EntropyNotReady => {
                panic!("{verdict:?}")
            }
        }
    }

    /// The sender gets the reply.
    fn take(&mut self, reply: CookieReply, to: SocketAddr, is_fresh: bool, input: &mut Input<'_>) {
        let how = input.u8();
        if how & 3 == 0 {
            return;
        }
        let mut changed = reply;
        if how & 3 == 1 {
            let bits = input.u8();
            let mut sealed = changed
                .encrypted_cookie
                .iter_mut()
                .chain(&mut changed.nonce);
            if let Some(byte) = sealed.nth(usize::from(how >> 2) % 56) {
                *byte ^= bits;
            }
        }
        let is_taken = self.jar.accept(&self.remote, &changed, self.now);
        // A message whose mac1 was changed got no reply; one with another mac2 got a good one.
        let is_good = changed == reply;
        if is_taken {
            assert!(is_good);
            self.has = Some((to, self.now));
            assert!(
                !self.jar.accept(&self.remote, &reply, self.now),
                "taken twice"
            );
        } else {
            assert!(!is_fresh || !is_good, "a good reply was refused");
        }
    }

    /// Paper section 5.4.4: MAC(HASH(LABEL-MAC1 || S), message up to it).
    fn is_mac1_right(&self, message: &[u8]) -> bool {
        let Some(signed_len) = message.len().checked_sub(32) else {
            return false;
        };
        let (signed, macs) = message.split_at(signed_len);
        let key = Blake2s256::new()
            .chain_update(b"mac1----")
            .chain_update(self.public)
            .finalize();
        let mut mac = Blake2sMac::<U16>::new_from_slice(&key).unwrap();
        Update::update(&mut mac, signed);
        mac.finalize_fixed()[..] == macs[..16]
    }
}

/// Paper section 5.3, by the book: 20 messages a second, 5 at once, each address apart, of IPv6
/// each /64. Who was not seen for a second has all of his again.
#[derive(Default)]
struct Buckets(BTreeMap<u128, (Duration, Tick)>);

impl Buckets {
    const COST: Duration = Duration::from_millis(50);
    const FULL: Duration = Duration::from_millis(250);

    fn allow(&mut self, from: IpAddr, now: Tick) -> bool {
        let origin = match from.to_canonical() {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => 1 << 100 | v6.to_bits() >> 64,
        };
        self.expire(now);
        if !self.0.contains_key(&origin) && self.0.len() >= RATE_LIMIT_ENTRIES_MAX {
            return false;
        }
        let (tokens, used) = self.0.entry(origin).or_insert((Self::FULL, now));
        *tokens = Self::FULL.min(*tokens + now.since(*used));
        *used = now;
        let is_allowed = *tokens >= Self::COST;
        if is_allowed {
            *tokens -= Self::COST;
        }
        is_allowed
    }

    fn expire(&mut self, now: Tick) {
        self.0
            .retain(|_, (_, used)| now.since(*used) < Duration::from_secs(1));
    }
}

fn check_limiter(input: &mut Input<'_>) {
    let (mut limiter, mut model) = (RateLimiter::new(), Buckets::default());
    let mut now = Tick::from_nanos(input.u64() >> 1);
    let mut has_crowd = false;
    for _ in 0..STEPS_MAX {
        if input.is_empty() {
            return;
        }
        let step = input.u8();
        match step & 7 {
            0 => now = now + Duration::from_millis(input.u8().into()),
            1 => now = now + Duration::from_nanos(input.u32().into()),
            2 if !has_crowd && step >> 5 == 0 => {
                has_crowd = true;
                model.expire(now);
                // A crowd that fills the table, counted without a search for who is old.
                for number in 0..u32::from(input.u16()) {
                    let one = 0x0a00_0000 + number;
                    let has_room = model.0.len() < RATE_LIMIT_ENTRIES_MAX;
                    let is_allowed = limiter.allow(Ipv4Addr::from_bits(one).into(), now);
                    assert_eq!(is_allowed, has_room);
                    if has_room {
                        let left = Buckets::FULL - Buckets::COST;
                        model.0.insert(one.into(), (left, now));
                    }
                }
            }
            _ => {
                let from = address(step >> 3).ip();
                assert_eq!(limiter.allow(from, now), model.allow(from, now));
            }
        }
        assert!(limiter.len() <= RATE_LIMIT_ENTRIES_MAX);
    }
}
