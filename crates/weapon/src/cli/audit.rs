//! Arguments of `weapon audit`.

use std::{path::PathBuf, time::Duration};

use crate::audit::entry::Kind;

/// Arguments of `weapon audit`.
#[derive(clap::Args, Debug)]
pub struct AuditArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: AuditCommand,
}

/// What to do with an audit log.
#[derive(clap::Subcommand, Debug)]
pub enum AuditCommand {
    /// Make the key of the seals before the gateway starts, and show its verification key once
    Init(InitArgs),
    /// Say whether the log is as it was written, and else name the first record that is not
    Verify(VerifyArgs),
    /// Show the records
    Show(ShowArgs),
}

/// Which log.
#[derive(clap::Args, Debug)]
pub struct LogTarget {
    /// The gateway's NAME, or the path of its FILE
    #[arg(value_name = "NAME|FILE", required_unless_present = "directory")]
    pub target: Option<String>,
    /// The folder of a log, also of one from elsewhere
    #[arg(long, value_name = "FOLDER", conflicts_with = "target")]
    pub directory: Option<PathBuf>,
}

/// Arguments of `weapon audit init`.
#[derive(clap::Args, Debug)]
pub struct InitArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogTarget,
}

/// Arguments of `weapon audit verify`.
#[derive(clap::Args, Debug)]
pub struct VerifyArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogTarget,
    /// The file with the verification key; more than one if there was more than one
    #[arg(long, value_name = "FILE")]
    pub key_file: Vec<PathBuf>,
    /// The log must go to this record at least, as you know from elsewhere
    #[arg(long, value_name = "SEQUENCE")]
    pub through: Option<u64>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `weapon audit show`.
#[derive(clap::Args, Debug)]
pub struct ShowArgs {
    /// Which log.
    #[command(flatten)]
    pub log: LogTarget,
    /// Records of this kind alone; more than one may be named
    #[arg(long, value_name = "KIND", value_parser = kind, value_delimiter = ',')]
    pub kind: Vec<String>,
    /// Records about this peer alone
    #[arg(long, value_name = "NAME")]
    pub peer: Option<String>,
    /// Records from this moment on: 90s, 15m, 2h or 7d ago, or 2027-01-15T08:00 in UTC
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Since>,
    /// Go on until interrupted
    #[arg(long, short)]
    pub follow: bool,
    /// Print the records as they are in the log: JSON, one on each line
    #[arg(long)]
    pub json: bool,
}

/// A moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// The start of a time as it stands in records.
    At(String),
}

fn kind(text: &str) -> Result<String, String> {
    if Kind::ALL.iter().any(|kind| kind.label() == text) {
        return Ok(text.to_owned());
    }
    let all = Kind::ALL.map(Kind::label).join(", ");
    Err(format!("there is no such kind; there are {all}"))
}

fn since(text: &str) -> Result<Since, String> {
    let wrong = || {
        format!("{text:?} is no time: write 90s, 15m, 2h or 7d ago, or a time as 2027-01-15T08:00")
    };
    let form = "0000-00-00T00:00:00.000000000Z";
    // The end would be greater than what stands there in records.
    let written = text.replace(' ', "T");
    let written = written.trim_end_matches('Z');
    let has_form = written.len() >= "0000-00-00".len()
        && written.len() <= form.len()
        && written
            .bytes()
            .zip(form.bytes())
            .all(|(byte, of_form)| byte == of_form || of_form == b'0' && byte.is_ascii_digit());
    if has_form {
        return Ok(Since::At(written.to_owned()));
    }
    let unit = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)];
    let unit = unit
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (count, seconds) = unit.ok_or_else(wrong)?;
    let count: u64 = count.parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(*seconds).ok_or_else(wrong)?;
    Ok(Since::Ago(Duration::from_secs(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ages_or_times() {
        let ago = |seconds| Ok(Since::Ago(Duration::from_secs(seconds)));
        assert_eq!(since("90s"), ago(90));
        assert_eq!(since("7d"), ago(604_800));
        let at = |text: &str| Ok(Since::At(text.to_owned()));
        assert_eq!(since("2027-01-15"), at("2027-01-15"));
        assert_eq!(since("2027-01-15 08:00"), at("2027-01-15T08:00"));
        assert_eq!(since("2027-01-15T08:00:00Z"), at("2027-01-15T08:00:00"));
        for bad in [
            "",
            "s",
            "1",
            "-1s",
            "1w",
            "2027",
            "2027-1-15",
            "99999999999999999999d",
        ] {
            assert!(since(bad).is_err(), "{bad:?}");
        }
        assert!(kind("roam").is_ok() && kind("Roam").is_err());
    }
}
