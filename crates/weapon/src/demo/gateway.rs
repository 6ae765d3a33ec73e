//! The two gateways: keys, configuration, processes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal};
use weapon_io::namespace::die_with_parent;
use weapon_noise::{PrivateKey, PublicKey};

use super::docker::Daemons;
use super::topology::{Host, World, inside};

/// The UDP port of both gateways.
pub(super) const PORT: u16 = 51820;

/// Sockets of the running gateways; must be empty when they have ended.
pub(super) const RUNTIME_DIRECTORY: &str = "/run/weapon";

/// What survives a stop on purpose: the time stamp below which no handshake may begin.
const STATE_DIRECTORY: &str = "/run/weapon-demo/state";

/// Configurations, keys and logs.
const CONFIG_DIRECTORY: &str = "/run/weapon-demo";

/// A gateway that takes longer to come up or to end has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// The rule that forbids what the demo tries.
pub(super) const RULE_NAME: &str = "no-ssh";

/// Site A watches what passes.
const WATCHES: &str = "\n[filter]\nflows = true\n";

/// Site B denies something.
const DENIES: &str = "
[filter]
default = \"allow\"

[[rule]]
name      = \"no-ssh\"
action    = \"deny\"
direction = \"inbound\"
protocol  = \"tcp\"
ports     = 22
";

/// Lines of a gateway's log that are shown when it fails.
const LOG_LINES_SHOWN: usize = 12;

/// The gateways that run, shared with whoever has to end them.
#[derive(Clone, Default)]
pub(super) struct Gateways(Arc<Mutex<Vec<Gateway>>>, Daemons);

struct Gateway {
    file: PathBuf,
    child: Child,
}

/// A site's configuration, written down.
struct Site {
    file: PathBuf,
    text: String,
}

impl Gateways {
    /// Writes the configurations of both sites and returns them for people to read.
    ///
    /// # Errors
    /// No randomness, or no room in the private file system.
    pub(super) fn configure(world: &World) -> anyhow::Result<Vec<(PathBuf, String)>> {
        fs::create_dir_all(CONFIG_DIRECTORY)?;
        fs::create_dir_all(STATE_DIRECTORY)?;
        let (key_a, key_b) = (write_key(&world.a)?, write_key(&world.b)?);
        let sites = [
            write_configuration((&world.a, 1), (&world.b, 2), key_b, WATCHES)?,
            write_configuration((&world.b, 2), (&world.a, 1), key_a, DENIES)?,
        ];
        Ok(sites
            .into_iter()
            .map(|site| (site.file, site.text))
            .collect())
    }

    /// Starts both gateways, each on its host, and waits until both route to the other site.
    ///
    /// # Errors
    /// With the end of the log when one does not come up.
    pub(super) fn start(&self, world: &World) -> anyhow::Result<Duration> {
        let start = Instant::now();
        for host in [&world.a, &world.b] {
            let gateway = spawn(host).with_context(|| format!("cannot start {}", host.site))?;
            self.lock().push(gateway);
        }
        for (number, (here, there)) in [(&world.a, &world.b), (&world.b, &world.a)]
            .iter()
            .enumerate()
        {
            while !routes_to(here, there)? {
                let ended = self
                    .lock()
                    .get_mut(number)
                    .map(|gateway| gateway.child.try_wait());
                if let Some(status) = ended.transpose()?.flatten() {
                    bail!(
                        "{} has ended ({status}):\n{}",
                        here.site,
                        log_tail(here.site)
                    );
                }
                let waited = start.elapsed();
                ensure!(
                    waited < PATIENCE,
                    "{} is not up:\n{}",
                    here.site,
                    log_tail(here.site)
                );
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(start.elapsed())
    }

    /// Process numbers, in the order of the hosts.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        self.lock()
            .iter()
            .map(|gateway| gateway.file.clone())
            .collect()
    }

    /// Ends both as a supervisor would, with SIGTERM, and waits for them; kills what does not
    /// end. Returns how they ended, `None` for one that had to be killed.
    pub(super) fn stop(&self) -> Vec<Option<ExitStatus>> {
        let mut gateways = self.lock();
        for gateway in gateways.iter() {
            let id = i32::try_from(gateway.child.id())
                .ok()
                .and_then(Pid::from_raw);
            // Gone already is as good.
            let _ = id.map(|id| rustix::process::kill_process(id, Signal::TERM));
        }
        let deadline = Instant::now() + PATIENCE;
        let ends = gateways
            .iter_mut()
            .map(|gateway| end_by(&mut gateway.child, deadline));
        let ends = ends.collect();
        gateways.clear();
        ends
    }

    /// Where daemons of Docker are put that are to end with the demo.
    pub(super) fn daemons(&self) -> Daemons {
        Arc::clone(&self.1)
    }

    /// Ends Docker's daemons, and all containers.
    pub(super) fn end_docker(&self) {
        self.1
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Gateway>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The last lines of a gateway's log.
pub(super) fn log_tail(site: &str) -> String {
    let log = fs::read_to_string(log_file(site)).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

fn log_file(site: &str) -> PathBuf {
    Path::new(CONFIG_DIRECTORY).join(format!("{site}.log"))
}

fn write_key(host: &Host) -> anyhow::Result<PublicKey> {
    let mut bytes = zeroize::Zeroizing::new([0; 32]);
    weapon_io::entropy::fill(&mut *bytes).context("the kernel gives no randomness")?;
    let key = PrivateKey::from_bytes(&bytes);
    let path = Path::new(CONFIG_DIRECTORY).join(format!("{}.key", host.site));
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", *key.to_base64())?;
    Ok(key.public())
}

fn write_configuration(
    (host, number): (&Host, u8),
    (other, other_number): (&Host, u8),
    other_key: PublicKey,
    filter: &str,
) -> anyhow::Result<Site> {
    let behind = match host.docker {
        Some(_) => "networks = [\"docker:bridge\"]".to_owned(),
        None => format!(
            "networks = [\"{}\"]\n\
             firewall = \"off\"  # the demo's hosts forward by themselves, and it needs no nft",
            host.network
        ),
    };
    let text = format!(
        "[gateway]\n\
         private_key_file = \"{site}.key\"\n\
         address  = [\"10.99.0.{number}/24\"]\n\
         listen   = {PORT}\n\
         {behind}\n\
         \n\
         [[peer]]\n\
         name       = \"{other_site}\"\n\
         public_key = \"{other_key}\"\n\
         endpoint   = \"{other_address}:{PORT}\"\n\
         networks   = [\"{other_network}\", \"10.99.0.{other_number}/32\"]\n{filter}",
        site = host.site,
        other_site = other.site,
        other_address = other.address,
        other_network = other.network,
    );
    let file = Path::new(CONFIG_DIRECTORY).join(format!("{}.toml", host.site));
    fs::write(&file, &text)?;
    Ok(Site { file, text })
}

/// This program, on a host.
pub(super) fn weapon(host: &Host) -> anyhow::Result<Command> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("weapon")
        .env("RUNTIME_DIRECTORY", RUNTIME_DIRECTORY);
    host.namespace.command(&mut command)?;
    Ok(command)
}

/// Starts a gateway from the calling thread, which must be one that stays: the process is tied to
/// its life.
fn spawn(host: &Host) -> anyhow::Result<Gateway> {
    let file = Path::new(CONFIG_DIRECTORY).join(format!("{}.toml", host.site));
    let log = fs::File::create(log_file(host.site))?;
    let mut command = weapon(host)?;
    command
        .args([Path::new("up"), &file, Path::new("--foreground")])
        .env("STATE_DIRECTORY", STATE_DIRECTORY)
        // A service manager around the demo is not to be told about these.
        .env_remove("NOTIFY_SOCKET")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C on the terminal is for the demo, which ends its gateways in order.
        .process_group(0);
    if let Some(socket) = &host.docker {
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    }
    let child = die_with_parent(&mut command).spawn()?;
    Ok(Gateway { file, child })
}

fn routes_to(here: &Host, there: &Host) -> anyhow::Result<bool> {
    let destination = there.network.into();
    inside(&here.namespace, async |netlink| {
        let routes = netlink.all_routes().await?;
        Ok(routes.iter().any(|route| route.destination == destination))
    })
}

fn end_by(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    while Instant::now() < deadline {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Err(_) => break,
        }
    }
    // Either works or the process is gone.
    let _ = child.kill();
    let _ = child.wait();
    None
}
