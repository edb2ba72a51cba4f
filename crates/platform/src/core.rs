//! What all parts of the platform share. There is one per process, and it lives as long as the process.
//!
//! Owns the locks of the table of spaces, of the expected newborns and of the list of shards; none is held while another is taken.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use observe::Allowance;

use crate::affinity::Young;
use crate::answer::Registers;
use crate::config::{Config, Counters};
use crate::keeper::Keeper;
use crate::mailbox::Pool;
use crate::nursery::Nursery;
use crate::poller::Poller;
use crate::region::Region;
use crate::shard::Shard;
use crate::space::Space;
use crate::state::State;
use crate::sync::{Mutex, Newborns, Seeds, Shards, Spaces, lock};
use crate::thread::Thread;
use crate::tracer::Tracer;
use crate::unborn::Unborn;
use crate::zygote::Seed;

pub(crate) struct Core {
    pub config: Config,
    pub region: Region,
    pub counters: Counters,
    pub pool: Pool,
    pub seed: Mutex<Seed, Seeds>,
    pub shards: Mutex<Vec<&'static Shard>, Shards>,
    /// So many shards there may be.
    pub most_shards: usize,
    /// The cores that this process may run on.
    pub cores: Vec<usize>,
    /// By host process id.
    pub spaces: Mutex<HashMap<i32, Arc<Space>>, Spaces>,
    /// By cookie: who is expected to ring for the first time.
    pub newborns: Mutex<HashMap<[u64; 2], Newborn>, Newborns>,
    /// So many processes may yet ring whose parents were killed while they forked them.
    pub orphans: AtomicUsize,
    /// The reaper sleeps on this word: see `reaper`.
    pub nap: AtomicU32,
    /// Behind the call instruction of the trampolines.
    pub called: u64,
    pub keeper: Keeper,
    pub poller: Poller,
    pub young: Young,
    pub tracer: Tracer,
    /// procfs of our PID namespace.
    pub proc: Option<Arc<host::HostFd>>,
    pub running: OnceLock<()>,
    /// See [`Core::nothing`].
    pub nothing: OnceLock<Arc<host::HostFd>>,
}

/// A thread or process that was ordered and has not rung yet.
pub(crate) struct Newborn {
    pub kind: Kind,
    /// None: a fresh process for the pool, or a zygote.
    pub guest: Option<Unborn>,
    /// Of a fresh process, where it comes from; of a zygote, whose it is.
    pub nursery: Option<Arc<Nursery>>,
    /// Who forks or clones; none: the zygote.
    pub parent: Option<Arc<Thread>>,
    /// The child's registers.
    pub registers: Registers,
    pub since: Instant,
    /// Its host id, once the tracer knows it; with a listener it shows who it is by its cookie alone.
    pub tid: Option<i32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Fork,
    Thread { slot: u64 },
    Fresh,
    Zygote,
}

impl Newborn {
    /// It will not come.
    pub fn give_up(self, parent: &State) {
        if let Some(child) = self.guest {
            child.give_up(parent);
        }
    }
}

impl Core {
    pub fn expect(&self, cookie: [u64; 2], newborn: Newborn) {
        lock(&self.newborns).insert(cookie, newborn);
    }

    pub fn expected(&self, cookie: [u64; 2]) -> Option<Newborn> {
        lock(&self.newborns).remove(&cookie)
    }

    /// Whether a process that nobody expects may be an orphan. The guest broke no rule then.
    pub fn may_be_orphan(&self) -> bool {
        self.orphans.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).is_ok()
    }

    pub fn is_expected(&self, cookie: [u64; 2]) -> bool {
        lock(&self.newborns).contains_key(&cookie)
    }

    /// A small file of procfs, read whole.
    pub fn proc_file(&self, path: &str) -> Option<String> {
        use host::rustix::fs::{Mode, OFlags, openat};
        let proc = self.proc.as_ref()?;
        let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = vec![0u8; 2048];
        let n = host::rustix::io::read(&file, &mut text).ok()?;
        text.truncate(n);
        String::from_utf8(text).ok()
    }

    /// Which processes the host kills first when memory runs out: this one, and those that it forks, by this number (proc_pid_oom_score_adj(5)).
    pub fn set_oom_score_adj(&self, pid: i32, to: i32) {
        use host::rustix::fs::{Mode, OFlags, openat};
        let Some(proc) = self.proc.as_ref() else { return };
        let file = openat(proc, format!("{pid}/oom_score_adj"), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        // One that is gone already needs none.
        let _ = file.map(|file| host::rustix::io::write(file, to.to_string().as_bytes()));
    }

    /// The kernel process' own number.
    pub fn oom_score_adj(&self) -> i32 {
        self.proc_file("self/oom_score_adj").and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Bytes of a file of procfs; what is behind its end stays as it is. May sleep.
    pub fn proc_file_at(&self, path: &str, at: u64, into: &mut [u8]) -> Option<()> {
        use host::rustix::fs::{Mode, OFlags, openat};
        let proc = self.proc.as_ref()?;
        let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match host::rustix::io::pread(&file, rest, at + done as u64).ok()? {
                0 => break,
                n => done += n,
            }
        }
        Some(())
    }

    /// As `proc_file`, for texts of any length. The host makes them while it reads: may sleep.
    pub fn long_proc_file(&self, path: &str) -> Option<String> {
        use host::rustix::fs::{Mode, OFlags, openat};
        let proc = self.proc.as_ref()?;
        let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        let mut text = Vec::new();
        let mut part = vec![0u8; 65536];
        loop {
            let n = host::rustix::io::read(&file, &mut part).ok()?;
            match part.get(..n) {
                Some(part) if !part.is_empty() => text.extend_from_slice(part),
                _ => return String::from_utf8(text).ok(),
            }
        }
    }

    /// Reports a guest that breaks the protocol.
    pub fn violation(&self, tid: i32, what: &str) {
        crate::config::count(&self.counters.violations);
        static REPORTS: Allowance = Allowance::new();
        if let Some(more) = REPORTS.take() {
            eprintln!("stockade: guest process killed: host thread {tid}: {what}{more}");
        }
    }

    pub fn trace(&self, text: impl FnOnce() -> String) {
        if self.config.trace {
            eprintln!("[platform] {}", text());
        }
    }
}
