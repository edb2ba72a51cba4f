//! One stub process: a guest address space.
//!
//! Neighbours: `told` (what the host's /proc says of it), `thread` (its threads), `mailbox` (its memory file), `reaper` (its end). Owns the lock of the list of its threads and slots.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use abi::Errno;
use host::HostFd;
use host::process::Ended;

use crate::core::Core;
use crate::handover::Handover;
use crate::kept::Kept;
use crate::layout::SLOTS;
use crate::mailbox::Mailboxes;
use crate::nursery::Nursery;
use crate::outgoing::{Out, queue};
use crate::pace::Pace;
use crate::rewrite::{AROUND, Sites};
use crate::shard::Shard;
use crate::sync::{Files, Mutex, Rewritten, Slots, lock};
use crate::thread::Thread;
use crate::vdso::VdsoInfo;
use crate::window;

mod told;

pub use told::HostMap;
pub(crate) use told::system_time;

const ALIVE: u32 = 0;
const AWAITED: u32 = 1;
const ENDED: u32 = 2;

/// A guest address space: one host process.
pub struct Space {
    core: &'static Core,
    host_pid: i32,
    /// Where it comes from, if it is a fresh process of a nursery.
    pub(crate) nursery: Option<Arc<Nursery>>,
    mailboxes: Mutex<Option<Mailboxes>, Files>,
    dead: AtomicBool,
    killed: AtomicBool,
    /// What the host said of the process when it had ended.
    last: OnceLock<Ended>,
    /// `ALIVE`, `AWAITED` (somebody sleeps on this word) or `ENDED`.
    ended: AtomicU32,
    /// A thread that has the address space.
    access: AtomicI32,
    /// The shard whose load it adds to.
    counted: OnceLock<&'static Shard>,
    inner: Mutex<Inner, Slots>,
    sites: Mutex<Sites, Rewritten>,
    /// Of the calls of all its threads that came by notification from rewritten sites.
    pub(crate) pace: Pace,
    /// Files that its stub reads by itself.
    pub(crate) kept: Kept,
    /// How files come here where there is no listener.
    pub(crate) handover: Handover,
    /// The shard whose doorbell it rings.
    home: &'static Shard,
}

struct Inner {
    /// By host thread id.
    threads: HashMap<i32, Arc<Thread>>,
    /// First slot that was never used.
    next: u64,
    /// Slots that were ever in use, with the bytes of their windows that this process wrote.
    windows: HashMap<u64, usize>,
    /// Slots of threads that were told to exit, with their host thread ids: free once the host knows the thread no more.
    left: Vec<(u64, i32)>,
}

impl Space {
    pub(crate) fn new(
        home: &'static Shard,
        host_pid: i32,
        nursery: Option<Arc<Nursery>>,
        mailboxes: Mailboxes,
        first_slot: u64,
    ) -> Space {
        let core = home.core;
        // Slots below the leader's (a zygote's number) are used, too.
        let left = (1..first_slot).map(|s| (s, 0)).collect();
        let inner =
            Inner { threads: HashMap::new(), next: first_slot + 1, windows: HashMap::from([(first_slot, 0)]), left };
        Space {
            core,
            host_pid,
            nursery,
            mailboxes: Mutex::new(Some(mailboxes)),
            dead: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            last: OnceLock::new(),
            ended: AtomicU32::new(ALIVE),
            access: AtomicI32::new(host_pid),
            counted: OnceLock::new(),
            inner: Mutex::new(inner),
            sites: Mutex::default(),
            pace: Pace::default(),
            kept: Kept::default(),
            handover: Handover::default(),
            home,
        }
    }

    /// Whether it rings there.
    pub(crate) fn is_of(&self, shard: &Shard) -> bool {
        std::ptr::eq(self.home, shard)
    }

    /// The host process, in the kernel process' PID namespace.
    pub fn host_pid(&self) -> i32 {
        self.host_pid
    }

    /// Reads guest memory; a short count where it faults, EFAULT if at once, ESRCH when the process is gone. The caller has checked by its map of VMAs that
    /// the range is anonymous, a memory file or on a local file system: others can block for ever.
    pub fn read(&self, addr: u64, into: &mut [u8]) -> Result<usize, Errno> {
        self.by_any_thread(|tid| host::memory::read_process(tid, addr, into))
    }

    /// Writes guest memory; as [`Space::read`].
    pub fn write(&self, addr: u64, from: &[u8]) -> Result<usize, Errno> {
        self.by_any_thread(|tid| host::memory::write_process(tid, addr, from))
    }

    /// Reads guest memory if a call that this thread runs brought it along; false: it must be [`Space::read`].
    pub fn read_brought(&self, addr: u64, into: &mut [u8]) -> bool {
        window::read(self, addr, into)
    }

    /// As much from an address on as such a call brought along; 0: nothing.
    pub fn read_brought_prefix(&self, addr: u64, into: &mut [u8]) -> usize {
        window::prefix(self, addr, into)
    }

    /// Has the calling thread write its memory on its way back, if its call found that it can be written; false: it must be [`Space::write`].
    pub fn write_by_caller(&self, addr: u64, from: &[u8]) -> bool {
        window::write(self, addr, from)
    }

    /// The number of a host file from which the calling thread reads so many bytes by itself ([`Thread::read`]). None: the kernel process reads them for the guest, because the call did not come through a
    /// trampoline, or not enough is read of the file.
    pub fn number_for_caller(&self, file: &Arc<HostFd>, len: u64) -> Option<u32> {
        window::caller(self)?.keeps(file, len)
    }

    /// Does something by the host id of a thread that has the address space: a leader that has exited before its threads has none.
    fn by_any_thread<T>(&self, mut f: impl FnMut(i32) -> Result<T, Errno>) -> Result<T, Errno> {
        if self.dead.load(Ordering::Acquire) {
            return Err(Errno::ESRCH);
        }
        let tid = self.access.load(Ordering::Relaxed);
        match f(tid) {
            Err(Errno::ESRCH) if self.leave_access(tid) => f(self.access.load(Ordering::Relaxed)),
            other => other,
        }
    }

    /// Another thread than `tid` stands for the address space from now on; false if there is none.
    fn leave_access(&self, tid: i32) -> bool {
        let other = lock(&self.inner).threads.keys().copied().find(|t| *t != tid);
        if let Some(other) = other {
            self.access.store(other, Ordering::Relaxed);
        }
        other.is_some()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.dead.load(Ordering::Acquire)
    }

    /// Ends the host process (with the next `flush`); `gone` of its guests follows.
    pub fn kill(&self) {
        if !self.dead.load(Ordering::Acquire) && !self.killed.swap(true, Ordering::AcqRel) {
            queue(Out::Kill(self.host_pid));
        }
    }

    /// End of the addresses that a guest may map; they start at [`crate::LOW`].
    pub fn user_top(&self) -> u64 {
        self.core.region.user_top
    }

    /// Where guest code maps, unmaps and protects private anonymous memory without asking (docs/adr/0006): what lies there, only the host knows. Empty: nowhere.
    pub fn arena(&self) -> Range<u64> {
        self.core.region.arena.clone()
    }

    /// Holds the process to limits of address space and data (getrlimit(2): RLIMIT_AS, RLIMIT_DATA; bytes) in what it maps by itself. `counted` says how much of each
    /// the caller knows of: what the host counts beyond that, which is the stub's own, comes on top, and what that may want for its next threads.
    pub fn limit_memory(&self, limits: [u64; 2], counted: [u64; 2]) -> Result<(), Errno> {
        let host = self.pages().ok_or(Errno::ESRCH)?;
        for (resource, limit, counted, host) in [
            (host::process::Limit::AddressSpace, limits[0], counted[0], host[0] * 4096),
            (host::process::Limit::Data, limits[1], counted[1], host[5] * 4096),
        ] {
            let limit = limit.saturating_add(host.saturating_sub(counted)).saturating_add(crate::layout::SHARED);
            host::process::set_soft_limit(self.host_pid, resource, limit)?;
        }
        Ok(())
    }

    /// The host's vDSO, which is mapped in every space.
    pub fn vdso(&self) -> VdsoInfo {
        self.core.region.vdso.clone()
    }

    /// The same host file, open for reading only: what a stub gets of a file that its guest may not write. Without a procfs, by which
    /// it is reopened, the stub gets it as it is: then hostile guest code can write what it may only read.
    pub fn read_only(&self, file: &Arc<HostFd>) -> Result<Arc<HostFd>, Errno> {
        use host::rustix::fs::{Mode, OFlags, fcntl_getfl, openat};
        let flags = fcntl_getfl(file.as_ref()).map_err(host::errno)?;
        if flags.intersection(OFlags::RWMODE) == OFlags::RDONLY {
            return Ok(file.clone());
        }
        let Some(proc) = self.core.proc.as_ref() else {
            static ONCE: std::sync::Once = std::sync::Once::new();
            ONCE.call_once(|| {
                observe::warn!(
                    "no procfs here: files in memory cannot be protected from guests that may only read them"
                );
            });
            return Ok(file.clone());
        };
        let path = format!("self/fd/{}", file.number());
        let fd = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(host::errno)?;
        Ok(HostFd::new(fd))
    }

    /// What the host says of the process, if it has ended.
    pub fn ended(&self) -> Option<Ended> {
        self.last.get().copied()
    }

    /// As `ended`, of a process that is about to end: sleeps until the host has ended it. `None`: that takes more than a second.
    pub fn await_end(&self) -> Option<Ended> {
        if self.ended.compare_exchange(ALIVE, AWAITED, Ordering::AcqRel, Ordering::Acquire) != Err(ENDED) {
            let start = Instant::now();
            crate::reaper::hurry(self.core);
            crate::worker::block_in_place(|| {
                while self.ended().is_none()
                    && let Some(rest) = Duration::from_secs(1).checked_sub(start.elapsed())
                {
                    host::futex::wait(&self.ended, AWAITED, Some(rest));
                }
            });
        }
        self.ended()
    }

    /// CPU time of the whole process, ns.
    pub fn cpu_time(&self) -> u64 {
        match self.ended() {
            Some(ended) => ended.times.total(),
            None => host::process::cpu_time(self.host_pid).unwrap_or(0),
        }
    }

    /// See [`Thread::rewrite`].
    pub(crate) fn rewrite(&self, nr: u32, ip: u64, code: &[u8; AROUND]) -> Option<Vec<crate::Op>> {
        if ip < crate::LOW + 7 {
            return None;
        }
        lock(&self.sites).rewrite(self.core.region.base, (nr, ip), code, crate::zygote::header_word)
    }

    /// The code of call sites that is not the guest's own now.
    pub fn rewritten(&self) -> Vec<Range<u64>> {
        lock(&self.sites).rewritten()
    }

    /// See [`Thread::restore_sites`].
    pub(crate) fn restore_sites(&self, sites: &[Range<u64>]) -> Option<Vec<crate::Op>> {
        lock(&self.sites).restore(self.core.region.base, sites, crate::zygote::header_word)
    }

    /// Who rewrote a site has come back, or is not of this process.
    pub(crate) fn was_rewritten(&self) {
        lock(&self.sites).busy = false;
    }

    /// Whether the call whose instruction ends at `ip` was rewritten.
    pub fn is_rewritten(&self, ip: u64) -> bool {
        lock(&self.sites).has(ip)
    }

    /// Whether a rewritten call site lies in the range.
    pub fn has_rewritten(&self, range: &Range<u64>) -> bool {
        lock(&self.sites).any_in(range)
    }

    /// Every mapping is gone: execve(2) in place.
    pub fn forget_rewritten(&self) {
        *lock(&self.sites) = Sites::default();
    }

    /// A fork has its parent's sites.
    pub(crate) fn inherit_sites(&self, parent: &Space) {
        let sites = lock(&parent.sites).clone();
        *lock(&self.sites) = sites;
        self.was_rewritten();
    }

    /// A slot for a new thread. `None`: there are as many threads as can be.
    pub(crate) fn take_slot(&self) -> Option<u64> {
        let mut inner = lock(&self.inner);
        // The oldest is most likely gone. (tgkill does not sleep; slot 0 of a list made by `new` has thread id 0.)
        let oldest = inner.left.first().copied();
        if let Some((slot, tid)) = oldest
            && (tid == 0 || host::process::tgkill(self.host_pid, tid, 0) == Err(Errno::ESRCH))
        {
            inner.left.remove(0);
            inner.windows.entry(slot).or_default();
            return Some(slot);
        }
        if inner.next < SLOTS {
            let slot = inner.next;
            inner.next += 1;
            inner.windows.entry(slot).or_default();
            return Some(slot);
        }
        None
    }

    /// Gives back a slot that was never used.
    pub(crate) fn return_slot(&self, slot: u64) {
        lock(&self.inner).left.push((slot, 0));
    }

    /// Whether it has had one host thread only, so that what the host counts for the process is that thread's.
    pub(crate) fn had_one_thread(&self) -> bool {
        lock(&self.inner).windows.len() == 1
    }

    pub(crate) fn mailbox(&self, slot: u64) -> Option<crate::mailbox::Slot> {
        lock(&self.mailboxes).as_ref().map(|m| m.slot(slot))
    }

    pub(crate) fn add(&self, thread: &Arc<Thread>) {
        lock(&self.inner).threads.insert(thread.host_tid(), thread.clone());
    }

    /// A guest runs here now: it counts for the shard's load, once.
    pub(crate) fn count_on(&self, shard: &'static Shard) {
        if self.counted.set(shard).is_ok() {
            shard.load.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The thread was told to exit.
    pub(crate) fn left(&self, slot: u64, tid: i32) {
        let known = {
            let mut inner = lock(&self.inner);
            let known = inner.threads.remove(&tid).is_some();
            if known {
                inner.left.push((slot, tid));
            }
            known
        };
        if known && self.access.load(Ordering::Relaxed) == tid {
            self.leave_access(tid);
        }
    }

    /// The host process has ended: its threads, whose guests are to be told. Its memory is not touched from here on.
    pub(crate) fn end(&self, last: Ended) -> Vec<Arc<Thread>> {
        self.dead.store(true, Ordering::Release);
        let _ = self.last.set(last);
        if self.ended.swap(ENDED, Ordering::AcqRel) == AWAITED {
            host::futex::wake(&self.ended, i32::MAX);
        }
        if let Some(shard) = self.counted.get() {
            shard.load.fetch_sub(1, Ordering::Relaxed);
        }
        lock(&self.inner).threads.drain().map(|(_, t)| t).collect()
    }

    /// This process wrote so many bytes of the slot's window.
    pub(crate) fn wrote(&self, slot: u64, bytes: usize) {
        let mut inner = lock(&self.inner);
        let most = inner.windows.entry(slot).or_default();
        *most = bytes.max(*most);
    }

    /// Every slot that was in use, with the bytes of its window that were written.
    pub(crate) fn used(&self) -> Vec<(u64, usize)> {
        lock(&self.inner).windows.iter().map(|(slot, bytes)| (*slot, *bytes)).collect()
    }

    /// The memory file, after the process was reaped.
    pub(crate) fn take_mailboxes(&self) -> Option<Mailboxes> {
        lock(&self.mailboxes).take()
    }
}
