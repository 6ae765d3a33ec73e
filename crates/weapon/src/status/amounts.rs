//! Times and amounts, as people read them.

/// The two largest units: `2 hours 5 minutes`.
pub fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let units = [
        (days, "day"),
        (hours, "hour"),
        (minutes, "minute"),
        (rest, "second"),
    ];
    let first = units.iter().position(|(count, _)| *count != 0).unwrap_or(3);
    let two = &units[first..units.len().min(first + 2)];
    let words = two.iter().filter(|(count, _)| *count != 0 || first == 3);
    let words = words.map(|(count, unit)| plural(*count, unit));
    words.collect::<Vec<_>>().join(" ")
}

/// As [`duration`], in as little room as there is in a table: `2h05m`.
pub fn short_duration(seconds: u64) -> String {
    let (minutes, rest) = (seconds / 60, seconds % 60);
    match (seconds / 86_400, seconds / 3600 % 24) {
        (0, 0) if minutes == 0 => format!("{rest}s"),
        (0, 0) => format!("{minutes}m{rest:02}s"),
        (0, hours) => format!("{hours}h{:02}m", minutes % 60),
        (days, hours) => format!("{days}d{hours:02}h"),
    }
}

/// So many of them: `1 packet`, `2 packets`.
pub fn plural(count: u64, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// Binary units, as `wg` uses.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

/// A rate in bits, as lines are sold, of bytes in a second.
pub fn rate(bytes_per_second: u64) -> String {
    const UNITS: [&str; 4] = ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"];
    let mut value = bytes_per_second as f64 * 8.0;
    if value < 1000.0 {
        return format!("{value:.0} bit/s");
    }
    value /= 1000.0;
    let mut unit = 0;
    // What would be rounded to a thousand is one of the next unit.
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// So many of so many, in a hundred.
pub fn percent(part: u64, whole: u64) -> String {
    format!("{:.1} %", part as f64 * 100.0 / whole.max(1) as f64)
}

/// A time on the network, of microseconds.
pub fn milliseconds(microseconds: u64) -> String {
    format!("{:.1} ms", microseconds as f64 / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(5 << 30), "5.00 GiB");
        assert_eq!(rate(0), "0 bit/s");
        assert_eq!(rate(124), "992 bit/s");
        assert_eq!(rate(125), "1.0 kbit/s");
        assert_eq!(rate(124_999), "1.0 Mbit/s");
        assert_eq!(rate(1_250_000_000), "10.0 Gbit/s");
        assert_eq!(percent(33, 8192), "0.4 %");
        assert_eq!(percent(0, 0), "0.0 %");
        assert_eq!(milliseconds(12_480), "12.5 ms");
        assert_eq!(plural(1, "packet"), "1 packet");
        assert_eq!(plural(3, "packet"), "3 packets");
    }

    #[test]
    fn times_read_well() {
        assert_eq!(duration(0), "0 seconds");
        assert_eq!(duration(1), "1 second");
        assert_eq!(duration(59), "59 seconds");
        assert_eq!(duration(60), "1 minute");
        assert_eq!(duration(61), "1 minute 1 second");
        assert_eq!(duration(7500), "2 hours 5 minutes");
        assert_eq!(duration(90_000), "1 day 1 hour");
        assert_eq!(short_duration(59), "59s");
        assert_eq!(short_duration(61), "1m01s");
        assert_eq!(short_duration(7500), "2h05m");
        assert_eq!(short_duration(90_000), "1d01h");
    }
}
