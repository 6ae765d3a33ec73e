//! The site: what lies behind us at this moment.

// From the file's words to prefixes: Docker's and the host's own networks.
pub mod docker;
pub mod docker_watch;
pub mod entry;

// How it is found and followed.
mod watch;

use ipnet::IpNet;

pub use entry::{Entry, Remark, Wanted};
pub use watch::{Lookout, SiteWatch};

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

impl Site {
    /// All that the entries stand for.
    pub fn of(entries: &[Entry]) -> Self {
        let networks = entries.iter().flat_map(|entry| &entry.networks);
        Self {
            networks: networks.cloned().collect(),
        }
    }
}
