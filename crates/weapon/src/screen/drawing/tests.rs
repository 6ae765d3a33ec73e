//! The screen of fixed reports, to the character.

use std::time::{Duration, Instant};

use ratatui::{Terminal, backend::TestBackend};

use super::*;
use crate::report::{
    Warning,
    sample::{self, NOW},
};

const NONE: &str = "\
weapon   0 gateways, 0 peers                                  every 1 s, by file

gateway          state interface       MTU   received     sent         dropped

peer              gateway      state      handshake received      sent

! no gateway runs
q quit   ↑↓ choose   s sort
";

const GONE: &str = "\
weapon   1 gateway, 3 peers                                   every 1 s, by file

gateway          state interface       MTU   received     sent         dropped
site-a           ?     w-site-a        1420  2.0 Mbit/s   8.0 kbit/s   4

peer              gateway      state      handshake received      sent
site-b            site-a       session    12s       2.0 Mbit/s    8.0 kbit/s
roof              site-a       no answer  never     0 bit/s       0 bit/s
! there is no running gateway \"site-a\"; none runs
! site-a, roof: it does not answer
dropped by site-a: no_route 4
q quit   ↑↓ choose   s sort
";

const SMALL: &str = "\
weapon   1 gateway, 3 peers                                   every 1 s, by file

gateway          state interface       MTU   received     sent         dropped
site-a           up    w-site-a        1420  2.0 Mbit/s   8.0 kbit/s   4

peer              gateway      state      handshake received      sent
site-b            site-a       session    12s       2.0 Mbit/s    8.0 kbit/s
roof              site-a       no answer  never     0 bit/s       0 bit/s
depot             site-a       no name    never     0 bit/s       0 bit/s
! site-a, roof: it does not answer
dropped by site-a: no_route 4
q quit   ↑↓ choose   s sort
";

const WIDE: &str = include_str!("wide.txt");

/// Three seconds of a gateway and its peers.
fn view() -> View {
    let mut view = View::new(Duration::from_secs(1), false);
    let start = Instant::now();
    let mut report = sample::report();
    for (number, peer) in report.peers.iter_mut().enumerate() {
        peer.public_key = format!("key of peer {number}");
    }
    report.warnings = vec![Warning {
        kind: "no_session".to_owned(),
        peer: Some("roof".to_owned()),
        text: "it does not answer".to_owned(),
    }];
    view.note(vec![report.clone()], start);
    for (second, bytes) in [(1, 500_000), (2, 1_000_000), (3, 250_000)] {
        report.peers[0].received_bytes += bytes;
        report.peers[0].sent_bytes += 1000;
        view.note(vec![report.clone()], start + Duration::from_secs(second));
    }
    view
}

fn lines(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(view, NOW, frame)).unwrap();
    let buffer = terminal.backend().buffer();
    let rows = buffer.content().chunks(usize::from(width));
    let text = |row: &[ratatui::buffer::Cell]| -> String {
        row.iter().map(ratatui::buffer::Cell::symbol).collect()
    };
    rows.map(|row| text(row).trim_end().to_owned()).collect()
}

#[track_caller]
fn shows(view: &View, width: u16, height: u16, expected: &str) {
    let found = lines(view, width, height).join("\n");
    assert!(
        found == expected.trim_end(),
        "\n{found}\n--- expected:\n{expected}"
    );
}

#[test]
fn a_wide_screen_shows_all() {
    shows(&view(), 120, 24, WIDE);
}

#[test]
fn a_small_screen_shows_what_matters() {
    shows(&view(), 80, 12, SMALL);
}

#[test]
fn a_gateway_that_went_is_said() {
    let mut view = view();
    view.miss("there is no running gateway \"site-a\"; none runs".to_owned());
    shows(&view, 80, 12, GONE);
    view.note(Vec::new(), Instant::now());
    shows(&view, 80, 8, NONE);
}

/// No size is too small to be drawn, and no choice out of sight.
#[test]
fn any_size_is_drawn() {
    let mut view = view();
    for _ in 0..3 {
        for width in [1, 2, 10, 39, 90, 116, 250] {
            for height in [1, 2, 5, 9, 19, 20, 21, 60] {
                assert_eq!(lines(&view, width, height).len(), usize::from(height));
            }
        }
        use ratatui::crossterm::event::{KeyCode, KeyModifiers};
        view.press(KeyCode::Down, KeyModifiers::NONE);
    }
    let small = lines(&view, 80, 11).join("\n");
    assert!(small.contains("depot"), "{small}");
}

#[test]
fn many_warnings_are_counted() {
    let mut view = view();
    let warning = view.reports[0].warnings[0].clone();
    view.reports[0].warnings = vec![warning; 9];
    let found = lines(&view, 80, 24).join("\n");
    assert_eq!(found.matches("it does not answer").count(), 7, "{found}");
    assert!(found.contains("! 2 more: see `weapon status`"), "{found}");
    let found = lines(&view, 80, 60).join("\n");
    assert_eq!(found.matches("it does not answer").count(), 9, "{found}");
    assert!(!found.contains("more"), "{found}");
    // A long one is folded.
    view.reports[0].warnings.truncate(1);
    view.reports[0].warnings[0].text = "word ".repeat(20);
    let found = lines(&view, 60, 24).join("\n");
    assert_eq!(found.matches("word").count(), 20, "{found}");
}

#[test]
fn curves_are_as_high_as_their_highest() {
    let curve = |rates: &[u64]| small_curve(&rates.iter().copied().collect());
    assert_eq!(curve(&[]), "            ");
    assert_eq!(curve(&[0, 0]), "          ▁▁");
    assert_eq!(curve(&[7, 0, 3]), "         ▄▁█");
    assert_eq!(curve(&[u64::MAX, 1]), "          ▁█");
    assert_eq!(curve(&[5; 40]), "████████████");
}

#[test]
fn colours_are_for_who_wants_them() {
    let coloured = |colour| {
        let mut view = view();
        view.colour = colour;
        let mut terminal = Terminal::new(TestBackend::new(120, 24)).unwrap();
        terminal.draw(|frame| draw(&view, NOW, frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        cells.iter().any(|cell| cell.fg != Color::Reset)
    };
    assert!(coloured(true));
    assert!(!coloured(false));
}
