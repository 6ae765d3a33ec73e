//! `weapon genkey`, `pubkey`, `genpsk`: byte for byte what `wg` prints.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::{Context, bail};
use rustix::fs::{FileType, Mode, fchmod, fstat};
use rustix::rand::{GetRandomFlags, getrandom};
use weapon_noise::{PresharedKey, PrivateKey};
use zeroize::Zeroizing;

use super::terminal;

/// More than a key and any white space around it.
const INPUT_BYTES_MAX: u64 = 4096;

/// Prints a new private key.
pub fn genkey() -> anyhow::Result<ExitCode> {
    let key = PrivateKey::from_bytes(&*random()?);
    print_secret(&key.to_base64())
}

/// Prints a new preshared key.
pub fn genpsk() -> anyhow::Result<ExitCode> {
    let key = PresharedKey::from_bytes(&*random()?);
    print_secret(&key.to_base64())
}

/// Prints the public key of the private key on standard input.
pub fn pubkey() -> anyhow::Result<ExitCode> {
    let mut input = Zeroizing::new(Vec::with_capacity(INPUT_BYTES_MAX as usize + 1));
    io::stdin()
        .take(INPUT_BYTES_MAX + 1)
        .read_to_end(&mut input)
        .context("cannot read the private key from standard input")?;
    let Ok(text) = str::from_utf8(&input) else {
        bail!("standard input is not a private key; `weapon genkey` prints one");
    };
    let key: PrivateKey = text
        .trim_ascii()
        .parse()
        .context("standard input is not a private key (`weapon genkey` prints one)")?;
    terminal::print(&key.public().to_string())?;
    Ok(ExitCode::SUCCESS)
}

/// 32 bytes of the kernel's generator; waits, early after boot, until it is seeded.
fn random() -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0; 32]);
    let mut filled = 0;
    while filled < bytes.len() {
        match getrandom(&mut bytes[filled..], GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("the kernel gives no randomness"),
        }
    }
    Ok(bytes)
}

fn print_secret(key: &str) -> anyhow::Result<ExitCode> {
    close_to_others(io::stdout());
    terminal::print(key)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the file that the shell made for `weapon genkey > FILE` from group and others before the
/// key is in it, whatever the umask: `up` refuses a key that others can read.
fn close_to_others(out: impl AsFd) {
    let Ok(stat) = fstat(&out) else { return };
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return;
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if !mode.intersects(Mode::RWXG | Mode::RWXO) {
        return;
    }
    if let Err(error) = fchmod(&out, mode & Mode::RWXU) {
        terminal::print_error(&format!(
            "weapon: warning: the file stays open to others than its owner: {error}"
        ));
    }
}
