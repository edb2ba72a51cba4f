//! mmap(2), munmap(2), brk(2): the kernel chooses the addresses and the stub maps them MAP_FIXED.

use super::area::{Area, AreaFlags, Content, FileContent, STACK_GUARD};
use super::object;
use super::state::{Asker, State};
use super::work::{Answer, Donation, Work};
use crate::vfs::File;
use abi::Errno;
use abi::mm::*;
use abi::nr;
use host::HostFd;
use platform::LOW;
use std::ops::Range;
use std::sync::Arc;

/// What mmap(2) is asked for, its file found already.
pub struct MapRequest {
    /// A wish, or with MAP_FIXED the place.
    pub addr: u64,
    pub len: u64,
    /// PROT_*
    pub prot: u32,
    /// MAP_*
    pub flags: u32,
    /// None: anonymous memory.
    pub file: Option<MapFile>,
}

/// A file to be mapped.
pub struct MapFile {
    pub file: Arc<File>,
    /// Offset in the file.
    pub offset: u64,
    /// The host file, opened with no more than the guest's rights, and the offset in it.
    pub fd: Arc<HostFd>,
    pub host_offset: u64,
    /// See `FileContent::local`.
    pub local: bool,
    /// False on a mount with MS_NOEXEC.
    pub may_exec: bool,
    /// Whether a shared mapping may ever be written to (seals may forbid it); `fd` was opened accordingly.
    pub may_write: bool,
    /// After so many bytes (whole pages) another host file goes on, from its beginning.
    pub rest: Option<(u64, Arc<HostFd>)>,
}

/// Flags that every mmap knows; MAP_SHARED_VALIDATE refuses others.
const KNOWN: u32 = MAP_TYPE
    | MAP_FIXED
    | MAP_FIXED_NOREPLACE
    | MAP_ANONYMOUS
    | MAP_32BIT
    | MAP_GROWSDOWN
    | MAP_DENYWRITE
    | MAP_EXECUTABLE
    | MAP_LOCKED
    | MAP_NORESERVE
    | MAP_POPULATE
    | MAP_NONBLOCK
    | MAP_STACK
    | MAP_HUGETLB
    | MAP_UNINITIALIZED
    | (MAP_HUGE_MASK << MAP_HUGE_SHIFT);

const HUGE: u64 = 2 << 20;

impl State {
    /// mmap(2). EACCES for rights that the file lacks, ENOMEM where there is no room or a limit is reached, EEXIST for
    /// MAP_FIXED_NOREPLACE, EAGAIN where too much would be locked.
    pub fn mmap(&mut self, ask: MapRequest, by: &Asker) -> Result<Work, Errno> {
        let kind = ask.flags & MAP_TYPE;
        if ask.len == 0 {
            return Err(Errno::EINVAL);
        }
        let len = page_up(ask.len).ok_or(Errno::ENOMEM)?;
        let state = self;
        let fixed = ask.flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) != 0;
        let range = if fixed {
            fixed_range(state, ask.addr, len, ask.flags)?
        } else {
            choose(state, &ask, len).ok_or(Errno::ENOMEM)?
        };
        if let Some(f) = &ask.file
            && f.offset.checked_add(len).is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(Errno::EOVERFLOW);
        }
        let shared = match (kind, &ask.file) {
            (MAP_SHARED, _) => true,
            (MAP_PRIVATE, _) => false,
            (MAP_SHARED_VALIDATE, Some(_)) if ask.flags & !KNOWN == 0 => true,
            (MAP_SHARED_VALIDATE, Some(_)) => return Err(Errno::EOPNOTSUPP),
            _ => return Err(Errno::EINVAL),
        };
        if ask.flags & MAP_GROWSDOWN != 0 && (shared || ask.file.is_some()) {
            return Err(Errno::EINVAL);
        }
        // The pool of huge pages is empty.
        if ask.flags & MAP_HUGETLB != 0 {
            return Err(Errno::ENOMEM);
        }
        let prot = Prot::from_bits_truncate(ask.prot);
        let max_prot = file_rights(&ask, prot, shared)?;
        state.check_count(1 + state.map.splits(&range))?;
        let mut flags = state.lock_future;
        flags.set(AreaFlags::SHARED, shared);
        flags.set(AreaFlags::GROWSDOWN, ask.flags & MAP_GROWSDOWN != 0);
        flags.set(AreaFlags::NORESERVE, ask.flags & MAP_NORESERVE != 0);
        if ask.flags & MAP_LOCKED != 0 {
            flags.insert(AreaFlags::LOCKED);
        }
        let old: u64 = state.map.parts(&range).iter().map(Area::len).sum();
        if flags.contains(AreaFlags::LOCKED) {
            state.check_lock(len, &by.bounds, Errno::EAGAIN)?;
        }
        let data = if prot.contains(Prot::WRITE) && !shared { len.saturating_sub(old) } else { 0 };
        state.check_growth(len - old.min(len), data, &by.bounds)?;

        let mut host_flags = if shared { MAP_SHARED } else { MAP_PRIVATE };
        host_flags |= ask.flags & (MAP_NORESERVE | MAP_STACK | MAP_POPULATE | MAP_NONBLOCK);
        if flags.contains(AreaFlags::LOCKED) && !flags.contains(AreaFlags::LOCK_ONFAULT) && !prot.is_empty() {
            host_flags |= MAP_POPULATE;
        }
        let write = max_prot.contains(Prot::WRITE) && shared;
        let mut rest = None;
        let (content, file) = match ask.file {
            Some(f) => {
                rest = f.rest;
                (
                    Content::File(FileContent { file: f.file, offset: f.offset, local: f.local }),
                    Some((Donation { file: f.fd, write }, f.host_offset)),
                )
            }
            None => {
                host_flags |= MAP_ANONYMOUS;
                (if shared { object::anonymous() } else { Content::Anonymous }, None)
            }
        };
        let mut work = Work::new(Answer::Value(range.start as i64));
        // Guest code maps memory in the arena by itself at any time: nothing of that may be replaced.
        if ask.flags & MAP_FIXED == 0 && state.arena.start < range.end && range.start < state.arena.end {
            host_flags |= MAP_FIXED_NOREPLACE;
            work.wish = !fixed;
        }
        // A stack has its room at once: it would not grow when the kernel process touches it.
        let range = if flags.contains(AreaFlags::GROWSDOWN) {
            host_flags |= MAP_NORESERVE;
            stack_room(state, &range, by.bounds.stack)..range.end
        } else {
            range
        };
        let op = work.map(&range, prot.bits(), host_flags, file);
        if let Some((len, file)) = rest.filter(|(len, _)| *len < range.end - range.start) {
            let over = host_flags & !MAP_FIXED_NOREPLACE;
            work.map(&(range.start + len..range.end), prot.bits(), over, Some((Donation { file, write }, 0)));
        }
        let old = state.map.replace(Area { range: range.clone(), prot, max_prot, flags, content, name: None });
        work.undo.push(op, range, old);
        Ok(work)
    }

    /// munmap(2).
    pub fn munmap(&mut self, addr: u64, len: u64, by: &Asker) -> Result<Work, Errno> {
        if len == 0 {
            return Err(Errno::EINVAL);
        }
        let state = self;
        let range = state.range(addr, len, Errno::EINVAL)?;
        state.check_sealed(&range)?;
        if state.map.is_free(&range) {
            return Ok(Work::none(0));
        }
        // A hole in the middle makes two areas of one.
        if state.map.splits(&range) == 2 && state.map.overlapping(&range).nth(1).is_none() {
            state.check_count(1)?;
        }
        let mut work = Work::new(Answer::Value(0));
        let op = work.call(nr::MUNMAP, [range.start, range.end - range.start, 0, 0, 0, 0]);
        state.unmap(range, by, &mut work.undo, op);
        Ok(work)
    }

    /// shmdt(2): unmaps what is left within `len` bytes of a mapping of all of `file` at `addr`.
    pub fn unmap_file(&mut self, addr: u64, len: u64, file: &Arc<File>, by: &Asker) -> Result<Work, Errno> {
        let range = self.range(addr, len, Errno::EINVAL)?;
        let parts: Vec<Range<u64>> = self
            .map
            .parts(&range)
            .into_iter()
            .filter(|a| match &a.content {
                Content::File(f) => Arc::ptr_eq(&f.file, file) && a.range.start - addr == f.offset,
                _ => false,
            })
            .map(|a| a.range)
            .collect();
        let mut work = Work::new(Answer::Value(0));
        for part in parts {
            self.check_sealed(&part)?;
            let op = work.call(nr::MUNMAP, [part.start, part.end - part.start, 0, 0, 0, 0]);
            self.unmap(part, by, &mut work.undo, op);
        }
        Ok(work)
    }

    /// brk(2): never fails, but gives the old break back.
    pub fn brk(&mut self, wanted: u64, by: &Asker) -> Work {
        let state = self;
        let old = state.heap.clone();
        let stay = Work::none(old.end as i64);
        if wanted < old.start || wanted > state.top {
            return stay;
        }
        let (Some(from), Some(to)) = (page_up(old.end), page_up(wanted)) else { return stay };
        let mut work = Work::new(Answer::Value(wanted as i64));
        work.on_failure = Some(old.end as i64);
        if to > from {
            let range = from..to;
            let mut flags = state.lock_future;
            flags.remove(AreaFlags::SHARED);
            let len = to - from;
            let locked = flags.contains(AreaFlags::LOCKED);
            if !state.map.is_free_for_hint(&range)
                || state.taken().iter().any(|t| t.start < to && from < t.end)
                || state.check_count(1).is_err()
                || state.check_growth(len, len, &by.bounds).is_err()
                || (locked && state.check_lock(len, &by.bounds, Errno::EAGAIN).is_err())
            {
                return stay;
            }
            let prot = Prot::READ | Prot::WRITE;
            let populate = if locked { MAP_POPULATE } else { 0 };
            let op = work.map(&range, prot.bits(), MAP_PRIVATE | MAP_ANONYMOUS | populate, None);
            let area = Area {
                range: range.clone(),
                prot,
                max_prot: Prot::all(),
                flags,
                content: Content::Anonymous,
                name: None,
            };
            work.undo.push(op, range, state.map.replace(area));
        } else if to < from {
            if state.check_sealed(&(to..from)).is_err() {
                return stay;
            }
            let op = work.call(nr::MUNMAP, [to, from - to, 0, 0, 0, 0]);
            state.unmap(to..from, by, &mut work.undo, op);
        }
        if !work.is_empty() {
            work.undo.heap = Some(old.clone());
        }
        state.heap = old.start..wanted;
        work
    }
}

/// Checks the file's rights; what mprotect(2) may set later.
fn file_rights(ask: &MapRequest, prot: Prot, shared: bool) -> Result<Prot, Errno> {
    let Some(f) = &ask.file else { return Ok(Prot::all()) };
    let may_write = f.may_write && f.file.writable();
    if !f.file.readable() || (shared && prot.contains(Prot::WRITE) && !may_write) {
        return Err(Errno::EACCES);
    }
    let mut max = Prot::all();
    if !f.may_exec {
        if prot.contains(Prot::EXEC) {
            return Err(Errno::EPERM);
        }
        max.remove(Prot::EXEC);
    }
    if shared && !may_write {
        max.remove(Prot::WRITE);
    }
    Ok(max)
}

/// The lowest address to which a stack may reach that is asked for at `range`: as far down as `limit` bytes and the map below allow.
fn stack_room(state: &State, range: &Range<u64>, limit: u64) -> u64 {
    const MOST: u64 = 64 << 20;
    let below = state.map.iter().rev().find(|a| a.range.start < range.start).map_or(LOW, |a| a.range.end);
    let floor = below.max(LOW).saturating_add(STACK_GUARD);
    let wanted = range.end.saturating_sub(page_down(limit.min(MOST)));
    wanted.max(floor).min(range.start)
}

fn fixed_range(state: &State, addr: u64, len: u64, flags: u32) -> Result<Range<u64>, Errno> {
    if !page_aligned(addr) {
        return Err(Errno::EINVAL);
    }
    let range = state.range(addr, len, Errno::ENOMEM)?;
    // Below vm.mmap_min_addr.
    if addr < LOW {
        return Err(Errno::EPERM);
    }
    if flags & MAP_FIXED_NOREPLACE != 0 && !state.map.is_free(&range) {
        return Err(Errno::EEXIST);
    }
    state.check_sealed(&range)?;
    Ok(range)
}

/// A place for a new map of `len` bytes: the wish where it is free, else below the others.
fn choose(state: &mut State, ask: &MapRequest, len: u64) -> Option<Range<u64>> {
    let taken = state.taken();
    let low_memory = ask.flags & MAP_32BIT != 0;
    let top = if low_memory { 0x8000_0000.min(state.top) } else { state.top };
    if ask.addr != 0
        && let wish = page_down(ask.addr).max(LOW)
        && let Some(end) = wish.checked_add(len).filter(|end| *end <= top)
        && state.map.is_free_for_hint(&(wish..end))
        && !taken.iter().any(|t| t.start < end && wish < t.end)
    {
        return Some(wish..end);
    }
    let at = if low_memory {
        state.map.gap_up(len, PAGE_SIZE, &(0x4000_0000..top), &taken)
    } else {
        // Anonymous memory of whole huge pages is placed so that it can be made of them.
        let huge = ask.file.is_none() && len.is_multiple_of(HUGE);
        let align = if huge { HUGE } else { PAGE_SIZE };
        place(state, len, align, &taken)
    }?;
    Some(at..at + len)
}

/// The highest free place below the base, else the lowest above it.
pub(super) fn place(state: &mut State, len: u64, align: u64, taken: &[Range<u64>]) -> Option<u64> {
    let below = LOW..state.base;
    let above = state.base..state.ceiling();
    state
        .map
        .gap_down(len, align, &below, taken)
        .or_else(|| state.map.gap_down(len, PAGE_SIZE, &below, taken))
        .or_else(|| state.map.gap_up(len, PAGE_SIZE, &above, taken))
}
