//! What is set on the system is taken back, by what stands in the journal: when a gateway stops,
//! and when another finds what a killed one has left.

use anyhow::Context as _;

use super::{
    forwarding::Parameters,
    iptables::{self, Saved},
    journal::{Entry, Journal, namespace},
    kill_switch, name_servers, policies, table,
};
use crate::{claim, places::Places};

/// What was found of a gateway that does not run.
#[derive(Debug, PartialEq, Eq)]
pub enum Leftovers {
    /// Nothing.
    None,
    /// Something, and it is undone.
    Undone,
    /// Something in another network namespace.
    Elsewhere,
}

/// Undoes what the gateway of `places` has left; it does not run, or is just starting.
///
/// # Errors
/// Something could not be undone. It stays in the journal.
pub fn clear(places: &Places) -> anyhow::Result<Leftovers> {
    if !places.journal().exists() {
        return Ok(Leftovers::None);
    }
    let mut journal = Journal::open(places)?;
    let cleared = clear_in(&mut journal, places.name())?;
    let lifted = match cleared {
        Leftovers::Elsewhere => false,
        Leftovers::None | Leftovers::Undone => lift(&mut journal, places.name())?,
    };
    Ok(match lifted {
        true => Leftovers::Undone,
        false => cleared,
    })
}

/// Lifts the gateway's kill switch; says whether it was on.
///
/// # Errors
/// It is still on.
pub fn lift(journal: &mut Journal, name: &str) -> anyhow::Result<bool> {
    let Some(entry) = journal.entry(name).filter(|it| it.kill_switch).cloned() else {
        return Ok(false);
    };
    kill_switch::lift(&entry.interface).context("the kill switch is still on")?;
    let off = Entry {
        kill_switch: false,
        ..entry.clone()
    };
    match entry.left() == Some(entry) {
        true => journal.forget(name),
        false => journal.put(off),
    }
    journal.save()?;
    Ok(true)
}

/// As [`clear`], also of all other gateways that do not run any more.
///
/// # Errors
/// As of [`clear`].
pub fn clear_all(places: &Places) -> anyhow::Result<()> {
    if !places.journal().exists() {
        return Ok(());
    }
    let mut journal = Journal::open(places)?;
    let runs =
        |name: &str| name != places.name() && claim::running_pid(&Places::of(name)).is_some();
    for name in journal.names() {
        if runs(&name) {
            continue;
        }
        let cleared = clear_in(&mut journal, &name);
        let cleared = match cleared {
            Err(error) if name != places.name() => {
                let error = format!("{error:#}");
                let gateway = name;
                tracing::warn!(gateway, error, "what it has left can't be undone");
                continue;
            }
            other => other.context("what this gateway has left, when it was killed, stays")?,
        };
        match cleared {
            Leftovers::Undone => tracing::warn!(
                gateway = name,
                "rules and kernel parameters of a gateway that did not stop cleanly were found \
                 and undone"
            ),
            Leftovers::Elsewhere if name == places.name() => {
                tracing::warn!(
                    "this gateway did not stop cleanly in another network namespace; what it has \
                     set there stays"
                );
                journal.abandon(&name);
                journal.save()?;
            }
            Leftovers::Elsewhere | Leftovers::None => {}
        }
    }
    Ok(())
}

fn clear_in(journal: &mut Journal, name: &str) -> anyhow::Result<Leftovers> {
    let Some(entry) = journal.entry(name) else {
        return Ok(Leftovers::None);
    };
    if entry.namespace != namespace()? {
        return Ok(Leftovers::Elsewhere);
    }
    if entry.left().as_ref() == Some(entry) {
        return Ok(Leftovers::None);
    }
    undo(journal, name, &Parameters::default())?;
    Ok(Leftovers::Undone)
}

/// Takes back all that the gateway has set, but for its kill switch: first what lets pass, last
/// what forbids.
///
/// # Errors
/// The first thing that could not be undone; all others are.
pub fn undo(journal: &mut Journal, name: &str, parameters: &Parameters) -> anyhow::Result<()> {
    let Some(entry) = journal.entry(name).cloned() else {
        return Ok(());
    };
    let mut results = Vec::new();
    if let Some(keeper) = entry.names_kept_by {
        results.push(name_servers::remove(keeper, &entry.interface));
    }
    if entry.has_policies {
        results.push(policies::make(&[]));
    }
    results.push(journal.release((name, &entry.namespace), &[], parameters));
    results.extend(entry.zoned.iter().map(|zoned| zoned.remove()));
    let mark = iptables::mark(&entry.interface);
    for program in &entry.programs {
        let saved = Saved::of(program).map_err(anyhow::Error::from);
        results.push(saved.and_then(|saved| saved.make(&mark, &[])));
    }
    match table::remove(&table::name(&entry.interface)) {
        // Then it was not there to load any.
        Err(error) if error.is_missing() => {}
        removed => results.push(removed.map_err(anyhow::Error::from)),
    }
    let result = results.into_iter().find(Result::is_err).unwrap_or(Ok(()));
    if result.is_ok() {
        journal.forget(name);
        if let Some(left) = entry.left() {
            journal.put(left);
        }
    }
    journal.save()?;
    result
}
