//! Whether a task may look into another one: "Ptrace access mode checking" of ptrace(2).

use super::Task;
use crate::cred::Cap;
use std::sync::Arc;

impl Task {
    /// PTRACE_MODE_ATTACH_REALCREDS: same ids and a process that may be dumped, or CAP_SYS_PTRACE over its user namespace. A task may
    /// always look into its own process.
    pub fn may_attach(&self, other: &Task) -> bool {
        let cred = self.cred();
        self.may_look(other, cred.uid, cred.gid)
    }

    /// PTRACE_MODE_READ_FSCREDS: what many files of /proc ask for.
    pub fn may_read(&self, other: &Task) -> bool {
        let cred = self.cred();
        self.may_look(other, cred.fsuid, cred.fsgid)
    }

    fn may_look(&self, other: &Task, uid: u32, gid: u32) -> bool {
        if Arc::ptr_eq(&self.group, &other.group) {
            return true;
        }
        let (mine, theirs) = (self.cred(), other.cred());
        if mine.has_in(&theirs.user_ns, Cap::SysPtrace) {
            return true;
        }
        let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == uid)
            && [theirs.gid, theirs.egid, theirs.sgid].iter().all(|id| *id == gid);
        same && other.group.dumpable.load(std::sync::atomic::Ordering::Relaxed) == 1
            && mine.permitted.contains(theirs.permitted)
    }
}
