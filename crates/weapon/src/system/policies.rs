//! Policy rules, by which all that has no way of its own goes into the tunnel: asked for, added,
//! taken back.
//!
//! The kernel keeps them when the interface goes, so they stand in the journal.

use std::{panic::resume_unwind, thread};

use anyhow::Context as _;
use weapon_io::netlink::{self, Netlink, NetlinkError, Policy};

/// Those of ours that are there, of all gateways in this network namespace.
///
/// # Errors
/// The kernel does not tell.
pub fn there() -> anyhow::Result<Vec<Policy>> {
    ask(async |netlink| netlink.policies().await)
}

/// Makes it so that of our rules those are there that are `wanted`, and no others. First come those
/// that are new, in the order given: there is no moment in which a packet finds too few.
///
/// # Errors
/// What the kernel refuses.
pub fn make(wanted: &[Policy]) -> anyhow::Result<()> {
    ask(async |netlink| {
        let there = netlink.policies().await?;
        for policy in wanted.iter().filter(|it| !there.contains(it)) {
            netlink.add_policy(policy).await?;
        }
        for policy in there.iter().rev().filter(|it| !wanted.contains(it)) {
            netlink.delete_policy(policy).await?;
        }
        Ok(())
    })
    .context("cannot change policy rules")
}

/// On a thread of its own, as this one may be in the middle of other things.
fn ask<T: Send>(
    what: impl AsyncFnOnce(&Netlink) -> Result<T, NetlinkError> + Send,
) -> anyhow::Result<T> {
    let asked = thread::scope(|scope| scope.spawn(|| netlink::block_on(what)).join());
    Ok(asked.unwrap_or_else(|panic| resume_unwind(panic))?)
}
