//! `weapon audit`: a log is given its key, read and verified.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use super::{
    folder::{Folder, STATE, Source, Store, VERIFICATION_KEY, log_files, read_small},
    lines::Lines,
    open::init,
    reading::Reading,
    seal::{SealKey, SealState, VerificationKey},
    verify::{Anchors, Bad, Verdict, Verifier},
};
use crate::{
    cli::{self, AuditCommand, InitArgs, LogTarget, VerifyArgs},
    config::{self, BadConfig},
    status,
};

/// How often a log that ends within a record is read again: its writer may be writing it.
const TORN_TRIES: u32 = 5;
const TORN_WAIT: Duration = Duration::from_millis(100);

/// Runs it.
pub fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    match command {
        AuditCommand::Init(args) => make_key(args),
        AuditCommand::Verify(args) => verify(args),
        AuditCommand::Show(args) => super::show::run(args),
    }
}

/// A log, and the gateway that writes it, if that is known.
pub struct Log {
    /// Where it is.
    pub folder: PathBuf,
    /// Whose it is.
    pub gateway: Option<String>,
}

/// Which log is meant.
pub fn log_of(target: &LogTarget) -> anyhow::Result<Log> {
    if let Some(folder) = &target.directory {
        return Ok(Log {
            folder: folder.clone(),
            gateway: None,
        });
    }
    let target = target.target.as_deref().unwrap_or_default();
    let path = config::locate(target).map_err(|problem| BadConfig(vec![problem]))?;
    let config = config::load(&path)?.config;
    let Some(audit) = config.audit else {
        bail!(
            "{}: there is no section [audit], so there is no audit log; write [audit], or name the \
             folder of one with --directory",
            path.display()
        );
    };
    Ok(Log {
        folder: audit.directory,
        gateway: Some(config.name),
    })
}

/// Makes the key of the seals, and shows its verification key, this once.
fn make_key(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let log = log_of(&args.log)?;
    let mut folder = Folder::open(&log.folder)?;
    let place = log.folder.display();
    if folder.names()?.iter().any(|name| name == STATE) {
        bail!(
            "{place}: the audit log has a key already. Its verification key is shown once, or \
             lies in {VERIFICATION_KEY} there until somebody takes it away. For a new key move the \
             folder away as a whole"
        );
    }
    let seals = SealState {
        key: SealKey::generate()?,
        seq: 0,
        hash: super::line::GENESIS,
    };
    let key = VerificationKey::of(&seals.key);
    init(&mut folder, &seals).with_context(|| place.to_string())?;
    folder.remove(VERIFICATION_KEY)?;
    cli::print(key.text().trim_end())?;
    cli::print_error(&format!(
        "This verifies the seals of the audit log in {place}. It is shown once and kept nowhere: \
         keep it on another machine, in a file for `weapon audit verify --key-file FILE`."
    ));
    Ok(ExitCode::SUCCESS)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<ExitCode> {
    let log = log_of(&args.log)?;
    let reading = Reading::open(&log.folder)?;
    let keys = keys(&args.key_file, &reading)?;
    let mut tries = 0;
    let verdict = loop {
        let verdict = verdict(&log, &reading, &keys, args.through)?;
        let is_torn = verdict.bad.as_ref().is_some_and(|bad| bad.is_torn);
        tries += 1;
        if !is_torn || tries == TORN_TRIES {
            break verdict;
        }
        thread::sleep(TORN_WAIT);
    };
    if args.json {
        cli::print(&serde_json::to_string_pretty(&verdict)?)?;
    } else {
        for line in described(&log.folder, &verdict) {
            cli::print(&line)?;
        }
    }
    Ok(if verdict.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(cli::EXIT_FAILED)
    })
}

/// Those that are given, or the one that lies beside the log.
fn keys(files: &[PathBuf], reading: &Reading) -> anyhow::Result<Vec<VerificationKey>> {
    let parse = |text: &str, place: &Path| {
        VerificationKey::parse(text).map_err(|why| anyhow::anyhow!("{}: {why}", place.display()))
    };
    let mut keys = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        keys.push(parse(&Zeroizing::new(text), file)?);
    }
    if keys.is_empty()
        && let Some(text) = read_small(reading, VERIFICATION_KEY)?
    {
        keys.push(parse(&text, Path::new(VERIFICATION_KEY))?);
    }
    Ok(keys)
}

/// What is known of the end comes first: records that come meanwhile are no fault.
fn verdict(
    log: &Log,
    reading: &Reading,
    keys: &[VerificationKey],
    through: Option<u64>,
) -> anyhow::Result<Verdict> {
    let seals = read_small(reading, STATE)?;
    let seals = seals.and_then(|text| SealState::parse(&text));
    let running = log.gateway.as_deref().and_then(written_by);
    let anchors = Anchors {
        seal: seals.map(|it| (it.seq, it.hash)).filter(|it| it.0 != 0),
        through: through.max(running),
    };
    let mut verifier = Verifier::new(keys, anchors);
    for name in log_files(reading.names()?) {
        let lines = match reading.read(&name) {
            Ok(reader) => Lines::new(reader),
            // It was the oldest, and one too many.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).context(name),
        };
        if !verifier.file(&name, lines)? {
            break;
        }
    }
    Ok(verifier.end())
}

/// Verifies one file that is held in memory.
pub fn verify_file(file: &[u8], name: &str, key: &str, through: u64) -> (bool, Vec<String>) {
    let keys: Vec<VerificationKey> = VerificationKey::parse(key).into_iter().collect();
    let anchors = Anchors {
        seal: None,
        through: Some(through),
    };
    let mut verifier = Verifier::new(&keys, anchors);
    let lines = Lines::new(Box::new(io::Cursor::new(file.to_vec())));
    let is_read = verifier.file(name, lines).is_ok();
    let verdict = verifier.end();
    let said = described(Path::new(""), &verdict);
    (verdict.ok && is_read, said)
}

/// The number of the last record, by the gateway that writes them, if it runs.
fn written_by(gateway: &str) -> Option<u64> {
    let report = status::report_of(gateway).ok()??;
    Some(report.audit?.sequence)
}

/// A verdict for people.
fn described(folder: &Path, verdict: &Verdict) -> Vec<String> {
    let place = |bad: &Bad| {
        let number = bad.sequence.map(|it| format!(" record {it}:"));
        let file = folder.join(&bad.file);
        let (file, line) = (file.display(), bad.line);
        format!("{file}:{line}:{} {}", number.unwrap_or_default(), bad.why)
    };
    let mut lines = Vec::new();
    let Verdict {
        files,
        records,
        first,
        last,
        seals,
        sealed,
        ..
    } = verdict;
    let up_to = if verdict.ok { "" } else { " before that" };
    lines.extend(
        verdict
            .bad
            .as_ref()
            .map(|bad| format!("BAD  {}", place(bad))),
    );
    if *records > 0 {
        lines.push(format!(
            "{records} records in {files} files{up_to}, {first} to {last}, {} to {}: each follows \
             from the one before",
            verdict.first_time, verdict.last_time
        ));
    }
    let since = last.saturating_sub(*sealed);
    lines.push(match (verdict.seals_checked, seals) {
        (_, 0) => "there is no seal yet, so whoever could write there could change all".to_owned(),
        (true, _) => format!(
            "{seals} seals hold by key {}; the last one is record {sealed} of {}, and {since} \
             records after it have none yet",
            verdict.key_id, verdict.sealed_time
        ),
        (false, _) => format!(
            "{seals} seals were NOT checked, as there is no verification key: give --key-file; it \
             is that of key {}",
            verdict.key_id
        ),
    });
    if verdict.ok {
        lines.push(if verdict.ends_in_order {
            "it ends in order: the gateway stopped, and that is sealed".to_owned()
        } else {
            "its end is open: the gateway runs, or was ended".to_owned()
        });
    }
    for notice in &verdict.notices {
        lines.push(format!("note {}", place(notice)));
    }
    lines
}
