//! New tasks: fork(2), vfork(2), clone(2), and the first process of a container.
//!
//! The kernel's half is made first (`Task::clone_task`); then the stub forks or starts the host thread, and `Task::born` joins the two.
//! Where the host refuses, `abandon` takes the kernel's half back.

use super::cgroup::{Cgroup, Charge, Controllers};
use super::drive::{Phase, Run};
use super::{
    FsContext, GroupState, Limits, Links, Mask, Namespaces, Pid, PidNs, Seccomp, Session, Task, TaskSignals,
    ThreadGroup,
};
use crate::Kernel;
use crate::cred::{Cred, UserNs};
use crate::fd::FdTable;
use crate::locks::TaskFields;
use crate::op::{Op, Restart, Stop, fail};
use crate::signal::{Actions, AltStack, Pending};
use crate::wait::Queue;
use abi::Errno;
use abi::task::CloneFlags;
use lock::Mutex;
use platform::Thread;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed},
};

/// What clone(2) was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct CloneSpec {
    pub flags: u64,
    /// 0: the parent's.
    pub stack: u64,
    pub tls: u64,
    pub parent_tid: u64,
    pub child_tid: u64,
    pub exit_signal: i32,
}

/// The first process of a container, or one that `exec` brings in.
pub struct SpawnInit {
    pub cred: Cred,
    pub limits: Limits,
    pub files: Arc<FdTable>,
    pub fs: Arc<FsContext>,
    pub namespaces: Namespaces,
    pub container: Arc<super::Container>,
    pub seccomp: Option<Arc<crate::seccomp::Filter>>,
    /// Init of its PID namespace: signals without a handler don't reach it.
    pub init: bool,
}

/// How a new task begins when its host thread is there.
pub(super) enum Birth {
    /// With the parent's registers; fork's copy of the address space gets its stub process now.
    Forked(Box<crate::mm::ForkedMm>),
    Thread,
    /// By an exec.
    Exec(Box<super::exec::Image>),
}

impl Task {
    #[allow(clippy::too_many_arguments)]
    fn make(
        kernel: &Arc<Kernel>,
        pid: Arc<Pid>,
        group: Arc<ThreadGroup>,
        fields: super::Fields,
        mask: u64,
        altstack: AltStack,
    ) -> Arc<Task> {
        let signals =
            TaskSignals { mask: Mask::new(mask), saved_mask: None, waited: 0, pending: Pending::default(), altstack };
        let task = Arc::new(Task {
            kernel: kernel.clone(),
            pid: pid.clone(),
            group,
            started: host::time::boottime(),
            state: AtomicU8::new(super::drive::RUNNING),
            run: Mutex::new(None),
            unfinished: Default::default(),
            signals: Mutex::new(signals),
            signals_due: Default::default(),
            robust_rounds: AtomicU32::new(0),
            counters: Default::default(),
            apart: Default::default(),
            calls: AtomicU64::new(0),
            screened: AtomicBool::new(fields.seccomp.is_on()),
            asks_for_local: AtomicBool::new(fields.seccomp.asks_for_local()),
            fields: Mutex::<_, TaskFields>::new(fields),
            ptrace: Default::default(),
            exit_status: Default::default(),
            host_time_at_end: Default::default(),
        });
        pid.set_task(&task);
        task
    }

    /// The kernel's half of clone(2). Flags have been checked by the caller.
    pub fn clone_task(self: &Arc<Self>, spec: &CloneSpec, namespaces: Namespaces, cred: Cred) -> Op<Arc<Task>> {
        let flags = CloneFlags::from_bits_retain(spec.flags);
        let thread = flags.contains(CloneFlags::THREAD);
        let ns = if thread { self.pid.ns().ok_or(Errno::ESRCH)? } else { namespaces.pid_for_children.clone() };
        self.check_process_limit()?;
        let birth = if flags.contains(CloneFlags::VM) {
            Birth::Thread
        } else if self.kernel.platform.takes_forks() {
            Birth::Forked(Box::new(self.mm().ok_or(Errno::ESRCH)?.fork()?))
        } else {
            return fail(Errno::EAGAIN); // early, as whoever meets this tries it often
        };
        let cgroup = self.group.cgroup();
        let kills = cgroup.kills();
        let pid = Pid::new(&ns, Charge::new(self.places().of(Controllers::PIDS))?)?;
        let shared = |on: bool| flags.contains(if on { CloneFlags::FILES } else { CloneFlags::FS });
        let files = if shared(true) { self.files() } else { Arc::new(self.files().copy()) };
        let fs = if shared(false) { self.fs() } else { Arc::new(self.fs().copy()) };
        let mm = if flags.contains(CloneFlags::VM) { self.mm() } else { None };
        if let Some(mm) = &mm {
            mm.enter();
        }
        let mut namespaces = namespaces;
        if !thread {
            namespaces.pid_for_children = ns;
        }
        let (mask, altstack) = {
            let mine = self.signals.lock();
            let keep = !flags.contains(CloneFlags::VM) || flags.contains(CloneFlags::VFORK);
            (mine.saved_mask.unwrap_or(mine.mask.get()), if keep { mine.altstack } else { AltStack::NONE })
        };
        let fields = {
            let mine = self.fields.lock();
            super::Fields {
                thread: None,
                cred: Arc::new(cred),
                comm: mine.comm,
                files,
                fs,
                mm,
                ns: namespaces,
                handler: None,
                death_signal: 0,
                clear_tid: if flags.contains(CloneFlags::CHILD_CLEARTID) { spec.child_tid } else { 0 },
                sched: mine.sched.inherited(),
                affinity: mine.affinity.clone(),
                affinity_asked: mine.affinity_asked.clone(),
                timer_slack: mine.timer_slack,
                personality: mine.personality,
                seccomp: Seccomp::Off, // with the tree, see enter_tree
                host_time_before: Default::default(),
                vfork_parent: flags.contains(CloneFlags::VFORK).then(Queue::new),
                birth: Some(birth),
            }
        };
        let group = if thread { self.group.clone() } else { self.new_group(&pid, flags, spec.exit_signal, &cgroup) };
        let task = Self::make(&self.kernel, pid, group, fields, mask, altstack);
        if !self.enter_tree(&task, thread) {
            task.abandon();
            std::thread::yield_now(); // to who sends the signal
            return Err(Stop::Restart(Restart::NoIntr));
        }
        // The parent, or the thread's process, may have been moved since the task was counted.
        if !thread {
            cgroup.enter(&task.group, Some(self));
        } else {
            task.join_apart(self);
        }
        task.pid.charge_to(task.places().of(Controllers::PIDS));
        task.place();
        let place = task.group.cgroup();
        if place.kills() != kills && Arc::ptr_eq(&place, &cgroup) {
            super::send(&task.group, None, crate::signal::SigInfo::kernel(crate::signal::SIGKILL));
        }
        Ok(task)
    }

    /// False: a signal is here, or on its way, and comes before the call.
    fn enter_tree(&self, task: &Arc<Task>, thread: bool) -> bool {
        let _tree = self.kernel.tree.lock();
        if self.group.awaited.load(Acquire) > 0 || self.wants_out() {
            return false;
        }
        task.inherit_seccomp(self);
        let mut links = task.group.links.lock();
        links.tasks.push(task.clone());
        if !thread {
            links.leader = Some(task.clone());
        }
        drop(links);
        if !thread {
            task.group.pid.set_group(&task.group);
            if let Some(parent) = task.group.parent() {
                parent.links.lock().children.push(task.group.clone());
            }
            task.group.watch_cpu_limit();
        }
        true
    }

    fn new_group(
        self: &Arc<Self>,
        pid: &Arc<Pid>,
        flags: CloneFlags,
        exit_signal: i32,
        cgroup: &Arc<Cgroup>,
    ) -> Arc<ThreadGroup> {
        let actions = {
            let mut actions = self.group.signals.lock().actions.clone();
            if flags.contains(CloneFlags::CLEAR_SIGHAND) {
                actions.reset_handlers();
            }
            actions
        };
        let sibling = flags.contains(CloneFlags::PARENT);
        let (parent, parent_task, exit_signal) = if sibling {
            let links = self.group.links.lock();
            (links.parent.clone(), links.parent_task.clone(), self.group.exit_signal.load(Relaxed))
        } else {
            (Arc::downgrade(&self.group), Arc::downgrade(self), exit_signal)
        };
        let links = Links {
            state: GroupState::Alive,
            parent,
            parent_task,
            children: Vec::new(),
            tasks: Vec::new(),
            leader: Default::default(),
            pgrp: self.group.pgrp(),
            session: self.group.session(),
            event: None,
        };
        let group = ThreadGroup::new(
            pid.clone(),
            links,
            self.group.limits(),
            actions,
            self.group.container.clone(),
            cgroup.clone(),
        );
        group.exit_signal.store(exit_signal, Relaxed);
        group.oom_score_adj.store(self.group.oom_score_adj.load(Relaxed), Relaxed);
        group.coredump_filter.store(self.group.coredump_filter.load(Relaxed), Relaxed);
        group.dumpable.store(self.group.dumpable.load(Relaxed), Relaxed);
        let exe = self.group.exe.lock().clone();
        *group.exe.lock() = exe;
        group.signals.lock().unkillable = pid.number() == 1;
        group
    }

    /// A process without a parent in the sandbox: a container's init, or what `stockade exec` brings in.
    pub fn spawn_first(
        kernel: &Arc<Kernel>,
        ns: &Arc<PidNs>,
        init: SpawnInit,
        image: Box<super::exec::Image>,
    ) -> Op<Arc<Task>> {
        let cgroup = init.namespaces.cgroup.root.clone();
        let pid = Pid::new(ns, Charge::beyond(&cgroup))?;
        let links = Links {
            state: GroupState::Alive,
            parent: Default::default(),
            parent_task: Default::default(),
            children: Vec::new(),
            tasks: Vec::new(),
            leader: Default::default(),
            pgrp: pid.clone(),
            session: Session::new(pid.clone()),
            event: None,
        };
        let group = ThreadGroup::new(pid.clone(), links, init.limits, Actions::new(), init.container, cgroup.clone());
        group.signals.lock().unkillable = init.init;
        let fields = super::Fields {
            thread: None,
            cred: Arc::new(init.cred),
            comm: [0; 16],
            files: init.files,
            fs: init.fs,
            mm: None,
            ns: init.namespaces,
            handler: None,
            death_signal: 0,
            clear_tid: 0,
            sched: Default::default(),
            affinity: (0..kernel.cpus).collect(),
            affinity_asked: None,
            timer_slack: 50_000,
            personality: 0,
            seccomp: init.seccomp.map_or(Seccomp::Off, Seccomp::Filter),
            host_time_before: Default::default(),
            vfork_parent: None,
            birth: Some(Birth::Exec(image)),
        };
        let task = Self::make(kernel, pid, group, fields, 0, AltStack::UNSET);
        let mut links = task.group.links.lock();
        links.tasks.push(task.clone());
        links.leader = Some(task.clone());
        drop(links);
        task.group.pid.set_group(&task.group);
        task.group.watch_cpu_limit();
        cgroup.enter(&task.group, None);
        task.pid.charge_to(&task.group.cgroup_of(Controllers::PIDS));
        kernel.platform.fresh(task.clone(), task.group.container.nursery.as_ref());
        Ok(task)
    }

    /// A task with the leader's identity and this one's everything else.
    pub(super) fn make_heir(self: &Arc<Self>, birth: Birth) -> Arc<Task> {
        let mask = self.signals.lock().mask.get();
        let fields = {
            let mine = self.fields.lock();
            super::Fields {
                thread: None,
                cred: mine.cred.clone(),
                comm: mine.comm,
                files: mine.files.clone(),
                fs: mine.fs.clone(),
                mm: None,
                ns: mine.ns.clone(),
                handler: None,
                death_signal: mine.death_signal,
                clear_tid: 0,
                sched: mine.sched,
                affinity: mine.affinity.clone(),
                affinity_asked: mine.affinity_asked.clone(),
                timer_slack: mine.timer_slack,
                personality: mine.personality,
                seccomp: mine.seccomp.clone(),
                host_time_before: Default::default(),
                vfork_parent: None,
                birth: Some(birth),
            }
        };
        Self::make(&self.kernel, self.group.pid.clone(), self.group.clone(), fields, mask, AltStack::NONE)
    }

    /// The heir lets a vfork parent go, when its program is there.
    pub(super) fn release_vfork_to(&self, heir: &Task) {
        let queue = self.fields.lock().vfork_parent.take();
        heir.fields.lock().vfork_parent = queue;
    }

    /// RLIMIT_NPROC counts the user's tasks; root and CAP_SYS_RESOURCE are free of it.
    fn check_process_limit(&self) -> Op<()> {
        let cred = self.cred();
        let limit = self.group.limit(super::Resource::Nproc);
        if cred.uid == 0 || limit == Limits::INFINITY || cred.has(crate::cred::Cap::SysResource) {
            return Ok(());
        }
        let mine: u64 = super::tree::processes(self)
            .iter()
            .filter(|g| g.any_task().is_some_and(|t| t.cred().uid == cred.uid))
            .map(|g| g.links.lock().tasks.len() as u64)
            .sum();
        if mine >= limit { fail(Errno::EAGAIN) } else { Ok(()) }
    }

    /// The host refused to make the thread: nobody has seen the task yet.
    pub fn abandon(self: &Arc<Self>) {
        if Arc::ptr_eq(&self.pid, &self.group.pid) {
            Cgroup::leave(&self.group);
        }
        let tree = self.kernel.tree.lock();
        self.mark_dead();
        let group = &self.group;
        group.links.lock().tasks.retain(|t| !Arc::ptr_eq(t, self));
        let mut leader = None;
        if Arc::ptr_eq(&self.pid, &group.pid) {
            if let Some(parent) = group.parent() {
                parent.links.lock().children.retain(|g| !Arc::ptr_eq(g, group));
            }
            let mut links = group.links.lock();
            links.state = GroupState::Reaped;
            leader = links.leader.take();
        }
        self.pid.detach();
        drop(tree);
        drop(leader);
        let birth = self.fields.lock().birth.take();
        drop(birth);
        self.release();
    }

    pub(super) fn adopt_thread(&self, thread: &Arc<Thread>) {
        // An exec brings a second host thread: the first one ends, and with it the old address space.
        let (old, mut before) = self.thread_and_before();
        if let Some(old) = old {
            before.add_thread(&old);
            self.counters.read_by_stub(old.lent_reads());
        }
        let (old, cpus) = {
            let mut fields = self.fields.lock();
            fields.host_time_before = before;
            (fields.thread.replace(thread.clone()), fields.affinity.clone())
        };
        if let Some(old) = old {
            old.exit();
            let mut mine = self.signals.lock();
            let mask = mine.mask.get();
            mine.mask.set(mask);
            drop(mine);
        }
        // The parent's thread may have been elsewhere when this one began.
        if cpus.len() < self.kernel.cpus {
            let _ = thread.set_affinity(&cpus);
        }
        self.show_ids();
        let _ = self.claim_from_user();
    }

    /// The host thread waits in its first doorbell.
    pub(super) fn start(self: &Arc<Self>, thread: Arc<Thread>) {
        let birth = self.fields.lock().birth.take();
        let mut run: Box<Run> = self.take_run().unwrap_or_else(|| self.new_run());
        run.framed = true;
        run.phase = Phase::Kicked;
        run.thread = Some(thread.clone());
        match birth {
            Some(Birth::Forked(map)) => {
                let mm = map.attach(thread.space().clone());
                mm.enter();
                self.set_mm(Some(mm));
            }
            Some(Birth::Thread) | None => {}
            Some(Birth::Exec(image)) => return self.exec_on(run, &thread, *image),
        }
        // Nearly all that is born sets its mask before it does anything else.
        self.lend_mask();
        self.drive(run);
    }

    /// What a vfork parent waits on; None when the child has already let it go.
    pub fn vfork_queue(&self) -> Option<Queue> {
        self.fields.lock().vfork_parent.clone()
    }

    /// The child has its own memory now: the vfork parent may go on.
    pub(super) fn release_vfork(&self) {
        let queue = self.fields.lock().vfork_parent.take();
        if let Some(queue) = queue {
            queue.wake(crate::wait::Events::IN);
        }
    }

    /// The owner of new namespaces and of what they hold.
    pub fn user_ns(&self) -> Arc<UserNs> {
        self.cred().user_ns.clone()
    }
}
