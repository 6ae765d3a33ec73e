//! A Docker daemon of its own for one network namespace, as it would run on a host there: with its
//! containers, networks and firewall rules. When it is dropped, nothing of it is left.
//!
//! It lives in a process namespace in which it is the first process, so that containers and all
//! that serves them end with it, whatever happens; and in a mount namespace with a `/run` and a
//! `/sys` that belong to its network namespace.

use std::{
    fs,
    io::{self, Error},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use weapon_io::namespace::{Namespace, die_with_parent};

/// How long a daemon may take to answer or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The image that all containers are made of: one program, which is many.
const IMAGE: &str = "weapon-busybox:1";

/// Where Debian's package has that program.
const BUSYBOX: &str = "/bin/busybox";

/// What it is called as in a container.
const APPLETS: [&str; 9] = [
    "sh", "sleep", "ping", "httpd", "wget", "md5sum", "yes", "head", "mkdir",
];

/// Becomes the daemon: cgroups as they are, a `/sys` with the interfaces of this namespace, a
/// `/proc` of its processes, an empty `/run`.
const ENTER: &str = r#"
set -e
folder=$1; shift
mkdir -p "$folder/cgroup"
mount --make-rprivate /
mount --rbind /sys/fs/cgroup "$folder/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$folder/cgroup" /sys/fs/cgroup
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
exec "$@"
"#;

/// What begins the name of a daemon's groups; its process number and folder follow.
const MARK: &str = "weapon-docker-";

/// A running daemon.
#[derive(Debug)]
pub struct Dockerd {
    folder: PathBuf,
    namespace: Namespace,
    bridge: String,
    /// Tells its cgroups from those of others.
    mark: String,
    child: Option<Child>,
}

/// What is missing on this machine, and where to get it; nothing if all is there.
pub fn missing() -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |name: &str| std::env::split_paths(&path).any(|it| it.join(name).is_file());
    let needed = [
        ("dockerd", "docker.io"),
        ("docker", "docker.io or docker-cli"),
        ("iptables", "iptables"),
        ("nft", "nftables"),
        ("unshare", "util-linux"),
    ];
    let lacking = needed.iter().find(|(name, _)| !is_there(name));
    if let Some((name, package)) = lacking {
        return Some(format!("`{name}` is missing: apt-get install {package}"));
    }
    (!Path::new(BUSYBOX).is_file())
        .then(|| format!("{BUSYBOX} is missing: apt-get install busybox"))
}

impl Dockerd {
    /// Starts a daemon in `namespace`, whose bridge has the address `bridge`, such as
    /// `172.17.0.1/16`. All that it writes goes to `folder`, which is there and of its own. To be
    /// called from a thread that stays: the daemon is tied to its life.
    ///
    /// # Errors
    /// It does not start, with the end of its log.
    pub fn start(namespace: &Namespace, folder: &Path, bridge: &str) -> io::Result<Self> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut daemon = Self {
            folder: folder.to_owned(),
            namespace: namespace.try_clone()?,
            bridge: bridge.to_owned(),
            mark: format!("{MARK}{}-{name}", std::process::id()),
            child: None,
        };
        remove_cgroups(&is_orphan);
        daemon.launch()?;
        daemon.import()?;
        Ok(daemon)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    /// `docker WORDS`; what it said.
    ///
    /// # Errors
    /// What it complained of.
    pub fn docker(&self, words: &[&str]) -> io::Result<String> {
        let output = self.client().args(words).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Error::other(format!(
            "docker {}: {complaint}",
            words.join(" ")
        )))
    }

    /// A container that sleeps, and comes back when the daemon does.
    ///
    /// # Errors
    /// Docker's own.
    pub fn run(&self, name: &str) -> io::Result<()> {
        // What sleeps hears no signal: it need not be waited for.
        let words = [
            "run",
            "-d",
            "--restart",
            "always",
            "--stop-timeout",
            "1",
            "--name",
        ];
        self.docker(&[&words[..], &[name, IMAGE]].concat())
            .map(drop)
    }

    /// The address of a container on the daemon's bridge.
    ///
    /// # Errors
    /// Docker's own.
    pub fn address_of(&self, container: &str) -> io::Result<String> {
        let format = "{{.NetworkSettings.Networks.bridge.IPAddress}}";
        self.docker(&["inspect", "-f", format, container])
    }

    /// The network namespace of a container.
    ///
    /// # Errors
    /// Docker's own, or it is not running.
    pub fn namespace_of(&self, container: &str) -> io::Result<Namespace> {
        // The daemon's process numbers are those of its own namespace: the container is found by
        // the file that Docker keeps for it.
        let path = self.docker(&[
            "inspect",
            "-f",
            "{{.NetworkSettings.SandboxKey}}",
            container,
        ])?;
        let daemon = self.daemon().ok_or_else(|| Error::other("no daemon"))?;
        Namespace::open(format!("/proc/{}/root{path}", daemon.as_raw_nonzero()))
    }

    /// Ends it and starts it again, as `systemctl restart docker` does.
    ///
    /// # Errors
    /// As for [`Dockerd::start`].
    #[allow(dead_code, reason = "for tests of the whole, which use this file too")]
    pub fn restart(&mut self) -> io::Result<()> {
        self.end();
        self.launch()
    }

    fn client(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("-H").arg(self.host());
        command
    }

    /// [`Dockerd::socket`], as Docker's programs want it.
    fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    fn launch(&mut self) -> io::Result<()> {
        let path = |name: &str| self.folder.join(name);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(path("log"))?;
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            ENTER,
            "sh",
        ]);
        command.arg(&self.folder).arg("dockerd");
        command.arg("--data-root").arg(path("data"));
        command.arg("--exec-root").arg(path("exec"));
        command.arg("--pidfile").arg(path("docker.pid"));
        command.arg("-H").arg(self.host());
        command.args(["--bip", &self.bridge, "--storage-driver", "vfs"]);
        command.args(["--log-level", "warn", "--cgroup-parent"]);
        command.arg(format!("/{}", self.mark));
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.namespace.command(&mut command)?;
        let child = die_with_parent(&mut command).spawn()?;
        let mut asking = self.client();
        asking.arg("version");
        let child = self.child.insert(child);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ended = child.try_wait()?;
            if asking.output()?.status.success() {
                return Ok(());
            }
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let lines: Vec<&str> = log.lines().rev().take(8).collect();
                let end: Vec<&str> = lines.into_iter().rev().collect();
                return Err(Error::other(format!(
                    "dockerd does not start:\n{}",
                    end.join("\n")
                )));
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Makes the image.
    fn import(&self) -> io::Result<()> {
        let root = self.folder.join("image");
        let bin = root.join("bin");
        for folder in [bin.clone(), root.join("tmp"), root.join("etc")] {
            fs::create_dir_all(folder)?;
        }
        fs::copy(BUSYBOX, bin.join("busybox"))?;
        for library in libraries_of(BUSYBOX)? {
            let there = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(there.parent().unwrap_or(&root))?;
            fs::copy(&library, there)?;
        }
        for applet in APPLETS {
            std::os::unix::fs::symlink("busybox", bin.join(applet))?;
        }
        let mut archive = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["-c", "."])
            .stdout(Stdio::piped())
            .spawn()?;
        let contents = archive
            .stdout
            .take()
            .ok_or_else(|| Error::other("no pipe"))?;
        let output = self
            .client()
            .args(["import", "-c", r#"CMD ["sleep", "86400"]"#, "-", IMAGE])
            .stdin(contents)
            .output()?;
        archive.wait()?;
        if output.status.success() {
            return Ok(());
        }
        Err(Error::other(
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    /// The daemon itself: the only child of the program that made its namespaces.
    fn daemon(&self) -> Option<Pid> {
        let parent = self.child.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let first = children.ok()?.split_whitespace().next()?.parse().ok()?;
        Pid::from_raw(first)
    }

    /// Ends the daemon, and with it its containers.
    fn end(&mut self) {
        if let Some(daemon) = self.daemon() {
            let _gone_already = kill_process(daemon, Signal::TERM);
        }
        let Some(mut child) = self.child.take() else {
            return;
        };
        let deadline = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // Its namespace goes with it.
                let _gone_already = child.kill();
            }
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        self.end();
        remove_cgroups(&|name| name == self.mark);
    }
}

/// The libraries that a program is linked with; none if it is a static one.
fn libraries_of(program: &str) -> io::Result<Vec<String>> {
    let output = Command::new("ldd").arg(program).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace();
    Ok(words
        .filter(|it| it.starts_with('/'))
        .map(str::to_owned)
        .collect())
}

/// Whether a group is of a process that was killed before it could remove it.
fn is_orphan(name: &str) -> bool {
    let number = name
        .strip_prefix(MARK)
        .and_then(|rest| rest.split('-').next());
    number.is_some_and(|number| !Path::new("/proc").join(number).exists())
}

/// Removes the groups with such names, which no process is in any more: in one hierarchy, or in
/// each of the older kind.
fn remove_cgroups(is_meant: &dyn Fn(&str) -> bool) {
    let top = Path::new("/sys/fs/cgroup");
    let below = folders(top).into_iter().flat_map(|it| folders(&it));
    for group in below.chain(folders(top)) {
        let name = group.file_name().unwrap_or_default().to_string_lossy();
        if is_meant(&name) {
            remove_tree(&group);
        }
    }
}

fn folders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let folders = entries.filter(|it| it.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|it| it.path()).collect()
}

/// Groups have files, which go with them, and groups.
fn remove_tree(group: &Path) {
    for inner in folders(group) {
        remove_tree(&inner);
    }
    let _still_in_use = fs::remove_dir(group);
}
