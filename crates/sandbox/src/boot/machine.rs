//! The kernel as the control server sees it.

use super::container::{Container, Joins};
use super::process::Prepared;
use crate::machine::{
    ContainerFiles, ExitStatus, Failure, Kind, Machine, Mounted, Pid, Process, ProcessIo, Stats, Status, Target,
};
use crate::spec::{ContainerSpec, NewLimits, ProcessSpec};
use kernel::Kernel;
use kernel::signal::SigInfo;
use kernel::task::{self, GroupState, ThreadGroup};
use kernel::wait::{Events, Link, Wake};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All containers of this process.
pub struct Sandbox {
    kernel: Arc<Kernel>,
    containers: Mutex<HashMap<String, Arc<Container>>>,
}

impl Sandbox {
    pub fn new(kernel: Arc<Kernel>) -> Sandbox {
        Sandbox { kernel, containers: Mutex::default() }
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Arc<Container>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn container(&self, id: &str) -> Result<Arc<Container>, Failure> {
        let found = self.containers().get(id).cloned();
        found.ok_or_else(|| Failure::new(Kind::State, format!("container {id} is not in this sandbox")))
    }

    fn group(&self, container: &Container, pid: Pid) -> Result<Arc<ThreadGroup>, Failure> {
        let state = container.state.lock();
        let known = state.processes.get(&pid).map(|p| p.group.clone());
        drop(state);
        // Others may be in its PID namespace.
        let own = |group: &Arc<ThreadGroup>| group.container.number == container.shared.number;
        let group = known.or_else(|| container.pid_ns.group(pid).filter(own));
        group.ok_or_else(|| Failure::new(Kind::State, format!("no process {pid} in container {}", container.id)))
    }
}

/// What this thread woke runs before the call returns.
pub(super) fn settle() {
    while kernel::wait::drain() {}
    platform::flush();
}

impl Machine for Sandbox {
    fn create(&self, spec: ContainerSpec, files: ContainerFiles) -> Result<(), Failure> {
        let id = spec.id.clone();
        if self.containers().contains_key(&id) {
            return Err(Failure::new(Kind::State, format!("container {id} exists already")));
        }
        let joins = match &spec.pod {
            Some(pod) => Joins {
                first: Some(self.container(&pod.sandbox)?),
                pids: pod.pids.as_ref().map(|id| self.container(id)).transpose()?,
            },
            None => Joins::default(),
        };
        let container = Container::create(&self.kernel, spec, files, &joins)?;
        self.containers().insert(id, container);
        settle();
        Ok(())
    }

    fn remove(&self, container: &str) {
        let Some(gone) = self.containers().remove(container) else { return };
        super::pause::resume(&gone);
        for (_, group) in gone.processes() {
            task::send(&group, None, SigInfo::user(kernel::signal::SIGKILL, kernel::signal::SI_USER, 0, 0));
        }
        if let Some(nursery) = &gone.shared.nursery {
            self.kernel.platform.close(nursery);
        }
        // What lets its mounts go is queued, too.
        drop(gone);
        settle();
    }

    fn start(&self, container: &str) -> Result<(), Failure> {
        let container = self.container(container)?;
        let watchers = std::mem::take(&mut container.state.lock().watchers);
        container.start()?;
        let init = self.group(&container, crate::machine::INIT)?;
        for then in watchers {
            watch_exit(init.clone(), then);
        }
        settle();
        Ok(())
    }

    fn exec(&self, container: &str, process: ProcessSpec, io: ProcessIo) -> Result<Pid, Failure> {
        let container = self.container(container)?;
        let user_ns = container.namespaces.uts.owner.clone();
        let prepared = Prepared::new(&container, &user_ns, process, io, false)?;
        let pid = container.run(prepared);
        settle();
        pid
    }

    fn signal(&self, container: &str, target: Target, signal: i32) -> Result<(), Failure> {
        let container = self.container(container)?;
        if let Some(watchers) = container.signal_waiting(signal) {
            for then in watchers {
                then(ExitStatus::Signal { number: signal as u8, core: false });
            }
            return Ok(());
        }
        let info = || SigInfo::user(signal, kernel::signal::SI_USER, 0, 0);
        match target {
            Target::Process(pid) => {
                task::send(&self.group(&container, pid)?, None, info());
            }
            Target::All => {
                let its = |group: &Arc<ThreadGroup>| Arc::ptr_eq(&group.container, &container.shared);
                for group in task::Audience::of(&self.kernel, its).iter() {
                    task::send(group, None, info());
                }
            }
            Target::Foreground(pid) => {
                let group = self.group(&container, pid)?;
                let foreground = group.session().tty().and_then(|tty| tty.foreground());
                match foreground.zip(group.any_task()) {
                    Some((pgrp, task)) => {
                        task::signal_pgrp(&task.kernel, &pgrp, info());
                    }
                    None => {
                        task::send(&group, None, info());
                    }
                }
            }
        }
        settle();
        Ok(())
    }

    fn on_exit(&self, container: &str, pid: Pid, then: Box<dyn FnOnce(ExitStatus) + Send>) -> Result<(), Failure> {
        let container = self.container(container)?;
        if pid == crate::machine::INIT {
            let mut state = container.state.lock();
            if state.waiting.is_some() {
                state.watchers.push(then);
                return Ok(());
            }
        }
        let group = self.group(&container, pid)?;
        watch_exit(group, then);
        Ok(())
    }

    fn processes(&self, container: &str) -> Result<Vec<Process>, Failure> {
        let container = self.container(container)?;
        let groups = container.processes();
        Ok(groups.into_iter().filter_map(|(pid, group)| show_process(&container, pid, &group)).collect())
    }

    fn status(&self, container: &str) -> Result<Status, Failure> {
        let container = self.container(container)?;
        let state = container.state.lock();
        let ended = state.processes.get(&crate::machine::INIT).is_some_and(|p| p.group.state() != GroupState::Alive);
        Ok(match (state.started, ended, container.shared.freezer.is_frozen()) {
            (false, ..) => Status::Created,
            (_, true, _) => Status::Stopped,
            (_, _, true) => Status::Paused,
            _ => Status::Running,
        })
    }

    fn resize(&self, container: &str, pid: Pid, rows: u16, cols: u16) -> Result<(), Failure> {
        let container = self.container(container)?;
        let console = container.state.lock().processes.get(&pid).and_then(|p| p.console.clone());
        let console = console.ok_or_else(|| Failure::new(Kind::State, format!("process {pid} has no terminal")))?;
        console.resize(rows, cols);
        settle();
        Ok(())
    }

    fn mounts(&self, container: &str) -> Result<Vec<Mounted>, Failure> {
        Ok(super::origins::mounted(&*self.container(container)?))
    }

    fn stats(&self, container: &str) -> Result<Stats, Failure> {
        let container = self.container(container)?;
        let groups = container.processes();
        let mut stats = Stats { counters: super::counters::read(&container.kernel), ..Stats::default() };
        for (_, group) in groups {
            let tasks = group.tasks();
            stats.pids += tasks.len() as u64;
            stats.cpu_total_ns += group.cpu_time();
            stats.memory_bytes += tasks.first().and_then(|t| t.mm()).map_or(0, |mm| mm.resident_bytes());
        }
        Ok(stats)
    }

    fn limit(&self, container: &str, limits: NewLimits) -> Result<(), Failure> {
        let container = self.container(container)?;
        let group = &container.namespaces.cgroup.root;
        // In whichever hierarchy the controllers are.
        let roots = group.hierarchy.all().map_or_else(Vec::new, |all| all.roots());
        if let Some(pids) = limits.pids {
            roots.iter().for_each(|root| root.set_pids_max(pids));
        }
        let mut host = group.limits();
        let change = |to: &mut Option<u64>, new: Option<u64>| {
            if let Some(new) = new {
                *to = Some(new).filter(|n| *n != u64::MAX);
            }
        };
        change(&mut host.memory, limits.memory);
        if host.memory.is_some() {
            kernel::mm::untouched::set_limited();
        }
        if let Some(bytes) = limits.memory_allowed
            && container.first
        {
            kernel::memory::limit(Some(bytes));
        }
        change(&mut host.cpu_millis, limits.cpu_millis);
        roots.iter().for_each(|root| root.set_limits(host));
        Ok(())
    }

    fn pause(&self, container: &str, paused: bool) -> Result<(), Failure> {
        let container = self.container(container)?;
        if paused {
            return super::pause::pause(&container);
        }
        super::pause::resume(&container);
        Ok(())
    }
}

/// Calls `then` when the process has ended, at once when it has already.
fn watch_exit(group: Arc<ThreadGroup>, then: super::container::OnExit) {
    let watch = Arc::new(ExitWatch { group: group.clone(), then: Mutex::new(Some(then)), link: Mutex::new(None) });
    let link = group.pid.exited.add(Events::IN, false, watch.clone());
    *watch.link.lock().unwrap_or_else(PoisonError::into_inner) = Some(link);
    watch.look();
}

/// Calls the control server when a process has ended.
struct ExitWatch {
    group: Arc<ThreadGroup>,
    then: Mutex<Option<super::container::OnExit>>,
    link: Mutex<Option<Link>>,
}

impl ExitWatch {
    fn look(&self) {
        let status = match self.group.state() {
            GroupState::Alive => return,
            GroupState::Zombie(status) => status,
            GroupState::Reaped => match self.group.exiting.get() {
                Some(status) => *status,
                None => return,
            },
        };
        let then = self.then.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(then) = then {
            then(match status {
                task::ExitStatus::Code(code) => ExitStatus::Code(code as u8),
                task::ExitStatus::Signal { sig, core } => ExitStatus::Signal { number: sig as u8, core },
            });
        }
        let link = self.link.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(link);
    }
}

impl Wake for ExitWatch {
    fn wake(self: Arc<Self>, _: Events) {
        self.look();
    }
}

fn show_process(container: &Container, pid: Pid, group: &Arc<ThreadGroup>) -> Option<Process> {
    let task = group.any_task()?;
    let started_ago = kernel::time::monotonic().saturating_sub(task.started);
    let command = task.mm().map(|mm| mm.command_line()).filter(|line| !line.is_empty());
    let command = match command {
        Some(line) => {
            let words: Vec<String> = line
                .split(|b| *b == 0)
                .filter(|w| !w.is_empty())
                .map(|w| String::from_utf8_lossy(w).into_owned())
                .collect();
            words.join(" ")
        }
        None => format!("[{}]", String::from_utf8_lossy(&task.comm())),
    };
    Some(Process {
        pid,
        host: task.mm().map_or(0, |mm| mm.space().host_pid()),
        ppid: group.parent().map_or(0, |parent| parent.pid.number_in(&container.pid_ns)),
        uid: task.cred().uid,
        started: kernel::time::realtime().saturating_sub(started_ago) / 1_000_000_000,
        cpu_ms: group.cpu_time() / 1_000_000,
        state: group.state_letter(),
        tty: None,
        command,
    })
}
