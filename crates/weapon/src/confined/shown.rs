//! What a process may do, as the kernel shows it (proc_pid_status(5)). It is asked by another: who
//! may do nothing cannot ask.

use std::{fs, io};

use rustix::thread::CapabilitySet;

use super::message::Held;
use crate::report::GatewayPrivileges;

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
    /// Of the process `id` at this moment.
    ///
    /// # Errors
    /// There is none, or `/proc` does not show it.
    pub fn of(id: u32) -> io::Result<Self> {
        let path = format!("/proc/{id}/status");
        let text = fs::read_to_string(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("cannot read {path}: {error}"))
        })?;
        Self::parse(&text).ok_or_else(|| {
            let what = format!("{path} does not say what the process may do");
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim)
        };
        let bits = |name| u64::from_str_radix(value(name)?, 16).ok();
        let sets = ["CapInh", "CapPrm", "CapEff", "CapAmb"];
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
            capabilities: names(self.capabilities),
            no_new: self.no_new,
            calls: held.calls.filter(|_| self.is_filtered),
            landlock: held.landlock,
            locked_memory: held.locked_memory,
        }
    }
}

/// As `CAP_NET_ADMIN`.
pub fn names(capabilities: CapabilitySet) -> Vec<String> {
    let names = capabilities.iter_names();
    names.map(|(name, _)| format!("CAP_{name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Name:\tweapon\nUid:\t998\t998\t998\t998\nGroups:\t\n\
                        CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
                        CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\n\
                        CapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[test]
    fn a_process_that_may_do_nothing_is_known() {
        let shown = Shown::parse(TEXT).unwrap();
        assert_eq!(
            (shown.user, shown.no_new, shown.is_filtered),
            (998, true, true)
        );
        assert!(shown.capabilities.is_empty());
    }

    #[test]
    fn one_set_with_a_capability_in_it_is_enough() {
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let text = TEXT.replace(
                &format!("{set}:\t0000000000000000"),
                &format!("{set}:\t0000000000001000"),
            );
            let shown = Shown::parse(&text).unwrap();
            assert_eq!(names(shown.capabilities), ["CAP_NET_ADMIN"], "{set}");
        }
    }

    #[test]
    fn what_is_not_shown_is_not_taken_for_good() {
        assert_eq!(Shown::parse(""), None);
        assert_eq!(Shown::parse(&TEXT.replace("CapEff", "CapXxx")), None);
        assert_eq!(
            Shown::parse(&TEXT.replace("998\t998\t998\t998", "998\t0\t998\t998")),
            None
        );
        assert!(Shown::of(u32::MAX).is_err());
    }
}
