//! Who may look into a process: PTRACE_MODE_READ of ptrace(2) "Ptrace access mode checking".

use abi::Errno;
use kernel::cred::Cap;
use kernel::task::Task;
use kernel::{Io, Op, fail};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// EACCES unless the caller may read `target`'s memory and the like, by its file system ids.
pub fn may_read(io: &Io<'_>, target: &Arc<Task>) -> Op<()> {
    let Some(caller) = Task::of(io) else { return Ok(()) };
    if Arc::ptr_eq(&caller.group, &target.group) {
        return Ok(());
    }
    let (mine, theirs) = (&io.cred, target.cred());
    let ptrace = mine.has_in(&theirs.user_ns, Cap::SysPtrace);
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == mine.fsuid)
        && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == mine.fsgid);
    let dumpable = target.group.dumpable.load(Relaxed) == 1;
    let caps = mine.user_ns.id == theirs.user_ns.id && mine.permitted.contains(theirs.permitted);
    if ptrace || same && dumpable && caps { Ok(()) } else { fail(Errno::EACCES) }
}
