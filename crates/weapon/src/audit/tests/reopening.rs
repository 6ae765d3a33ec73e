//! A log that is opened again: after an orderly end, after a kill within a record, and after
//! somebody was at it.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn count(home: &Home, kind: Kind) -> usize {
    home.records().iter().filter(|it| it.is(kind)).count()
}

#[test]
fn an_orderly_end_is_seen() {
    let home = Home::new();
    for start in 0..3 {
        let mut writer = home.open();
        writer.take([home.entry(start), Entry::at(home.clock.now(), Kind::Stop)]);
        assert!(!home.verify().ends_in_order);
        let state = writer.close();
        assert_eq!(state.sequence, state.sealed);
        let verdict = home.verify();
        good(&verdict);
        assert!(verdict.ends_in_order);
    }
    assert_eq!((home.files().len(), count(&home, Kind::Seal)), (1, 3));
    assert_eq!(home.records().last().unwrap().seq, 10);
    let state = home.open().state();
    assert_eq!((state.sequence, state.sealed), (10, 10), "nothing is new");
    for file in home.path().read_dir().unwrap() {
        let mode = file.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn a_torn_record_is_put_aside_wherever_it_is_torn() {
    let home = Home::new();
    let mut writer = home.open();
    writer.take([home.entry(1), home.entry(2)]);
    drop(writer);
    let file = home.file(&home.files()[0]);
    let whole = fs::read_to_string(&file).unwrap();
    let last = whole.trim_end().rfind('\n').unwrap() + 1;
    let state = fs::read(home.file(STATE)).unwrap();
    for len in last + 1..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        let before = home.verify();
        assert!(before.bad.unwrap().is_torn);
        let mut writer = home.open();
        writer.take([home.entry(3)]);
        drop(writer);
        let verdict = home.verify();
        good(&verdict);
        assert_eq!(verdict.notices.len(), 1);
        let records = home.records();
        let [.., recovered, after] = &records[..] else {
            panic!("{records:?}")
        };
        assert!(recovered.is(Kind::Recovered) && recovered.seq == 3);
        assert_eq!(recovered.number("torn_bytes"), Some((len - last) as u64));
        assert_eq!(after.seq, 4);
        let torn = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap());
        let mut torn = torn.filter(|it| it.file_name().to_string_lossy().contains(".torn"));
        let torn = torn.next().expect("it is kept").path();
        assert_eq!(fs::read(&torn).unwrap(), &whole.as_bytes()[last..len]);
        fs::remove_file(torn).unwrap();
        fs::write(home.file(STATE), &state).unwrap();
    }
}

/// A file system may leave zeroes where a record was to be, and the first record of a new file may
/// be torn too.
#[test]
fn zeroes_and_files_without_a_record_are_put_aside() {
    let home = Home::new();
    let mut writer = home.open();
    writer.take([home.entry(1)]);
    drop(writer);
    let file = home.file(&home.files()[0]);
    let mut bytes = fs::read(&file).unwrap();
    bytes.extend([0; 300]);
    bytes.extend(b"\n\0\0");
    fs::write(&file, bytes).unwrap();
    for rest in [&b""[..], b"{\"seq\":4,"] {
        fs::write(home.file(&super::super::folder::file_name(99)), rest).unwrap();
        drop(home.open());
        good(&home.verify());
    }
    let recovered = count(&home, Kind::Recovered);
    assert_eq!((recovered, home.files().len()), (2, 1));
}

#[test]
fn there_is_an_end_to_what_was_torn() {
    let home = Home::new();
    drop(home.open());
    let file = home.file(&home.files()[0]);
    for _ in 0..40 {
        let mut bytes = fs::read(&file).unwrap();
        bytes.extend(b"{\"seq\"");
        fs::write(&file, bytes).unwrap();
        drop(home.open());
    }
    good(&home.verify());
    let torn = fs::read_dir(home.path()).unwrap().map(|it| it.unwrap());
    let torn = torn.filter(|it| it.file_name().to_string_lossy().contains(".torn"));
    assert_eq!(torn.count(), 16);
}

/// The gateway is killed after a seal and before the next key is written.
#[test]
fn a_seal_whose_next_key_was_not_written_is_recognised() {
    let home = Home::new();
    let mut writer = home.open();
    writer.take([home.entry(1)]);
    let state = fs::read(home.file(STATE)).unwrap();
    writer.close();
    drop(writer);
    fs::write(home.file(STATE), state).unwrap();
    let mut writer = home.open();
    assert_eq!(writer.state().sealed, 3);
    writer.take([home.entry(2)]);
    writer.close();
    let verdict = home.verify();
    good(&verdict);
    assert_eq!((verdict.seals, verdict.notices.len()), (2, 0));
}

/// What is not as it was left is recorded, and found by whoever verifies.
#[test]
fn what_was_done_to_it_is_recorded() {
    type Do = fn(&Home, &Path);
    let cases: [(&str, Do); 4] = [
        (
            "its end was cut off: record 4 was sealed, 2 is the last",
            |_, file| {
                let text = fs::read_to_string(file).unwrap();
                let cut: String = text.split_inclusive('\n').take(2).collect();
                fs::write(file, cut).unwrap();
            },
        ),
        ("all files of the log were gone", |_, file| {
            fs::remove_file(file).unwrap();
        }),
        (
            "the key of its seals was gone; there is a new one from here on",
            |home, _| {
                fs::remove_file(home.file(STATE)).unwrap();
            },
        ),
        ("record 4 is not the one that was sealed", |_, file| {
            let text = fs::read_to_string(file).unwrap();
            let records: Vec<Record> = text
                .lines()
                .map(|it| Record::parse(it.as_bytes()).unwrap())
                .collect();
            let seal = &records[3];
            let digits = seal.hash.to_string();
            fs::write(file, text.replace(&digits, &"0".repeat(64))).unwrap();
        }),
    ];
    for (what, act) in cases {
        let home = Home::new();
        let mut writer = home.open();
        writer.take([home.entry(1), home.entry(2)]);
        writer.close();
        drop(writer);
        let key = home.key();
        act(&home, &home.file(&home.files()[0]));
        let mut writer = home.open();
        writer.take([home.entry(3)]);
        writer.close();
        let last = home.records();
        let damage = last.iter().find(|it| it.is(Kind::Damaged)).unwrap();
        assert_eq!(damage.text("what"), Some(what));
        assert!(damage.seq > 4, "no number is used again: {}", damage.seq);
        let verdict = verify(&home.path(), &[key], None);
        assert!(
            !verdict.ok || home.files().len() == 1,
            "{what}: {verdict:?}"
        );
    }
}

#[test]
fn what_is_done_while_it_is_written_is_recorded() {
    type Do = fn(&Path);
    let cases: [(&str, Do); 3] = [
        ("the file was removed or replaced", |file| {
            fs::remove_file(file).unwrap()
        }),
        ("the end of the file was cut off", |file| {
            let file = fs::File::options().write(true).open(file).unwrap();
            file.set_len(10).unwrap();
        }),
        ("somebody else has written to the file", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes.extend(b"{}\n");
            fs::write(file, bytes).unwrap();
        }),
    ];
    for (what, act) in cases {
        let home = Home::new();
        let mut writer = home.open();
        writer.take([home.entry(1)]);
        let file = home.file(&home.files()[0]);
        act(&file);
        let state = writer.take([home.entry(2)]);
        assert_eq!(state.failing, None);
        let newest = home.files().pop().unwrap();
        let text = fs::read_to_string(home.file(&newest)).unwrap();
        let records = text.lines().map(|it| Record::parse(it.as_bytes()).unwrap());
        let records: Vec<Record> = records.collect();
        assert_eq!(records[1].text("what"), Some(what));
        assert_eq!(records[2].number("number"), Some(2));
        assert!(!home.verify().ok);
    }
}

#[test]
fn files_are_begun_by_age_and_an_idle_log_wakes_nobody() {
    let mut home = Home::new();
    home.settings.file_time_max = Some(Duration::from_secs(3600));
    let mut writer = home.open();
    assert_eq!(writer.due(), Some(Duration::from_secs(900)));
    home.clock.go(Duration::from_secs(900));
    assert_eq!(writer.due(), Some(Duration::ZERO));
    writer.tick();
    assert_eq!(writer.due(), None);
    home.clock.go(Duration::from_secs(10_000));
    assert_eq!(writer.due(), None);
    writer.take([home.entry(1)]);
    assert_eq!(home.files().len(), 2);
    good(&home.verify());
}
