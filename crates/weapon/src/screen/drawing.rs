//! The view as characters, whatever the terminal's size.

use std::collections::VecDeque;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::{Paragraph, Row, Sparkline, Table, TableState, Wrap},
};

use super::view::{History, View};
use crate::{
    report::{Peer, Report},
    status::{
        amounts::{bytes, duration, milliseconds, percent, plural, rate, short_duration},
        fold::fold,
    },
};

/// Gateways that have a line at most; all of them are in `weapon status`.
const GATEWAYS_MAX: usize = 6;

/// Of the screen's lines, the part that warnings have at most.
const WARNINGS_PART: u16 = 3;

/// Lines about the chosen peer, and of a terminal that has room for them.
const DETAILS_LINES: u16 = 7;
const LINES_FOR_DETAILS_MIN: u16 = 20;

/// Columns of a peer's small curve.
const CURVE_COLUMNS: usize = 12;

/// Columns from which on the tables show also what is good to have.
const COLUMNS_FOR_CURVES_MIN: u16 = 90;
const COLUMNS_FOR_ENDPOINT_MIN: u16 = 116;

/// Draws all of it, at the moment `now` in seconds since 1970.
pub fn draw(view: &View, now: u64, frame: &mut Frame<'_>) {
    let area = frame.area();
    let warnings = warnings(view, area);
    let gateways = view.reports.len().min(GATEWAYS_MAX) as u16;
    let details = if area.height >= LINES_FOR_DETAILS_MIN && !view.peers().is_empty() {
        DETAILS_LINES
    } else {
        0
    };
    let [head, above, table, below, said, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(gateways + 2),
        Constraint::Fill(1),
        Constraint::Length(details),
        Constraint::Length(warnings.len() as u16),
        Constraint::Length(1),
    ])
    .areas(area);
    draw_head(view, head, frame);
    draw_gateways(view, above, frame);
    draw_peers(view, now, table, frame);
    if details != 0 {
        draw_details(view, now, below, frame);
    }
    frame.render_widget(Paragraph::new(warnings), said);
    let keys = Line::styled("q quit   ↑↓ choose   s sort", faint());
    frame.render_widget(keys, foot);
}

fn draw_head(view: &View, area: Rect, frame: &mut Frame<'_>) {
    let peers = view.peers().len() as u64;
    let gateways = plural(view.reports.len() as u64, "gateway");
    let what = format!("weapon   {gateways}, {}", plural(peers, "peer"));
    let how = format!(
        "every {} s, by {}",
        view.interval.as_secs_f64(),
        view.sort.name()
    );
    let [left, right] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Length(how.chars().count() as u16),
    ])
    .areas(area);
    frame.render_widget(Line::styled(what, strong()), left);
    frame.render_widget(Line::styled(how, faint()), right);
}

fn draw_gateways(view: &View, area: Rect, frame: &mut Frame<'_>) {
    let rows = view.reports.iter().take(GATEWAYS_MAX).map(|report| {
        let (state, colour) = if view.missed.is_some() {
            ("?", Color::Yellow)
        } else if report.up {
            ("up", Color::Green)
        } else {
            ("down", Color::Red)
        };
        let dropped: u64 = report.drops.values().sum();
        let of = |pick: fn((u64, u64)) -> u64| total(view, report, pick);
        Row::new([
            Span::raw(report.name.clone()),
            Span::styled(state, ink(view, colour)),
            Span::raw(report.interface.clone()),
            Span::raw(report.mtu.to_string()),
            Span::raw(of(|(received, _)| received)),
            Span::raw(of(|(_, sent)| sent)),
            Span::raw(dropped.to_string()),
            Span::raw(report.cipher.backend.clone()),
        ])
    });
    let head = [
        "gateway",
        "state",
        "interface",
        "MTU",
        "received",
        "sent",
        "dropped",
        "cipher",
    ];
    let widths = [
        Constraint::Length(16),
        Constraint::Length(5),
        Constraint::Length(15),
        Constraint::Length(5),
        Constraint::Length(12),
        Constraint::Length(12),
        Constraint::Length(8),
        Constraint::Fill(1),
    ];
    let table = Table::new(rows, widths).header(Row::new(head).style(faint()));
    frame.render_widget(table, area);
}

/// The sum of the newest rates of a gateway's peers.
fn total(view: &View, report: &Report, pick: fn((u64, u64)) -> u64) -> String {
    let peers = report.peers.iter();
    let rates = peers.filter_map(|peer| view.history(report, peer)?.newest());
    rates
        .map(pick)
        .reduce(u64::saturating_add)
        .map_or_else(String::new, rate)
}

fn draw_peers(view: &View, now: u64, area: Rect, frame: &mut Frame<'_>) {
    let with_curves = area.width >= COLUMNS_FOR_CURVES_MIN;
    let with_endpoint = area.width >= COLUMNS_FOR_ENDPOINT_MIN;
    let curve = if with_curves { CURVE_COLUMNS as u16 } else { 0 };
    let endpoint = if with_endpoint { 24 } else { 0 };
    let rows = view.peers().into_iter().map(|(report, peer)| {
        let history = view.history(report, peer);
        let newest = history.and_then(History::newest);
        let (state, colour) = state(peer);
        let handshake = match peer.latest_handshake {
            Some(at) => short_duration(now.saturating_sub(at)),
            None => "never".to_owned(),
        };
        Row::new([
            Span::raw(peer.name.clone()),
            Span::raw(report.name.clone()),
            Span::styled(state, ink(view, colour)),
            Span::raw(handshake),
            Span::raw(newest.map_or_else(String::new, |(received, _)| rate(received))),
            Span::raw(history.map_or_else(String::new, |it| small_curve(&it.received))),
            Span::raw(newest.map_or_else(String::new, |(_, sent)| rate(sent))),
            Span::raw(history.map_or_else(String::new, |it| small_curve(&it.sent))),
            Span::raw(place(peer)),
        ])
    });
    let head = [
        "peer",
        "gateway",
        "state",
        "handshake",
        "received",
        "",
        "sent",
        "",
        "endpoint",
    ];
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(9),
        Constraint::Length(12),
        Constraint::Length(curve),
        Constraint::Length(12),
        Constraint::Length(curve),
        Constraint::Length(endpoint),
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(head).style(faint()))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    // The table scrolls to where the chosen one is seen.
    let mut state = TableState::new().with_selected(view.chosen());
    frame.render_stateful_widget(table, area, &mut state);
}

fn draw_details(view: &View, now: u64, area: Rect, frame: &mut Frame<'_>) {
    let peers = view.peers();
    let Some((report, peer)) = peers.get(view.chosen()) else {
        return;
    };
    let [left, _, right] = Layout::horizontal([
        Constraint::Fill(3),
        Constraint::Length(2),
        Constraint::Fill(2),
    ])
    .areas(area);
    let paragraph = Paragraph::new(details(peer, now)).wrap(Wrap { trim: false });
    frame.render_widget(paragraph, left);
    let Some(history) = view.history(report, peer) else {
        return;
    };
    let [_, received, sent] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(3),
    ])
    .areas(right);
    for (name, rates, area) in [
        ("received", &history.received, received),
        ("sent", &history.sent, sent),
    ] {
        draw_curve(name, rates, area, frame);
    }
}

fn draw_curve(name: &str, rates: &VecDeque<u64>, area: Rect, frame: &mut Frame<'_>) {
    let [title, curve] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let shown = rates.iter().take(usize::from(curve.width));
    let most = shown.clone().max().copied().unwrap_or(0);
    let line = Line::styled(format!("{name}, at most {}", rate(most)), faint());
    frame.render_widget(line, title);
    // The newest is at the right, where the hand of a clock would be.
    let data: Vec<u64> = shown.rev().copied().collect();
    let len = data.len() as u16;
    let at_right = Rect {
        x: curve.right().saturating_sub(len),
        width: len.min(curve.width),
        ..curve
    };
    frame.render_widget(Sparkline::default().data(data), at_right);
}

fn details(peer: &Peer, now: u64) -> Vec<Line<'static>> {
    let row = |name: &str, value: String| {
        let name = Span::styled(format!("{name:<11} "), faint());
        Line::from(vec![name, Span::raw(value)])
    };
    let handshake = match peer.latest_handshake {
        Some(at) => format!("{} ago", duration(now.saturating_sub(at))),
        None => "never".to_owned(),
    };
    let received = bytes(peer.received_bytes);
    let sent = bytes(peer.sent_bytes);
    let time = peer.round_trip_smoothed_us.map(milliseconds);
    let loss = peer.loss.map(|loss| percent(loss.missing, loss.sent));
    let path = [("round trip", time), ("loss", loss)];
    let path = path
        .into_iter()
        .filter_map(|(name, value)| Some(format!("{name} {}", value?)));
    vec![
        Line::styled(peer.name.clone(), strong()),
        row("public key", peer.public_key.clone()),
        row("endpoint", place(peer)),
        row("networks", peer.networks.join(", ")),
        row("handshake", handshake),
        row("transfer", format!("{received} received, {sent} sent")),
        row("path", path.collect::<Vec<_>>().join(", ")),
    ]
}

/// Where a peer is, or why that is not known.
fn place(peer: &Peer) -> String {
    match (peer.endpoint, &peer.unresolved) {
        (Some(endpoint), _) => endpoint.to_string(),
        (None, Some(name)) => format!("{name}?"),
        (None, None) => "unknown".to_owned(),
    }
}

fn state(peer: &Peer) -> (&'static str, Color) {
    match (&peer.session, peer.endpoint, &peer.unresolved) {
        (Some(_), ..) => ("session", Color::Green),
        (None, None, Some(_)) => ("no name", Color::Red),
        (None, None, None) => ("no address", Color::Yellow),
        (None, Some(_), _) if peer.parked != 0 => ("no answer", Color::Red),
        (None, Some(_), _) => ("no session", Color::Yellow),
    }
}

/// All that is wrong, as far as there is room for it, and what was dropped.
fn warnings(view: &View, area: Rect) -> Vec<Line<'static>> {
    let mut texts = Vec::new();
    texts.extend(view.missed.clone());
    if view.reports.is_empty() && texts.is_empty() {
        texts.push("no gateway runs".to_owned());
    }
    for report in &view.reports {
        let name = &report.name;
        texts.extend(report.warnings.iter().map(|warning| match &warning.peer {
            Some(peer) => format!("{name}, {peer}: {}", warning.text),
            None => format!("{name}: {}", warning.text),
        }));
        for entry in &report.networks {
            let of = |warning| format!("{name}, {}: {warning}", entry.written);
            texts.extend(entry.warnings.iter().map(of));
        }
    }
    let colour = ink(view, Color::Yellow);
    let mut lines = Vec::new();
    let lines_max = usize::from(area.height / WARNINGS_PART);
    for (told, text) in texts.iter().enumerate() {
        let mut folded = fold(&format!("! {text}"), usize::from(area.width));
        let is_last = told + 1 == texts.len();
        // The line that says how many more there are needs room too.
        if lines.len() + folded.len() + usize::from(!is_last) > lines_max {
            let left_out = texts.len() - told;
            folded = vec![format!("! {left_out} more: see `weapon status`")];
            lines.extend(folded.into_iter().map(|it| Line::styled(it, colour)));
            break;
        }
        lines.extend(folded.into_iter().map(|it| Line::styled(it, colour)));
    }
    lines.extend(drops(view));
    lines
}

fn drops(view: &View) -> Option<Line<'static>> {
    let of = |report: &Report| {
        let counts = report.drops.iter().filter(|&(_, &count)| count != 0);
        let counts: Vec<String> = counts
            .map(|(reason, count)| format!("{reason} {count}"))
            .collect();
        (!counts.is_empty()).then(|| format!("{}: {}", report.name, counts.join(", ")))
    };
    let all: Vec<String> = view.reports.iter().filter_map(of).collect();
    (!all.is_empty()).then(|| Line::styled(format!("dropped by {}", all.join("; ")), faint()))
}

/// The newest rates as a row of small bars, the newest at the right.
fn small_curve(rates: &VecDeque<u64>) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = rates.iter().take(CURVE_COLUMNS);
    let most = shown.clone().max().copied().unwrap_or(0);
    let bar = |&rate: &u64| {
        let of_eight = u128::from(rate) * 7 / u128::from(most.max(1));
        BARS[usize::try_from(of_eight).unwrap_or(7).min(7)]
    };
    let bars: String = shown.rev().map(bar).collect();
    format!("{bars:>CURVE_COLUMNS$}")
}

fn ink(view: &View, colour: Color) -> Style {
    if view.colour {
        Style::new().fg(colour)
    } else {
        Style::new()
    }
}

fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

#[cfg(test)]
mod tests;
