//! `weapon audit show`: the records of a log, those that are asked for.

use std::{
    io,
    process::ExitCode,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use super::{
    commands::log_of,
    entry::{Kind, RESERVED},
    folder::{Source, log_files},
    line::Record,
    lines::{Lines, Piece},
    moment::Moment,
    reading::Reading,
    verify::shown,
};
use crate::cli::{self, ShowArgs, Since};

/// How long until it is looked whether there is more.
const FOLLOW_TIME: Duration = Duration::from_millis(300);

/// Where the reader stands.
#[derive(Default)]
struct Place {
    file: String,
    lines: u64,
}

/// Runs it.
pub fn run(args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let log = log_of(&args.log)?;
    let reading = Reading::open(&log.folder)?;
    let wanted = Wanted {
        kinds: &args.kind,
        peer: args.peer.as_deref(),
        since: args.since.as_ref().map(since),
    };
    let mut place = Place::default();
    loop {
        let is_good = show(&reading, &wanted, args.json, &mut place)?;
        if !args.follow {
            return Ok(if is_good {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(cli::EXIT_FAILED)
            });
        }
        thread::sleep(FOLLOW_TIME);
    }
}

/// Which records are asked for.
struct Wanted<'a> {
    kinds: &'a [String],
    peer: Option<&'a str>,
    since: Option<String>,
}

impl Wanted<'_> {
    fn is(&self, record: &Record) -> bool {
        let of_kind = self.kinds.is_empty() || self.kinds.contains(&record.kind);
        let of_peer = self.peer.is_none_or(|it| record.text("peer") == Some(it));
        let is_late = self.since.as_ref().is_none_or(|it| record.time >= *it);
        of_kind && of_peer && is_late
    }
}

/// The moment from which on, as it is written in records.
fn since(since: &Since) -> String {
    match since {
        Since::Ago(time) => {
            let at = SystemTime::now().checked_sub(*time).unwrap_or(UNIX_EPOCH);
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let moment = Moment {
                seconds: at.as_secs(),
                nanos: at.subsec_nanos(),
                boot_us: 0,
            };
            moment.text()
        }
        Since::At(text) => text.clone(),
    }
}

/// Shows what comes after `place`. False if there were lines that are no records.
fn show(
    reading: &Reading,
    wanted: &Wanted<'_>,
    json: bool,
    place: &mut Place,
) -> anyhow::Result<bool> {
    let mut is_good = true;
    let files = log_files(reading.names()?);
    for file in files {
        if file < place.file {
            continue;
        }
        let mut lines = match reading.read(&file) {
            Ok(reader) => Lines::new(reader),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let seen = if file == place.file { place.lines } else { 0 };
        let mut count = 0;
        while let Some(Piece::Line(line)) = lines.next_piece()? {
            count += 1;
            if count <= seen {
                continue;
            }
            match Record::parse(&line) {
                Ok(record) if wanted.is(&record) => {
                    let line = String::from_utf8_lossy(&line);
                    cli::print(&if json {
                        line.into_owned()
                    } else {
                        text(&record)
                    })?;
                }
                Ok(_) => {}
                Err(why) => {
                    is_good = false;
                    cli::print_error(&format!("{file}:{count}: no record: {why}"));
                }
            }
        }
        *place = Place { file, lines: count };
    }
    Ok(is_good)
}

/// A record for people: the wall's time to the millisecond, what happened, and its fields.
fn text(record: &Record) -> String {
    let time = record.time.get(..23).unwrap_or_default();
    let mut text = format!("{:>6}  {time}Z  {:<14}", record.seq, record.kind);
    let is_chain = record.is(Kind::File) || record.is(Kind::Seal);
    for (name, value) in &record.fields {
        let is_hidden = RESERVED.contains(&name.as_str()) || is_chain && name == "prev";
        if is_hidden || value.is_null() {
            continue;
        }
        let value = match value {
            Value::String(text) if is_simple(text) => text.clone(),
            other => shown(&other.to_string()),
        };
        text.push_str(&format!(" {}={value}", shown(name)));
    }
    text.trim_end().to_owned()
}

fn is_simple(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{entry::Entry, line};

    fn record(entry: &Entry) -> Record {
        let body = line::body(7, entry.at, entry.kind, &entry.fields);
        let line = line::line(&body, line::GENESIS.after(&body));
        Record::parse(line.trim_end().as_bytes()).unwrap()
    }

    #[test]
    fn a_record_is_a_line_for_people() {
        let at = Moment {
            seconds: 1_800_000_000,
            nanos: 123_456_789,
            boot_us: 0,
        };
        let entry = Entry::at(at, Kind::Roam)
            .with("peer", "site-b")
            .with("from", Value::Null)
            .with("to", "a b\u{1b}[31m\u{9b}\u{202e}");
        assert_eq!(
            text(&record(&entry)),
            "     7  2027-01-15T08:00:00.123Z  roam           peer=site-b \
             to=\"a b\\u001b[31m\u{fffd}\u{fffd}\""
        );
    }

    #[test]
    fn records_are_chosen() {
        let at = Moment {
            seconds: 1_800_000_000,
            ..Moment::default()
        };
        let record = record(&Entry::at(at, Kind::Roam).with("peer", "b"));
        let all = Wanted {
            kinds: &[],
            peer: None,
            since: None,
        };
        assert!(all.is(&record));
        let kinds = ["start".to_owned()];
        assert!(
            !Wanted {
                kinds: &kinds,
                ..all
            }
            .is(&record)
        );
        let all = Wanted {
            kinds: &[],
            peer: Some("b"),
            since: Some("2027-01-15".to_owned()),
        };
        assert!(all.is(&record));
        let later = Some("2027-01-15T09".to_owned());
        assert!(
            !Wanted {
                since: later,
                ..all
            }
            .is(&record)
        );
    }
}
