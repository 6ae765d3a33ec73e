//! Checks of one peer: its name, the way to it, the handshake with it.

use std::net::SocketAddr;

use super::check::Check;
use crate::{
    interface::OVERHEAD,
    report::{self, Loss, Rejected},
    status::amounts::{milliseconds, plural},
    warnings::LOSS_MESSAGES_MIN,
};

/// As [`OVERHEAD`], over IPv4, whose header is 20 bytes shorter.
const OVERHEAD_V4: u32 = OVERHEAD - 20;

/// Missing messages in a thousand from which on a loss is more than chance on a good line.
const LOSS_PERMILLE_MAX: u64 = 10;

/// Seconds after which somebody who was rejected has given up: an initiation is repeated for 90 s.
const REJECTED_SECONDS_MAX: u64 = 600;

/// A peer, and what was found out about the way to it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// What the running gateway says of it.
    pub report: Option<report::Peer>,
    /// Its endpoint as the file has it.
    pub written: Option<String>,
    /// What its name resolves to, or why it does not; `None` if it is an address.
    pub resolved: Option<Result<Vec<SocketAddr>, String>>,
    /// Where it is, as far as anybody knows.
    pub address: Option<SocketAddr>,
    /// The way there.
    pub way: Option<Way>,
    /// What came back from its port.
    pub probe: Option<Probe>,
    /// Its key among the initiations that were not answered.
    pub rejected: Vec<Rejected>,
}

/// How the kernel would send to a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It would not, and why.
    None(String),
    /// Through this interface.
    Through {
        /// Its name.
        interface: String,
        /// Whether that is the gateway's own.
        is_ours: bool,
        /// Bytes of the largest datagram, with its IP header, that goes through.
        mtu: u32,
        /// Whether path MTU discovery or a route has said so, or it is the interface's.
        is_learned: bool,
    },
}

/// What became of a byte sent to the peer's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Nothing came back, which is what a gateway does with it.
    Silence,
    /// Its host said that nobody listens there.
    Closed,
    /// Somebody said that the host cannot be reached.
    Unreachable,
    /// This machine did not let it out.
    NotSent,
}

impl Peer {
    /// The endpoint's name.
    pub fn endpoint(&self) -> Check {
        const NAME: &str = "endpoint";
        let written = self.written.as_deref().unwrap_or_default();
        let check = match (&self.resolved, self.address) {
            (Some(Err(error)), known) => {
                let says = format!("{written} does not resolve: {error}");
                let remedy = "correct the name, or this machine's DNS (/etc/resolv.conf); an \
                              address in its place works without";
                match known {
                    // It worked before, or the peer came to us.
                    Some(address) => Check::warning(
                        NAME,
                        format!("{says}; the peer is at {address} at present"),
                        remedy,
                    ),
                    None => Check::bad(NAME, says, remedy),
                }
            }
            (Some(Ok(found)), known) => match known {
                Some(address) if !found.contains(&address) => Check::warning(
                    NAME,
                    format!("{written} is {}, and the peer is at {address}", list(found)),
                    "nothing, if the peer has moved; else correct the name's record",
                ),
                _ => Check::good(NAME, format!("{written} is {}", list(found))),
            },
            (None, Some(address)) => Check::good(NAME, format!("the peer is at {address}")),
            (None, None) => Check::not_applicable(
                NAME,
                "the peer has no endpoint here: it must come to us, which it has not so far",
            ),
        };
        check.about(&self.name)
    }

    /// The route to the endpoint.
    pub fn way(&self) -> Check {
        const NAME: &str = "path";
        let (Some(way), Some(address)) = (&self.way, self.address) else {
            let says = "the peer's address is not known";
            return Check::not_applicable(NAME, says).about(&self.name);
        };
        let ip = address.ip();
        let check = match way {
            Way::None(error) => Check::bad(
                NAME,
                format!("there is no route to {ip}: {error}"),
                format!("`ip route get {ip}`; give this machine a route to it"),
            ),
            Way::Through {
                interface,
                is_ours: true,
                ..
            } => Check::bad(
                NAME,
                format!("the route to {ip} leads into the tunnel itself ({interface})"),
                format!("give {ip} a route of its own outside, or the peer smaller networks"),
            ),
            Way::Through { interface, .. } => {
                Check::good(NAME, format!("{ip} is reached through {interface}"))
            }
        };
        check.about(&self.name)
    }

    /// Whether what fits into the tunnel fits through the way to the peer.
    pub fn mtu(&self, mtu: Option<u32>) -> Check {
        const NAME: &str = "mtu";
        let (Some(ours), Some(address), Some(way)) = (mtu, self.address, &self.way) else {
            let says = "the tunnel or the way to the peer is not there";
            return Check::not_applicable(NAME, says).about(&self.name);
        };
        let Way::Through {
            is_ours: false,
            mtu,
            is_learned,
            interface,
        } = way
        else {
            return Check::not_applicable(NAME, "there is no way to the peer").about(&self.name);
        };
        let overhead = match address {
            SocketAddr::V4(_) => OVERHEAD_V4,
            SocketAddr::V6(_) => OVERHEAD,
        };
        let fits = mtu.saturating_sub(overhead);
        let check = if fits >= ours {
            let says = format!("{ours} in the tunnel fits into {mtu} on the way");
            Check::good(NAME, says)
        } else {
            let by = if *is_learned {
                "the way to the peer".to_owned()
            } else {
                interface.clone()
            };
            Check::warning(
                NAME,
                format!(
                    "the tunnel's MTU is {ours}, and {by} carries {mtu}, which is {fits} inside: \
                     large packets are cut or lost"
                ),
                format!("mtu = {fits}"),
            )
        };
        check.about(&self.name)
    }

    /// The handshake, and why it fails. `networks` of the peer have been sent a packet if there was
    /// no session.
    pub fn handshake(&self) -> Check {
        let check = match &self.report {
            Some(report) => self.judge(report),
            None => Check::not_applicable(HANDSHAKE, "the gateway does not run"),
        };
        check.about(&self.name)
    }

    fn judge(&self, report: &report::Peer) -> Check {
        let stale = self.of_its_key("stale_timestamp");
        if let Some(stale) = stale.filter(|it| Some(it.last) > report.latest_handshake) {
            return stale_timestamp(stale, report.session.is_some());
        }
        match (report.handshake.trouble.as_deref(), &report.session) {
            (Some("no_answer"), _) => self.no_answer(report),
            (Some("invalid_response"), _) => Check::bad(
                HANDSHAKE,
                format!(
                    "the peer answers, and its response does not authenticate ({}): the preshared \
                     keys differ",
                    times(report.handshake.invalid_responses.into())
                ),
                "give both ends the same preshared_key (or none); `weapon genpsk` makes one",
            ),
            (Some("unconfirmed"), None) => Check::bad(
                HANDSHAKE,
                format!(
                    "the peer asked and was answered {}, and never used the session: the \
                     preshared keys differ, or our responses do not reach it",
                    times(report.handshake.unconfirmed.into())
                ),
                "give both ends the same preshared_key (or none); if they are, look for a \
                 firewall on the way back to the peer",
            ),
            (Some("cookies_only"), _) => Check::bad(
                HANDSHAKE,
                "the peer is under load and answers with cookies again and again",
                "look at the peer: somebody floods it, or our address changes between messages",
            ),
            (Some("low_order"), _) => Check::bad(
                HANDSHAKE,
                "the peer's public key is none: nobody has a private key for it",
                "write the key that `weapon pubkey` says at the peer",
            ),
            (_, Some(session)) => self.alive(report, session.age),
            (_, None) => idle(report),
        }
    }

    fn of_its_key(&self, reason: &str) -> Option<&Rejected> {
        self.rejected.iter().find(|it| it.reason == reason)
    }

    fn alive(&self, report: &report::Peer, age: u64) -> Check {
        let mut says = format!("there is a session, {age} s old");
        if let Some(time) = report.round_trip_smoothed_us {
            says.push_str(&format!(", round trip {}", milliseconds(time)));
        }
        match report.loss {
            Some(loss) if is_lossy(loss) => Check::warning(
                HANDSHAKE,
                format!(
                    "{says}; {} of the last {} messages of the peer are missing",
                    loss.missing, loss.sent
                ),
                "the line loses packets: look at it, or at what its queues drop",
            ),
            _ => Check::good(HANDSHAKE, says),
        }
    }

    fn no_answer(&self, report: &report::Peer) -> Check {
        let at = match self.address {
            Some(address) => address.to_string(),
            None => "the peer".to_owned(),
        };
        let sent = report.handshake.unanswered;
        let asked = format!(
            "{at} has not answered {} in a row",
            plural(sent.into(), "initiation")
        );
        match self.probe {
            Some(Probe::Closed) => Check::bad(
                HANDSHAKE,
                format!("{asked}; its host says that nobody listens at this port"),
                "start the gateway there, or correct the port of the endpoint here",
            ),
            Some(Probe::Unreachable) => Check::bad(
                HANDSHAKE,
                format!("{asked}; the host cannot be reached"),
                "correct the endpoint here, or bring the host or the line to it up",
            ),
            Some(Probe::NotSent) => Check::bad(
                HANDSHAKE,
                format!("{asked}; this machine's firewall does not let out what we send there"),
                "`nft list ruleset`: accept UDP to this address in the output chain",
            ),
            Some(Probe::Silence) | None => Check::bad(
                HANDSHAKE,
                format!(
                    "{asked}, and nothing says why: it does not know our public key or has \
                     another one than we think, its clock or ours went back, or a firewall drops \
                     UDP"
                ),
                "`weapon doctor` there says what it sees of us; compare the public keys of both \
                 ends, and let UDP to its port in",
            ),
        }
    }
}

const HANDSHAKE: &str = "handshake";

/// The peer's initiations since its last handshake were not newer than that.
fn stale_timestamp(stale: &Rejected, has_session: bool) -> Check {
    let says = format!(
        "the peer asked {} from {} with a timestamp that is not newer than its last one: its clock \
         went back and it has lost its .timestamp file, or somebody repeats what was recorded",
        times(stale.count),
        stale.from
    );
    let remedy = "set the peer's clock and start its gateway again; if it must stay behind, start \
                  ours again, which forgets the last timestamp";
    if has_session {
        // The one of before. The peer may have it as well, if it was somebody else who asked.
        Check::warning(HANDSHAKE, says, remedy)
    } else {
        Check::bad(HANDSHAKE, says, remedy)
    }
}

fn idle(report: &report::Peer) -> Check {
    if report.endpoint.is_none() {
        let says = "no session: the peer's address is not known, so it must begin";
        return Check::not_applicable(HANDSHAKE, says);
    }
    Check::not_applicable(
        HANDSHAKE,
        "no session at present: it comes with the first packet",
    )
}

/// Initiations that named no peer of ours, or could not be opened. `now` is in seconds since 1970.
pub fn rejected(all: &[Rejected], public_key: &str, now: u64) -> Vec<Check> {
    const NAME: &str = "rejected";
    let all = all.iter().filter_map(|it| {
        let (count, from) = (times(it.count), it.from);
        let key = it.public_key.as_deref().unwrap_or("a key");
        let check = match it.reason.as_str() {
            "unknown_key" => {
                let says = format!("key {key} tried {count} from {from} and is not configured");
                let remedy = "if it is to come in, add a [[peer]] with this public_key";
                match now.saturating_sub(it.last) {
                    0..REJECTED_SECONDS_MAX => Check::bad(NAME, says, remedy),
                    ago => {
                        let says = format!("{says}; the last time {} min ago", ago / 60);
                        Check::warning(NAME, says, remedy)
                    }
                }
            }
            "wrong_mac1" => Check::warning(
                NAME,
                format!("somebody at {from} tried {count} with another public key than ours"),
                format!("if it is a peer of yours, it must have {public_key} for us"),
            ),
            "low_order" => Check::warning(
                NAME,
                format!("somebody at {from} tried {count} with a key that is none"),
                "no WireGuard does so; look who that is",
            ),
            "not_authentic" => Check::warning(
                NAME,
                format!("messages with {key} came {count} from {from} and do not authenticate"),
                "they are damaged or forged; look who that is",
            ),
            "under_load" | "rate_limited" => Check::warning(
                NAME,
                format!("we were under load, and {from} had to wait {count}"),
                "somebody floods this port; peers come in all the same, later",
            ),
            // A peer's own: it is told with the peer.
            _ => return None,
        };
        Some(check)
    });
    all.collect()
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// Of a few messages a missing one says nothing. Who asks the doctor wants to hear of less than who
/// looks at the status.
fn is_lossy(loss: Loss) -> bool {
    let Loss { sent, missing } = loss;
    sent >= LOSS_MESSAGES_MIN
        && missing.saturating_mul(1000) > sent.saturating_mul(LOSS_PERMILLE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        doctor::check::Verdict,
        report::{Loss, Session, sample},
    };

    fn peer() -> Peer {
        Peer {
            name: "site-b".into(),
            report: Some(sample::silent()),
            written: Some("gw.example.net:51820".into()),
            resolved: None,
            address: Some(address()),
            way: Some(Way::Through {
                interface: "eth0".into(),
                is_ours: false,
                mtu: 1500,
                is_learned: false,
            }),
            probe: None,
            rejected: Vec::new(),
        }
    }

    fn address() -> SocketAddr {
        "192.0.2.2:51820".parse().unwrap()
    }

    #[track_caller]
    fn assert_says(check: &Check, result: Verdict, words: &str) {
        assert_eq!(check.result, result, "{check:?}");
        assert!(check.says.contains(words), "{words:?} in {check:?}");
        let needs_remedy = matches!(result, Verdict::Bad | Verdict::Warning);
        assert_eq!(check.remedy.is_some(), needs_remedy, "{check:?}");
    }

    #[test]
    fn a_name_that_does_not_resolve_is_bad_while_nothing_else_is_known() {
        let mut peer = peer();
        peer.resolved = Some(Err("no such host".into()));
        assert_says(&peer.endpoint(), Verdict::Warning, "192.0.2.2:51820");
        peer.address = None;
        assert_says(&peer.endpoint(), Verdict::Bad, "gw.example.net:51820");
        peer.resolved = Some(Ok(vec![address()]));
        assert_says(&peer.endpoint(), Verdict::Good, "192.0.2.2");
        peer.address = Some("198.51.100.1:1".parse().unwrap());
        assert_says(&peer.endpoint(), Verdict::Warning, "198.51.100.1:1");
    }

    #[test]
    fn a_way_into_the_tunnel_is_a_loop() {
        let mut peer = peer();
        assert_says(&peer.way(), Verdict::Good, "eth0");
        peer.way = Some(Way::Through {
            interface: "w-a".into(),
            is_ours: true,
            mtu: 1420,
            is_learned: false,
        });
        assert_says(&peer.way(), Verdict::Bad, "into the tunnel itself");
        peer.way = Some(Way::None("Network is unreachable".into()));
        assert_says(&peer.way(), Verdict::Bad, "no route to 192.0.2.2");
    }

    #[test]
    fn an_mtu_too_large_says_which_would_do() {
        let mut peer = peer();
        assert_says(&peer.mtu(Some(1440)), Verdict::Good, "1440");
        let check = peer.mtu(Some(1441));
        assert_says(&check, Verdict::Warning, "eth0 carries 1500");
        assert_eq!(check.remedy.as_deref(), Some("mtu = 1440"));
        peer.address = Some("[2001:db8::2]:1".parse().unwrap());
        let check = peer.mtu(Some(1440));
        assert_eq!(check.remedy.as_deref(), Some("mtu = 1420"));
        assert_eq!(peer.mtu(None).result, Verdict::NotApplicable);
    }

    #[test]
    fn each_trouble_has_its_words() {
        for (trouble, words) in [
            ("no_answer", "nothing says why"),
            ("invalid_response", "preshared keys differ"),
            ("unconfirmed", "never used the session"),
            ("cookies_only", "under load"),
            ("low_order", "public key is none"),
        ] {
            let mut peer = peer();
            let report = peer.report.as_mut().unwrap();
            report.handshake.trouble = Some(trouble.into());
            assert_says(&peer.handshake(), Verdict::Bad, words);
        }
    }

    #[test]
    fn a_probe_tells_more() {
        let mut peer = peer();
        let report = peer.report.as_mut().unwrap();
        report.handshake.trouble = Some("no_answer".into());
        report.handshake.unanswered = 1;
        for (probe, words) in [
            (
                Probe::Closed,
                "1 initiation in a row; its host says that nobody",
            ),
            (Probe::Unreachable, "cannot be reached"),
            (Probe::NotSent, "this machine's firewall"),
            (Probe::Silence, "nothing says why"),
        ] {
            peer.probe = Some(probe);
            assert_says(&peer.handshake(), Verdict::Bad, words);
        }
    }

    #[test]
    fn a_session_is_good_unless_it_loses() {
        let mut peer = peer();
        let check = peer.handshake();
        assert_eq!(check.result, Verdict::NotApplicable, "{check:?}");
        let report = peer.report.as_mut().unwrap();
        report.session = Some(Session {
            age: 7,
            initiator: true,
            sent_packets: 9,
        });
        report.round_trip_smoothed_us = Some(1280);
        report.loss = Some(Loss {
            sent: 1000,
            missing: 10,
        });
        let check = peer.handshake();
        assert_says(&check, Verdict::Good, "7 s old, round trip 1.3 ms");
        peer.report.as_mut().unwrap().loss = Some(Loss {
            sent: 1000,
            missing: 11,
        });
        assert_says(&peer.handshake(), Verdict::Warning, "11 of the last 1000");
    }

    #[test]
    fn the_responder_tells_who_tried() {
        let rejected_for = |reason: &str| Rejected {
            public_key: Some("KEY=".into()),
            peer: None,
            from: "203.0.113.7:4000".parse().unwrap(),
            reason: reason.into(),
            count: 14,
            first: 1,
            last: 2,
        };
        let all = ["unknown_key", "wrong_mac1", "stale_timestamp", "too_soon"].map(rejected_for);
        let later = rejected(&all, "OURS=", 2 + 3600);
        assert_says(&later[0], Verdict::Warning, "the last time 60 min ago");
        let checks = rejected(&all, "OURS=", 2);
        let [unknown, wrong] = &checks[..] else {
            panic!("{checks:?}");
        };
        let words = "key KEY= tried 14 times from 203.0.113.7:4000 and is not configured";
        assert_says(unknown, Verdict::Bad, words);
        assert_says(wrong, Verdict::Warning, "another public key than ours");
        assert!(wrong.remedy.as_deref().unwrap().contains("OURS="));

        let mut peer = peer();
        peer.rejected = vec![rejected_for("stale_timestamp")];
        assert_says(&peer.handshake(), Verdict::Bad, "its clock went back");
        let report = peer.report.as_mut().unwrap();
        report.session = Some(Session {
            age: 7,
            initiator: false,
            sent_packets: 9,
        });
        assert_says(&peer.handshake(), Verdict::Warning, "its clock went back");
        // It is long past.
        peer.report.as_mut().unwrap().latest_handshake = Some(2);
        assert_says(&peer.handshake(), Verdict::Good, "there is a session");
    }
}
