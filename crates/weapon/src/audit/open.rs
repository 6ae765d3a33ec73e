//! A log is opened: what is there is read, a record that was torn is put aside, and what is not as
//! it was left is recorded. Nothing that can be read is ever changed.

use std::{collections::VecDeque, io};

use super::{
    also::Also,
    entry::{Entry, Kind},
    folder::{STATE, Store, VERIFICATION_KEY, log_files, read_small, seq_of},
    line::{GENESIS, Hash, Record},
    lines::{Lines, Piece},
    moment::Moment,
    seal::{SealKey, SealState, VerificationKey},
    writer::{Settings, Writer},
};

/// Files with what was torn that are kept at most.
const TORN_MAX: usize = 16;

/// Bytes of what was torn that are kept, about.
const TORN_BYTES_MAX: usize = 1 << 20;

/// Of the file with what was torn.
const TORN: &str = ".torn";

/// The end of a log.
struct End {
    file: String,
    /// Bytes up to the end of the last record.
    len: u64,
    seq: u64,
    hash: Hash,
    /// The first record that is to be there.
    oldest: u64,
    /// Seals up to there; nothing if the log does not say.
    epoch: Option<u64>,
    /// The record with the number of the last seal, as the key's file has it.
    at_seal: Option<Hash>,
    /// The last record, if it is a seal: the hash before it, what it seals, and its mac.
    last_seal: Option<(Hash, Record)>,
    torn: Vec<u8>,
}

impl<S: Store> Writer<S> {
    /// Opens the log in `store`, and begins one if there is none.
    ///
    /// # Errors
    /// The files cannot be read or written. That the first record cannot be written is none: see
    /// [`Writer::state`].
    pub fn open(
        store: S,
        settings: Settings,
        also: Also,
        mut clock: Box<dyn FnMut() -> Moment + Send>,
    ) -> anyhow::Result<Self> {
        let now = clock();
        let mut writer = Self {
            seals: SealState {
                key: SealKey::generate()?,
                seq: 0,
                hash: GENESIS,
            },
            store,
            settings,
            clock,
            also,
            seq: 0,
            hash: GENESIS,
            file: String::new(),
            older: Vec::new(),
            len: 0,
            began: now,
            unsealed: None,
            backlog: VecDeque::new(),
            trouble: None,
            lost: 0,
            written: (0, 0),
            is_key_unwritten: false,
            key_beside: false,
        };
        let key_lost = writer.open_key()?;
        let end = writer.find_end()?;
        let mut wrong = Vec::new();
        if key_lost && end.is_some() {
            wrong.push("the key of its seals was gone; there is a new one from here on".to_owned());
        }
        if let Err(error) = writer.go_on(end, wrong, now) {
            writer.failed(now, &error);
        }
        writer.look_for_key();
        Ok(writer)
    }

    /// Reads the next key, or makes the first; whether it is new.
    fn open_key(&mut self) -> anyhow::Result<bool> {
        let text = read_small(&self.store, STATE)?;
        if let Some(seals) = text.and_then(|text| SealState::parse(&text)) {
            self.seals = seals;
            return Ok(false);
        }
        init(&mut self.store, &self.seals)?;
        Ok(true)
    }

    fn find_end(&mut self) -> io::Result<Option<End>> {
        let mut files = log_files(self.store.names()?);
        let mut torn_before = Vec::new();
        while let Some(file) = files.pop() {
            let reader = self.store.read(&file)?;
            let mut end = End::of(&file, Lines::new(reader), self.seals.seq)?;
            if end.seq == 0 {
                // Not even its first record was written: the one before it goes on.
                put_aside(&mut self.store, &file, &end.torn)?;
                self.store.remove(&file)?;
                torn_before.extend(end.torn);
                continue;
            }
            end.torn.extend(torn_before);
            self.older = files;
            return Ok(Some(end));
        }
        Ok(None)
    }

    /// Makes the writer stand at the end. What is to be recorded waits before anything is written,
    /// for that may fail.
    fn go_on(&mut self, end: Option<End>, mut wrong: Vec<String>, now: Moment) -> io::Result<()> {
        let mut is_sealed = false;
        match &end {
            Some(end) => {
                (self.file, self.len) = (end.file.clone(), end.len);
                (self.seq, self.hash) = (end.seq, end.hash);
                is_sealed = self.note_seals(end, &mut wrong);
                let first = self.older.first().unwrap_or(&end.file);
                if seq_of(first).is_some_and(|first| first > end.oldest) {
                    let oldest = end.oldest;
                    wrong.push(format!("files were gone that begin with record {oldest}"));
                }
            }
            None if self.seals.seq != 0 => wrong.push("all files of the log were gone".to_owned()),
            None => {}
        }
        let is_new = end.is_none() || !wrong.is_empty();
        if !wrong.is_empty() {
            // A number that was used is not used again.
            self.seq = self.seq.max(self.seals.seq);
        }
        for what in wrong {
            tracing::error!(
                file = self.file,
                what,
                "the audit log is not as it was left"
            );
            let entry = Entry::at(now, Kind::Damaged).with("what", what);
            self.backlog.push_back(entry);
        }
        if let Some(end) = end.as_ref().filter(|end| !end.torn.is_empty()) {
            let (file, torn) = (end.file.as_str(), end.torn.len());
            tracing::warn!(
                file,
                torn,
                "the audit log ended within a record, and goes on"
            );
            let entry = Entry::at(now, Kind::Recovered)
                .with("torn_bytes", torn)
                .with("file", file);
            self.backlog.push_back(entry);
        }
        self.unsealed = (self.seq != self.seals.seq && !is_sealed).then_some(now);
        if let Some(end) = &end {
            let len = self.store.open(&end.file, false)?;
            if len > end.len {
                put_aside(&mut self.store, &end.file, &end.torn)?;
                self.store.cut(end.len)?;
            }
        }
        if is_sealed {
            self.sealed()?;
        }
        if is_new {
            self.begin_file(now)?;
        }
        self.take([]);
        Ok(())
    }

    /// Holds the end against what was sealed last. True if the gateway ended between the last seal
    /// and the writing of the next key.
    fn note_seals(&self, end: &End, wrong: &mut Vec<String>) -> bool {
        if let Some((before, record)) = &end.last_seal
            && record.number("epoch") == Some(self.seals.key.epoch())
            && is_sealed(&self.seals.key, *before, record)
        {
            return true;
        }
        let sealed = self.seals.seq;
        if end.seq < sealed {
            let last = end.seq;
            wrong.push(format!(
                "its end was cut off: record {sealed} was sealed, {last} is the last"
            ));
        } else if end.at_seal.is_some_and(|hash| hash != self.seals.hash) {
            wrong.push(format!("record {sealed} is not the one that was sealed"));
        } else if end.epoch.is_some_and(|it| it != self.seals.key.epoch()) && wrong.is_empty() {
            wrong.push("its seals and the key do not belong together".to_owned());
        }
        false
    }
}

/// Whether a record is a seal by this key.
pub fn is_sealed(key: &SealKey, before: Hash, record: &Record) -> bool {
    let parts = record.body.rsplit_once(",\"mac\":\"");
    let parts = parts.and_then(|(body, mac)| Some((body, mac.strip_suffix('"')?)));
    let mac = parts.and_then(|(body, mac)| Some((body, Hash::parse(mac)?)));
    mac.is_some_and(|(body, mac)| key.is_mac(mac, before, body))
}

/// Writes the first key, and the verification key beside it.
///
/// # Errors
/// They cannot be written.
pub fn init(store: &mut impl Store, seals: &SealState) -> io::Result<()> {
    let key = VerificationKey::of(&seals.key);
    let text = format!(
        "# Verifies the seals of the audit log beside it. Keep it elsewhere: whoever reads it\n\
         # here can forge them. The gateway does not need it.\n{}",
        &*key.text()
    );
    let text = zeroize::Zeroizing::new(text);
    store.replace(VERIFICATION_KEY, text.as_bytes())?;
    store.replace(STATE, seals.text().as_bytes())
}

/// What was torn is put beside the file, and the oldest of such go.
fn put_aside(store: &mut impl Store, file: &str, torn: &[u8]) -> io::Result<()> {
    if torn.is_empty() {
        return Ok(());
    }
    let names = store.names()?;
    let mut all: Vec<&String> = names.iter().filter(|it| it.contains(TORN)).collect();
    while all.len() >= TORN_MAX {
        store.remove(all.remove(0))?;
    }
    let mut tries = (0..TORN_MAX).map(|number| match number {
        0 => format!("{file}{TORN}"),
        _ => format!("{file}{TORN}{number}"),
    });
    let name = tries.find(|name| !names.contains(name));
    let name = name.unwrap_or_else(|| format!("{file}{TORN}"));
    store.replace(&name, torn)
}

impl End {
    fn of(file: &str, mut lines: Lines, sealed: u64) -> io::Result<Self> {
        let mut end = Self {
            file: file.to_owned(),
            len: 0,
            seq: 0,
            hash: GENESIS,
            oldest: 0,
            epoch: None,
            at_seal: None,
            last_seal: None,
            torn: Vec::new(),
        };
        while let Some(piece) = lines.next_piece()? {
            let (bytes, is_whole) = match &piece {
                Piece::Line(bytes) => (bytes, true),
                Piece::Torn(bytes) => (bytes, false),
            };
            let record = Record::parse(bytes).ok().filter(|_| is_whole);
            let Some(record) = record else {
                if end.torn.len() < TORN_BYTES_MAX {
                    end.torn.extend(bytes);
                    end.torn.extend(is_whole.then_some(b'\n'));
                }
                continue;
            };
            // Lines that cannot be read have records behind them: they are no torn end, and stay.
            end.torn.clear();
            end.len = lines.bytes_read();
            end.note(record, sealed);
        }
        Ok(end)
    }

    fn note(&mut self, record: Record, sealed: u64) {
        if record.seq == sealed {
            self.at_seal = Some(record.hash);
        }
        if record.is(Kind::File) && self.seq == 0 {
            self.epoch = record.number("epoch");
            self.oldest = record.number("oldest").unwrap_or(record.seq);
        }
        if record.is(Kind::Seal) {
            self.epoch = record.number("epoch").and_then(|it| it.checked_add(1));
        }
        let before = std::mem::replace(&mut self.hash, record.hash);
        self.seq = record.seq.max(1);
        self.last_seal = record.is(Kind::Seal).then_some((before, record));
    }
}
