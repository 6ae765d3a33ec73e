//! Stories of flows.

use weapon_wire::tcp::PSH;

use super::*;

const OPENER: bool = false;
const REPLY: bool = true;

/// The states of a connection in which these segments are seen.
fn told(segments: &[(u8, bool)]) -> Vec<State> {
    let mut state = State::first(Some(segments[0].0));
    let mut closed = [segments[0].0 & FIN != 0, false];
    let mut states = vec![state];
    for &(flags, is_reply) in &segments[1..] {
        let other = closed[usize::from(!is_reply)];
        match state.after_tcp(flags, is_reply, other) {
            Step::Goes(next) => state = next,
            step => panic!("{step:?}"),
        }
        closed[usize::from(is_reply)] |= flags & FIN != 0;
        states.push(state);
    }
    states
}

#[test]
fn a_connection_opens_and_closes() {
    use State::{Closed, Closing, Established, SynReceived, SynSent};
    let segments = [
        (SYN, OPENER),
        (SYN, OPENER),
        (SYN | ACK, REPLY),
        (SYN | ACK, REPLY),
        (ACK, OPENER),
        (ACK | PSH, OPENER),
        (ACK, REPLY),
        (FIN | ACK, REPLY),
        (ACK, OPENER),
        (ACK | PSH, OPENER),
        (FIN | ACK, OPENER),
        (ACK, REPLY),
    ];
    let expected = [
        SynSent,
        SynSent,
        SynReceived,
        SynReceived,
        Established,
        Established,
        Established,
        Closing,
        Closing,
        Closing,
        Closed,
        Closed,
    ];
    assert_eq!(told(&segments), expected);
    // The same side closes twice.
    let twice = [
        (SYN, OPENER),
        (SYN | ACK, REPLY),
        (ACK, OPENER),
        (FIN | ACK, OPENER),
        (FIN | ACK, OPENER),
    ];
    assert_eq!(told(&twice)[3..], [Closing, Closing]);
}

#[test]
fn both_may_open_it_at_once() {
    use State::{Established, SynReceived, SynSent};
    let segments = [
        (SYN, OPENER),
        (SYN, REPLY),
        (SYN | ACK, OPENER),
        (SYN | ACK, REPLY),
    ];
    assert_eq!(told(&segments)[..2], [SynSent, SynReceived]);
    assert_eq!(told(&segments)[2], Established);
}

#[test]
fn what_does_not_answer_a_syn_opens_nothing() {
    use State::SynSent;
    // A challenge (RFC 5961), data, the opener's own.
    let segments = [
        (SYN, OPENER),
        (ACK, REPLY),
        (ACK, OPENER),
        (SYN | ACK, OPENER),
        (FIN | ACK, REPLY),
    ];
    assert_eq!(told(&segments), [SynSent; 5]);
}

#[test]
fn what_has_begun_before_is_picked_up() {
    use State::{Closing, Established, PickedUp};
    assert_eq!(
        told(&[(ACK, OPENER), (ACK, OPENER), (ACK, REPLY)]),
        [PickedUp, PickedUp, Established]
    );
    assert_eq!(
        told(&[(SYN | ACK, OPENER), (ACK, REPLY)]),
        [PickedUp, Established]
    );
    assert_eq!(
        told(&[(ACK, OPENER), (FIN | ACK, REPLY)]),
        [PickedUp, Closing]
    );
    for flags in [SYN | RST, SYN | FIN, SYN | ACK, ACK, FIN | ACK] {
        assert_eq!(State::first(Some(flags)), PickedUp, "{flags:#x}");
    }
    assert_eq!(State::first(Some(SYN | PSH)), State::SynSent);
}

#[test]
fn a_reset_lets_go_on_what_goes_on() {
    use State::{Established, Reset, SynReceived, SynSent};
    let segments = [
        (SYN, OPENER),
        (SYN | ACK, REPLY),
        (ACK, OPENER),
        (RST | ACK, REPLY),
        (ACK, OPENER),
        (FIN | ACK, OPENER),
    ];
    assert_eq!(
        told(&segments),
        [SynSent, SynReceived, Established, Reset, Reset, Reset]
    );
    for state in [
        SynSent,
        SynReceived,
        Established,
        State::Closing,
        State::Closed,
    ] {
        assert_eq!(state.after_tcp(RST, REPLY, false), Step::Goes(Reset));
    }
}

#[test]
fn a_syn_begins_anew_what_is_over_and_nothing_else() {
    use State::{Closed, Closing, Established, PickedUp, Reset};
    for state in [Closed, Reset, PickedUp] {
        for is_reply in [OPENER, REPLY] {
            assert_eq!(state.after_tcp(SYN, is_reply, false), Step::Anew, "{state}");
        }
    }
    for state in [Established, Closing] {
        assert_eq!(state.after_tcp(SYN, OPENER, false), Step::Goes(state));
        assert_eq!(state.after_tcp(SYN, REPLY, false), Step::Apart);
        // An answer begins nothing.
        assert_eq!(state.after_tcp(SYN | ACK, REPLY, false), Step::Goes(state));
    }
}

#[test]
fn other_protocols_are_replied() {
    use State::{Conversation, Replied, Unreplied};
    assert_eq!(State::first(None), Unreplied);
    for (state, is_reply, udp, other) in [
        (Unreplied, OPENER, Unreplied, Unreplied),
        (Unreplied, REPLY, Replied, Replied),
        (Replied, REPLY, Replied, Replied),
        (Replied, OPENER, Conversation, Replied),
        (Conversation, OPENER, Conversation, Conversation),
        (Conversation, REPLY, Conversation, Conversation),
    ] {
        assert_eq!(state.after(is_reply, true), udp);
        assert_eq!(state.after(is_reply, false), other);
    }
}

#[test]
fn flows_are_forgotten_after_their_time() {
    let seconds = |state: State, is_udp, is_icmp| state.timeout(is_udp, is_icmp).as_secs();
    for (state, expected) in [
        (State::SynSent, 240),
        (State::SynReceived, 240),
        (State::PickedUp, 240),
        (State::Established, 7440),
        (State::Closing, 240),
        (State::Closed, 240),
        (State::Reset, 10),
        (State::Unreplied, 600),
        (State::Replied, 600),
    ] {
        assert_eq!(seconds(state, false, false), expected, "{state}");
    }
    for state in [State::Unreplied, State::Replied] {
        assert_eq!(seconds(state, true, false), 120);
        assert_eq!(seconds(state, false, true), 60);
    }
    assert_eq!(seconds(State::Conversation, true, false), 300);
}

#[test]
fn flags_that_no_host_sends_are_absurd() {
    use weapon_wire::tcp::URG;
    for flags in [
        0,
        PSH,
        URG,
        FIN,
        FIN | PSH | URG,
        SYN | FIN,
        SYN | RST,
        RST | FIN,
        0xff,
        SYN | FIN | ACK,
    ] {
        assert!(are_flags_absurd(flags), "{flags:#x}");
    }
    for flags in [
        SYN,
        SYN | ACK,
        ACK,
        ACK | PSH,
        FIN | ACK,
        RST,
        RST | ACK,
        SYN | 0xc0,
        ACK | URG,
    ] {
        assert!(!are_flags_absurd(flags), "{flags:#x}");
    }
}

/// Programs know states by these names (docs/api.md), and filters of `weapon flows` too.
#[test]
fn each_state_has_its_name() {
    for (state, name) in [
        (State::Unreplied, "unreplied"),
        (State::Replied, "replied"),
        (State::Conversation, "conversation"),
        (State::SynSent, "syn_sent"),
        (State::SynReceived, "syn_received"),
        (State::PickedUp, "picked_up"),
        (State::Established, "established"),
        (State::Closing, "closing"),
        (State::Closed, "closed"),
        (State::Reset, "reset"),
    ] {
        assert_eq!(state.label(), name);
    }
}
