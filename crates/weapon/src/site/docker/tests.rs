//! What Docker says, and what somebody says who is not Docker.

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixListener,
    runtime::{Builder, Runtime},
};

use super::*;

/// `GET /networks` of Docker 20.10.24, with two networks more than it makes by itself.
const NETWORKS: &str = include_str!("networks-1.41.json");

/// What a fake Docker sends to each connection in turn, piece by piece.
struct Script {
    pieces: Vec<Vec<u8>>,
    /// Whether the connection is held open afterwards.
    stays: bool,
}

impl Script {
    fn of<T: AsRef<[u8]>>(pieces: &[T]) -> Self {
        Self {
            pieces: pieces.iter().map(|it| it.as_ref().to_vec()).collect(),
            stays: false,
        }
    }

    fn staying(self) -> Self {
        let stays = true;
        Self { stays, ..self }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A Docker that says what is written, and what it was asked first.
async fn docker(script: Script) -> (TempDir, Docker, tokio::task::JoinHandle<String>) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        for piece in script.pieces {
            // Who has heard enough is gone.
            if stream.write_all(&piece).await.is_err() {
                break;
            }
            // So that it does not arrive in one.
            tokio::task::yield_now().await;
        }
        if script.stays {
            tokio::spawn(async move {
                let _ = stream.read_u8().await;
                drop(stream);
            });
        }
        String::from_utf8(request).unwrap()
    });
    let docker = Docker {
        patience: Duration::from_millis(1500),
        socket,
    };
    (folder, docker, serving)
}

fn with_length(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// What hyper says of an answer that is cut off.
const CUT: &str = "end of file before message length reached";

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// What comes of asking for the networks.
fn networks(script: Script) -> Result<Vec<DockerNetwork>, String> {
    runtime().block_on(async {
        let (folder, docker, _serving) = docker(script).await;
        let answer = docker.networks().await.map_err(|error| error.to_string());
        let path = folder.path().display().to_string();
        answer.map_err(|error| error.replace(&path, "RUN"))
    })
}

/// A network of the driver `bridge`.
pub fn bridge(name: &str, interface: &str, subnets: &[&str]) -> DockerNetwork {
    DockerNetwork {
        name: name.into(),
        driver: "bridge".into(),
        internal: false,
        interface: Some(interface.into()),
        subnets: subnets.iter().map(|it| it.parse().unwrap()).collect(),
    }
}

#[test]
fn the_networks_of_a_real_docker_are_read() {
    let found = networks(Script::of(&[with_length("200 OK", NETWORKS)])).unwrap();
    let other = |name: &str, driver: &str| DockerNetwork {
        name: name.into(),
        driver: driver.into(),
        internal: false,
        interface: None,
        subnets: Vec::new(),
    };
    let expected = [
        bridge("app", "br-916ee35478af", &["172.30.0.0/24", "fd00:30::/64"]),
        other("host", "host"),
        other("none", "null"),
        bridge("bridge", "docker0", &["172.17.0.0/16"]),
        DockerNetwork {
            internal: true,
            ..bridge("inner", "br-inner", &["172.31.0.0/24"])
        },
    ];
    assert_eq!(found, expected);
    // The same in pieces, of which some cut a word.
    let cut = NETWORKS.len() / 2;
    let pieces = [
        CHUNKED.to_owned(),
        chunk(&NETWORKS[..7]),
        chunk(&NETWORKS[7..cut]),
        chunk(&NETWORKS[cut..]),
        chunk(""),
    ];
    assert_eq!(networks(Script::of(&pieces)).unwrap(), expected);
}

#[test]
fn what_later_versions_add_and_others_leave_out_does_no_harm() {
    let text = r#"[
        {"Name":"new","Id":"0123456789abcdef","Driver":"bridge","EnableIPv4":true,
         "IPAM":{"Driver":"default","Options":{},"Config":[
            {"Subnet":"10.1.2.3/16","IPRange":"","Gateway":"10.1.0.1"},{"Subnet":""},
            {"Gateway":"10.1.0.1"},{"Subnet":"not a subnet"}]},
         "Status":{"IPAM":{"Subnets":{}}},"Unheard":[1,2]},
        {"Name":"bridge","Id":"0123456789abcdef","Driver":"bridge","IPAM":null,"Options":null},
        {"Name":"short","Id":"01234","Driver":"bridge"},
        {"Name":"odd","Id":"0123456789äöü","Driver":"bridge",
         "Options":{"com.docker.network.bridge.name":"a name/with more"}},
        {"Name":"nobody can\nname this","Driver":"bridge"},
        {"Driver":"bridge"}, {"Name":"bare"}]"#;
    let found = networks(Script::of(&[with_length("200 OK", text)])).unwrap();
    let without = |name: &str, driver: &str| DockerNetwork {
        driver: driver.into(),
        interface: None,
        ..bridge(name, "", &[])
    };
    let expected = [
        bridge("new", "br-0123456789ab", &["10.1.0.0/16"]),
        bridge("bridge", "docker0", &[]),
        without("short", "bridge"),
        without("odd", "bridge"),
        without("bare", ""),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_not_an_answer_is_said() {
    let answer = "Docker at RUN/docker.sock gives no usable answer: ";
    for (script, expected) in [
        (
            Script::of(&[with_length("200 OK", "<html>")]),
            format!("{answer}Failed to deserialize JSON: expected value at line 1 column 1"),
        ),
        (
            Script::of(&[with_length("200 OK", r#"{"message":"no list"}"#)]),
            format!(
                "{answer}Failed to deserialize JSON: invalid type: map, expected a sequence at \
                 line 1 column 0"
            ),
        ),
        (
            Script::of(&[with_length("200 OK", "[{\"Name\":\"app\"")]),
            format!("{answer}EOF while parsing an object at line 1 column 14"),
        ),
        (
            Script::of(&[with_length(
                "500 Oops",
                "{\"message\":\"out of \\u001b[31m order\"}",
            )]),
            format!("{answer}Docker responded with status code 500: out of  [31m order"),
        ),
        (
            Script::of(&["SSH-2.0-OpenSSH_9.2\r\n"]),
            format!("{answer}invalid HTTP version parsed"),
        ),
        (
            Script::of(&[""]),
            format!("{answer}connection closed before message completed"),
        ),
        (
            Script::of(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"]),
            format!("{answer}error reading a body from connection: {CUT}"),
        ),
        (
            Script::of(&[""]).staying(),
            "Docker at RUN/docker.sock does not answer; does `docker network ls` work?".to_owned(),
        ),
        (
            Script::of(&["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[{"]).staying(),
            "Docker at RUN/docker.sock does not answer; does `docker network ls` work?".to_owned(),
        ),
    ] {
        assert_eq!(networks(script), Err(expected));
    }
}

#[test]
fn an_answer_without_end_ends() {
    let blanks = chunk(&" ".repeat(1 << 16));
    let mut pieces = vec![CHUNKED.to_owned()];
    pieces.resize(ANSWER_BYTES_MAX / (1 << 16) + 2, blanks);
    let said = networks(Script::of(&pieces).staying()).unwrap_err();
    assert!(said.contains("it is longer than 2 MiB"), "{said}");

    let text = format!(r#"{{"message":"{}"}}"#, "x".repeat(10_000));
    let said = networks(Script::of(&[with_length("500 Oops", &text)])).unwrap_err();
    assert!(said.len() < 2 * COMPLAINT_LEN_MAX, "{said}");

    let subnet = |index: usize| format!(r#"{{"Subnet":"10.{index}.0.0/16"}}"#);
    let subnets: Vec<_> = (0..200).map(subnet).collect();
    let text = format!(
        r#"[{{"Name":"many","Driver":"bridge","IPAM":{{"Config":[{}]}}}}]"#,
        subnets.join(",")
    );
    let found = networks(Script::of(&[with_length("200 OK", &text)])).unwrap();
    assert_eq!(found[0].subnets.len(), SUBNETS_MAX);
}

#[test]
fn a_docker_that_is_not_there_is_told_from_one_that_does_not_run() {
    runtime().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let docker = Docker {
            socket: socket.clone(),
            patience: ANSWER_TIME_MAX,
        };
        let said = docker.networks().await.unwrap_err().to_string();
        let expected = format!(
            "there is no Docker at {}; install it, start it (`systemctl start docker`), or say \
             with DOCKER_HOST=unix://PATH where it listens",
            socket.display()
        );
        assert_eq!(said, expected);
        drop(UnixListener::bind(&socket).unwrap());
        let said = docker.networks().await.unwrap_err().to_string();
        let expected = format!(
            "Docker does not run: nobody listens at {}; start it (`systemctl start docker`)",
            socket.display()
        );
        assert_eq!(said, expected);
    });
}

#[test]
fn a_request_is_one_that_every_version_understands() {
    runtime().block_on(async {
        let (_folder, docker, serving) = docker(Script::of(&[with_length("200 OK", "[]")])).await;
        assert_eq!(docker.networks().await.unwrap(), []);
        let request = serving.await.unwrap();
        assert!(
            request.starts_with("GET /networks HTTP/1.1\r\n"),
            "{request}"
        );
        assert!(request.contains("\r\nhost: docker\r\n"), "{request}");
    });
}

#[test]
fn events_come_one_by_one_until_they_end() {
    let event = |name: &str| {
        let text = r#"{"Type":"network","Action":"create","Actor":{"ID":"91","Attributes":{"name":
            "NAME","type":"bridge"}},"scope":"local","time":1795807600,"timeNano":1795807600008}"#;
        format!("{}\n", text.replace('\n', "").replace("NAME", name))
    };
    let (one, other) = (event("one"), event("other"));
    let both = [
        CHUNKED.to_owned(),
        chunk(&one[..20]),
        chunk(&format!("{}{other}", &one[20..])),
    ];
    let ended = [&both[..], &[chunk("")]].concat();
    let garbage = [&both[..], &[chunk("]]]\n")]].concat();
    for (pieces, end) in [
        // Docker ends it, somebody cuts it, or it says what cannot be understood.
        (ended, None),
        (both.to_vec(), Some("error reading a body from connection")),
        (garbage, Some("expected value at line 1 column 1")),
    ] {
        runtime().block_on(async {
            let (_folder, docker, serving) = docker(Script::of(&pieces)).await;
            let mut changes = docker.changes(1_795_807_599).unwrap();
            for _ in 0..2 {
                assert!(changes.next().await.is_some_and(|event| event.is_ok()));
            }
            match (changes.next().await, end) {
                (None, None) => {}
                (Some(Err(error)), Some(reason)) => {
                    let said = error.to_string();
                    assert!(said.contains(reason), "{said}");
                }
                (last, _) => panic!("{last:?}"),
            }
            let request = serving.await.unwrap();
            let wanted = "GET /events?since=1795807599&filters=%7B";
            assert!(request.starts_with(wanted), "{request}");
        });
    }
}

#[test]
fn the_environment_names_another_socket() {
    let at = |host: Option<&str>| Docker::at(host.map(OsStr::new)).socket;
    for other in [
        None,
        Some(""),
        Some("unix://"),
        Some("tcp://192.0.2.1:2375"),
        Some("ssh://me@there"),
    ] {
        assert_eq!(at(other), PathBuf::from(SOCKET), "{other:?}");
    }
    let rootless = "/run/user/1000/docker.sock";
    assert_eq!(
        at(Some(&format!("unix://{rootless}"))),
        PathBuf::from(rootless)
    );
}
