//! All that was found out about a gateway and its machine, and the checks of it in the order in
//! which one thing needs another.

use super::{
    check::Check,
    firewall::{Forwarding, Ruleset, rules},
    gateway::{File, Interface, Port, Running, offloads},
    machine::Machine,
    peers::{Peer, rejected},
    routes::Reach,
};
use crate::{config::model::Offload, system::SystemReport};

/// What was found out.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The machine.
    pub machine: Machine,
    /// The gateway; `None` if none was named and none runs.
    pub gateway: Option<GatewayFacts>,
}

/// What was found out about one gateway.
#[derive(Clone, Debug)]
pub struct GatewayFacts {
    /// What to give to `weapon up`.
    pub start: String,
    /// Its file.
    pub file: File,
    /// Its process.
    pub running: Running,
    /// Its TUN device; `None` if its name is not known.
    pub interface: Option<Interface>,
    /// Its UDP port; `None` if its number is not known.
    pub port: Option<Port>,
    /// Kernel facilities that the file allows; `None` if it says nothing.
    pub offload: Option<Offload>,
    /// Bytes of the largest packet in the tunnel; `None` while there is no tunnel.
    pub mtu: Option<u32>,
    /// Its peers.
    pub peers: Vec<Peer>,
    /// Their networks.
    pub networks: Vec<Reach>,
    /// What nftables has; or why that is not known.
    pub ruleset: Result<Ruleset, String>,
    /// What is forwarded.
    pub forwarding: Forwarding,
    /// What the running gateway has set on the system; `None` if it does not run.
    pub system: Option<SystemReport>,
}

impl Facts {
    /// All checks.
    pub fn checks(&self) -> Vec<Check> {
        let mut checks = vec![self.machine.privilege(), self.machine.device()];
        match &self.gateway {
            Some(gateway) => gateway.check(&self.machine, &mut checks),
            None => {
                let says = "none was named and none runs";
                checks.push(Check::not_applicable("gateway", says));
                checks.push(self.machine.clock());
                checks.push(self.machine.buffers(0));
            }
        }
        checks
    }
}

impl GatewayFacts {
    fn check(&self, machine: &Machine, checks: &mut Vec<Check>) {
        let report = self.running.report();
        checks.push(self.file.check());
        checks.push(self.running.check(&self.start));
        let interface = self.interface.iter();
        checks.extend(interface.map(|it| it.check(report.is_some())));
        checks.extend(self.port.iter().map(|it| it.check(&self.running)));
        // Where the clock is wrong, handshakes fail.
        checks.push(machine.clock());
        for peer in &self.peers {
            checks.extend([
                peer.endpoint(),
                peer.way(),
                peer.mtu(self.mtu),
                peer.handshake(),
            ]);
        }
        if let Some(report) = report {
            checks.extend(rejected(&report.rejected, &report.public_key, machine.now));
        }
        checks.extend(self.networks.iter().map(Reach::check));
        checks.extend(self.forwarding.site());
        checks.push(self.forwarding.check());
        self.check_firewall(checks);
        if let (Some(report), Some(offload)) = (report, self.offload) {
            checks.push(offloads(report.offloads, offload));
        }
        checks.push(machine.buffers(self.port.as_ref().map_or(0, |port| port.lost)));
    }

    /// What is set on the system. This is the place to hold it against what should be set.
    fn check_firewall(&self, checks: &mut Vec<Check>) {
        let ruleset = match &self.ruleset {
            Ok(ruleset) => ruleset,
            Err(error) => {
                checks.push(Check::not_applicable("firewall", error));
                return;
            }
        };
        if let Some(port) = self.port.as_ref().filter(|port| port.number != 0) {
            checks.push(ruleset.udp(port.number));
        }
        // Who keeps rules knows best which of them are needed.
        if let Some(check) = self.system.as_ref().and_then(rules) {
            checks.push(check);
            return;
        }
        checks.push(ruleset.forward(!self.forwarding.behind.is_empty()));
        checks.push(ruleset.docker(self.forwarding.wants_docker));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::Verdict;

    #[test]
    fn what_follows_from_nothing_running_is_not_said_to_be_bad() {
        let facts = Facts {
            machine: Machine {
                capabilities: Some(u64::MAX),
                now: 1_800_000_000,
                ..Machine::default()
            },
            gateway: Some(GatewayFacts {
                start: "a".into(),
                file: File::Good("a.toml".into(), Vec::new()),
                running: Running::No,
                interface: Some(Interface {
                    name: "w-a".into(),
                    is_up: None,
                    addresses: Vec::new(),
                    wanted: None,
                }),
                port: Some(Port {
                    number: 51_820,
                    ..Port::default()
                }),
                offload: Some(Offload::default()),
                mtu: None,
                peers: Vec::new(),
                networks: Vec::new(),
                ruleset: Err("nft is not installed".into()),
                forwarding: Forwarding::default(),
                system: None,
            }),
        };
        let checks = facts.checks();
        let bad: Vec<&Check> = checks
            .iter()
            .filter(|check| check.result == Verdict::Bad)
            .collect();
        assert_eq!(bad.len(), 1, "{bad:?}");
        assert_eq!(bad[0].remedy.as_deref(), Some("`weapon up a`"));
    }
}
