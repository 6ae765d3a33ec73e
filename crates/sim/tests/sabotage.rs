//! The world can fail: whatever a gateway does wrong is found, by the rule that it breaks.
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use weapon_sim::{Failure, Probes, Sabotage, Step, Story, Violation, run, run_sabotaged};

mod cipher;
use cipher::cipher;

/// Both sites send.
fn talk() -> Story {
    let send = |from, to| Step::Send {
        from,
        to,
        count: 3,
        len: 100,
        is_v6: false,
    };
    Story::quiet(1, 2).at(10, send(0, 1)).at(100, send(1, 0))
}

/// How `story` fails when gateway 1 does `sabotage`. Without that it goes well.
fn fails(story: &Story, sabotage: Sabotage) -> Failure {
    let tale = run(story, cipher()).unwrap();
    assert!(tale.tunnels > 0);
    *run_sabotaged(story, cipher(), Some(sabotage)).unwrap_err()
}

#[test]
fn an_altered_packet_is_found() {
    let failure = fails(&talk(), Sabotage::AlterInner);
    assert!(
        matches!(failure.violation, Violation::Altered { host: 1, .. }),
        "{failure}"
    );
}

#[test]
fn a_packet_that_comes_out_twice_is_found() {
    let failure = fails(&talk(), Sabotage::DeliverTwice);
    let expected = Violation::DeliveredTwice { host: 1, number: 0 };
    assert_eq!(failure.violation, expected);
}

#[test]
fn a_packet_at_the_wrong_site_is_found() {
    let failure = fails(&talk(), Sabotage::WrongSite);
    let expected = Violation::WrongSite { host: 0, number: 0 };
    assert_eq!(failure.violation, expected);
}

#[test]
fn a_gateway_that_never_answers_is_found() {
    let failure = fails(
        &Story {
            probes: Probes::Up,
            ..Story::quiet(1, 2)
        },
        Sabotage::NeverAnswer,
    );
    let Violation::NotDelivered {
        from: 0,
        to: 1,
        lost,
        offered,
    } = failure.violation
    else {
        panic!("{failure}");
    };
    assert!(lost == offered && offered >= 2);
}

#[test]
fn a_payload_in_clear_is_found() {
    let failure = fails(&talk(), Sabotage::LeakPayload);
    assert_eq!(failure.violation, Violation::InClear { host: 1 });
}

#[test]
fn p59_a_counter_that_is_used_twice_is_found() {
    let failure = fails(&talk(), Sabotage::ReuseCounter);
    assert!(
        matches!(
            failure.violation,
            Violation::WrongCounter {
                host: 1,
                expected: 1,
                counter: 0,
                ..
            }
        ),
        "{failure}"
    );
}

#[test]
fn p28_an_initiation_too_early_is_found() {
    let story = Story {
        probes: Probes::Down,
        ..Story::quiet(1, 2)
    };
    let failure = fails(&story, Sabotage::InitiateTwice);
    assert!(
        matches!(
            failure.violation,
            Violation::InitiationTooEarly {
                host: 1,
                peer: 0,
                ..
            }
        ),
        "{failure}"
    );
}

#[test]
fn p29_a_timestamp_that_a_restart_forgets_is_found() {
    let send = Step::Send {
        from: 1,
        to: 0,
        count: 1,
        len: 100,
        is_v6: true,
    };
    let boot = Step::Boot {
        host: 1,
        down_ms: 1,
    };
    let story = Story {
        probes: Probes::Down,
        ..Story::quiet(1, 2).at(10, send).at(1000, boot)
    };
    let failure = fails(&story, Sabotage::ForgetMark);
    assert!(
        matches!(failure.violation, Violation::NotDelivered { from: 1, .. }),
        "{failure}"
    );
}

#[test]
fn a_packet_of_a_removed_peer_is_found() {
    let remove = Step::RemovePeer { host: 1, peer: 0 };
    let story = Story {
        places: vec![weapon_sim::Place::default(); 3],
        ..talk().at(5000, remove)
    };
    let failure = fails(&story, Sabotage::KeepRemovedPeer);
    let expected = Violation::FromRemovedPeer { host: 1, from: 0 };
    assert_eq!(failure.violation, expected);
}

#[test]
fn p85_a_foreign_source_address_is_found() {
    let spoof = Step::Spoof {
        from: 0,
        to: 1,
        as_of: 2,
    };
    let story = Story {
        places: vec![weapon_sim::Place::default(); 3],
        ..talk().at(5000, spoof)
    };
    let failure = fails(&story, Sabotage::OpenSourceCheck);
    let expected = Violation::WrongSource { host: 1, from: 0 };
    assert_eq!(failure.violation, expected);
}

#[test]
fn p51_a_word_when_there_is_nothing_to_say_is_found() {
    let failure = fails(&talk(), Sabotage::Chatter);
    assert_eq!(failure.violation, Violation::NotSilent { host: 1 });
}

#[test]
fn a_deadline_that_is_not_kept_is_found() {
    let failure = fails(&talk(), Sabotage::LoseDeadlines);
    assert!(
        matches!(failure.violation, Violation::KeysNotErased { host: 1 }),
        "{failure}"
    );
    // The peer restarts: only a deadline tells that nobody answers any more.
    let restart = Step::Restart {
        host: 0,
        down_ms: 10,
    };
    let story = Story {
        probes: Probes::Down,
        ..talk().at(2000, restart)
    };
    let failure = fails(&story, Sabotage::LoseDeadlines);
    assert!(
        matches!(failure.violation, Violation::NotDelivered { from: 1, .. }),
        "{failure}"
    );
}

#[test]
fn a_failure_is_made_short_and_can_be_read() {
    let seed = (0..)
        .find(|&seed| {
            let story = Story::from_seed(seed);
            story.steps.len() > 6 && run_sabotaged(&story, cipher(), BAD).is_err()
        })
        .unwrap();
    let story = Story::from_seed(seed);
    let failure = run_sabotaged(&story, cipher(), BAD).unwrap_err();
    let short = failure.shrink(cipher(), BAD);
    assert!(short.story.steps.len() < story.steps.len());
    assert!(matches!(
        short.violation,
        Violation::DeliveredTwice { host: 1, .. }
    ));
    let text = short.to_string();
    for part in [
        "came out twice at site 1",
        "The story, with seed",
        "gateway 0 has an address of its own",
        "all faults end",
        "packet(s) come out at site 1",
        "regressions.rs",
        "Story {\n    seed: ",
    ] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
}

const BAD: Option<Sabotage> = Some(Sabotage::DeliverTwice);
