//! A claim: the file that says which process runs a gateway, locked for as long as it does.
//!
//! The kernel lets go of the lock however the process ends. So a claim that is there and not locked
//! was left behind by a gateway that was killed, and what it made is found and removed.

use std::{
    fs::{self, DirBuilder, File},
    io::{self, Read, Seek, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{confined::GATEWAY, lock::try_take, places::Places, timestamp_file};

/// How often, and after which time, a lock is tried again that nobody has for long.
const LOCK_TRIES_MAX: u32 = 10;
const LOCK_RETRY: Duration = Duration::from_millis(20);

/// As often it is looked whether a killed gateway has gone.
const GATEWAY_TRIES_MAX: u32 = 100;

/// What a claim says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    pid: u32,
    /// The process that carries packets.
    #[serde(default)]
    gateway_pid: u32,
    interface: String,
    config: PathBuf,
}

/// Our claim. Dropping it removes it, and the socket.
#[derive(Debug)]
pub struct Claim {
    places: Places,
    /// Held for its lock.
    file: File,
}

impl Claim {
    /// Claims the gateway. What a killed predecessor left behind is removed, and said.
    ///
    /// # Errors
    /// The gateway runs already, or the folders can't be written.
    pub fn take(
        places: &Places,
        (interface, gateway_pid): (&str, u32),
        config: &Path,
    ) -> anyhow::Result<Self> {
        make_directory(places.runtime(), 0o755, "RUNTIME_DIRECTORY")?;
        make_directory(places.state(), 0o700, "STATE_DIRECTORY")?;
        wait_for_killed(places);
        // From here on an error gives the claim back.
        let claim = Self {
            places: places.clone(),
            file: lock(places)?,
        };
        let mut file = &claim.file;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        if !text.is_empty() {
            report_leftovers(places, &text);
        }
        remove(&places.socket())?;
        timestamp_file::probe(&places.timestamp())
            .with_context(|| cannot_write(places.state(), "STATE_DIRECTORY"))?;
        let record = Record {
            pid: process::id(),
            gateway_pid,
            interface: interface.to_owned(),
            config: config.to_owned(),
        };
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(&serde_json::to_vec(&record)?)?;
        Ok(claim)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        for path in [self.places.socket(), self.places.claim()] {
            if let Err(error) = remove(&path) {
                tracing::warn!(path = %path.display(), %error, "cannot remove");
            }
        }
    }
}

/// The process that runs the gateway, by its claim.
pub fn running_pid(places: &Places) -> Option<u32> {
    let (is_held, record) = read(&places.claim())?;
    is_held.then_some(record.pid)
}

/// What a claim says, and whether somebody holds it: if nobody does, nobody runs.
fn read(claim: &Path) -> Option<(bool, Record)> {
    let file = File::open(claim).ok()?;
    let is_held = flock(&file, FlockOperation::NonBlockingLockShared).is_err();
    Some((is_held, serde_json::from_reader(file).ok()?))
}

/// Locks the claim's file.
fn lock(places: &Places) -> anyhow::Result<File> {
    let path = places.claim();
    for _ in 0..LOCK_TRIES_MAX {
        let taken = try_take(&path);
        if let Some(file) = taken.with_context(|| cannot_write(&path, "RUNTIME_DIRECTORY"))? {
            return Ok(file);
        }
        if let Some(pid) = running_pid(places) {
            bail!(
                "this gateway runs already, as process {pid}; stop it with `weapon down {}` first",
                places.name()
            );
        }
        // Somebody only looks, or is about to be gone.
        thread::sleep(LOCK_RETRY);
    }
    bail!("this gateway is just starting or stopping; try again")
}

fn report_leftovers(places: &Places, text: &str) {
    let socket = places.socket();
    match serde_json::from_str::<Record>(text) {
        Ok(record) => tracing::warn!(
            pid = record.pid,
            interface = record.interface,
            removed = %format_args!("{} {}", places.claim().display(), socket.display()),
            "an earlier gateway did not stop cleanly; its leftovers were found and removed \
             (its interface, addresses and routes went with the process)"
        ),
        Err(_) => tracing::warn!(
            removed = %places.claim().display(),
            "an unreadable claim of an earlier gateway was found and removed"
        ),
    }
}

/// The kernel kills a gateway when its helper is killed, but that takes a moment, for which it has
/// its interface and its port: whichever name it had, that moment is waited for.
fn wait_for_killed(places: &Places) {
    let files = places.runtime().read_dir().into_iter().flatten().flatten();
    let claims = files.map(|file| file.path());
    for claim in claims.filter(|path| path.extension() == Some("json".as_ref())) {
        if let Some((false, record)) = read(&claim) {
            wait_for(record.gateway_pid);
        }
    }
}

fn wait_for(gateway_pid: u32) {
    let name = format!("/proc/{gateway_pid}/comm");
    let is_there = || fs::read_to_string(&name).is_ok_and(|it| it.trim() == GATEWAY);
    for _ in 0..GATEWAY_TRIES_MAX {
        if !is_there() {
            return;
        }
        thread::sleep(LOCK_RETRY);
    }
}

fn make_directory(path: &Path, mode: u32, variable: &'static str) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| cannot_write(path, variable))
}

fn cannot_write(path: &Path, variable: &str) -> String {
    format!(
        "cannot write {}; run as root, or set {variable} to a folder that you may write",
        path.display()
    )
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
