//! The kernel process' side of the mailboxes: memory files, one for each stub process, mapped once and used again and again.
//!
//! A mailbox is hostile: every word is read once, by volatile loads, and then checked as a copy. Memory files are never unmapped, since that would interrupt every
//! core. Neighbours: `layout` (the words), `thread` (who writes what). Owns the lock of the pool.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use abi::Errno;
use host::HostFd;
use host::memory::SharedBytes;

use crate::answer::Registers;
use crate::layout::{
    self, MOST_KEPT, Mailbox, Piece, REGS, SHARED_LEN, SLOTS, SMALL_LEN, STRIDE, WINDOW, WINDOW_LEN, reg,
};
use crate::sync::{Mutex, Pools, lock};

/// A memory file with a mailbox for every slot.
pub(crate) struct Mailboxes {
    pub file: Arc<HostFd>,
    memory: SharedBytes,
    /// Pages that the file has kept, cleared, since it was last empty: how many from the start of each slot.
    held: BTreeMap<u64, usize>,
}

/// Reads or writes a field of a mailbox exactly once.
macro_rules! once {
    (get $slot:expr, $($field:tt)+) => {
        // SAFETY: a `Slot` points to a mailbox that is never unmapped; integers have no invalid values, and a volatile load happens once.
        unsafe { (&raw const (*$slot.at.as_ptr()).$($field)+).read_volatile() }
    };
    (put $slot:expr, $field:ident $(.$sub:ident)* $([$i:expr])*, $value:expr) => {
        // SAFETY: as above; nobody holds a reference into the mailbox.
        unsafe { (&raw mut (*$slot.at.as_ptr()).$field $(.$sub)* $([$i])*).write_volatile($value) }
    };
}
pub(crate) use once;

impl Mailboxes {
    fn new() -> Result<Mailboxes, Errno> {
        let file = host::memory::sealed_memfd("mailboxes", SHARED_LEN)?;
        let memory = host::memory::map_shared_for_ever(&file, SHARED_LEN as usize)?;
        Ok(Mailboxes { file: HostFd::new(file), memory, held: BTreeMap::new() })
    }

    /// The mailbox of a slot (taken modulo the number of slots).
    pub fn slot(&self, slot: u64) -> Slot {
        let offset = (slot % SLOTS * STRIDE) as usize;
        let window = self.memory.slice(offset + WINDOW as usize, WINDOW_LEN as usize);
        // SAFETY: inside the mapping, which is as long as all slots and never unmapped; page-aligned.
        let at = unsafe { self.memory.start().add(offset) }.cast();
        Slot { at, window: window.unwrap_or(self.memory) }
    }

    /// Clears what a guest left behind. `used` are its slots with the bytes of their windows that this process wrote. If the file holds other pages than those and the ones that it held before (the guest
    /// wrote where it had no business), all are punched out, which interrupts the other cores.
    fn clear(&mut self, used: &[(u64, usize)]) {
        for (slot, window) in used {
            let pages = self.held.entry(*slot).or_default();
            *pages = (1 + window.div_ceil(4096)).max(*pages);
        }
        let expected: usize = self.held.values().sum();
        let held = host::rustix::fs::fstat(&*self.file).map_or(usize::MAX, |s| s.st_blocks as usize / 8);
        if held == expected && expected <= 64 {
            for (slot, pages) in &self.held {
                self.memory.clear((slot % SLOTS * STRIDE) as usize, 4096 * pages);
            }
            return;
        }
        self.held.clear();
        let _ = host::rustix::fs::fallocate(
            &*self.file,
            host::rustix::fs::FallocateFlags::PUNCH_HOLE | host::rustix::fs::FallocateFlags::KEEP_SIZE,
            0,
            SHARED_LEN,
        );
    }
}

/// All memory files that were ever made.
pub(crate) struct Pool {
    /// Those that are not in use.
    free: Mutex<Vec<Mailboxes>, Pools>,
    made: AtomicUsize,
    /// So many forked processes may have.
    most: usize,
}

impl Pool {
    /// Each file is a descriptor for ever. Half of what this process may have is left for guests' files, however many processes they make.
    pub fn new() -> Pool {
        Pool { free: Mutex::default(), made: AtomicUsize::new(0), most: host::fd::limit() / 2 }
    }

    /// There shall be no more forked processes for now.
    pub fn is_full(&self) -> bool {
        self.made.load(Ordering::Relaxed) >= self.most && lock(&self.free).is_empty()
    }

    pub fn take(&self) -> Result<Mailboxes, Errno> {
        let pooled = lock(&self.free).pop();
        match pooled {
            Some(m) => Ok(m),
            None => {
                self.made.fetch_add(1, Ordering::Relaxed);
                Mailboxes::new().inspect_err(|_| _ = self.made.fetch_sub(1, Ordering::Relaxed))
            }
        }
    }

    /// After the process that used it was reaped.
    pub fn give(&self, mut mailboxes: Mailboxes, used: &[(u64, usize)]) {
        mailboxes.clear(used);
        lock(&self.free).push(mailboxes);
    }
}

/// One mailbox. It may be used by another process later: whoever keeps a `Slot` asks the thread's state first.
#[derive(Clone, Copy)]
pub(crate) struct Slot {
    pub at: NonNull<Mailbox>,
    pub window: SharedBytes,
}

// SAFETY: a pointer to memory that is shared and never unmapped, used by volatile and atomic accesses only.
unsafe impl Send for Slot {}
// SAFETY: as above.
unsafe impl Sync for Slot {}

impl Slot {
    /// The word that a parked thread waits on.
    pub fn park(&self) -> &'static AtomicU32 {
        // SAFETY: never unmapped; an atomic may be shared with another process.
        unsafe { &(*self.at.as_ptr()).park }
    }

    /// Set while a poller looks at `poll`.
    pub fn polled(&self) -> &'static AtomicU32 {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).polled }
    }

    /// Descriptors by which its thread reads kept files without asking.
    pub fn lends(&self) -> &'static [AtomicU32; MOST_KEPT] {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).lends }
    }

    /// The word by which a call is handed to the poller.
    pub fn poll(&self) -> &'static AtomicU32 {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).poll }
    }

    /// The word by which the poller answers it.
    pub fn answer(&self) -> &'static AtomicU32 {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).answer }
    }

    /// Writes at [`SMALL`], [`SMALL_LEN`] bytes at most.
    pub fn put_small(&self, bytes: &[u8]) {
        let mut words = [[0u8; 8]; SMALL_LEN / 8];
        words.as_flattened_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        let pieces = words.map(u64::from_ne_bytes);
        for (i, [addr, rest]) in pieces.as_chunks::<2>().0.iter().enumerate() {
            once!(put self, out[i + 1], Piece { addr: *addr, offset: *rest as u32, len: (*rest >> 32) as u32 });
        }
    }

    /// See [`crate::LentMask`].
    pub fn lent(&self) -> &'static AtomicU32 {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).lent }
    }

    /// See [`crate::LentMask`].
    pub fn mask(&self) -> &'static AtomicU64 {
        // SAFETY: as in `park`.
        unsafe { &(*self.at.as_ptr()).mask }
    }

    pub fn seed(&self) -> &'static SeedWords {
        // SAFETY: never unmapped. The words that the stub writes are atomics or read through `once!`.
        unsafe { &*(&raw const (*self.at.as_ptr()).seed).cast::<SeedWords>() }
    }

    /// Prepares a mailbox for a new thread.
    pub fn reset(&self) {
        once!(put self, op, layout::op::RESUME);
        once!(put self, local, 0);
        once!(put self, untouched, 0);
        once!(put self, robust, 0);
        once!(put self, waited, 0);
        once!(put self, reads, [0; 2]);
        self.lends().iter().for_each(|lend| lend.store(0, Ordering::Relaxed));
        self.park().store(0, Ordering::Relaxed);
        self.polled().store(0, Ordering::Relaxed);
        self.lent().store(0, Ordering::Relaxed);
        self.poll().store(layout::poll::NONE, Ordering::Relaxed);
        self.answer().store(layout::poll::NONE, Ordering::Relaxed);
    }

    pub fn registers(&self, nr: u64) -> Registers {
        let w: [u64; REGS] = once!(get self, regs);
        Registers {
            r15: w[reg::R15],
            r14: w[reg::R14],
            r13: w[reg::R13],
            r12: w[reg::R12],
            rbp: w[reg::RBP],
            rbx: w[reg::RBX],
            r11: w[reg::R11],
            r10: w[reg::R10],
            r9: w[reg::R9],
            r8: w[reg::R8],
            rax: w[reg::RAX],
            rcx: w[reg::RCX],
            rdx: w[reg::RDX],
            rsi: w[reg::RSI],
            rdi: w[reg::RDI],
            orig_rax: nr,
            rip: w[reg::RIP],
            cs: 0x33,
            eflags: w[reg::EFLAGS],
            rsp: w[reg::RSP],
            ss: 0x2b,
            fs_base: w[reg::FS_BASE],
            gs_base: w[reg::GS_BASE],
            ds: 0,
            es: 0,
            fs: 0,
            gs: 0,
        }
    }

    pub fn set_registers(&self, r: &Registers) {
        let w: [u64; REGS] = [
            r.r8, r.r9, r.r10, r.r11, r.r12, r.r13, r.r14, r.r15, r.rdi, r.rsi, r.rbp, r.rbx, r.rdx, r.rax, r.rcx,
            r.rsp, r.rip, r.eflags, r.fs_base, r.gs_base,
        ];
        once!(put self, regs, w);
    }
}

/// The atomics at the start of `layout::Seed`.
#[repr(C)]
pub(crate) struct SeedWords {
    pub order: AtomicU32,
    slot: AtomicU32,
    pub listener: AtomicU32,
    pub failed: AtomicU32,
    pub taken: AtomicU32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn hostile_programs_know_their_way() {
        // guest-tests/programs/support/stub.h has these numbers, too.
        let at =
            [offset_of!(Mailbox, op), offset_of!(Mailbox, arg), offset_of!(Mailbox, fds), offset_of!(Mailbox, park)];
        assert_eq!(at, [736, 752, 832, 864]);
    }
}
