//! The end of threads and processes. exit(2), exit_group(2), wait(2).
//!
//! Each task ends in `exit_now`, once, run by whoever holds it; the last one of a group makes it a zombie. A group that ends as a
//! whole has its stub process killed by the host: no thread needs to be answered.

use super::drive::{Phase, Run};
use super::send::{SigChild, child_info, send};
use super::{ExitStatus, GroupState, Task, ThreadGroup};
use crate::signal::{SA_NOCLDWAIT, SIG_IGN, SIGCHLD, SIGHUP, SIGKILL, SigInfo};
use crate::time::Deadline;
use crate::wait::{Events, Wake};
use lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};

impl ThreadGroup {
    /// The group ends with `status`, unless it does already: running threads are fetched, waiting ones woken.
    pub fn begin_exit(self: &Arc<Self>, status: ExitStatus) {
        if self.exiting.set(status).is_err() {
            return;
        }
        let tasks = self.tasks();
        if self.has_last_words(&tasks) {
            return self.begin_orderly_exit(&tasks);
        }
        self.end_at_once(&tasks);
    }

    fn end_at_once(self: &Arc<Self>, tasks: &[Arc<Task>]) {
        // Killing the stub process ends all its threads at once, where nobody else lives in it.
        let space = tasks.iter().find_map(|t| Some(t.mm()?.clone()));
        if let Some(mm) = space
            && mm.users() <= tasks.len()
        {
            if let Some(task) = tasks.first() {
                task.keep_peak(&mm);
            }
            mm.space().kill();
        }
        for task in tasks {
            if task.claim_from_user() {
                // Its guest code runs, or dies at this moment; the kernel's part of it ends here.
                let run = task.take_run().unwrap_or_else(|| task.new_run());
                task.exit_now(run);
            } else {
                task.notify();
            }
        }
        self.continued.wake(Events::IN);
    }
}

/// How many tasks have ended. A crowd's memory goes back to the host each time that so many have.
static ENDED: AtomicU64 = AtomicU64::new(0);
const TRIM: u64 = 1024;

/// How long threads of a process that ends may take to come in: those of a hostile one need not come at all.
const GRACE: u64 = 3_000_000_000;

/// Kills a stub process whose threads did not come in.
struct LastResort(std::sync::Weak<ThreadGroup>);

impl Wake for LastResort {
    fn wake(self: Arc<Self>, _events: Events) {
        if let Some(mm) = self.0.upgrade().and_then(|group| group.tasks().iter().find_map(|t| t.mm())) {
            mm.space().kill();
        }
    }
}

impl ThreadGroup {
    pub(super) fn ends_orderly(&self) -> bool {
        self.orderly.get().is_some()
    }

    /// Each thread comes in and ends by itself.
    fn begin_orderly_exit(self: &Arc<Self>, tasks: &[Arc<Task>]) {
        let _ = self.orderly.set(Mutex::new(None));
        let alone = tasks.iter().find_map(|t| t.mm()).is_some_and(|mm| mm.users() <= tasks.len());
        if let Some(orderly) = self.orderly.get().filter(|_| alone) {
            let timer = crate::reactor::at(Deadline::after(GRACE), Arc::new(LastResort(Arc::downgrade(self))));
            *orderly.lock() = Some(timer);
        }
        for task in tasks {
            task.notify();
        }
        self.continued.wake(Events::IN);
    }
}

impl Task {
    /// exit(2): this thread alone.
    pub(super) fn begin_thread_exit(self: &Arc<Self>, status: i32) {
        let _ = self.exit_status.set(ExitStatus::Code(status & 0xff));
    }

    /// exit(2) was called, or exec of a sibling wants this thread gone.
    pub fn is_dying(&self) -> bool {
        self.exit_status.get().is_some()
    }

    /// It runs no more, and has let go of what it held.
    pub fn has_ended(&self) -> bool {
        self.state.load(Acquire) == super::drive::DEAD
    }

    /// Wants this thread to end, without touching the others: exec does that to the other threads.
    pub fn zap(self: &Arc<Self>) {
        let _ = self.exit_status.set(ExitStatus::Code(0));
        self.notify();
    }

    /// The thread's end: everything that it holds is let go.
    pub(super) fn exit_now(self: &Arc<Self>, mut run: Box<Run>) {
        let phase = std::mem::replace(&mut run.phase, Phase::Kicked);
        drop(run);
        if let Phase::Stub(Some(on_done)) = phase {
            self.leave_unfinished(on_done);
        }
        let group = self.group.clone();
        let status = group.exiting.get().copied().unwrap_or(ExitStatus::Code(0));
        let _ = self.exit_status.set(status);
        let thread = self.thread();
        self.keep_cpu_time();
        super::meter::settle(self);
        self.mark_dead();
        self.leave_apart();
        super::pi::owner_died(self);
        self.leave_tracees();
        let last = self.leave_group();
        if let Some(thread) = thread {
            let own = self.mm().filter(|mm| last && mm.users() <= 1);
            if let Some(mm) = own {
                // Else `end_at_once` has asked before it killed the stub process.
                if !group.is_exiting() || group.ends_orderly() {
                    self.keep_peak(&mm);
                }
                thread.space().kill();
            } else {
                thread.exit();
            }
        }
        self.release();
        if last {
            let timer = group.orderly.get().and_then(|t| t.lock().take());
            drop(timer);
            let exe = group.exe.lock().take();
            drop(exe);
            self.end_group();
        }
        group.thread_left.wake(Events::IN);
        if ENDED.fetch_add(1, Relaxed) % TRIM == TRIM - 1 {
            host::memory::trim();
        }
    }

    /// Files, memory, folders: dropped without locks.
    pub(super) fn release(self: &Arc<Self>) {
        let (files, mm, vfork) = {
            let mut fields = self.fields.lock();
            fields.handler = None;
            (std::mem::take(&mut fields.files), fields.mm.take(), fields.vfork_parent.take())
        };
        if let Some(mm) = mm {
            mm.leave();
        }
        super::acting::act(self, || drop(files));
        if let Some(parent) = vfork {
            parent.wake(Events::IN);
        }
        self.pid.exited.wake(Events::IN | Events::HUP);
    }

    /// Whether it was the last of its group.
    fn leave_group(self: &Arc<Self>) -> bool {
        let group = &self.group;
        let used = self.usage();
        self.kernel.ended_waits.fetch_add(used.waits, Relaxed);
        let mut links = group.links.lock();
        group.ended.lock().add(&used);
        links.tasks.retain(|t| !Arc::ptr_eq(t, self));
        let last = links.tasks.is_empty();
        drop(links);
        if !Arc::ptr_eq(&self.pid, &group.pid) {
            let status = self.exit_status.get().copied().unwrap_or(ExitStatus::Code(0));
            if !self.tell_tracer_of_end(status) && !last {
                self.pid.detach();
            }
        }
        last
    }

    /// The process has no thread any more: children go to a new parent, the own parent is told.
    fn end_group(self: &Arc<Self>) {
        let kernel = self.kernel.clone();
        let group = &self.group;
        let leader_status = group.leader().and_then(|l| l.exit_status.get().copied());
        let status = group.exiting.get().copied().or(leader_status).unwrap_or(ExitStatus::Code(0));
        let _ = group.exiting.set(status);
        if let Some(timers) = group.timers.get() {
            timers.exit();
        }
        if let Some(limit) = group.cpu_limit.get() {
            limit.disarm();
        }
        let sem_undo = group.sem_undo.lock().take();
        drop(sem_undo);
        let shm_made = group.shm_made.lock().take();
        drop(shm_made);
        super::Cgroup::leave(group);
        self.leave_session();
        self.end_pid_namespace();
        let tree = kernel.tree.lock();
        let children = self.hand_over_children();
        let parent = group.parent();
        let auto_reap = group.is_reaped_at_once();
        let held = group.hold_for_tracer();
        group.links.lock().state = GroupState::Zombie(status);
        drop(tree);
        if let Some(parent) = &parent {
            super::tree::wake_orphans(self, parent, group, Some(group));
        }
        for child in &children {
            super::tree::wake_orphans(self, group, child, None);
        }
        group.pid.exited.wake(Events::IN | Events::HUP);
        if held { group.tell_tracer_first(status) } else { group.tell_parent(status, auto_reap) }
    }

    /// To the nearest subreaper among the ancestors, else to init of the PID namespace. Returns the children.
    fn hand_over_children(self: &Arc<Self>) -> Vec<Arc<ThreadGroup>> {
        let group = &self.group;
        let children = std::mem::take(&mut group.links.lock().children);
        if children.is_empty() {
            return children;
        }
        let ns = group.pid_ns();
        let init = ns
            .as_ref()
            .and_then(|ns| ns.init())
            .filter(|init| !Arc::ptr_eq(init, group) && init.state() == GroupState::Alive);
        let mut heir = group.parent();
        while let Some(candidate) = heir.clone() {
            let inside = ns.as_ref().is_some_and(|ns| candidate.pid.number_in(ns) != 0);
            if !inside {
                heir = None;
            } else if candidate.state() != GroupState::Alive || !candidate.subreaper.load(Relaxed) {
                heir = candidate.parent();
            } else {
                break;
            }
        }
        let heir = heir.or(init);
        for child in &children {
            let death_signals: Vec<(Arc<Task>, i32)> =
                child.tasks().into_iter().map(|t| (t.clone(), t.death_signal())).filter(|t| t.1 != 0).collect();
            for (task, sig) in death_signals {
                // As if the parent had sent it.
                let pid = task.pid.ns().map_or(0, |ns| group.pid.number_in(&ns));
                task.signal(SigInfo::user(sig, 0, pid, self.cred().uid));
            }
            let zombie = matches!(child.state(), GroupState::Zombie(_));
            match &heir {
                Some(heir) => {
                    let task = heir_task(heir);
                    let mut links = child.links.lock();
                    links.parent = Arc::downgrade(heir);
                    links.parent_task = task;
                    drop(links);
                    child.exit_signal.store(SIGCHLD, Relaxed);
                    heir.links.lock().children.push(child.clone());
                    if zombie {
                        send(heir, None, child_info(child, heir, 1, 0));
                        heir.children_changed.wake(Events::IN);
                    }
                }
                None => {
                    child.links.lock().parent = std::sync::Weak::new();
                    if zombie {
                        child.reap();
                    }
                }
            }
        }
        children
    }

    /// A session leader takes its terminal with it: the foreground group gets SIGHUP.
    fn leave_session(self: &Arc<Self>) {
        let session = self.group.session();
        if !Arc::ptr_eq(&session.pid, &self.group.pid) {
            return;
        }
        if let Some(tty) = session.set_tty(None) {
            let foreground = tty.foreground();
            tty.disassociate();
            if let Some(pgrp) = foreground {
                super::tree::signal_pgrp(&self.kernel, &pgrp, SigInfo::kernel(SIGHUP));
                super::tree::signal_pgrp(&self.kernel, &pgrp, SigInfo::kernel(crate::signal::SIGCONT));
            }
        }
    }

    /// Init's end is the end of its PID namespace, pid_namespaces(7).
    fn end_pid_namespace(self: &Arc<Self>) {
        let Some(ns) = self.group.pid_ns().filter(|_| self.group.id() == 1) else { return };
        ns.close();
        for (_, other) in ns.groups() {
            if !Arc::ptr_eq(&other, &self.group) {
                other.signals.lock().unkillable = false;
                other.begin_exit(ExitStatus::Signal { sig: SIGKILL, core: false });
            }
        }
    }

    /// The host says that the thread's process is gone: killed by the out-of-memory killer, or by us.
    pub(super) fn host_thread_gone(self: &Arc<Self>, status: i32) {
        // It holds memory and files, whose last user this may be: they go without the lock.
        let birth = self.fields.lock().birth.take();
        if birth.is_some() {
            drop(birth);
            // It was never born: nobody drives it but us.
            self.group.begin_exit(ExitStatus::Signal { sig: SIGKILL, core: false });
            return self.exit_now(self.new_run());
        }
        if !self.group.is_exiting() && !self.is_dying() {
            let sig = status & 0x7f;
            let id = self.group.id();
            let name = String::from_utf8_lossy(&self.comm()).into_owned();
            if id == 1 {
                let why = if sig == SIGKILL { ": out of memory? The host's kernel log tells" } else { "" };
                observe::error!(
                    "the host ended process 1 ({name}) with status {status:#x}, and all others go with it{why}"
                );
            } else {
                observe::warn!("the host ended process {id} ({name}) with status {status:#x}");
            }
            let sig = if sig == 0 { SIGKILL } else { sig };
            if self.group.exiting.set(ExitStatus::Signal { sig, core: false }).is_ok() {
                self.group.end_at_once(&self.group.tasks()); // nobody is left for last words
            }
        }
        self.end_without_thread();
    }

    /// Ends the task where it is; in the kernel, as soon as it looks. Its host thread is gone.
    pub(super) fn end_without_thread(self: &Arc<Self>) {
        if self.claim_from_user() {
            let run = self.take_run().unwrap_or_else(|| self.new_run());
            self.exit_now(run);
        } else {
            self.notify();
        }
    }
}

fn heir_task(heir: &Arc<ThreadGroup>) -> std::sync::Weak<Task> {
    heir.leader().map(|t| Arc::downgrade(&t)).unwrap_or_default()
}

impl ThreadGroup {
    /// No parent wants to wait for it.
    fn is_reaped_at_once(&self) -> bool {
        let Some(parent) = self.parent() else { return true };
        let action = parent.signals.lock().actions.get(SIGCHLD);
        self.exit_signal.load(Relaxed) == SIGCHLD && (action.handler == SIG_IGN || action.flags & SA_NOCLDWAIT != 0)
    }

    /// A zombie that somebody traced: its tracer has waited for it.
    pub(super) fn tell_parent_of_end(self: &Arc<Self>) {
        if let GroupState::Zombie(status) = self.state() {
            self.tell_parent(status, self.is_reaped_at_once());
        }
    }

    fn tell_parent(self: &Arc<Self>, status: ExitStatus, auto_reap: bool) {
        let Some(parent) = self.parent() else { return self.reap() };
        let exit_signal = self.exit_signal.load(Relaxed);
        if exit_signal != 0 {
            let (code, value) = SigChild::Ended(status).code();
            let mut info = child_info(self, &parent, code, value);
            if exit_signal != SIGCHLD {
                info = SigInfo::from_user(exit_signal, *info.raw());
            }
            send(&parent, None, info);
        }
        if auto_reap {
            self.reap();
        }
        parent.children_changed.wake(Events::IN);
    }

    /// Waited for: the zombie goes.
    pub fn reap(self: &Arc<Self>) {
        let (parent, leader) = {
            let mut links = self.links.lock();
            links.state = GroupState::Reaped;
            (links.parent.upgrade(), links.leader.take())
        };
        drop(leader);
        if let Some(parent) = parent {
            parent.add_child(self);
            parent.links.lock().children.retain(|c| !Arc::ptr_eq(c, self));
        }
        self.pid.detach();
    }
}
