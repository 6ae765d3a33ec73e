//! What a process may do, as the kernel shows it (proc_pid_status(5)). It is asked by another: who
//! may do nothing cannot ask.

use std::{fs::File, io, os::unix::fs::FileExt};

use rustix::thread::CapabilitySet;

use super::message::Held;
use crate::{privileges, report::GatewayPrivileges};

/// More than such a file has.
const STATUS_BYTES_MAX: usize = 8192;

/// What is told of another user's process too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    user: u32,
    /// All that it has, or could have by another program.
    pub capabilities: CapabilitySet,
    /// No program that it starts can have more.
    pub no_new: bool,
    /// Its calls go through a filter.
    pub is_filtered: bool,
}

impl Shown {
    /// Of the process `id` at this moment, by its `/proc/PID/status`, which it has opened itself: a
    /// process that is not dumpable may be hidden from all others.
    ///
    /// # Errors
    /// It has ended, or the file is another.
    pub fn of(id: u32, status: &File) -> io::Result<Self> {
        let mut bytes = vec![0; STATUS_BYTES_MAX];
        let len = status.read_at(&mut bytes, 0)?;
        bytes.truncate(len);
        let text = String::from_utf8_lossy(&bytes);
        Self::parse(&text, id).ok_or_else(|| {
            let what = format!("it is not shown what process {id} may do");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    fn parse(text: &str, id: u32) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim)
        };
        (value("Pid")?.parse() == Ok(id)).then_some(())?;
        let bits = |name| u64::from_str_radix(value(name)?, 16).ok();
        // Those that are inheritable alone are worth nothing without new privileges.
        let sets = ["CapPrm", "CapEff", "CapAmb"];
        let capabilities = sets
            .into_iter()
            .map(bits)
            .try_fold(0, |all, set| Some(all | set?))?;
        // Real, effective, saved, of the file system.
        let mut users = value("Uid")?.split_whitespace().map(str::parse);
        let user = users.next()?.ok()?;
        users.all(|it| it == Ok(user)).then_some(())?;
        Some(Self {
            user,
            capabilities: CapabilitySet::from_bits_retain(capabilities),
            no_new: value("NoNewPrivs")? == "1",
            is_filtered: value("Seccomp") == Some("2"),
        })
    }

    /// As it is reported, with what only the process `id` itself knows.
    pub fn privileges(&self, id: u32, held: Held) -> GatewayPrivileges {
        GatewayPrivileges {
            pid: id,
            user: self.user,
            capabilities: privileges::names(self.capabilities),
            no_new: self.no_new,
            calls: held.calls.filter(|_| self.is_filtered),
            landlock: held.landlock,
            locked_memory: held.locked_memory,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\tweapon\nPid:\t7\nUid:\t998\t998\t998\t998\nGroups:\t\n\
                        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                        CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
                        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn a_process_that_may_do_nothing_is_known() {
        let shown = Shown::parse(TEXT, 7).unwrap();
        assert_eq!(
            (shown.user, shown.no_new, shown.is_filtered),
            (998, true, true)
        );
        assert!(shown.capabilities.is_empty());
    }

    #[test]
    fn one_set_with_a_capability_in_it_is_enough() {
        for set in ["CapPrm", "CapEff", "CapAmb"] {
            let text = TEXT.replace(
                &format!("{set}:\t0000000000000000"),
                &format!("{set}:\t0000000000001000"),
            );
            let shown = Shown::parse(&text, 7).unwrap();
            assert_eq!(
                privileges::names(shown.capabilities),
                ["CAP_NET_ADMIN"],
                "{set}"
            );
        }
    }

    #[test]
    fn what_is_not_shown_is_not_taken_for_good() {
        assert_eq!(Shown::parse("", 7), None);
        assert_eq!(Shown::parse(&TEXT.replace("CapEff", "CapXxx"), 7), None);
        assert_eq!(
            Shown::parse(&TEXT.replace("998\t998\t998\t998", "998\t0\t998\t998"), 7),
            None
        );
        assert_eq!(Shown::parse(TEXT, 8), None, "of another process");
    }

    #[test]
    fn ours_is_shown() {
        let status = File::open("/proc/self/status").unwrap();
        assert!(Shown::of(std::process::id(), &status).is_ok());
        assert!(Shown::of(1, &status).is_err());
    }
}
