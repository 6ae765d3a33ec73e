//! A Docker that has networks and tells of them, and nothing else. What it says has the form of
//! Docker's API, versions 1.41 (20.10) and newer.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    /// As Docker does.
    #[default]
    Well,
    /// Not at all.
    Silent,
    /// With this.
    With(&'static str),
}

/// It listens until it is dropped.
#[derive(Debug)]
pub struct FakeDocker {
    socket: PathBuf,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    /// By name, as JSON.
    networks: Vec<(String, String)>,
    /// What has happened, with the second in which it did.
    events: Vec<(u64, String)>,
    /// Connections that events go to.
    followed_by: Vec<UnixStream>,
    /// Connections that are left without an answer.
    unanswered: Vec<UnixStream>,
    /// Requests for the list.
    asked: usize,
    is_over: bool,
}

impl FakeDocker {
    /// Listens at `socket`, and has the networks that Docker makes by itself.
    #[track_caller]
    pub fn start(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let state = Arc::new(Mutex::new(State::default()));
        let docker = Self {
            socket: socket.to_owned(),
            state: Arc::clone(&state),
            thread: Some(std::thread::spawn(move || listen(&listener, &state))),
        };
        docker.add("none", "null", "", &[]);
        docker.add("host", "host", "", &[]);
        docker.add("bridge", "bridge", "docker0", &["172.17.0.0/16"]);
        docker
    }

    /// For `DOCKER_HOST`.
    pub fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The identifier of the network `name`: the interface of a bridge has its beginning.
    pub fn id(name: &str) -> String {
        let digits = name.bytes().map(|byte| format!("{byte:02x}"));
        format!("{:0<64}", digits.collect::<String>())
    }

    /// The interface that a network has which names none.
    pub fn interface(name: &str) -> String {
        format!("br-{}", &Self::id(name)[..12])
    }

    /// A new network, which nobody is told of. `interface` may be empty.
    pub fn add(&self, name: &str, driver: &str, interface: &str, subnets: &[&str]) {
        let subnets = subnets.iter().map(|subnet| json!({ "Subnet": subnet }));
        let mut options = json!({});
        if !interface.is_empty() {
            options["com.docker.network.bridge.name"] = interface.into();
        }
        let network = json!({
            "Name": name, "Id": Self::id(name), "Created": "2026-11-27T19:23:20.896648566Z",
            "Scope": "local", "Driver": driver, "EnableIPv4": true, "EnableIPv6": false,
            "IPAM": {
                "Driver": "default", "Options": null, "Config": subnets.collect::<Vec<_>>(),
            },
            "Internal": false, "Attachable": false, "Ingress": false,
            "ConfigFrom": { "Network": "" }, "ConfigOnly": false, "Containers": {},
            "Options": options, "Labels": {},
        });
        let network = network.to_string();
        self.state().networks.push((name.to_owned(), network));
    }

    /// `docker network create NAME --subnet SUBNET ...`
    pub fn create(&self, name: &str, subnets: &[&str]) {
        self.add(name, "bridge", "", subnets);
        self.tell("create", name);
    }

    /// `docker network rm NAME`
    pub fn remove(&self, name: &str) {
        self.state().networks.retain(|(there, _)| there != name);
        self.tell("destroy", name);
    }

    /// How it answers from here on.
    pub fn answer(&self, manner: Manner) {
        self.state().manner = manner;
    }

    /// How often it was asked for its networks.
    pub fn asked(&self) -> usize {
        self.state().asked
    }

    /// How many listen to its events.
    pub fn listeners(&self) -> usize {
        self.state().followed_by.len()
    }

    /// Sends these bytes to whoever follows its events.
    pub fn send(&self, bytes: &str) {
        for stream in &mut self.state().followed_by {
            // Who has gone hears nothing.
            let _ = stream.write_all(bytes.as_bytes());
        }
    }

    /// Ends all connections.
    pub fn cut(&self) {
        let mut state = self.state();
        state.followed_by.clear();
        state.unanswered.clear();
    }

    fn tell(&self, action: &str, name: &str) {
        let id = Self::id(name);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map_or(0, |since| since.as_secs());
        let attributes = json!({ "name": name, "type": "bridge" });
        let event = json!({
            "Type": "network", "Action": action, "Actor": { "ID": id, "Attributes": attributes },
            "scope": "local", "time": seconds, "timeNano": seconds * 1_000_000_000,
        });
        let event = event.to_string();
        self.state().events.push((seconds, event.clone()));
        // In two pieces, as it may come.
        let (head, tail) = event.split_at(event.len() / 2);
        self.send(&chunk(head));
        self.send(&chunk(&format!("{tail}\n")));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test has failed here")
    }
}

impl Drop for FakeDocker {
    fn drop(&mut self) {
        if let Ok(mut state) = self.state.lock() {
            state.is_over = true;
            state.followed_by.clear();
            state.unanswered.clear();
        }
        // Wakes it up, unless its folder has gone: then it waits for the end of the process.
        if UnixStream::connect(&self.socket).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

fn listen(listener: &UnixListener, state: &Arc<Mutex<State>>) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        if state.lock().expect("no test has failed here").is_over {
            return;
        }
        // Who is slow to ask is in nobody's way.
        let state = Arc::clone(state);
        std::thread::spawn(move || serve(stream, &state));
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) {
    let request = request(&mut stream);
    let mut state = state.lock().expect("no test has failed here");
    if state.is_over {
        return;
    }
    match answer(&request, &mut state) {
        None => state.unanswered.push(stream),
        Some(text) => {
            // Who has gone needs no answer.
            let _ = stream.write_all(text.as_bytes());
            if text.contains("chunked") {
                state.followed_by.push(stream);
            }
        }
    }
}

/// The first line of a request, when all of its head was read.
fn request(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count > 0) {
        bytes.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&bytes);
    text.lines().next().unwrap_or_default().to_owned()
}

fn answer(request: &str, state: &mut State) -> Option<String> {
    let path = request.split(' ').nth(1).unwrap_or_default();
    let is_list = path.ends_with("/networks");
    state.asked += usize::from(is_list);
    match state.manner {
        Manner::Silent => return None,
        Manner::With(text) => return Some(text.to_owned()),
        Manner::Well => {}
    }
    if is_list {
        let networks = state.networks.iter().map(|(_, json)| json.as_str());
        let body = format!("[{}]\n", networks.collect::<Vec<_>>().join(","));
        return Some(format!(
            "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ));
    }
    let since = path
        .split(['?', '&'])
        .find_map(|it| it.strip_prefix("since="))?;
    let since: u64 = since.parse().ok()?;
    let before = state.events.iter().filter(|(second, _)| *second >= since);
    let before = before.map(|(_, event)| chunk(&format!("{event}\n")));
    Some(format!(
        "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{}",
        before.collect::<String>()
    ))
}
