//! The journal: what gateways have set on the system, and what was there before.
//!
//! It is one file for all gateways of a host, because they share kernel parameters: the first that
//! changes one notes what it was, the last that needs it sets it back. It is written before
//! something is changed, so that what a killed gateway has left is found. Whoever has the journal
//! open has it alone.

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::{
    firewalld::Zoned,
    forwarding::{Parameters, Setting, spelled},
    name_servers::Keeps,
};
use crate::{lock::try_take, places::Places};

/// How long another gateway may have the journal: as long as the programs that it runs may take.
const LOCK_TIME_MAX: Duration = Duration::from_secs(30);

/// After which time it is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// What is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    gateways: Vec<Entry>,
    parameters: Vec<Changed>,
}

/// What one gateway has set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The gateway.
    pub name: String,
    /// The network namespace that it is in.
    pub namespace: String,
    /// Its TUN device, from which follow the name of its table and the mark of its rules.
    pub interface: String,
    /// Programs of the `iptables` family in whose chains it has rules.
    pub programs: Vec<String>,
    /// What it has set in firewalld.
    pub zoned: Vec<Zoned>,
    /// Whether it has set policy rules: one gateway alone may be the way to everywhere.
    #[serde(default)]
    pub has_policies: bool,
    /// Who was told of name servers.
    #[serde(default)]
    pub names_kept_by: Option<Keeps>,
    /// Whether its kill switch is on. This stays when all else is undone.
    #[serde(default)]
    pub kill_switch: bool,
}

impl Entry {
    /// What of it stays when all else is undone.
    pub fn left(&self) -> Option<Self> {
        self.kill_switch.then(|| Self {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            interface: self.interface.clone(),
            kill_switch: true,
            ..Self::default()
        })
    }
}

/// A kernel parameter that is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    namespace: String,
    key: String,
    before: String,
    set: String,
    /// What the parameter of the same name was that is of all interfaces.
    of_all: Option<String>,
    /// The gateways that need it.
    holders: Vec<String>,
}

/// The journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    record: Record,
    /// Held for its lock.
    _lock: File,
}

/// What names the network namespace of this thread, as long as it is there.
///
/// # Errors
/// `/proc` is not mounted.
pub fn namespace() -> io::Result<String> {
    let of = fs::metadata("/proc/thread-self/ns/net")?;
    Ok(format!("{}:{}", of.dev(), of.ino()))
}

impl Journal {
    /// Opens it, and waits until nobody else has it.
    ///
    /// # Errors
    /// The folder can't be written, the journal can't be read, or somebody else keeps it.
    pub fn open(places: &Places) -> anyhow::Result<Self> {
        Self::at(places.journal())
    }

    fn at(path: PathBuf) -> anyhow::Result<Self> {
        let lock = lock(&lock_path(&path), LOCK_TIME_MAX)?;
        let cannot = || format!("cannot read {}", path.display());
        let record = match fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice(&bytes) {
                Ok(record) => record,
                Err(error) => {
                    // It may say to somebody else what is to be undone by hand.
                    let kept = path.with_extension("unreadable");
                    fs::rename(&path, &kept).with_context(cannot)?;
                    let kept = kept.display();
                    tracing::error!(%kept, %error, "what earlier gateways have set is not known");
                    Record::default()
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(error) => return Err(error).with_context(cannot),
        };
        Ok(Self {
            path,
            record,
            _lock: lock,
        })
    }

    /// Writes it; it is gone when there is nothing in it.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        if self.record == Record::default() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(cannot)
                }
                _ => Ok(()),
            };
        }
        let new = self.path.with_extension("new!");
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(&serde_json::to_vec(&self.record)?)?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        };
        write().with_context(cannot)
    }

    /// What the gateway has set.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.record.gateways.iter().find(|it| it.name == name)
    }

    /// The gateway that has policy rules in this network namespace, but for `name`.
    pub fn other_with_policies(&self, name: &str, namespace: &str) -> Option<&str> {
        let mut others = self.record.gateways.iter();
        let other =
            others.find(|it| it.has_policies && it.name != name && it.namespace == namespace)?;
        Some(&other.name)
    }

    /// The names of all gateways in it.
    pub fn names(&self) -> Vec<String> {
        let all = self.record.gateways.iter();
        all.map(|entry| entry.name.clone()).collect()
    }

    /// Notes what a gateway is about to set.
    pub fn put(&mut self, entry: Entry) {
        self.forget(&entry.name);
        self.record.gateways.push(entry);
    }

    /// The gateway has nothing set any more, kernel parameters aside.
    pub fn forget(&mut self, name: &str) {
        self.record.gateways.retain(|it| it.name != name);
    }

    /// The parameters that are kept for the gateway.
    pub fn held(&self, name: &str) -> Vec<String> {
        let changed = self.record.parameters.iter();
        let held = changed.filter(|it| it.holders.iter().any(|holder| holder == name));
        held.map(|it| it.key.clone()).collect()
    }

    /// Gives a parameter its value for the gateway `name`.
    ///
    /// # Errors
    /// It may not be written; it is as it was.
    pub fn set(
        &mut self,
        (name, namespace): (&str, &str),
        setting: &Setting,
        parameters: &Parameters,
    ) -> anyhow::Result<()> {
        let Some(now) = parameters.read(&setting.key) else {
            return Ok(());
        };
        let is_right = now == setting.value;
        if setting.is_own {
            return match is_right {
                true => Ok(()),
                false => parameters.write(&setting.key, setting.value),
            };
        }
        let mut there = self.record.parameters.iter_mut();
        match there.find(|it| it.key == setting.key && it.namespace == namespace) {
            Some(changed) => {
                if !changed.holders.iter().any(|holder| holder == name) {
                    changed.holders.push(name.to_owned());
                }
            }
            None if is_right => return Ok(()),
            None => self.record.parameters.push(Changed {
                namespace: namespace.to_owned(),
                key: setting.key.clone(),
                before: now,
                set: setting.value.to_owned(),
                of_all: of_all(&setting.key, parameters),
                holders: vec![name.to_owned()],
            }),
        }
        self.save()?;
        if is_right {
            return Ok(());
        }
        let written = parameters.write(&setting.key, setting.value);
        if written.is_err() {
            // As it was not changed, it is not to be changed back.
            self.drop_holder(name, namespace, &setting.key);
            self.save()?;
        }
        written
    }

    /// The gateway needs only those parameters of its that are in `kept`. The others become what
    /// they were, in the reverse of the order in which they were set, unless another gateway needs
    /// them, or somebody else has changed them meanwhile.
    ///
    /// # Errors
    /// One may not be written; it stays in the journal.
    pub fn release(
        &mut self,
        (name, namespace): (&str, &str),
        kept: &[Setting],
        parameters: &Parameters,
    ) -> anyhow::Result<()> {
        let mut result = Ok(());
        for key in self.held(name).into_iter().rev() {
            if kept.iter().any(|setting| setting.key == key) {
                continue;
            }
            let mut all = self.record.parameters.iter();
            let changed = all.find(|it| it.key == key && it.namespace == namespace);
            let Some(changed) = changed.cloned() else {
                continue;
            };
            if changed.holders.len() == 1
                && let Err(error) = give_back(&changed, parameters)
            {
                result = Err(error);
                continue;
            }
            self.drop_holder(name, namespace, &key);
        }
        self.save()?;
        result
    }

    fn drop_holder(&mut self, name: &str, namespace: &str, key: &str) {
        self.drop_holders(name, |it| it.key == key && it.namespace == namespace);
    }

    /// Nothing of a gateway that was in another network namespace can be undone from here.
    pub fn abandon(&mut self, name: &str) {
        self.forget(name);
        self.drop_holders(name, |_| true);
    }

    /// The gateway does not need those that are `meant`.
    fn drop_holders(&mut self, name: &str, meant: impl Fn(&Changed) -> bool) {
        for changed in self.record.parameters.iter_mut().filter(|it| meant(it)) {
            changed.holders.retain(|holder| holder != name);
        }
        self.record.parameters.retain(|it| !it.holders.is_empty());
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        // While nobody else can have it.
        if let Err(error) = fs::remove_file(lock_path(&self.path)) {
            tracing::debug!(%error, "the lock of the journal stays");
        }
    }
}

fn lock_path(journal: &Path) -> PathBuf {
    journal.with_extension("lock")
}

fn lock(path: &Path, patience: Duration) -> anyhow::Result<File> {
    let deadline = Instant::now() + patience;
    loop {
        let taken = try_take(path).with_context(|| format!("cannot lock {}", path.display()))?;
        match taken {
            Some(lock) => return Ok(lock),
            None if Instant::now() < deadline => thread::sleep(LOCK_RETRY),
            None => bail!(
                "another gateway has had {} locked for {} s; it may hang: `fuser {0}` names it",
                path.display(),
                patience.as_secs_f32()
            ),
        }
    }
}

/// What the parameter of all interfaces is, where `key` is of one.
fn of_all(key: &str, parameters: &Parameters) -> Option<String> {
    let (conf, rest) = key.split_once("/conf/")?;
    let (interface, name) = rest.split_once('/')?;
    let key = format!("{conf}/conf/all/{name}");
    parameters.read(&key).filter(|_| interface != "all")
}

fn give_back(changed: &Changed, parameters: &Parameters) -> anyhow::Result<()> {
    let Changed {
        key, before, set, ..
    } = changed;
    match parameters.read(key) {
        // Somebody, Docker perhaps, has given all interfaces another value since, this one too.
        Some(now) if now == *set && of_all(key, parameters) != changed.of_all => {
            let parameter = spelled(key);
            tracing::info!(
                parameter,
                now,
                "was changed for all interfaces, and stays so"
            );
            Ok(())
        }
        Some(now) if now == *set => parameters.write(key, before),
        Some(now) => {
            let parameter = spelled(key);
            tracing::warn!(
                parameter,
                now,
                set,
                before,
                "was changed by somebody else meanwhile, and stays so"
            );
            Ok(())
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
