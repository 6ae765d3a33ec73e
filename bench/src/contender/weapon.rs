//! The release binary of this workspace, as users start it: `weapon up FILE --foreground`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::write_secret;
use crate::lab::{Lab, OVERLAY_MTU, Process, Side, output};

/// Starts both ends.
pub(super) fn start(lab: &Lab, program: &Path) -> Result<Vec<Process>> {
    let keys = [key_pair(program)?, key_pair(program)?];
    let mut processes = Vec::new();
    for (side, (private, _), (_, public)) in
        [(Side::A, &keys[0], &keys[1]), (Side::B, &keys[1], &keys[0])]
    {
        let folder = folder(lab, side);
        std::fs::create_dir_all(&folder)?;
        write_secret(&folder.join("site.key"), private)?;
        let file = folder.join("site.toml");
        std::fs::write(&file, configuration(side, public))?;
        let mut command = lab.command(side, program);
        command.arg("up").arg(&file).arg("--foreground");
        command
            .env("RUNTIME_DIRECTORY", &folder)
            .env("STATE_DIRECTORY", &folder);
        let log = std::fs::File::create(folder.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        processes.push(lab.start(&mut command)?);
    }
    Ok(processes)
}

/// What an end has said, for when it does not work.
pub(super) fn words(lab: &Lab) -> String {
    let of =
        |side: Side| std::fs::read_to_string(folder(lab, side).join("log")).unwrap_or_default();
    Side::BOTH.map(of).concat()
}

fn folder(lab: &Lab, side: Side) -> PathBuf {
    lab.folder().join(format!("weapon-{}", side.letter()))
}

/// The file of one end, with the project's own defaults wherever the comparison allows it.
fn configuration(side: Side, public_key: &str) -> String {
    let (letter, other) = (side.letter(), side.other());
    format!(
        "[gateway]\n\
         interface = \"wbench-{letter}\"\n\
         private_key_file = \"site.key\"\n\
         address = [\"{}/24\"]\n\
         listen = 51820\n\
         mtu = {OVERLAY_MTU}\n\
         \n\
         [[peer]]\n\
         name = \"other\"\n\
         public_key = \"{public_key}\"\n\
         endpoint = \"{}:51820\"\n\
         networks = [\"{}/32\"]\n",
        side.overlay(),
        other.underlay(),
        other.overlay(),
    )
}

fn key_pair(program: &Path) -> Result<(String, String)> {
    let private = output(Command::new(program).arg("genkey"))?;
    let mut child = Command::new(program)
        .arg("pubkey")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no standard input")?
        .write_all(private.as_bytes())?;
    let result = child.wait_with_output()?;
    ensure!(result.status.success(), "weapon pubkey failed");
    Ok((private, String::from_utf8(result.stdout)?.trim().to_owned()))
}
