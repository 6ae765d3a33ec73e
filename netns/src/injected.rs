//! Calls of the kernel that a running process is made to make, as a stranger would make them who
//! has taken it over: by ptrace, which writes into its registers.

use std::io;

use nix::{
    sys::{
        ptrace,
        signal::Signal,
        wait::{WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was made, and returned this.
    Returned(i64),
    /// The process was killed for it, by this signal.
    Killed(Signal),
}

/// Where a text lies for the call, below all that the stack has.
const BELOW_STACK: u64 = 4096;

/// What a call has returned that a signal has disturbed (ERESTARTSYS and others, linux/errno.h).
#[cfg(target_arch = "x86_64")]
const TO_GO_ON: std::ops::RangeInclusive<i64> = -516..=-512;

/// An argument.
#[derive(Clone, Copy, Debug)]
pub enum Argument {
    /// A number.
    Number(i64),
    /// The address of this text, at most one per call, ended by a zero.
    Text(&'static str),
}

/// Has the first thread of `process`, which sleeps in a call, make the call `number`. If it
/// survives that it goes on as if nothing had been.
///
/// # Errors
/// We may not trace it (CAP_SYS_PTRACE).
#[cfg(target_arch = "x86_64")]
pub fn call(process: u32, number: i64, arguments: &[Argument]) -> io::Result<Outcome> {
    let pid = Pid::from_raw(i32::try_from(process).map_err(io::Error::other)?);
    let before = stop_asleep(pid)?;
    let mut registers = before;
    // Behind the instruction that it sleeps in, which is made once more.
    registers.rip -= 2;
    registers.rax = number as u64;
    // The kernel is not to go on with the call that was disturbed.
    registers.orig_rax = u64::MAX;
    let mut values = [0; 6];
    for (value, argument) in values.iter_mut().zip(arguments) {
        *value = match argument {
            Argument::Number(number) => *number as u64,
            Argument::Text(text) => {
                let address = before.rsp - BELOW_STACK;
                write(pid, address, text)?;
                address
            }
        };
    }
    [
        registers.rdi,
        registers.rsi,
        registers.rdx,
        registers.r10,
        registers.r8,
        registers.r9,
    ] = values;
    ptrace::setregs(pid, registers)?;
    ptrace::step(pid, None)?;
    match waitpid(pid, None)? {
        WaitStatus::Signaled(_, signal, _) => Ok(Outcome::Killed(signal)),
        WaitStatus::Stopped(..) => {
            let returned = ptrace::getregs(pid)?.rax as i64;
            let mut again = before;
            again.rip -= 2;
            again.rax = before.orig_rax;
            again.orig_rax = u64::MAX;
            ptrace::setregs(pid, again)?;
            ptrace::detach(pid, None)?;
            Ok(Outcome::Returned(returned))
        }
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// Stops it in a call that the kernel would go on with.
#[cfg(target_arch = "x86_64")]
fn stop_asleep(pid: Pid) -> io::Result<libc::user_regs_struct> {
    loop {
        ptrace::attach(pid)?;
        waitpid(pid, None)?;
        let registers = ptrace::getregs(pid)?;
        let returned = registers.rax as i64;
        if registers.orig_rax != u64::MAX && TO_GO_ON.contains(&returned) {
            return Ok(registers);
        }
        ptrace::detach(pid, None)?;
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[cfg(target_arch = "x86_64")]
fn write(pid: Pid, address: u64, text: &str) -> io::Result<()> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    for (word, at) in bytes.as_chunks().0.iter().zip((address..).step_by(8)) {
        ptrace::write(pid, at as ptrace::AddressType, i64::from_le_bytes(*word))?;
    }
    Ok(())
}
