//! Checks of the gateway: its file, its process, its interface, its port, its offloads.

use ipnet::IpNet;

use super::check::Check;
use crate::{
    config::model::Offload,
    report::{Offloads, Report},
};

/// The gateway's file, as it was found.
#[derive(Clone, Debug)]
pub enum File {
    /// The gateway runs, and its file is not there any more.
    Missing(String),
    /// It cannot be read, or is not good: the problems, a line each.
    Wrong(Vec<String>),
    /// It is good. Its path, and what is to be said of it all the same.
    Good(String, Vec<String>),
}

impl File {
    /// The configuration file.
    pub fn check(&self) -> Check {
        const NAME: &str = "configuration";
        match self {
            Self::Missing(path) => Check::warning(
                NAME,
                format!("{path} is not there any more"),
                "the gateway runs on; put the file back before it starts again",
            ),
            Self::Wrong(problems) => {
                let remedy = "correct it; `weapon check` says when it is good";
                Check::bad(NAME, problems.join("; "), remedy)
            }
            Self::Good(path, warnings) if warnings.is_empty() => {
                Check::good(NAME, format!("{path} is good"))
            }
            Self::Good(_, warnings) => {
                let remedy = "the file is good; change it if this is not meant";
                Check::warning(NAME, warnings.join("; "), remedy)
            }
        }
    }
}

/// The process of the gateway.
#[derive(Clone, Debug)]
pub enum Running {
    /// There is none.
    No,
    /// There is one, and it does not answer: why.
    Silent(String),
    /// It answers.
    Yes(Box<Report>),
}

impl Running {
    /// What it says, if it runs and answers.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Yes(report) => Some(report),
            Self::No | Self::Silent(_) => None,
        }
    }

    /// Whether the gateway runs. `start` is what to give to `weapon up`.
    pub fn check(&self, start: &str) -> Check {
        const NAME: &str = "gateway";
        match self {
            Self::Yes(report) => {
                Check::good(NAME, format!("runs as process {} and answers", report.pid))
            }
            Self::No => Check::bad(NAME, "does not run", format!("`weapon up {start}`")),
            Self::Silent(error) => Check::bad(
                NAME,
                error,
                format!("run doctor as root; if it still does not answer, `weapon down {start}`"),
            ),
        }
    }
}

/// The TUN device as the kernel has it.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Whether it is up; `None` if there is none of this name.
    pub is_up: Option<bool>,
    /// Addresses that it has.
    pub addresses: Vec<IpNet>,
    /// Addresses that it should have; `None` if that is not known.
    pub wanted: Option<Vec<IpNet>>,
}

impl Interface {
    /// The device is there, up, and has its addresses.
    pub fn check(&self, is_running: bool) -> Check {
        const NAME: &str = "interface";
        let name = &self.name;
        match self.is_up {
            None if is_running => Check::bad(
                NAME,
                format!("{name} is not in this network namespace"),
                "run doctor where the gateway runs: `nsenter --net --target PID weapon doctor`",
            ),
            None => Check::not_applicable(NAME, format!("{name} comes with the gateway")),
            Some(_) if !is_running => Check::bad(
                NAME,
                format!("{name} is there, and the gateway does not run: it is somebody else's"),
                format!("`ip link show {name}`; remove it, or choose another `interface`"),
            ),
            Some(false) => Check::bad(
                NAME,
                format!("{name} is down, so nothing is sent or answered"),
                format!("`ip link set {name} up`"),
            ),
            Some(true) => self.check_addresses(),
        }
    }

    fn check_addresses(&self) -> Check {
        const NAME: &str = "interface";
        let name = &self.name;
        let wanted = self.wanted.as_deref().unwrap_or_default();
        let missing = wanted.iter().filter(|it| !self.addresses.contains(it));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        if missing.is_empty() {
            return Check::good(NAME, format!("{name} is up and has its addresses"));
        }
        Check::bad(
            NAME,
            format!("{name} has lost its address {}", missing.join(", ")),
            format!("`ip address add {} dev {name}`", missing[0]),
        )
    }
}

/// A process, and the name of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its program.
    pub program: String,
}

/// The UDP port as the kernel has it.
#[derive(Clone, Debug, Default)]
pub struct Port {
    /// Its number; 0 is chosen at the start.
    pub number: u16,
    /// Whether anybody has it.
    pub is_bound: bool,
    /// Those who have it, as far as we may see.
    pub holders: Vec<Holder>,
    /// Datagrams that did not fit into the receive buffer.
    pub lost: u64,
}

impl Port {
    /// The port is ours.
    pub fn check(&self, running: &Running) -> Check {
        const NAME: &str = "port";
        let number = self.number;
        let Some(report) = running.report() else {
            return self.check_free();
        };
        if !report.up {
            return Check::not_applicable(NAME, "closed while the interface is down");
        }
        let ours = [report.pid, report.gateway_process.pid];
        let other = self.holders.iter().find(|it| !ours.contains(&it.pid));
        let is_ours = self.holders.iter().any(|it| ours.contains(&it.pid));
        match other {
            Some(other) if !is_ours => Check::bad(
                NAME,
                format!(
                    "UDP port {number} is held by {} (process {}), not by the gateway",
                    other.program, other.pid
                ),
                "stop it, or give the gateway another port (`listen`)",
            ),
            _ if self.is_bound => Check::good(NAME, format!("UDP port {number} is open")),
            _ => Check::bad(
                NAME,
                format!("UDP port {number} is not open"),
                "see the gateway's log; `weapon reload` opens it again",
            ),
        }
    }

    /// While the gateway does not run.
    fn check_free(&self) -> Check {
        const NAME: &str = "port";
        if self.number == 0 || !self.is_bound {
            let says = match self.number {
                0 => "any UDP port will do".to_owned(),
                number => format!("UDP port {number} is free"),
            };
            return Check::good(NAME, says);
        }
        let holder = match &self.holders[..] {
            [holder, ..] => format!("{} (process {})", holder.program, holder.pid),
            [] => "the kernel or another user".to_owned(),
        };
        Check::bad(
            NAME,
            format!("UDP port {} is taken by {holder}", self.number),
            "stop it, or give the gateway another port (`listen`)",
        )
    }
}

/// Kernel facilities that were wanted and are not used.
pub fn offloads(used: Offloads, wanted: Offload) -> Check {
    const NAME: &str = "offloads";
    let all = [
        ("tcp", wanted.tcp, used.tun_tcp),
        ("udp", wanted.udp, used.tun_udp),
        ("gso", wanted.gso, used.udp_gso),
        ("gro", wanted.gro, used.udp_gro),
    ];
    let given_up = all.iter().filter(|(_, wanted, used)| *wanted && !used);
    let given_up: Vec<&str> = given_up.map(|&(name, ..)| name).collect();
    if given_up.is_empty() {
        return Check::good(NAME, "all that are wanted are in use");
    }
    Check::warning(
        NAME,
        format!(
            "the kernel does not do {}: it works, and is slower",
            given_up.join(", ")
        ),
        "a kernel of 6.2 or later has all of them",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{doctor::check::Verdict, report::sample::report};

    fn interface(is_up: Option<bool>) -> Interface {
        Interface {
            name: "w-a".into(),
            is_up,
            addresses: vec!["10.9.0.1/24".parse().unwrap()],
            wanted: Some(vec!["10.9.0.1/24".parse().unwrap()]),
        }
    }

    #[test]
    fn the_interface_is_judged_by_who_should_have_it() {
        for (is_up, is_running, expected) in [
            (Some(true), true, Verdict::Good),
            (Some(false), true, Verdict::Bad),
            (None, true, Verdict::Bad),
            (None, false, Verdict::NotApplicable),
            (Some(true), false, Verdict::Bad),
        ] {
            let check = interface(is_up).check(is_running);
            assert_eq!(check.result, expected, "{check:?}");
        }
        let mut bare = interface(Some(true));
        bare.addresses.clear();
        let check = bare.check(true);
        assert_eq!(check.result, Verdict::Bad);
        assert!(check.says.contains("10.9.0.1/24"), "{check:?}");
    }

    #[test]
    fn a_port_of_somebody_else_is_told_with_his_name() {
        let running = Running::Yes(Box::new(report()));
        let holder = |pid| Holder {
            pid,
            program: "wg-other".into(),
        };
        let mut port = Port {
            number: 51_820,
            is_bound: true,
            holders: vec![holder(report().pid)],
            lost: 0,
        };
        assert_eq!(port.check(&running).result, Verdict::Good);
        port.holders = vec![holder(7)];
        for running in [&running, &Running::No] {
            let check = port.check(running);
            assert_eq!(check.result, Verdict::Bad);
            assert!(check.says.contains("wg-other (process 7)"), "{check:?}");
        }
        port.holders.clear();
        assert_eq!(
            port.check(&running).result,
            Verdict::Good,
            "not ours to see"
        );
        assert_eq!(port.check(&Running::No).result, Verdict::Bad);
        port.is_bound = false;
        assert_eq!(port.check(&running).result, Verdict::Bad);
        assert_eq!(port.check(&Running::No).result, Verdict::Good);
        let mut down = report();
        down.up = false;
        let check = port.check(&Running::Yes(Box::new(down)));
        assert_eq!(check.result, Verdict::NotApplicable);
    }

    #[test]
    fn offloads_that_were_switched_off_are_not_missed() {
        let used = Offloads {
            tun_tcp: true,
            tun_udp: false,
            udp_gso: true,
            udp_gro: true,
        };
        let mut wanted = Offload::default();
        let check = offloads(used, wanted);
        assert_eq!(check.result, Verdict::Warning);
        assert!(check.says.contains("does not do udp:"), "{check:?}");
        wanted.udp = false;
        assert_eq!(offloads(used, wanted).result, Verdict::Good);
    }
}
