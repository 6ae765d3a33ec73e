//! The keeper: sets on the system what is wanted, keeps it there, and takes it back when dropped.

use std::{collections::BTreeSet, future::pending, io, time::Duration};

use tokio::time::{Instant, sleep_until, timeout_at};
use weapon_io::netlink::{Policy, RuleMonitor};

use super::{
    Step, Wanted,
    firewalld::Zoned,
    forwarding::{Parameters, Setting},
    iptables::{self, Rule},
    journal::{Entry, Journal, namespace},
    kill_switch, leftovers,
    name_servers::{self, Keeps},
    policies,
    steps::{Device, Seen, StepReport, planned},
    surroundings::{Surroundings, legacy_programs},
    table::Loaded,
};
use crate::places::Places;

/// Whoever changes rules mostly changes several: they are looked at when it is quiet again.
const CHANGES_TIME: Duration = Duration::from_millis(200);

/// The rules are looked at once in this time at most, however often somebody changes some.
const LOOK_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// After which time it is tried again what could not be set.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Of the rules of one gateway.
#[derive(Debug)]
pub struct Keeper {
    pub(super) places: Places,
    pub(super) namespace: String,
    parameters: Parameters,
    /// What is set; nothing before the first time.
    wanted: Option<Wanted>,
    steps: Vec<Step>,
    loaded: Option<Loaded>,
    pub(super) kill_switch: Option<Loaded>,
    /// The kill switch goes with all else.
    pub(super) is_lifted: bool,
    /// What should be set, but could not.
    missed: Option<Missed>,
    /// There are policy rules of ours.
    has_policies: bool,
    /// Something of ours may be on the system.
    is_marked: bool,
    /// What has to be done by hand, as it was said.
    warnings: Vec<String>,
    monitor: Option<RuleMonitor>,
    look_at: Option<Instant>,
    looked: Option<Instant>,
    /// That rules were gone was said.
    has_complained: bool,
}

/// What has changed by itself, and could not be followed.
#[derive(Debug)]
struct Missed {
    wanted: Option<Wanted>,
    retry_at: Instant,
    why: String,
}

impl Keeper {
    /// One that has set nothing. What killed gateways have left is undone.
    ///
    /// # Errors
    /// That was not possible.
    pub fn new(places: &Places) -> anyhow::Result<Self> {
        leftovers::clear_all(places)?;
        Ok(Self {
            places: places.clone(),
            namespace: namespace()?,
            parameters: Parameters::default(),
            wanted: None,
            steps: Vec::new(),
            loaded: None,
            kill_switch: None,
            is_lifted: false,
            missed: None,
            has_policies: false,
            is_marked: false,
            warnings: Vec::new(),
            monitor: None,
            look_at: None,
            looked: None,
            has_complained: false,
        })
    }

    /// Sets what is wanted in place of what is set.
    ///
    /// # Errors
    /// Something can't be set; all is as it was.
    pub fn become_as(&mut self, wanted: Option<Wanted>) -> anyhow::Result<()> {
        let is_done = wanted == self.wanted && (wanted.is_some() || !self.is_marked);
        if is_done {
            self.missed = None;
            return Ok(());
        }
        let before = self.wanted.clone();
        let result = self.set(wanted);
        // Where nothing was before, the kill switch stays on: nothing is to leave because of a
        // failure.
        let back = |keeper: &mut Self| match before {
            Some(before) => keeper.set(Some(before)),
            None => keeper.undo(),
        };
        if result.is_err()
            && let Err(error) = back(self)
        {
            let error = format!("{error:#}");
            tracing::error!(error, "the rules did not go back to what they were");
        }
        if result.is_ok() {
            self.missed = None;
        }
        result
    }

    /// As [`become_as`](Self::become_as), for what has changed by itself: nobody hears of a failure
    /// but by the log, and it is tried again.
    pub fn follow(&mut self, wanted: Option<Wanted>) {
        let before = self.missed.take();
        let Err(error) = self.become_as(wanted.clone()) else {
            return;
        };
        let why = format!("{error:#}");
        if before.is_none_or(|before| before.why != why) {
            tracing::error!(
                error = why,
                "rules and forwarding stay as they were for now"
            );
        }
        self.missed = Some(Missed {
            wanted,
            retry_at: Instant::now() + RETRY_INTERVAL,
            why,
        });
    }

    /// What has to be done by hand.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether each of the steps is so at this moment, those of the device before.
    ///
    /// # Errors
    /// The firewall can't be seen.
    pub fn report(&self, of_device: &[Step], device: &Device) -> anyhow::Result<Vec<StepReport>> {
        let surroundings = match &self.wanted {
            Some(wanted) => Surroundings::look(wanted)?,
            None => Surroundings::default(),
        };
        let seen = Seen {
            surroundings: &surroundings,
            parameters: &self.parameters,
            loaded: self.loaded.as_ref(),
            kill_switch: self.kill_switch.as_ref(),
            policies: &self.policies()?,
            device: Some(device),
        };
        let all = of_device.iter().chain(&self.steps);
        Ok(all
            .map(|step| step.report(Some(step.is_there(&seen))))
            .collect())
    }

    /// Waits until the rules should be looked at. May be dropped and called again without losing
    /// a change.
    pub async fn disturbed(&mut self) {
        let at = match self.look_at {
            Some(at) => at,
            None => {
                match self.unasked_at() {
                    Some(at) => drop(timeout_at(at, self.changed()).await),
                    None => self.changed().await,
                }
                let quiet = Instant::now() + CHANGES_TIME;
                let next = self.looked.map(|looked| looked + LOOK_INTERVAL_MIN);
                let at = next.map_or(quiet, |next| next.max(quiet));
                *self.look_at.insert(at)
            }
        };
        sleep_until(at).await;
        self.look_at = None;
        self.looked = Some(Instant::now());
        if let Some(monitor) = &self.monitor {
            monitor.forget();
        }
    }

    /// When the rules are looked at though nobody tells of a change. It counts from what was done
    /// last, so that other things that happen don't put it off.
    fn unasked_at(&self) -> Option<Instant> {
        let retry = self.missed.as_ref().map(|missed| missed.retry_at);
        // The older kind of rules tells nobody.
        let is_silent = self.wanted.is_some() && legacy_programs().next().is_some();
        let look = self.looked.filter(|_| is_silent);
        let look = look.map(|looked| looked + LOOK_INTERVAL_MIN);
        retry.into_iter().chain(look).min()
    }

    async fn changed(&self) {
        let changed = match &self.monitor {
            Some(monitor) if self.wanted.is_some() => monitor.changed().await,
            _ => Err(io::ErrorKind::Unsupported.into()),
        };
        if changed.is_err() {
            pending().await
        }
    }

    /// The policy rules of ours that are there. Without any the kernel is not asked.
    fn policies(&self) -> anyhow::Result<Vec<Policy>> {
        match self.has_policies {
            true => policies::there(),
            false => Ok(Vec::new()),
        }
    }

    /// Somebody else has changed policy rules: ours are looked at soon.
    pub fn policies_changed(&mut self) {
        if self.has_policies && self.look_at.is_none() {
            self.look_at = Some(Instant::now() + CHANGES_TIME);
        }
    }

    /// Looks at the rules, and sets again what is not there.
    pub fn repair(&mut self) {
        let is_due = |missed: &mut Missed| missed.retry_at <= Instant::now();
        if let Some(missed) = self.missed.take_if(is_due) {
            let wanted = missed.wanted.clone();
            self.missed = Some(missed);
            self.follow(wanted);
        }
        let Some(wanted) = self.wanted.clone() else {
            return;
        };
        let repaired = self.repair_if_needed(&wanted);
        if let Err(error) = repaired {
            let error = format!("{error:#}");
            tracing::error!(error, "rules and forwarding are not as they should be");
            self.look_at = Some(Instant::now() + RETRY_INTERVAL);
        }
    }

    fn repair_if_needed(&mut self, wanted: &Wanted) -> anyhow::Result<()> {
        let surroundings = Surroundings::look(wanted)?;
        let held = self.held()?;
        let steps = planned(wanted, &surroundings, &self.parameters, &held);
        let seen = Seen {
            surroundings: &surroundings,
            parameters: &self.parameters,
            loaded: self.loaded.as_ref(),
            kill_switch: self.kill_switch.as_ref(),
            policies: &self.policies()?,
            device: None,
        };
        let missing: Vec<&Step> = steps.iter().filter(|step| !step.is_there(&seen)).collect();
        let rules: Vec<Rule> = rules(&steps);
        let mark = iptables::mark(&wanted.interface);
        let mut saved = surroundings.saved.iter();
        if missing.is_empty() && saved.all(|it| it.transaction(&mark, &rules).is_none()) {
            self.steps = steps;
            return Ok(());
        }
        let lost = missing.into_iter().filter(|step| self.steps.contains(step));
        let lost: Vec<String> = lost.map(|step| step.report(None).text).collect();
        if lost.is_empty() {
            tracing::info!("other rules have changed; those for this gateway follow");
        } else if self.has_complained {
            tracing::debug!(
                ?lost,
                "somebody has taken rules away again; they are set again"
            );
        } else {
            self.has_complained = true;
            tracing::warn!(?lost, "somebody has taken rules away; they are set again");
        }
        self.make(wanted, &surroundings)
    }

    fn held(&self) -> anyhow::Result<BTreeSet<String>> {
        let journal = Journal::open(&self.places)?;
        Ok(journal.held(self.places.name()).into_iter().collect())
    }

    fn set(&mut self, wanted: Option<Wanted>) -> anyhow::Result<()> {
        let Some(wanted) = wanted else {
            self.undo()?;
            return self.open();
        };
        wanted.ensure_names()?;
        let before = self.wanted.as_ref();
        let has_less = before.is_some_and(|it| it.has_table() && !wanted.has_table());
        let renamed = before.map(|before| before.interface.clone());
        let renamed = renamed.filter(|before| *before != wanted.interface);
        // What has the old name in it is not found by the new; nor rules, where none are wanted.
        if has_less || renamed.is_some() {
            self.undo()?;
        }
        if self.monitor.is_none() {
            // Before the first rule, so that none is changed unseen.
            match RuleMonitor::open() {
                Ok(monitor) => self.monitor = Some(monitor),
                Err(error) => tracing::warn!(%error, "rules that are flushed are not set again"),
            }
        }
        self.make(&wanted, &Surroundings::look(&wanted)?)?;
        if let Some(before) = renamed.filter(|_| wanted.kill_switch) {
            kill_switch::lift(&before)?;
        }
        self.looked = Some(Instant::now());
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Does all steps that are not done.
    fn make(&mut self, wanted: &Wanted, surroundings: &Surroundings) -> anyhow::Result<()> {
        let name = self.places.name().to_owned();
        let namespace = self.namespace.clone();
        let who = (name.as_str(), namespace.as_str());
        let mut journal = Journal::open(&self.places)?;
        let held = journal.held(&name).into_iter().collect();
        let steps = planned(wanted, surroundings, &self.parameters, &held);
        self.is_marked = true;
        let wanted_policies = wanted.policies();
        if let Some(other) = journal.other_with_policies(&name, &self.namespace)
            && !wanted_policies.is_empty()
        {
            anyhow::bail!("the gateway {other} is the way to everywhere already");
        }
        let gone = self.note(wanted, &steps, &mut journal)?;
        let (rules, settings) = (rules(&steps), settings(&steps));
        anyhow::ensure!(
            rules.is_empty() || !wanted.interface.ends_with('+'),
            "the interface {} can't be used with the rules of Docker or ufw, which take its name \
             for all that begin so: give it one without `+` at its end",
            wanted.interface
        );
        for step in &steps {
            match step {
                Step::KillSwitch(table) => Loaded::ensure(&mut self.kill_switch, table)?,
                Step::Table(table) => Loaded::ensure(&mut self.loaded, table)?,
                Step::NameServers(it) if !(self.steps.contains(step) && it.is_there()) => {
                    it.add()?
                }
                Step::Zoned(zoned) if !zoned.is_there() => zoned.add()?,
                _ => {}
            }
        }
        let mark = iptables::mark(&wanted.interface);
        for saved in &surroundings.saved {
            saved.make(&mark, &rules)?;
        }
        for setting in &settings {
            journal.set(who, setting, &self.parameters)?;
        }
        for zoned in &gone {
            zoned.remove()?;
        }
        if !wanted.kill_switch && leftovers::lift(&mut journal, &name)? {
            self.kill_switch = None;
            tracing::info!("the kill switch is lifted");
        }
        if let Some(keeper) = self.names_gone(&steps) {
            name_servers::remove(keeper, &wanted.interface)?;
        }
        if self.has_policies || !wanted_policies.is_empty() {
            policies::make(&wanted_policies)?;
        }
        self.has_policies = !wanted_policies.is_empty();
        journal.release(who, &settings, &self.parameters)?;
        self.steps = steps;
        self.warn(surroundings.warnings(wanted));
        Ok(())
    }

    /// Writes into the journal what is about to be set. Returns what firewalld need not have any
    /// more.
    fn note(
        &self,
        wanted: &Wanted,
        steps: &[Step],
        journal: &mut Journal,
    ) -> anyhow::Result<Vec<Zoned>> {
        let name = self.places.name();
        let before = journal.entry(name).cloned().unwrap_or_default();
        let (before_kill_switch, before_names) = (before.kill_switch, before.names_kept_by);
        let mut programs: BTreeSet<String> = before.programs.into_iter().collect();
        programs.extend(rules(steps).into_iter().map(|rule| rule.program));
        let needed: Vec<&Zoned> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Zoned(zoned) => Some(zoned),
                _ => None,
            })
            .collect();
        let (mut zoned, gone): (Vec<Zoned>, Vec<Zoned>) = before
            .zoned
            .into_iter()
            .partition(|it| needed.contains(&it));
        // What was so before us stays so after us.
        let come = needed.into_iter().filter(|it| !it.is_there());
        for it in come {
            if !zoned.contains(it) {
                zoned.push(it.clone());
            }
        }
        journal.put(Entry {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            interface: wanted.interface.clone(),
            programs: programs.into_iter().collect(),
            zoned,
            names_kept_by: names_kept_by(steps).or(before_names),
            kill_switch: wanted.kill_switch || before_kill_switch,
            has_policies: !wanted.policies().is_empty() || self.has_policies,
        });
        journal.save()?;
        Ok(gone)
    }

    /// Who was told of name servers that are not wanted any more.
    fn names_gone(&self, now: &[Step]) -> Option<Keeps> {
        let before = names_kept_by(&self.steps)?;
        names_kept_by(now).is_none().then_some(before)
    }

    fn warn(&mut self, warnings: Vec<String>) {
        for warning in &warnings {
            if !self.warnings.contains(warning) {
                tracing::warn!("{warning}");
            }
        }
        self.warnings = warnings;
    }

    fn undo(&mut self) -> anyhow::Result<()> {
        self.wanted = None;
        self.steps.clear();
        self.loaded = None;
        self.warnings.clear();
        self.monitor = None;
        let mut journal = Journal::open(&self.places)?;
        leftovers::undo(&mut journal, self.places.name(), &self.parameters)?;
        if self.is_lifted {
            leftovers::lift(&mut journal, self.places.name())?;
        }
        self.has_policies = false;
        self.is_marked = false;
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if (self.is_marked || self.is_lifted)
            && let Err(error) = self.undo()
        {
            let error = format!("{error:#}");
            tracing::error!(error, "not all that was set on the system could be undone");
        }
    }
}

fn rules(steps: &[Step]) -> Vec<Rule> {
    let rules = steps.iter().filter_map(|step| match step {
        Step::Rule(rule) => Some(rule.clone()),
        _ => None,
    });
    rules.collect()
}

fn names_kept_by(steps: &[Step]) -> Option<Keeps> {
    steps.iter().find_map(|step| match step {
        Step::NameServers(it) => Some(it.kept_by),
        _ => None,
    })
}

fn settings(steps: &[Step]) -> Vec<Setting> {
    let settings = steps.iter().filter_map(|step| match step {
        Step::Setting(setting) => Some(setting.clone()),
        _ => None,
    });
    settings.collect()
}
