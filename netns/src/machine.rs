//! The kernel's own WireGuard, in a virtual machine: Debian's kernel, emulated by qemu without any
//! help of the processor, so slow, but the same everywhere.
//!
//! ```text
//!   one                          the machine                            site
//!   eth0  192.0.2.1 ------ eth0  192.0.2.2     eth1  10.98.0.1 ------ site0  10.99.0.2
//!   weapon                       wg0, forwards
//! ```
//!
//! The address inside the tunnel is that of a host behind the machine, so that tests can ping and
//! send from there as they do elsewhere. `cargo xtask interop --install` fetches what it needs.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::initramfs::Initramfs;
use crate::lab::{Host, give_addresses, until};
use crate::plan::Plan;
use crate::process::Process;
use crate::weapon::{Home, build_folder};

/// A kernel that boots in three seconds on an idle machine may need much longer on a busy one.
const BOOT_TIME_MAX: Duration = Duration::from_secs(90);
/// For a command in the machine.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// Modules that the machine needs; what they depend on is found.
const MODULES: [&str; 3] = ["virtio_pci", "virtio_net", "wireguard"];
/// Programs of busybox that are called in the machine.
const PROGRAMS: [&str; 12] = [
    "sh", "mount", "insmod", "ip", "ping", "sleep", "cat", "echo", "stty", "rm", "uname", "true",
];
/// What `wg` is loaded with.
const LIBRARIES: [(&str, &str); 2] = [
    ("lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
    (
        "lib/x86_64-linux-gnu/libc.so.6",
        "/lib/x86_64-linux-gnu/libc.so.6",
    ),
];

/// Runs lines that come through the serial port, and says how each ended.
const INIT: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read module; do insmod /modules/$module; done </modules/order
i=0
while [ ! -e /sys/class/net/eth1 ] && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done
exec </dev/ttyS0 >/dev/ttyS0 2>&1
stty -echo -icrnl -onlcr
echo \"READY $(uname -r)\"
while read -r line; do eval \"$line\"; echo \"ENDED $?\"; done
";

/// Where the parts of the machine are, once they were fetched.
fn parts() -> PathBuf {
    build_folder().join("../interop")
}

/// What is missing for a machine, if anything is.
pub fn lacking() -> Option<String> {
    let parts = parts();
    let needed = ["qemu/usr/bin/qemu-system-x86_64", "busybox/bin/busybox"];
    let mut missing = needed.iter().filter(|path| !parts.join(path).exists());
    if let Some(path) = missing.next() {
        return Some(format!("{path} was not fetched"));
    }
    kernel_version()
        .is_none()
        .then(|| "no kernel was fetched".to_owned())
}

/// The release of the kernel that the machine runs.
pub fn kernel_version() -> Option<String> {
    let modules = fs::read_dir(parts().join("kernel/lib/modules")).ok()?;
    let mut names = modules.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.next()
}

/// A virtual machine with a gateway of the kernel's. Gone when dropped.
#[derive(Debug)]
pub struct Machine {
    /// The host behind it.
    pub site: Host,
    console: Console,
    plan_text: String,
    _process: Process,
}

impl Machine {
    /// Starts a machine whose cable ends at `eth0` of `one`, which is made here and given these
    /// addresses, and sets up its gateway as `plan` says.
    #[track_caller]
    pub fn start(one: &Host, addresses: &[&str], home: &Rc<Home>, plan: &Plan) -> Self {
        let site = Host::new("site");
        let socket = home.path().join(format!("{}.serial", plan.name));
        let mut process = boot(one, home, &socket);
        until("the machine's serial port", BOOT_TIME_MAX, || {
            assert!(process.ended().is_none(), "qemu has ended");
            socket.exists().then_some(())
        });
        let mut console = Console::open(&socket);
        let devices = ["eth0", "site0"];
        until("the machine's cables", BOOT_TIME_MAX, || {
            let links = one.run("ip -o link");
            devices
                .iter()
                .all(|name| links.contains(name))
                .then_some(())
        });
        one.move_link("site0", &site);
        give_addresses(one, "eth0", addresses);
        for line in [
            "ip link set site0 mtu 1420 up",
            "ip address add 10.98.0.2/30 dev site0",
            "ip address add 10.99.0.2/32 dev site0",
            "ip address add fd98::2/126 dev site0 nodad",
            "ip address add fd99::2/128 dev site0 nodad",
            "ip route add 10.99.0.0/24 via 10.98.0.1 src 10.99.0.2",
            "ip route add fd99::/64 via fd98::1 src fd99::2",
        ] {
            site.run(line);
        }
        console.wait_for("READY ", BOOT_TIME_MAX);
        let mut machine = Self {
            site,
            console,
            plan_text: plan.wg_conf(),
            _process: process,
        };
        machine.connect();
        machine.set_up();
        machine
    }

    /// Cables and routes.
    fn connect(&mut self) {
        for line in [
            "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad",
            "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad",
            "echo 0 >/proc/sys/net/ipv6/conf/eth1/accept_dad",
            "echo 1 >/proc/sys/net/ipv4/ip_forward",
            "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding",
            "echo 1 >/proc/sys/net/ipv4/conf/eth0/promote_secondaries",
            "ip link set lo up",
            "ip address add 192.0.2.2/24 dev eth0",
            "ip -6 address add 2001:db8::2/64 dev eth0",
            "ip link set eth0 up",
            "ip address add 10.98.0.1/30 dev eth1",
            "ip -6 address add fd98::1/126 dev eth1",
            "ip link set eth1 mtu 1420 up",
            "ip route add 10.99.0.2/32 via 10.98.0.2 dev eth1",
            "ip -6 route add fd99::2/128 via fd98::2 dev eth1",
        ] {
            self.run(line);
        }
    }

    /// The gateway, which is not there.
    fn set_up(&mut self) {
        let mut text = String::from("rm -f /wg.conf");
        for line in self.plan_text.lines() {
            write!(text, "; echo '{line}' >>/wg.conf").expect("room in a string");
        }
        self.run(&text);
        for line in [
            "ip link add wg0 type wireguard",
            "wg setconf wg0 /wg.conf",
            "ip link set wg0 mtu 1420 up",
            "ip route add 10.99.0.1/32 dev wg0",
            "ip -6 route add fd99::1/128 dev wg0",
        ] {
            self.run(line);
        }
    }

    /// Takes the gateway away and makes it anew: it knows nothing of its sessions.
    #[track_caller]
    pub fn restart(&mut self) {
        self.run("ip link del wg0");
        self.set_up();
    }

    /// Runs a line of shell in the machine, and returns what it wrote. Panics when it fails.
    #[track_caller]
    pub fn run(&mut self, line: &str) -> String {
        self.console.send(line);
        let said = self.console.wait_for("ENDED ", ANSWER_TIME_MAX);
        let (said, status) = said.rsplit_once("ENDED ").unwrap_or((&said, ""));
        assert_eq!(status.trim(), "0", "in the machine, `{line}`: {said}");
        said.to_owned()
    }
}

/// Starts qemu, whose devices appear in `one`.
fn boot(one: &Host, home: &Home, socket: &Path) -> Process {
    let parts = parts();
    let version = kernel_version().expect("a kernel: see `lacking`");
    let initramfs = home.path().join("initramfs");
    fs::write(&initramfs, archive(&parts, &version)).expect("the machine's files");
    let qemu = parts.join("qemu/usr");
    let mut command = one.command(qemu.join("bin/qemu-system-x86_64"));
    let libraries = format!("{}/lib/x86_64-linux-gnu", qemu.display());
    command.env("LD_LIBRARY_PATH", libraries);
    for folder in ["share/qemu", "share/seabios", "lib/ipxe/qemu"] {
        command.arg("-L").arg(qemu.join(folder));
    }
    command.args([
        "-M",
        "pc",
        "-accel",
        "tcg,thread=single",
        "-cpu",
        "max",
        "-smp",
        "1",
    ]);
    command.args([
        "-m",
        "256",
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
    ]);
    for (number, name) in ["eth0", "site0"].iter().enumerate() {
        let device = format!(
            "virtio-net-pci,netdev=n{number},romfile=,addr={}",
            number + 3
        );
        let cable = format!("tap,id=n{number},ifname={name},script=no,downscript=no");
        command.args(["-netdev", &cable, "-device", &device]);
    }
    let serial = format!("unix:{},server=on,wait=off", socket.display());
    command.args(["-serial", &serial, "-append"]);
    // The processor's random numbers are trusted: nothing else makes any so early.
    command.arg(
        "console=ttyS0 quiet loglevel=1 panic=-1 mitigations=off random.trust_cpu=on net.ifnames=0",
    );
    let kernel = parts.join(format!("kernel/boot/vmlinuz-{version}"));
    command.arg("-kernel").arg(kernel);
    command.arg("-initrd").arg(&initramfs);
    Process::start("qemu", &mut command, home.path().join("qemu.log"))
}

/// Everything that is in the machine.
fn archive(parts: &Path, version: &str) -> Vec<u8> {
    let mut archive = Initramfs::new();
    for folder in ["proc", "sys", "dev", "etc", "tmp"] {
        archive.folder(folder);
    }
    archive.file("init", INIT.as_bytes());
    archive.copy("bin/busybox", &parts.join("busybox/bin/busybox"));
    for program in PROGRAMS {
        archive.link(&format!("bin/{program}"), "busybox");
    }
    archive.copy("bin/wg", Path::new("/usr/bin/wg"));
    for (path, from) in LIBRARIES {
        archive.copy(path, Path::new(from));
    }
    let folder = parts.join("kernel/lib/modules").join(version);
    let index = fs::read_to_string(folder.join("modules.dep")).expect("an index of modules");
    let mut order = String::new();
    for path in load_order(&index) {
        let name = path.rsplit('/').next().unwrap_or(&path);
        archive.copy(&format!("modules/{name}"), &folder.join(&path));
        writeln!(order, "{name}").expect("room in a string");
    }
    archive.file("modules/order", order.as_bytes());
    archive.finish()
}

/// The wanted modules and those that they need, which `modules.dep` has in reverse order behind
/// each.
fn load_order(index: &str) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    for module in MODULES {
        let end = format!("/{module}.ko");
        let Some((path, needs)) = index
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(path, _)| path.ends_with(&end))
        else {
            // Built into the kernel.
            continue;
        };
        for path in needs.split_whitespace().rev().chain([path]) {
            if !order.iter().any(|known| known == path) {
                order.push(path.to_owned());
            }
        }
    }
    order
}

/// The machine's serial port.
#[derive(Debug)]
struct Console {
    stream: UnixStream,
    /// What was read and not asked for yet.
    pending: String,
}

impl Console {
    #[track_caller]
    fn open(socket: &Path) -> Self {
        let stream = until("the serial port answers", BOOT_TIME_MAX, || {
            UnixStream::connect(socket).ok()
        });
        let pause = Some(Duration::from_millis(100));
        stream.set_read_timeout(pause).expect("a limit");
        Self {
            stream,
            pending: String::new(),
        }
    }

    fn send(&mut self, line: &str) {
        self.pending.clear();
        let written = self.stream.write_all(format!("{line}\n").as_bytes());
        written.expect("the machine's serial port");
    }

    /// What comes until a line that contains `mark`, with it.
    #[track_caller]
    fn wait_for(&mut self, mark: &str, patience: Duration) -> String {
        let deadline = Instant::now() + patience;
        loop {
            let end = self.pending.find(mark).and_then(|at| {
                let rest = &self.pending[at..];
                rest.find('\n').map(|len| at + len + 1)
            });
            if let Some(end) = end {
                return self.pending.drain(..end).collect();
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(len) => self
                    .pending
                    .push_str(&String::from_utf8_lossy(&bytes[..len])),
                Err(error) => assert!(
                    matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ),
                    "the machine's serial port: {error}"
                ),
            }
            let said = &self.pending;
            assert!(
                Instant::now() < deadline,
                "no {mark:?} within {patience:?}: {said}"
            );
        }
    }
}
