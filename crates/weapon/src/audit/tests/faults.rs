//! Disks that are full, fail and come back: nothing is there twice, nothing is lost without being
//! counted, and the chain holds.

use std::{
    collections::BTreeSet,
    io::{self, BufRead},
    sync::Mutex,
};

use proptest::prelude::*;

use super::*;
use crate::audit::writer::{BACKLOG_MAX, RETRY_TIME};

/// What a disk refuses at the moment.
#[derive(Clone, Debug, Default)]
struct Faults {
    /// Of what is appended, this many bytes are taken, and the rest is not.
    room: Option<usize>,
    sync: bool,
    cut: bool,
    open: bool,
    replace: bool,
}

struct Faulty {
    folder: Folder,
    faults: Arc<Mutex<Faults>>,
}

impl Faulty {
    fn now(&self) -> Faults {
        self.faults.lock().unwrap().clone()
    }

    fn fail(&self, is_failing: impl FnOnce(&Faults) -> bool, code: i32) -> io::Result<()> {
        if is_failing(&self.now()) {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

impl Source for Faulty {
    fn names(&self) -> io::Result<Vec<String>> {
        self.folder.names()
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn BufRead>> {
        self.folder.read(name)
    }
}

impl Store for Faulty {
    fn open(&mut self, name: &str, is_new: bool) -> io::Result<u64> {
        self.fail(|it| it.open, EIO)?;
        self.folder.open(name, is_new)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let room = self.now().room;
        match room {
            Some(room) if room < bytes.len() => {
                self.folder.append(&bytes[..room])?;
                Err(io::Error::from_raw_os_error(ENOSPC))
            }
            _ => self.folder.append(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.fail(|it| it.sync, EIO)?;
        self.folder.sync()
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.fail(|it| it.cut, EIO)?;
        self.folder.cut(len)
    }

    fn len(&self) -> io::Result<Option<u64>> {
        self.folder.len()
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fail(|it| it.replace, ENOSPC)?;
        self.folder.create(name, bytes)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.fail(|it| it.replace, ENOSPC)?;
        self.folder.replace(name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

fn numbers(home: &Home) -> Vec<u64> {
    let records = home.records();
    records
        .iter()
        .filter_map(|it| it.number("number"))
        .collect()
}

fn lost(home: &Home) -> u64 {
    let records = home.records();
    let lost = records.iter().filter(|it| it.is(Kind::Lost));
    lost.filter_map(|it| it.number("records")).sum()
}

#[test]
fn a_full_disk_loses_what_is_too_much_and_says_how_much() {
    let home = Home::new();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let mut writer = home.open_with(|folder| Faulty {
        folder,
        faults: Arc::clone(&faults),
    });
    writer.take([home.entry(0)]);
    faults.lock().unwrap().room = Some(10);
    let many = BACKLOG_MAX as u64 + 100;
    for number in 1..=many {
        let state = writer.take([home.entry(number)]);
        let reason = state.failing.expect("it is full");
        assert!(reason.contains("No space left on device"), "{reason}");
    }
    let state = writer.state();
    assert_eq!((state.waiting, state.lost), (BACKLOG_MAX as u64, 100));
    // It is not asked all the time.
    faults.lock().unwrap().room = None;
    assert!(writer.tick().failing.is_some());
    assert!(writer.due().unwrap() <= RETRY_TIME);
    home.clock.go(RETRY_TIME);
    assert_eq!(writer.tick().failing, None);
    writer.close();
    let expected: Vec<u64> = (0..=BACKLOG_MAX as u64).collect();
    assert_eq!(numbers(&home), expected);
    assert_eq!((lost(&home), writer.state().lost), (100, 100));
    let verdict = home.verify();
    good(&verdict);
    let why = &verdict.notices[0].why;
    assert!(why.contains("No space left on device"), "{why}");
}

/// The pages of a sync that failed may be gone: they are written once more.
#[test]
fn what_was_not_synced_is_written_again() {
    let home = Home::new();
    let faults = Arc::new(Mutex::new(Faults::default()));
    let mut writer = home.open_with(|folder| Faulty {
        folder,
        faults: Arc::clone(&faults),
    });
    faults.lock().unwrap().sync = true;
    assert!(writer.take([home.entry(1)]).failing.is_some());
    assert_eq!(numbers(&home), [0; 0], "it is not there");
    faults.lock().unwrap().sync = false;
    home.clock.go(RETRY_TIME);
    assert_eq!(writer.take([home.entry(2)]).failing, None);
    assert_eq!(numbers(&home), [1, 2]);
    good(&home.verify());
}

/// Everything of the disk fails already when the log is opened.
#[test]
fn a_log_that_is_full_at_the_start_is_written_later() {
    for broken in [
        Faults {
            room: Some(3),
            ..Faults::default()
        },
        Faults {
            open: true,
            ..Faults::default()
        },
        Faults {
            sync: true,
            cut: true,
            ..Faults::default()
        },
    ] {
        let home = Home::new();
        for start in 0..2 {
            let faults = Arc::new(Mutex::new(broken.clone()));
            let mut writer = home.open_with(|folder| Faulty {
                folder,
                faults: Arc::clone(&faults),
            });
            // A log that is there may have nothing to write.
            assert!(start == 1 || writer.state().failing.is_some());
            let state = writer.take([home.entry(start)]);
            assert!(state.failing.is_some(), "{broken:?}");
            *faults.lock().unwrap() = Faults::default();
            home.clock.go(RETRY_TIME);
            assert_eq!(writer.tick().failing, None);
            writer.close();
        }
        assert_eq!(numbers(&home), [0, 1]);
        good(&home.verify());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Take(u64),
    Break(Faults),
    Heal,
    Go(u64),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let faults = (
        prop::option::of(0..3000_usize),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    let faults = faults.prop_map(|(room, sync, cut, open, replace)| Faults {
        room,
        sync,
        cut,
        open,
        replace,
    });
    let step = prop_oneof![
        4 => (1..8_u64).prop_map(Step::Take),
        2 => faults.prop_map(Step::Break),
        2 => Just(Step::Heal),
        2 => (0..2000_u64).prop_map(Step::Go),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What was answered `ok` is there, once and in order, whatever the disk does and however often
    /// the writer goes; what is not there was waiting.
    #[test]
    fn whatever_fails_the_chain_holds(steps in steps()) {
        let mut home = Home::new();
        home.settings.file_bytes_max = 4000;
        home.settings.files_max = 10_000;
        let faults = Arc::new(Mutex::new(Faults::default()));
        let open = || home.open_with(|folder| Faulty { folder, faults: Arc::clone(&faults) });
        let mut writer = Some(open());
        let mut next = 0;
        let mut accepted = BTreeSet::new();
        let mut given = BTreeSet::new();
        for step in steps {
            let it = writer.as_mut().unwrap();
            let state = match step {
                Step::Take(count) => {
                    let numbers = next..next + count;
                    next += count;
                    given.extend(numbers.clone());
                    it.take(numbers.map(|number| home.entry(number)))
                }
                Step::Break(broken) => {
                    *faults.lock().unwrap() = broken;
                    it.tick()
                }
                Step::Heal => {
                    *faults.lock().unwrap() = Faults::default();
                    it.tick()
                }
                Step::Go(seconds) => {
                    home.clock.go(Duration::from_secs(seconds));
                    it.tick()
                }
                Step::Reopen => {
                    *faults.lock().unwrap() = Faults::default();
                    let waiting = it.state().waiting;
                    drop(writer.take());
                    if waiting != 0 {
                        // What waits in memory goes with the process.
                        given = accepted.clone();
                    }
                    writer = Some(open());
                    writer.as_ref().unwrap().state()
                }
            };
            if state.failing.is_none() && state.waiting == 0 {
                accepted = given.clone();
            }
        }
        *faults.lock().unwrap() = Faults::default();
        home.clock.go(RETRY_TIME);
        let mut writer = writer.unwrap();
        prop_assert_eq!(writer.tick().failing, None);
        writer.close();
        let verdict = home.verify();
        prop_assert!(verdict.ok, "{:?}", verdict.bad);
        let mut notices = verdict.notices.iter();
        prop_assert!(notices.all(|it| it.why.starts_with("recovered")));
        let found = numbers(&home);
        let sorted: BTreeSet<u64> = found.iter().copied().collect();
        prop_assert_eq!(sorted.len(), found.len(), "none is there twice");
        prop_assert!(found.is_sorted());
        prop_assert!(accepted.is_subset(&sorted));
    }
}
