//! `weapon-wg`, started as `wireguard-go` is and configured with `wg`.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::rc::Rc;

pub use crate::daemon::socket;
use crate::daemon::unique_interface;
use crate::lab::{Host, until};
use crate::process::Process;
use crate::weapon::{Home, PATIENCE, binary};

/// `weapon-wg -f INTERFACE`.
#[derive(Debug)]
pub struct WeaponWg {
    /// Its interface.
    pub interface: String,
    host: Host,
    home: Rc<Home>,
    process: Process,
}

/// `weapon-wg`, about to run in `host`, with a folder for its state in `home`.
#[track_caller]
pub fn command(host: &Host, home: &Rc<Home>) -> Command {
    let mut command = host.command(binary().with_file_name("weapon-wg"));
    command
        .env("STATE_DIRECTORY", home.state())
        .env_remove("LOG_LEVEL")
        .env_remove("WG_PROCESS_FOREGROUND")
        .current_dir(home.path());
    command
}

/// Sends `request` to the socket of `interface`, and returns everything that is answered once no
/// more is sent.
#[track_caller]
pub fn ask(interface: &str, request: &str) -> String {
    let mut stream = UnixStream::connect(socket(interface)).expect("a socket that accepts");
    stream.write_all(request.as_bytes()).expect("room");
    stream
        .shutdown(std::net::Shutdown::Write)
        .expect("a connection");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

impl WeaponWg {
    /// Starts it and waits until `wg` can ask.
    #[track_caller]
    pub fn start(host: &Host, home: &Rc<Home>) -> Self {
        let interface = unique_interface();
        let mut command = command(host, home);
        command.args(["-f", &interface]).env("LOG_LEVEL", "verbose");
        let log = home.path().join(format!("{interface}.log"));
        let mut process = Process::start("weapon-wg", &mut command, log);
        until("weapon-wg listens", PATIENCE, || {
            assert!(process.ended().is_none(), "weapon-wg has ended");
            UnixStream::connect(socket(&interface)).ok()
        });
        Self {
            interface,
            host: host.again(),
            home: Rc::clone(home),
            process,
        }
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// `wg VERB INTERFACE ARGUMENTS`.
    #[track_caller]
    pub fn wg(&self, verb: &str, arguments: &str) -> String {
        self.host
            .run(&format!("wg {verb} {} {arguments}", self.interface))
    }

    /// `wg VERB INTERFACE FILE`, with `text` in the file.
    #[track_caller]
    pub fn wg_file(&self, verb: &str, text: &str) -> String {
        let file = self.home.write(&format!("{}.conf", self.interface), text);
        self.wg(verb, &file.display().to_string())
    }

    /// Runs `ip` in `host`; `IF` in `line` is the interface.
    #[track_caller]
    pub fn ip(&self, host: &Host, line: &str) -> String {
        host.run(&format!("ip {}", line.replace("IF", &self.interface)))
    }
}

impl Drop for WeaponWg {
    fn drop(&mut self) {
        self.process.signal(rustix::process::Signal::TERM);
        let waited = std::time::Instant::now();
        while self.process.ended().is_none() && waited.elapsed() < PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let _ = std::fs::remove_file(socket(&self.interface));
    }
}

/// Runs it without `-f`, as scripts do.
#[track_caller]
pub fn run(host: &Host, home: &Rc<Home>, arguments: &[&str]) -> Output {
    let mut command = command(host, home);
    command.args(arguments).output().expect("weapon-wg starts")
}
