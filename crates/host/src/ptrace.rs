//! ptrace(2), as far as it takes to watch one call of a child's thread: attach without a signal, see its stops, let it go.
//!
//! All calls for one thread are made by the thread that seized it; only [`wait`] sleeps. A stop is left to be seen by others' waits until the thread goes on
//! ([`crate::process::wait_any`] knows it). Owns no locks.

use std::ptr::null_mut;

use abi::Errno;

use crate::check;

/// SECCOMP_RET_TRACE stops the thread; so do its fork and clone, whose children are seized likewise; stops at calls are told from SIGTRAP.
const OPTIONS: i32 =
    libc::PTRACE_O_TRACESECCOMP | libc::PTRACE_O_TRACEFORK | libc::PTRACE_O_TRACECLONE | libc::PTRACE_O_TRACESYSGOOD;

/// Why [`wait`] returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// A filter answered the call with SECCOMP_RET_TRACE.
    Seccomp,
    /// It made this process or thread, which is seized and stops by itself.
    Child(i32),
    /// Before or behind a call; only after [`resume`] with `Until::Call`.
    Call,
    /// A signal is about to be delivered: to be given to [`resume`].
    Signal(i32),
    /// Of a new child, or asked for.
    Asked,
    /// The thread has ended.
    Gone,
}

/// A stopped thread's call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Not made yet: number and arguments, which nobody can change any more. x86-64 calls only.
    Before {
        nr: u64,
        args: [u64; 6],
    },
    /// What it returns.
    Behind {
        value: i64,
    },
    None,
}

/// How far a thread goes on by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    Event,
    /// A call's begin or end, or an event.
    Call,
}

/// # Safety
/// `address` and `data` are what the request takes.
unsafe fn ptrace(request: libc::c_uint, tid: i32, address: usize, data: usize) -> Result<i64, Errno> {
    // SAFETY: by the caller.
    check(unsafe { libc::syscall(libc::SYS_ptrace, u64::from(request), tid, address, data) })
}

/// Begins to watch a thread, which goes on.
pub fn seize(tid: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    unsafe { ptrace(libc::PTRACE_SEIZE, tid, 0, OPTIONS as usize) }.map(drop)
}

/// Has a running thread stop (`Stop::Asked`).
pub fn interrupt(tid: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    unsafe { ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0) }.map(drop)
}

/// Lets a stopped thread go on.
pub fn resume(tid: i32, until: Until, signal: i32) -> Result<(), Errno> {
    let request = if until == Until::Call { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
    // SAFETY: numbers only.
    unsafe { ptrace(request, tid, 0, signal as usize) }.map(drop)
}

/// Lets a stopped thread go, for good.
pub fn detach(tid: i32) -> Result<(), Errno> {
    // SAFETY: numbers only.
    unsafe { ptrace(libc::PTRACE_DETACH, tid, 0, 0) }.map(drop)
}

/// Waits until a thread that this one has seized stops or ends.
pub fn wait(tid: i32) -> Result<Stop, Errno> {
    const EVENT_FORK: i32 = 1;
    const EVENT_CLONE: i32 = 3;
    const EVENT_SECCOMP: i32 = 7;
    const EVENT_STOP: i32 = 128;
    let options = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT | libc::__WALL | libc::__WNOTHREAD;
    // SAFETY: all zeros is a valid siginfo.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: the host fills the siginfo in.
        match check(unsafe {
            libc::syscall(libc::SYS_waitid, libc::P_PID, tid, &raw mut info, options, null_mut::<u8>())
        }) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => return Ok(Stop::Gone),
            Err(e) => return Err(e),
        }
    }
    if info.si_code != libc::CLD_TRAPPED {
        return Ok(Stop::Gone);
    }
    // SAFETY: a siginfo of SIGCHLD has the field.
    let status = unsafe { info.si_status() };
    Ok(match (status >> 8, status & 0xff) {
        (EVENT_SECCOMP, _) => Stop::Seccomp,
        (EVENT_FORK | EVENT_CLONE, _) => {
            let mut child = 0u64;
            // SAFETY: the host writes an unsigned long.
            unsafe { ptrace(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut child).addr()) }?;
            Stop::Child(child as i32)
        }
        (EVENT_STOP, _) => Stop::Asked,
        (_, 0x85) => Stop::Call, // SIGTRAP | 0x80
        (_, signal) => Stop::Signal(signal),
    })
}

/// The call at which a thread is stopped.
pub fn call(tid: i32) -> Result<Call, Errno> {
    const GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    const X86_64: u64 = 0xc000_003e;
    const ENTRY: u64 = 1;
    const EXIT: u64 = 2;
    const SECCOMP: u64 = 3;
    // struct ptrace_syscall_info: op (8 bits) and arch (upper half); ip; sp; number or value; arguments.
    let mut info = [0u64; 11];
    // SAFETY: the host writes no more than the size that it is told.
    unsafe { ptrace(GET_SYSCALL_INFO, tid, size_of_val(&info), (&raw mut info).addr()) }?;
    let [head, _, _, number, a, b, c, d, e, f, _] = info;
    Ok(match (head & 0xff, head >> 32) {
        (ENTRY | SECCOMP, X86_64) => Call::Before { nr: number, args: [a, b, c, d, e, f] },
        (EXIT, X86_64) => Call::Behind { value: number as i64 },
        _ => Call::None,
    })
}

/// Lets a thread go that was seized and has not stopped.
pub fn release(tid: i32) -> Result<(), Errno> {
    interrupt(tid)?;
    loop {
        match wait(tid)? {
            Stop::Gone => return Err(Errno::ESRCH),
            Stop::Asked => return detach(tid),
            Stop::Signal(signal) => resume(tid, Until::Event, signal)?,
            Stop::Seccomp | Stop::Child(_) | Stop::Call => resume(tid, Until::Event, 0)?,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    use super::*;

    /// A child that runs `body` and ends; also when the test fails, whose thread is its parent.
    fn child(body: impl FnOnce()) -> i32 {
        // SAFETY: the child does host calls only and leaves by _exit.
        unsafe {
            let pid = libc::fork();
            if pid == 0 {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                body();
                libc::_exit(0);
            }
            pid
        }
    }

    #[test]
    fn a_call_is_seen_before_it_is_made_and_behind() {
        let pid = child(|| {
            loop {
                // SAFETY: numbers only.
                unsafe { libc::syscall(libc::SYS_getpriority, 77, 5) };
            }
        });
        seize(pid).unwrap();
        interrupt(pid).unwrap();
        assert_eq!(wait(pid), Ok(Stop::Asked));
        // Calls that a child makes at its start may come first.
        let mut seen = Vec::new();
        for _ in 0..20 {
            resume(pid, Until::Call, 0).unwrap();
            assert_eq!(wait(pid), Ok(Stop::Call));
            seen.push(call(pid).unwrap());
        }
        let before = |call: &Call| matches!(call, Call::Before { nr: 140, args: [77, 5, ..] });
        let is_answered = seen.windows(2).any(|two| before(&two[0]) && two[1] == Call::Behind { value: -22 });
        crate::process::kill(pid, 9).unwrap();
        assert_eq!(wait(pid), Ok(Stop::Gone));
        crate::process::reap(pid);
        assert!(is_answered, "{seen:?}");
        assert_eq!(seize(pid), Err(Errno::ESRCH));
    }

    #[test]
    fn a_child_is_named_and_stops() {
        let (go, seized) = std::io::pipe().unwrap();
        let pid = child(|| {
            // SAFETY: a read into a byte of its own; the child's child ends at once.
            unsafe {
                libc::read(go.as_raw_fd(), [0u8].as_mut_ptr().cast(), 1);
                if libc::fork() == 0 {
                    libc::_exit(0);
                }
                libc::pause();
            }
        });
        seize(pid).unwrap();
        (&seized).write_all(b"x").unwrap();
        let Ok(Stop::Child(born)) = wait(pid) else { panic!() };
        assert_eq!(wait(born), Ok(Stop::Asked));
        detach(born).unwrap();
        detach(pid).unwrap();
        crate::process::kill(pid, 9).unwrap();
        crate::process::reap(pid);
    }
}
