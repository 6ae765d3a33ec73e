//! The API over real sockets, with a gateway that answers what it is told to.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::PathBuf,
    thread::{self, JoinHandle},
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::report::sample::report;

/// Clients that are served at a time.
const CLIENTS: usize = 16;

/// A served socket. The gateway behind it counts what it is asked and answers with `answer`.
struct Served {
    _folder: TempDir,
    path: PathBuf,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Vec<Request>>>,
}

impl Served {
    fn new(answer: fn(&Request) -> Answer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.sock");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let at = path.clone();
        let thread = thread::spawn(move || {
            let runtime = crate::daemon::runtime().unwrap();
            runtime.block_on(async {
                let listener = place(&at.with_extension("new!"), &at).unwrap();
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                ready.send(()).unwrap();
                let (sender, calls) = mpsc::channel(1);
                tokio::spawn(serve(listener, sender));
                tokio::select! {
                    asked = gateway(calls, answer) => asked,
                    _ = stopped => Vec::new(),
                }
            })
        });
        is_ready.recv().unwrap();
        Self {
            _folder: folder,
            path,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.path).unwrap()
    }

    /// Sends bytes, and reads to the connection's end.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut answer = String::new();
        // The server may close with some of ours unread, once it has said what is wrong.
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    /// Status, headers and body of the answer to one request.
    fn ask(&self, request: &str, body: &str) -> (u16, String, Value) {
        let len = body.len();
        let text = format!(
            "{request}\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n\
             {body}"
        );
        parsed(&self.raw(text.as_bytes()))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers until it is told to stop; what it was asked.
async fn gateway(mut calls: mpsc::Receiver<Call>, answer: fn(&Request) -> Answer) -> Vec<Request> {
    let mut asked = Vec::new();
    while let Some(call) = calls.recv().await {
        let _ = call.answer.send(answer(&call.request));
        let is_end = call.request == Request::Down;
        asked.push(call.request);
        if is_end {
            // The answer is on its way before the connection can end.
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            break;
        }
    }
    asked
}

fn parsed(answer: &str) -> (u16, String, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let (first, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = first.split(' ').nth(1).expect("a status");
    let body = if body.is_empty() {
        Value::Null
    } else {
        serde_json::from_str(body).expect("JSON")
    };
    (status.parse().expect("a number"), headers.to_owned(), body)
}

fn good(request: &Request) -> Answer {
    match request {
        Request::Status => Answer::Status(Box::new(report())),
        Request::System => Answer::System(SystemReport {
            name: "site-a".to_owned(),
            steps: Vec::new(),
            warnings: vec!["by hand".to_owned()],
        }),
        Request::Down => Answer::Stopping,
        Request::Reload(reload) => Answer::Reloaded(Reloaded {
            changes: vec![format!("now {}", reload.path.display())],
            confirm_seconds: reload.confirm_seconds,
        }),
        Request::Confirm => Answer::Confirmed,
        Request::EndCapture(_) => Answer::CaptureEnds,
        Request::Capture(_) => Answer::Error("there is no engine behind this".to_owned()),
        Request::Drops => Answer::Drops(DropsReport::default()),
        Request::Why(query) => Answer::Why(WhyReport {
            passes: true,
            peer: query.from.clone(),
            size: query.size.unwrap_or(28),
            source: query.source,
            destination: query.destination,
            steps: Vec::new(),
        }),
        Request::Flows(query) => Answer::Flows(FlowsReport {
            total: query.limit,
            ..FlowsReport::default()
        }),
    }
}

fn bad(_: &Request) -> Answer {
    Answer::Error("it cannot be done".to_owned())
}

#[test]
fn what_is_asked_is_answered() {
    let served = Served::new(good);
    let (status, headers, body) = served.ask("GET /v1/status HTTP/1.1", "");
    assert_eq!((status, &body["name"]), (200, &Value::from("site-a")));
    assert!(
        headers.contains("content-type: application/json"),
        "{headers}"
    );
    assert!(headers.contains("cache-control: no-store"), "{headers}");
    let (status, headers, body) = served.ask("HEAD /v1/status HTTP/1.1", "");
    assert_eq!((status, body), (200, Value::Null), "{headers}");
    let (status, _, body) = served.ask("GET /v1/system HTTP/1.1", "");
    assert_eq!((status, &body["warnings"][0]), (200, &"by hand".into()));
    assert_eq!(served.ask("POST /v1/confirm HTTP/1.1", "").0, 204);
    let json = "POST /v1/reload HTTP/1.1\r\ncontent-type: Application/JSON; charset=utf-8";
    let (status, _, body) = served.ask(json, r#"{"path":"/a.toml","confirm_seconds":5}"#);
    let expected = serde_json::json!({ "changes": ["now /a.toml"], "confirm_seconds": 5 });
    assert_eq!((status, body), (200, expected));
    let (status, _, body) = served.ask("GET /v1/openapi.json HTTP/1.1", "");
    assert_eq!(
        (status, body),
        (200, serde_json::to_value(document::document()).unwrap())
    );
}

/// One connection may carry several requests, also before the first is answered.
#[test]
fn requests_in_a_row_are_all_answered() {
    let served = Served::new(good);
    let one = "GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "POST /v1/confirm HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = served.raw(format!("{one}{one}{last}").as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 2, "{answer}");
    assert_eq!(
        answer.matches("HTTP/1.1 204 No Content\r\n").count(),
        1,
        "{answer}"
    );
}

#[test]
fn what_is_wrong_is_said_as_a_problem() {
    let served = Served::new(good);
    let json = "POST /v1/reload HTTP/1.1\r\ncontent-type: application/json";
    let long = format!("{{\"path\":\"/{}\"}}", "a".repeat(20_000));
    for (request, body, status, detail) in [
        (
            "GET / HTTP/1.1",
            "",
            404,
            "there is no /; there is /v1/status",
        ),
        (
            "GET /v1/status/ HTTP/1.1",
            "",
            404,
            "there is no /v1/status/",
        ),
        ("GET /v1/../v1/status HTTP/1.1", "", 404, "there is no"),
        (
            "POST /v1/status HTTP/1.1",
            "",
            405,
            "/v1/status is asked with GET",
        ),
        (
            "GET /v1/down HTTP/1.1",
            "",
            405,
            "/v1/down is asked with POST",
        ),
        (
            "BREW /v1/reload HTTP/1.1",
            "",
            405,
            "/v1/reload is asked with POST",
        ),
        (
            "GET /v1/status?all HTTP/1.1",
            "",
            400,
            "/v1/status has no parameters",
        ),
        (
            "POST /v1/down HTTP/1.1",
            "{}",
            400,
            "/v1/down takes no body",
        ),
        (
            "POST /v1/reload HTTP/1.1",
            "{}",
            415,
            "the body is to be application/json",
        ),
        (json, "", 400, "bad body: EOF while parsing"),
        (json, "{}", 400, "bad body: missing field `path`"),
        (
            json,
            r#"{"path":"a.toml"}"#,
            400,
            "bad body: path is to begin at the root",
        ),
        (
            json,
            r#"{"path":"/a","way":1}"#,
            400,
            "bad body: unknown field `way`",
        ),
        (
            json,
            r#"{"path":"/a","confirm_seconds":0}"#,
            400,
            "bad body: confirm_seconds is",
        ),
        (
            json,
            r#"{"path":"/a","confirm_seconds":18446744073709551615}"#,
            400,
            "bad body: confirm_seconds is",
        ),
        (
            json,
            r#"{"path":"/a","confirm_seconds":-1}"#,
            400,
            "bad body: invalid value",
        ),
        (json, &long, 413, "a body has 16384 bytes at most"),
    ] {
        let (code, headers, problem) = served.ask(request, body);
        assert_eq!(code, status, "{request} {problem}");
        assert!(
            headers.contains("content-type: application/problem+json"),
            "{headers}"
        );
        assert_eq!(problem["status"], status);
        assert_eq!(problem["type"], "about:blank");
        let said = problem["detail"].as_str().unwrap();
        assert!(said.starts_with(detail), "{request}: {said}");
        let allow = (status == 405).then_some("allow: ");
        assert_eq!(
            headers.matches("allow: ").count(),
            allow.iter().count(),
            "{headers}"
        );
    }
}

#[test]
fn what_the_gateway_cannot_do_has_a_status() {
    let served = Served::new(bad);
    let json = "POST /v1/reload HTTP/1.1\r\ncontent-type: application/json";
    for (request, body, status) in [
        ("GET /v1/status HTTP/1.1", "", 503),
        ("GET /v1/system HTTP/1.1", "", 500),
        ("POST /v1/confirm HTTP/1.1", "", 409),
        (json, r#"{"path":"/a"}"#, 422),
    ] {
        let (code, _, problem) = served.ask(request, body);
        assert_eq!(
            (code, &problem["detail"]),
            (status, &"it cannot be done".into())
        );
    }
}

/// What is no HTTP, or too much of it, is refused; and the next client is served.
#[test]
fn what_is_no_request_is_refused() {
    let served = Served::new(good);
    let many: String = (0..65).map(|number| format!("x-{number}: 1\r\n")).collect();
    let head = "GET /v1/status HTTP/1.1\r\n";
    let both = "POST /v1/reload HTTP/1.1\r\ncontent-type: application/json\r\n";
    for (bytes, status) in [
        ("{\"request\":\"status\"}\n".to_owned(), 400),
        ("GET\r\n\r\n".to_owned(), 400),
        ("GET /v1/status HTTP/9.9\r\n\r\n".to_owned(), 400),
        (
            "GET /v1/status HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            400,
        ),
        ("\x16\x03\x01\x02\0\x01\0\x01".to_owned(), 400),
        (format!("{both}content-length: x\r\n\r\n{{}}"), 400),
        (
            format!("{both}content-length: 1\r\ncontent-length: 2\r\n\r\n{{}}"),
            400,
        ),
        (
            format!("{both}connection: close\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
            400,
        ),
        (format!("{head}{many}\r\n"), 431),
        (format!("{head}x: {}\r\n\r\n", "a".repeat(9000)), 431),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(70_000)), 431),
    ] {
        let answer = served.raw(bytes.as_bytes());
        let start: String = bytes.chars().take(60).collect();
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{start:?}: {answer:?}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    assert_eq!(served.ask("GET /v1/status HTTP/1.1", "").0, 200);
}

/// A body that does not come is told so; a half head, and an answer that nobody reads, end the
/// connection. Meanwhile others wait, and then they are served.
#[test]
fn who_is_slow_holds_nobody_up_for_long() {
    let served = Served::new(good);
    let halves: Vec<UnixStream> = (0..CLIENTS)
        .map(|number| {
            let mut stream = served.connect();
            let head: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /v1/status HTTP/1.1\r\nhost: ",
                _ => b"POST /v1/confirm HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{",
            };
            stream.write_all(head).unwrap();
            stream
        })
        .collect();
    assert_eq!(served.ask("GET /v1/status HTTP/1.1", "").0, 200);
    for (number, mut stream) in halves.into_iter().enumerate() {
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let expected = if number % 3 == 2 { "HTTP/1.1 408 " } else { "" };
        assert!(answer.starts_with(expected), "{answer:?}");
        assert_eq!(answer.is_empty(), expected.is_empty(), "{answer:?}");
    }
}

/// Answers of megabytes that are asked for and never read.
#[test]
fn who_does_not_read_is_let_go() {
    let served = Served::new(|_| {
        let mut report = report();
        report.config = "x".repeat(4 << 20);
        Answer::Status(Box::new(report))
    });
    let deaf: Vec<UnixStream> = (0..CLIENTS)
        .map(|_| {
            let mut stream = served.connect();
            stream
                .write_all(b"GET /v1/status HTTP/1.1\r\n\r\n")
                .unwrap();
            stream
        })
        .collect();
    assert_eq!(served.ask("GET /v1/status HTTP/1.1", "").0, 200);
    drop(deaf);
}

/// Who asks and goes takes nothing with it.
#[test]
fn who_goes_early_is_not_missed() {
    let served = Served::new(good);
    for _ in 0..5 * CLIENTS {
        let mut stream = served.connect();
        stream
            .write_all(b"GET /v1/status HTTP/1.1\r\n\r\n")
            .unwrap();
    }
    assert_eq!(served.ask("GET /v1/status HTTP/1.1", "").0, 200);
}

/// `down` is answered at once, but its connection ends with the gateway.
#[test]
fn down_waits_for_the_end() {
    let mut served = Served::new(good);
    let answer = served.raw(b"POST /v1/down HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let (status, headers, body) = parsed(&answer);
    assert_eq!((status, body), (202, Value::Null));
    assert!(headers.contains("connection: close"), "{headers}");
    let asked = served.thread.take().map(|thread| thread.join().unwrap());
    assert_eq!(asked, Some(vec![Request::Down]));
}

#[test]
fn the_command_line_understands_the_gateway() {
    let served = Served::new(good);
    let client = || Client::at(&served.path).unwrap().unwrap();
    let answer = client().ask(&Request::Status).unwrap();
    assert!(matches!(answer, Answer::Status(report) if report.name == "site-a"));
    let answer = client().ask(&Request::System).unwrap();
    assert!(matches!(answer, Answer::System(report) if report.warnings == ["by hand"]));
    let reload = Reload {
        path: "/a \"b\".toml".into(),
        confirm_seconds: Some(9),
    };
    let Answer::Reloaded(reloaded) = client().ask(&Request::Reload(reload)).unwrap() else {
        panic!("something else");
    };
    assert_eq!(reloaded.changes, ["now /a \"b\".toml"]);
    assert_eq!(reloaded.confirm_seconds, Some(9));
    let answer = client().ask(&Request::Confirm).unwrap();
    assert!(matches!(answer, Answer::Confirmed));
    client().stop().unwrap();
}

/// `weapon doctor` asks while it looks at other things.
#[test]
fn a_task_may_ask_too() {
    let served = Served::new(good);
    let runtime = crate::daemon::runtime().unwrap();
    runtime.block_on(async {
        drop(Client::at(&served.path).unwrap());
        let client = Client::at(&served.path).unwrap().unwrap();
        assert!(client.ask(&Request::Status).is_ok());
    });
}

#[test]
fn the_command_line_says_what_the_gateway_says() {
    let served = Served::new(bad);
    let client = Client::at(&served.path).unwrap().unwrap();
    let error = client.ask(&Request::Confirm).unwrap_err();
    assert_eq!(error.to_string(), "the gateway says: it cannot be done");
}

/// Another program at the socket, and one that goes away.
#[test]
fn the_command_line_is_not_taken_in() {
    for (said, error) in [
        ("", "the gateway went away"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            "the gateway went away",
        ),
        ("not at all\r\n\r\n", "the gateway went away"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
            "the gateway answers something else",
        ),
        (
            "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
            "the gateway answers something else",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.sock");
        let listener = place(&path.with_extension("new!"), &path).unwrap();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let len = stream.read(&mut request).unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            String::from_utf8_lossy(&request[..len]).into_owned()
        });
        let found = Client::at(&path).unwrap().unwrap().ask(&Request::Status);
        let found = found.unwrap_err().to_string();
        assert!(found.starts_with(error), "{said:?}: {found}");
        let asked = thread.join().unwrap();
        assert!(asked.starts_with("GET /v1/status HTTP/1.1\r\n"), "{asked}");
    }
}

#[test]
fn a_gateway_that_does_not_run_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("site.sock");
    assert!(Client::at(&path).unwrap().is_none());
    drop(place(&path.with_extension("new!"), &path).unwrap());
    assert!(path.exists());
    assert!(Client::at(&path).unwrap().is_none());
}

#[test]
fn the_socket_is_for_its_owner() {
    let served = Served::new(good);
    let mode = fs::metadata(&served.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!served.path.with_extension("new!").exists());
}

#[test]
fn flows_are_asked_for_with_parameters() {
    let mut served = Served::new(good);
    let (status, _, body) = served.ask("GET /v1/flows?limit=17&peer=a%2Bb HTTP/1.1", "");
    assert_eq!((status, &body["total"]), (200, &17.into()));
    let (status, _, body) = served.ask("GET /v1/flows?limit=0 HTTP/1.1", "");
    assert_eq!(
        (status, &body["detail"]),
        (400, &"limit: 1 to 10000".into())
    );
    let query = FlowsQuery {
        peer: Some("a+b".into()),
        ..FlowsQuery::default()
    };
    let client = Client::at(&served.path).unwrap().unwrap();
    let answer = client.ask(&Request::Flows(query.clone())).unwrap();
    assert!(matches!(answer, Answer::Flows(report) if report.total == 1000));
    // It tells what it was asked when it ends.
    let (status, ..) = served.ask("POST /v1/down HTTP/1.1", "");
    assert_eq!(status, 202);
    let asked = served.thread.take().unwrap().join().unwrap();
    let first = FlowsQuery {
        limit: 17,
        ..query.clone()
    };
    let flows = [Request::Flows(first), Request::Flows(query)];
    assert_eq!(asked.split_last(), Some((&Request::Down, &flows[..])));
}
