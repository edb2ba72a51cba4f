//! Semaphore sets: semget(2), semop(2), semctl(2).
//!
//! Operations of one call happen all or not at all. A task that must wait is on the set's queue and tries again at every change.
//! SEM_UNDO adjustments are kept by process and applied when it ends.

use super::table::{Object, Perm};
use crate::locks::{FileState, Leaf};
use crate::op::{Op, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use lock::Mutex;
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// SEMVMX.
pub const MAX_VALUE: i32 = 32_767;
const SEM_UNDO: u16 = 0x1000;

/// `struct sembuf`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
pub struct SemOp {
    pub num: u16,
    pub op: i16,
    pub flags: u16,
}

/// One semaphore.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sem {
    pub value: i32,
    /// The last process that changed it.
    pub pid: i32,
    /// Tasks that wait for more, and for zero.
    pub waiting_more: u32,
    pub waiting_zero: u32,
}

/// A set.
pub struct SemSet {
    pub state: Mutex<SemState, FileState>,
    /// Woken at each change, with HUP at the set's end.
    pub queue: Queue,
}

/// What changes of a set. Times in seconds.
pub struct SemState {
    pub perm: Perm,
    pub sems: Vec<Sem>,
    pub operated_at: i64,
    pub changed_at: i64,
    pub removed: bool,
    /// Adjustments at the end of processes, by process id of the kernel and semaphore.
    undo: HashMap<u64, Vec<i32>>,
}

impl Object for SemSet {
    fn with_perm<T>(&self, f: impl FnOnce(&mut Perm) -> T) -> T {
        f(&mut self.state.lock().perm)
    }
    /// Semaphores.
    fn size(&self) -> u64 {
        self.state.lock().sems.len() as u64
    }
}

/// What a process has to undo when it ends: sets with an adjustment of its. It is undone when this is dropped.
pub struct Undo {
    /// The kernel's number of the process, and its process id.
    owner: u64,
    pid: i32,
    sets: Mutex<Vec<Weak<SemSet>>, Leaf>,
}

impl Undo {
    pub fn new(pid: i32) -> Undo {
        Undo { owner: crate::unique_id(), pid, sets: Mutex::new(Vec::new()) }
    }

    fn note(&self, set: &Arc<SemSet>) {
        let mut sets = self.sets.lock();
        sets.retain(|s| s.strong_count() > 0);
        let this = Arc::downgrade(set);
        if !sets.iter().any(|s| s.ptr_eq(&this)) {
            sets.push(this);
        }
    }
}

impl SemSet {
    pub fn new(count: usize, perm: Perm, now: i64) -> SemSet {
        let state = SemState {
            perm,
            sems: vec![Sem::default(); count],
            operated_at: 0,
            changed_at: now,
            removed: false,
            undo: HashMap::new(),
        };
        SemSet { state: Mutex::new(state), queue: Queue::new() }
    }

    /// Tries all operations at once for the process of `undo`: None where it must wait. EIDRM once the set is removed, EFBIG
    /// for a semaphore that is not there, ERANGE for a value beyond its bounds.
    pub fn try_ops(self: &Arc<Self>, ops: &[SemOp], undo: &Undo, now: i64) -> Op<Option<()>> {
        let mut state = self.state.lock();
        if state.removed {
            return fail(Errno::EIDRM);
        }
        if ops.iter().any(|op| usize::from(op.num) >= state.sems.len()) {
            return fail(Errno::EFBIG);
        }
        let mut values: Vec<i32> = state.sems.iter().map(|s| s.value).collect();
        let mut adjust = state.undo.get(&undo.owner).cloned().unwrap_or_else(|| vec![0; values.len()]);
        let mut undoes = false;
        for op in ops {
            let at = usize::from(op.num);
            let value = values.get_mut(at).ok_or(Errno::EFBIG)?;
            let new = *value + i32::from(op.op);
            if (op.op == 0 && *value != 0) || new < 0 {
                return if u32::from(op.flags) & super::IPC_NOWAIT != 0 { fail(Errno::EAGAIN) } else { Ok(None) };
            }
            if new > MAX_VALUE {
                return fail(Errno::ERANGE);
            }
            *value = new;
            if op.flags & SEM_UNDO != 0
                && op.op != 0
                && let Some(a) = adjust.get_mut(at)
            {
                *a -= i32::from(op.op);
                if a.abs() > MAX_VALUE {
                    return fail(Errno::ERANGE);
                }
                undoes = true;
            }
        }
        for (sem, value) in state.sems.iter_mut().zip(&values) {
            sem.value = *value;
        }
        for op in ops {
            if let Some(sem) = state.sems.get_mut(usize::from(op.num)) {
                sem.pid = undo.pid;
            }
        }
        state.operated_at = now;
        if undoes {
            state.undo.insert(undo.owner, adjust);
        }
        drop(state);
        if undoes {
            undo.note(self);
        }
        if ops.iter().any(|op| op.op != 0) {
            self.queue.wake(Events::IN);
        }
        Ok(Some(()))
    }

    /// Counts a task that waits at the first operation that cannot be, by `by` (1 or -1).
    pub fn count_waiter(&self, ops: &[SemOp], by: i32) {
        let mut state = self.state.lock();
        let Some(op) = ops.iter().find(|op| op.op <= 0) else { return };
        if let Some(sem) = state.sems.get_mut(usize::from(op.num)) {
            let counter = if op.op == 0 { &mut sem.waiting_zero } else { &mut sem.waiting_more };
            *counter = counter.saturating_add_signed(by);
        }
    }

    /// Sets values by semctl(2); adjustments of all processes for them are void. ERANGE for a value out of bounds.
    pub fn set(&self, values: &[(usize, i32)], pid: i32, now: i64) -> Op<()> {
        if values.iter().any(|(_, v)| !(0..=MAX_VALUE).contains(v)) {
            return fail(Errno::ERANGE);
        }
        let mut state = self.state.lock();
        if state.removed {
            return fail(Errno::EIDRM);
        }
        for (at, value) in values {
            let sem = state.sems.get_mut(*at).ok_or(Errno::EINVAL)?;
            sem.value = *value;
            sem.pid = pid;
            for adjust in state.undo.values_mut() {
                if let Some(a) = adjust.get_mut(*at) {
                    *a = 0;
                }
            }
        }
        state.changed_at = now;
        drop(state);
        self.queue.wake(Events::IN);
        Ok(())
    }

    /// The set is no more: who waits gets EIDRM.
    pub fn removed(&self) {
        self.state.lock().removed = true;
        self.queue.wake(Events::IN | Events::HUP);
    }
}

impl Drop for Undo {
    /// The process ends: its adjustments are made, none below 0.
    fn drop(&mut self) {
        let sets = std::mem::take(self.sets.get_mut());
        for set in sets.iter().filter_map(Weak::upgrade) {
            {
                let mut state = set.state.lock();
                let Some(adjust) = state.undo.remove(&self.owner) else { continue };
                for (sem, by) in state.sems.iter_mut().zip(adjust).filter(|(_, by)| *by != 0) {
                    sem.value = (sem.value + by).clamp(0, MAX_VALUE);
                    sem.pid = self.pid;
                }
            }
            set.queue.wake(Events::IN);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cred::{Cred, UserNs};

    fn op(num: u16, op: i16, flags: u16) -> SemOp {
        SemOp { num, op, flags }
    }

    #[test]
    fn all_or_nothing_and_undo() {
        let perm = Perm::new(1, 0o600, &Cred::root(UserNs::initial()));
        let set = Arc::new(SemSet::new(2, perm, 0));
        let undo = Undo::new(42);
        let run = |ops: &[SemOp]| set.try_ops(ops, &undo, 0);
        assert_eq!(run(&[op(0, 3, 0), op(1, -1, 0)]), Ok(None));
        assert_eq!(set.state.lock().sems[0].value, 0);
        assert_eq!(run(&[op(0, 3, SEM_UNDO), op(1, 1, 0)]), Ok(Some(())));
        assert_eq!(run(&[op(0, -1, SEM_UNDO)]), Ok(Some(())));
        assert_eq!(run(&[op(0, 0, 0o4000)]), fail(Errno::EAGAIN));
        assert_eq!(run(&[op(2, 1, 0)]), fail(Errno::EFBIG));
        assert_eq!(run(&[op(0, i16::MAX, 0)]), fail(Errno::ERANGE));
        assert_eq!(set.state.lock().sems[0].value, 2);
        let again = Undo::new(42);
        let run = |ops: &[SemOp]| set.try_ops(ops, &again, 0);
        drop(undo);
        assert_eq!(set.state.lock().sems[0].value, 0);
        assert_eq!(set.state.lock().sems[1].value, 1);
        set.removed();
        assert_eq!(run(&[op(0, 1, 0)]), fail(Errno::EIDRM));
    }
}
