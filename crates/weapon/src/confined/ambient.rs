//! Capabilities that programs are given which we start. The gateway's process begins without.

use anyhow::Context as _;
use rustix::thread::{
    CapabilitySet, capability_is_in_ambient_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set,
};

/// Those that were taken away.
pub struct Ambient(Vec<CapabilitySet>);

impl Ambient {
    /// Programs that are started from here on get none.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn take_away() -> anyhow::Result<Self> {
        let all = CapabilitySet::all().iter();
        let is_given = |it: &CapabilitySet| capability_is_in_ambient_set(*it).unwrap_or(false);
        let given = all.filter(is_given).collect();
        clear_ambient_capability_set().context("capabilities would be given on")?;
        Ok(Self(given))
    }

    /// Those that are started from here on get them again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn give_back(self) -> anyhow::Result<()> {
        for capability in self.0 {
            configure_capability_in_ambient_set(capability, true)
                .context("programs of the system would have too few capabilities")?;
        }
        Ok(())
    }
}
