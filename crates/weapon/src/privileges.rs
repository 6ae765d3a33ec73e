//! What a gateway may do: it gives up at its start what it will never need, and tells what is left.

use anyhow::{Context as _, ensure};
use rustix::{
    process::{
        DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
        setrlimit,
    },
    thread::{
        CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, no_new_privs,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
    },
};

use crate::report::Privileges;

/// What a running gateway needs at one time or another.
const KEPT: [CapabilitySet; 5] = [
    // Interfaces, routes, rules, marks.
    CapabilitySet::NET_ADMIN,
    // A port below 1024.
    CapabilitySet::NET_BIND_SERVICE,
    // iptables of the old kind.
    CapabilitySet::NET_RAW,
    // To see the interface in the network namespace that somebody has moved it to.
    CapabilitySet::SYS_ADMIN,
    // Folders of the user that other gateways run as.
    CapabilitySet::DAC_OVERRIDE,
];

/// Gives up all that a helper does not need, and lets nobody look into it. Programs that it starts
/// have no more than it has.
///
/// Capabilities belong to threads: it is called before there is a second one.
///
/// # Errors
/// Something could not be given up.
pub fn reduce() -> anyhow::Result<()> {
    close()?;
    keep_only(KEPT.into_iter().collect())
}

/// Keys are in our memory: they come into no core dump, and nobody but root attaches to us. What we
/// start has no more than we have.
///
/// # Errors
/// The kernel refuses.
pub fn close() -> anyhow::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("memory can still be dumped")?;
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // What is so already is left alone: a unit of systemd may forbid the very call.
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none).context("cores are still written")?;
    }
    set_no_new_privs(true).context("programs may still give privileges (no_new_privs)")
}

/// No program that is started from here on can have others than these. Without the privilege to
/// limit that, `no_new_privs` limits it all the same.
///
/// # Errors
/// The kernel refuses.
pub fn limit_to(kept: CapabilitySet) -> anyhow::Result<()> {
    let has = capabilities(None).context("capabilities are not known")?;
    if has.effective.contains(CapabilitySet::SETPCAP) {
        for capability in known().difference(kept).iter() {
            remove_capability_from_bounding_set(capability)
                .with_context(|| format!("cannot give up {capability:?} for good"))?;
        }
    }
    Ok(())
}

/// Gives up all others.
///
/// # Errors
/// They are still there.
pub fn keep_only(kept: CapabilitySet) -> anyhow::Result<()> {
    limit_to(kept)?;
    let has = capabilities(None).context("capabilities are not known")?;
    let left = has.permitted.intersection(kept);
    let sets = CapabilitySets {
        effective: left,
        permitted: left,
        inheritable: has.inheritable.intersection(left),
    };
    let is_only_inherited = has.permitted == left && has.effective == left;
    if has != sets {
        let gone = set_capabilities(None, sets);
        // What is inheritable alone is worth nothing without new privileges, and a unit of systemd
        // may forbid the very call.
        ensure!(
            gone.is_ok() || is_only_inherited,
            "cannot give up capabilities, to which a unit of systemd must not run as root, or say \
             SystemCallFilter=capset: {gone:?}"
        );
    }
    let now = capabilities(None).context("capabilities are not known")?;
    ensure!(
        now.permitted == left && now.effective == left,
        "capabilities were not given up: {:?} are left",
        now.permitted.difference(left)
    );
    Ok(())
}

/// Those that this kernel has.
fn known() -> CapabilitySet {
    let all = CapabilitySet::from_bits_retain(u64::MAX).iter();
    // An error says that there is no such capability.
    all.filter(|&capability| capability_is_in_bounding_set(capability).unwrap_or(false))
        .collect()
}

/// What this process may do at this moment.
pub fn now() -> Privileges {
    let held = capabilities(None).map_or(CapabilitySet::empty(), |sets| sets.permitted);
    Privileges {
        user: rustix::process::getuid().as_raw(),
        capabilities: names(held),
        no_new: no_new_privs().unwrap_or(false),
        dumpable: dumpable_behavior() != Ok(DumpableBehavior::NotDumpable),
    }
}

/// As `CAP_NET_ADMIN`.
pub fn names(capabilities: CapabilitySet) -> Vec<String> {
    let names = capabilities.iter_names();
    names.map(|(name, _)| format!("CAP_{name}")).collect()
}
