//! What a person should know of a gateway, in plain words: what is wrong, and what to do.

use std::collections::BTreeMap;

use crate::{
    audit,
    config::Offload,
    report::{Loss, Peer, Rejected, Report, Warning},
    status::amounts::{percent, plural},
};

/// A clock that is before 2026 was never set: this program is younger.
const CLOCK_SECONDS_MIN: u64 = 1_767_225_600;

/// A handshake may have been this far in the future: clocks are set by little all the time.
const CLOCK_STEP_SECONDS_MAX: u64 = 60;

/// Seconds for which a session can be sent with (`REJECT_AFTER_TIME`). Kept alive, it is renewed
/// long before.
const SESSION_SECONDS_MAX: u64 = 180;

/// Drops that say that something is wrong: the reason, from which count on, what it means and what
/// is to be done. Of the others single ones or many are nothing unusual: docs/metrics.md.
const DROPS: [(&str, u64, &str); 9] = [
    (
        "outbound_malformed",
        10,
        "packets of this host were not valid; switch the offloads off in the configuration, and \
         report it",
    ),
    (
        "no_endpoint",
        10,
        "packets were for peers whose address is not known; give those an endpoint",
    ),
    (
        "routing_loop",
        1,
        "of our own messages came back to us: the route to a peer's endpoint leads into the \
         tunnel; give that endpoint a route past it",
    ),
    (
        "seal_failed",
        1,
        "packets could not be sealed, which should never be; report it",
    ),
    (
        "forged",
        100,
        "messages were damaged on their way, or somebody forges them",
    ),
    (
        "inner_malformed",
        1,
        "authentic messages held no valid packet; the peer's software is at fault",
    ),
    (
        "wrong_source",
        10,
        "packets came from addresses that are not in their peer's networks; add the networks if \
         those are meant to come from there",
    ),
    (
        "handshake_invalid",
        3,
        "handshakes did not authenticate; compare the preshared keys at both ends",
    ),
    (
        "initiation_flood",
        10,
        "handshakes of one peer followed each other at once; two machines may use the same key",
    ),
];

/// Counts of what the kernel did not take: from which on, what it means.
const FAILURES: [(&str, u64, &str); 2] = [
    (
        "send_failures",
        10,
        "datagrams were not taken by the kernel; is the link down, or does a firewall of this host \
         refuse them?",
    ),
    (
        "write_failures",
        10,
        "packets were not taken by the interface; is it down, or is the memory used up?",
    ),
];

/// Rejected handshakes of one sender that are worth a word, and for how long after the last.
const REJECTED_MIN: u64 = 3;
const REJECTED_SECONDS_MAX: u64 = 3600;

/// Of so many messages, at least, so many in a hundred may be missing: more is felt.
pub const LOSS_MESSAGES_MIN: u64 = 100;
const LOSS_PERCENT_MAX: u64 = 5;

/// The kind of a warning, one word for programs, and its text.
type Said = (&'static str, String);

/// All that is to be said of a gateway at the moment `now`, in seconds since 1970. `wanted` is what
/// its configuration says of offloads.
pub fn of(report: &Report, wanted: Offload, now: u64) -> Vec<Warning> {
    let mut all = Vec::new();
    let mut gateway = |(kind, text): Said| {
        let kind = kind.to_owned();
        all.push(Warning {
            kind,
            peer: None,
            text,
        });
    };
    if !report.up {
        let name = &report.interface;
        let text =
            format!("the interface {name} is down, so nothing passes; `ip link set {name} up`");
        gateway(("interface_down", text));
    }
    if now < CLOCK_SECONDS_MIN {
        let text = "the clock stands before 2026; peers refuse handshakes that are older than the \
                    last, so set it";
        gateway(("clock_unset", text.to_owned()));
    }
    if let Some(reason) = &report.cipher.reason {
        let backend = &report.cipher.backend;
        let text = format!("the cipher {backend} is slower than could be: {reason}");
        gateway(("cipher_slow", text));
    }
    if let Some(file) = &report.exports_keys {
        let text = format!(
            "DANGER: the private key and the keys of all sessions are written to {file}: whoever \
             gets it can read recorded traffic and pass for this gateway; take \
             danger_export_keys out of the configuration, start the gateway again, and remove the \
             file"
        );
        gateway(("keys_exported", text));
    }
    offloads(report, wanted).into_iter().for_each(&mut gateway);
    let of_audit = report.audit.iter().flat_map(audit::warnings);
    of_audit.for_each(&mut gateway);
    counted(&report.drops, &DROPS).for_each(&mut gateway);
    counted(&report.counters, &FAILURES).for_each(&mut gateway);
    let rejected = report.rejected.iter();
    rejected
        .filter_map(|it| Some(("rejected", rejected_text(it, now)?)))
        .for_each(&mut gateway);
    for peer in &report.peers {
        let texts = of_peer(peer, now).into_iter();
        all.extend(texts.map(|(kind, text)| Warning {
            kind: kind.to_owned(),
            peer: Some(peer.name.clone()),
            text,
        }));
    }
    all
}

/// What is wanted, and not there.
fn offloads(report: &Report, wanted: Offload) -> Option<Said> {
    let on = report.offloads;
    let all = [
        ("TUN TCP", wanted.tcp, on.tun_tcp),
        ("TUN UDP", wanted.udp, on.tun_udp),
        ("UDP GSO", wanted.gso, on.udp_gso),
        ("UDP GRO", wanted.gro, on.udp_gro),
    ];
    let missing: Vec<&str> = all
        .iter()
        .filter(|(_, wanted, on)| *wanted && !on)
        .map(|(name, ..)| *name)
        .collect();
    (!missing.is_empty()).then(|| {
        let missing = missing.join(", ");
        let text = format!(
            "the kernel does not do {missing}, or refused it while running; all works, but slower"
        );
        ("offload_missing", text)
    })
}

fn counted<'a>(
    counts: &'a BTreeMap<String, u64>,
    alarms: &'static [(&str, u64, &str)],
) -> impl Iterator<Item = Said> + 'a {
    alarms.iter().filter_map(|&(name, from, text)| {
        let count = *counts.get(name)?;
        (count >= from).then(|| (name, format!("{count} {text} ({name})")))
    })
}

/// Who tries in vain, and why.
fn rejected_text(rejected: &Rejected, now: u64) -> Option<String> {
    let age = now.saturating_sub(rejected.last);
    if rejected.count < REJECTED_MIN || age > REJECTED_SECONDS_MAX {
        return None;
    }
    let (from, count) = (rejected.from, rejected.count);
    let key = rejected.public_key.as_deref().unwrap_or("of unknown name");
    let who = match &rejected.peer {
        Some(name) => format!("peer {name}"),
        None => format!("the key {key}"),
    };
    match rejected.reason.as_str() {
        "wrong_mac1" => Some(format!(
            "{count} handshakes from {from} were meant for another public key than ours; somebody \
             there may have an old one"
        )),
        "unknown_key" => Some(format!(
            "{who} tried {count} times from {from} and is not configured; add that peer, or \
             remove us there"
        )),
        "stale_timestamp" => Some(format!(
            "{who} tried {count} times from {from} with a time that is not newer than its last; \
             did its clock go back?"
        )),
        "low_order" | "not_authentic" => Some(format!(
            "{who} tried {count} times from {from} with messages that are not authentic"
        )),
        // What comes and goes by itself: under load, too soon, too often.
        _ => None,
    }
}

fn of_peer(peer: &Peer, now: u64) -> Vec<Said> {
    let mut texts = Vec::new();
    if let Some(name) = &peer.unresolved {
        let text = format!("its endpoint {name} does not resolve; it is looked up again and again");
        texts.push(("endpoint_unresolved", text));
    }
    texts.extend(trouble(peer).or_else(|| no_session(peer, now)));
    if let Some(Loss { sent, missing }) = peer.loss
        && sent >= LOSS_MESSAGES_MIN
        && missing.saturating_mul(100) > sent.saturating_mul(LOSS_PERCENT_MAX)
    {
        let part = percent(missing, sent);
        let text =
            format!("{part} of its last {sent} messages did not arrive; the path loses packets");
        texts.push(("loss", text));
    }
    let ahead = peer.latest_handshake.map_or(0, |at| at.saturating_sub(now));
    if ahead > CLOCK_STEP_SECONDS_MAX {
        let text = format!(
            "its last handshake lies {ahead} seconds in the future: our clock was set back"
        );
        texts.push(("clock_back", text));
    }
    texts
}

/// Why handshakes fail, if they do.
fn trouble(peer: &Peer) -> Option<Said> {
    let tries = plural(peer.handshake.unanswered.into(), "initiation");
    let at = match peer.endpoint {
        Some(endpoint) => format!(" at {endpoint}"),
        None => String::new(),
    };
    Some(match peer.handshake.trouble.as_deref()? {
        "no_answer" => {
            let text = format!(
                "it does not answer{at}, after {tries}: is it up, does its UDP port let us in, \
                 does it know our public key?"
            );
            ("no_answer", text)
        }
        "invalid_response" => {
            let text = "its answers do not authenticate; compare the preshared keys at both ends";
            ("invalid_response", text.to_owned())
        }
        "cookies_only" => {
            let text = "it is under load and sends cookies only; we go on trying";
            ("cookies_only", text.to_owned())
        }
        "unconfirmed" => {
            let text = "we answer its handshakes, but it does not use the sessions; compare the \
                        preshared keys at both ends, and look whether our answers reach it";
            ("unconfirmed", text.to_owned())
        }
        "low_order" => {
            let text = "its public key is none; write the right one";
            ("low_order", text.to_owned())
        }
        other => ("handshake", format!("handshakes fail: {other}")),
    })
}

/// Why it is of note that there is none.
fn no_session(peer: &Peer, now: u64) -> Option<Said> {
    let endpoint = peer.endpoint.filter(|_| peer.session.is_none())?;
    let was_asked = peer.parked != 0 || peer.latest_handshake.is_none() && peer.sent_bytes != 0;
    if was_asked {
        let text = format!(
            "it does not answer at {endpoint}: is it up, does its UDP port let us in, do the keys \
             match?"
        );
        return Some(("no_session", text));
    }
    let age = now.saturating_sub(peer.latest_handshake?);
    (peer.persistent_keepalive.is_some() && age > SESSION_SECONDS_MAX).then(|| {
        let text = format!("it was there {age} seconds ago and does not answer at {endpoint} now");
        ("no_session", text)
    })
}

#[cfg(test)]
mod tests {
    use weapon_core::DropReason;

    use super::*;
    use crate::report::sample::{self, NOW};

    const ALL: Offload = Offload {
        tcp: true,
        udp: true,
        gso: true,
        gro: true,
    };

    /// What is said of the gateway, and of its peers by name.
    fn said(change: impl FnOnce(&mut Report)) -> Vec<String> {
        let mut report = sample::report();
        report.peers.truncate(1);
        change(&mut report);
        let all = of(&report, ALL, NOW).into_iter();
        all.map(|warning| match warning.peer {
            Some(peer) => format!("{peer}: {}", warning.text),
            None => warning.text,
        })
        .collect()
    }

    #[track_caller]
    fn says(change: impl FnOnce(&mut Report), start: &str) {
        let all = said(change);
        assert_eq!(all.len(), 1, "{all:?}");
        assert!(all[0].starts_with(start), "{all:?}");
    }

    #[test]
    fn nothing_is_said_when_all_is_well() {
        assert_eq!(said(|_| ()), [""; 0]);
    }

    #[test]
    fn what_is_wrong_with_the_gateway_is_said() {
        says(|it| it.up = false, "the interface w-site-a is down");
        says(
            |it| it.cipher.reason = Some("no AVX-512".to_owned()),
            "the cipher avx512 is slower than could be: no AVX-512",
        );
        says(
            |it| it.offloads.udp_gso = false,
            "the kernel does not do UDP GSO, or refused",
        );
        let mut report = sample::report();
        report.offloads.udp_gso = false;
        report.peers.clear();
        let unwanted = Offload { gso: false, ..ALL };
        assert!(of(&report, unwanted, NOW).is_empty());
        let early = of(&report, unwanted, 1000);
        assert!(early[0].text.starts_with("the clock stands before 2026"));
    }

    #[test]
    fn drops_count_from_some_number_on() {
        for (name, from, text) in DROPS {
            says(
                |it| it.drops.extend([(name.to_owned(), from)]),
                &format!("{from} {text}"),
            );
            assert_eq!(
                said(|it| it.drops.extend([(name.to_owned(), from - 1)])),
                [""; 0]
            );
            let known = DropReason::ALL.iter().any(|it| it.label() == name);
            assert!(known, "{name}");
        }
        says(
            |it| it.counters.extend([("send_failures".to_owned(), 10)]),
            "10 datagrams were not taken",
        );
    }

    #[test]
    fn what_is_wrong_with_a_peer_is_said() {
        says(
            |it| it.peers[0] = sample::silent(),
            "roof: it does not answer at 198.51.100.9:51820: is it up",
        );
        says(
            |it| it.peers[0] = sample::nameless(),
            "depot: its endpoint gw.depot.example:51820 does not resolve",
        );
        says(
            |it| it.peers[0].latest_handshake = Some(NOW + 61),
            "site-b: its last handshake lies 61 seconds in the future",
        );
        let quiet = |it: &mut Report| {
            it.peers[0].session = None;
            it.peers[0].latest_handshake = Some(NOW - 181);
        };
        says(quiet, "site-b: it was there 181 seconds ago");
        // Without a keepalive nobody may have had anything to say.
        let idle = |it: &mut Report| {
            quiet(it);
            it.peers[0].persistent_keepalive = None;
        };
        assert_eq!(said(idle), [""; 0]);
        // It waits to be found.
        let waits = |it: &mut Report| {
            it.peers[0] = sample::silent();
            it.peers[0].endpoint = None;
            it.peers[0].parked = 0;
        };
        assert_eq!(said(waits), [""; 0]);
    }

    #[test]
    fn who_tries_in_vain_is_said() {
        let rejected = |reason: &str, peer: Option<&str>| Rejected {
            public_key: Some("KEY".to_owned()),
            peer: peer.map(str::to_owned),
            from: ([203, 0, 113, 7], 4711).into(),
            reason: reason.to_owned(),
            count: 14,
            first: NOW - 100,
            last: NOW,
        };
        for (reason, peer, start) in [
            (
                "unknown_key",
                None,
                "the key KEY tried 14 times from 203.0.113.7:4711 and is not",
            ),
            (
                "wrong_mac1",
                None,
                "14 handshakes from 203.0.113.7:4711 were meant for another",
            ),
            (
                "stale_timestamp",
                Some("roof"),
                "peer roof tried 14 times from 203.0.113.7:4711",
            ),
            ("not_authentic", None, "the key KEY tried 14 times"),
        ] {
            says(|it| it.rejected = vec![rejected(reason, peer)], start);
        }
        let mut few = rejected("unknown_key", None);
        few.count = 2;
        let mut old = rejected("unknown_key", None);
        old.last = NOW - 3601;
        let passing = rejected("under_load", None);
        assert_eq!(said(|it| it.rejected = vec![few, old, passing]), [""; 0]);
    }

    #[test]
    fn why_a_handshake_fails_is_said() {
        for (trouble, start) in [
            (
                "no_answer",
                "site-b: it does not answer at 203.0.113.7:51820, after 1 initiation: is",
            ),
            (
                "invalid_response",
                "site-b: its answers do not authenticate",
            ),
            ("cookies_only", "site-b: it is under load"),
            ("unconfirmed", "site-b: we answer its handshakes"),
            ("low_order", "site-b: its public key is none"),
            ("news", "site-b: handshakes fail: news"),
        ] {
            says(
                |it| {
                    it.peers[0].handshake.trouble = Some(trouble.to_owned());
                    it.peers[0].handshake.unanswered = 1;
                },
                start,
            );
        }
    }

    #[test]
    fn loss_that_is_felt_is_said() {
        let loss =
            |sent, missing| move |it: &mut Report| it.peers[0].loss = Some(Loss { sent, missing });
        says(
            loss(100, 6),
            "site-b: 6.0 % of its last 100 messages did not arrive",
        );
        assert_eq!(said(loss(100, 5)), [""; 0]);
        assert_eq!(said(loss(99, 50)), [""; 0]);
    }
}
