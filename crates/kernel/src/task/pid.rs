//! PIDs and PID namespaces, pid_namespaces(7).
//!
//! A `Pid` is an identity with a number in each namespace from its own up to the root. Threads, processes, process groups
//! and sessions are found by it. It lives as long as anyone uses it, its numbers as long. Locks: `PidTable`.

use super::cgroup::Charge;
use super::{Task, ThreadGroup};
use crate::cred::UserNs;
use crate::locks::{Leaf, PidTable};
use crate::op::{Op, fail};
use crate::wait::Queue;
use abi::Errno;
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, Weak};

/// Numbers go up to this, then begin again at 300 (Linux' RESERVED_PIDS).
pub const PID_MAX: i32 = 4_194_304;

/// A PID namespace.
pub struct PidNs {
    pub id: u64,
    pub parent: Option<Arc<PidNs>>,
    pub owner: Arc<UserNs>,
    pub level: u32,
    table: Mutex<Table, PidTable>,
}

#[derive(Default)]
struct Table {
    last: i32,
    numbers: BTreeMap<i32, Weak<Pid>>,
    /// Its init is dead: nobody can be born in it.
    dead: bool,
}

impl PidNs {
    pub fn root() -> Arc<PidNs> {
        let table = Mutex::new(Table::default());
        Arc::new(PidNs { id: crate::unique_id(), parent: None, owner: UserNs::initial(), level: 0, table })
    }

    /// ENOSPC beyond 32 levels.
    pub fn child(parent: &Arc<PidNs>, owner: Arc<UserNs>) -> Op<Arc<PidNs>> {
        if parent.level >= 31 {
            return fail(Errno::ENOSPC);
        }
        Ok(Arc::new(PidNs {
            id: crate::unique_id(),
            parent: Some(parent.clone()),
            owner,
            level: parent.level + 1,
            table: Mutex::new(Table::default()),
        }))
    }

    /// Whether `self` is `other` or one of its ancestors.
    pub fn is_ancestor_of(&self, other: &PidNs) -> bool {
        std::iter::successors(Some(other), |ns| ns.parent.as_deref()).any(|ns| ns.id == self.id)
    }

    /// The identity behind a number of this namespace.
    pub fn find(&self, number: i32) -> Option<Arc<Pid>> {
        self.table.lock().numbers.get(&number).and_then(Weak::upgrade)
    }

    pub fn task(&self, number: i32) -> Option<Arc<Task>> {
        self.find(number)?.task()
    }

    pub fn group(&self, number: i32) -> Option<Arc<ThreadGroup>> {
        self.find(number)?.group()
    }

    /// All processes seen here, in the order of their numbers.
    pub fn groups(&self) -> Vec<(i32, Arc<ThreadGroup>)> {
        let pids: Vec<(i32, Arc<Pid>)> = {
            let table = self.table.lock();
            table.numbers.iter().filter_map(|(n, p)| Some((*n, p.upgrade()?))).collect()
        };
        pids.into_iter().filter_map(|(n, p)| Some((n, p.group()?))).collect()
    }

    /// Process 1 of this namespace.
    pub fn init(&self) -> Option<Arc<ThreadGroup>> {
        self.group(1)
    }

    /// The number that was given last: /proc/loadavg, /proc/sys/kernel/ns_last_pid.
    pub fn last(&self) -> i32 {
        self.table.lock().last
    }

    /// No more births: its init has exited.
    pub fn close(&self) {
        self.table.lock().dead = true;
    }

    fn allot(self: &Arc<Self>, pid: &Weak<Pid>) -> Op<i32> {
        let mut table = self.table.lock();
        if table.dead {
            return fail(Errno::ENOMEM);
        }
        let mut number = table.last;
        for _ in 0..PID_MAX {
            number = if number >= PID_MAX { 300 } else { number + 1 };
            if let std::collections::btree_map::Entry::Vacant(free) = table.numbers.entry(number) {
                free.insert(pid.clone());
                table.last = number;
                return Ok(number);
            }
        }
        fail(Errno::EAGAIN)
    }
}

/// The identity of a thread, process, process group or session.
pub struct Pid {
    /// From the root namespace to its own.
    numbers: OnceLock<Vec<(Arc<PidNs>, i32)>>,
    task: Mutex<Weak<Task>, Leaf>,
    group: Mutex<Weak<ThreadGroup>, Leaf>,
    /// Its task's place in the count of a control group, as long as the task is there or waits to be waited for.
    pub(super) charge: Mutex<Option<Charge>, Leaf>,
    /// Woken when the thread or process exits: pidfd_open(2).
    pub exited: Queue,
}

impl Pid {
    /// A new identity in `ns`, of a task that counts by `charge`. EAGAIN where numbers are used up, ENOMEM where the namespace's init is dead.
    pub fn new(ns: &Arc<PidNs>, charge: Charge) -> Op<Arc<Pid>> {
        let pid = Arc::new(Pid {
            numbers: OnceLock::new(),
            task: Mutex::new(Weak::new()),
            group: Mutex::new(Weak::new()),
            charge: Mutex::new(Some(charge)),
            exited: Queue::new(),
        });
        let weak = Arc::downgrade(&pid);
        let mut numbers = Vec::with_capacity(ns.level as usize + 1);
        let mut at = Some(ns.clone());
        while let Some(ns) = at {
            match ns.allot(&weak) {
                Ok(number) => numbers.push((ns.clone(), number)),
                Err(stop) => {
                    let _ = pid.numbers.set(numbers);
                    return Err(stop);
                }
            }
            at = ns.parent.clone();
        }
        numbers.reverse();
        let _ = pid.numbers.set(numbers);
        Ok(pid)
    }

    fn numbers(&self) -> &[(Arc<PidNs>, i32)] {
        self.numbers.get().map_or(&[], Vec::as_slice)
    }

    /// The number in its own namespace.
    pub fn number(&self) -> i32 {
        self.numbers().last().map_or(0, |n| n.1)
    }

    /// The number that `ns` knows it by; 0 where it can't be seen from there.
    pub fn number_in(&self, ns: &PidNs) -> i32 {
        self.numbers().get(ns.level as usize).filter(|n| n.0.id == ns.id).map_or(0, |n| n.1)
    }

    /// Its numbers from `ns` downwards, as NSpid of /proc/PID/status shows them.
    pub fn numbers_from(&self, ns: &PidNs) -> Vec<i32> {
        self.numbers().iter().skip(ns.level as usize).map(|n| n.1).collect()
    }

    /// The namespace that it was born in.
    pub fn ns(&self) -> Option<Arc<PidNs>> {
        self.numbers().last().map(|n| n.0.clone())
    }

    pub fn task(&self) -> Option<Arc<Task>> {
        self.task.lock().upgrade()
    }
    /// The process that it leads.
    pub fn group(&self) -> Option<Arc<ThreadGroup>> {
        self.group.lock().upgrade()
    }
    pub fn set_task(&self, task: &Arc<Task>) {
        *self.task.lock() = Arc::downgrade(task);
    }
    pub fn set_group(&self, group: &Arc<ThreadGroup>) {
        *self.group.lock() = Arc::downgrade(group);
    }
    /// The process was waited for, or the thread ended: it is found no more.
    pub fn detach(&self) {
        *self.task.lock() = Weak::new();
        *self.group.lock() = Weak::new();
        let charge = self.charge.lock().take();
        drop(charge);
    }
}

impl Drop for Pid {
    fn drop(&mut self) {
        for (ns, number) in self.numbers() {
            ns.table.lock().numbers.remove(number);
        }
    }
}
