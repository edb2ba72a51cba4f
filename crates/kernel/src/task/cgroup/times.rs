//! User and system time of a group: cgroups(7), cpu.stat, cpuacct.stat.
//!
//! A thread that is in another group than its process counts for its process' group here. Neighbours: `usage` (CPU time altogether), `members` (who comes and goes). Owns no locks; what it keeps is part of the group's state.

use super::members::Member;
use super::{Cgroup, State};
use crate::task::ThreadGroup;
use crate::task::left::{self, Left};
use host::process::CpuTimes;

/// System time of members that left and of groups that were removed.
#[derive(Default)]
pub(super) struct Gone {
    /// Of those that ended without what the host tells at their end, ns. That comes on top, less what it had told before they came here.
    system: i64,
    left: Left,
}

impl Gone {
    pub fn add(&mut self, other: &Gone) {
        self.system += other.system;
        self.left.add(&other.left);
    }
}

/// System time of a process as it leaves a group, ns, and what the host has yet to tell of it.
pub(super) struct Leaving(u64, Left);

impl Leaving {
    pub fn of(process: &ThreadGroup) -> Leaving {
        if process.tasks().is_empty() {
            return Leaving(process.times_of_calls().system, process.left());
        }
        Leaving(process.times().system, Left::default())
    }
}

impl State {
    pub(super) fn keep_times(&mut self, member: &Member, Leaving(system, left): Leaving) {
        self.gone.system += system as i64 - member.system as i64;
        self.gone.left.add(&left);
    }
}

impl Cgroup {
    /// User and system time of all that ever ran in it and below. Costs looks into the host's /proc.
    pub fn times(&self) -> CpuTimes {
        let total = self.cpu_time();
        let mut groups = self.children();
        let mut system = self.own_system_time();
        while let Some(group) = groups.pop() {
            system += group.own_system_time();
            groups.extend(group.children());
        }
        let system = system.max(0).unsigned_abs().min(total);
        self.told.forward(CpuTimes { user: total - system, system })
    }

    fn own_system_time(&self) -> i64 {
        let (gone, left, members) = {
            let state = self.state.lock();
            let members: Vec<Member> = state.members.values().cloned().collect();
            (state.gone.system, state.gone.left.clone(), members)
        };
        let living = members.iter().filter_map(|member| {
            let now = member.process.upgrade()?.times().system;
            Some(now as i64 - member.system as i64)
        });
        gone + left::so_far(&left).system as i64 + living.sum::<i64>()
    }
}
