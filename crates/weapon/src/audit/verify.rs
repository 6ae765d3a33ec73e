//! Holds a log against its hashes and seals, and names the first record that is not as it was
//! written.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "whatever stands in the files: nothing in it may panic"
    )
)]

use std::io;

use serde::Serialize;

use super::{
    entry::Kind,
    folder::{file_name, seq_of},
    line::{GENESIS, Hash, Record},
    lines::{Lines, Piece},
    open::is_sealed,
    seal::{SealKey, VerificationKey},
};

/// Records that tell of damage and losses, and are named in a verdict at most.
const NOTICES_MAX: usize = 100;

/// What is known of a log from elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anchors {
    /// The last seal, by the file of the next key: its number and its hash.
    pub seal: Option<(u64, Hash)>,
    /// The log goes to this number at least.
    pub through: Option<u64>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Nothing is wrong.
    pub ok: bool,
    /// The first record that is not as it was written.
    pub bad: Option<Bad>,
    /// Files and records that are as they were written.
    pub files: u64,
    /// See `files`.
    pub records: u64,
    /// The numbers of the first and of the last of them.
    pub first: u64,
    /// See `first`.
    pub last: u64,
    /// When they were written.
    pub first_time: String,
    /// See `first_time`.
    pub last_time: String,
    /// Seals among them, and whether they were held against a key.
    pub seals: u64,
    /// See `seals`.
    pub seals_checked: bool,
    /// The number of the last seal, and when it was made.
    pub sealed: u64,
    /// See `sealed`.
    pub sealed_time: String,
    /// Which verification key belongs to the last seal.
    pub key_id: String,
    /// Whether the last that happened is that the gateway stopped, and that is sealed.
    pub ends_in_order: bool,
    /// Records that tell of losses and damage.
    pub notices: Vec<Bad>,
}

/// A record, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// Its number, if it can be read.
    pub sequence: Option<u64>,
    /// What is wrong with it.
    pub why: String,
    /// The log ends within it. Its writer may be writing it.
    pub is_torn: bool,
}

/// Goes through a log, file by file.
pub struct Verifier<'k> {
    keys: &'k [VerificationKey],
    anchors: Anchors,
    key: Option<SealKey>,
    seq: u64,
    hash: Hash,
    /// Seals before the next, once that is known.
    epoch: Option<u64>,
    /// The first record that must be there, by the last file.
    oldest: u64,
    stopped: bool,
    file: String,
    line: u64,
    verdict: Verdict,
}

impl<'k> Verifier<'k> {
    /// With the keys that there are: without any, seals are not checked.
    pub fn new(keys: &'k [VerificationKey], anchors: Anchors) -> Self {
        Self {
            keys,
            anchors,
            key: None,
            seq: 0,
            hash: GENESIS,
            epoch: None,
            oldest: 0,
            stopped: false,
            file: String::new(),
            line: 0,
            verdict: Verdict {
                seals_checked: !keys.is_empty(),
                ..Verdict::default()
            },
        }
    }

    /// The next file of the log. False if something is wrong with it: then nothing more counts.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn file(&mut self, name: &str, mut lines: Lines) -> io::Result<bool> {
        if self.verdict.bad.is_some() {
            return Ok(false);
        }
        name.clone_into(&mut self.file);
        self.line = 0;
        while let Some(piece) = lines.next_piece()? {
            self.line = self.line.saturating_add(1);
            if let Err((sequence, why)) = self.piece(&piece) {
                self.bad(sequence, why, matches!(piece, Piece::Torn(_)));
                return Ok(false);
            }
        }
        if self.line == 0 {
            self.line = 1;
            self.bad(None, "the file is empty".to_owned(), true);
        }
        self.verdict.files = self.verdict.files.saturating_add(1);
        Ok(self.verdict.bad.is_none())
    }

    /// There are no more files.
    pub fn end(mut self) -> Verdict {
        if self.verdict.bad.is_none()
            && let Err(why) = self.check_end()
        {
            self.line = self.line.saturating_add(1);
            self.bad(None, why, false);
        }
        self.verdict.ok = self.verdict.bad.is_none();
        self.verdict
    }

    fn check_end(&self) -> Result<(), String> {
        let (first, last) = (self.verdict.first, self.seq);
        if let Some((sealed, _)) = self.anchors.seal
            && last < sealed
        {
            return Err(format!(
                "the end is cut off: record {sealed} was sealed, as the file of the next key says, \
                 and {last} is the last"
            ));
        }
        if let Some(through) = self.anchors.through
            && last < through
        {
            return Err(format!(
                "the end is cut off: there was a record {through}, and {last} is the last"
            ));
        }
        if first > self.oldest {
            let (oldest, before) = (self.oldest, first.saturating_sub(1));
            return Err(format!(
                "the files with records {oldest} to {before} are gone, and were not too many when \
                 the last file that is here began"
            ));
        }
        Ok(())
    }

    fn piece(&mut self, piece: &Piece) -> Result<(), (Option<u64>, String)> {
        let bytes = match piece {
            Piece::Line(bytes) => bytes,
            Piece::Torn(_) => {
                let why = "the log ends within this record: its writer was ended while it wrote, \
                           or the end was cut off";
                return Err((None, why.to_owned()));
            }
        };
        let record = Record::parse(bytes).map_err(|why| (None, why.to_owned()))?;
        self.record(&record).map_err(|why| (Some(record.seq), why))
    }

    fn record(&mut self, record: &Record) -> Result<(), String> {
        let is_first = self.verdict.records == 0;
        let is_header = record.is(Kind::File);
        if is_header != (self.line == 1) {
            return Err(if is_header {
                "a file begins within a file".to_owned()
            } else {
                "the record with which a file begins is not there".to_owned()
            });
        }
        if is_first {
            // What was before it is not here: it says itself what it comes after.
            self.hash = prev(record)?;
            self.seq = record.seq.saturating_sub(1);
            if record.seq <= 1 && self.hash != GENESIS {
                return Err("the first record says that there was one before it".to_owned());
            }
        }
        self.check_number(record.seq)?;
        if self.hash.after(&record.body) != record.hash {
            return Err(
                "this record, or the one before it, is not as it was written: its hash \
                        does not follow"
                    .to_owned(),
            );
        }
        if is_header {
            self.header(record)?;
        } else if record.is(Kind::Seal) {
            self.seal(record)?;
        }
        if let Some((seq, hash)) = self.anchors.seal
            && record.seq == seq
            && record.hash != hash
        {
            return Err(
                "this is not the record that was sealed, as the file of the next key says"
                    .to_owned(),
            );
        }
        self.count(record);
        Ok(())
    }

    fn check_number(&self, seq: u64) -> Result<(), String> {
        let expected = self.seq.saturating_add(1);
        if seq > expected {
            let before = seq.saturating_sub(1);
            return Err(if expected == before {
                format!("record {before}, before it, is missing")
            } else {
                format!("records {expected} to {before}, before it, are missing")
            });
        }
        if seq < expected {
            return Err(format!(
                "it stands where record {expected} belongs: records were swapped or repeated"
            ));
        }
        Ok(())
    }

    fn header(&mut self, record: &Record) -> Result<(), String> {
        if prev(record)? != self.hash {
            return Err("it does not say what the file before ends with".to_owned());
        }
        if file_name(record.seq) != self.file {
            let number = seq_of(&self.file).unwrap_or_default();
            return Err(format!(
                "the name of the file says that it begins with record {number}"
            ));
        }
        let epoch = record.number("epoch");
        if self.epoch.is_some() && epoch != self.epoch && self.is_same_key(record) {
            return Err("it does not say how many seals there were".to_owned());
        }
        self.oldest = record.number("oldest").unwrap_or_default();
        if self.epoch.is_none() || !self.is_same_key(record) {
            self.epoch = epoch;
        }
        Ok(())
    }

    fn is_same_key(&self, record: &Record) -> bool {
        record.text("key_id") == Some(self.verdict.key_id.as_str())
    }

    fn seal(&mut self, record: &Record) -> Result<(), String> {
        let epoch = record.number("epoch");
        let id = record.text("key_id").unwrap_or_default();
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (Some(epoch), Some(expected), true) = (epoch, self.epoch, is_id) else {
            return Err("it is no seal".to_owned());
        };
        if epoch != expected {
            return Err(format!("it is seal {epoch}, where {expected} belongs"));
        }
        if !self.keys.is_empty() {
            self.check_seal(record, epoch, id)?;
        }
        self.epoch = Some(epoch.saturating_add(1));
        self.verdict.seals = self.verdict.seals.saturating_add(1);
        self.verdict.sealed = record.seq;
        record.time.clone_into(&mut self.verdict.sealed_time);
        id.clone_into(&mut self.verdict.key_id);
        Ok(())
    }

    fn check_seal(&mut self, record: &Record, epoch: u64, id: &str) -> Result<(), String> {
        let mut key = self.key.take().filter(|key| key.id().as_str() == id);
        if key.is_none() {
            let known = self.keys.iter().find(|key| key.id().as_str() == id);
            let Some(known) = known else {
                let ids: Vec<String> = self.keys.iter().map(|it| it.id().to_string()).collect();
                return Err(format!(
                    "it is sealed with another key than {}: the seal is forged, or there was a new \
                     key, and the verification key of that is needed too",
                    ids.join(", ")
                ));
            };
            key = known.at(epoch);
        }
        let key = key.filter(|key| key.epoch() == epoch);
        let Some(mut key) = key else {
            return Err("there cannot be so many seals before it".to_owned());
        };
        if !is_sealed(&key, self.hash, record) {
            return Err("the seal is forged, or what it seals was changed".to_owned());
        }
        key.advance();
        self.key = Some(key);
        Ok(())
    }

    fn count(&mut self, record: &Record) {
        let verdict = &mut self.verdict;
        if verdict.records == 0 {
            verdict.first = record.seq;
            record.time.clone_into(&mut verdict.first_time);
        }
        verdict.records = verdict.records.saturating_add(1);
        verdict.last = record.seq;
        record.time.clone_into(&mut verdict.last_time);
        (self.seq, self.hash) = (record.seq, record.hash);
        verdict.ends_in_order = self.stopped && record.is(Kind::Seal);
        self.stopped = record.is(Kind::Stop);
        let alarms = Kind::ALL.into_iter().filter(|kind| kind.is_alarm());
        let is_alarm = alarms.into_iter().any(|kind| record.is(kind));
        if is_alarm && verdict.notices.len() < NOTICES_MAX {
            let told = ["what", "because", "torn_bytes"];
            let told = told.iter().find_map(|name| record.fields.get(*name));
            let told = told.map(|it| shown(&it.to_string())).unwrap_or_default();
            verdict.notices.push(Bad {
                file: self.file.clone(),
                line: self.line,
                sequence: Some(record.seq),
                why: format!("{} {told}", record.kind),
                is_torn: false,
            });
        }
    }

    fn bad(&mut self, sequence: Option<u64>, why: String, is_torn: bool) {
        self.verdict.bad = Some(Bad {
            file: self.file.clone(),
            line: self.line,
            sequence,
            why,
            is_torn,
        });
    }
}

/// No control characters, and none that turn the direction of a line.
pub fn shown(text: &str) -> String {
    let is_plain = |character: char| {
        !character.is_control() && !matches!(character, '\u{200b}'..='\u{206f}' | '\u{feff}')
    };
    let characters = text.chars();
    let characters = characters.map(|it| if is_plain(it) { it } else { '\u{fffd}' });
    characters.collect()
}

fn prev(header: &Record) -> Result<Hash, String> {
    let prev = header.text("prev").and_then(Hash::parse);
    prev.ok_or_else(|| "it does not say what it comes after".to_owned())
}
