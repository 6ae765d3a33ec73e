//! The site: what lies behind us at this moment.

use ipnet::IpNet;

use crate::config::Behind;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// In the order of the file.
    pub networks: Vec<SiteNetwork>,
}

/// A prefix behind us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteNetwork {
    /// The prefix as its hosts have it: of a mapped one, the inside.
    pub prefix: IpNet,
    /// The interface that leads there; `None` while there is none.
    pub interface: Option<String>,
    /// What the file says of it.
    pub said: Behind,
}
