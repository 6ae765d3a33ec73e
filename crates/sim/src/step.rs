//! What may happen in a world, one step at a time.

use core::fmt;

use crate::network::Line;

/// Something that happens. Gateways are numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "`Display` says what each field is, in a sentence"
)]
pub enum Step {
    /// A host behind `from` sends packets to one behind `to`, all at once.
    Send {
        from: usize,
        to: usize,
        count: u16,
        len: u16,
        is_v6: bool,
    },
    /// The same, as superpackets: one, of `count` segments.
    SendSuper {
        from: usize,
        to: usize,
        count: u16,
        len: u16,
        is_tcp: bool,
    },
    /// A packet each `every_ms`.
    Talk {
        from: usize,
        to: usize,
        every_ms: u16,
        count: u16,
    },
    /// `from` sends `to` a packet with an inner source address of `as_of`.
    Spoof {
        from: usize,
        to: usize,
        as_of: usize,
    },
    /// The line of a gateway changes.
    Line { host: usize, line: Line },
    /// Nothing goes between the two.
    Cut { one: usize, other: usize },
    /// It goes again.
    Mend { one: usize, other: usize },
    /// The gateway is killed, and starts after `down_ms` with what is on its disk.
    Restart { host: usize, down_ms: u32 },
    /// The machine boots: its CLOCK_BOOTTIME begins anew, and its wall clock says 1970.
    Boot { host: usize, down_ms: u32 },
    /// The wall clock of a gateway's machine is set.
    StepClock { host: usize, seconds: i64 },
    /// The machine sleeps: what is sent to it is lost.
    Suspend { host: usize, ms: u32 },
    /// The gateway is stopped, as by SIGSTOP: what is sent to it waits in its socket.
    Stop { host: usize, ms: u32 },
    /// The machine gets another address.
    Roam { host: usize },
    /// The gateway's NAT forgets its mappings.
    RebootNat { host: usize },
    /// `host` removes `peer` from its configuration.
    RemovePeer { host: usize, peer: usize },
    /// And adds it again.
    AddPeer { host: usize, peer: usize },
    /// `host` keeps `peer` alive from here on, or does not with zero seconds.
    KeepAlive {
        host: usize,
        peer: usize,
        seconds: u16,
    },
    /// The interface goes down and comes up again.
    DownUp { host: usize },
    /// An attacker sends `host` the last datagrams that it got once more, from elsewhere.
    Replay { host: usize, count: u16 },
    /// Nothing can be written to the disk.
    FillDisk { host: usize },
    /// There is room on it again.
    ClearDisk { host: usize },
}

impl Step {
    /// For how long after it began the step goes on.
    pub(crate) fn duration_ms(&self) -> u64 {
        match *self {
            Self::Talk {
                every_ms, count, ..
            } => u64::from(every_ms) * u64::from(count),
            Self::Restart { down_ms, .. } | Self::Boot { down_ms, .. } => u64::from(down_ms),
            Self::Suspend { ms, .. } | Self::Stop { ms, .. } => u64::from(ms),
            _ => 0,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send { .. } | Self::SendSuper { .. } | Self::Talk { .. } | Self::Spoof { .. } => {
                self.fmt_traffic(f)
            }
            Self::Restart { .. }
            | Self::Boot { .. }
            | Self::StepClock { .. }
            | Self::Suspend { .. }
            | Self::Stop { .. }
            | Self::FillDisk { .. }
            | Self::ClearDisk { .. } => self.fmt_machine(f),
            Self::RemovePeer { .. }
            | Self::AddPeer { .. }
            | Self::KeepAlive { .. }
            | Self::DownUp { .. } => self.fmt_configuration(f),
            Self::Line { host, line } => write!(f, "the line of gateway {host} {line}"),
            Self::Cut { one, other } => {
                write!(
                    f,
                    "nothing goes between gateways {one} and {other} any more"
                )
            }
            Self::Mend { one, other } => write!(f, "gateways {one} and {other} are linked again"),
            Self::Roam { host } => write!(f, "gateway {host} gets another address"),
            Self::RebootNat { host } => write!(f, "the NAT of gateway {host} forgets everything"),
            Self::Replay { host, count } => {
                write!(f, "an attacker repeats {count} datagrams to gateway {host}")
            }
        }
    }
}

impl Step {
    fn fmt_traffic(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Send {
                from,
                to,
                count,
                len,
                is_v6,
            } => {
                let family = if is_v6 { "IPv6" } else { "IPv4" };
                write!(
                    f,
                    "{count} {family} packet(s) of {len} bytes from site {from} to site {to}"
                )
            }
            Self::SendSuper {
                from,
                to,
                count,
                len,
                is_tcp,
            } => {
                let protocol = if is_tcp { "TCP" } else { "UDP" };
                write!(
                    f,
                    "a {protocol} superpacket of {count} times {len} bytes from site {from} to \
                     site {to}"
                )
            }
            Self::Talk {
                from,
                to,
                every_ms,
                count,
            } => write!(
                f,
                "from here on a packet each {every_ms} ms from site {from} to site {to}, {count} \
                 of them"
            ),
            Self::Spoof { from, to, as_of } => write!(
                f,
                "gateway {from} sends gateway {to} a packet in the name of site {as_of}"
            ),
            _ => Ok(()),
        }
    }

    fn fmt_machine(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Restart { host, down_ms } => {
                write!(f, "gateway {host} is killed, and starts {down_ms} ms later")
            }
            Self::Boot { host, down_ms } => write!(
                f,
                "the machine of gateway {host} fails, and boots {down_ms} ms later in 1970"
            ),
            Self::StepClock { host, seconds } => {
                write!(f, "the wall clock of gateway {host} steps by {seconds} s")
            }
            Self::Suspend { host, ms } => {
                write!(f, "the machine of gateway {host} sleeps for {ms} ms")
            }
            Self::Stop { host, ms } => write!(f, "gateway {host} is stopped for {ms} ms"),
            Self::FillDisk { host } => write!(f, "the disk of gateway {host} is full"),
            Self::ClearDisk { host } => write!(f, "the disk of gateway {host} has room again"),
            _ => Ok(()),
        }
    }

    fn fmt_configuration(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::RemovePeer { host, peer } => {
                write!(f, "gateway {host} removes gateway {peer} from its peers")
            }
            Self::AddPeer { host, peer } => {
                write!(f, "gateway {host} adds gateway {peer} to its peers")
            }
            Self::KeepAlive {
                host,
                peer,
                seconds: 0,
            } => write!(f, "gateway {host} keeps gateway {peer} alive no longer"),
            Self::KeepAlive {
                host,
                peer,
                seconds,
            } => write!(
                f,
                "gateway {host} keeps gateway {peer} alive each {seconds} s"
            ),
            Self::DownUp { host } => {
                write!(f, "the interface of gateway {host} goes down and comes up")
            }
            _ => Ok(()),
        }
    }
}
