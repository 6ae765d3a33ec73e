//! Docker comes, goes, and for a while says nothing that could be understood.

use fake_docker::{FakeDocker, Manner};
use tempfile::TempDir;
use tokio::runtime::Builder;

use super::*;

/// The one of the end-to-end tests.
#[allow(dead_code, reason = "they use more of it")]
#[path = "../../../../../netns/src/fake_docker.rs"]
mod fake_docker;

/// For what must come in the end.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `story` with a Docker and whoever follows it.
fn tell(story: impl AsyncFnOnce(FakeDocker, &TempDir, DockerWatch)) {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let fake = FakeDocker::start(&folder.path().join("docker.sock"));
        let docker = docker(&fake);
        let mut watch = DockerWatch::open(docker, Known::default()).await;
        assert_eq!(names(&watch.known()), ["none", "host", "bridge"]);
        story(fake, &folder, watch).await;
    });
}

fn docker(fake: &FakeDocker) -> Docker {
    Docker::at(Some(fake.address().as_ref()))
}

fn names(known: &Known) -> Vec<&str> {
    let networks = known.networks.iter().flatten();
    networks.map(|network| network.name.as_str()).collect()
}

/// Waits until what is known is as wanted.
async fn until(watch: &mut DockerWatch, is_wanted: impl Fn(&Known) -> bool) -> Known {
    let wait = async {
        loop {
            let known = watch.known();
            if is_wanted(&known) {
                return known;
            }
            watch.changed().await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it becomes known")
}

#[test]
fn networks_that_are_made_and_removed_are_noticed() {
    tell(async |fake, _folder, mut watch| {
        fake.create("app", &["172.18.0.0/16"]);
        let known = until(&mut watch, |it| names(it).contains(&"app")).await;
        let found = known.networks.unwrap().pop().unwrap();
        assert_eq!(found.interface, Some(FakeDocker::interface("app")));
        assert_eq!(found.subnets, ["172.18.0.0/16".parse().unwrap()]);
        fake.remove("app");
        until(&mut watch, |it| !names(it).contains(&"app")).await;
        fake.create("app", &["172.19.0.0/16", "fd19::/64"]);
        let known = until(&mut watch, |it| names(it).contains(&"app")).await;
        assert_eq!(known.networks.unwrap().pop().unwrap().subnets.len(), 2);
    });
}

#[test]
fn what_happened_while_nobody_could_hear_is_seen_later() {
    tell(async |fake, folder, mut watch| {
        // The connection is cut, and something happens that nobody tells of.
        fake.add("app", "bridge", "", &["172.18.0.0/16"]);
        fake.cut();
        until(&mut watch, |it| names(it).contains(&"app")).await;
        // Docker is started again.
        drop(fake);
        let known = until(&mut watch, |it| it.away.is_some()).await;
        assert!(names(&known).contains(&"app"), "what was known stays");
        let fake = FakeDocker::start(&folder.path().join("docker.sock"));
        let known = until(&mut watch, |it| it.away.is_none()).await;
        assert_eq!(names(&known), ["none", "host", "bridge"]);
        // And is followed once more.
        fake.create("other", &["172.20.0.0/16"]);
        until(&mut watch, |it| names(it).contains(&"other")).await;
    });
}

#[test]
fn nonsense_among_the_events_is_no_end() {
    tell(async |fake, _folder, mut watch| {
        for (index, nonsense) in ["zzz\r\n", "3\r\n]]]\r\n"].into_iter().enumerate() {
            while fake.listeners() == 0 {
                sleep(Duration::from_millis(10)).await;
            }
            let name = format!("n{index}");
            fake.add(&name, "bridge", "", &[]);
            fake.send(nonsense);
            fake.cut();
            until(&mut watch, |it| names(it).contains(&name.as_str())).await;
        }
        // The same of the list itself.
        fake.answer(Manner::With("HTTP/1.1 200 OK\r\n\r\nnonsense"));
        fake.cut();
        let known = until(&mut watch, |it| it.away.is_some()).await;
        assert!(names(&known).contains(&"n1"), "what was known stays");
        fake.answer(Manner::Well);
        until(&mut watch, |it| it.away.is_none()).await;
    });
}

#[test]
fn a_docker_that_is_away_leaves_what_was_known_before() {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let address = format!("unix://{}", socket.display());
        let docker = || Docker::at(Some(address.as_ref()));
        let mut watch = DockerWatch::open(docker(), Known::default()).await;
        let known = watch.known();
        assert_eq!(known.networks, None);
        assert!(known.away.is_some());
        let before = Known {
            networks: Some(Vec::new()),
            away: None,
        };
        let mut watch = DockerWatch::open(docker(), before).await;
        assert_eq!(watch.known().networks, Some(Vec::new()));
        let _fake = FakeDocker::start(&socket);
        let known = until(&mut watch, |it| it.away.is_none()).await;
        assert_eq!(names(&known).len(), 3);
    });
}
