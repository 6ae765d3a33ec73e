//! The writer of a log: it is given what happened, and answers how it goes.
//!
//! What is given to it is in the files, and will be whatever happens, when it answers `ok`. What a
//! failing disk does not take waits, so much at most, and is written when the disk does again; what
//! is too much is counted, and the count is written.

use std::{collections::VecDeque, io, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    also::Also,
    entry::{Entry, Kind},
    folder::{STATE, Store, VERIFICATION_KEY, file_name, seq_of},
    line::{self, Hash},
    moment::Moment,
    seal::SealState,
};

/// Records that wait for a disk at most.
pub const BACKLOG_MAX: usize = 4096;

/// How long until a disk that failed is tried again.
pub const RETRY_TIME: Duration = Duration::from_secs(1);

/// What is configured of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The gateway's name.
    pub gateway: String,
    /// How long records are without a seal at most.
    pub seal_time: Duration,
    /// Bytes of a file at most.
    pub file_bytes_max: u64,
    /// How long a file is written to at most.
    pub file_time_max: Option<Duration>,
    /// How many files there are at most.
    pub files_max: usize,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Why it does not; nothing if all is well.
    pub failing: Option<String>,
    /// The number of the last record that will be there whatever happens.
    pub sequence: u64,
    /// The number of the last one that is sealed.
    pub sealed: u64,
    /// Records that wait for the disk.
    pub waiting: u64,
    /// Records that were lost since the gateway started.
    pub lost: u64,
    /// Records that were left out since the gateway started, because there were many of their sort.
    pub suppressed: u64,
    /// Records that were written since the gateway started.
    pub written: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// The file that is written to.
    pub file: String,
    /// The verification key lay beside the log when that was looked at last.
    pub key_beside: bool,
}

/// The writer.
pub struct Writer<S> {
    pub(super) store: S,
    pub(super) settings: Settings,
    pub(super) clock: Box<dyn FnMut() -> Moment + Send>,
    pub(super) also: Also,
    /// The next key, and the last seal.
    pub(super) seals: SealState,
    /// Of the last record.
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// The file, its length up to the last record, and since when it is written to.
    pub(super) file: String,
    /// The files before it, as they were when they were looked for last. One that somebody removes
    /// stays in this list, and so is missed by whoever verifies.
    pub(super) older: Vec<String>,
    pub(super) len: u64,
    pub(super) began: Moment,
    /// When the first record without a seal came.
    pub(super) unsealed: Option<Moment>,
    pub(super) backlog: VecDeque<Entry>,
    pub(super) trouble: Option<Trouble>,
    /// Of all.
    pub(super) lost: u64,
    /// Records and bytes since the start.
    pub(super) written: (u64, u64),
    /// The next key is still to be written.
    pub(super) is_key_unwritten: bool,
    /// See [`State::key_beside`].
    pub(super) key_beside: bool,
}

/// What the disk said last, and what came of it.
#[derive(Debug, Clone)]
pub struct Trouble {
    reason: String,
    since: Moment,
    tried: Moment,
    /// Records that are lost and of which nothing is written yet.
    lost: u64,
}

/// What is about to be appended.
struct Batch {
    text: String,
    seq: u64,
    hash: Hash,
    copies: Vec<(Kind, Map<String, Value>, String)>,
}

impl Batch {
    fn push(&mut self, at: Moment, kind: Kind, fields: &Map<String, Value>) {
        self.seq += 1;
        let body = line::body(self.seq, at, kind, fields);
        self.push_body(&body);
        let mut text = line::line(&body, self.hash);
        self.text.push_str(&text);
        text.truncate(text.len() - 1);
        self.copies.push((kind, fields.clone(), text));
    }

    fn push_body(&mut self, body: &str) {
        self.hash = self.hash.after(body);
    }
}

impl<S: Store> Writer<S> {
    /// Takes what happened.
    pub fn take(&mut self, entries: impl IntoIterator<Item = Entry>) -> State {
        let now = (self.clock)();
        for entry in entries {
            if self.backlog.len() < BACKLOG_MAX {
                self.backlog.push_back(entry);
            } else {
                self.lost += 1;
                self.trouble_or_new(now).lost += 1;
            }
        }
        if self.trouble.is_none() || self.is_retried(now) {
            self.write(now);
        }
        self.state()
    }

    /// Does what is due: seals, begins a new file, tries a disk again that has failed.
    pub fn tick(&mut self) -> State {
        let now = (self.clock)();
        if self.trouble.is_some() {
            if self.is_retried(now) {
                self.write(now);
            }
        } else if self.is_seal_due(now)
            && let Err(error) = self.seal(now)
        {
            self.failed(now, &error);
        }
        self.state()
    }

    /// When [`Writer::tick`] is to be called at the latest; nothing if nothing is due.
    pub fn due(&mut self) -> Option<Duration> {
        let now = (self.clock)();
        if let Some(trouble) = &self.trouble {
            return Some(RETRY_TIME.saturating_sub(now.since(trouble.tried)));
        }
        let left = |since| self.settings.seal_time.saturating_sub(now.since(since));
        self.unsealed.map(left)
    }

    /// Writes what waits and seals it: nothing more comes.
    pub fn close(&mut self) -> State {
        let now = (self.clock)();
        self.write(now);
        if self.trouble.is_none()
            && self.unsealed.is_some()
            && let Err(error) = self.seal(now)
        {
            self.failed(now, &error);
        }
        self.state()
    }

    /// How it goes.
    pub fn state(&self) -> State {
        State {
            failing: self.trouble.as_ref().map(|trouble| trouble.reason.clone()),
            sequence: self.seq,
            sealed: self.seals.seq,
            waiting: self.backlog.len() as u64,
            lost: self.lost,
            // Those are known at the other end.
            suppressed: 0,
            written: self.written.0,
            bytes: self.written.1,
            file: self.file.clone(),
            key_beside: self.key_beside,
        }
    }

    fn is_retried(&self, now: Moment) -> bool {
        let tried = self.trouble.as_ref().map(|trouble| trouble.tried);
        tried.is_none_or(|tried| now.since(tried) >= RETRY_TIME)
    }

    fn is_seal_due(&self, now: Moment) -> bool {
        let since = self.unsealed;
        since.is_some_and(|since| now.since(since) >= self.settings.seal_time)
    }

    /// Writes what waits, and what is lost.
    fn write(&mut self, now: Moment) {
        if let Err(error) = self.try_write(now) {
            self.failed(now, &error);
        }
    }

    fn try_write(&mut self, now: Moment) -> io::Result<()> {
        if self.trouble.is_some() {
            // Something of what was not taken may be there.
            self.open_again()?;
            self.write_key()?;
        }
        if self.file.is_empty() {
            self.begin_file(now)?;
        }
        let mut news = Vec::new();
        if let Some(what) = self.whats_wrong_with_the_file()? {
            tracing::error!(file = self.file, what, "the audit log was changed");
            let damage = Entry::at(now, Kind::Damaged)
                .with("what", what)
                .with("file", self.file.clone());
            self.begin_file(now)?;
            self.backlog.push_front(damage);
        }
        if let Some(trouble) = self.trouble.as_ref().filter(|it| it.lost != 0) {
            news.push(
                Entry::at(now, Kind::Lost)
                    .with("records", trouble.lost)
                    .with("because", trouble.reason.clone())
                    .with("since", trouble.since.text()),
            );
        }
        let is_old = |max| now.since(self.began) >= max;
        if self.settings.file_time_max.is_some_and(is_old) {
            self.rotate(now)?;
        }
        let mut batch = self.batch(&news);
        let max = self.settings.file_bytes_max;
        if self.len > 0 && self.len + batch.text.len() as u64 > max && self.has_records() {
            self.rotate(now)?;
            batch = self.batch(&news);
        }
        self.commit(&batch)?;
        if !batch.text.is_empty() {
            self.unsealed.get_or_insert(now);
        }
        self.backlog.clear();
        if let Some(trouble) = self.trouble.take() {
            tracing::warn!(
                lost = trouble.lost,
                because = trouble.reason,
                "the audit log is written again"
            );
        }
        for (kind, fields, text) in &batch.copies {
            self.also
                .send(&self.settings.gateway, now, *kind, fields, text);
        }
        if self.is_seal_due(now) {
            self.seal(now)?;
        }
        Ok(())
    }

    fn batch(&self, news: &[Entry]) -> Batch {
        let mut batch = self.empty_batch();
        for entry in self.backlog.iter().chain(news) {
            batch.push(entry.at, entry.kind, &entry.fields);
        }
        batch
    }

    fn empty_batch(&self) -> Batch {
        Batch {
            text: String::new(),
            seq: self.seq,
            hash: self.hash,
            copies: Vec::new(),
        }
    }

    /// Whether there is more in the file than its first record.
    fn has_records(&self) -> bool {
        seq_of(&self.file).is_some_and(|first| self.seq > first)
    }

    /// Appends, and waits until it will be there whatever happens. Else it is as it was.
    fn commit(&mut self, batch: &Batch) -> io::Result<()> {
        if batch.text.is_empty() {
            return Ok(());
        }
        let bytes = batch.text.as_bytes();
        let written = self.store.append(bytes).and_then(|()| self.store.sync());
        if let Err(error) = written {
            // If this fails too, it is tried again before anything else.
            let _ = self.store.cut(self.len);
            return Err(error);
        }
        self.len += bytes.len() as u64;
        self.written.0 += batch.seq - self.seq;
        self.written.1 += bytes.len() as u64;
        (self.seq, self.hash) = (batch.seq, batch.hash);
        Ok(())
    }

    /// Whether the file is as it was left.
    fn whats_wrong_with_the_file(&self) -> io::Result<Option<&'static str>> {
        Ok(match self.store.len()? {
            None => Some("the file was removed or replaced"),
            Some(len) if len < self.len => Some("the end of the file was cut off"),
            Some(len) if len > self.len => Some("somebody else has written to the file"),
            Some(_) => None,
        })
    }

    /// Seals all there is, and makes the next key.
    pub(super) fn seal(&mut self, now: Moment) -> io::Result<()> {
        self.write_key()?;
        let key = &self.seals.key;
        let fields = Map::from_iter([
            ("epoch".to_owned(), key.epoch().into()),
            ("key_id".to_owned(), key.id().as_str().into()),
        ]);
        let mut batch = self.empty_batch();
        batch.seq += 1;
        let sealed = line::body(batch.seq, now, Kind::Seal, &fields);
        let mac = key.mac(batch.hash, &sealed);
        let body = format!("{sealed},\"mac\":\"{mac}\"");
        batch.push_body(&body);
        batch.text = line::line(&body, batch.hash);
        self.commit(&batch)?;
        self.unsealed = None;
        self.sealed()?;
        let text = batch.text.trim_end();
        self.also
            .send(&self.settings.gateway, now, Kind::Seal, &fields, text);
        Ok(())
    }

    /// The last record is a seal with the key that there is: from here on there is the next.
    pub(super) fn sealed(&mut self) -> io::Result<()> {
        self.seals.key.advance();
        (self.seals.seq, self.seals.hash) = (self.seq, self.hash);
        self.is_key_unwritten = true;
        self.look_for_key();
        self.write_key()
    }

    pub(super) fn look_for_key(&mut self) {
        let names = self.store.names().unwrap_or_default();
        self.key_beside = names.iter().any(|name| name == VERIFICATION_KEY);
    }

    /// Never is the log more than one seal ahead of the key that is kept.
    fn write_key(&mut self) -> io::Result<()> {
        if self.is_key_unwritten {
            self.store.replace(STATE, self.seals.text().as_bytes())?;
            self.is_key_unwritten = false;
        }
        Ok(())
    }

    /// Seals the file and begins the next.
    fn rotate(&mut self, now: Moment) -> io::Result<()> {
        if self.unsealed.is_some() {
            self.seal(now)?;
        }
        self.begin_file(now)
    }

    /// Begins a file, and removes those that are too many.
    pub(super) fn begin_file(&mut self, now: Moment) -> io::Result<()> {
        let mut files = self.older.clone();
        files.extend(Some(self.file.clone()).filter(|file| !file.is_empty()));
        let kept = files.len().min(self.settings.files_max.saturating_sub(1));
        let kept = files.split_off(files.len() - kept);
        let seq = self.seq + 1;
        let oldest = kept.first().and_then(|name| seq_of(name)).unwrap_or(seq);
        let fields = Map::from_iter([
            ("format".to_owned(), Value::from(1)),
            ("gateway".to_owned(), self.settings.gateway.clone().into()),
            ("prev".to_owned(), self.hash.to_string().into()),
            ("oldest".to_owned(), oldest.into()),
            ("key_id".to_owned(), self.seals.key.id().as_str().into()),
            ("epoch".to_owned(), self.seals.key.epoch().into()),
        ]);
        let mut batch = self.empty_batch();
        batch.push(now, Kind::File, &fields);
        let before = (std::mem::replace(&mut self.file, file_name(seq)), self.len);
        self.len = 0;
        if let Err(error) = self.open_new().and_then(|()| self.commit(&batch)) {
            // The file before goes on, if there is one.
            let _ = self.store.remove(&self.file);
            (self.file, self.len) = before;
            if !self.file.is_empty() {
                self.store.open(&self.file, false)?;
            }
            return Err(error);
        }
        self.older = kept;
        self.began = now;
        self.unsealed.get_or_insert(now);
        for name in files {
            match self.store.remove(&name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(name, %error, "a file of the audit log is not removed");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file may be another one now, or on another disk: it is opened by its name. One that is
    /// gone is left to [`Writer::whats_wrong_with_the_file`].
    fn open_again(&mut self) -> io::Result<()> {
        if self.file.is_empty() {
            return Ok(());
        }
        match self.store.open(&self.file, false) {
            Ok(len) if len > self.len => self.store.cut(self.len),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            opened => opened.map(|_| ()),
        }
    }

    fn open_new(&mut self) -> io::Result<()> {
        match self.store.open(&self.file, true) {
            // It was begun before, and nothing came of it: no record has its number yet.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.store.open(&self.file, false)?;
                self.store.cut(0)
            }
            opened => opened.map(|_| ()),
        }
    }

    pub(super) fn failed(&mut self, now: Moment, error: &io::Error) {
        let reason = format!("{}: {error}", self.file);
        if self.trouble.is_none() {
            tracing::error!(reason, "the audit log cannot be written");
        }
        let trouble = self.trouble_or_new(now);
        trouble.reason = reason;
        trouble.tried = now;
    }

    fn trouble_or_new(&mut self, now: Moment) -> &mut Trouble {
        self.trouble.get_or_insert_with(|| Trouble {
            reason: "more was recorded at once than is kept".to_owned(),
            since: now,
            tried: Moment::default(),
            lost: 0,
        })
    }
}
