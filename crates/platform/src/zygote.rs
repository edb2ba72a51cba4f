//! Where stub processes come from: the seed, forked from this process while it has one thread, and the shards' zygotes, which the seed forks on demand.
//!
//! The seed's and the zygotes' mailboxes lie in one memory file that no guest ever maps. Neighbours: `region`, `filter`, the stub's seed.rs. Owns no locks; the
//! caller orders one zygote at a time.

use std::arch::asm;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use abi::Errno;
use host::futex::wake_shared;
use host::seccomp::notify;

use crate::config::{Config, StartError};
use crate::filter::{self, Ways};
use crate::layout::{
    BLOCK_SLOTS, BLOCKS, CLOCK, FREE_REST, KEPT, KICK_SIGNAL, MOST_KEPT, Mailbox, REGION_LEN, SHARED, SIGNAL_STACK,
    SITES, STRIDE, TEXT, TEXT_LEN, block, header, private,
};
use crate::mailbox::{Mailboxes, Pool, once};
use crate::region::Region;

static STUB: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub.bin"));

/// How long a zygote may take, on the busiest of machines.
const PATIENCE: Duration = Duration::from_secs(60);
/// SIGILL, SIGBUS, SIGFPE, SIGSEGV: never masked in the stub.
const FAULTS: u64 = 1 << 3 | 1 << 6 | 1 << 7 | 1 << 10;
/// SA_SIGINFO, ONSTACK, RESTORER, RESTART, NODEFER.
const HANDLER_FLAGS: u64 = 4 | 0x0800_0000 | 0x0400_0000 | 0x1000_0000 | 0x4000_0000;

pub(crate) struct Seed {
    pub pid: i32,
    pub mailboxes: Mailboxes,
    region: Region,
}

/// A shard's zygote: its process, the slot of its mailbox, its cookie, its listener.
pub(crate) struct Zygote {
    pub pid: i32,
    pub slot: u64,
    pub cookie: [u64; 2],
    /// The listener, or the kernel process' end of the doorbell's socket.
    pub doorbell: OwnedFd,
}

/// A secret of 128 bits.
pub(crate) fn cookie() -> Result<[u64; 2], Errno> {
    let mut bytes = [0u8; 16];
    host::process::random(&mut bytes)?;
    let (a, b) = bytes.split_at(8);
    let word = |b: &[u8]| b.iter().rev().fold(0u64, |w, x| w << 8 | u64::from(*x));
    Ok([word(a), word(b)])
}

/// A word of the stub's header: see `layout::header`.
pub(crate) fn header_word(n: usize) -> u64 {
    STUB.get(n * 8..n * 8 + 8).map_or(0, |b| b.iter().rev().fold(0u64, |w, x| w << 8 | u64::from(*x)))
}

impl Seed {
    /// Forks the seed, for so many zygotes. This process must have one thread only.
    pub fn start(region: Region, pool: &Pool, shards: usize) -> Result<Seed, StartError> {
        let step = |step: &'static str| move |errno| StartError::Host { step, errno };
        if header_word(header::MAGIC) != header::MAGIC_VALUE {
            return Err(StartError::Host { step: "the stub's header", errno: Errno::ENOEXEC });
        }
        let mailboxes = pool.take().map_err(step("making the memory file of the mailboxes"))?;
        let slot = mailboxes.slot(0);
        once!(put slot, seed.keep, region.keep());
        once!(put slot, seed.plug, [region.plug.start, region.plug.end]);
        let blocks = (shards as u64 + 1).div_ceil(BLOCK_SLOTS);
        once!(put slot, seed.blocks, blocks);
        let threads = std::fs::read_dir("/proc/self/task").map(|d| d.count()).unwrap_or(1);
        if threads != 1 {
            return Err(StartError::Host { step: "forking from a process with several threads", errno: Errno::EBUSY });
        }
        // SAFETY: this process has one thread, so the child may do what it likes with its copy.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            return Err(StartError::Host { step: "forking the seed", errno: last_errno() });
        }
        if pid == 0 {
            let (step, errno) = become_seed(&region, &mailboxes, blocks);
            slot.seed().failed.store(step << 16 | u32::from(errno.code()), Ordering::Release);
            // SAFETY: ends the forked child without running anything of the parent's.
            unsafe { libc::_exit(72) };
        }
        Ok(Seed { pid, mailboxes, region })
    }

    /// Has a zygote made for a shard, and takes its end of the doorbell. Sleeps for some hundred microseconds.
    pub fn zygote(&self, shard: usize, config: &Config) -> Result<Zygote, StartError> {
        let Config { listener, force_trap, local, .. } = *config;
        if listener && config.killable {
            let flags = notify::FILTER_FLAGS | notify::WAIT_KILLABLE_RECV;
            match self.order(shard, Ways { listener, force_trap, local }, flags) {
                Err(StartError::Stub { errno: Errno::EINVAL, .. }) => {} // before Linux 5.19
                other => return other,
            }
        }
        // No direct notifications: a kick would interrupt one before its answer. In its doorbells the stub masks signals.
        let flags = if listener { notify::FILTER_FLAGS } else { notify::PLAIN_FLAGS };
        self.order(shard, Ways { listener, force_trap: true, local }, flags)
    }

    fn order(&self, shard: usize, ways: Ways, flags: u64) -> Result<Zygote, StartError> {
        let host = |step: &'static str| move |errno| StartError::Host { step, errno };
        let number = shard as u64 + 1;
        let (own, slot) = (self.mailboxes.slot(0), self.mailboxes.slot(number));
        let program = filter::program(&self.region, ways);
        let bytes: Vec<u8> = program
            .iter()
            .flat_map(|i| {
                let [a, b] = i.code.to_le_bytes();
                let [c, d, e, f] = i.k.to_le_bytes();
                [a, b, i.jt, i.jf, c, d, e, f]
            })
            .collect();
        let cookie = cookie().map_err(host("asking for random bytes"))?;
        slot.window.write(0, &bytes);
        once!(put slot, seed.cookie, cookie);
        once!(put slot, seed.filter_len, program.len() as u64);
        once!(put slot, seed.filter_flags, flags);
        let words = slot.seed();
        words.listener.store(0, Ordering::Relaxed);
        words.failed.store(0, Ordering::Relaxed);
        words.taken.store(0, Ordering::Relaxed);
        once!(put own, seed.pid, 0);
        once!(put own, seed.slot, number as u32);
        own.seed().order.fetch_add(1, Ordering::Release);
        wake(&own.seed().order);
        let start = Instant::now();
        let mut pause = Duration::from_micros(20);
        loop {
            // What the zygote says counts once the seed has named it: a late name would be taken for the next order's.
            let pid = once!(get own, seed.pid) as i64;
            if pid < 0 {
                return Err(StartError::Stub { step: 10, errno: Errno::from_raw(-pid as i32) });
            }
            let failed = match words.failed.load(Ordering::Acquire) {
                n if n != 0 && pid != 0 => n,
                _ => own.seed().failed.load(Ordering::Acquire),
            };
            if failed != 0 {
                let errno = Errno::from_raw((failed & 0xffff) as i32);
                return Err(match (failed >> 16, errno) {
                    (2, Errno::EBUSY) => StartError::SecondListener,
                    (4, _) => StartError::Unbounded,
                    (step, errno) => StartError::Stub { step, errno },
                });
            }
            let number = words.listener.load(Ordering::Acquire);
            if pid != 0 && number != 0 {
                let doorbell = host::process::take_fd(pid as i32, number - 1)
                    .map_err(host("taking the listener out of the zygote (pidfd_getfd)"))?;
                words.taken.store(1, Ordering::Release);
                wake(&words.taken);
                return Ok(Zygote { pid: pid as i32, slot: shard as u64 + 1, cookie, doorbell });
            }
            if start.elapsed() > PATIENCE {
                return Err(StartError::Stub { step: 11, errno: Errno::ETIMEDOUT });
            }
            std::thread::sleep(pause);
            pause = (pause * 5 / 4).min(Duration::from_millis(5));
        }
    }
}

fn wake(word: &AtomicU32) {
    // SAFETY: a reference is to mapped memory.
    unsafe { wake_shared(word, 1) };
}

fn last_errno() -> Errno {
    Errno::from_raw(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
}

#[repr(C)]
struct HostAction {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

unsafe extern "C" {
    /// glibc's registration of restartable sequences, as an offset from the thread pointer.
    static __rseq_offset: isize;
    static __rseq_size: libc::c_uint;
}

/// In the forked child: makes this process the seed and enters the stub. Returns the step and error if that fails.
fn become_seed(region: &Region, mailboxes: &Mailboxes, blocks: u64) -> (u32, Errno) {
    let base = region.base;
    let fail = |step: u32| (step, last_errno());
    // SAFETY: a forked copy with one thread, which never goes back to the code around; host calls on its own memory, at places that it has just mapped.
    unsafe {
        let map = |at: u64, len: u64, prot: i32, flags: i32, fd: i32, offset: u64| {
            libc::mmap(at as *mut _, len as usize, prot, flags | libc::MAP_FIXED, fd, offset as i64) as u64 == at
        };
        // Of a file, so that forks copy none of its page table's entries; private, so that who writes over it has a copy of its own.
        let Ok(text) = host::memory::memfd_of("stub", STUB, TEXT_LEN) else { return fail(20) };
        if !map(base + TEXT, TEXT_LEN, libc::PROT_READ | libc::PROT_EXEC, libc::MAP_PRIVATE, text.as_raw_fd(), 0) {
            return fail(21);
        }
        let (rw, anonymous) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        if !map(base + SITES, BLOCKS - SITES, rw, anonymous | libc::MAP_NORESERVE, -1, 0) {
            return fail(22);
        }
        for n in 0..blocks {
            let at = base + block(n * BLOCK_SLOTS);
            if !map(at, SHARED, rw, anonymous | libc::MAP_NORESERVE, -1, 0) {
                return fail(22);
            }
            if !map(at + SHARED, SHARED, rw, libc::MAP_SHARED, mailboxes.file.number(), n * SHARED) {
                return fail(23);
            }
        }
        let free = u64::from(region.is_out_of_the_way());
        ((base + FREE_REST) as *mut u64).write(free);
        ((base + CLOCK) as *mut u64).write(region.vdso.clock_gettime());
        if free != 0 {
            let (from, end) = (base + block(blocks * BLOCK_SLOTS), base + REGION_LEN);
            libc::munmap(from as *mut _, (end - from) as usize);
        }
        // Private page of slot 0: see the stub's `Private`.
        let fsgsbase = libc::getauxval(libc::AT_HWCAP2) >> 1 & 1;
        ((base + private(0)) as *mut [u64; 6]).write([0, 0, 0, 0, fsgsbase, 0]);

        // Signals: nothing of the kernel process' own, then the stub's.
        let default = HostAction { handler: 0, flags: 0, restorer: 0, mask: 0 };
        for signal in 1..=64 {
            libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, 8);
        }
        let action = HostAction {
            handler: base + TEXT + header_word(header::HANDLER),
            flags: HANDLER_FLAGS,
            restorer: base + TEXT + header_word(header::RESTORER),
            mask: !FAULTS,
        };
        for signal in [4, 5, 7, 8, 11, 31, KICK_SIGNAL as i32] {
            if libc::syscall(libc::SYS_rt_sigaction, signal, &raw const action, 0, 8) < 0 {
                return fail(24);
            }
        }
        let mask = !FAULTS;
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const mask, 0, 8);
        let stack = libc::stack_t {
            ss_sp: (base + private(0) + SIGNAL_STACK) as *mut _,
            ss_flags: 0,
            ss_size: (STRIDE - SIGNAL_STACK) as usize,
        };
        if libc::sigaltstack(&raw const stack, std::ptr::null_mut()) < 0 {
            return fail(25);
        }

        // Nothing of glibc's may stay known to the host when its memory goes: restartable sequences, robust list, thread id word.
        if __rseq_size != 0 && !unregister_rseq() {
            return fail(26);
        }
        libc::syscall(libc::SYS_set_tid_address, 0);
        libc::syscall(libc::SYS_set_robust_list, 0, 24);

        // Rights and limits.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let limit = |what, n| libc::setrlimit(what, &libc::rlimit { rlim_cur: n, rlim_max: n });
        limit(libc::RLIMIT_CORE, 1);
        limit(libc::RLIMIT_NOFILE, u64::from(KEPT) + MOST_KEPT as u64);
        if host::capabilities::drop_all().is_err() || host::capabilities::no_new_privileges().is_err() {
            return fail(27);
        }
        libc::prctl(libc::PR_SET_DUMPABLE, 1);
        if libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) < 0 {
            return fail(28);
        }
        asm!("mov rsp, {sp}", "xor ebp, ebp", "jmp {entry}", sp = in(reg) base + private(0) + STRIDE - 64,
            entry = in(reg) base + TEXT + header_word(header::SEED), options(noreturn));
    }
}

/// # Safety
/// In the forked child, which runs no more code that relies on restartable sequences.
unsafe fn unregister_rseq() -> bool {
    const UNREGISTER: u32 = 1;
    const SIGNATURE: u32 = 0x5305_3053;
    // SAFETY: by the caller; the host checks that this is the registered area.
    unsafe {
        let thread: isize;
        asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly));
        let area = thread + __rseq_offset;
        let auxiliary = libc::getauxval(27) as u32; // AT_RSEQ_FEATURE_SIZE
        [32, __rseq_size, auxiliary, auxiliary.next_multiple_of(32)]
            .into_iter()
            .any(|len| libc::syscall(libc::SYS_rseq, area, len, UNREGISTER, SIGNATURE) == 0)
    }
}

const _: () = assert!(offset_of!(Mailbox, seed) % 8 == 0);
