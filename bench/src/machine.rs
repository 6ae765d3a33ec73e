//! The machine: what it is, and the time its processors spend.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::Serialize;

/// How long the machine is watched before the first round.
const IDLE_SECONDS: u64 = 2;

/// What all processors together did not do, up to a moment.
///
/// The kernel samples at each tick what a processor does, and so misses much of the work of those
/// who run for a moment only; but it measures idle time exactly. So work is what is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProcessorTime {
    at: Instant,
    processors: f64,
    idle: f64,
    stolen: f64,
}

impl ProcessorTime {
    /// As the kernel counts it.
    pub(crate) fn read() -> Result<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat")?, Instant::now())
            .context("/proc/stat is not as known")
    }

    fn parse(stat: &str, at: Instant) -> Option<Self> {
        let mut lines = stat.lines().filter(|line| line.starts_with("cpu"));
        let ticks: Vec<f64> = lines
            .next()?
            .strip_prefix("cpu ")?
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<_, _>>()
            .ok()?;
        let [
            _user,
            _nice,
            _system,
            idle,
            waiting,
            _irq,
            _softirq,
            stolen,
            ..,
        ] = ticks[..]
        else {
            return None;
        };
        Some(Self {
            at,
            processors: lines.count() as f64,
            idle: (idle + waiting) / ticks_per_second(),
            stolen: stolen / ticks_per_second(),
        })
    }

    /// Seconds spent doing anything, for anybody on this machine.
    pub(crate) fn busy_since(&self, earlier: &Self) -> f64 {
        let all = self.at.duration_since(earlier.at).as_secs_f64() * self.processors;
        (all - (self.idle - earlier.idle) - self.stolen_since(earlier)).max(0.0)
    }

    /// Seconds spent waiting for the hypervisor, which ran somebody else.
    pub(crate) fn stolen_since(&self, earlier: &Self) -> f64 {
        self.stolen - earlier.stolen
    }
}

/// Seconds that the threads of some processes spent.
pub(crate) fn seconds_of_processes(ids: &[u32]) -> Result<f64> {
    let mut sum = 0.0;
    // Ours do their work in a process that they have started.
    for id in ids
        .iter()
        .copied()
        .chain(ids.iter().flat_map(|&id| started_by(id)))
    {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        sum += seconds_of_process(&stat).context("/proc/PID/stat is not as known")?;
    }
    Ok(sum)
}

/// The processes that the first thread of this one has started.
fn started_by(id: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
    let children = children.unwrap_or_default();
    children.split_whitespace().flat_map(str::parse).collect()
}

/// User and system time of all threads of a process.
fn seconds_of_process(stat: &str) -> Option<f64> {
    // The name in parentheses may contain anything; the fields after it are numbers.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / ticks_per_second())
}

/// The most memory a process had, with those that it has started, in bytes.
pub(crate) fn memory_bytes_max(id: u32) -> Option<u64> {
    let started = started_by(id).into_iter();
    let started: u64 = started.filter_map(memory_bytes_max_of).sum();
    Some(memory_bytes_max_of(id)? + started)
}

fn memory_bytes_max_of(id: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Processors that are busy, on average, while nothing is measured.
pub(crate) fn idle_load() -> Result<f64> {
    eprintln!("watching the idle machine for {IDLE_SECONDS} s");
    let before = ProcessorTime::read()?;
    std::thread::sleep(Duration::from_secs(IDLE_SECONDS));
    let after = ProcessorTime::read()?;
    Ok(after.busy_since(&before) / after.at.duration_since(before.at).as_secs_f64())
}

fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// What a reader needs to know to compare figures.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) iperf3: String,
}

impl Facts {
    /// Asks the system; what cannot be found out is empty.
    pub(crate) fn gather() -> Self {
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processors
            .lines()
            .find(|line| line.starts_with("model name"));
        Self {
            processor: model
                .and_then(|line| line.split_once(": "))
                .map(|(_, name)| name.to_owned())
                .unwrap_or_default(),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: first_line("uname", &["-r"]),
            commit: first_line("git", &["describe", "--always", "--dirty"]),
            iperf3: first_words(&first_line("iperf3", &["--version"]), 2),
        }
    }
}

/// Whether TCP can be run with this congestion control.
pub(crate) fn has_congestion_control(name: &str) -> bool {
    let list = "/proc/sys/net/ipv4/tcp_available_congestion_control";
    let list = std::fs::read_to_string(list).unwrap_or_default();
    list.split_whitespace().any(|word| word == name)
}

fn first_words(text: &str, count: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    words.join(" ")
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default()
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_what_is_left_of_the_time() {
        let start = Instant::now();
        let stat = |idle: u64, waiting: u64, stolen: u64| {
            format!(
                "cpu  1 0 1 {idle} {waiting} 0 0 {stolen} 0 0\ncpu0 1 0 1 1\ncpu1 1 0 1 1\nintr 1\n"
            )
        };
        let before = ProcessorTime::parse(&stat(5000, 100, 10), start).unwrap();
        let later = start + Duration::from_secs(10);
        let after = ProcessorTime::parse(&stat(5600, 200, 110), later).unwrap();
        // Two processors for 10 s, less 700 ticks of idling and waiting and 100 that were stolen.
        let ticks = 20.0 * ticks_per_second() - 800.0;
        assert!((after.busy_since(&before) * ticks_per_second() - ticks).abs() < 1e-6);
        assert!((after.stolen_since(&before) * ticks_per_second() - 100.0).abs() < 1e-6);
        assert!(ProcessorTime::parse("intr 1\n", start).is_none());
        assert!(ProcessorTime::parse("cpu  1 2 3\n", start).is_none());
    }

    #[test]
    fn a_process_may_have_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 150 50 0 0 20 0 9 0\n";
        let seconds = seconds_of_process(stat).unwrap();
        assert!((seconds * ticks_per_second() - 200.0).abs() < 1e-6);
    }
}
