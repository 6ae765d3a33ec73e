//! Metrics of the peers, by name.

use std::fmt;

use prometheus_client::registry::Unit;
use weapon_core::{LimitStatus, PeerStatus};
use weapon_noise::Trouble;

use super::{
    Scrape,
    page::{About, Label, Page, label},
};

/// Writes them.
pub(super) fn write(page: &mut Page<'_>, scrape: &Scrape) -> fmt::Result {
    let peers = &scrape.peers;
    let keys = peers.iter().map(|it| it.public_key.to_string());
    let rows = peers.iter().zip(keys);
    let rows = rows.map(|(it, key)| [label("peer", &it.name), label("public_key", key)]);
    page.info(About("peer", None, "The peer"), rows)?;
    traffic(page, peers)?;
    limits(page, peers)?;
    handshakes(page, peers)?;
    session(page, peers)?;
    path(page, peers)
}

/// A row for each peer that has such a value.
fn each<'a, V: 'a>(
    peers: &'a [PeerStatus],
    value: impl Fn(&PeerStatus) -> Option<V> + 'a,
) -> impl Iterator<Item = ([Label<'a>; 1], V)> + 'a {
    let rows = peers.iter();
    rows.filter_map(move |peer| Some(([label("peer", &peer.name)], value(peer)?)))
}

fn traffic(page: &mut Page<'_>, peers: &[PeerStatus]) -> fmt::Result {
    let bytes = || Some(Unit::Bytes);
    let about = About("peer_received", bytes(), "Authenticated messages, in bytes");
    page.counter(about, each(peers, |it| Some(it.received_bytes)))?;
    let about = About("peer_sent", bytes(), "Messages sent, in bytes");
    page.counter(about, each(peers, |it| Some(it.sent_bytes)))?;
    let about = About("peer_received_packets", None, "Authenticated messages");
    page.counter(about, each(peers, |it| Some(it.received_packets)))?;
    let about = About("peer_sent_packets", None, "Messages sent");
    page.counter(about, each(peers, |it| Some(it.sent_packets)))?;
    let about = About(
        "peer_parked_packets",
        None,
        "Packets that wait for a session",
    );
    page.gauge(about, each(peers, |it| Some(it.parked)))
}

fn limits(page: &mut Page<'_>, peers: &[PeerStatus]) -> fmt::Result {
    let directions = || {
        peers.iter().filter_map(|peer| {
            let service = peer.service.as_ref()?;
            let of = |direction, status| (peer, direction, status);
            let both = [
                of("outbound", &service.outbound),
                of("inbound", &service.inbound),
            ];
            Some(
                both.into_iter()
                    .filter(|(_, _, status)| !status.limits.is_empty()),
            )
        })
    };
    let rows = |count: fn(&LimitStatus) -> u64| {
        directions()
            .flatten()
            .map(move |(peer, direction, status)| {
                let labels = [label("peer", &peer.name), label("direction", direction)];
                (labels, count(status))
            })
    };
    let about = About(
        "peer_limited_packets",
        None,
        "Packets that a limit did not let pass",
    );
    page.counter(about, rows(|it| it.dropped_packets))?;
    let bytes = Some(Unit::Bytes);
    let about = About(
        "peer_limited",
        bytes,
        "What a limit did not let pass, in bytes",
    );
    page.counter(about, rows(|it| it.dropped_bytes))
}

fn handshakes(page: &mut Page<'_>, peers: &[PeerStatus]) -> fmt::Result {
    let about = About(
        "peer_handshakes",
        None,
        "Handshakes that both ends have used",
    );
    page.counter(
        about,
        each(peers, |it| Some(u64::from(it.attempts.ever.completed))),
    )?;
    let about = About("peer_initiations_sent", None, "Handshakes that we began");
    page.counter(
        about,
        each(peers, |it| Some(u64::from(it.attempts.ever.initiations))),
    )?;
    let rows = peers.iter().flat_map(|peer| {
        let ever = &peer.attempts.ever;
        let failures = [
            ("no_answer", ever.repeated),
            ("invalid_response", ever.invalid_responses),
            ("cookie_reply", ever.cookie_replies),
        ];
        failures.map(|(name, count)| {
            (
                [label("peer", &peer.name), label("failure", name)],
                u64::from(count),
            )
        })
    });
    let about = About(
        "peer_handshake_failures",
        None,
        "Handshakes that came to nothing",
    );
    page.counter(about, rows)?;
    let rows = peers.iter().flat_map(|peer| {
        Trouble::ALL.map(|trouble| {
            let labels = [label("peer", &peer.name), label("trouble", trouble.label())];
            (labels, u32::from(peer.trouble == Some(trouble)))
        })
    });
    let about = About("peer_trouble", None, "Why there is no new session");
    page.gauge(about, rows)?;
    let about = About(
        "peer_latest_handshake",
        Some(Unit::Seconds),
        "When a handshake last completed, since 1970",
    );
    let at = |it: &PeerStatus| it.last_handshake.map(|at| at.seconds);
    page.gauge(about, each(peers, at))
}

fn session(page: &mut Page<'_>, peers: &[PeerStatus]) -> fmt::Result {
    let about = About("peer_session", None, "Whether there is a session");
    page.gauge(
        about,
        each(peers, |it| Some(u32::from(it.session.is_some()))),
    )?;
    let about = About(
        "peer_session_age",
        Some(Unit::Seconds),
        "Since it was derived",
    );
    let age = |it: &PeerStatus| it.session.map(|session| session.age.as_secs_f64());
    page.gauge(about, each(peers, age))?;
    let about = About(
        "peer_last_received_age",
        Some(Unit::Seconds),
        "Since the last authenticated message",
    );
    let age = |it: &PeerStatus| it.last_received_age.map(|age| age.as_secs_f64());
    page.gauge(about, each(peers, age))?;
    let about = About("peer_endpoint_known", None, "Whether we know where it is");
    page.gauge(
        about,
        each(peers, |it| Some(u32::from(it.endpoint.is_some()))),
    )
}

fn path(page: &mut Page<'_>, peers: &[PeerStatus]) -> fmt::Result {
    let about = About("peer_recent_messages", None, "What the peer sent last");
    page.gauge(about, each(peers, |it| Some(it.arrivals?.sent)))?;
    let about = About("peer_recent_missing", None, "What of that did not arrive");
    page.gauge(about, each(peers, |it| Some(it.arrivals?.missing())))?;
    let seconds = |us: u32| f64::from(us) / 1e6;
    let about = About(
        "peer_round_trip",
        Some(Unit::Seconds),
        "Of the last handshake",
    );
    let last = move |it: &PeerStatus| it.attempts.round_trip.map(|time| seconds(time.last_us));
    page.gauge(about, each(peers, last))?;
    let about = About(
        "peer_round_trip_smoothed",
        Some(Unit::Seconds),
        "Of all handshakes, the last counting for an eighth",
    );
    let all = move |it: &PeerStatus| it.attempts.round_trip.map(|time| seconds(time.smoothed_us));
    page.gauge(about, each(peers, all))
}
