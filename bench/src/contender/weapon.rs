//! The release binary of this workspace, as users start it: `weapon up FILE --foreground`.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use super::end::{End, PORT};
use super::{log_of, write_secret};
use crate::lab::{Lab, OVERLAY_MTU, Process, Side};

/// The line of a file that takes the library's cipher instead of ours.
pub(super) const LIBRARY_LINE: &str = "cipher_backend = \"library\"";

/// The line of a file that puts no walls around what carries packets.
pub(super) const OPEN_LINE: &str = "sandbox = \"off\"";

/// The line of a file that has something behind the gateway, so that forwarding is on and the
/// firewall's rules are in place: a prefix for documentation, another for each end.
pub(super) fn rules_line(side: Side) -> String {
    let prefix = match side {
        Side::A => "198.51.100.0/24",
        Side::B => "203.0.113.0/24",
    };
    format!("networks = [\"{prefix}\"]")
}

/// Rules of a file with a filter. The last one lets pass what is measured.
const RULES: usize = 100;
pub(super) const FILTER_WORDS: &str =
    "[filter] default = \"deny\", and 100 rules; [audit] flows = true";

/// A filter as somebody has it who means it: hosts and ports by the dozen, and the last rule is the
/// one that counts. What it does is recorded.
pub(super) fn filter_sections() -> String {
    let mut text = "[audit]\nflows = true\n[filter]\ndefault = \"deny\"\n".to_owned();
    for number in 1..RULES {
        let protocol = if number % 2 == 0 { "tcp" } else { "udp" };
        let action = if number % 3 == 0 { "deny" } else { "allow" };
        let _infallible = write!(
            text,
            "[[rule]]\naction = \"{action}\"\nfrom = \"10.{number}.0.0/16\"\n\
             to = [\"10.99.0.{number}\", \"198.51.100.{number}\"]\n\
             protocol = \"{protocol}\"\nports = [{number}, \"{}-{}\"]\n",
            1000 + number,
            1100 + number,
        );
    }
    text.push_str("[[rule]]\nname = \"all\"\naction = \"allow\"\n");
    text
}

/// Starts one end; `setting` is a line of its file's `[gateway]` beyond what the comparison needs.
pub(super) fn start(lab: &Lab, program: &Path, end: &End, setting: &str) -> Result<Process> {
    let folder = lab.folder().join(format!("weapon-{}", end.side.letter()));
    std::fs::create_dir_all(&folder)?;
    write_secret(&folder.join("site.key"), &end.private_key.to_base64())?;
    let file = folder.join("site.toml");
    std::fs::write(&file, configuration(end, setting))?;
    let mut command = lab.command(end.side, program);
    command.arg("up").arg(&file).arg("--foreground");
    command
        .env("RUNTIME_DIRECTORY", &folder)
        .env("STATE_DIRECTORY", &folder)
        .env("LOGS_DIRECTORY", folder.join("log"));
    let log = log_of(lab, end.side)?;
    command.stdout(log.try_clone()?).stderr(log);
    lab.start(&mut command)
}

/// The file of one end, with the project's own defaults wherever the comparison allows it.
fn configuration(end: &End, setting: &str) -> String {
    let mut text = format!(
        "[gateway]\n\
         interface = \"wbench-{}\"\n\
         private_key_file = \"site.key\"\n\
         address = {:?}\n\
         listen = {PORT}\n\
         mtu = {OVERLAY_MTU}\n\
         table = \"off\"\n\
         {setting}\n",
        end.side.letter(),
        end.addresses(),
    );
    for (number, peer) in end.peers.iter().enumerate() {
        let _infallible = write!(
            text,
            "\n[[peer]]\nname = \"peer-{number}\"\npublic_key = \"{}\"\nnetworks = {:?}\n",
            peer.public_key, peer.networks
        );
        if let Some(endpoint) = &peer.endpoint {
            let _infallible = writeln!(text, "endpoint = \"{endpoint}\"");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_other_end() {
        let [end, other] = End::pair().unwrap();
        let text = configuration(&end, "");
        assert!(text.contains("address = [\"10.99.0.1/24\", \"fd00:99::1/64\"]\n"));
        assert!(text.contains("networks = [\"10.99.0.2/32\", \"fd00:99::2/128\"]\n"));
        assert!(text.contains("endpoint = \"192.0.2.2:51820\"\n"));
        assert!(text.contains(&other.private_key.public().to_string()));
    }
    #[test]
    fn a_setting_belongs_to_the_gateway() {
        let [end, _] = End::pair().unwrap();
        let text = configuration(&end, LIBRARY_LINE);
        let (gateway, _) = text.split_once("[[peer]]").unwrap();
        let lines = gateway.lines().filter(|line| *line == LIBRARY_LINE);
        assert_eq!(lines.count(), 1, "{gateway}");
    }
}
