//! The calls of the kernel that the gateway may make. Any other ends it (seccomp).
//!
//! Nothing in here opens, connects, executes, or becomes: device and sockets are open already.

use std::{collections::BTreeMap, env::consts::ARCH, process};

use anyhow::Context as _;
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// Whatever their arguments.
const ALLOWED: &[c_long] = &[
    // Packets, and messages between the processes.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendto,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_recvfrom,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_close,
    // What a loop sleeps on.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    // Memory; never for code, see below.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Refused by another filter, so that the C library takes the older call.
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Namespaces and all else that `clone` can make beside a thread.
const NAMESPACES: u64 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWCGROUP) as u64;

/// Where their arguments are such.
fn conditions() -> anyhow::Result<Vec<(c_long, Vec<SeccompRule>)>> {
    // The value of argument `index`, as far as `mask` goes.
    let masked = |index, mask: u64, value: u64| {
        let compared = SeccompCmpOp::MaskedEq(mask);
        SeccompCondition::new(index, SeccompCmpArgLen::Qword, compared, value)
    };
    let is = |index, value: u64| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
    };
    let no_code = || SeccompRule::new(vec![masked(2, libc::PROT_EXEC as u64, 0)?]);
    let thread = libc::CLONE_THREAD as u64;
    let a_thread = SeccompRule::new(vec![masked(0, thread | NAMESPACES, thread)?])?;
    let any = |values: &[(u8, u64)]| {
        let rules = values.iter().map(|&(index, value)| {
            let condition = is(index, value)?;
            SeccompRule::new(vec![condition])
        });
        rules.collect::<Result<Vec<_>, _>>()
    };
    Ok(vec![
        (libc::SYS_mmap, vec![no_code()?]),
        (libc::SYS_mprotect, vec![no_code()?]),
        (libc::SYS_clone, vec![a_thread]),
        // So that a fault is told from a call that is not allowed.
        (libc::SYS_tgkill, any(&[(0, u64::from(process::id()))])?),
        (
            libc::SYS_prctl,
            any(&[(0, libc::PR_SET_NAME as u64), (0, PR_SET_VMA)])?,
        ),
        (
            libc::SYS_fcntl,
            any(&[
                (1, libc::F_DUPFD_CLOEXEC as u64),
                (1, libc::F_GETFD as u64),
                (1, libc::F_GETFL as u64),
            ])?,
        ),
    ])
}

/// The C library gives names to its memory (linux/prctl.h).
const PR_SET_VMA: u64 = 0x53_56_4d_41;

/// Lets this thread, and those that it starts, make these calls alone from here on. Returns how
/// many there are.
///
/// # Errors
/// This kernel or processor has no such filters.
pub fn confine() -> anyhow::Result<usize> {
    let arch: TargetArch = ARCH.try_into().context("no filter for this processor")?;
    let refused: BpfProgram = SeccompFilter::new(
        [(libc::SYS_clone3, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::ENOSYS as u32),
        arch,
    )?
    .try_into()?;
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = conditions()?.into_iter().collect();
    rules.extend(ALLOWED.iter().map(|&call| (call, Vec::new())));
    let count = rules.len();
    let allowed: BpfProgram = SeccompFilter::new(
        rules,
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )?
    .try_into()?;
    apply_filter(&refused)?;
    apply_filter(&allowed)?;
    Ok(count)
}
