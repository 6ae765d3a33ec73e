//! Logs that are written, broken, killed and read.

mod faults;
mod kill;
mod reopening;
mod tampering;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    also::Also,
    entry::{Entry, Kind},
    folder::{Folder, STATE, Source, Store, VERIFICATION_KEY, log_files, read_small},
    line::Record,
    lines::{Lines, Piece},
    moment::Moment,
    reading::Reading,
    seal::{SealState, VerificationKey},
    verify::{Anchors, Verdict, Verifier},
    writer::{Settings, Writer},
};

/// A clock that stands until it is set.
#[derive(Clone, Default)]
struct Clock(Arc<AtomicU64>);

impl Clock {
    fn go(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap();
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    fn now(&self) -> Moment {
        let boot_us = self.0.load(Ordering::Relaxed);
        Moment {
            seconds: 1_800_000_000 + boot_us / 1_000_000,
            nanos: 0,
            boot_us,
        }
    }
}

fn settings() -> Settings {
    Settings {
        gateway: "site-a".to_owned(),
        seal_time: Duration::from_secs(900),
        file_bytes_max: 16 << 20,
        file_time_max: None,
        files_max: 4,
    }
}

/// A folder with a log.
struct Home {
    folder: tempfile::TempDir,
    clock: Clock,
    settings: Settings,
}

impl Home {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Clock::default(),
            settings: settings(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    fn open(&self) -> Writer<Folder> {
        self.open_with(|folder| folder)
    }

    fn open_with<S: Store>(&self, store: impl FnOnce(Folder) -> S) -> Writer<S> {
        let store = store(Folder::open(&self.path()).unwrap());
        let clock = self.clock.clone();
        let clock = Box::new(move || clock.now());
        Writer::open(store, self.settings.clone(), Also::default(), clock).unwrap()
    }

    fn entry(&self, number: u64) -> Entry {
        Entry::at(self.clock.now(), Kind::Handshake)
            .with("peer", "site-b")
            .with("number", number)
    }

    fn files(&self) -> Vec<String> {
        log_files(Reading::open(&self.path()).unwrap().names().unwrap())
    }

    fn key(&self) -> VerificationKey {
        VerificationKey::parse(&fs::read_to_string(self.file(VERIFICATION_KEY)).unwrap()).unwrap()
    }

    /// With the key, and with what lies beside the log.
    fn verify(&self) -> Verdict {
        verify(&self.path(), &[self.key()], None)
    }

    fn records(&self) -> Vec<Record> {
        records(&self.path())
    }
}

fn verify(path: &Path, keys: &[VerificationKey], through: Option<u64>) -> Verdict {
    let reading = Reading::open(path).unwrap();
    let seal = read_small(&reading, STATE).unwrap();
    let seal = seal.and_then(|text| SealState::parse(&text));
    let anchors = Anchors {
        seal: seal.map(|it| (it.seq, it.hash)).filter(|it| it.0 != 0),
        through,
    };
    let mut verifier = Verifier::new(keys, anchors);
    for name in log_files(reading.names().unwrap()) {
        let lines = Lines::new(reading.read(&name).unwrap());
        if !verifier.file(&name, lines).unwrap() {
            break;
        }
    }
    verifier.end()
}

fn records(path: &Path) -> Vec<Record> {
    let reading = Reading::open(path).unwrap();
    let mut all = Vec::new();
    for name in log_files(reading.names().unwrap()) {
        let mut lines = Lines::new(reading.read(&name).unwrap());
        while let Some(piece) = lines.next_piece().unwrap() {
            let Piece::Line(line) = piece else {
                panic!("torn: {name}")
            };
            all.push(Record::parse(&line).unwrap());
        }
    }
    all
}

#[track_caller]
fn good(verdict: &Verdict) {
    assert_eq!(verdict.bad, None);
    assert!(verdict.ok);
}

/// Why it is bad, with the line and the number.
#[track_caller]
fn bad(verdict: &Verdict) -> (u64, Option<u64>, &str) {
    assert!(!verdict.ok);
    let bad = verdict.bad.as_ref().expect("it is bad");
    (bad.line, bad.sequence, &bad.why)
}
