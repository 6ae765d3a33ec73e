//! Checks of the machine: what we may do, the device, the clock, buffers.

use super::check::Check;

/// CAP_NET_ADMIN among the capabilities of a process (`linux/capability.h`).
const CAP_NET_ADMIN: u64 = 1 << 12;

/// Seconds since 1970 between which a clock is believed: 2024 and 2100.
const SECONDS_SANE: std::ops::Range<u64> = 1_704_067_200..4_102_444_800;

/// Seconds that the mark of our timestamps may be ahead of the clock: it is set ten minutes ahead
/// of use, and a clock may be corrected a little.
const AHEAD_SECONDS_MAX: u64 = weapon_noise::RESERVE_SECS + 60;

/// Bytes below which a burst of a few milliseconds at a gigabit overflows a receive buffer.
const RECEIVE_BYTES_MIN: u64 = 1 << 20;

/// The machine and what we may do on it.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Effective capabilities; `None` if they could not be read.
    pub capabilities: Option<u64>,
    /// Why `/dev/net/tun` does not open; `None` if it does.
    pub tun_error: Option<String>,
    /// The clock, in seconds since 1970.
    pub now: u64,
    /// Our timestamps were promised to be below this, in seconds since 1970.
    pub mark: Option<u64>,
    /// `net.core.rmem_max`; a namespace may have none.
    pub receive_bytes_max: Option<u64>,
}

impl Machine {
    /// Whether CAP_NET_ADMIN is there.
    pub fn is_privileged(&self) -> bool {
        let all = self.capabilities.unwrap_or(0);
        all & CAP_NET_ADMIN != 0
    }

    /// Root, or CAP_NET_ADMIN.
    pub fn privilege(&self) -> Check {
        const NAME: &str = "privilege";
        if self.is_privileged() {
            return Check::good(NAME, "this process has CAP_NET_ADMIN");
        }
        Check::bad(
            NAME,
            "this process has no CAP_NET_ADMIN, so no interface can be made and much of what \
             follows cannot be seen",
            "run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN",
        )
    }

    /// `/dev/net/tun`.
    pub fn device(&self) -> Check {
        const NAME: &str = "device";
        match &self.tun_error {
            None => Check::good(NAME, "/dev/net/tun opens"),
            Some(error) => Check::bad(
                NAME,
                format!("/dev/net/tun does not open: {error}"),
                "`modprobe tun`; in a container, hand the device in (`--device /dev/net/tun`)",
            ),
        }
    }

    /// The clock, and the timestamps made of it.
    pub fn clock(&self) -> Check {
        const NAME: &str = "clock";
        if !SECONDS_SANE.contains(&self.now) {
            let says = format!("the clock is wrong: {} s since 1970", self.now);
            return Check::bad(NAME, says, "set the clock, or start NTP");
        }
        let ahead = self.mark.unwrap_or(0).saturating_sub(self.now);
        if ahead > AHEAD_SECONDS_MAX {
            return Check::warning(
                NAME,
                format!(
                    "the clock is {} min behind the timestamps that were sent: it went back, or \
                     was ahead once",
                    ahead / 60
                ),
                "set the clock, or start NTP; keep the gateway's .timestamp file: without it, \
                 peers take our handshakes for replays",
            );
        }
        Check::good(
            NAME,
            "the clock is not behind the timestamps that were sent",
        )
    }

    /// Receive buffers. `lost` datagrams did not fit so far.
    pub fn buffers(&self, lost: u64) -> Check {
        const NAME: &str = "buffers";
        if lost > 0 {
            return Check::warning(
                NAME,
                format!("{lost} datagrams came while the receive buffer was full, and were lost"),
                "more lanes (`lanes`), or a larger net.core.rmem_max if the gateway has no \
                 CAP_NET_ADMIN",
            );
        }
        match self.receive_bytes_max {
            Some(bytes) if bytes < RECEIVE_BYTES_MIN && !self.is_privileged() => Check::warning(
                NAME,
                format!("receive buffers are limited to {bytes} bytes"),
                format!("sysctl net.core.rmem_max={}", 4 * RECEIVE_BYTES_MIN),
            ),
            _ => Check::good(NAME, "no datagram was lost for want of a buffer"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Verdict;

    fn machine() -> Machine {
        Machine {
            capabilities: Some(CAP_NET_ADMIN),
            now: 1_800_000_000,
            ..Machine::default()
        }
    }

    #[test]
    fn a_good_machine_is_good() {
        let machine = machine();
        let all = [
            machine.privilege(),
            machine.device(),
            machine.clock(),
            machine.buffers(0),
        ];
        for check in all {
            assert_eq!(check.result, Verdict::Good, "{check:?}");
            assert_eq!(check.remedy, None);
        }
    }

    #[test]
    fn a_clock_that_went_back_is_told() {
        let mut machine = machine();
        machine.mark = Some(machine.now + weapon_noise::RESERVE_SECS);
        assert_eq!(machine.clock().result, Verdict::Good, "reserved");
        machine.mark = Some(machine.now + 7200);
        let check = machine.clock();
        assert_eq!(check.result, Verdict::Warning);
        assert!(check.says.contains("120 min behind"), "{check:?}");
        machine.now = 1000;
        assert_eq!(machine.clock().result, Verdict::Bad);
    }

    #[test]
    fn what_is_missing_is_bad() {
        let machine = Machine {
            capabilities: Some(!CAP_NET_ADMIN),
            tun_error: Some("No such file or directory".into()),
            receive_bytes_max: Some(212_992),
            ..machine()
        };
        assert_eq!(machine.privilege().result, Verdict::Bad);
        assert_eq!(machine.device().result, Verdict::Bad);
        assert_eq!(machine.buffers(0).result, Verdict::Warning);
        assert!(machine.buffers(3).says.starts_with("3 datagrams"));
    }
}
