//! What an address space's lock protects: the map, the heap's bounds, ranges that are on their way out.
//!
//! Neighbours: `map` (the areas), `work` (what the stub is told), `mmap`, `change`, `remap`, `heap` (the calls).

use super::area::{Area, AreaFlags, Content};
use super::map::AreaMap;
use super::undo::Undo;
use abi::Errno;
use abi::mm::Prot;
use platform::VdsoInfo;
use std::ops::Range;
use std::sync::Weak;

/// The most areas of an address space; sysctl vm.max_map_count is 65,530, of which the stub needs some.
pub const MAX_AREAS: usize = 65_000;

/// Limits and rights of the caller that memory calls look at, getrlimit(2). Bytes; `u64::MAX` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// RLIMIT_AS.
    pub address_space: u64,
    /// RLIMIT_DATA.
    pub data: u64,
    /// RLIMIT_STACK.
    pub stack: u64,
    /// RLIMIT_MEMLOCK.
    pub memlock: u64,
    /// CAP_IPC_LOCK.
    pub can_lock: bool,
}

impl Bounds {
    /// No limits.
    pub const NONE: Bounds =
        Bounds { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20, memlock: u64::MAX, can_lock: true };
}

/// Who makes memory calls: a task, as far as this module needs to know it.
pub trait Requester: Send + Sync {
    /// How many requests it has made. While it stands at the same number, its stub thread may still be at the last one's work.
    fn requests(&self) -> u64;
}

/// The maker of one memory call.
#[derive(Clone)]
pub struct Asker {
    pub who: Weak<dyn Requester>,
    /// `Requester::requests` at this call.
    pub count: u64,
    /// No other task lives in this address space: then nothing can come between plan and deed.
    pub alone: bool,
    pub bounds: Bounds,
}

impl Asker {
    fn settled(&self) -> bool {
        self.who.upgrade().is_none_or(|who| who.requests() != self.count)
    }
}

/// A range that a thread's stub is unmapping: it is given to no one until that thread's next request.
struct Leaving {
    range: Range<u64>,
    by: Asker,
}

/// Where parts of the program lie, proc_pid_stat(5) and prctl(2) PR_SET_MM. Addresses.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    pub code: Range<u64>,
    pub data: Range<u64>,
    pub args: Range<u64>,
    pub env: Range<u64>,
    /// The stack pointer that the program started with.
    pub start_stack: u64,
    /// What /proc/PID/auxv shows.
    pub auxv: Vec<u8>,
}

/// The state of an address space.
pub struct State {
    pub map: AreaMap,
    /// The heap, brk(2): from its start to the current break, not rounded.
    pub heap: Range<u64>,
    /// Maps are placed below this address.
    pub base: u64,
    /// Where guest code maps private anonymous memory without asking, up to `top`: what the map says of it may be out of date (`arena`).
    pub arena: Range<u64>,
    /// Guest addresses end here.
    pub top: u64,
    /// Flags of new maps, mlockall(2) MCL_FUTURE.
    pub lock_future: AreaFlags,
    pub layout: Layout,
    /// The host itself may refuse to unmap something: no other program can take this address space over.
    pub sealed_by_host: bool,
    leaving: Vec<Leaving>,
}

/// A distance between stack and maps that is always kept, and the most.
const MIN_STACK_ROOM: u64 = 128 << 20;

/// Where the addresses end that the kernel gives away, of an address space that ends at `top`.
pub fn ceiling(top: u64, arena: &Range<u64>) -> u64 {
    if arena.is_empty() { top } else { arena.start }
}

impl State {
    /// An address space below `top` that holds only what every stub process keeps, with room for a stack of `stack_room` bytes
    /// at the top.
    pub fn new(top: u64, vdso: VdsoInfo, arena: Range<u64>, stack_room: u64) -> State {
        let ceiling = ceiling(top, &arena);
        let room = stack_room.clamp(MIN_STACK_ROOM.min(ceiling / 6), ceiling / 6 * 5);
        let mut map = AreaMap::default();
        for (range, prot, name) in [(vdso.vvar, Prot::READ, "[vvar]"), (vdso.vdso, Prot::READ | Prot::EXEC, "[vdso]")] {
            if !range.is_empty() && map.is_free(&range) {
                let flags = AreaFlags::SEALED | AreaFlags::DONTDUMP;
                map.insert(Area { range, prot, max_prot: prot, flags, content: Content::Special(name), name: None });
            }
        }
        State {
            map,
            heap: 0..0,
            base: abi::mm::page_down(ceiling.saturating_sub(room)),
            arena,
            top,
            lock_future: AreaFlags::empty(),
            layout: Layout::default(),
            sealed_by_host: false,
            leaving: Vec::new(),
        }
    }

    /// See [`ceiling`].
    pub fn ceiling(&self) -> u64 {
        ceiling(self.top, &self.arena)
    }

    /// The copy for a forked child: without what madvise(2) MADV_DONTFORK excepts, nothing locked.
    pub fn fork(&self) -> State {
        let mut map = AreaMap::default();
        for area in self.map.iter().filter(|a| !a.flags.contains(AreaFlags::DONTFORK)) {
            let mut area = area.clone();
            area.flags.remove(AreaFlags::LOCKED | AreaFlags::LOCK_ONFAULT);
            map.insert(area);
        }
        State {
            map,
            heap: self.heap.clone(),
            base: self.base,
            arena: self.arena.clone(),
            top: self.top,
            lock_future: AreaFlags::empty(),
            layout: self.layout.clone(),
            sealed_by_host: self.sealed_by_host,
            leaving: Vec::new(),
        }
    }

    /// A page-aligned range of guest addresses, or `error`: `len` is rounded up.
    pub fn range(&self, addr: u64, len: u64, error: Errno) -> Result<Range<u64>, Errno> {
        let end = abi::mm::page_up(len).and_then(|len| addr.checked_add(len)).ok_or(error)?;
        if !abi::mm::page_aligned(addr) || end > self.top { Err(error) } else { Ok(addr..end) }
    }

    /// EPERM where a sealed area is in `range`.
    pub fn check_sealed(&self, range: &Range<u64>) -> Result<(), Errno> {
        if self.map.overlapping(range).any(|a| a.flags.contains(AreaFlags::SEALED)) {
            return Err(Errno::EPERM);
        }
        Ok(())
    }

    /// ENOMEM where `more` further areas are too many.
    pub fn check_count(&self, more: usize) -> Result<(), Errno> {
        if self.map.len().saturating_add(more) > MAX_AREAS { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// ENOMEM where the address space may not grow by `len` bytes, of which `data` count as data.
    pub fn check_growth(&self, len: u64, data: u64, bounds: &Bounds) -> Result<(), Errno> {
        let totals = self.map.totals();
        let too_much_data = data > 0 && totals.data.saturating_add(data) > bounds.data;
        if totals.size.saturating_add(len) > bounds.address_space || too_much_data {
            return Err(Errno::ENOMEM);
        }
        Ok(())
    }

    /// `full` where `len` more bytes may not be locked, EPERM where none at all may.
    pub fn check_lock(&self, len: u64, bounds: &Bounds, full: Errno) -> Result<(), Errno> {
        if bounds.can_lock {
            return Ok(());
        }
        if bounds.memlock == 0 {
            return Err(Errno::EPERM);
        }
        if self.map.totals().locked.saturating_add(len) > bounds.memlock { Err(full) } else { Ok(()) }
    }

    /// Ranges that no new map may take although they are free.
    pub fn taken(&mut self) -> Vec<Range<u64>> {
        self.leaving.retain(|l| !l.by.settled());
        self.leaving.iter().map(|l| l.range.clone()).collect()
    }

    /// Empties a range of the map on behalf of `by`; what was there goes to `undo`, if the operation numbered `op` fails.
    pub fn unmap(&mut self, range: Range<u64>, by: &Asker, undo: &mut Undo, op: u32) {
        let old = self.map.remove(&range);
        if !by.alone {
            self.leaving.retain(|l| !l.by.settled());
            self.leaving.push(Leaving { range: range.clone(), by: by.clone() });
        }
        undo.push(op, range, old);
    }

    /// Puts back what operations from number `failed` on would have changed. Returns what is of no use any more, to be dropped without the map's lock.
    pub fn undo(&mut self, undo: &Undo, failed: u32) -> Vec<Area> {
        let mut gone = Vec::new();
        for (range, old) in undo.steps_from(failed) {
            gone.extend(self.map.remove(&range));
            for area in old {
                // Another thread may have mapped there meanwhile: its map stays.
                if self.map.is_free(&area.range) {
                    self.map.insert(area);
                } else {
                    gone.push(area);
                }
            }
        }
        if let Some(heap) = &undo.heap {
            self.heap = heap.clone();
        }
        gone
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
