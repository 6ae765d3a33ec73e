//! The gateway's end of the log: what happens is put into a bounded queue, without waiting for
//! anything. What finds no room is counted, and the count is written as soon as there is room.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use super::{
    entry::{Entry, Kind},
    limits::{Limits, TELL_TIME},
    link::ToWriter,
    moment::Moment,
    writer::State,
};

/// How long until it is tried again to tell of what was lost.
const RETRY_TIME: Duration = Duration::from_secs(1);

/// What becomes of the gateway when its log cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It goes on.
    #[default]
    Continue,
    /// It goes on, and lets nothing begin that is not there yet.
    DenyNew,
    /// It stops.
    Stop,
}

impl OnFailure {
    /// All, as they are written.
    pub const ALL: [(&'static str, Self); 3] = [
        ("continue", Self::Continue),
        ("deny-new", Self::DenyNew),
        ("stop", Self::Stop),
    ];

    /// As it is written.
    pub fn label(self) -> &'static str {
        let all = Self::ALL.iter();
        let mut found = all.filter(|(_, it)| *it == self);
        found.next().map_or("", |(label, _)| label)
    }
}

/// The gateway's end. Clones are the same end.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    queue: Box<dyn Fn(ToWriter) -> Result<(), ToWriter> + Send + Sync>,
    on_failure: OnFailure,
    /// Whether nothing new may begin, because it could not be recorded.
    denies_new: watch::Sender<bool>,
    /// Lost, and not told yet.
    lost: AtomicU64,
    /// Since when.
    lost_since: Mutex<Moment>,
    /// Lost at all.
    lost_total: AtomicU64,
    /// Left out at all.
    left_out_total: AtomicU64,
    limits: Mutex<Limits>,
    /// Something is to be told that found no room or was left out.
    untold: Notify,
    state: watch::Sender<State>,
}

impl Sender {
    /// One that gives to this queue, which gives back what it has no room for.
    pub fn new(
        on_failure: OnFailure,
        queue: impl Fn(ToWriter) -> Result<(), ToWriter> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            queue: Box::new(queue),
            on_failure,
            denies_new: watch::Sender::new(false),
            lost: AtomicU64::new(0),
            lost_since: Mutex::default(),
            lost_total: AtomicU64::new(0),
            left_out_total: AtomicU64::new(0),
            limits: Mutex::default(),
            untold: Notify::new(),
            state: watch::Sender::new(State::default()),
        }))
    }

    /// Records `entry`, if there is room.
    pub fn send(&self, entry: Entry) {
        self.tell_lost();
        if self.is_losing() || !self.push(entry) {
            self.lose();
        }
    }

    /// Records it, unless too much of this sort was recorded just now. Then it is counted.
    pub fn send_limited(&self, sort: &str, entry: Entry) {
        self.send_limited_as(sort, entry, 1);
    }

    /// The same of what is counted as so many.
    pub fn send_limited_as(&self, sort: &str, entry: Entry, many: u64) {
        let is_admitted = self.limits().admit(entry.kind, sort, entry.at, many);
        if is_admitted {
            self.send(entry);
        } else {
            self.0.left_out_total.fetch_add(1, Ordering::Relaxed);
            self.0.untold.notify_one();
        }
    }

    /// Counts what is not recorded, because there was too much of this sort.
    pub fn leave_out(&self, kind: Kind, sort: &str, many: u64) {
        self.limits().leave_out(kind, sort, Moment::now(), many);
        self.0.untold.notify_one();
    }

    /// Records that some were lost before they came here.
    pub fn missed(&self, records: u64, because: &str) {
        self.0.lost_total.fetch_add(records, Ordering::Relaxed);
        let entry = Entry::new(Kind::Lost).with("records", records);
        self.send(entry.with("because", because));
    }

    /// Waits until there is something to tell and it is time to; for ever if nothing comes.
    pub async fn due(&self) {
        loop {
            let is_losing = self.is_losing();
            if is_losing || self.limits().has_left_out() {
                let time = if is_losing { RETRY_TIME } else { TELL_TIME };
                tokio::time::sleep(time).await;
                return;
            }
            self.0.untold.notified().await;
        }
    }

    /// Tells what was lost and what was left out.
    pub fn tell(&self) {
        self.tell_lost();
        if !self.is_losing() {
            let told = self.limits().tell(Moment::now());
            for entry in told {
                self.send(entry);
            }
        }
    }

    /// Nothing more is recorded. False if that found no room.
    pub fn close(&self) -> bool {
        self.tell();
        !self.is_losing() && (self.0.queue)(ToWriter::Close).is_ok()
    }

    /// How the writer says it goes.
    pub fn note_state(&self, state: State) {
        self.0.state.send_replace(state);
        self.set_denial();
    }

    /// How it goes, with what found no room and what was left out.
    pub fn state(&self) -> State {
        let mut state = self.0.state.borrow().clone();
        state.lost += self.0.lost_total.load(Ordering::Relaxed);
        state.suppressed = self.0.left_out_total.load(Ordering::Relaxed);
        state
    }

    /// Whether it is time to stop, and why.
    pub fn stops_because(&self) -> Option<String> {
        let state = self.0.state.borrow();
        let failing = state.failing.clone();
        failing.filter(|_| self.0.on_failure == OnFailure::Stop)
    }

    /// Waits until it is time to stop.
    pub async fn stopped(&self) -> String {
        let mut states = self.0.state.subscribe();
        loop {
            if let Some(reason) = self.stops_because() {
                return reason;
            }
            // The other end is in `self`.
            let _ = states.changed().await;
        }
    }

    /// What is to happen when the log cannot be written.
    pub fn on_failure(&self) -> OnFailure {
        self.0.on_failure
    }

    /// Whether nothing new may begin, because it could not be recorded.
    pub fn denies_new(&self) -> bool {
        *self.0.denies_new.borrow()
    }

    /// Waits until that is no longer as it `was`.
    pub async fn turned(&self, was: bool) {
        let mut denies_new = self.0.denies_new.subscribe();
        // The other end is in `self`.
        let _ = denies_new.wait_for(|&now| now != was).await;
    }

    fn push(&self, entry: Entry) -> bool {
        (self.0.queue)(ToWriter::Entry(Box::new(entry))).is_ok()
    }

    fn is_losing(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed) != 0
    }

    fn lose(&self) {
        let before = self.0.lost.fetch_add(1, Ordering::Relaxed);
        self.0.lost_total.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            let since = self.0.lost_since.lock();
            *since.unwrap_or_else(PoisonError::into_inner) = Moment::now();
            self.set_denial();
            self.0.untold.notify_one();
        }
    }

    /// Tells what was lost, if there is room: before anything that comes after.
    fn tell_lost(&self) {
        let lost = self.0.lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return;
        }
        let since = self.0.lost_since.lock();
        let since = *since.unwrap_or_else(PoisonError::into_inner);
        let entry = Entry::new(Kind::Lost)
            .with("records", lost)
            .with("because", "the queue to the log was full")
            .with("since", since.text());
        if !self.push(entry) {
            self.0.lost.fetch_add(lost, Ordering::Relaxed);
        }
        self.set_denial();
    }

    fn set_denial(&self) {
        let is_failing = self.0.state.borrow().failing.is_some();
        let denies = self.0.on_failure == OnFailure::DenyNew && (is_failing || self.is_losing());
        let is_turned = self.0.denies_new.send_if_modified(|before| {
            let is_turned = *before != denies;
            *before = denies;
            is_turned
        });
        if is_turned && denies {
            tracing::error!("no new flows: the audit log cannot be written");
        } else if is_turned {
            tracing::warn!("new flows again: the audit log is written");
        }
    }

    fn limits(&self) -> std::sync::MutexGuard<'_, Limits> {
        let limits = self.0.limits.lock();
        limits.unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, TrySendError, sync_channel};

    use super::*;

    fn queue(room: usize, on_failure: OnFailure) -> (Sender, Receiver<ToWriter>) {
        let (queue, taken) = sync_channel(room);
        let sender = Sender::new(on_failure, move |it| {
            queue.try_send(it).map_err(|error| match error {
                TrySendError::Full(it) | TrySendError::Disconnected(it) => it,
            })
        });
        (sender, taken)
    }

    fn take(taken: &Receiver<ToWriter>) -> Vec<Entry> {
        let entries = taken.try_iter().map(|it| match it {
            ToWriter::Entry(entry) => *entry,
            ToWriter::Close => panic!("nobody closes"),
        });
        entries.collect()
    }

    #[test]
    fn what_finds_no_room_is_counted_and_told_first() {
        let (sender, taken) = queue(2, OnFailure::DenyNew);
        for _ in 0..9 {
            sender.send(Entry::new(Kind::Handshake));
        }
        assert!(sender.denies_new());
        assert_eq!(sender.state().lost, 7);
        assert_eq!(take(&taken).len(), 2);
        sender.send(Entry::new(Kind::Roam));
        let entries = take(&taken);
        assert_eq!(entries[0].kind, Kind::Lost);
        assert_eq!(entries[0].fields["records"], 7);
        assert_eq!(entries[1].kind, Kind::Roam);
        assert!(!sender.denies_new());
        assert_eq!(sender.state().lost, 7);
    }

    #[test]
    fn what_is_left_out_is_told_exactly() {
        let (sender, taken) = queue(1000, OnFailure::Continue);
        for _ in 0..10_000 {
            sender.send_limited("flood", Entry::new(Kind::Rejected));
        }
        let recorded = take(&taken).len() as u64;
        sender.tell();
        let told = take(&taken);
        let left_out = told[0].fields["records"].as_u64();
        assert_eq!(left_out, Some(10_000 - recorded));
        assert_eq!(left_out, Some(sender.state().suppressed));
        assert_eq!(told[0].fields["of"], "rejected");
        assert_eq!(sender.state().lost, 0);
    }

    #[test]
    fn a_policy_is_followed() {
        let failing = State {
            failing: Some("the disk is full".to_owned()),
            ..State::default()
        };
        for (label, policy) in OnFailure::ALL {
            assert_eq!(policy.label(), label);
            let (sender, _taken) = queue(1, policy);
            sender.note_state(failing.clone());
            assert_eq!(sender.denies_new(), policy == OnFailure::DenyNew);
            let stops = sender.stops_because().is_some();
            assert_eq!(stops, policy == OnFailure::Stop);
            sender.note_state(State::default());
            assert!(!sender.denies_new() && sender.stops_because().is_none());
        }
    }

    /// Many threads, a queue that is always full: each record is written or counted.
    #[test]
    fn no_loss_is_forgotten_between_threads() {
        let (sender, taken) = queue(3, OnFailure::Continue);
        let reader = std::thread::spawn(move || {
            let (mut written, mut lost) = (0, 0);
            for it in taken {
                let ToWriter::Entry(entry) = it else { break };
                match entry.kind {
                    Kind::Lost => lost += entry.fields["records"].as_u64().unwrap(),
                    _ => written += 1,
                }
            }
            (written, lost)
        });
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        sender.send(Entry::at(Moment::default(), Kind::FlowEnd));
                    }
                });
            }
        });
        while !sender.close() {
            std::thread::yield_now();
        }
        let (written, lost) = reader.join().unwrap();
        assert_eq!(written + lost, 80_000);
    }
}
