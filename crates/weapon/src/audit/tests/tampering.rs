//! What is done to a log is found: bytes changed, records removed and swapped, ends cut off, seals
//! forged.

use super::*;
use crate::audit::{
    line::{self, Hash},
    seal::SealKey,
};

/// Three intervals with a seal each, and two records that have none yet.
fn small_log() -> (Home, String) {
    let home = Home::new();
    let mut writer = home.open();
    for interval in 0..3 {
        for number in 0..3 {
            writer.take([home.entry(interval * 10 + number)]);
        }
        home.clock.go(Duration::from_secs(901));
        assert!(writer.tick().failing.is_none());
    }
    let state = writer.take([home.entry(100), home.entry(101)]);
    assert_eq!((state.sequence, state.sealed), (15, 13));
    good(&home.verify());
    let text = fs::read_to_string(home.file(&home.files()[0])).unwrap();
    assert_eq!(text.lines().count(), 15);
    (home, text)
}

fn with(home: &Home, text: impl AsRef<[u8]>) -> Verdict {
    fs::write(home.file(&home.files()[0]), text).unwrap();
    home.verify()
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

#[test]
fn every_byte_that_is_changed_is_found() {
    let (home, text) = small_log();
    let (name, keys) = (home.files().remove(0), [home.key()]);
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    for at in 0..text.len() {
        for change in [1, 0x20, 0x80] {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= change;
            let verdict = verify_bytes(&name, &bytes, &keys);
            let (line, ..) = bad(&verdict);
            let of_byte = starts.partition_point(|&end| end < at) as u64 + 1;
            // An end of line that comes or goes makes others of what follows.
            assert!(line.abs_diff(of_byte) <= 1, "{at} {change}: {verdict:?}");
            assert!(!verify_bytes(&name, &bytes, &[]).ok, "{at}");
        }
    }
    good(&verify_bytes(&name, text.as_bytes(), &keys));
}

fn verify_bytes(name: &str, bytes: &[u8], keys: &[VerificationKey]) -> Verdict {
    let mut verifier = Verifier::new(keys, Anchors::default());
    let lines = Lines::new(Box::new(std::io::Cursor::new(bytes.to_vec())));
    verifier.file(name, lines).unwrap();
    verifier.end()
}

#[test]
fn every_record_that_is_removed_is_found() {
    let (home, text) = small_log();
    let lines = lines(&text);
    // The last ones are not sealed: that they are gone is seen by their numbers alone.
    for gone in 0..lines.len() - 1 {
        let mut left = lines.clone();
        left.remove(gone);
        let verdict = with(&home, left.concat());
        let (line, sequence, why) = bad(&verdict);
        assert_eq!(line, gone as u64 + 1);
        if gone == 0 {
            assert!(why.contains("with which a file begins"), "{why}");
        } else {
            assert_eq!(sequence, Some(gone as u64 + 2));
            let missing = format!("record {}, before it, is missing", gone + 1);
            assert_eq!(why, missing);
        }
    }
}

#[test]
fn every_two_that_are_swapped_and_all_that_are_repeated_are_found() {
    let (home, text) = small_log();
    let lines = lines(&text);
    for one in 0..lines.len() {
        for other in one + 1..lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(one, other);
            let verdict = with(&home, swapped.concat());
            assert_eq!(bad(&verdict).0, one as u64 + 1);
        }
        let mut repeated = lines.clone();
        repeated.insert(one, lines[one]);
        let verdict = with(&home, repeated.concat());
        assert_eq!(bad(&verdict).0, one as u64 + 2);
    }
}

#[test]
fn an_end_that_is_cut_off_is_found_as_far_as_it_is_sealed() {
    let (home, text) = small_log();
    for len in 1..text.len() {
        let cut = &text[..len];
        let verdict = with(&home, cut);
        if !cut.ends_with('\n') {
            assert!(bad(&verdict).2.contains("the log ends within this record"));
            continue;
        }
        let left = cut.lines().count() as u64;
        if left < 13 {
            let (line, _, why) = bad(&verdict);
            assert_eq!(line, left + 1);
            assert!(
                why.starts_with("the end is cut off: record 13 was sealed"),
                "{why}"
            );
            // On another machine, without what lies beside the log, its number is needed.
            let state = fs::read(home.file(STATE)).unwrap();
            fs::remove_file(home.file(STATE)).unwrap();
            good(&home.verify());
            let known = verify(&home.path(), &[home.key()], Some(13));
            assert!(bad(&known).2.contains("there was a record 13"));
            fs::write(home.file(STATE), state).unwrap();
        } else {
            // What is not sealed may go unseen, but for somebody who knows the number.
            good(&verdict);
            let known = verify(&home.path(), &[home.key()], Some(15));
            assert!(bad(&known).2.contains("there was a record 15"));
        }
    }
}

/// Somebody changes a record and reckons all hashes anew, and makes seals as well as he can.
fn forged(text: &str, key: Option<&SealKey>) -> String {
    let mut hash = line::GENESIS;
    let mut out = String::new();
    for line in text.lines() {
        let record = Record::parse(line.as_bytes()).unwrap();
        let mut body = record.body.replace("\"number\":1,", "\"number\":7,");
        if let (true, Some(key)) = (record.is(Kind::Seal), key) {
            let (sealed, _) = body.split_once(",\"mac\":\"").unwrap();
            body = format!("{sealed},\"mac\":\"{}\"", key.mac(hash, sealed));
        }
        hash = hash.after(&body);
        out += &line::line(&body, hash);
    }
    out
}

#[test]
fn a_seal_that_is_forged_is_found() {
    let (home, text) = small_log();
    let state = fs::read_to_string(home.file(STATE)).unwrap();
    let state = SealState::parse(&state).unwrap();
    assert_eq!(state.key.epoch(), 3);
    let own = SealKey::generate().unwrap();
    // With nothing, with a key of his own, and with the key that he finds there.
    for key in [None, Some(&own), Some(&state.key)] {
        let text = forged(&text, key);
        assert!(text.contains("\"number\":7,"));
        let verdict = with(&home, &text);
        let expected = (
            5,
            Some(5),
            "the seal is forged, or what it seals was changed",
        );
        assert_eq!(bad(&verdict), expected);
        // Without the verification key the hashes alone hold: what lies beside the log sees it.
        let verdict = verify(&home.path(), &[], None);
        assert!(bad(&verdict).2.contains("not the record that was sealed"));
        assert!(!verdict.seals_checked);
    }
    // The mac alone, and one of another seal.
    let seals: Vec<Record> = {
        fs::write(home.file(&home.files()[0]), &text).unwrap();
        let records = home.records().into_iter();
        records.filter(|it| it.is(Kind::Seal)).collect()
    };
    let mac = |seal: &Record| seal.text("mac").unwrap().to_owned();
    let replayed = text.replace(&mac(&seals[1]), &mac(&seals[0]));
    assert_eq!(bad(&with(&home, replayed)).1, Some(seals[1].seq));
}

/// What the fuzzer changes. It is written anew with `WEAPON_RENEW_DOCS=1`.
#[test]
fn the_log_of_the_fuzzer_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/harness/src/audit_log");
    let name = super::super::folder::file_name(1);
    if std::env::var_os("WEAPON_RENEW_DOCS").is_some() {
        let home = Home::new();
        let mut writer = home.open();
        for interval in 0..2 {
            writer.take((0..3).map(|it| home.entry(interval * 10 + it)));
            home.clock.go(Duration::from_secs(901));
            writer.tick();
        }
        writer.take([Entry::at(home.clock.now(), Kind::Stop)]);
        assert_eq!(writer.close().sequence, 11);
        for file in [name.as_str(), VERIFICATION_KEY] {
            fs::copy(home.file(file), folder.join(file)).unwrap();
        }
    }
    let key = fs::read_to_string(folder.join(VERIFICATION_KEY)).unwrap();
    let log = fs::read(folder.join(&name)).unwrap();
    let (is_good, said) = crate::audit::verify_file(&log, &name, &key, 11);
    assert!(
        is_good && said.iter().any(|it| it.starts_with("3 seals hold")),
        "{said:?}"
    );
}

#[test]
fn another_key_verifies_nothing() {
    let (home, _) = small_log();
    let (other, _) = small_log();
    let verdict = verify(&home.path(), &[other.key()], None);
    assert!(bad(&verdict).2.contains("another key than"));
    good(&verify(&home.path(), &[other.key(), home.key()], None));
}

#[test]
fn a_file_that_is_gone_is_found() {
    let mut home = Home::new();
    home.settings.file_bytes_max = 2000;
    home.settings.files_max = 5;
    let mut writer = home.open();
    for number in 0..100 {
        writer.take([home.entry(number)]);
    }
    let state = writer.close();
    let files = home.files();
    assert_eq!(files.len(), 5);
    assert!(
        files[0] > super::super::folder::file_name(1),
        "old ones went"
    );
    let verdict = home.verify();
    good(&verdict);
    assert_eq!((verdict.files, verdict.last), (5, state.sequence));
    assert!(verdict.seals >= 5, "each file is sealed at its end");
    for (position, file) in files.iter().enumerate() {
        let bytes = fs::read(home.file(file)).unwrap();
        assert!(bytes.len() < 2600, "{}", bytes.len());
        fs::remove_file(home.file(file)).unwrap();
        let verdict = home.verify();
        let (_, _, why) = bad(&verdict);
        match position {
            0 => assert!(why.contains("are gone, and were not too many"), "{why}"),
            4 => assert!(why.contains("the end is cut off"), "{why}"),
            _ => assert!(why.contains("before it, are missing"), "{why}"),
        }
        fs::write(home.file(file), bytes).unwrap();
    }
    // A file under the name of another is not taken for it.
    fs::copy(home.file(&files[1]), home.file(&files[2])).unwrap();
    assert!(!home.verify().ok);
}

#[test]
fn whatever_is_written_there_is_no_reason_to_panic() {
    let (home, text) = small_log();
    let huge = text.replace("\"epoch\":0", "\"epoch\":18446744073709551615");
    for text in ["", "\n", "{}\n", "\0\n", &huge, &"x".repeat(200_000)] {
        assert!(!with(&home, text).ok);
    }
    // All that can be in order with such numbers is in order.
    let record = Record::parse(text.lines().next().unwrap().as_bytes()).unwrap();
    let body = record
        .body
        .replace("\"seq\":1,", "\"seq\":18446744073709551615,");
    let one = line::line(&body, line::GENESIS.after(&body));
    let again = line::line(&body, Hash([0; 32]));
    assert!(!with(&home, one + &again).ok);
}
