//! A prefix that peers see as another: how two sites with the same addresses are linked.

use ipnet::IpNet;

/// A prefix behind us, and the prefix of the same length by which peers know it. The bits of the
/// host stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixMapping {
    /// As the hosts behind us have it.
    pub inside: IpNet,
    /// As the peers have it.
    pub outside: IpNet,
}
