//! Processes that end with the test, and their logs.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process whose output goes to a file. Dropped, it is killed and reaped; when the test has
/// failed, its log is shown.
#[derive(Debug)]
pub struct Process {
    /// For messages.
    name: String,
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both outputs going to `log`.
    #[track_caller]
    pub fn start(name: &str, command: &mut Command, log: PathBuf) -> Self {
        let output = File::options().append(true).create(true).open(&log);
        let output = output.expect("a log file");
        let errors = output.try_clone().expect("a descriptor");
        let child = command.stdout(output).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        Self {
            name: name.to_owned(),
            child,
            log,
            ended: None,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its process id, and those of the processes that it has started: of one of our gateways the
    /// helper and the gateway's own.
    pub fn all_ids(&self) -> Vec<u32> {
        let id = self.id();
        let started = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let started = started.unwrap_or_default();
        let started = started.split_whitespace().map(str::parse);
        [id].into_iter().chain(started.flatten()).collect()
    }

    /// Processor time that all of them have used so far; proc_pid_stat(5) counts it in hundredths
    /// of a second.
    pub fn cpu_time(&self) -> Duration {
        self.all_ids().into_iter().map(Self::cpu_time_of).sum()
    }

    fn cpu_time_of(id: u32) -> Duration {
        let path = format!("/proc/{id}/stat");
        let stat = std::fs::read_to_string(path).unwrap_or_default();
        // The name, in parentheses, may contain anything.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|tick| tick.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// Everything it has written so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("a child of ours");
        }
        self.ended
    }

    /// Sends a signal, if it still runs. Who is to stand still does so with all that it has
    /// started.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_some() {
            return;
        }
        let ids = match signal {
            Signal::STOP | Signal::CONT => self.all_ids(),
            _ => vec![self.id()],
        };
        for id in ids {
            let id = i32::try_from(id).ok().and_then(Pid::from_raw);
            kill_process(id.expect("a number"), signal).expect("a signal to a child of ours");
        }
    }

    /// Waits until it ends. Panics when that takes longer than `patience`.
    #[track_caller]
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "{} has not ended within {patience:?}",
                self.name
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill, but still to reap.
        if self.child.kill().is_ok() && self.ended.is_none() {
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- log of {} ----\n{}----", self.name, self.log());
        }
    }
}
