//! Rules in chains that others keep with `iptables`: read, added, taken back.
//!
//! Ours are known by their comment, which says whose they are and why, and is like no other's.

use std::collections::BTreeMap;

use anyhow::Context as _;
use weapon_io::program::{self, ProgramError};

/// Seconds that a program may wait for another that changes rules.
const WAIT: &str = "5";

/// A rule that accepts, in a chain of somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `iptables`, `ip6tables`, or one of these with `-legacy`.
    pub program: String,
    /// `filter` or `raw`.
    pub table: &'static str,
    /// The chain, which is there.
    pub chain: String,
    /// What it matches, as `iptables` takes it.
    pub matches: String,
    /// The comment, by which it is found.
    pub comment: String,
}

impl Rule {
    /// A rule in a chain of a table, with a comment like that of no other there.
    pub fn new(saved: &Saved, place: (&'static str, &str), matches: String, comment: &str) -> Self {
        Self {
            program: saved.program.clone(),
            table: place.0,
            chain: place.1.to_owned(),
            matches,
            comment: comment.to_owned(),
        }
    }

    /// The rule as a command line.
    pub fn command(&self) -> String {
        format!("{} -t {} -I {}", self.program, self.table, self.line())
    }

    fn line(&self) -> String {
        format!(
            "{} {} -m comment --comment \"{}\" -j ACCEPT",
            self.chain, self.matches, self.comment
        )
    }
}

/// What comments of the gateway with this interface begin with.
pub fn mark(interface: &str) -> String {
    format!("weapon {interface}: ")
}

/// All rules of one program, as `iptables-save` writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The program.
    pub program: String,
    tables: BTreeMap<String, SavedTable>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SavedTable {
    chains: Vec<String>,
    /// Lines that begin with `-A`.
    rules: Vec<String>,
}

impl Saved {
    /// Asks `program` for its rules.
    ///
    /// # Errors
    /// There is no such program, or it cannot read its tables.
    pub fn of(program: &str) -> Result<Self, ProgramError> {
        let text = program::run(&format!("{program}-save"), &[], "")?;
        Ok(Self::parse(program, &text))
    }

    /// From what `iptables-save` wrote.
    pub fn parse(program: &str, text: &str) -> Self {
        let mut tables: BTreeMap<String, SavedTable> = BTreeMap::new();
        let mut table = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                name.trim().clone_into(&mut table);
                continue;
            }
            let entry = tables.entry(table.clone()).or_default();
            if let Some(chain) = line.strip_prefix(':') {
                let name = chain.split_whitespace().next().unwrap_or_default();
                entry.chains.push(name.to_owned());
            } else if line.starts_with("-A ") {
                entry.rules.push(line.to_owned());
            }
        }
        Self {
            program: program.to_owned(),
            tables,
        }
    }

    /// Whether the program is of IPv4.
    pub fn is_ipv4(&self) -> bool {
        !self.program.starts_with("ip6")
    }

    /// Whether another program has the very same rules.
    pub fn is_same(&self, other: &Self) -> bool {
        self.tables == other.tables
    }

    /// Whether there is such a chain.
    pub fn has_chain(&self, table: &str, chain: &str) -> bool {
        let table = self.tables.get(table);
        table.is_some_and(|table| table.chains.iter().any(|it| it == chain))
    }

    /// The rules of a chain, without `-A CHAIN`.
    pub fn rules<'a>(&'a self, table: &str, chain: &'a str) -> impl Iterator<Item = &'a str> {
        let rules = self.tables.get(table).into_iter();
        rules.flat_map(|table| &table.rules).filter_map(move |it| {
            let (name, rule) = it.strip_prefix("-A ")?.split_once(' ')?;
            (name == chain).then_some(rule)
        })
    }

    /// Whether the rule is there, before all that would drop what it accepts.
    pub fn has(&self, rule: &Rule) -> bool {
        let comment = quoted(&rule.comment);
        let mut rules = self.rules(rule.table, &rule.chain);
        // In the raw table Docker's drops stand in the same chain; elsewhere ours come first.
        let mut before = rules.by_ref().take_while(|it| !it.contains(&comment));
        let dropped = rule.table == "raw" && before.any(|it| it.ends_with("-j DROP"));
        !dropped
            && self
                .rules(rule.table, &rule.chain)
                .any(|it| it.contains(&comment))
    }

    /// What `iptables-restore --noflush` is to be fed, so that of the rules of this mark those are
    /// there that are `wanted`, and no others; `None` if it is so.
    pub fn transaction(&self, mark: &str, wanted: &[Rule]) -> Option<String> {
        let wanted: Vec<&Rule> = wanted
            .iter()
            .filter(|it| it.program == self.program)
            .collect();
        let mut text = String::new();
        for (name, table) in &self.tables {
            let mut lines = Vec::new();
            let mut kept: Vec<&Rule> = Vec::new();
            for line in table.rules.iter().filter(|it| is_marked(it, mark)) {
                let same = wanted.iter().find(|rule| {
                    rule.table == name
                        && line.starts_with(&format!("-A {} ", rule.chain))
                        && line.contains(&quoted(&rule.comment))
                });
                match same {
                    Some(rule) if self.has(rule) && !kept.contains(rule) => kept.push(rule),
                    _ => lines.push(line.replacen("-A ", "-D ", 1)),
                }
            }
            let come = wanted
                .iter()
                .filter(|it| it.table == name && !kept.contains(it));
            // The first of the list comes to stand first.
            let come: Vec<String> = come.map(|rule| format!("-I {}", rule.line())).collect();
            lines.extend(come.into_iter().rev());
            if !lines.is_empty() {
                text.push_str(&format!("*{name}\n{}\nCOMMIT\n", lines.join("\n")));
            }
        }
        (!text.is_empty()).then_some(text)
    }

    /// Makes it so that of the rules of this mark those are there that are `wanted`.
    ///
    /// # Errors
    /// What the program complains of.
    pub fn make(&self, mark: &str, wanted: &[Rule]) -> anyhow::Result<()> {
        let Some(text) = self.transaction(mark, wanted) else {
            return Ok(());
        };
        let restore = format!("{}-restore", self.program);
        program::run(&restore, &["--noflush", "-w", WAIT], &text)
            .with_context(|| format!("cannot change rules:\n{}", text.trim_end()))?;
        Ok(())
    }
}

fn quoted(comment: &str) -> String {
    format!("--comment \"{comment}\"")
}

fn is_marked(line: &str, mark: &str) -> bool {
    line.contains(&format!("--comment \"{mark}"))
}

#[cfg(test)]
mod tests;
