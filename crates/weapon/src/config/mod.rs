//! Configuration of a gateway: one file, TOML or wg-quick, read, checked as a whole, and either
//! good or refused with every problem named.

// What the rest of the program works with, and what is said when there is no such thing.
pub mod model;
pub mod problem;

// From a name or path on the command line to a text, and from either format to a draft.
mod source;

mod draft;

mod toml;

mod wgquick;

mod suggest;

// Which packets may pass.
mod policy;

// How much may pass, and with which mark.
pub mod service;

// From a draft to a configuration.
mod validate;

mod written;

mod audit;

mod networks;

mod keyfile;

mod metrics;

mod exported;

pub mod value;

#[cfg(test)]
mod tests;

use std::path::Path;

pub use audit::AuditConfig;
pub use metrics::MetricsPlace;
pub use model::{
    Behind, CipherBackend, Config, ConfigSource, Format, HostPort, Offload, PeerConfig, Sandbox,
};
pub use policy::{FilterConfig, has_ports, protocol, protocol_name};
pub use problem::{BadConfig, Place, Problem, Severity};
pub use source::{gateway_name, locate};
pub use suggest::nearest;

use problem::Problems;

/// A good configuration and what is to be said about it.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// No error among them.
    pub warnings: Vec<Problem>,
}

/// Parses `text`, checks it if that is asked, and says whether it is good and what is to be said of
/// it.
pub fn judge(text: &str, format: Format, is_checked: bool) -> (bool, Vec<Problem>) {
    let path = Path::new("text");
    let mut problems = Problems::new(path);
    let draft = match format {
        Format::Toml => toml::parse(text, &mut problems),
        Format::WgQuick => wgquick::parse(text, &mut problems),
    };
    let path = path.to_owned();
    let source = ConfigSource { path, format };
    let is_good = is_checked && validate::validate(draft, source, &mut problems).is_some();
    (is_good, problems.into_list())
}

/// Reads and checks the file at `path`, and the key files that it names. Resolves no host name
/// and changes nothing.
///
/// # Errors
/// Every problem of the file.
pub fn load(path: &Path) -> Result<Loaded, BadConfig> {
    let format = source::format(path)?;
    let text = source::read(path)?;
    let mut problems = Problems::new(path);
    let draft = match format {
        Format::Toml => toml::parse(&text.text, &mut problems),
        Format::WgQuick => wgquick::parse(&text.text, &mut problems),
    };
    source::warn_if_open(&text, &draft, &mut problems);
    let source = ConfigSource {
        path: path.to_owned(),
        format,
    };
    match validate::validate(draft, source, &mut problems) {
        Some(config) => Ok(Loaded {
            config,
            warnings: problems.into_list(),
        }),
        None => Err(BadConfig(problems.into_list())),
    }
}
