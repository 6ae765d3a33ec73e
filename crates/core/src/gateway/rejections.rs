//! Initiations that were not answered, for people who ask why a peer does not get in: who asked,
//! from where, how often, and what was wrong.
//!
//! Nothing is sent for it and nothing decides by it. Whoever floods us has his own part of the
//! table: what needs no key of ours is kept apart from what needs one, and of one network there are
//! never more than a few entries. So a flood displaces what is like itself, oldest first, and costs
//! a look at a few entries, much less than the message itself.

use core::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use weapon_noise::{PublicKey, Tick};

use super::{Now, WallTime, origins::network};

/// Entries at most of those who do not know our public key: anybody.
const STRANGERS_MAX: usize = 8;

/// Entries at most of those who know it.
const KNOWERS_MAX: usize = 24;

/// Entries at most of those who know it, of one network.
const OF_NETWORK_MAX: usize = 8;

/// Entries of the whole table at most.
pub const REJECTIONS_MAX: usize = STRANGERS_MAX + KNOWERS_MAX;

/// Why an initiation was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RejectedBecause {
    /// mac1 is wrong: it was meant for another key than ours, or damaged.
    WrongMac1,
    /// The key in it is none of our peers'.
    UnknownKey,
    /// Its timestamp is not newer than the last one's: a replay, or the sender's clock went back.
    StaleTimestamp,
    /// It came within 20 ms after another of the peer.
    TooSoon,
    /// We are under load, and it had no valid cookie.
    UnderLoad,
    /// We are under load, and its address asks too often.
    RateLimited,
    /// A key in it is a low-order point.
    LowOrder,
    /// It does not authenticate: damaged, or made by somebody else than the key's owner.
    NotAuthentic,
}

impl RejectedBecause {
    /// The name in `status`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::WrongMac1 => "wrong_mac1",
            Self::UnknownKey => "unknown_key",
            Self::StaleTimestamp => "stale_timestamp",
            Self::TooSoon => "too_soon",
            Self::UnderLoad => "under_load",
            Self::RateLimited => "rate_limited",
            Self::LowOrder => "low_order",
            Self::NotAuthentic => "not_authentic",
        }
    }
}

/// Initiations of one sender that were not answered, all for the same reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The key in it, if it could be opened. It is proven in the case of
    /// [`RejectedBecause::StaleTimestamp`] and [`RejectedBecause::TooSoon`] alone.
    pub key: Option<PublicKey>,
    /// Where the last one came from.
    pub from: SocketAddr,
    /// Why.
    pub because: RejectedBecause,
    /// How many.
    pub count: u64,
    /// When the first came.
    pub first: WallTime,
    /// When the last came.
    pub last: WallTime,
}

#[derive(Debug)]
struct Entry {
    rejection: Rejection,
    /// When the last came, by a clock that only goes forward.
    seen: Tick,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    strangers: Vec<Entry>,
    knowers: Vec<Entry>,
}

impl Rejections {
    /// Notes one. Who sends a key is known by it; of others, which port it is says nothing.
    pub(super) fn note(
        &mut self,
        key: Option<PublicKey>,
        from: SocketAddr,
        because: RejectedBecause,
        now: Now,
    ) {
        let is_stranger = because == RejectedBecause::WrongMac1;
        let entries = if is_stranger {
            &mut self.strangers
        } else {
            &mut self.knowers
        };
        let same = entries.iter_mut().find(|entry| {
            let it = &entry.rejection;
            it.because == because && it.key == key && (key.is_some() || it.from.ip() == from.ip())
        });
        if let Some(entry) = same {
            let it = &mut entry.rejection;
            it.count = it.count.saturating_add(1);
            (it.from, it.last) = (from, now.wall);
            entry.seen = now.tick;
            return;
        }
        if is_stranger {
            make_room(entries, STRANGERS_MAX, |_| true);
        } else {
            let ours = network(from.ip());
            make_room(entries, OF_NETWORK_MAX, |ip| network(ip) == ours);
            make_room(entries, KNOWERS_MAX, |_| true);
        }
        entries.push(Entry {
            rejection: Rejection {
                key,
                from,
                because,
                count: 1,
                first: now.wall,
                last: now.wall,
            },
            seen: now.tick,
        });
    }

    /// All, the newest first.
    pub(super) fn list(&self) -> Vec<Rejection> {
        let mut all: Vec<&Entry> = self.strangers.iter().chain(&self.knowers).collect();
        all.sort_by_key(|entry| core::cmp::Reverse(entry.seen));
        all.into_iter().map(|entry| entry.rejection).collect()
    }

    /// The peer with this key is configured now: what was is no news.
    pub(super) fn forget(&mut self, key: &PublicKey) {
        self.knowers
            .retain(|entry| entry.rejection.key != Some(*key));
    }
}

/// Of those from addresses that `belongs` names the oldest goes, if there are `max`.
fn make_room(entries: &mut Vec<Entry>, max: usize, belongs: impl Fn(IpAddr) -> bool) {
    let its = |entry: &&Entry| belongs(entry.rejection.from.ip());
    if entries.iter().filter(its).count() < max {
        return;
    }
    let positions = entries.iter().enumerate().filter(|(_, entry)| its(entry));
    let oldest = positions.min_by_key(|(_, entry)| entry.seen);
    if let Some((position, _)) = oldest {
        entries.swap_remove(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now {
            tick: Tick::from_nanos(seconds * 1_000_000_000),
            wall: WallTime {
                seconds: 1_700_000_000 + seconds,
                nanos: 0,
            },
        }
    }

    fn from(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn key(number: u8) -> Option<PublicKey> {
        Some(PublicKey::from_bytes([number; 32]))
    }

    const HONEST: &str = "203.0.113.7:51820";

    #[test]
    fn the_same_is_counted() {
        let mut table = Rejections::default();
        for second in 0..14 {
            // Behind a NAT that forgets.
            let from = from(&format!("203.0.113.7:{}", 4000 + second));
            table.note(key(1), from, RejectedBecause::UnknownKey, at(second));
        }
        table.note(key(1), from(HONEST), RejectedBecause::NotAuthentic, at(20));
        table.note(None, from(HONEST), RejectedBecause::NotAuthentic, at(21));
        table.note(
            None,
            from("203.0.113.7:9"),
            RejectedBecause::NotAuthentic,
            at(22),
        );
        let list = table.list();
        let counts: Vec<u64> = list.iter().map(|it| it.count).collect();
        assert_eq!(counts, [2, 1, 14], "the newest first");
        let expected = Rejection {
            key: key(1),
            from: from("203.0.113.7:4013"),
            because: RejectedBecause::UnknownKey,
            count: 14,
            first: at(0).wall,
            last: at(13).wall,
        };
        assert_eq!(list[2], expected);
        table.forget(&key(1).unwrap());
        assert_eq!(table.list().len(), 1);
    }

    #[test]
    fn strangers_displace_strangers_alone() {
        let mut table = Rejections::default();
        table.note(key(1), from(HONEST), RejectedBecause::UnknownKey, at(0));
        for number in 0..200 {
            let stranger = from(&format!("198.51.100.{number}:1"));
            table.note(None, stranger, RejectedBecause::WrongMac1, at(1 + number));
        }
        let list = table.list();
        assert_eq!(list.len(), 1 + STRANGERS_MAX);
        assert_eq!(list[0].from, from("198.51.100.199:1"));
        assert_eq!(list[STRANGERS_MAX].key, key(1));
    }

    #[test]
    fn a_network_displaces_itself_alone() {
        let mut table = Rejections::default();
        table.note(key(1), from(HONEST), RejectedBecause::UnknownKey, at(0));
        for number in 2..200 {
            let flooder = from(&format!("198.51.100.{number}:1"));
            table.note(
                key(number),
                flooder,
                RejectedBecause::UnknownKey,
                at(u64::from(number)),
            );
        }
        assert_eq!(table.list().len(), 1 + OF_NETWORK_MAX);
        assert!(table.list().iter().any(|it| it.key == key(1)));
    }

    #[test]
    fn there_is_an_end_to_it_and_the_newest_are_there() {
        let mut table = Rejections::default();
        for number in 0..250 {
            let everywhere = from(&format!("10.{number}.0.1:1"));
            let now = at(u64::from(number));
            table.note(key(number), everywhere, RejectedBecause::UnknownKey, now);
            table.note(None, everywhere, RejectedBecause::WrongMac1, now);
        }
        let list = table.list();
        assert_eq!(list.len(), REJECTIONS_MAX);
        let keys: Vec<_> = list.iter().filter_map(|it| it.key).collect();
        let expected: Vec<_> = (226..250).rev().filter_map(key).collect();
        assert_eq!(keys, expected);
    }
}
