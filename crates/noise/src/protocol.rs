//! The constants of the WireGuard protocol, spelled as in the paper (section 6.1 and 5.4).

use core::time::Duration;

/// Noise protocol name, hashed into the first chaining key (paper §5.4).
pub const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
/// Noise prologue (paper §5.4).
pub const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";
/// Label of the key of mac1 (paper §5.4.4).
pub const LABEL_MAC1: &[u8; 8] = b"mac1----";
/// Label of the key that encrypts cookies (paper §5.4.7).
pub const LABEL_COOKIE: &[u8; 8] = b"cookie--";

/// Messages sent with one key after which a new handshake is asked for (paper §6.1).
pub const REKEY_AFTER_MESSAGES: u64 = 1 << 60;
/// The counter from which on a key neither seals nor opens: 2^64 - 2^13 - 1 (paper §6.1).
///
/// The kernel stops at 2^64 - 8130, a little later; the paper's value is the limit here.
pub const REJECT_AFTER_MESSAGES: u64 = u64::MAX - (1 << 13);
/// Age of a sending key at which its initiator asks for a new one (paper §6.1).
pub const REKEY_AFTER_TIME: Duration = Duration::from_secs(120);
/// Age at which a key neither seals nor opens (paper §6.1).
pub const REJECT_AFTER_TIME: Duration = Duration::from_secs(180);
/// How long handshakes are tried without new data (paper §6.1). See [`MAX_TIMER_HANDSHAKES`].
pub const REKEY_ATTEMPT_TIME: Duration = Duration::from_secs(90);
/// Retries after the first initiation: REKEY_ATTEMPT_TIME / REKEY_TIMEOUT (kernel `messages.h`).
pub const MAX_TIMER_HANDSHAKES: u32 = 18;
/// Least time between two initiations to one peer, and the wait for a response (paper §6.1).
pub const REKEY_TIMEOUT: Duration = Duration::from_secs(5);
/// Upper end of the random addition to REKEY_TIMEOUT, so that peers do not retry in step
/// (paper §6.1; the value is the kernel's `REKEY_TIMEOUT_JITTER_MAX_JIFFIES`).
pub const REKEY_TIMEOUT_JITTER_MAX: Duration = Duration::from_millis(333);
/// Silence after received data that is answered with a keepalive (paper §6.1).
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Age of the youngest key at which everything secret of a peer is erased: 3 x REJECT_AFTER_TIME
/// (paper §6.3).
pub const ZERO_KEYS_AFTER_TIME: Duration = Duration::from_secs(540);

/// How long a gateway keeps the secret behind its cookies (paper §5.4.7, two minutes).
pub const COOKIE_SECRET_TIME: Duration = Duration::from_secs(120);
/// How long an initiator uses a cookie: five seconds less than its maker honours it, for the way
/// (kernel `COOKIE_SECRET_LATENCY`).
pub const COOKIE_USE_TIME: Duration = Duration::from_secs(115);
/// Least time between two accepted initiations of one peer: 50 a second (kernel
/// `INITIATIONS_PER_SECOND`).
pub const INITIATION_INTERVAL_MIN: Duration = Duration::from_millis(20);
/// A handshake queue that is at least 1/UNDER_LOAD_FRACTION full means load (kernel `receive.c`).
pub const UNDER_LOAD_FRACTION: usize = 8;
/// Load is assumed for this long after the queue was last seen that full (kernel `receive.c`).
pub const UNDER_LOAD_TIME: Duration = Duration::from_secs(1);
/// Handshake messages a second that one source may cost us under load (kernel `ratelimiter.c`).
pub const RATE_LIMIT_PER_SECOND: u32 = 20;
/// Handshake messages that one source may send at once under load (kernel `ratelimiter.c`).
pub const RATE_LIMIT_BURST: u32 = 5;

/// Packets parked per peer while a handshake runs; the oldest is dropped first (kernel
/// `MAX_STAGED_PACKETS`).
pub const STAGED_PACKETS_MAX: usize = 128;
/// Plaintext is padded with zeros to a multiple of this many bytes (paper §5.4.6).
pub const PADDING_MULTIPLE: usize = 16;
/// DS field of handshake messages: AF41, not ECN-capable (kernel `messages.h`).
pub const HANDSHAKE_DS: u8 = 0x88;
/// Bits of the replay bitmap (kernel `COUNTER_BITS_TOTAL`).
pub const REPLAY_BITS: usize = 8192;
/// How far behind the greatest counter a packet may be: one 64-bit word less than the bitmap
/// (RFC 6479 §2, kernel `COUNTER_WINDOW_SIZE`).
pub const REPLAY_WINDOW: u64 = 8128;
/// Peers a gateway may have (kernel `MAX_PEERS_PER_DEVICE`).
pub const PEERS_MAX: usize = 1 << 20;
