//! The last events of a world, for the report of a failure.

use core::fmt;
use std::collections::VecDeque;

use weapon_noise::Tick;

use crate::{step::Step, watch::Wire};

/// Events that a report shows at most: a screen of them.
const EVENTS_MAX: usize = 48;

/// Something that a reader of a failure wants to know.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Step(Step),
    Healed,
    Offered {
        from: usize,
        to: usize,
        count: usize,
    },
    Sent {
        host: usize,
        wire: Wire,
        far: Option<usize>,
        len: usize,
        is_lost: bool,
    },
    Arrived {
        host: usize,
        len: usize,
        stride: usize,
    },
    Delivered {
        host: usize,
        count: usize,
    },
    Deadline {
        host: usize,
        reason: &'static str,
    },
    Started {
        host: usize,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Step(step) => write!(f, "{step}"),
            Self::Healed => write!(f, "all faults end"),
            Self::Offered { from, to, count } => {
                write!(f, "site {from} sends {count} packet(s) to site {to}")
            }
            Self::Sent {
                host,
                wire,
                far,
                len,
                is_lost,
            } => {
                let wire = format!("{wire:?}").to_lowercase();
                write!(f, "gateway {host} -> ")?;
                match far {
                    Some(far) => write!(f, "gateway {far}")?,
                    None => write!(f, "nowhere")?,
                }
                let lost = if is_lost { ", lost" } else { "" };
                write!(f, ": {wire}, {len} bytes{lost}")
            }
            Self::Arrived { host, len, stride } => {
                let count = len.div_ceil(stride.max(1));
                write!(
                    f,
                    "gateway {host} receives {count} datagram(s), {len} bytes"
                )
            }
            Self::Delivered { host, count } => {
                write!(f, "{count} packet(s) come out at site {host}")
            }
            Self::Deadline { host, reason } => write!(f, "gateway {host} has a deadline: {reason}"),
            Self::Started { host } => write!(f, "gateway {host} runs (again)"),
        }
    }
}

/// The last events, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct History(VecDeque<(Tick, Event)>);

impl History {
    pub(crate) fn note(&mut self, at: Tick, event: Event) {
        if self.0.len() == EVENTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((at, event));
    }

    /// A line for each event, with the seconds since `start`.
    pub(crate) fn lines(&self, start: Tick) -> Vec<String> {
        let line = |(at, event): &(Tick, Event)| {
            format!("{:>12.6} s  {event}", at.since(start).as_secs_f64())
        };
        self.0.iter().map(line).collect()
    }
}
