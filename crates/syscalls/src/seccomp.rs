//! seccomp(2), and prctl(2) PR_SET_SECCOMP. Filters are `kernel::seccomp`'s, their effect is `kernel::task`'s.
//!
//! SECCOMP_RET_USER_NOTIF has no listener here, as on Linux before 5.0: its flags and SECCOMP_GET_NOTIF_SIZES are EINVAL.

use abi::Errno;
use abi::seccomp::*;
use kernel::cred::Cap;
use kernel::task::AddFilter;
use kernel::{Args, Call, Op, Ret, fail};

pub fn sys_seccomp(call: &mut Call<'_>, [operation, flags, args, ..]: Args) -> Op<Ret> {
    match operation as u32 {
        SECCOMP_SET_MODE_STRICT if flags as u32 == 0 && args == 0 => strict(call),
        SECCOMP_SET_MODE_FILTER => add(call, flags as u32, args),
        SECCOMP_GET_ACTION_AVAIL if flags as u32 == 0 => {
            let action: u32 = call.get(args)?;
            let known = [
                SECCOMP_RET_KILL_PROCESS,
                SECCOMP_RET_KILL_THREAD,
                SECCOMP_RET_TRAP,
                SECCOMP_RET_ERRNO,
                SECCOMP_RET_TRACE,
                SECCOMP_RET_LOG,
                SECCOMP_RET_ALLOW,
            ];
            if known.contains(&action) { Ok(().into()) } else { fail(Errno::EOPNOTSUPP) }
        }
        _ => fail(Errno::EINVAL),
    }
}

/// PR_SET_SECCOMP: a mode, and the program where it is that of filters.
pub fn prctl(call: &mut Call<'_>, mode: u64, program: u64) -> Op<Ret> {
    match u32::try_from(mode) {
        Ok(SECCOMP_MODE_STRICT) => strict(call),
        Ok(SECCOMP_MODE_FILTER) => add(call, 0, program),
        _ => fail(Errno::EINVAL),
    }
}

fn strict(call: &Call<'_>) -> Op<Ret> {
    Ok(call.task.set_seccomp_strict().map(Ret::from)?)
}

fn add(call: &Call<'_>, flags: u32, args: u64) -> Op<Ret> {
    const KNOWN: u32 = SECCOMP_FILTER_FLAG_TSYNC
        | SECCOMP_FILTER_FLAG_LOG
        | SECCOMP_FILTER_FLAG_SPEC_ALLOW
        | SECCOMP_FILTER_FLAG_TSYNC_ESRCH;
    if flags & !KNOWN != 0 {
        return fail(Errno::EINVAL);
    }
    let program: SockFprog = call.get(args)?;
    if program.len == 0 || usize::from(program.len) > BPF_MAXINSNS {
        return fail(Errno::EINVAL);
    }
    let cred = call.task.cred();
    if !cred.no_new_privs && !cred.has_in(&cred.user_ns, Cap::SysAdmin) {
        return fail(Errno::EACCES);
    }
    if program.filter == 0 {
        return fail(Errno::EINVAL);
    }
    let insns: Vec<SockFilter> = call.get_vec(program.filter, program.len.into())?;
    let how =
        AddFilter { log: flags & SECCOMP_FILTER_FLAG_LOG != 0, all_threads: flags & SECCOMP_FILTER_FLAG_TSYNC != 0 };
    match call.task.add_filter(&insns, how)? {
        None => Ok(().into()),
        Some(_) if flags & SECCOMP_FILTER_FLAG_TSYNC_ESRCH != 0 => fail(Errno::ESRCH),
        Some(thread) => Ok(Ret::Value(thread as u64)),
    }
}
