//! Files that hold one key or secret: readable by their owner alone, or refused.
//!
//! Under systemd the gateway is no root and may not read them itself: the unit's `LoadCredential=`
//! has them in a folder for this one service, under the names that they have in `/etc/weapon`. So
//! the same configuration works there and by hand.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use weapon_noise::KeyError;
use zeroize::Zeroizing;

use super::problem::{Located, Problems};
use super::value;

/// More than any key with any decoration; a bigger file is another file.
const KEY_FILE_BYTES_MAX: u64 = 4096;
/// The mode bits that let group and others at a file.
const OTHERS: u32 = 0o077;

/// Where the service manager has put secrets for us.
#[derive(Clone, Debug)]
pub struct Credentials(Option<PathBuf>);

impl Credentials {
    /// As `CREDENTIALS_DIRECTORY` says.
    pub fn of_environment() -> Self {
        let folder = env::var_os("CREDENTIALS_DIRECTORY").filter(|folder| !folder.is_empty());
        Self(folder.map(PathBuf::from))
    }

    /// The secrets in this folder.
    #[cfg(test)]
    pub fn in_folder(folder: &Path) -> Self {
        Self(Some(folder.to_owned()))
    }

    /// The secret that was loaded in place of a file of this name in the configuration's folder.
    /// An empty one stands for a file that was not there.
    fn find(&self, file: &str) -> Option<PathBuf> {
        let folder = self.0.as_ref()?;
        let mut parts = Path::new(file).components();
        let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
            return None;
        };
        let path = folder.join(name);
        let is_filled = path.metadata().is_ok_and(|it| it.len() > "\n".len() as u64);
        is_filled.then_some(path)
    }

    /// What to do about a file that can't be had, if there is something.
    fn advice(&self, path: &Path) -> String {
        let name = path.file_name().unwrap_or_default();
        let (name, path) = (shell_word(Path::new(name)), shell_word(path));
        match &self.0 {
            Some(_) => format!(
                "; nor has the service manager loaded it: with systemd, the unit is to say \
                 LoadCredential={name}:{path} (for NAME.key and NAME.secret it does)"
            ),
            None => String::new(),
        }
    }
}

/// Reads the key in `file`, which is relative to the configuration file's folder, or was loaded by
/// the service manager. `maker` is the command that prints such a key.
pub fn read<K: FromStr<Err = KeyError>>(
    file: &Located<String>,
    maker: &str,
    problems: &mut Problems,
) -> Option<K> {
    let folder = problems.file().parent().unwrap_or(Path::new(""));
    let path = folder.join(&file.value);
    match read_here_or_there(&file.value, &path, maker, &Credentials::of_environment()) {
        Ok(key) => Some(key),
        Err(message) => {
            problems.error(&file.place, message);
            None
        }
    }
}

/// A secret that was loaded for us is in a folder that nobody else can read; its own mode says
/// nothing, as an access list shows there as the group's rights.
pub fn read_here_or_there<K: FromStr<Err = KeyError>>(
    name: &str,
    path: &Path,
    maker: &str,
    credentials: &Credentials,
) -> Result<K, String> {
    match credentials.find(name) {
        Some(loaded) => read_path(&loaded, maker, 0, credentials),
        None => read_path(path, maker, OTHERS, credentials),
    }
}

fn read_path<K: FromStr<Err = KeyError>>(
    path: &Path,
    maker: &str,
    closed_to: u32,
    credentials: &Credentials,
) -> Result<K, String> {
    let shown = shell_word(path);
    if path.as_os_str().is_empty() {
        return Err("no file is named".to_owned());
    }
    let file = open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            format!("{shown} does not exist; make it with `(umask 077; {maker} > {shown})`")
        }
        _ => {
            let advice = credentials.advice(path);
            format!("{shown} cannot be opened: {error}{advice}")
        }
    })?;
    let metadata = file
        .metadata()
        .map_err(|error| format!("{shown} cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err(format!(
            "{shown} is not a regular file; a file that holds one key is expected"
        ));
    }
    if metadata.mode() & closed_to != 0 {
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use weapon_noise::PresharedKey;

    use super::*;

    const HERE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const LOADED: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    /// A folder with the configuration's `site-a.key`, and one with what was loaded.
    fn folders(loaded: &str) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().unwrap();
        let credentials = folder.path().join("credentials");
        fs::create_dir(&credentials).unwrap();
        fs::write(credentials.join("site-a.key"), loaded).unwrap();
        // As systemd has it there: for one more user, by an access list.
        let mode = Permissions::from_mode(0o440);
        fs::set_permissions(credentials.join("site-a.key"), mode).unwrap();
        fs::write(folder.path().join("site-a.key"), HERE).unwrap();
        let mode = Permissions::from_mode(0o600);
        fs::set_permissions(folder.path().join("site-a.key"), mode).unwrap();
        (folder, Credentials::in_folder(&credentials))
    }

    fn key(name: &str, folder: &Path, credentials: &Credentials) -> Result<String, String> {
        let path = folder.join(name);
        let key = read_here_or_there::<PresharedKey>(name, &path, "weapon genpsk", credentials);
        key.map(|key| key.to_base64().as_str().to_owned())
    }

    #[test]
    fn what_was_loaded_is_read_in_place_of_the_file_of_its_name() {
        let (folder, credentials) = folders(LOADED);
        let read = |name: &str| key(name, folder.path(), &credentials);
        assert_eq!(read("site-a.key"), Ok(LOADED.to_owned()));
        // With a folder it is another file.
        assert_eq!(read("./../site-a.key").ok(), None);
        let whole = folder.path().join("site-a.key");
        let whole = whole.to_str().unwrap();
        assert_eq!(read(whole), Ok(HERE.to_owned()));
        let nothing = Credentials(None);
        assert_eq!(
            key("site-a.key", folder.path(), &nothing),
            Ok(HERE.to_owned())
        );
    }

    #[test]
    fn an_empty_one_stands_for_a_file_that_was_not_there() {
        let (folder, credentials) = folders("\n");
        let read = |name: &str| key(name, folder.path(), &credentials);
        assert_eq!(read("site-a.key"), Ok(HERE.to_owned()));
        let missing = read("none.key").unwrap_err();
        assert!(missing.contains("none.key does not exist"), "{missing}");
    }

    #[test]
    fn a_file_that_may_not_be_opened_comes_with_advice() {
        let (folder, credentials) = folders("\n");
        // What not even root can open.
        let loop_to_itself = folder.path().join("psk");
        std::os::unix::fs::symlink(&loop_to_itself, &loop_to_itself).unwrap();
        let said = key("psk", folder.path(), &credentials).unwrap_err();
        let advice = format!("LoadCredential=psk:{}", loop_to_itself.display());
        assert!(said.contains("cannot be opened"), "{said}");
        assert!(said.contains(&advice), "{said}");
        let said = key("psk", folder.path(), &Credentials(None)).unwrap_err();
        assert!(!said.contains("LoadCredential"), "{said}");
    }
}
