//! Stories that went wrong once. The name says what was wrong.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use weapon_sim::{Line, Place, Probes, Step, Story, run};

mod cipher;
use cipher::cipher;

fn goes_well(story: &Story) {
    if let Err(failure) = run(story, cipher()) {
        panic!("{failure}");
    }
}

/// The model took it for a repetition without a cause.
#[test]
fn a_flipped_bit_in_a_counter_looks_like_a_repetition() {
    let talk = |from, to, every_ms, count| Step::Talk {
        from,
        to,
        every_ms,
        count,
    };
    let superpacket = Step::SendSuper {
        from: 1,
        to: 0,
        count: 36,
        len: 100,
        is_tcp: true,
    };
    let line = Line {
        corrupt: 10,
        ..Line::GOOD
    };
    goes_well(&Story {
        seed: 4361,
        probes: Probes::Both,
        alone_first: false,
        places: vec![Place::default(); 2],
        steps: vec![
            (21_063, talk(0, 1, 40, 24)),
            (26_091, superpacket),
            (86_196, talk(1, 0, 900, 10)),
            (86_283, Step::Line { host: 1, line }),
        ],
    });
}
