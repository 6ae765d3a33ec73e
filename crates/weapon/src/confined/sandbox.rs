//! What the gateway's process gives up before it is given a key or a packet.

use std::{hint::black_box, thread};

use anyhow::{Context as _, ensure};
use landlock::{
    ABI, Access, AccessFs, AccessNet, LandlockStatus, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetError, RulesetStatus, Scope,
};
use rustix::{
    io::Errno,
    mm::{MlockAllFlags, mlockall},
    process::{
        DumpableBehavior, Gid, Resource, Rlimit, Signal, Uid, getrlimit, getuid,
        set_dumpable_behavior, set_parent_process_death_signal, setrlimit,
    },
    thread::{
        CapabilitySet, clear_ambient_capability_set, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid, set_thread_uid,
    },
};

use super::{
    calls,
    message::{Confinement, Held, Identity},
};
use crate::{config::Sandbox, privileges};

/// The newest Landlock whose rights are known here; older kernels hold what they know of it.
const LANDLOCK: ABI = ABI::V7;

/// Memory that is given back, in blocks that the C library takes from its own heap and keeps there
/// for a while: with glibc, below 128 KB (M_MMAP_THRESHOLD), and more than that together
/// (M_TRIM_THRESHOLD).
const WARM_UP_BLOCK_BYTES: usize = 96 << 10;
const WARM_UP_BLOCKS: usize = 16;

/// What to do where the kernel has no sandbox.
const REQUIRED: &str = "the gateway is not started without a sandbox; to go on with what this \
                        kernel has, say `sandbox = \"if-possible\"` in [gateway]";

/// Gives up everything, and says what of it the kernel alone does not show. To be called while
/// there is one thread.
///
/// # Errors
/// Something could not be given up.
pub fn enter(confinement: &Confinement) -> anyhow::Result<Held> {
    let locked_memory = lock_memory();
    privileges::close()?;
    privileges::limit_to(CapabilitySet::empty())?;
    if let Some(identity) = confinement.user {
        become_user(identity, confinement.must_become)?;
    }
    // Where the kernel has none (before 4.3) there are none.
    let _ = clear_ambient_capability_set();
    privileges::keep_only(CapabilitySet::empty())?;
    // Another user may have come with another setting.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("memory can still be dumped")?;
    // If the helper dies in whatever way, nobody is left who keeps the rules.
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("the gateway would outlive its helper")?;
    if confinement.sandbox == Sandbox::Off {
        return Ok(Held {
            locked_memory,
            ..Held::default()
        });
    }
    let is_required = confinement.sandbox == Sandbox::Required;
    Ok(Held {
        locked_memory,
        landlock: unless_required(landlock(), is_required)?,
        calls: unless_required(confine_calls(), is_required)?,
    })
}

/// What the kernel has; or nothing, where that is allowed.
fn unless_required<T>(held: anyhow::Result<T>, is_required: bool) -> anyhow::Result<Option<T>> {
    match held {
        Ok(held) => Ok(Some(held)),
        Err(error) if is_required => Err(error.context(REQUIRED)),
        Err(error) => {
            let error = format!("{error:#}");
            tracing::warn!(error, "the gateway's sandbox is not whole");
            Ok(None)
        }
    }
}

/// Keeps keys out of swap, as far as the limit allows: with less than all of it, memory would run
/// out in the middle of the work.
fn lock_memory() -> bool {
    let unlimited = Rlimit {
        current: None,
        maximum: None,
    };
    if getrlimit(Resource::Memlock) != unlimited {
        // It is looked at once more.
        let _ = setrlimit(Resource::Memlock, unlimited);
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    getrlimit(Resource::Memlock).current.is_none() && mlockall(all).is_ok()
}

/// Becomes this user, in no other group than its own. Without the privilege for it, or where there
/// is no other user, we stay who we are, unless `must_become`.
fn become_user(wanted: Identity, must_become: bool) -> anyhow::Result<()> {
    let before = getuid();
    let became = switch(wanted);
    let stays = matches!(became, Err(Errno::PERM | Errno::INVAL));
    if stays && !must_become {
        return Ok(());
    }
    let Identity { user, group } = wanted;
    became.with_context(|| {
        format!("cannot become user {user} of group {group}: CAP_SETUID and CAP_SETGID are needed")
    })?;
    let way_back = set_thread_uid(before);
    ensure!(
        before.as_raw() == user || way_back.is_err(),
        "user {user} could become user {} again",
        before.as_raw()
    );
    Ok(())
}

/// All of it or, as the groups come first and need the same privilege, nothing.
fn switch(wanted: Identity) -> Result<(), Errno> {
    let (user, group) = (Uid::from_raw(wanted.user), Gid::from_raw(wanted.group));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

/// No file, no port, no socket or process outside. Returns the version that holds.
fn landlock() -> anyhow::Result<u32> {
    let RestrictionStatus {
        ruleset, landlock, ..
    } = restrict()?;
    ensure!(
        ruleset != RulesetStatus::NotEnforced,
        "this kernel has no Landlock (Linux 5.13, CONFIG_SECURITY_LANDLOCK, lsm=landlock), or \
         whoever started us forbids it"
    );
    Ok(match landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}

fn restrict() -> Result<RestrictionStatus, RulesetError> {
    // No rule: nothing of what is handled is allowed.
    Ruleset::default()
        .handle_access(AccessFs::from_all(LANDLOCK))?
        .handle_access(AccessNet::from_all(LANDLOCK))?
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .restrict_self()
}

fn confine_calls() -> anyhow::Result<usize> {
    // Where the kernel keeps its clocks is found out once, by a file on older kernels.
    weapon_engine::now();
    // The C library reads a file when the second thread allocates for the first time, and another
    // when a thread that is not the first gives memory back for the first time.
    let first = thread::Builder::new().spawn(|| {
        let block = || black_box(vec![0_u8; WARM_UP_BLOCK_BYTES]);
        drop((0..WARM_UP_BLOCKS).map(|_| block()).collect::<Vec<_>>());
    });
    let _ = first.context("no thread can be started")?.join();
    calls::confine().context(
        "this kernel has no seccomp (CONFIG_SECCOMP_FILTER), or whoever started us forbids it",
    )
}
