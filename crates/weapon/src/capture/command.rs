//! `weapon capture`: asks a gateway for its packets and writes them where they are wanted.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{task::spawn_blocking, time::timeout};

use super::{Capture, CaptureEnd, Expression, Stage};
use crate::{
    api::{Client, Request},
    cli::{self, CaptureArgs, EXIT_BAD_CONFIG},
    daemon, places,
    signals::{Signal, Signals},
};

/// How long a gateway may take to give what it has seen, once it is told to end.
const END_TIME: Duration = Duration::from_secs(5);

/// What packets are written to.
type Out = Box<dyn Write + Send>;

/// Captures until a limit is reached, the reader goes, or Ctrl-C is pressed.
pub fn run(args: &CaptureArgs) -> anyhow::Result<ExitCode> {
    if let Some(Err(unclear)) = args.filter.as_deref().map(Expression::parse) {
        cli::print_error(&format!("weapon: {unclear}"));
        return Ok(ExitCode::from(EXIT_BAD_CONFIG));
    }
    let path = args.write.as_deref();
    let is_stdout = path.is_none_or(|path| path.as_os_str() == "-");
    if is_stdout && io::stdout().is_terminal() {
        cli::print_error(
            "weapon: packets are no text for a terminal; write them to a file with -w FILE, or to \
             a program: weapon capture | tcpdump -nr -",
        );
        return Ok(ExitCode::from(EXIT_BAD_CONFIG));
    }
    let name = places::running_gateway(args.target.as_deref())?;
    let request = Request::Capture(Capture {
        peer: args.peer.clone(),
        stage: if args.after {
            Stage::After
        } else {
            Stage::Before
        },
        filter: args.filter.clone(),
        count: args.count,
        seconds: args.seconds,
        bytes: args.size,
    });
    let runtime = daemon::runtime()?;
    let counted = runtime.block_on(async {
        let (number, body) = Client::of(&name)?.stream(&request).await?;
        let out: Out = match path {
            Some(path) if !is_stdout => {
                // Nobody else is to read what was encrypted.
                let mut options = OpenOptions::new();
                let options = options.write(true).create(true).truncate(true).mode(0o600);
                let file = options.open(path);
                Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
            }
            _ => Box::new(io::stdout()),
        };
        copy(body, out, (&name, number)).await
    });
    // A writer that hangs does not hold us up.
    runtime.shutdown_background();
    let Counted {
        packets, missed, ..
    } = counted?;
    cli::print_error(&format!(
        "{packets} packets captured, {} missed",
        missed.values().sum::<u64>()
    ));
    Ok(ExitCode::SUCCESS)
}

/// Copies until the end, or until there is nobody who reads.
async fn copy(
    mut body: Incoming,
    mut out: Out,
    (name, number): (&str, u64),
) -> anyhow::Result<Counted> {
    let mut signals = Signals::new()?;
    let mut counted = Counted::default();
    let mut is_ending = false;
    loop {
        let next = async {
            let wait = if is_ending { END_TIME } else { Duration::MAX };
            timeout(wait, body.frame()).await
        };
        let frame = tokio::select! {
            frame = next => frame.context("the gateway does not end the capture")?,
            signal = signals.next() => {
                if matches!(signal, Signal::Stop(_)) {
                    if is_ending {
                        return Ok(counted);
                    }
                    is_ending = true;
                    let capture = CaptureEnd { capture: number };
                    Client::of(name)?.ask(&Request::EndCapture(capture))?;
                }
                continue;
            }
        };
        let Some(frame) = frame else {
            return Ok(counted);
        };
        let frame = frame.context("the gateway went away")?;
        let Ok(bytes) = frame.into_data() else {
            continue;
        };
        counted.note(&bytes);
        let mut written = spawn_blocking(move || {
            let result = out.write_all(&bytes).and_then(|()| out.flush());
            (out, result)
        });
        let result = loop {
            tokio::select! {
                written = &mut written => {
                    let (back, result) = written.context("cannot write")?;
                    out = back;
                    break result;
                }
                // The reader takes nothing more.
                signal = signals.next() => if matches!(signal, Signal::Stop(_)) {
                    return Ok(counted);
                },
            }
        };
        match result {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(counted),
            Err(error) => return Err(error).context("cannot write"),
        }
    }
}

/// What is in the file so far.
#[derive(Debug, Default)]
struct Counted {
    packets: u64,
    /// By interface.
    missed: BTreeMap<u32, u64>,
    /// A block of which the end is still to come.
    begun: Vec<u8>,
}

impl Counted {
    fn note(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let mut rest = &self.begun[..];
        while let (Some(kind), Some(len)) = (number(rest, 0), number(rest, 4)) {
            let Some((block, behind)) = rest.split_at_checked((len as usize).max(12)) else {
                break;
            };
            rest = behind;
            match kind {
                6 => self.packets += 1,
                // Its second option says how many were missed.
                5 => {
                    let missed = number(block, 36).zip(number(block, 40));
                    let missed = missed.map(|(low, high)| u64::from(high) << 32 | u64::from(low));
                    self.missed.extend(number(block, 8).zip(missed));
                }
                _ => {}
            }
        }
        self.begun = rest.to_vec();
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::{
        super::pcapng::{self, Packet},
        *,
    };

    #[test]
    fn packets_are_counted_however_they_come() {
        let mut file = Vec::new();
        pcapng::section(&mut file, "weapon");
        pcapng::interface(&mut file, "one", "1");
        for len in [0, 1, 5, 1500] {
            let packet = Packet {
                interface: 0,
                at: 1,
                is_inbound: false,
                bytes: &vec![6; len],
                comment: None,
            };
            pcapng::packet(&mut file, &packet);
        }
        pcapng::statistics(&mut file, 0, 9, (4, 3 << 32));
        pcapng::statistics(&mut file, 1, 9, (0, 5));
        for step in [1, 7, 100, file.len()] {
            let mut counted = Counted::default();
            file.chunks(step).for_each(|bytes| counted.note(bytes));
            assert_eq!(counted.packets, 4);
            assert_eq!(counted.missed, BTreeMap::from([(0, 3 << 32), (1, 5)]));
            assert!(counted.begun.is_empty());
        }
    }
}
