//! HOT How far a flow has come, and how long it may be silent.
//!
//! Of TCP: RFC 9293 section 3.3.2 as somebody in the middle sees it, who is not sure that what he
//! sees arrives. Idle times are those that RFC 5382 (TCP), RFC 4787 (UDP) and RFC 5508 (ICMP) ask
//! of middle boxes, which forget flows too.

use core::time::Duration;

use weapon_wire::tcp::{ACK, FIN, RST, SYN};

/// How far a flow has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Not TCP: nobody has answered yet.
    #[default]
    Unreplied,
    /// Not TCP: it was answered.
    Replied,
    /// UDP: after an answer the conversation went on.
    Conversation,
    /// TCP: a SYN was sent.
    SynSent,
    /// TCP: the SYN was answered.
    SynReceived,
    /// TCP: it began before we looked, and only one side was seen since.
    PickedUp,
    /// TCP: both sides have sent what belongs to a connection.
    Established,
    /// TCP: one side has closed.
    Closing,
    /// TCP: both sides have closed.
    Closed,
    /// TCP: somebody has broken it off, or pretends to. What is still sent goes on passing.
    Reset,
}

/// RFC 5382 REQ-5: 2 hours and 4 minutes.
const ESTABLISHED: Duration = Duration::from_secs(7440);
/// RFC 5382 REQ-5: 4 minutes, for connections that are partly open or partly closed.
const TRANSITORY: Duration = Duration::from_secs(240);
/// What comes after a reset is what was on its way.
const RESET: Duration = Duration::from_secs(10);
/// RFC 4787 REQ-5: not less than 2 minutes, 5 recommended.
const UDP_UNCERTAIN: Duration = Duration::from_secs(120);
const UDP_CONVERSATION: Duration = Duration::from_secs(300);
/// RFC 5508 REQ-2.
const ECHO: Duration = Duration::from_secs(60);
/// Protocols that are not known: how long they may be silent nobody says, so they may be long.
const OTHER: Duration = Duration::from_secs(600);

/// What a packet does to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It belongs to it, which then is in this state.
    Goes(State),
    /// It does not: the rules are asked. If they allow it, the old flow is over.
    Anew,
    /// It does not, and the old flow goes on whatever the rules say.
    Apart,
}

impl State {
    /// Of a flow that begins with a packet of TCP with these flags, or with one of something else.
    pub(crate) fn first(flags: Option<u8>) -> Self {
        match flags {
            None => Self::Unreplied,
            Some(flags) if flags & (SYN | ACK | RST | FIN) == SYN => Self::SynSent,
            Some(_) => Self::PickedUp,
        }
    }

    /// After a packet of the flow that is not TCP.
    #[inline]
    pub(crate) fn after(self, is_reply: bool, is_udp: bool) -> Self {
        match (self, is_reply) {
            (Self::Unreplied, true) => Self::Replied,
            (Self::Replied, false) if is_udp => Self::Conversation,
            (state, _) => state,
        }
    }

    /// After a packet of TCP with these flags. `closed` says whether the other side has sent a FIN.
    #[inline]
    pub(crate) fn after_tcp(self, flags: u8, is_reply: bool, closed: bool) -> Step {
        if flags & RST != 0 {
            return Step::Goes(Self::Reset);
        }
        if flags & (SYN | ACK) == SYN {
            return self.after_syn(is_reply);
        }
        if flags & FIN != 0 {
            return Step::Goes(self.after_fin(closed));
        }
        Step::Goes(match (self, is_reply) {
            (Self::SynSent, true) if flags & SYN != 0 => Self::SynReceived,
            (Self::SynReceived, false) | (Self::PickedUp, true) => Self::Established,
            (state, _) => state,
        })
    }

    fn after_syn(self, is_reply: bool) -> Step {
        match self {
            // Simultaneous open, RFC 9293 section 3.5; else it is sent again.
            Self::SynSent | Self::SynReceived if is_reply => Step::Goes(Self::SynReceived),
            Self::SynSent | Self::SynReceived => Step::Goes(self),
            // Who forgot the connection is told so (RFC 5961 section 4.2). But that somebody was
            // called does not let him call back.
            Self::Established | Self::Closing if !is_reply => Step::Goes(self),
            Self::Established | Self::Closing => Step::Apart,
            _ => Step::Anew,
        }
    }

    fn after_fin(self, closed: bool) -> Self {
        match self {
            // Of a connection that never was.
            Self::SynSent | Self::Reset | Self::Closed => self,
            _ if closed => Self::Closed,
            _ => Self::Closing,
        }
    }

    /// How long nothing may come until the flow is forgotten.
    #[inline]
    pub(crate) fn timeout(self, is_udp: bool, is_icmp: bool) -> Duration {
        match self {
            Self::Established => ESTABLISHED,
            Self::SynSent | Self::SynReceived | Self::PickedUp | Self::Closing | Self::Closed => {
                TRANSITORY
            }
            Self::Reset => RESET,
            Self::Conversation => UDP_CONVERSATION,
            Self::Unreplied | Self::Replied if is_udp => UDP_UNCERTAIN,
            Self::Unreplied | Self::Replied if is_icmp => ECHO,
            Self::Unreplied | Self::Replied => OTHER,
        }
    }

    /// Whether both ends have shown that they want it. Who floods us with first packets, or gets
    /// single answers, makes no such flows.
    pub(crate) fn is_assured(self) -> bool {
        matches!(self, Self::Established | Self::Closing | Self::Conversation)
    }

    /// The name for people and programs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unreplied => "unreplied",
            Self::Replied => "replied",
            Self::Conversation => "conversation",
            Self::SynSent => "syn_sent",
            Self::SynReceived => "syn_received",
            Self::PickedUp => "picked_up",
            Self::Established => "established",
            Self::Closing => "closing",
            Self::Closed => "closed",
            Self::Reset => "reset",
        }
    }
}

/// Whether no host sends such flags: none at all, or two that contradict each other.
#[inline]
pub(crate) fn are_flags_absurd(flags: u8) -> bool {
    let flags = flags & (SYN | FIN | RST | ACK);
    let many = (flags & (SYN | FIN | RST)).count_ones() > 1;
    // Each segment but the first one, and a reset, acknowledges (RFC 9293 section 3.10.7.4).
    many || flags == 0 || flags == FIN
}

#[cfg(test)]
mod tests;
