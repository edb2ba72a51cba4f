//! The platform as a whole: start, run, fresh processes.
//!
//! Neighbours: `core` (the state). Owns no locks.

use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, OnceLock};

use abi::Errno;
use host::ptrace;
use host::seccomp::notify;

use crate::config::{Config, Counters, StartError, Stats};
use crate::core::Core;
use crate::guest::Guest;
use crate::keeper::{self, Keeper};
use crate::mailbox::Pool;
use crate::nursery::{Nursery, ZygoteState};
use crate::poller::{self, Poller};
use crate::reaper;
use crate::region::Region;
use crate::shard::Shard;
use crate::sync::{Mutex, lock};
use crate::vdso::VdsoInfo;
use crate::zygote::{Seed, Zygote};

/// Runs guest code in stub processes. One per process; it lives as long as that.
pub struct Platform {
    core: &'static Core,
}

impl Platform {
    /// Reserves the stub's region in this (single-threaded!) process, forks the seed and has the first shard's zygote made. To be called before any thread starts
    /// and before lock-down. `Config::proc` (or /proc) must be that of this PID namespace: for the place of the vDSO and for CPU times.
    pub fn start(mut config: Config) -> Result<Arc<Platform>, StartError> {
        let host = |step: &'static str| move |errno: Errno| StartError::Host { step, errno };
        let proc = {
            use host::rustix::fs::{Mode, OFlags, open};
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            config.proc.clone().or_else(|| open("/proc", flags, Mode::empty()).ok().map(host::HostFd::new))
        };
        let region = Region::reserve(proc.as_deref(), config.memory)?;
        let all = host::process::affinity(0).map_err(host("asking for the cores to run on"))?;
        let shards = if config.shards == 0 { all.len() } else { config.shards }.max(1);
        let pool = Pool::new();
        let seed = Seed::start(region.clone(), &pool, shards)?;
        if !config.listener {
            config = config.without_listener();
        }
        let first = match seed.zygote(0, &config) {
            Err(StartError::SecondListener) => {
                config = config.without_listener();
                seed.zygote(0, &config)
            }
            other => other,
        }?;
        if !config.listener {
            // One that can be traced, so all that descend from it.
            ptrace::seize(first.pid).and_then(|()| ptrace::release(first.pid)).map_err(StartError::NoTracer)?;
        }
        let core: &'static Core = Box::leak(Box::new(Core {
            called: region.base + crate::layout::TEXT + crate::zygote::header_word(crate::layout::header::CALLED),
            config,
            region,
            counters: Counters::default(),
            pool,
            seed: Mutex::new(seed),
            shards: Mutex::new(Vec::new()),
            most_shards: shards,
            cores: all,
            spaces: Mutex::default(),
            newborns: Mutex::default(),
            orphans: AtomicUsize::new(0),
            nap: AtomicU32::new(0),
            keeper: Keeper::new(),
            young: Default::default(),
            poller: Poller::new(),
            tracer: Default::default(),
            proc,
            running: OnceLock::new(),
            nothing: OnceLock::new(),
        }));
        core.enter_shard(0, first)?;
        Ok(Arc::new(Platform { core }))
    }

    /// Whether calls come by a seccomp listener; else each is a signal and a message, and births are watched by ptrace (docs/adr/0008).
    pub fn has_listener(&self) -> bool {
        self.core.config.listener
    }

    /// A file of the host's /proc, such as "cpuinfo"; None where it can't be read. May sleep.
    pub fn host_proc(&self, path: &str) -> Option<String> {
        self.core.long_proc_file(path)
    }

    /// Starts worker, spare, keeper and reaper threads.
    pub fn run(self: &Arc<Self>) -> Result<(), StartError> {
        let core = self.core;
        if core.running.set(()).is_err() {
            return Ok(());
        }
        let mut bodies = vec![("reaper", reaper::run as fn(&'static Core)), ("keeper", keeper::run)];
        if core.config.patching && core.config.polling && core.cores.len() > 1 {
            bodies.push(("poller", poller::run));
        }
        for (name, body) in bodies {
            std::thread::Builder::new().name(name.into()).spawn(move || body(core)).map_err(StartError::Thread)?;
        }
        let shards = lock(&core.shards).clone();
        shards.into_iter().try_for_each(Shard::staff).map_err(StartError::Thread)
    }

    /// A new empty stub process for a guest (start of a container, exec of a process with several threads, exec of a vfork child), on the shard with the least
    /// load, from the container's own nursery if it has one; `born` follows. Ordered at the next `flush`. If the host refuses: `gone`.
    pub fn fresh(self: &Arc<Self>, guest: Arc<dyn Guest>, nursery: Option<&Arc<Nursery>>) {
        self.core.shard_for_fresh().want(guest, nursery);
    }

    /// Whether there is room for another forked process now. One that is ordered all the same is refused.
    pub fn takes_forks(&self) -> bool {
        !self.core.pool.is_full()
    }

    /// The container is gone: its zygotes end, and what waits for one of their processes is `gone`.
    pub fn close(self: &Arc<Self>, nursery: &Nursery) {
        nursery.close();
        let shards = lock(&self.core.shards).clone();
        shards.into_iter().for_each(|shard| shard.dismiss(nursery));
    }

    /// As `Space::user_top`: it is the same in every space.
    pub fn user_top(&self) -> u64 {
        self.core.region.user_top
    }

    /// As `Space::arena`.
    pub fn arena(&self) -> std::ops::Range<u64> {
        self.core.region.arena.clone()
    }

    /// As `Space::vdso`.
    pub fn vdso(&self) -> VdsoInfo {
        self.core.region.vdso.clone()
    }

    /// Calls from one site that make it worth rewriting. `None`: none is.
    pub fn hot_after(&self) -> Option<u32> {
        let config = &self.core.config;
        config.patching.then_some(if config.eager { 2 } else { 24 })
    }

    pub fn stats(&self) -> Stats {
        self.core.counters.read()
    }
}

impl Core {
    /// Has a zygote with a listener of its own made.
    pub(crate) fn add_shard(&'static self) -> Result<&'static Shard, StartError> {
        let number = lock(&self.shards).len();
        let zygote = lock(&self.seed).zygote(number, &self.config)?;
        self.enter_shard(number, zygote)
    }

    fn enter_shard(&'static self, number: usize, zygote: Zygote) -> Result<&'static Shard, StartError> {
        if self.config.sync_wakeup {
            use std::os::fd::AsFd;
            // Before Linux 6.6 stub thread and worker are on one core anyway while the stub is young.
            let _ = notify::set_sync_wakeup(zygote.doorbell.as_fd());
        }
        let mailbox = lock(&self.seed).mailboxes.slot(zygote.slot);
        let root = ZygoteState::root(zygote.pid, zygote.cookie, mailbox);
        let shard = Shard::new(self, number, zygote.doorbell, zygote.slot, root);
        lock(&self.shards).push(shard);
        if self.running.get().is_some() {
            shard.staff().map_err(StartError::Thread)?;
        }
        Ok(shard)
    }

    /// The shard with the least load. If all have some and there may be more, the keeper makes one for those to come.
    fn shard_for_fresh(&'static self) -> &'static Shard {
        let shards = lock(&self.shards).clone();
        let load = |s: &&'static Shard| s.running_guests() + s.waiting_guests();
        match shards.iter().copied().min_by_key(load) {
            Some(best) => {
                if load(&best) > 0 && shards.len() < self.most_shards {
                    self.keeper.want_shard(self);
                }
                best
            }
            None => {
                eprintln!("stockade: a fresh process without a shard"); // `start` has made one, so this cannot be
                std::process::exit(70);
            }
        }
    }
}
