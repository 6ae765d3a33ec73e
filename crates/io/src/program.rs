//! Programs of the system: run, fed, and listened to, for a while.

use std::{
    io,
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, ioctl_fionbio, read, write},
    process::{Pid, PidfdFlags, pidfd_open},
};

/// How long a program may take. Those that we run are done in a second, or wait some for a lock;
/// one that hangs is not to hold up all that a gateway has to do beside.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What is read at once.
const CHUNK: usize = 16 * 1024;

/// A program that did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProgramError {
    /// It is not in any folder of `PATH`.
    #[error("there is no program `{program}` in PATH")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started or fed.
    #[error("`{program}` could not be run")]
    NotRun {
        /// Its name.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// It failed, and said why.
    #[error("`{asked}`: {said}")]
    Failed {
        /// The command line.
        asked: String,
        /// What it said.
        said: String,
    },
    /// It did not end in time, and was killed.
    #[error("`{asked}` did not end within {} s, and was killed", .limit.as_secs_f32())]
    TooSlow {
        /// The command line.
        asked: String,
        /// How long it had.
        limit: Duration,
    },
}

impl ProgramError {
    /// Whether there is no such program.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

/// Runs a program to its end, with `input` as its standard input, and returns what it wrote to
/// standard output. It speaks English.
///
/// # Errors
/// There is no such program, or it failed, or was killed because it took longer than 10 s.
pub fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, ProgramError> {
    run_within(TIME_MAX, program, arguments, input)
}

fn run_within(
    limit: Duration,
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, ProgramError> {
    let not_run = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ProgramError::Missing {
            program: program.to_owned(),
        },
        _ => ProgramError::NotRun {
            program: program.to_owned(),
            error,
        },
    };
    let asked = || [&[program], arguments].concat().join(" ");
    let deadline = Instant::now() + limit;
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(not_run)?;
    let talk = Talk::with(&mut child, input.as_bytes()).until(deadline);
    let is_in_time = talk.is_ok() && ends_until(&child, deadline).map_err(not_run)?;
    if !is_in_time {
        // That it has ended in this moment is no loss.
        let _ = child.kill();
    }
    let status = child.wait().map_err(not_run)?;
    let talk = match talk {
        Ok(talk) if is_in_time => talk,
        Err(error) if error.kind() != io::ErrorKind::TimedOut => return Err(not_run(error)),
        _ => {
            return Err(ProgramError::TooSlow {
                asked: asked(),
                limit,
            });
        }
    };
    if status.success() {
        return Ok(String::from_utf8_lossy(&talk.stdout.bytes).into_owned());
    }
    let said = String::from_utf8_lossy(&talk.stderr.bytes);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = said.collect::<Vec<_>>().join("; ");
    Err(ProgramError::Failed {
        asked: asked(),
        said: if said.is_empty() {
            status.to_string()
        } else {
            said
        },
    })
}

/// What is said to a program and by it. None of its pipes blocks: a program may say much before it
/// listens.
struct Talk<'i> {
    stdin: Option<OwnedFd>,
    unsaid: &'i [u8],
    stdout: Heard,
    stderr: Heard,
}

/// What came by one pipe, which is gone at its end.
#[derive(Default)]
struct Heard {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl<'i> Talk<'i> {
    fn with(child: &mut Child, input: &'i [u8]) -> Self {
        let heard = |pipe: Option<OwnedFd>| Heard {
            pipe,
            bytes: Vec::new(),
        };
        Self {
            stdin: child.stdin.take().map(OwnedFd::from),
            unsaid: input,
            stdout: heard(child.stdout.take().map(OwnedFd::from)),
            stderr: heard(child.stderr.take().map(OwnedFd::from)),
        }
    }

    /// Talks until the program has closed all its pipes; [`io::ErrorKind::TimedOut`] if it does not
    /// in time.
    fn until(mut self, deadline: Instant) -> io::Result<Self> {
        let pipes = [&self.stdin, &self.stdout.pipe, &self.stderr.pipe];
        for pipe in pipes.into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        while self.stdout.pipe.is_some() || self.stderr.pipe.is_some() {
            let pipes = [
                (&self.stdin, PollFlags::OUT),
                (&self.stdout.pipe, PollFlags::IN),
                (&self.stderr.pipe, PollFlags::IN),
            ];
            let pipes = pipes.into_iter();
            let mut pipes: Vec<PollFd<'_>> = pipes
                .filter_map(|(pipe, flags)| Some(PollFd::new(pipe.as_ref()?, flags)))
                .collect();
            wait_until(&mut pipes, deadline)?;
            self.say();
            self.stdout.listen()?;
            self.stderr.listen()?;
        }
        Ok(self)
    }

    fn say(&mut self) {
        while let Some(stdin) = &self.stdin {
            match write(stdin, self.unsaid) {
                Ok(written) => self.unsaid = &self.unsaid[written..],
                Err(Errno::AGAIN | Errno::INTR) => return,
                // One that does not listen to the end says itself what is wrong.
                Err(_) => self.unsaid = &[],
            }
            if self.unsaid.is_empty() {
                self.stdin = None;
            }
        }
    }
}

impl Heard {
    /// Takes one chunk only, so that time is looked at also where there is always another.
    fn listen(&mut self) -> io::Result<()> {
        let Some(pipe) = &self.pipe else {
            return Ok(());
        };
        let mut chunk = [0; CHUNK];
        match read(pipe, &mut chunk) {
            Ok(0) => self.pipe = None,
            Ok(length) => self.bytes.extend_from_slice(&chunk[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }
}

/// Whether the program ends until then.
fn ends_until(child: &Child, deadline: Instant) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let mut processes = [PollFd::new(&process, PollFlags::IN)];
    match wait_until(&mut processes, deadline) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits until something is to be done with one of them.
fn wait_until(descriptors: &mut [PollFd<'_>], deadline: Instant) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
        match poll(descriptors, Some(&left)) {
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_back() {
        assert_eq!(run("cat", &[], "fed").unwrap(), "fed");
        let error = run("sh", &["-c", "echo no >&2; exit 3"], "").unwrap_err();
        assert_eq!(error.to_string(), "`sh -c echo no >&2; exit 3`: no");
        let error = run("sh", &["-c", "exit 3"], "").unwrap_err();
        assert!(error.to_string().ends_with("exit status: 3"), "{error}");
        assert!(run("no-such-program", &[], "").unwrap_err().is_missing());
    }

    #[test]
    fn one_that_hangs_is_killed() {
        let limit = Duration::from_millis(200);
        for script in [
            "sleep 3",
            "exec >&- 2>&-; sleep 3",
            "sleep 3 & exit 0",
            "yes",
        ] {
            let error = run_within(limit, "sh", &["-c", script], "").unwrap_err();
            assert!(matches!(error, ProgramError::TooSlow { .. }), "{error}");
            assert!(error.to_string().contains("within 0.2 s"), "{error}");
        }
    }

    #[test]
    fn much_is_said_and_heard_at_once() {
        // More than fits into the pipes, which hold 64 KiB.
        let input = "0123456789abcde\n".repeat(64 * 1024);
        assert_eq!(run("cat", &[], &input).unwrap(), input);
        // It ends without listening.
        assert_eq!(run("true", &[], &input).unwrap(), "");
    }
}
