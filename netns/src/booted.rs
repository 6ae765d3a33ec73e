//! A host on which systemd runs, as its first process: units start, are watched and stop there as
//! on any machine, and packages are installed, on a throw-away copy of this machine's files.
//!
//! What is written goes to memory, over the machine's own root (overlayfs); processes, mounts, host
//! name and control groups are the host's own. All of it is gone when the value is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::lab::{Host, attempt, until};
use crate::process::Process;

/// How long systemd may take, to start or for what it is asked, on a machine busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// Programs that it needs.
pub const PROGRAMS: [&str; 5] = ["systemctl", "systemd-analyze", "unshare", "nsenter", "find"];

/// Where Debian has it, and others.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Becomes systemd. The group is entered before its namespace is made: else systemd would work on
/// the machine's own groups.
const ENTER: &str = r#"
set -e
folder=$1 group=$2
echo 0 >"$group/cgroup.procs"
exec unshare --cgroup sh -c "$3" sh "$folder"
"#;

const BOOT: &str = r#"
set -e
folder=$1 root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/memory"
mkdir "$folder/memory/upper" "$folder/memory/work"
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$folder/memory/upper,workdir=$folder/memory/work" "$root"
mkdir -p "$root/outside" "$root/changes"
mount --bind "$folder/outside" "$root/outside"
mount --bind "$folder/memory/upper" "$root/changes"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
    IFS=: read -r name major minor <<END
$device
END
    mknod -m 666 "$root/dev/$name" c "$major" "$minor"
done
mkdir "$root/dev/net" "$root/dev/pts" "$root/dev/shm"
mknod -m 666 "$root/dev/net/tun" c 10 200
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs tmpfs "$root/var/log"
# Nothing of this machine starts there, and nothing of ours is there.
rm -rf "$root"/etc/systemd/system/*.wants "$root"/etc/systemd/system/dbus-org*
rm -rf "$root/etc/weapon" "$root/var/lib/weapon"
: >"$root/etc/machine-id"
: >"$root/etc/fstab"
for unit in systemd-timesyncd systemd-resolved systemd-networkd systemd-udevd systemd-logind \
    systemd-modules-load systemd-udev-trigger; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit.service"
done
printf '[Unit]\nRequires=basic.target dbus.service\nAfter=basic.target\nAllowIsolate=yes\n' \
    >"$root/etc/systemd/system/booted.target"
mkdir -p "$root/mnt/old"
cd "$root"
pivot_root . mnt/old
umount -l /mnt/old
# What systemd mounts for a unit in another namespace, its credentials, is to be seen here.
mount --make-rshared /
exec env -i container=weapon PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=booted.target --log-target=console --log-level=warning --show-status=no
"#;

/// What is missing for it, if anything is.
pub fn lacking() -> Option<String> {
    if !Path::new(SYSTEMD).exists() {
        return Some(format!("there is no {SYSTEMD}: apt-get install systemd"));
    }
    top_group().is_none().then(|| {
        "no cgroup2 is mounted here: mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified".to_owned()
    })
}

/// The host's systemd, and all that runs under it.
#[derive(Debug)]
pub struct Booted {
    host: Host,
    folder: TempDir,
    group: PathBuf,
    init: u32,
    process: Option<Process>,
}

impl Booted {
    /// Starts systemd in `host`, and waits until it is up.
    #[track_caller]
    pub fn start(host: &Host) -> Self {
        let folder = tempfile::Builder::new().prefix("weapon-booted-").tempdir();
        let folder = folder.expect("a temporary folder");
        for part in ["root", "memory", "outside"] {
            fs::create_dir(folder.path().join(part)).expect("a folder");
        }
        let name = folder.path().file_name().expect("a name");
        let group = top_group().expect("see `lacking`").join(name);
        fs::create_dir(&group).expect("a control group");
        let mut command = host.command("unshare");
        command.args(["--pid", "--mount", "--ipc", "--uts", "--fork"]);
        command.args(["--kill-child", "sh", "-c", ENTER, "sh"]);
        command.arg(folder.path()).arg(&group).arg(BOOT);
        let log = folder.path().join("log");
        let process = Process::start("systemd", &mut command, log);
        let mut booted = Self {
            host: host.again(),
            init: 0,
            folder,
            group,
            process: Some(process),
        };
        booted.init = until("systemd starts", PATIENCE, || booted.find_init());
        until("systemd is up", PATIENCE, || {
            let state = booted.attempt("systemctl is-active booted.target");
            state.is_ok().then_some(())
        });
        booted
    }

    /// The first process, once it has become systemd.
    fn find_init(&mut self) -> Option<u32> {
        let process = self.process.as_mut()?;
        assert!(process.ended().is_none(), "it has ended");
        let parent = process.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        let init = children.ok()?.split_whitespace().next()?.parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
        (name.trim() == "systemd").then_some(init)
    }

    /// A folder of this machine that is `/outside` there.
    pub fn outside(&self) -> PathBuf {
        self.folder.path().join("outside")
    }

    /// A program that is going to run there.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.host.command("nsenter");
        let init = self.init.to_string();
        command.args(["--target", &init, "--mount", "--pid", "--net", "--ipc"]);
        command.args(["--uts", "--cgroup", "--", program]);
        command.env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("SYSTEMD_PAGER", "");
        command
    }

    /// Runs a command line there, split at spaces, and returns what it wrote. Panics when it fails.
    #[track_caller]
    pub fn run(&self, line: &str) -> String {
        self.attempt(line).unwrap_or_else(|complaint| {
            panic!("`{line}` failed: {complaint}");
        })
    }

    /// Runs a command line there that may fail.
    ///
    /// # Errors
    /// What the program wrote when it exits with anything but 0.
    pub fn attempt(&self, line: &str) -> Result<String, String> {
        attempt(line, |program| self.command(program))
    }

    /// Runs a script of shell there, and returns what it wrote. Panics when it fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        let output = self.command("sh").args(["-ec", script]).output();
        let output = output.expect("a shell");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}{complaint}");
        said
    }

    /// Writes a file there, with such a mode, as root's.
    #[track_caller]
    pub fn write(&self, path: &str, text: &str, mode: &str) {
        let between = self.outside().join("file");
        fs::write(&between, text).expect("a file");
        self.run(&format!(
            "install -D --owner root --group root --mode {mode} /outside/file {path}"
        ));
        fs::remove_file(between).expect("the file just written");
    }

    /// A property of a unit.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        let value = self.run(&format!("systemctl show {unit} --property {name} --value"));
        value.trim().to_owned()
    }

    /// What a unit has logged.
    pub fn journal(&self, unit: &str) -> String {
        let line = format!("journalctl --unit {unit} --no-pager --quiet --output cat");
        self.attempt(&line).unwrap_or_else(|complaint| complaint)
    }

    /// All paths that are not as on this machine.
    #[track_caller]
    pub fn changes(&self) -> Vec<String> {
        let top = PathBuf::from(format!("/proc/{}/root/changes", self.init));
        let mut found = Vec::new();
        collect(&top, Path::new("/"), &mut found);
        found
    }
}

/// What is in `upper` and not the same in the machine's `lower`. What was changed and changed back
/// is the same.
fn collect(upper: &Path, lower: &Path, found: &mut Vec<String>) {
    let entries = fs::read_dir(upper).expect("a folder of what was written");
    for entry in entries.flatten() {
        let (here, there) = (entry.path(), lower.join(entry.file_name()));
        let kind = entry.file_type().expect("a kind of file");
        let is_same = if kind.is_dir() {
            collect(&here, &there, found);
            there.is_dir()
        } else if kind.is_file() {
            matches!((fs::read(&here), fs::read(&there)), (Ok(here), Ok(there)) if here == there)
        } else {
            // What was removed shows as a device.
            kind.is_symlink() && fs::read_link(&here).ok() == fs::read_link(&there).ok()
        };
        if !is_same {
            found.push(there.display().to_string());
        }
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        // Its child is killed with it, and as that is the first one of its namespace, so are all.
        drop(self.process.take());
        until("the control groups are empty", PATIENCE, || {
            remove_groups(&self.group).then_some(())
        });
    }
}

/// Where the control groups of version 2 are.
fn top_group() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let mut lines = mounts.lines().map(|line| line.split(' '));
    lines.find_map(|mut words| {
        let place = words.nth(1)?;
        (words.next()? == "cgroup2").then(|| PathBuf::from(place))
    })
}

/// Removes a group and all below it; whether it is gone.
fn remove_groups(group: &Path) -> bool {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in folders {
        remove_groups(&entry.path());
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

/// Makes a Debian package of the programs that are tested, in `folder`, as `cargo xtask package`
/// makes it of those that are given to others. Returns its path.
#[track_caller]
pub fn package(folder: &Path) -> PathBuf {
    let chores = crate::weapon::build_folder().join("xtask");
    assert!(
        chores.is_file(),
        "{} is not there: run `cargo build -p xtask` first (`cargo xtask test` does)",
        chores.display()
    );
    let mut command = Command::new(chores);
    command.arg("package").arg("--from");
    command.arg(crate::weapon::build_folder());
    command.arg("--into").arg(folder);
    // What was made for a test need not be small.
    command.env("DPKG_DEB_COMPRESSOR_TYPE", "gzip");
    command.env("DPKG_DEB_COMPRESSOR_LEVEL", "1");
    let output = command.stdin(Stdio::null()).output().expect("the chores");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let mut entries = fs::read_dir(folder).expect("a folder").flatten();
    let package = entries.find(|entry| entry.path().extension().is_some_and(|it| it == "deb"));
    package.expect("a package").path()
}
