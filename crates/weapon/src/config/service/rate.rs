//! Rates, as lines are sold: in bits, with units of a thousand.

use weapon_core::RateLimit;

use crate::config::value::quoted;

/// The units, the largest first.
const UNITS: [(&str, u64); 4] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1000),
    ("bit/s", 1),
];

/// A packet of 1420 bytes takes 11,360 bits: with less, not one would pass in each second.
const BITS_MIN: u64 = 16_000;
const BITS_MAX: u64 = 100_000_000_000;

/// What passes at once after a rest, if nothing is said: what comes in this time. TCP that has lost
/// too much is silent for 200 ms (Linux: TCP_RTO_MIN), and what the bucket cannot hold of them is
/// lost to it: docs/decisions/0023-rate-limit-and-marking.md has the figures.
const BURST_MS: u64 = 250;

/// It holds the largest packet, and so the largest superpacket.
pub const BURST_KB_MIN: i64 = 66;
pub const BURST_KB_MAX: i64 = 4_000_000;
const BURST_BYTES_MIN: u64 = 66_000;

const RIGHT: &str = "write it like \"100 Mbit/s\"";

/// Bytes in a second.
///
/// # Errors
/// It is no rate, or none that makes sense.
pub fn parse(text: &str) -> Result<u64, String> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let (number, unit) = text.split_at(text.find(|c| !is_of_number(c)).unwrap_or(text.len()));
    let unit = unit.trim();
    let Ok(number) = number.parse::<f64>() else {
        return Err(format!("{} is not a rate; {RIGHT}", quoted(text)));
    };
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong_unit(text, unit));
    };
    let bits = (number * *factor as f64).round() as u64;
    if bits == 0 {
        return Err(
            "0 would let nothing pass; leave it out for no limit, or deny with a rule of the filter"
                .to_owned(),
        );
    }
    if !(BITS_MIN..=BITS_MAX).contains(&bits) {
        let why = if bits < BITS_MIN {
            "is less than a large packet in a second"
        } else {
            "is more than can be counted"
        };
        let (min, max) = (name(BITS_MIN / 8), name(BITS_MAX / 8));
        return Err(format!("{} {why}; it is {min} to {max}", quoted(text)));
    }
    Ok(bits / 8)
}

fn wrong_unit(text: &str, unit: &str) -> String {
    let shown = quoted(text);
    if unit.is_empty() {
        return format!("{shown} has no unit; {RIGHT}");
    }
    if unit.to_ascii_lowercase().ends_with("b/s") || unit.contains('B') {
        return format!("{shown}: rates are in bits, a byte is eight of them; {RIGHT}");
    }
    format!("{shown}: the unit is bit/s, kbit/s, Mbit/s or Gbit/s; {RIGHT}")
}

/// A rate as it is written, in the largest unit of which it has one.
pub fn name(bytes_per_second: u64) -> String {
    let bits = bytes_per_second.saturating_mul(8);
    let unit = UNITS.iter().find(|(_, factor)| bits >= *factor);
    let (unit, factor) = unit.unwrap_or(&UNITS[3]);
    let value = format!("{:.3}", bits as f64 / *factor as f64);
    let value = value.trim_end_matches('0').trim_end_matches('.');
    format!("{value} {unit}")
}

/// The limit of this rate, with the burst that is asked for.
pub fn limit(bytes_per_second: u64, burst_bytes: Option<u64>) -> RateLimit {
    let of_time = bytes_per_second / 1000 * BURST_MS;
    RateLimit {
        bytes_per_second,
        burst_bytes: burst_bytes.unwrap_or(of_time.max(BURST_BYTES_MIN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_written() {
        for (text, bytes, name) in [
            ("100 Mbit/s", 12_500_000, "100 Mbit/s"),
            ("100Mbit/s", 12_500_000, "100 Mbit/s"),
            ("1.5 Gbit/s", 187_500_000, "1.5 Gbit/s"),
            ("1500 Mbit/s", 187_500_000, "1.5 Gbit/s"),
            ("16 kbit/s", 2000, "16 kbit/s"),
            ("16000 bit/s", 2000, "16 kbit/s"),
            (".5 Mbit/s", 62_500, "500 kbit/s"),
            ("100 Gbit/s", 12_500_000_000, "100 Gbit/s"),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
            assert_eq!(self::name(bytes), name);
            assert_eq!(parse(name), Ok(bytes), "{name}");
        }
        assert_eq!(name(0), "0 bit/s");
    }

    #[test]
    fn a_burst_holds_a_superpacket_and_the_rate_of_some_time() {
        let slow = limit(parse("16 kbit/s").unwrap(), None);
        assert_eq!(slow.burst_bytes, BURST_BYTES_MIN);
        let fast = limit(parse("1 Gbit/s").unwrap(), None);
        assert_eq!(fast.burst_bytes, 125_000 * BURST_MS);
        assert_eq!(limit(2000, Some(66_000)).burst_bytes, 66_000);
        const { assert!(BURST_KB_MIN * 1000 > 65_535) };
    }
}
