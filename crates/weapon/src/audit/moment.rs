//! When something happened, by both clocks: the wall's for people, and the time since boot, which
//! nobody can set.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use weapon_io::clock;

const DAY_SECONDS: u64 = 86_400;

const NANOS: u128 = 1_000_000_000;

/// The last second of the year 9999: later ones have no place in a date of four digits.
const SECONDS_MAX: u64 = 253_402_300_799;

/// A moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since 1970, by the clock that people set.
    pub seconds: u64,
    /// Nanoseconds of the second.
    pub nanos: u32,
    /// Microseconds since the machine was started, suspended or not.
    pub boot_us: u64,
}

impl Moment {
    /// This one.
    pub fn now() -> Self {
        let (seconds, nanos) = clock::realtime();
        Self {
            seconds,
            nanos,
            boot_us: clock::boottime_nanos() / 1000,
        }
    }

    /// The one at which the clock since boot said this; not later than now.
    pub fn at_boot(nanos: u64) -> Self {
        let now = Self::now();
        let boot_us = (nanos / 1000).min(now.boot_us);
        let ago = u128::from(now.boot_us - boot_us) * 1000;
        let wall = u128::from(now.seconds) * NANOS + u128::from(now.nanos);
        let wall = wall.saturating_sub(ago);
        Self {
            seconds: (wall / NANOS) as u64,
            nanos: (wall % NANOS) as u32,
            boot_us,
        }
    }

    /// How long ago `earlier` was, by the clock that only goes forward.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.boot_us.saturating_sub(earlier.boot_us))
    }

    /// The wall's time as RFC 3339 has it, in UTC, always of the same length: so texts are in the
    /// order of the moments.
    pub fn text(self) -> String {
        let seconds = self.seconds.min(SECONDS_MAX);
        let (year, month, day) = date(seconds / DAY_SECONDS);
        let rest = seconds % DAY_SECONDS;
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let nanos = self.nanos.min(999_999_999);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
    }
}

/// Whether `text` has the form that [`Moment::text`] gives it.
pub fn is_time(text: &str) -> bool {
    let form = b"0000-00-00T00:00:00.000000000Z";
    text.len() == form.len()
        && text.bytes().zip(form).all(|(byte, of_form)| match of_form {
            b'0' => byte.is_ascii_digit(),
            other => byte == *other,
        })
}

/// Year, month and day, so many days after the first of 1970. Years begin in March here, so that
/// the day that is not always there is the last one; 400 of them have 146097 days.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1460 + day_of_era / 146_096;
    let year = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_is_before_now_on_both_clocks() {
        let now = Moment::now();
        let ago = Moment::at_boot((now.boot_us - 2_500_000) * 1000);
        assert_eq!(ago.boot_us, now.boot_us - 2_500_000);
        let wall = |it: Moment| u128::from(it.seconds) * NANOS + u128::from(it.nanos);
        // The wall's clock is slewed, and some time has passed between the two.
        let apart = wall(now).abs_diff(wall(ago)) / 1_000_000;
        assert!((2_000..=3_000).contains(&apart), "{apart} ms");
        let ahead = Moment::at_boot(u64::MAX);
        assert!(ahead.boot_us >= now.boot_us && ahead.boot_us < now.boot_us + 60_000_000);
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let text = |seconds, nanos| {
            let moment = Moment {
                seconds,
                nanos,
                boot_us: 0,
            };
            let text = moment.text();
            assert!(is_time(&text), "{text}");
            text
        };
        assert_eq!(text(0, 0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(text(951_782_399, 1), "2000-02-28T23:59:59.000000001Z");
        assert_eq!(text(951_782_400, 0), "2000-02-29T00:00:00.000000000Z");
        assert_eq!(text(951_868_800, 0), "2000-03-01T00:00:00.000000000Z");
        assert_eq!(
            text(1_800_000_000, 999_999_999),
            "2027-01-15T08:00:00.999999999Z"
        );
        assert_eq!(text(4_107_542_400, 0), "2100-03-01T00:00:00.000000000Z");
        assert_eq!(text(u64::MAX, u32::MAX), "9999-12-31T23:59:59.999999999Z");
        assert!(!is_time("2027-01-15 08:00:00.999999999Z"));
        assert!(!is_time("2027-01-15T08:00:00Z"));
    }
}
