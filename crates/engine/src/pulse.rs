//! Whether the threads still go round: a question to all of them, and who has answered it. HOT
//!
//! A supervisor that restarts a gateway whose threads hang must not be told that all is well by a
//! thread that only does that.

use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

/// The number of the last question, and of the last that each thread has answered.
#[derive(Debug)]
pub(crate) struct Pulse {
    asked: AtomicU64,
    answered: Box<[AtomicU64]>,
}

impl Pulse {
    /// The thread of the control loop; the lanes follow.
    pub(crate) const CONTROL: usize = 0;

    /// Of the control loop and so many lanes. Nothing was asked yet.
    #[cold]
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            asked: AtomicU64::new(0),
            answered: (0..=lanes).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Asks. Each thread is to be woken then.
    #[cold]
    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Release);
    }

    /// A thread has been woken, by whatever it was.
    pub(crate) fn answer(&self, thread: usize) {
        if let Some(answered) = self.answered.get(thread) {
            answered.store(self.asked.load(Acquire), Release);
        }
    }

    /// Whether all have answered the last question.
    #[cold]
    pub(crate) fn is_felt(&self) -> bool {
        let asked = self.asked.load(Acquire);
        self.answered.iter().all(|it| it.load(Acquire) == asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_must_answer_each_question() {
        let pulse = Pulse::new(2);
        assert!(pulse.is_felt(), "nothing was asked");
        for _ in 0..2 {
            pulse.ask();
            for thread in [2, Pulse::CONTROL, 1] {
                assert!(!pulse.is_felt());
                pulse.answer(thread);
            }
            assert!(pulse.is_felt());
        }
    }
}
