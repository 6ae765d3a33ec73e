//! What is recorded of what happens to a gateway. No secret is in any of it: of keys, public ones
//! alone, and of others that they changed.

use std::collections::BTreeMap;

use weapon_core::{GatewayChange, Happening, NetworkChange, RejectedBecause};
use weapon_noise::Role;

use super::{
    entry::{Entry, Kind},
    sender::Sender,
};
use crate::config::Config;

/// Bytes of lines in one record, about: what is more is in the next.
const LINES_BYTES_MAX: usize = 16 << 10;

/// Records what the engine tells. Never waits.
pub fn happened(log: &Sender, what: Happening) {
    match what {
        Happening::Handshake {
            peer,
            role,
            is_rekey,
            endpoint,
        } => {
            let role = match role {
                Role::Initiator => "initiator",
                Role::Responder => "responder",
            };
            log.send(
                Entry::new(Kind::Handshake)
                    .with("peer", &*peer)
                    .with("role", role)
                    .with("rekey", is_rekey)
                    .with("endpoint", endpoint.map(|it| it.to_string())),
            );
        }
        Happening::Moved {
            peer,
            from,
            to,
            by_peer,
        } => {
            let by = if by_peer { "peer" } else { "us" };
            let entry = Entry::new(Kind::Roam)
                .with("peer", &*peer)
                .with("from", from.map(|it| it.to_string()))
                .with_text("to", to)
                .with("by", by);
            log.send_limited(&peer, entry);
        }
        Happening::Rejected {
            peer,
            key,
            from,
            because,
        } => rejected(
            log,
            peer.as_deref(),
            key.map(|it| it.to_string()),
            from,
            because,
        ),
        Happening::Missed(count) => log.missed(count, "more happened at once than is kept"),
    }
}

/// Strangers can send as many as they like: there is a limit for each reason, and for each peer
/// whose key is in it, as nobody else can make one that is counted there.
fn rejected(
    log: &Sender,
    peer: Option<&str>,
    key: Option<String>,
    from: std::net::SocketAddr,
    because: RejectedBecause,
) {
    let is_proven = matches!(
        because,
        RejectedBecause::StaleTimestamp | RejectedBecause::TooSoon
    );
    let of_peer = peer.filter(|_| is_proven);
    let sort = match of_peer {
        Some(peer) => format!("{} {peer}", because.label()),
        None => because.label().to_owned(),
    };
    let entry = Entry::new(Kind::Rejected)
        .with("reason", because.label())
        .with_text("from", from)
        .with("public_key", key)
        .with("peer", peer);
    log.send_limited(&sort, entry);
}

/// Records that the configuration became another: the difference, and which keys are others.
pub fn configured(log: &Sender, by: &str, changes: &[String], configs: Option<(&Config, &Config)>) {
    for (number, lines) in chunks(changes).into_iter().enumerate() {
        let entry = Entry::new(Kind::Config)
            .with("by", by)
            .with("changes", lines);
        log.send(if number == 0 {
            entry.with("count", changes.len())
        } else {
            entry.with("part", number + 1)
        });
    }
    if let Some((old, new)) = configs {
        key_changes(log, old, new);
    }
}

fn key_changes(log: &Sender, old: &Config, new: &Config) {
    let (before, after) = (old.private_key.public(), new.private_key.public());
    if before != after {
        log.send(
            Entry::new(Kind::KeyChange)
                .with("what", "our key")
                .with_text("old", before)
                .with_text("new", after),
        );
    }
    let known: BTreeMap<_, _> = old.peers.iter().map(|it| (&it.name, it)).collect();
    for peer in &new.peers {
        let Some(before) = known.get(&peer.name) else {
            continue;
        };
        let change = |what: &str| {
            Entry::new(Kind::KeyChange)
                .with("what", what)
                .with("peer", peer.name.as_str())
        };
        if before.public_key != peer.public_key {
            log.send(
                change("the key of a peer")
                    .with_text("old", before.public_key)
                    .with_text("new", peer.public_key),
            );
        }
        if before.preshared_key != peer.preshared_key {
            log.send(change("a preshared key"));
        }
    }
}

/// Records that a file was not taken.
pub fn refused(log: &Sender, file: &str, why: &str) {
    log.send(
        Entry::new(Kind::ConfigRefused)
            .with("file", file)
            .with("why", why),
    );
}

/// What a program asks to be another, by WireGuard's configuration protocol.
pub fn asked(port: Option<u16>, fwmark: Option<u32>, change: &GatewayChange) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(port.map(|it| format!("listen port: {it}")));
    lines.extend(fwmark.map(|it| format!("fwmark: {it}")));
    match &change.private_key {
        Some(Some(key)) => lines.push(format!("private key: that of {}", key.public())),
        Some(None) => lines.push("private key: none".to_owned()),
        None => {}
    }
    if change.replace_peers {
        lines.push("all peers: removed".to_owned());
    }
    for peer in &change.peers {
        let mut what = Vec::new();
        if peer.remove {
            what.push("removed".to_owned());
        }
        if peer.preshared_key.is_some() {
            what.push("another preshared key".to_owned());
        }
        what.extend(peer.endpoint.map(|it| format!("endpoint {it}")));
        if let Some(interval) = peer.persistent_keepalive {
            let seconds = interval.map_or(0, |it| it.as_secs());
            what.push(format!("keepalive every {seconds} s"));
        }
        if peer.replace_networks {
            what.push("other networks".to_owned());
        }
        what.extend(peer.networks.iter().map(|it| match it {
            NetworkChange::Give(network) => format!("+{network}"),
            NetworkChange::Take(network) => format!("-{network}"),
        }));
        lines.push(format!("peer {}: {}", peer.public_key, what.join(", ")));
    }
    lines
}

fn chunks(lines: &[String]) -> Vec<Vec<String>> {
    let mut chunks = vec![Vec::new()];
    let mut bytes = 0;
    for line in lines {
        bytes += line.len() + 3;
        if bytes > LINES_BYTES_MAX && chunks.last().is_some_and(|it| !it.is_empty()) {
            chunks.push(Vec::new());
            bytes = line.len() + 3;
        }
        if let Some(last) = chunks.last_mut() {
            last.push(line.clone());
        }
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_differences_are_in_parts() {
        assert_eq!(chunks(&[]), [Vec::<String>::new()]);
        let lines: Vec<String> = (0..1000).map(|it| format!("{it:>100}")).collect();
        let parts = chunks(&lines);
        assert_eq!(parts.len(), 7);
        assert_eq!(parts.concat(), lines);
    }
}
