//! The program under test.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lab::Host;
use crate::plan::cipher_backend;
use crate::process::Process;

/// How long a gateway may take to come up, or to end, on a machine busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Where the running program was built: `target/PROFILE`.
#[track_caller]
pub fn build_folder() -> PathBuf {
    let program = std::env::current_exe().expect("the program's own path");
    let folder = program.parent().expect("a folder");
    // A test is in target/PROFILE/deps, a binary one above.
    if folder.ends_with("deps") {
        folder.parent().expect("target/PROFILE").to_owned()
    } else {
        folder.to_owned()
    }
}

/// The binary `weapon`, of the same build as the running test.
#[track_caller]
pub fn binary() -> PathBuf {
    let path = build_folder().join("weapon");
    assert!(
        path.is_file(),
        "{} is not there: run `cargo build -p weapon` first (`cargo xtask test` does)",
        path.display()
    );
    path
}

/// A folder with configuration, state and runtime files of gateways. Gone when dropped.
#[derive(Debug)]
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty one.
    pub fn new() -> Rc<Self> {
        let folder = tempfile::Builder::new().prefix("weapon-netns-").tempdir();
        let home = Self {
            folder: folder.expect("a temporary folder"),
        };
        for part in [home.runtime(), home.state()] {
            fs::create_dir(part).expect("a folder");
        }
        Rc::new(home)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What it gives the program as `RUNTIME_DIRECTORY`.
    pub fn runtime(&self) -> PathBuf {
        self.path().join("run")
    }

    /// What it gives the program as `STATE_DIRECTORY`.
    pub fn state(&self) -> PathBuf {
        self.path().join("state")
    }

    /// What it gives the program as `LOGS_DIRECTORY`; the gateway that needs it makes it.
    pub fn logs(&self) -> PathBuf {
        self.path().join("log")
    }

    /// Writes a file that nobody else may read, in place of what it was.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        let mut options = fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = file.open(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("the file written");
        path
    }

    /// `weapon`, about to run in `host` with its folders here.
    #[track_caller]
    pub fn command(&self, host: &Host) -> Command {
        self.command_under(host, &[])
    }

    /// As [`Home::command`], started by another program with these words, such as `prlimit`.
    #[track_caller]
    pub fn command_under(&self, host: &Host, words: &[&str]) -> Command {
        let mut command = match words {
            [] => host.command(binary()),
            [program, words @ ..] => {
                let mut command = host.command(program);
                command.args(words).arg(binary());
                command
            }
        };
        command
            .env("RUNTIME_DIRECTORY", self.runtime())
            .env("STATE_DIRECTORY", self.state())
            .env("LOGS_DIRECTORY", self.logs())
            .env("WEAPON_UAPI_DIRECTORY", self.path().join("wireguard"))
            .env_remove("WEAPON_LOG_LEVEL")
            .current_dir(self.path());
        command
    }
}

/// A gateway: `weapon up FILE --foreground`.
#[derive(Debug)]
pub struct Weapon {
    /// The gateway's name: the stem of the file's.
    pub name: String,
    /// Its folders.
    pub home: Rc<Home>,
    host: Host,
    process: Process,
}

impl Weapon {
    /// Starts a gateway in `host` with `file`, which is in `home`, and waits until it is up.
    #[track_caller]
    pub fn start(host: &Host, home: &Rc<Home>, file: &Path) -> Self {
        let mut weapon = Self::launch(host, home, file);
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = weapon.ask() {
                break status;
            }
            if let Some(status) = weapon.process.ended() {
                panic!("the gateway has ended with {status}");
            }
            assert!(Instant::now() < deadline, "the gateway does not come up");
            std::thread::sleep(Duration::from_millis(10));
        };
        let text = fs::read_to_string(file).expect("the file that it was started with");
        if let Some(wanted) = cipher_backend()
            && text.contains(&format!("cipher_backend = {wanted:?}"))
        {
            assert_eq!(
                status["cipher"]["backend"], wanted,
                "the test is of this one"
            );
        }
        weapon
    }

    /// Writes `text` as `NAME.EXTENSION` and starts a gateway with it.
    #[track_caller]
    pub fn start_with(host: &Host, home: &Rc<Home>, file_name: &str, text: &str) -> Self {
        let file = home.write(file_name, text);
        Self::start(host, home, &file)
    }

    /// Starts a gateway and does not wait.
    #[track_caller]
    pub fn launch(host: &Host, home: &Rc<Home>, file: &Path) -> Self {
        Self::launch_under(host, home, file, &[])
    }

    /// As [`Weapon::launch`], by another program: see [`Home::command_under`].
    #[track_caller]
    pub fn launch_under(host: &Host, home: &Rc<Home>, file: &Path, words: &[&str]) -> Self {
        let name = file.file_stem().expect("a file name").to_string_lossy();
        let log = home.path().join(format!("{name}.log"));
        let mut command = home.command_under(host, words);
        command.arg("up").arg(file).arg("--foreground");
        command.args(["--log-level", "debug"]);
        let process = Process::start(&format!("weapon {name}"), &mut command, log);
        Self {
            name: name.into_owned(),
            home: Rc::clone(home),
            host: host.again(),
            process,
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Whether it answers to `status`.
    pub fn is_up(&self) -> bool {
        self.ask().is_some()
    }

    /// `weapon status NAME --json`.
    #[track_caller]
    pub fn status(&self) -> Value {
        self.ask().expect("an answer of the gateway to `status`")
    }

    fn ask(&self) -> Option<Value> {
        let mut command = self.home.command(&self.host);
        command.args(["status", &self.name, "--json"]);
        let output = command.output().expect("`weapon status` runs");
        if !output.status.success() {
            return None;
        }
        Some(serde_json::from_slice(&output.stdout).expect("`weapon status --json` is JSON"))
    }

    /// What the status says of the peer that has this public key or name.
    #[track_caller]
    pub fn peer(&self, who: &str) -> Value {
        let status = self.status();
        let peers = status["peers"].as_array().expect("a list of peers");
        let found = peers
            .iter()
            .find(|peer| peer["name"] == who || peer["public_key"] == who);
        found
            .unwrap_or_else(|| panic!("{} has no peer {who}: {status:#}", self.name))
            .clone()
    }

    /// How many packets died for `reason`.
    #[track_caller]
    pub fn drops(&self, reason: &str) -> u64 {
        self.status()["drops"][reason].as_u64().unwrap_or(0)
    }

    /// Stops it as a supervisor would, by SIGTERM, and waits.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(PATIENCE)
    }
}
