//! Keys that are written for others: `danger_export_keys` of `[gateway]`.

use std::path::{Path, PathBuf};

use super::{draft::GatewayDraft, problem::Problems, value};

/// A place where the file could be.
const EXAMPLE: &str = "/root/weapon-keys/site-a.keys";

/// Where keys are to be written. That is said each time, for it is never meant to stay so.
pub fn keys(gateway: &GatewayDraft, problems: &mut Problems) -> Option<PathBuf> {
    let written = gateway.danger_export_keys.as_ref()?;
    let path = value::absolute_path(&written.value, Path::new(EXAMPLE));
    let path = path
        .and_then(|path| match path.file_name() {
            Some(_) => Ok(path),
            None => Err(format!("this is no file; write one, such as {EXAMPLE}")),
        })
        .map_err(|message| problems.error(&written.place, message))
        .ok()?;
    let message = format!(
        "the private key and the keys of all sessions are written to {}: whoever gets that file \
         can read recorded traffic and pass for this gateway. Take this line out, and remove the \
         file, as soon as you have seen what you were looking for",
        path.display()
    );
    problems.warning(&written.place, message);
    Some(path)
}
