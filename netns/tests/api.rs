//! The local API of a gateway that runs, asked by others than the command line; and the command
//! line on a terminal.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Pair, Said, Traces, Weapon, ready, until};

/// Clients that are served at a time.
const CLIENTS: usize = 16;

fn socket(pair: &Pair) -> PathBuf {
    pair.home.runtime().join("one.sock")
}

/// Status and body that `curl` gets from the gateway of `one`.
#[track_caller]
fn curl(pair: &Pair, path: &str, options: &[&str]) -> (u16, Value) {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(["--write-out", "\n%{http_code}", "--unix-socket"])
        .arg(socket(pair))
        .args(options)
        .arg(format!("http://localhost{path}"));
    let output = command.output().expect("`curl` runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, code) = text.rsplit_once('\n').expect("a status");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body).expect("JSON")
    };
    (code.parse().expect("a number"), body)
}

#[test]
fn curl_is_served_as_the_command_line_is() {
    if !ready(&["curl"]) {
        return;
    }
    let pair = Pair::new();
    let (one, _other) = pair.start_both();
    let mode = fs::metadata(socket(&pair)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let (code, status) = curl(&pair, "/v1/status", &[]);
    assert_eq!((code, &status["name"]), (200, &"one".into()));
    let keys = |value: &Value| -> Vec<String> {
        let object = value.as_object().expect("an object");
        object.keys().cloned().collect()
    };
    assert_eq!(keys(&status), keys(&one.status()));
    let (code, document) = curl(&pair, "/v1/openapi.json", &[]);
    let schemas = &document["components"]["schemas"];
    assert_eq!(code, 200);
    assert_eq!(keys(&schemas["Report"]["properties"]), keys(&status));
    assert_eq!(
        keys(&schemas["Peer"]["properties"]),
        keys(&status["peers"][0])
    );

    // A file that is used, one that is not, and one that is to be confirmed.
    let file = pair.home.path().join("one.toml");
    let body = |path: &str, more: &str| format!("{{\"path\":{path:?}{more}}}");
    let reload = |body: &str| curl(&pair, "/v1/reload", &["--json", body]);
    let path = file.to_str().expect("a path");
    let (code, answer) = reload(&body(path, ""));
    let expected = serde_json::json!({ "changes": [], "confirm_seconds": null });
    assert_eq!((code, answer), (200, expected));
    let (code, problem) = reload(&body("/nowhere.toml", ""));
    assert_eq!(code, 422, "{problem}");
    let detail = problem["detail"].as_str().expect("what is wrong");
    assert!(detail.contains("/nowhere.toml"), "{detail}");
    assert_eq!(curl(&pair, "/v1/confirm", &["--request", "POST"]).0, 409);
    assert_eq!(reload(&body(path, ",\"confirm_seconds\":60")).0, 200);
    assert_eq!(curl(&pair, "/v1/confirm", &["--request", "POST"]).0, 204);
    assert_eq!(curl(&pair, "/v1/nothing", &[]).0, 404);
    assert_eq!(curl(&pair, "/v1/down", &[]).0, 405);
    assert!(one.is_up());
}

/// Who waits for the end of the connection to `down` finds nothing left.
#[test]
fn down_is_answered_at_once_and_waits_for_the_end() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let before = Traces::of(&pair.one, &pair.home);
    let mut one = pair.start();
    let mut stream = UnixStream::connect(socket(&pair)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"POST /v1/down HTTP/1.1\r\nhost: localhost\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 Accepted\r\n"), "{answer}");
    assert_eq!(Traces::of(&pair.one, &pair.home), before);
    assert_eq!(one.process().wait(PATIENCE).code(), Some(0));
}

/// Clients that say nothing, half of it, nonsense, or too much: packets pass, `weapon status` is
/// served in the end, and the gateway has all that it had before.
#[test]
fn no_client_is_in_the_way() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (mut one, _other) = pair.start_both();
    let pid = one.process().id();
    let descriptors = || {
        let path = format!("/proc/{pid}/fd");
        fs::read_dir(path).expect("a process").count()
    };
    let before = descriptors();
    for bytes in [
        &b""[..],
        b"GET /v1/status HTTP/1.1\r\nhost: ",
        b"POST /v1/reload HTTP/1.1\r\ncontent-type: application/json\r\n\
          content-length: 99\r\n\r\n{",
        b"GET /v1/status HTTP/1.1\r\n\r\n",
        b"{\"request\":\"down\"}\n",
        b"\0\xff\xfe\r\n\r\n",
        &[b'a'; 100_000],
    ] {
        let clients: Vec<UnixStream> = (0..2 * CLIENTS)
            .map(|_| {
                let mut stream = UnixStream::connect(socket(&pair)).unwrap();
                // It may be refused before all is written.
                let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
                let _ = stream.write_all(bytes);
                stream
            })
            .collect();
        pair.one.ping("10.99.0.2");
        drop(clients);
        assert_eq!(one.status()["up"], true);
    }
    until("all clients have gone", PATIENCE, || {
        (descriptors() == before).then_some(())
    });
    assert!(!one.log().contains("ERROR"), "{}", one.log());
    assert!(!one.log().contains("panicked"), "{}", one.log());
}

/// `weapon WORDS` on a terminal of its own: what it has drawn so far is in a file.
struct OnTerminal {
    child: Child,
    drawn: PathBuf,
}

impl OnTerminal {
    fn start(pair: &Pair, words: &str) -> Self {
        let drawn = pair.home.path().join("drawn");
        // What another one has drawn is not taken for ours.
        let _ = fs::remove_file(&drawn);
        let program = weapon_netns::weapon::binary();
        let line = format!(
            "stty rows 30 columns 120; stty -a > before; \
             sh -c 'echo $$ > pid; exec {} {words}'; echo \"code $?\"; stty -a > after",
            program.display()
        );
        let mut command = pair.one.command("script");
        command
            .args(["--quiet", "--flush", "--command", &line])
            .arg(&drawn)
            .env("RUNTIME_DIRECTORY", pair.home.runtime())
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .current_dir(pair.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let child = command.spawn().expect("`script` runs");
        Self { child, drawn }
    }

    fn press(&mut self, keys: &[u8]) {
        let keyboard = self.child.stdin.as_mut().expect("a keyboard");
        keyboard.write_all(keys).expect("a key pressed");
    }

    #[track_caller]
    fn pid(&self, pair: &Pair) -> Pid {
        let pid = fs::read_to_string(pair.home.path().join("pid")).expect("a number");
        let pid = pid.trim().parse().ok().and_then(Pid::from_raw);
        pid.expect("a process")
    }

    fn drawn(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.drawn).unwrap_or_default()).into_owned()
    }

    /// Waits until this word was drawn, behind so many bytes; where it ends. Spaces are not drawn
    /// where there was nothing before.
    #[track_caller]
    fn until(&self, from: usize, what: &str) -> usize {
        until(what, PATIENCE, || {
            let drawn = self.drawn();
            let at = drawn.get(from..)?.find(what)?;
            Some(from + at + what.len())
        })
    }

    /// It has ended with this code, and the terminal is as it was.
    #[track_caller]
    fn ended(mut self, pair: &Pair, code: u8) {
        let at = self.until(0, &format!("code {code}\r\n"));
        let drawn = self.drawn();
        let (until_end, _) = drawn.split_at(at);
        // Out of the alternate screen, and the cursor is back.
        let left = until_end.rfind("\x1b[?1049l").expect("it has left");
        assert!(until_end.rfind("\x1b[?1049h").expect("it was there") < left);
        assert!(until_end.rfind("\x1b[?25h") > until_end.rfind("\x1b[?25l"));
        drop(self.child.stdin.take());
        until("`script` ends", PATIENCE, || {
            self.child.try_wait().expect("a child")
        });
        let settings = |name| fs::read_to_string(pair.home.path().join(name)).expect("settings");
        assert_eq!(settings("before"), settings("after"));
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn watch_shows_gateways_until_somebody_has_seen_enough() {
    if !ready(&["script"]) {
        return;
    }
    let pair = Pair::new();
    let _both = pair.start_both();
    for keys in [&b"q"[..], b"\x03", b"s\x1b[Bsq"] {
        let mut terminal = OnTerminal::start(&pair, "status --watch --interval 0.2");
        let at = terminal.until(0, "gateways,");
        let at = terminal.until(at, "w-one");
        let at = terminal.until(at, "w-other");
        // A rate needs two looks.
        terminal.until(at, "bit/s");
        terminal.press(keys);
        terminal.ended(&pair, 0);
    }
}

#[test]
fn watch_gives_the_terminal_back_when_it_is_terminated() {
    if !ready(&["script"]) {
        return;
    }
    let pair = Pair::new();
    let _one = pair.start();
    let terminal = OnTerminal::start(&pair, "status one --watch");
    terminal.until(0, "w-one");
    kill_process(terminal.pid(&pair), Signal::TERM).expect("a process");
    terminal.ended(&pair, 143);
}

/// A terminal that is gone takes the screen with it.
#[test]
fn watch_ends_with_its_terminal() {
    if !ready(&["script"]) {
        return;
    }
    let pair = Pair::new();
    let _one = pair.start();
    let terminal = OnTerminal::start(&pair, "status one --watch");
    terminal.until(0, "w-one");
    let pid = terminal.pid(&pair);
    assert!(test_kill_process(pid).is_ok());
    drop(terminal);
    until("it has ended", PATIENCE, || {
        test_kill_process(pid).is_err().then_some(())
    });
}

#[test]
fn watch_outlives_the_gateway() {
    if !ready(&["script"]) {
        return;
    }
    let pair = Pair::new();
    let one = pair.start();
    let mut terminal = OnTerminal::start(&pair, "status one --watch --interval 0.2");
    let at = terminal.until(0, "w-one");
    assert_eq!(one.stop().code(), Some(0));
    let at = terminal.until(at, "running");
    let one = pair.start();
    terminal.until(at, "up");
    terminal.press(b"q");
    terminal.ended(&pair, 0);
    assert!(one.is_up());
}

#[test]
fn watch_needs_a_terminal() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let _one = pair.start();
    let said = pair.weapon(&["status", "--watch"]);
    let expected = "weapon: --watch needs a terminal; for a program there is --json\n";
    assert_eq!((said.code, said.out.as_str()), (1, ""), "{said:?}");
    assert_eq!(said.error, expected);
}

/// What a person reads: rates, the last handshake, and what is wrong.
#[test]
fn status_says_how_it_goes() {
    if !ready(&[]) {
        return;
    }
    let pair = Pair::new();
    let (_one, other) = pair.start_both();
    let Said { code, out, error } = pair.weapon(&["status"]);
    assert_eq!(code, 0, "{error}");
    assert!(out.contains("gateway one  up\n"), "{out}");
    assert!(out.contains("\ngateway other  up\n"), "{out}");
    assert_eq!(out.matches("bit/s received, ").count(), 2, "{out}");
    assert!(out.contains(" ago\n"), "{out}");
    assert!(!out.contains("does not answer"), "{out}");

    // It has gone, and so has the session: nobody answers when it is wanted.
    assert_eq!(other.stop().code(), Some(0));
    let one = pair.home.path().join("one.toml");
    let said = pair.weapon(&["down", "one"]);
    assert_eq!(said.code, 0, "{said:?}");
    let _one = Weapon::start(&pair.one, &pair.home, &one);
    let patience = Duration::from_millis(1);
    let address = "10.99.0.2".parse().expect("an address");
    assert!(pair.one.ping_once(address, patience).is_err());
    let out = pair.weapon(&["status", "one"]).out;
    let warning = "warning     it does not answer at 192.0.2.2:51820: is it up";
    assert!(out.contains(warning), "{out}");
}
