//! Robust futexes: set_robust_list(2), get_robust_list(2), and what happens to locks that a thread holds when it ends.
//!
//! The words hold guest thread ids, which the host does not know, so the host's own robust lists are of no use. The ending
//! thread's stub swaps the words; the list is guest memory, read with bounds. A process that is killed from outside leaves its words
//! as they are.

use abi::Errno;
use kernel::mm::Mm;
use kernel::task::Task;
use kernel::{Args, Call, Next, Op, Ret, StubWork, fail};
use platform::{Script, Then};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// sizeof(struct robust_list_head).
const HEAD: u64 = 24;
/// As Linux bounds the walk.
const MAX_ENTRIES: usize = 2048;
/// A word that changed under the stub's hands is looked at again, so often.
const MAX_ROUNDS: u32 = 3;
const FUTEX_WAITERS: u32 = 0x8000_0000;
const FUTEX_OWNER_DIED: u32 = 0x4000_0000;
const FUTEX_TID_MASK: u32 = 0x3fff_ffff;

pub fn sys_set_robust_list(call: &mut Call<'_>, [head, len, ..]: Args) -> Op<Ret> {
    if len != HEAD {
        return fail(Errno::EINVAL);
    }
    call.task.robust_list.store(head, Relaxed);
    call.task.robust_len.store(len, Relaxed);
    Ok(().into())
}

pub fn sys_get_robust_list(call: &mut Call<'_>, [pid, head_at, len_at, ..]: Args) -> Op<Ret> {
    let target = match pid as i32 {
        0 => call.task.clone(),
        pid => call.task.pid.ns().and_then(|ns| ns.task(pid)).ok_or(Errno::ESRCH)?,
    };
    let (mine, theirs) = (call.task.cred(), target.cred());
    let same = [theirs.uid, theirs.euid, theirs.suid].iter().all(|id| *id == mine.uid);
    if !same && !mine.has_in(&theirs.user_ns, kernel::cred::Cap::SysPtrace) {
        return fail(Errno::EPERM);
    }
    call.put(len_at, &HEAD)?;
    call.put(head_at, &target.robust_list.load(Relaxed))?;
    Ok(().into())
}

/// How often the words were gone through.
struct Rounds(u32);

/// What an ending thread has to do first: the stub's work, or None when no lock of `tasks` is left.
pub fn release(call: &mut Call<'_>, tasks: &[Arc<Task>]) -> Option<Ret> {
    let rounds = call.rec.stage.as_ref().and_then(|s| s.downcast_ref::<Rounds>()).map_or(0, |r| r.0);
    if rounds >= MAX_ROUNDS || tasks.iter().all(|t| t.robust_list.load(Relaxed) == 0) {
        return None;
    }
    let mm = call.task.mm()?;
    let ops: Vec<platform::Op> = tasks.iter().flat_map(|task| held(&mm, task)).collect();
    if ops.is_empty() {
        return None;
    }
    call.rec.stage = Some(Box::new(Rounds(rounds + 1)));
    let script = Script { ops, then: Then::Report };
    Some(Ret::Stub(Box::new(StubWork::Script { script, on_done: Box::new(|_, _, _| Next::Again) })))
}

fn word(mm: &Mm, at: u64) -> Option<u64> {
    let mut bytes = [0; 8];
    mm.read_exact(at, &mut bytes).ok()?;
    Some(u64::from_le_bytes(bytes))
}

/// The words of a thread's list that still name it as owner, each with what becomes of it.
fn held(mm: &Mm, task: &Task) -> Vec<platform::Op> {
    let head = task.robust_list.load(Relaxed);
    let mut ops = Vec::new();
    let fields = (word(mm, head), word(mm, head.wrapping_add(8)), word(mm, head.wrapping_add(16)));
    let (Some(first), Some(offset), Some(pending)) = fields else { return ops };
    let mut seen_pending = pending & !1 == 0;
    let mut at = first;
    for _ in 0..MAX_ENTRIES {
        if at & !1 == head {
            break;
        }
        seen_pending |= at & !1 == pending & !1;
        ops.extend(release_word(mm, task, (at & !1).wrapping_add(offset)));
        let Some(next) = word(mm, at & !1) else { break };
        at = next;
    }
    if !seen_pending {
        ops.extend(release_word(mm, task, (pending & !1).wrapping_add(offset)));
    }
    ops
}

fn release_word(mm: &Mm, task: &Task, addr: u64) -> Option<platform::Op> {
    let mut bytes = [0; 4];
    mm.read_exact(addr, &mut bytes).ok()?;
    let old = u32::from_le_bytes(bytes);
    if !addr.is_multiple_of(4) || old & FUTEX_TID_MASK != task.tid() as u32 {
        return None;
    }
    let wake = i32::from(old & FUTEX_WAITERS != 0);
    Some(platform::Op::Cas32 { addr, old, new: old & FUTEX_WAITERS | FUTEX_OWNER_DIED, wake })
}
