//! The steps: one list that is shown before, done, checked and undone.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weapon_io::netlink::Policy;

use super::{
    Wanted,
    firewalld::{self, Zoned},
    forwarding::{Parameters, Setting, spelled},
    iptables::Rule,
    kill_switch,
    name_servers::NameServers,
    surroundings::Surroundings,
    table::{Loaded, Table},
};
use crate::left_out::LeftOut;

/// One thing that is set on the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The TUN device of this name.
    Interface(String),
    /// The device's MTU.
    Mtu(u32),
    /// An address of the device.
    Address(IpNet),
    /// A route through the device.
    Route(IpNet),
    /// A route that is not set, on purpose.
    LeftOut(LeftOut),
    /// The table that stays when the gateway ends.
    KillSwitch(Table),
    /// Our table of nftables.
    Table(Table),
    /// A rule in a chain of somebody else.
    Rule(Rule),
    /// What firewalld is told.
    Zoned(Zoned),
    /// A kernel parameter.
    Setting(Setting),
    /// A rule that says in which table packets are looked up.
    Policy(Policy),
    /// Name servers.
    NameServers(NameServers),
}

/// The device at one moment.
#[derive(Clone, Debug, Default)]
pub struct Device {
    /// Its MTU.
    pub mtu: u32,
    /// Its addresses.
    pub addresses: Vec<IpNet>,
    /// Where routes through it lead.
    pub routes: Vec<IpNet>,
}

/// What steps are held against.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The firewall.
    pub surroundings: &'a Surroundings,
    /// The kernel's parameters.
    pub parameters: &'a Parameters,
    /// Our table as it was loaded.
    pub loaded: Option<&'a Loaded>,
    /// The kill switch as it was loaded.
    pub kill_switch: Option<&'a Loaded>,
    /// The policy rules of ours.
    pub policies: &'a [Policy],
    /// The device, where it is.
    pub device: Option<&'a Device>,
}

/// A step as it is shown, and printed with `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StepReport {
    /// `interface`, `mtu`, `address`, `route`, `route_left_out`, `kill_switch`, `table`, `rule`,
    /// `firewalld`, `forwarding`, `policy` or `name_servers`.
    pub kind: String,
    /// What it is, in a line.
    pub text: String,
    /// The text of a table; null for the others.
    pub detail: Option<String>,
    /// Whether it is so at this moment; null where that was not asked.
    pub there: Option<bool>,
}

/// All that is set on the system for one gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SystemReport {
    /// The gateway.
    pub name: String,
    /// The steps, in the order in which they are done.
    pub steps: Vec<StepReport>,
    /// What has to be done by hand.
    pub warnings: Vec<String>,
}

/// What is to be set for what lies behind us, in that order: what forbids comes before what lets
/// pass. `held` are the parameters that are set for us already.
pub fn planned(
    wanted: &Wanted,
    surroundings: &Surroundings,
    parameters: &Parameters,
    held: &BTreeSet<String>,
) -> Vec<Step> {
    let policies = wanted.policies().into_iter().map(Step::Policy);
    let kill_switch = kill_switch::table(wanted).map(Step::KillSwitch);
    let name_servers = surroundings.keeps_names;
    let name_servers = name_servers.and_then(|it| wanted.name_servers(it));
    let name_servers = name_servers.map(Step::NameServers);
    let mut steps: Vec<Step> = kill_switch.into_iter().collect();
    if !wanted.has_table() {
        steps.extend(policies.chain(name_servers));
        return steps;
    }
    steps.push(Step::Table(Table::of(wanted, surroundings.translates())));
    if wanted.has_site {
        steps.extend(surroundings.rules(wanted).into_iter().map(Step::Rule));
        if surroundings.has_firewalld {
            steps.extend(firewalld::wanted(wanted).into_iter().map(Step::Zoned));
        }
    }
    let settings = parameters.wanted(wanted, held).into_iter();
    steps.extend(settings.map(Step::Setting));
    // Last: what comes in from outside is answered the same way from here on.
    steps.extend(policies.chain(name_servers));
    steps
}

impl Step {
    /// Whether it is so. What is left out is so if it is not there.
    pub fn is_there(&self, seen: &Seen<'_>) -> bool {
        let device = |is: &dyn Fn(&Device) -> bool| seen.device.is_some_and(is);
        match self {
            Self::Interface(_) => seen.device.is_some(),
            Self::Mtu(mtu) => device(&|it| it.mtu == *mtu),
            Self::Address(address) => device(&|it| it.addresses.contains(address)),
            Self::Route(network) => device(&|it| it.routes.contains(network)),
            Self::LeftOut(left) => device(&|it| !it.routes.contains(&left.network)),
            Self::Table(it) => Loaded::is_there(seen.loaded, it),
            Self::KillSwitch(it) => Loaded::is_there(seen.kill_switch, it),
            Self::Rule(rule) => {
                let mut saved = seen.surroundings.saved.iter();
                saved.any(|it| it.program == rule.program && it.has(rule))
            }
            Self::Zoned(zoned) => zoned.is_there(),
            Self::NameServers(it) => it.is_there(),
            Self::Policy(policy) => seen.policies.contains(policy),
            // One that is gone with its interface is not missed.
            Self::Setting(setting) => {
                let now = seen.parameters.read(&setting.key);
                now.is_none_or(|now| now == setting.value)
            }
        }
    }

    /// As it is shown.
    pub fn report(&self, there: Option<bool>) -> StepReport {
        let (kind, text) = match self {
            Self::Interface(name) => ("interface", format!("interface {name}")),
            Self::Mtu(mtu) => ("mtu", format!("MTU {mtu}")),
            Self::Address(address) => ("address", format!("address {address}")),
            Self::Route(network) => ("route", format!("route to {network}")),
            Self::LeftOut(left) => ("route_left_out", left.to_string()),
            Self::Table(table) => ("table", format!("nftables: table inet {}", table.name)),
            Self::KillSwitch(table) => (
                "kill_switch",
                format!("nftables: table inet {}, until `weapon down`", table.name),
            ),
            Self::Rule(rule) => ("rule", rule.command()),
            Self::Zoned(zoned) => ("firewalld", zoned.command()),
            Self::Setting(setting) => {
                let text = format!("{} = {}", spelled(&setting.key), setting.value);
                ("forwarding", text)
            }
            Self::Policy(policy) => ("policy", policy.to_string()),
            Self::NameServers(it) => ("name_servers", it.to_string()),
        };
        let detail = match self {
            Self::Table(table) | Self::KillSwitch(table) => Some(table.text.clone()),
            _ => None,
        };
        StepReport {
            kind: kind.to_owned(),
            text,
            detail,
            there,
        }
    }
}
