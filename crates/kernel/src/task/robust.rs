//! Robust futexes: what happens to locks that a thread holds when it ends or execs. set_robust_list(2), the kernel's robust-futexes text.
//!
//! The words hold guest thread ids, which the host does not know, so the host's own robust lists are of no use. The ending thread's stub swaps the words,
//! before the thread lets its memory go; the list is guest memory, read with bounds. Neighbours: `exit` (lets each thread of a dying process come by here),
//! `drive` (has the stub do it). Owns no locks.

use super::{Task, ThreadGroup};
use crate::mm::Mm;
use abi::futex::{FUTEX_OWNER_DIED, FUTEX_TID_MASK, FUTEX_WAITERS, FUTEX_WAKE, ROBUST_LIST_LIMIT, RobustListHead};
use platform::{Arg, Op, Script, Then};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use zerocopy::{FromZeros, IntoBytes};

/// A word that changed under the stub's hands is looked at again, so often.
const MAX_ROUNDS: u32 = 8;

impl ThreadGroup {
    /// Whether its threads must be let do something before they end, although all of them do: others see the locks that they hold.
    pub(super) fn has_last_words(&self, tasks: &[Arc<Task>]) -> bool {
        let Some(mm) = tasks.iter().find_map(|t| t.mm()) else { return false };
        let listed = || tasks.iter().any(|t| t.robust_list() != 0);
        // A thread that is alone in its process, and in the kernel, changes its list no more.
        let changing = || tasks.len() > 1 || tasks.iter().any(|t| t.is_at_user());
        let locks = || listed() && (changing() || tasks.iter().any(|t| !held(&mm, t).is_empty()));
        // Where others live in its memory, its threads have to come in, or they would run on.
        mm.users() > tasks.len() || mm.shares_writable() && locks()
    }
}

impl Task {
    /// Address of the head of its robust list, 0 for none. Its stub keeps it, and notes by itself what the thread sets.
    pub fn robust_list(&self) -> u64 {
        self.thread().map_or(0, |thread| thread.robust_list())
    }

    pub fn set_robust_list(&self, head: u64) {
        if let Some(thread) = self.thread() {
            thread.set_robust_list(head);
        }
    }

    /// What its stub has to do before the thread ends or takes on another program; None when that is done.
    pub fn last_words(&self) -> Option<Script> {
        let mm = self.mm()?;
        let mut ops = Vec::new();
        if self.robust_list() != 0 && self.robust_rounds.fetch_add(1, Relaxed) < MAX_ROUNDS {
            ops = held(&mm, self);
        }
        if ops.is_empty() {
            self.set_robust_list(0);
            self.robust_rounds.store(0, Relaxed);
            ops = self.clear_tid_of_vfork(&mm);
        }
        (!ops.is_empty()).then_some(Script { ops, then: Then::Report })
    }

    /// A vfork child's word is cleared before its parent goes on. (Of other threads the host does it, when its own thread ends.)
    fn clear_tid_of_vfork(&self, mm: &Mm) -> Vec<Op> {
        let mut fields = self.fields.lock();
        if fields.vfork_parent.is_none() || fields.clear_tid == 0 || mm.users() < 2 {
            return Vec::new();
        }
        let addr = std::mem::take(&mut fields.clear_tid);
        vec![
            Op::call(abi::nr::SET_TID_ADDRESS, [0; 6]),
            Op::Copy { addr, bytes: vec![0; 4] },
            Op::Call { nr: abi::nr::FUTEX, args: [addr, FUTEX_WAKE.into(), 1, 0, 0, 0].map(Arg::Val), may_fail: true },
        ]
    }
}

/// One entry: where it is, and whether it is a priority-inheriting futex.
fn entry(at: u64) -> (u64, bool) {
    (at & !1, at & 1 != 0)
}

/// What is to be done about the words of a thread's list that still name it as owner.
fn held(mm: &Mm, task: &Task) -> Vec<Op> {
    let at = task.robust_list();
    let mut head = RobustListHead::new_zeroed();
    let mut ops = Vec::new();
    if at == 0 || mm.read_exact(at, head.as_mut_bytes()).is_err() {
        return ops;
    }
    let (pending, pending_pi) = entry(head.list_op_pending);
    let (mut next, mut pi) = entry(head.list);
    let word_of = |entry: u64| entry.wrapping_add(head.futex_offset as u64);
    // As on Linux the walk ends at the first entry that cannot be read, and without what is pending then; and at the limit, or where a circle without the
    // head begins anew.
    let mut seen = HashSet::new();
    for _ in 0..ROBUST_LIST_LIMIT {
        if next == at || !seen.insert(next) {
            break;
        }
        let mut link = [0; 8];
        let followed = mm.read_exact(next, &mut link);
        if next != pending && release(mm, task, word_of(next), pi, false, &mut ops).is_none() {
            return ops;
        }
        if followed.is_err() {
            return ops;
        }
        (next, pi) = entry(u64::from_le_bytes(link));
    }
    if pending != 0 {
        release(mm, task, word_of(pending), pending_pi, true, &mut ops);
    }
    ops
}

/// None where there is no such word.
fn release(mm: &Mm, task: &Task, addr: u64, pi: bool, pending: bool, ops: &mut Vec<Op>) -> Option<()> {
    let mut bytes = [0; 4];
    if !addr.is_multiple_of(4) {
        return None;
    }
    mm.read_exact(addr, &mut bytes).ok()?;
    let old = u32::from_le_bytes(bytes);
    let owner = old & FUTEX_TID_MASK;
    if pending && !pi && owner == 0 && task.robust_rounds.load(Relaxed) <= 1 {
        // It was unlocked, but perhaps nobody was woken yet.
        ops.push(Op::Call {
            nr: abi::nr::FUTEX,
            args: [addr, FUTEX_WAKE.into(), 1, 0, 0, 0].map(Arg::Val),
            may_fail: true,
        });
    } else if owner == task.tid() as u32 {
        // Of a priority-inheriting one, the next owner is found by `futex::pi`.
        let wake = i32::from(!pi && old & FUTEX_WAITERS != 0);
        ops.push(Op::Cas32 { addr, old, new: old & FUTEX_WAITERS | FUTEX_OWNER_DIED, wake });
    }
    Some(())
}
