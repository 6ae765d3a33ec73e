//! Files that hold one key or secret: readable by their owner alone, or refused.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::str::FromStr;

use weapon_noise::KeyError;
use zeroize::Zeroizing;

use super::problem::{Located, Problems};
use super::value;

/// More than any key with any decoration; a bigger file is another file.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// The mode bits that let group and others at a file.
const OTHERS: u32 = 0o077;

/// Reads the key in `file`, which is relative to the configuration file's folder. `maker` is the
/// command that prints such a key.
pub fn read<K: FromStr<Err = KeyError>>(
    file: &Located<String>,
    maker: &str,
    problems: &mut Problems,
) -> Option<K> {
    let folder = problems.file().parent().unwrap_or(Path::new(""));
    let path = folder.join(&file.value);
    match read_path(&path, maker) {
        Ok(key) => Some(key),
        Err(message) => {
            problems.error(&file.place, message);
            None
        }
    }
}

fn read_path<K: FromStr<Err = KeyError>>(path: &Path, maker: &str) -> Result<K, String> {
    let shown = shell_word(path);
    if path.as_os_str().is_empty() {
        return Err("no file is named".to_owned());
    }
    let file = open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{shown} does not exist; make it with `(umask 077; {maker} > {shown})`")
        }
        _ => format!("{shown} cannot be opened: {error}"),
    })?;
    let metadata = file
        .metadata()
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err(format!(
            "{shown} is not a regular file; a file that holds one key is expected"
        ));
    }
    if metadata.mode() & OTHERS != 0 {
        return Err(format!(
            "{shown} is open to others than its owner (mode {:04o}); run `chmod 600 {shown}`",
            metadata.mode() & 0o7777
        ));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX as usize + 1));
    file.take(KEY_FILE_BYTES_MAX + 1)
        .read_to_end(&mut text)
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    let text = str::from_utf8(&text)
        .map_err(|_| format!("{shown} is not text; it should hold one key, from `{maker}`"))?;
    value::key(text.trim_ascii(), maker).map_err(|message| format!("{shown}: {message}"))
}

/// Opens without waiting: a FIFO with no writer must not stop us.
fn open(path: &Path) -> io::Result<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new()
        .read(true)
        .custom_flags(nonblock)
        .open(path)
}

/// Whether `metadata` is of a file that others than its owner can read, and its mode.
pub fn mode_if_open_to_others(file: &File) -> Option<u32> {
    let mode = file.metadata().ok()?.mode() & 0o7777;
    (mode & OTHERS != 0).then_some(mode)
}

/// A path as a word of a shell's command line.
pub fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=@%:,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text;
    }
    format!(
        "'{}'",
        text.escape_debug().to_string().replace('\'', r"'\''")
    )
}
