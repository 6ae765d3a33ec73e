//! The figures that are compared: what they are called, and where they are found in a sample.

use crate::measure::Sample;
use crate::measure::transfer::Way;
use crate::measure::udp::{LARGE_BYTES, SMALL_BYTES};

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Higher,
    Lower,
}

impl Better {
    /// As it stands in tables.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

/// A figure.
pub(crate) struct Metric {
    /// Its name in files.
    pub(crate) key: &'static str,
    /// Its name for people, the unit apart.
    pub(crate) heading: &'static str,
    pub(crate) unit: &'static str,
    /// Digits after the point.
    pub(crate) digits: usize,
    pub(crate) better: Better,
    /// Its value in a sample, if it was measured.
    pub(crate) value: fn(&Sample) -> Option<f64>,
}

impl Metric {
    /// A value with as many digits as make sense.
    pub(crate) fn text(&self, value: f64) -> String {
        format!("{value:.*}", self.digits)
    }

    /// Heading and unit.
    pub(crate) fn title(&self) -> String {
        format!("{}, {}", self.heading, self.unit)
    }
}

const fn speed(
    key: &'static str,
    heading: &'static str,
    value: fn(&Sample) -> Option<f64>,
) -> Metric {
    Metric {
        key,
        heading,
        unit: "Gbit/s",
        digits: 2,
        better: Better::Higher,
        value,
    }
}

const fn round_trip(
    key: &'static str,
    heading: &'static str,
    value: fn(&Sample) -> Option<f64>,
) -> Metric {
    Metric {
        key,
        heading,
        unit: "µs",
        digits: 0,
        better: Better::Lower,
        value,
    }
}

const fn packets(
    key: &'static str,
    heading: &'static str,
    value: fn(&Sample) -> Option<f64>,
) -> Metric {
    Metric {
        key,
        heading,
        unit: "1000/s",
        digits: 1,
        better: Better::Higher,
        value,
    }
}

const fn cost(
    key: &'static str,
    heading: &'static str,
    value: fn(&Sample) -> Option<f64>,
) -> Metric {
    Metric {
        key,
        heading,
        unit: "s/GB",
        digits: 2,
        better: Better::Lower,
        value,
    }
}

pub(crate) const TCP_FORWARD: Metric = speed("tcp_forward", "TCP, 1 stream", |it| {
    gigabits(it, Way::Forward)
});
pub(crate) const TCP_REVERSE: Metric = speed("tcp_reverse", "TCP, 1 stream, reverse", |it| {
    gigabits(it, Way::Reverse)
});
pub(crate) const TCP_FORWARD_FOUR: Metric = speed("tcp_forward_4", "TCP, 4 streams", |it| {
    gigabits(it, Way::ForwardFour)
});
pub(crate) const TCP_REVERSE_FOUR: Metric =
    speed("tcp_reverse_4", "TCP, 4 streams, reverse", |it| {
        gigabits(it, Way::ReverseFour)
    });
const TCP_BBR: Metric = speed("tcp_bbr", "TCP, 1 stream, BBR", |it| gigabits(it, Way::Bbr));
const TCP_IPV6: Metric = speed("tcp_ipv6", "TCP, 1 stream, inner IPv6", |it| {
    gigabits(it, Way::Ipv6)
});
const TCP_PLAIN: Metric = speed(
    "tcp_offloads_off",
    "TCP, 1 stream, veth offloads off",
    |it| gigabits(it, Way::OffloadsOff),
);
pub(crate) const UDP_SMALL: Metric =
    packets("udp_64", "UDP, 64 bytes", |it| thousands(it, SMALL_BYTES));
pub(crate) const UDP_LARGE: Metric = packets("udp_1372", "UDP, 1372 bytes", |it| {
    thousands(it, LARGE_BYTES)
});
pub(crate) const CPU_SYSTEM: Metric = cost("cpu_system", "CPU, all of the system", |it| {
    Some(it.tcp.get(&Way::Forward)?.system_seconds_per_gigabyte())
});
const CPU_PROCESSES: Metric = cost("cpu_processes", "CPU, both ends of the tunnel", |it| {
    let cost = it.tcp.get(&Way::Forward)?.process_seconds_per_gigabyte();
    it.memory_bytes_max.map(|_| cost)
});
pub(crate) const IDLE_P50: Metric = round_trip("rtt_idle_p50", "Round trip, idle, p50", |it| {
    Some(it.round_trip_idle.as_ref()?.p50_microseconds)
});
const IDLE_P99: Metric = round_trip("rtt_idle_p99", "Round trip, idle, p99", |it| {
    Some(it.round_trip_idle.as_ref()?.p99_microseconds)
});
const LOADED_P50: Metric = round_trip("rtt_loaded_p50", "Round trip, under TCP, p50", |it| {
    Some(it.round_trip_loaded.as_ref()?.p50_microseconds)
});
pub(crate) const LOADED_P99: Metric =
    round_trip("rtt_loaded_p99", "Round trip, under TCP, p99", |it| {
        Some(it.round_trip_loaded.as_ref()?.p99_microseconds)
    });
const LOADED_LOST: Metric = Metric {
    key: "rtt_loaded_lost",
    heading: "Pings lost under TCP",
    unit: "%",
    digits: 1,
    better: Better::Lower,
    value: |it| {
        let round_trip = it.round_trip_loaded.as_ref()?;
        Some(round_trip.lost as f64 / round_trip.sent as f64 * 100.0)
    },
};
pub(crate) const MEMORY: Metric = Metric {
    key: "memory",
    heading: "Peak memory of an end",
    unit: "MB",
    digits: 1,
    better: Better::Lower,
    value: |it| Some(it.memory_bytes_max? as f64 / 1e6),
};
pub(crate) const HANDSHAKES: Metric = Metric {
    key: "handshakes",
    heading: "Handshakes accepted",
    unit: "1/s",
    digits: 0,
    better: Better::Higher,
    value: |it| Some(it.handshakes.as_ref()?.accepted_per_second),
};

/// All, in the order of the table.
pub(crate) const METRICS: [Metric; 18] = [
    TCP_FORWARD,
    TCP_REVERSE,
    TCP_FORWARD_FOUR,
    TCP_REVERSE_FOUR,
    TCP_BBR,
    TCP_IPV6,
    TCP_PLAIN,
    UDP_SMALL,
    UDP_LARGE,
    CPU_SYSTEM,
    CPU_PROCESSES,
    IDLE_P50,
    IDLE_P99,
    LOADED_P50,
    LOADED_P99,
    LOADED_LOST,
    MEMORY,
    HANDSHAKES,
];

fn gigabits(sample: &Sample, way: Way) -> Option<f64> {
    Some(sample.tcp.get(&way)?.bits_per_second / 1e9)
}

/// A tunnel that lost too much at every rate has delivered none without loss.
fn thousands(sample: &Sample, payload_bytes: u32) -> Option<f64> {
    let mut rates = sample.udp.iter();
    let rate = rates.find(|rate| rate.payload_bytes == payload_bytes)?;
    Some(rate.packets_per_second.unwrap_or(0.0) / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::udp::UdpRate;

    #[test]
    fn keys_are_unique() {
        let mut keys = METRICS.map(|metric| metric.key);
        keys.sort_unstable();
        assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn headings_name_the_sizes_that_are_sent() {
        assert!(UDP_SMALL.heading.contains(&format!("{SMALL_BYTES} bytes")));
        assert!(UDP_LARGE.heading.contains(&format!("{LARGE_BYTES} bytes")));
    }

    #[test]
    fn what_was_not_measured_has_no_value_and_what_never_passed_is_zero() {
        let mut sample = Sample::default();
        assert!(METRICS.iter().all(|it| (it.value)(&sample).is_none()));
        sample.udp.push(UdpRate {
            payload_bytes: SMALL_BYTES,
            packets_per_second: None,
            trials: vec![],
        });
        assert_eq!((UDP_SMALL.value)(&sample), Some(0.0));
        assert_eq!((UDP_LARGE.value)(&sample), None);
        sample.udp[0].packets_per_second = Some(52_300.0);
        assert_eq!((UDP_SMALL.value)(&sample), Some(52.3));
        assert_eq!(UDP_SMALL.text(52.3), "52.3");
    }
}
