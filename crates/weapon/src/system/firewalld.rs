//! What firewalld needs, until it is loaded again: the tunnel in the zone `trusted`, and our port
//! open.

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use weapon_io::program::{self, ProgramError};

use super::{Wanted, surroundings::Surroundings};

/// Zones that let pass what comes from their interfaces.
const OPEN_ZONES: [&str; 2] = ["docker", "trusted"];

/// The policy that a user makes as our warning says.
const POLICY: &str = "weapon";

/// Something that is set in firewalld.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zoned {
    /// This interface is in the zone `trusted`.
    Interface(String),
    /// This UDP port is open in the default zone.
    Port(u16),
}

impl Zoned {
    /// What `firewall-cmd` is called with, to `add`, `remove` or `query` it.
    fn arguments(&self, what: &str) -> Vec<String> {
        match self {
            Self::Interface(name) => {
                vec![
                    "--zone=trusted".into(),
                    format!("--{what}-interface={name}"),
                ]
            }
            Self::Port(port) => vec![format!("--{what}-port={port}/udp")],
        }
    }

    /// The command that adds it.
    pub fn command(&self) -> String {
        format!("firewall-cmd {}", self.arguments("add").join(" "))
    }

    /// Whether it is so.
    pub fn is_there(&self) -> bool {
        self.run("query").is_ok()
    }

    /// Makes it so.
    ///
    /// # Errors
    /// What firewalld complains of.
    pub fn add(&self) -> anyhow::Result<()> {
        self.run("add").context("firewalld refuses")
    }

    /// Takes it back. Where firewalld does not run any more, it went with it.
    ///
    /// # Errors
    /// What firewalld complains of, or that it does not answer.
    pub fn remove(&self) -> anyhow::Result<()> {
        match self.run("query") {
            Ok(()) => self.run("remove").context("firewalld refuses"),
            Err(ProgramError::Failed { .. } | ProgramError::Missing { .. }) => Ok(()),
            Err(error) => Err(error).context("firewalld does not answer"),
        }
    }

    fn run(&self, what: &str) -> Result<(), ProgramError> {
        let arguments = self.arguments(what);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        program::run("firewall-cmd", &arguments, "").map(drop)
    }
}

/// Whether firewalld runs here. Its table is looked for first: `firewall-cmd` asks one that may be
/// in another network namespace.
pub fn runs(surroundings: &Surroundings) -> bool {
    surroundings.has_table("inet", "firewalld")
        && program::run("firewall-cmd", &["--state"], "").is_ok()
}

/// What is wanted of it.
pub fn wanted(wanted: &Wanted) -> Vec<Zoned> {
    let mut all = vec![Zoned::Interface(wanted.interface.clone())];
    // Which one it will be is not known to a plan.
    if wanted.listen_port != 0 {
        all.push(Zoned::Port(wanted.listen_port));
    }
    all
}

/// What is to be done by hand: policies between zones are not for a while only.
pub fn warnings(wanted: &Wanted) -> Vec<String> {
    let ask = |argument: &str| program::run("firewall-cmd", &[argument], "").unwrap_or_default();
    let policies = ask("--get-policies");
    if policies.split_whitespace().any(|it| it == POLICY) {
        return Vec::new();
    }
    let mut warnings = vec![format!(
        "firewalld: {} is in the zone trusted, so that peers also reach the ports of this host \
         itself; if that is not wanted, make a zone for it (firewall-cmd --permanent --new-zone), \
         a policy named {POLICY} from there to what lies behind this gateway and back, and set \
         firewall = \"off\" in [gateway]",
        wanted.interface
    )];
    for interface in wanted.interfaces() {
        let zone = ask(&format!("--get-zone-of-interface={interface}"));
        let zone = match zone.trim() {
            "" => ask("--get-default-zone").trim().to_owned(),
            zone => zone.to_owned(),
        };
        if OPEN_ZONES.contains(&zone.as_str()) {
            continue;
        }
        warnings.push(format!(
            "firewalld lets nothing from {interface} (zone {zone}) begin connections into the \
             tunnel; if that is wanted: firewall-cmd --permanent --new-policy {POLICY} && \
             firewall-cmd --permanent --policy {POLICY} --add-ingress-zone {zone} \
             --add-egress-zone trusted --set-target ACCEPT && firewall-cmd --reload"
        ));
    }
    warnings
}
