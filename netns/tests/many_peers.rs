//! A gateway with ten thousand peers: it comes up, answers, costs little, and sleeps while nobody
//! speaks (P51).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use weapon_netns::weapon::PATIENCE;
use weapon_netns::{Home, Host, Weapon, ready, until};
use weapon_noise::PrivateKey;

const PEERS: u32 = 10_000;

/// Bytes that a peer may cost the process, its part of the configuration included.
const BYTES_PER_PEER_MAX: u64 = 4096;

/// How long nothing at all may happen. Whoever looks at all peers now and then does so more often.
const SILENCE: Duration = Duration::from_secs(5);

/// The configuration of a gateway with `count` peers at addresses where nobody is.
fn configuration(count: u32, table: &str) -> String {
    let mut text = format!(
        "[gateway]\n\
         name = \"hub\"\n\
         private_key = \"{}\"\n\
         address = [\"10.255.0.1/24\"]\n\
         listen = 51820\n\
         table = \"{table}\"\n",
        *PrivateKey::from_bytes(&[7; 32]).to_base64()
    );
    for number in 0..count {
        let mut bytes = [3; 32];
        bytes[8..12].copy_from_slice(&number.to_le_bytes());
        let key = PrivateKey::from_bytes(&bytes).public();
        let [_, _, high, low] = number.to_be_bytes();
        write!(
            text,
            "\n[[peer]]\n\
             name = \"branch-{number}\"\n\
             public_key = \"{key}\"\n\
             endpoint = \"198.18.{high}.{low}:51820\"\n\
             networks = [\"10.{high}.{low}.0/24\", \"fd00:0:0:{number:x}::/64\"]\n"
        )
        .expect("a string");
    }
    text
}

/// Starts a gateway and returns when it answers, with the time that this took.
fn start(host: &Host, home: &Rc<Home>, count: u32, table: &str) -> (Weapon, Duration) {
    let text = configuration(count, table);
    let start = Instant::now();
    let hub = Weapon::start_with(host, home, "hub.toml", &text);
    (hub, start.elapsed())
}

/// How often each thread of these processes has begun to wait, or was made to.
fn switches(processes: &[u32]) -> BTreeMap<String, u64> {
    let tasks = processes
        .iter()
        .flat_map(|process| fs::read_dir(format!("/proc/{process}/task")).expect("a process"));
    let of_task = |path: std::path::PathBuf| {
        let text = fs::read_to_string(path.join("status")).expect("a thread");
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.expect("a line").trim().to_owned()
        };
        let name = format!("{} {}", value("Name:"), value("Pid:"));
        let count = |key| value(key).parse::<u64>().expect("a number");
        let both = count("voluntary_ctxt_switches:") + count("nonvoluntary_ctxt_switches:");
        (name, both)
    };
    tasks
        .map(|task| of_task(task.expect("a thread").path()))
        .collect()
}

/// Bytes of memory that belong to these processes alone and to no file.
fn own_bytes(processes: &[u32]) -> u64 {
    processes.iter().map(|process| own_bytes_of(*process)).sum()
}

fn own_bytes_of(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("a process");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kib = kib.and_then(|kib| kib.trim().parse::<u64>().ok());
    kib.expect("a number of kB") * 1024
}

#[test]
fn p51_ten_thousand_peers_sleep() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("hub"), Home::new());
    let (mut small, time) = start(&host, &home, 1, "off");
    println!("one peer: up after {time:?}");
    let before = own_bytes(&small.process().all_ids());
    assert_eq!(small.stop().code(), Some(0));

    let (mut hub, time) = start(&host, &home, PEERS, "off");
    println!("{PEERS} peers: up after {time:?}");
    let processes = hub.process().all_ids();
    let asked = Instant::now();
    let status = hub.status();
    println!("status after {:?}", asked.elapsed());
    let peers = status["peers"].as_array().expect("a list of peers");
    assert_eq!(peers.len(), PEERS as usize);
    let last = &peers[PEERS as usize - 1];
    assert_eq!(last["endpoint"], "198.18.39.15:51820");
    assert_eq!(last["networks"][1], "fd00:0:0:270f::/64");

    // What the kernel tells of a new interface comes in the first moments.
    until("all threads sleep", PATIENCE, || {
        let before = switches(&processes);
        thread::sleep(Duration::from_secs(1));
        (switches(&processes) == before).then_some(())
    });
    let asleep = switches(&processes);
    assert!(
        asleep.len() >= 3,
        "the daemon, the control loop, a lane: {asleep:?}"
    );
    thread::sleep(SILENCE);
    assert_eq!(switches(&processes), asleep);

    for process in &processes {
        println!("{process}: {} bytes", own_bytes_of(*process));
    }
    let growth = own_bytes(&processes).saturating_sub(before) / u64::from(PEERS);
    println!("{growth} bytes a peer, {before} bytes without");
    assert!(growth < BYTES_PER_PEER_MAX, "{growth} bytes a peer");
    assert_eq!(hub.stop().code(), Some(0));
}

#[test]
fn ten_thousand_peers_have_their_routes() {
    if !ready(&[]) {
        return;
    }
    let (host, home) = (Host::new("hub"), Home::new());
    let (hub, time) = start(&host, &home, PEERS, "auto");
    println!("{PEERS} peers with routes: up after {time:?}");
    let count = |family: &str, of: &str| {
        let routes = host.run(&format!("ip {family} route show dev hub"));
        routes.lines().filter(|line| line.starts_with(of)).count()
    };
    assert_eq!(count("-4", "10.") - count("-4", "10.255."), PEERS as usize);
    assert_eq!(count("-6", "fd00:"), PEERS as usize);
    assert_eq!(hub.stop().code(), Some(0));
}
