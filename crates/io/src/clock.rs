//! The two clocks of the protocol, read through the vDSO.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of CLOCK_BOOTTIME, the clock of every age: it goes on while the machine sleeps.
pub fn boottime_nanos() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    unsigned(now.tv_sec)
        .saturating_mul(1_000_000_000)
        .saturating_add(unsigned(now.tv_nsec))
}

/// Seconds and nanoseconds since 1970 of CLOCK_REALTIME, for TAI64N timestamps alone.
///
/// A clock before 1970 reads as 1970.
pub fn realtime() -> (u64, u32) {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Realtime);
    (unsigned(tv_sec), u32::try_from(tv_nsec).unwrap_or(0))
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boottime_advances() {
        let earlier = boottime_nanos();
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(boottime_nanos() >= earlier + 2_000_000);
    }

    #[test]
    fn boottime_is_the_uptime_of_the_kernel() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let seconds: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let ours = boottime_nanos() as f64 / 1e9;
        assert!((ours - seconds).abs() < 5.0, "{ours} against {seconds}");
    }

    #[test]
    fn realtime_agrees_with_the_standard_library() {
        let (seconds, nanos) = realtime();
        let std = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        assert!(std.abs_diff(seconds) <= 1);
        assert!(nanos < 1_000_000_000);
    }
}
