//! `weapon status`.

use std::{
    fmt::Write as _,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::bail;

use crate::{
    api::{Answer, Client, Request},
    cli::{self, StatusArgs},
    config::{BadConfig, gateway_name},
    places::{self, Places},
    report::{Behind, Cipher, Peer, Report},
};

/// Shows one gateway, or all that run.
pub fn run(args: StatusArgs) -> anyhow::Result<ExitCode> {
    let reports = match &args.target {
        Some(target) => {
            let name = gateway_name(target).map_err(|problem| BadConfig(vec![problem]))?;
            vec![ask(&name, Client::of(&name)?)?]
        }
        None => {
            let all = places::gateways().into_iter().filter_map(|name| {
                // One that has gone in between is not missed.
                let client = Client::connect(&Places::of(&name)).transpose()?;
                Some(client.and_then(|client| ask(&name, client)))
            });
            all.collect::<anyhow::Result<_>>()?
        }
    };
    if args.json {
        // One gateway asked for: one object. All: a list, also of one.
        let text = match (&args.target, &reports[..]) {
            (Some(_), [report]) => serde_json::to_string_pretty(report)?,
            _ => serde_json::to_string_pretty(&reports)?,
        };
        cli::print(&text)?;
        return Ok(ExitCode::SUCCESS);
    }
    if reports.is_empty() {
        cli::print("no gateway runs")?;
    }
    let bold = cli::stdout_colour();
    for (position, report) in reports.iter().enumerate() {
        if position != 0 {
            cli::print("")?;
        }
        cli::print(describe(report, bold, seconds_now()).trim_end())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn ask(name: &str, client: Client) -> anyhow::Result<Report> {
    match client.ask(&Request::Status)? {
        Answer::Status(report) => Ok(*report),
        _ => bail!("the gateway {name:?} answers something else"),
    }
}

fn seconds_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn describe(report: &Report, bold: bool, now: u64) -> String {
    let mut text = String::new();
    let state = if report.up { "up" } else { "interface is down" };
    heading(&mut text, bold, &format!("gateway {}", report.name), state);
    row(
        &mut text,
        "interface",
        &format!("{}, MTU {}", report.interface, report.mtu),
    );
    row(&mut text, "public key", &report.public_key);
    let mark = match report.fwmark {
        0 => String::new(),
        mark => format!(", mark {mark:#x}"),
    };
    row(
        &mut text,
        "listens",
        &format!("UDP port {}{mark}", report.listen_port),
    );
    behind(&mut text, &report.networks);
    row(&mut text, "lanes", &report.lanes.to_string());
    row(&mut text, "cipher", &cipher(&report.cipher));
    row(&mut text, "offloads", &offloads(report));
    row(
        &mut text,
        "process",
        &format!("{} ({})", report.pid, report.config),
    );
    let drops: Vec<String> = report
        .drops
        .iter()
        .filter(|&(_, &count)| count != 0)
        .map(|(reason, count)| format!("{reason} {count}"))
        .collect();
    let drops = if drops.is_empty() {
        "none".to_owned()
    } else {
        drops.join(", ")
    };
    row(&mut text, "dropped", &drops);
    for peer in &report.peers {
        text.push('\n');
        describe_peer(&mut text, peer, bold, now);
    }
    text
}

fn describe_peer(text: &mut String, peer: &Peer, bold: bool, now: u64) {
    let state = match (&peer.session, peer.endpoint, &peer.unresolved) {
        (Some(_), ..) => "session",
        (None, Some(_), _) => "no session",
        (None, None, Some(_)) => "name does not resolve",
        (None, None, None) => "address unknown",
    };
    heading(text, bold, &format!("peer {}", peer.name), state);
    row(text, "public key", &peer.public_key);
    if let Some(endpoint) = peer.endpoint {
        row(text, "endpoint", &endpoint.to_string());
    }
    if let Some(name) = &peer.unresolved {
        let name = format!("{name}, not resolved yet; trying again");
        row(text, "endpoint", &name);
    }
    row(text, "networks", &peer.networks.join(", "));
    let handshake = match peer.latest_handshake {
        Some(at) => format!("{} ago", duration(now.saturating_sub(at))),
        None => "never".to_owned(),
    };
    row(text, "handshake", &handshake);
    let transfer = format!(
        "{} received, {} sent",
        bytes(peer.received_bytes),
        bytes(peer.sent_bytes)
    );
    row(text, "transfer", &transfer);
    if let Some(seconds) = peer.persistent_keepalive {
        row(text, "keepalive", &format!("every {seconds} s"));
    }
    if peer.parked != 0 {
        row(
            text,
            "parked",
            &format!("{} packets wait for a session", peer.parked),
        );
    }
}

/// What lies behind us: a line for each entry of the file, and one for each warning.
fn behind(text: &mut String, networks: &[Behind]) {
    for (index, entry) in networks.iter().enumerate() {
        let name = if index == 0 { "behind us" } else { "" };
        let prefixes = entry.prefixes.iter().map(|it| match &it.interface {
            Some(interface) => format!("{} by {interface}", it.prefix),
            None => format!("{} by no interface", it.prefix),
        });
        let mut prefixes = prefixes.collect::<Vec<_>>().join(", ");
        if prefixes.is_empty() {
            prefixes.push_str("nothing");
        }
        row(text, name, &format!("{}: {prefixes}", entry.written));
        for warning in &entry.warnings {
            row(text, "", &format!("  warning: {warning}"));
        }
    }
}

fn heading(text: &mut String, bold: bool, what: &str, state: &str) {
    let (on, off) = if bold {
        ("\x1b[1m", "\x1b[0m")
    } else {
        ("", "")
    };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{on}{what}{off}  {state}");
}

fn row(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "  {name:<11} {value}");
}

fn cipher(cipher: &Cipher) -> String {
    match &cipher.reason {
        Some(reason) => format!("{} ({reason})", cipher.backend),
        None => cipher.backend.clone(),
    }
}

fn offloads(report: &Report) -> String {
    let all = [
        ("TUN TCP", report.offloads.tun_tcp),
        ("TUN UDP", report.offloads.tun_udp),
        ("UDP GSO", report.offloads.udp_gso),
        ("UDP GRO", report.offloads.udp_gro),
    ];
    let list = |wanted: bool| -> Vec<&str> {
        all.iter()
            .filter(|&&(_, on)| on == wanted)
            .map(|&(name, _)| name)
            .collect()
    };
    match (list(true), list(false)) {
        (on, off) if off.is_empty() => on.join(", "),
        (on, off) if on.is_empty() => format!("none (off: {})", off.join(", ")),
        (on, off) => format!("{} (off: {})", on.join(", "), off.join(", ")),
    }
}

/// The two largest units: `2 h 5 min`.
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

/// Binary units, as `wg` uses.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.2} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cipher_that_is_not_the_fastest_says_why() {
        let shown = |reason: Option<&str>| {
            cipher(&Cipher {
                backend: "library".to_owned(),
                reason: reason.map(str::to_owned),
            })
        };
        assert_eq!(shown(None), "library");
        assert_eq!(shown(Some("no AVX")), "library (no AVX)");
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(5 << 30), "5.00 GiB");
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 1 s");
        assert_eq!(duration(7500), "2 h 5 min");
        assert_eq!(duration(90_000), "1 d 1 h");
    }
}
