//! The firewall that is there: whose chains there are, and what they drop.

use std::fs;

use anyhow::{Context as _, bail};
use serde_json::Value;
use weapon_io::program;

use super::{
    Wanted, docker, firewalld,
    iptables::{Rule, Saved},
    name_servers::{self, Keeps},
    table, ufw,
};

/// Tables that a program of `iptables-legacy` has loaded in this network namespace.
const LEGACY_TABLES: [(&str, &str); 2] = [
    ("iptables-legacy", "/proc/thread-self/net/ip_tables_names"),
    ("ip6tables-legacy", "/proc/thread-self/net/ip6_tables_names"),
];

/// A chain of nftables, of whichever table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Chain {
    family: String,
    table: String,
    name: String,
    /// What it hangs on, if it is a base chain.
    hook: Option<String>,
    /// `filter`, `nat` or `route`, if it is a base chain.
    kind: Option<String>,
    policy: Option<String>,
}

/// What is there at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    chains: Vec<Chain>,
    /// By program.
    pub saved: Vec<Saved>,
    /// Whether firewalld runs.
    pub has_firewalld: bool,
    /// Who keeps the name servers of this host.
    pub keeps_names: Option<Keeps>,
}

impl Surroundings {
    /// Looks.
    ///
    /// # Errors
    /// A program is missing without which nothing can be set.
    pub fn look(wanted: &Wanted) -> anyhow::Result<Self> {
        let mut found = if wanted.has_table() || wanted.kill_switch {
            Self::of_firewall()?
        } else {
            Self::default()
        };
        if !wanted.dns.0.is_empty() {
            found.keeps_names = Keeps::find();
        }
        Ok(found)
    }

    fn of_firewall() -> anyhow::Result<Self> {
        let text = match program::run("nft", &["-j", "list", "chains"], "") {
            Ok(text) => text,
            Err(error) if error.is_missing() => bail!(
                "there is no program `nft` in PATH, which sets the firewall for what lies behind \
                 this gateway: install the package `nftables`, or write firewall = \"off\" in \
                 [gateway] and set forwarding and firewall yourself"
            ),
            Err(error) => {
                return Err(error).context(
                    "cannot see the firewall (with firewall = \"off\" in [gateway] it is left \
                     alone)",
                );
            }
        };
        let mut found = Self {
            chains: chains(&text),
            ..Self::default()
        };
        let legacy: Vec<&str> = legacy_programs().collect();
        for program in ["iptables", "ip6tables"] {
            found.add(program, &legacy)?;
        }
        for program in legacy {
            // Where this is what `iptables` means, it was asked already.
            match Saved::of(program) {
                Ok(saved) if !found.saved.iter().any(|it| it.is_same(&saved)) => {
                    found.saved.push(saved);
                }
                _ => {}
            }
        }
        found.has_firewalld = firewalld::runs(&found);
        Ok(found)
    }

    /// Asks one program, if it has any rules.
    fn add(&mut self, program: &str, legacy: &[&str]) -> anyhow::Result<()> {
        let family = if program == "iptables" { "ip" } else { "ip6" };
        let is_legacy = legacy.iter().any(|it| *it == format!("{program}-legacy"));
        if !is_legacy && !self.has_table(family, "filter") && !self.has_table(family, "raw") {
            return Ok(());
        }
        match Saved::of(program) {
            Ok(saved) => self.saved.push(saved),
            Err(error) if error.is_missing() => self.ensure_not_needed(family, program)?,
            // As it can't read its tables, nobody else has rules in them.
            Err(error) => tracing::debug!(%error, "no rules of this program"),
        }
        Ok(())
    }

    /// Fails where a chain is there that only the missing `program` can change.
    fn ensure_not_needed(&self, family: &str, program: &str) -> anyhow::Result<()> {
        let names = [docker::CHAIN, "ufw-user-forward", "ufw6-user-forward"];
        let mut chains = self.chains.iter().filter(|it| it.family == family);
        let Some(chain) = chains.find(|it| names.contains(&it.name.as_str())) else {
            return Ok(());
        };
        bail!(
            "the chain {} is there, but no program `{program}` in PATH to accept in it: install \
             the package `iptables`, or write firewall = \"off\" in [gateway] and set the \
             firewall yourself",
            chain.name
        )
    }

    /// Whether there is a table with a chain.
    pub fn has_table(&self, family: &str, table: &str) -> bool {
        let mut chains = self.chains.iter();
        chains.any(|it| it.family == family && it.table == table)
    }

    /// Whether somebody, beside gateways, translates addresses here. The kernel tracks connections
    /// then, whoever else asks for their state.
    pub fn translates(&self) -> bool {
        let is_gateways = |chain: &Chain| chain.family == "inet" && table::is_ours(&chain.table);
        let mut chains = self.chains.iter();
        chains.any(|it| it.kind.as_deref() == Some("nat") && !is_gateways(it))
            || self
                .saved
                .iter()
                .any(|it| it.has_chain("nat", "POSTROUTING"))
    }

    /// The rules that are wanted in chains of others.
    pub fn rules(&self, wanted: &Wanted) -> Vec<Rule> {
        let all = self.saved.iter();
        all.flat_map(|saved| [docker::rules(wanted, saved), ufw::rules(wanted, saved)].concat())
            .collect()
    }

    /// What has to be done by hand.
    pub fn warnings(&self, wanted: &Wanted) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.keeps_names.is_none() && !wanted.dns.0.is_empty() {
            warnings.push(name_servers::warning(&wanted.dns.0));
        }
        if !wanted.has_site || !wanted.firewall {
            return warnings;
        }
        warnings.extend(docker::warnings(wanted, self));
        if self.has_firewalld {
            warnings.extend(firewalld::warnings(wanted));
        }
        let ours = table::name(&wanted.interface);
        for chain in self.chains.iter().filter(|it| it.drops_forwarded()) {
            if chain.table != ours && !self.is_opened(chain) {
                let Chain {
                    family,
                    table,
                    name,
                    ..
                } = chain;
                warnings.push(format!(
                    "the chain {name} of the table {family} {table} drops what it does not accept \
                     (policy drop), and no other chain can change that: let it accept what comes \
                     from and goes to {}: nft add rule {family} {table} {name} iifname {0} accept; \
                     nft add rule {family} {table} {name} oifname {0} accept",
                    wanted.interface
                ));
            }
        }
        warnings
    }

    /// Whether a chain of others is there in which we accept for it, or firewalld does.
    fn is_opened(&self, chain: &Chain) -> bool {
        let program = match chain.family.as_str() {
            "ip" => "iptables",
            "ip6" => "ip6tables",
            _ => return chain.table == "firewalld",
        };
        let doors = [docker::CHAIN, "ufw-user-forward", "ufw6-user-forward"];
        let saved = self.saved.iter().find(|it| it.program == program);
        chain.table == "filter"
            && chain.name == "FORWARD"
            && saved.is_some_and(|saved| doors.iter().any(|it| saved.has_chain("filter", it)))
            // Docker's backend for nftables has tables of its own names.
            || chain.table == "docker-bridges"
    }
}

impl Chain {
    fn drops_forwarded(&self) -> bool {
        self.hook.as_deref() == Some("forward") && self.policy.as_deref() == Some("drop")
    }
}

/// Programs of `iptables-legacy` that have rules here. They tell nobody of changes.
pub fn legacy_programs() -> impl Iterator<Item = &'static str> {
    let found = LEGACY_TABLES.into_iter().filter(|(_, path)| {
        let names = fs::read_to_string(path);
        names.is_ok_and(|names| !names.trim().is_empty())
    });
    found.map(|(program, _)| program)
}

/// From what `nft -j list chains` wrote. What is not understood is left out.
fn chains(text: &str) -> Vec<Chain> {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let items = value["nftables"].as_array().into_iter().flatten();
    let chains = items.filter_map(|item| {
        let chain = item.get("chain")?;
        let word = |key: &str| Some(chain.get(key)?.as_str()?.to_owned());
        Some(Chain {
            family: word("family")?,
            table: word("table")?,
            name: word("name")?,
            hook: word("hook"),
            kind: word("type"),
            policy: word("policy"),
        })
    });
    chains.collect()
}

#[cfg(test)]
mod tests;
