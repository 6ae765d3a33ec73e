//! mac1 and mac2, the cookies between them, and when they are asked for (paper §5.3, §5.4.4, §5.4.7).

use core::net::{IpAddr, SocketAddr};

use weapon_wire::message::CookieReply;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::{
    Entropy, EntropyNotReady, Identity, RateLimiter, Remote, Tick,
    crypto::{self, SecretKey32},
    handshake::Hashes,
    protocol::{COOKIE_SECRET_TIME, COOKIE_USE_TIME, UNDER_LOAD_FRACTION, UNDER_LOAD_TIME},
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
    ///
    /// # Panics
    /// If `message` is shorter than 32 bytes; handshake messages are not.
    pub fn sign(&mut self, remote: &Remote, message: &mut [u8], now: Tick) {
        let (signed, macs) = message.split_at_mut(message.len() - 2 * MAC_LEN);
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
        cookie.0.copy_from_slice(&sealed[..MAC_LEN]);
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
    /// A proven address asks too often. No answer.
    RateLimited,
    /// A cookie would be due, and there is no randomness to make it of. No answer.
    EntropyNotReady,
}

/// A receiver's side, one per gateway: tells who proved their address while we are under load.
pub struct CookieChecker {
    hashes: Hashes,
    secret: Option<(SecretKey32, Tick)>,
    limiter: RateLimiter,
}

impl CookieChecker {
    /// The checker of messages to `identity`.
    pub fn new(identity: &Identity) -> Self {
        Self {
            hashes: identity.hashes().clone(),
            secret: None,
            limiter: RateLimiter::new(),
        }
    }

    /// Judges an initiation or response of `from` by its macs, with hashes alone.
    ///
    /// Not under load, mac2 is not looked at. Under load it must be made with the cookie of the
    /// address and port it came from, and no address may come more often than [`RateLimiter`] says.
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
