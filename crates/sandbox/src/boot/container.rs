//! A container: its namespaces, its root, its first program. Neighbours: `mounts`, `process`.

use super::origins::Origins;
use super::process::{Prepared, Process};
use super::volumes::Volumes;
use crate::machine::{ContainerFiles, Failure, INIT, Kind};
use crate::spec::{ContainerSpec, Limits, Seccomp};
use abi::Errno;
use abi::seccomp::SockFilter;
use kernel::Kernel;
use kernel::Stop;
use kernel::cred::UserNs;
use kernel::seccomp::Filter;
use kernel::task::cgroup::HostLimits;
use kernel::task::{self, Cgroup, CgroupNs, IpcNs, Namespaces, NetNs, PidNs, UtsNs};
use kernel::vfs::{MountNs, Path};
use lock::{Mutex, lock_class};
use platform::Nursery;
use std::collections::HashMap;
use std::sync::Arc;

lock_class! {
    /// A container's table of processes; nothing is taken under it.
    pub ContainerState = 2;
}

/// A container of this sandbox.
pub struct Container {
    pub id: String,
    pub kernel: Arc<Kernel>,
    /// What each of its thread groups has.
    pub shared: Arc<task::Container>,
    pub pid_ns: Arc<PidNs>,
    pub namespaces: Namespaces,
    pub root: Path,
    pub origins: Origins,
    /// The one that made the sandbox.
    pub first: bool,
    /// The sandbox', if it is its first container.
    pub volumes: Volumes,
    /// What all its processes may call.
    pub seccomp: Option<Arc<Filter>>,
    pub state: Mutex<State, ContainerState>,
}

/// Containers of the sandbox that a further one shares namespaces with.
#[derive(Default)]
pub struct Joins {
    /// The sandbox' first; none: it is that itself.
    pub first: Option<Arc<Container>>,
    /// Whose PID namespace it is in.
    pub pids: Option<Arc<Container>>,
}

/// Called once with how a process ended.
pub type OnExit = Box<dyn FnOnce(crate::machine::ExitStatus) + Send>;

/// What changes of a container.
#[derive(Default)]
pub struct State {
    /// The first program, until `start`.
    pub waiting: Option<Prepared>,
    /// Processes that the control server knows, by their number in the container; the first program is `INIT`.
    pub processes: HashMap<i32, Process>,
    /// Who wants to know of the first program's end, until `start`.
    pub watchers: Vec<OnExit>,
    pub started: bool,
}

/// A container's network namespace: its loopback device is up, as OCI runtimes set it.
fn network(owner: &Arc<UserNs>) -> Arc<NetNs> {
    let net = NetNs::new(owner.clone());
    net.loopback.lock().set_up(true);
    net
}

fn filter(spec: Seccomp) -> Result<Arc<Filter>, Failure> {
    let insns = spec.insns.into_iter().map(|(code, jt, jf, k)| SockFilter { code, jt, jf, k }).collect();
    Filter::new(insns, spec.log, None).map_err(|e| Failure::new(Kind::Invalid, format!("linux.seccomp: {e}")))
}

fn sysctl_failure(name: &str, value: &str, why: &Stop) -> Failure {
    let text = match why {
        Stop::Errno(Errno::ENOENT) => format!("field linux.sysctl: {name} cannot be set in this kernel; leave it out"),
        _ => format!("field linux.sysctl: {name} cannot be {value:?}"),
    };
    Failure::new(Kind::Invalid, text)
}

fn host_limits(limits: &Limits) -> HostLimits {
    HostLimits { memory: limits.memory, cpu_millis: limits.cpu_millis }
}

impl Container {
    /// Makes everything up to the start of the first program.
    pub fn create(
        kernel: &Arc<Kernel>,
        spec: ContainerSpec,
        files: ContainerFiles,
        joins: &Joins,
    ) -> Result<Arc<Container>, Failure> {
        let first = joins.first.as_deref();
        let user_ns = first.map_or_else(UserNs::initial, |first| first.namespaces.uts.owner.clone());
        let hostname = spec.hostname.clone().unwrap_or_else(|| "stockade".to_string());
        let domain = spec.domainname.clone().unwrap_or_else(|| "(none)".to_string());
        let pid_ns = match &joins.pids {
            Some(other) => other.pid_ns.clone(),
            None => PidNs::child(&kernel.root_pid_ns, user_ns.clone())
                .map_err(|e| Failure::new(Kind::Other, format!("making the PID namespace: {e:?}")))?,
        };
        let pod = spec.pod.clone().unwrap_or_default();
        let shared = |on: bool| first.filter(|_| on).map(|first| &first.namespaces);
        let uts = match shared(pod.uts) {
            Some(theirs) => theirs.uts.clone(),
            None => UtsNs::new(user_ns.clone(), hostname.as_bytes(), domain.as_bytes()),
        };
        let namespaces = Namespaces {
            mount: MountNs::new(user_ns.clone()),
            uts,
            ipc: shared(pod.ipc).map_or_else(|| IpcNs::new(user_ns.clone()), |theirs| theirs.ipc.clone()),
            net: shared(pod.network).map_or_else(|| network(&user_ns), |theirs| theirs.net.clone()),
            cgroup: CgroupNs::new(user_ns.clone(), Cgroup::container(host_limits(&spec.limits), spec.limits.pids)),
            pid_for_children: pid_ns.clone(),
        };
        for (name, value) in &spec.sysctls {
            filesystems::set_sysctl(&namespaces, name, value).map_err(|e| sysctl_failure(name, value, &e))?;
        }
        if spec.memory.is_some() {
            kernel::mm::untouched::set_limited();
        }
        if first.is_none() {
            kernel::memory::limit(spec.memory);
        }
        let built =
            super::mounts::build(kernel, &spec, files.gofer, &user_ns, &namespaces, first.map(|first| &first.volumes))?;
        // Without a number of its own it goes first when the host is short of memory, as the first container's do.
        let oom_score_adj = spec.process.oom_score_adj.unwrap_or(1000);
        let nursery = (!files.cgroups.is_empty()).then(|| Nursery::new(files.cgroups, oom_score_adj));
        let container = Arc::new(Container {
            id: spec.id.clone(),
            kernel: kernel.clone(),
            shared: task::Container::new(nursery),
            first: first.is_none(),
            pid_ns,
            namespaces,
            root: built.root,
            origins: built.origins,
            volumes: built.volumes,
            seccomp: spec.seccomp.map(filter).transpose()?,
            state: Mutex::new(State::default()),
        });
        let is_init = joins.pids.is_none() && !spec.plain_init;
        let prepared = Prepared::new(&container, &user_ns, spec.process, files.io, is_init)?;
        container.state.lock().waiting = Some(prepared);
        Ok(container)
    }

    /// What a signal does to a container that was never started: what kills a process by default ends it, others have nobody to reach. `None`
    /// for one that was started; else who waits for its end, if it has come.
    pub fn signal_waiting(&self, signal: i32) -> Option<Vec<OnExit>> {
        let mut state = self.state.lock();
        state.waiting.as_ref()?;
        // 0 asks; SIGCHLD, SIGCONT, SIGURG and SIGWINCH are ignored; 19 to 22 stop, which a program that does not run yet has done.
        if matches!(signal, 0 | 17..=23 | 28) {
            return Some(Vec::new());
        }
        state.waiting = None;
        Some(std::mem::take(&mut state.watchers))
    }

    /// Lets the first program run.
    pub fn start(&self) -> Result<(), Failure> {
        let waiting = {
            let mut state = self.state.lock();
            state.started = true;
            state.waiting.take()
        };
        let prepared =
            waiting.ok_or_else(|| Failure::new(Kind::State, format!("container {} was started already", self.id)))?;
        let process = prepared.start(self)?;
        // By this number whatever its own is, which in another one's PID namespace is not 1.
        self.state.lock().processes.insert(INIT, process);
        Ok(())
    }

    /// Starts another program; its number in the container.
    pub fn run(&self, prepared: Prepared) -> Result<i32, Failure> {
        let process = prepared.start(self)?;
        let pid = process.group.id();
        self.state.lock().processes.insert(pid, process);
        Ok(pid)
    }

    /// Its processes, with their numbers in the container.
    pub fn processes(&self) -> Vec<(i32, Arc<task::ThreadGroup>)> {
        self.shared.processes(&self.pid_ns)
    }
}
