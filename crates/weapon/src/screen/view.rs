//! What the screen shows: the newest reports, how they have changed, and what somebody has chosen.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::{
    rates::per_second,
    report::{Peer, Report},
};

/// Rates that are remembered of a peer: as many as a wide screen has columns for.
const RATES_MAX: usize = 240;

/// A peer of a gateway, by the names that stay when others come and go.
pub type Who = (String, String);

/// How a peer's rates were, in bytes per second; the newest first.
#[derive(Debug, Default)]
pub struct History {
    /// Of what it sent us.
    pub received: VecDeque<u64>,
    /// Of what we sent.
    pub sent: VecDeque<u64>,
    last: Option<(Instant, u64, u64)>,
}

impl History {
    fn note(&mut self, peer: &Peer, at: Instant) {
        let totals = (at, peer.received_bytes, peer.sent_bytes);
        let Some((before, received, sent)) = self.last.replace(totals) else {
            return;
        };
        let seconds = at.saturating_duration_since(before).as_secs_f64();
        // The gateway was restarted, and counts from the beginning.
        let is_older = peer.received_bytes < received || peer.sent_bytes < sent;
        if is_older || seconds == 0.0 {
            return;
        }
        let rates = [
            (&mut self.received, peer.received_bytes - received),
            (&mut self.sent, peer.sent_bytes - sent),
        ];
        for (rates, bytes) in rates {
            rates.push_front(per_second(bytes, seconds));
            rates.truncate(RATES_MAX);
        }
    }

    /// The newest rates: received and sent.
    pub fn newest(&self) -> Option<(u64, u64)> {
        Some((*self.received.front()?, *self.sent.front()?))
    }
}

/// What peers are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// As in the files.
    File,
    /// By name.
    Name,
    /// Who has most traffic at this moment comes first.
    Traffic,
    /// Whose handshake is the oldest comes first, or was never.
    Handshake,
}

impl Sort {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Name => "name",
            Self::Traffic => "traffic",
            Self::Handshake => "handshake",
        }
    }

    fn next(self) -> Self {
        match self {
            Self::File => Self::Name,
            Self::Name => Self::Traffic,
            Self::Traffic => Self::Handshake,
            Self::Handshake => Self::File,
        }
    }
}

/// Whether the screen goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It does.
    GoOn,
    /// Somebody has seen enough.
    End,
}

/// What is shown.
#[derive(Debug)]
pub struct View {
    /// From one look to the next.
    pub interval: Duration,
    /// Colours are understood, and wanted.
    pub colour: bool,
    /// What the gateways said when they last could be asked.
    pub reports: Vec<Report>,
    /// Why they could not be asked just now.
    pub missed: Option<String>,
    /// What peers are sorted by.
    pub sort: Sort,
    histories: BTreeMap<Who, History>,
    chosen: Option<Who>,
}

impl View {
    /// Nothing was seen yet.
    pub fn new(interval: Duration, colour: bool) -> Self {
        Self {
            interval,
            colour,
            reports: Vec::new(),
            missed: None,
            sort: Sort::File,
            histories: BTreeMap::new(),
            chosen: None,
        }
    }

    /// The gateways have said this.
    pub fn note(&mut self, reports: Vec<Report>, at: Instant) {
        self.missed = None;
        self.reports = reports;
        let mut before = std::mem::take(&mut self.histories);
        for report in &self.reports {
            for peer in &report.peers {
                let who = who(report, peer);
                let mut history = before.remove(&who).unwrap_or_default();
                history.note(peer, at);
                self.histories.insert(who, history);
            }
        }
    }

    /// They have said nothing. What they have said before is still shown, with the reason.
    pub fn miss(&mut self, why: String) {
        self.missed = Some(why);
    }

    /// All peers, as they are sorted, with their gateways.
    pub fn peers(&self) -> Vec<(&Report, &Peer)> {
        let reports = self.reports.iter();
        let mut all: Vec<(&Report, &Peer)> = reports
            .flat_map(|report| report.peers.iter().map(move |peer| (report, peer)))
            .collect();
        // A stable order: who is equal stays where the files have it.
        match self.sort {
            Sort::File => {}
            Sort::Name => all.sort_by(|(_, one), (_, other)| one.name.cmp(&other.name)),
            Sort::Traffic => all.sort_by_cached_key(|(report, peer)| {
                let rates = self.history(report, peer).and_then(History::newest);
                Reverse(rates.map(|(received, sent)| received.saturating_add(sent)))
            }),
            Sort::Handshake => all.sort_by_key(|(_, peer)| peer.latest_handshake),
        }
        all
    }

    /// How a peer's rates were.
    pub fn history(&self, report: &Report, peer: &Peer) -> Option<&History> {
        self.histories.get(&who(report, peer))
    }

    /// The place of the chosen peer among [`View::peers`]; the first, if none is or it has gone.
    pub fn chosen(&self) -> usize {
        let chosen = |wanted: &Who| {
            let mut peers = self.peers().into_iter();
            peers.position(|(report, peer)| who(report, peer) == *wanted)
        };
        self.chosen.as_ref().and_then(chosen).unwrap_or(0)
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Next {
        let control = modifiers.contains(KeyModifiers::CONTROL);
        match key {
            KeyCode::Char('c' | 'd') if control => return Next::End,
            KeyCode::Char('q') | KeyCode::Esc => return Next::End,
            KeyCode::Char('s') => self.sort = self.sort.next(),
            KeyCode::Up | KeyCode::Char('k') => self.choose(self.chosen().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.choose(self.chosen() + 1),
            KeyCode::Home => self.choose(0),
            KeyCode::End => self.choose(usize::MAX),
            _ => {}
        }
        Next::GoOn
    }

    fn choose(&mut self, place: usize) {
        let peers = self.peers();
        let last = peers.len().saturating_sub(1);
        let chosen = peers.get(place.min(last));
        self.chosen = chosen.map(|(report, peer)| who(report, peer));
    }
}

fn who(report: &Report, peer: &Peer) -> Who {
    (report.name.clone(), peer.public_key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn view() -> (View, Instant) {
        let mut view = View::new(Duration::from_secs(1), false);
        let start = Instant::now();
        let mut report = sample::report();
        for (number, peer) in report.peers.iter_mut().enumerate() {
            peer.public_key = number.to_string();
        }
        view.note(vec![report], start);
        (view, start)
    }

    fn names(view: &View) -> Vec<&str> {
        let peers = view.peers();
        peers.iter().map(|(_, peer)| peer.name.as_str()).collect()
    }

    fn press(view: &mut View, key: KeyCode) {
        assert_eq!(view.press(key, KeyModifiers::NONE), Next::GoOn);
    }

    #[test]
    fn rates_come_of_two_looks() {
        let (mut view, start) = view();
        let newest = |view: &View| {
            let (report, peer) = (&view.reports[0], &view.reports[0].peers[1]);
            view.history(report, peer).unwrap().newest()
        };
        assert_eq!(newest(&view), None);
        let mut reports = view.reports.clone();
        reports[0].peers[1].received_bytes += 1000;
        view.note(reports.clone(), start + Duration::from_secs(2));
        assert_eq!(newest(&view), Some((500, 0)));
        // Restarted: it begins at zero, and a rate comes with the look after that.
        reports[0].peers[1].received_bytes = 0;
        reports[0].peers[1].sent_bytes = 0;
        view.note(reports.clone(), start + Duration::from_secs(3));
        assert_eq!(newest(&view), Some((500, 0)));
        reports[0].peers[1].sent_bytes = 7;
        view.note(reports, start + Duration::from_secs(4));
        assert_eq!(newest(&view), Some((0, 7)));
        // Gone, and back: there is nothing to compare it with.
        let reports = view.reports.clone();
        view.note(Vec::new(), start + Duration::from_secs(5));
        assert_eq!((view.peers().len(), view.chosen()), (0, 0));
        view.note(reports, start + Duration::from_secs(6));
        assert_eq!(newest(&view), None);
    }

    #[test]
    fn a_history_is_bounded() {
        let (mut view, start) = view();
        for second in 1..2 * RATES_MAX as u64 {
            let reports = view.reports.clone();
            view.note(reports, start + Duration::from_secs(second));
        }
        let (report, peer) = (&view.reports[0], &view.reports[0].peers[0]);
        let history = view.history(report, peer).unwrap();
        assert_eq!(
            (history.received.len(), history.sent.len()),
            (RATES_MAX, RATES_MAX)
        );
    }

    #[test]
    fn s_sorts() {
        let (mut view, start) = view();
        let mut reports = view.reports.clone();
        reports[0].peers[2].sent_bytes += 5;
        view.note(reports, start + Duration::from_secs(1));
        for (sort, expected) in [
            (Sort::File, ["site-b", "roof", "depot"]),
            (Sort::Name, ["depot", "roof", "site-b"]),
            (Sort::Traffic, ["depot", "site-b", "roof"]),
            (Sort::Handshake, ["roof", "depot", "site-b"]),
            (Sort::File, ["site-b", "roof", "depot"]),
        ] {
            assert_eq!((view.sort, names(&view)), (sort, expected.to_vec()));
            press(&mut view, KeyCode::Char('s'));
        }
    }

    #[test]
    fn arrows_choose_and_the_choice_stays_with_the_peer() {
        let (mut view, start) = view();
        press(&mut view, KeyCode::Up);
        assert_eq!(view.chosen(), 0);
        press(&mut view, KeyCode::Down);
        assert_eq!(view.chosen(), 1);
        press(&mut view, KeyCode::End);
        press(&mut view, KeyCode::Down);
        assert_eq!(view.chosen(), 2);
        // Sorted by name, the last is the first.
        press(&mut view, KeyCode::Char('s'));
        assert_eq!((view.sort, view.chosen()), (Sort::Name, 0));
        let mut reports = view.reports.clone();
        reports[0].peers.pop();
        view.note(reports, start + Duration::from_secs(1));
        assert_eq!(view.chosen(), 0);
        press(&mut view, KeyCode::Down);
        assert_eq!(names(&view)[view.chosen()], "site-b");
    }

    #[test]
    fn q_and_control_c_end_it() {
        let (mut view, _) = view();
        let mut ends = |key, modifiers| view.press(key, modifiers) == Next::End;
        assert!(ends(KeyCode::Char('q'), KeyModifiers::NONE));
        assert!(ends(KeyCode::Esc, KeyModifiers::NONE));
        assert!(ends(KeyCode::Char('c'), KeyModifiers::CONTROL));
        assert!(!ends(KeyCode::Char('c'), KeyModifiers::NONE));
    }

    #[test]
    fn who_does_not_answer_is_still_shown() {
        let (mut view, start) = view();
        view.miss("gone".to_owned());
        assert_eq!(
            (view.peers().len(), view.missed.as_deref()),
            (3, Some("gone"))
        );
        view.note(view.reports.clone(), start + Duration::from_secs(1));
        assert_eq!(view.missed, None);
    }
}
