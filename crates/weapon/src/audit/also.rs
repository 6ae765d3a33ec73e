//! Copies of records for journald and syslog, as they are written: a witness that is elsewhere.
//! They are sent without waiting; that one is not taken harms nothing.

use std::{io, os::unix::net::UnixDatagram, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{entry::Kind, moment::Moment};

const JOURNAL: &str = "/run/systemd/journal/socket";
const SYSLOG: &str = "/dev/log";

/// Severities, as both have them (RFC 5424, 6.2.1).
const WARNING: u8 = 4;
const NOTICE: u8 = 5;

/// The facility `authpriv`: what concerns security and is not for everybody (RFC 5424, 6.2.1).
const AUTHPRIV: u8 = 10;

/// Where copies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Copies {
    /// To journald, with its fields.
    Journald,
    /// To syslog, as RFC 5424 has it.
    Syslog,
}

/// The sockets of those that are wanted.
#[derive(Debug, Default)]
pub struct Also(Vec<Sink>);

#[derive(Debug)]
struct Sink {
    to: Copies,
    path: String,
    socket: Option<UnixDatagram>,
    /// Copies that were not taken since the last that was.
    refused: u64,
}

impl Also {
    /// Those that are wanted, at their usual places.
    pub fn new(wanted: &[Copies]) -> Self {
        let path = |to| match to {
            Copies::Journald => JOURNAL,
            Copies::Syslog => SYSLOG,
        };
        Self::at(wanted.iter().map(|&to| (to, path(to))))
    }

    fn at<'a>(wanted: impl Iterator<Item = (Copies, &'a str)>) -> Self {
        let sinks = wanted.map(|(to, path)| Sink {
            to,
            path: path.to_owned(),
            socket: None,
            refused: 0,
        });
        Self(sinks.collect())
    }

    /// Sends a record, of which `line` is the line in the log without its end.
    pub fn send(
        &mut self,
        gateway: &str,
        at: Moment,
        kind: Kind,
        fields: &Map<String, Value>,
        line: &str,
    ) {
        for sink in &mut self.0 {
            let bytes = match sink.to {
                Copies::Journald => journal(gateway, kind, fields, line),
                Copies::Syslog => syslog(gateway, at, kind, line).into_bytes(),
            };
            sink.send(&bytes);
        }
    }
}

impl Sink {
    fn send(&mut self, bytes: &[u8]) {
        // Who listens may have been started anew.
        let sent = self.try_send(bytes).or_else(|_| {
            self.socket = None;
            self.try_send(bytes)
        });
        match sent {
            Ok(()) => self.refused = 0,
            Err(error) => {
                if self.refused == 0 {
                    let path = &self.path;
                    tracing::warn!(path, %error, "copies of the audit log are not taken");
                }
                self.refused += 1;
            }
        }
    }

    fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.socket.is_none() {
            let socket = UnixDatagram::unbound()?;
            socket.connect(Path::new(&self.path))?;
            socket.set_nonblocking(true)?;
            self.socket = Some(socket);
        }
        let socket = self.socket.as_ref();
        socket.map_or(Ok(0), |socket| socket.send(bytes)).map(drop)
    }
}

fn severity(kind: Kind) -> u8 {
    if kind.is_alarm() { WARNING } else { NOTICE }
}

/// What journald takes: a field on each line. No value has an end of line in it.
fn journal(gateway: &str, kind: Kind, fields: &Map<String, Value>, line: &str) -> Vec<u8> {
    let mut text = format!(
        "MESSAGE={gateway}: audit: {line}\nPRIORITY={}\nSYSLOG_FACILITY={AUTHPRIV}\n\
         SYSLOG_IDENTIFIER=weapon\nWEAPON_GATEWAY={gateway}\nWEAPON_AUDIT_KIND={}\n",
        severity(kind),
        kind.label(),
    );
    for (name, value) in fields {
        let value = match value {
            Value::String(text) if !text.contains(char::is_control) => text.clone(),
            other => other.to_string(),
        };
        let name = name.to_ascii_uppercase();
        text.push_str(&format!("WEAPON_AUDIT_{name}={value}\n"));
    }
    text.into_bytes()
}

/// RFC 5424, section 6. The name of the host is left to who takes it.
fn syslog(gateway: &str, at: Moment, kind: Kind, line: &str) -> String {
    let priority = AUTHPRIV * 8 + severity(kind);
    // No more than microseconds are allowed there.
    let time = at.text();
    let time = time.get(..26).unwrap_or_default();
    let (process, label) = (std::process::id(), kind.label());
    format!("<{priority}>1 {time}Z - weapon {process} {label} - {gateway}: audit: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_have_the_form_that_is_asked_for() {
        let home = tempfile::tempdir().unwrap();
        let paths = ["journal", "syslog"].map(|name| home.path().join(name));
        let sockets = paths.clone().map(|path| UnixDatagram::bind(path).unwrap());
        let wanted = [Copies::Journald, Copies::Syslog];
        let places = wanted
            .into_iter()
            .zip(paths.iter().map(|it| it.to_str().unwrap()));
        let mut also = Also::at(places);
        let fields = Map::from_iter([
            ("peer".to_owned(), "site\n-b".into()),
            ("count".to_owned(), 3.into()),
        ]);
        let moment = Moment {
            seconds: 1_800_000_000,
            nanos: 123_456_789,
            boot_us: 0,
        };
        also.send("site-a", moment, Kind::Roam, &fields, "{}");
        let texts = sockets.map(|socket| {
            let mut buffer = [0; 4096];
            let len = socket.recv(&mut buffer).unwrap();
            String::from_utf8(buffer[..len].to_vec()).unwrap()
        });
        assert_eq!(
            texts[0],
            "MESSAGE=site-a: audit: {}\nPRIORITY=5\nSYSLOG_FACILITY=10\n\
             SYSLOG_IDENTIFIER=weapon\nWEAPON_GATEWAY=site-a\nWEAPON_AUDIT_KIND=roam\n\
             WEAPON_AUDIT_COUNT=3\nWEAPON_AUDIT_PEER=\"site\\n-b\"\n"
        );
        assert_eq!(
            texts[1],
            format!(
                "<85>1 2027-01-15T08:00:00.123456Z - weapon {} roam - site-a: audit: {{}}",
                std::process::id()
            )
        );
    }

    #[test]
    fn who_is_started_anew_gets_more() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("journal");
        let mut also = Also::at([(Copies::Syslog, path.to_str().unwrap())].into_iter());
        let mut send = || {
            let at = Moment::default();
            also.send("a", at, Kind::Start, &Map::new(), "{}");
            also.0[0].refused
        };
        assert_eq!((send(), send()), (1, 2));
        let socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send(), 0);
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        let _socket = UnixDatagram::bind(&path).unwrap();
        assert_eq!(send(), 0);
    }
}
