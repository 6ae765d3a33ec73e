//! Name servers that are asked while the tunnel is up, told to whoever keeps those of this host:
//! systemd-resolved, or a program `resolvconf`. A file is never replaced.

use std::{fmt, net::IpAddr, path::Path};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use weapon_io::program::{self, ProgramError};

/// Where systemd-resolved is, when it runs.
const RESOLVED: &str = "/run/systemd/resolve";

/// Who keeps the name servers of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keeps {
    /// systemd-resolved, for each interface; it forgets them with the interface.
    Resolved,
    /// A program `resolvconf`.
    Resolvconf,
}

impl Keeps {
    /// Who it is here; nobody that we know.
    pub fn find() -> Option<Self> {
        if Path::new(RESOLVED).exists() && runs("resolvectl", &["--version"]) {
            return Some(Self::Resolved);
        }
        // Those of several makers are called so; none knows an option that asks nothing of it.
        let missing = program::run("resolvconf", &["--version"], "");
        let is_there = !missing.is_err_and(|error| error.is_missing());
        is_there.then_some(Self::Resolvconf)
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    program::run(program, arguments, "").is_ok()
}

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServers {
    /// To whom.
    pub kept_by: Keeps,
    /// By which interface they are asked.
    pub interface: String,
    /// The servers, the first first.
    pub servers: Vec<IpAddr>,
    /// Domains in which names are looked for.
    pub domains: Vec<String>,
}

impl fmt::Display for NameServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.servers.iter().map(ToString::to_string);
        let words = servers.chain(self.domains.iter().cloned());
        let words = words.collect::<Vec<_>>().join(" ");
        match self.kept_by {
            Keeps::Resolved => write!(f, "resolvectl dns {} {words}", self.interface),
            Keeps::Resolvconf => write!(f, "resolvconf -a {} ({words})", entry(&self.interface)),
        }
    }
}

/// The name of our entry in the records of `resolvconf`. What the interface is for is told by the
/// part before the dot (`man interface-order`), as wg-quick does.
fn entry(interface: &str) -> String {
    format!("tun.{interface}")
}

impl NameServers {
    /// Tells it.
    ///
    /// # Errors
    /// What the program complains of.
    pub fn add(&self) -> anyhow::Result<()> {
        match self.kept_by {
            Keeps::Resolved => self.tell_resolved(),
            Keeps::Resolvconf => self.tell_resolvconf(),
        }
        .context("cannot set the name servers of the tunnel")
    }

    fn tell_resolved(&self) -> Result<(), ProgramError> {
        let servers: Vec<String> = self.servers.iter().map(ToString::to_string).collect();
        // The domain `~.` is that of all names: nobody else is asked.
        let domains = [&["~.".to_owned()], &*self.domains].concat();
        for (what, words) in [
            ("dns", servers),
            ("domain", domains),
            ("default-route", vec!["yes".to_owned()]),
        ] {
            let words = words.iter().map(String::as_str);
            let words: Vec<&str> = [what, &self.interface].into_iter().chain(words).collect();
            program::run("resolvectl", &words, "")?;
        }
        Ok(())
    }

    fn tell_resolvconf(&self) -> Result<(), ProgramError> {
        let servers = self.servers.iter().map(|it| format!("nameserver {it}\n"));
        let mut text: String = servers.collect();
        if !self.domains.is_empty() {
            text.push_str(&format!("search {}\n", self.domains.join(" ")));
        }
        // Before those of others, and alone where that is known.
        let entry = entry(&self.interface);
        program::run("resolvconf", &["-a", &entry, "-m", "0", "-x"], &text).map(drop)
    }

    /// Whether it is so, once it was told, as far as that can be asked: the programs `resolvconf`
    /// of different makers list what they know in different ways, or not at all.
    pub fn is_there(&self) -> bool {
        let said = match self.kept_by {
            Keeps::Resolved => program::run("resolvectl", &["dns", &self.interface], ""),
            Keeps::Resolvconf => return true,
        };
        said.is_ok_and(|said| {
            let words: Vec<&str> = said.split_whitespace().collect();
            let mut servers = self.servers.iter();
            servers.all(|it| words.contains(&&*it.to_string()))
        })
    }
}

/// Takes back what `keeper` was told for this interface.
///
/// # Errors
/// What the program complains of.
pub fn remove(keeper: Keeps, interface: &str) -> anyhow::Result<()> {
    let removed = match keeper {
        Keeps::Resolved => program::run("resolvectl", &["revert", interface], ""),
        Keeps::Resolvconf => program::run("resolvconf", &["-d", &entry(interface), "-f"], ""),
    };
    match (removed, keeper) {
        (Ok(_), _) => Ok(()),
        // It knows no such interface any more, or does not run, and has forgotten it.
        (Err(ProgramError::Failed { .. } | ProgramError::Missing { .. }), Keeps::Resolved) => {
            Ok(())
        }
        (Err(error), _) => Err(error).context("the name servers of the tunnel stay"),
    }
}

/// What is to be done by hand where nobody keeps them.
pub fn warning(servers: &[IpAddr]) -> String {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    format!(
        "neither systemd-resolved nor a program `resolvconf` is here to be told of the name \
         servers {} (dns in [gateway]): install the package `openresolv` or `systemd-resolved`, \
         or set them yourself",
        servers.join(", ")
    )
}
