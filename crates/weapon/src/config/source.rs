//! From what stands on the command line, a gateway's name or a file, to the file's text.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::draft::Draft;
use super::model::Format;
use super::problem::{Place, Problem, Problems};
use super::{keyfile, toml, value};

/// More than any gateway's file; a bigger file is another file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The file that `target` means: itself if it looks like a path, else the gateway's file in
/// `/etc/weapon` (`$CONFIGURATION_DIRECTORY`, if set).
///
/// # Errors
/// There is no file for that name.
pub fn locate(target: &str) -> Result<PathBuf, Problem> {
    if is_path(target) {
        return Ok(PathBuf::from(target));
    }
    let folder = folder();
    if let Err(message) = value::name(target) {
        return Err(Problem::of_file(Path::new(target), message));
    }
    let candidates = [format!("{target}.toml"), format!("{target}.conf")];
    let found = candidates
        .iter()
        .map(|file| folder.join(file))
        .find(|path| path.exists());
    if let Some(path) = found {
        return Ok(path);
    }
    if Path::new(target).is_file() {
        return Ok(PathBuf::from(target));
    }
    let message = format!(
        "no gateway of this name; neither {target}.toml nor {target}.conf is in {}",
        folder.display()
    );
    Err(Problem::of_file(Path::new(target), message))
}

/// The name of the gateway that `target` means. It works with a file that is broken or gone
/// since, so that what runs can always be stopped.
///
/// # Errors
/// `target` cannot be the name of a gateway.
pub fn gateway_name(target: &str) -> Result<String, Problem> {
    let path = if is_path(target) {
        Some(PathBuf::from(target))
    } else {
        locate(target).ok()
    };
    let written = path.as_deref().and_then(written_name);
    let stem = || {
        let path = path.as_deref().unwrap_or(Path::new(target));
        let stem = if is_path(target) {
            path.file_stem()
        } else {
            Some(target.as_ref())
        };
        stem.unwrap_or_default().to_string_lossy().into_owned()
    };
    let name = written.unwrap_or_else(stem);
    match value::name(&name) {
        Ok(()) => Ok(name),
        Err(message) => Err(Problem::of_file(Path::new(target), message)),
    }
}

/// The `name` written in a TOML file, if it can be read.
fn written_name(path: &Path) -> Option<String> {
    if format(path).ok()? != Format::Toml {
        return None;
    }
    let text = read(path).ok()?;
    toml::parse(&text.text, &mut Problems::new(path))
        .gateway
        .name
        .map(|name| name.value)
}

fn is_path(target: &str) -> bool {
    target.contains('/') || target.ends_with(".toml") || target.ends_with(".conf")
}

fn folder() -> PathBuf {
    // systemd sets it; a list when a unit names several.
    let list = env::var("CONFIGURATION_DIRECTORY").unwrap_or_default();
    let first = list.split(':').next().unwrap_or_default();
    PathBuf::from(if first.is_empty() {
        "/etc/weapon"
    } else {
        first
    })
}

/// The format of the file, from its extension.
pub fn format(path: &Path) -> Result<Format, Problem> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Ok(Format::Toml),
        Some("conf") => Ok(Format::WgQuick),
        _ => Err(Problem::of_file(
            path,
            "the format is told by the extension: .toml, or .conf for a wg-quick file",
        )),
    }
}

/// A configuration file's text, which may hold keys.
pub struct Text {
    pub text: Zeroizing<String>,
    /// The file's mode, if others than its owner can get at it.
    mode_open: Option<u32>,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Text, Problem> {
    let fail = |error: &io::Error| {
        let message = match error.kind() {
            io::ErrorKind::NotFound => "the file does not exist".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        Problem::of_file(path, message)
    };
    let file = File::open(path).map_err(|error| fail(&error))?;
    let mode_open = keyfile::mode_if_open_to_others(&file);
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fail(&error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let message = format!("the file has more than {} MB", FILE_BYTES_MAX >> 20);
        return Err(Problem::of_file(path, message));
    }
    match str::from_utf8(&bytes) {
        Ok(text) => Ok(Text {
            text: Zeroizing::new(text.to_owned()),
            mode_open,
        }),
        Err(error) => {
            let line = bytes
                .iter()
                .take(error.valid_up_to())
                .filter(|b| **b == b'\n')
                .count()
                + 1;
            let message = "not text: a byte that is not UTF-8 stands in this line";
            Err(Problem {
                line,
                ..Problem::of_file(path, message)
            })
        }
    }
}

/// Warns when the file holds keys and others than its owner can read it.
pub fn warn_if_open(text: &Text, draft: &Draft, problems: &mut Problems) {
    let Some(mode) = text.mode_open else { return };
    let ours = draft.gateway.private_key.as_ref();
    let of_peers = draft
        .peers
        .iter()
        .filter_map(|peer| peer.preshared_key.as_ref());
    let Some(key) = ours.into_iter().chain(of_peers).next() else {
        return;
    };
    let message = format!(
        "the key stands in a file that is open to others than its owner (mode {mode:04o}); run \
         `chmod 600 {}`",
        keyfile::shell_word(problems.file())
    );
    let place: Place = key.place.clone();
    problems.warning(&place, message);
}
