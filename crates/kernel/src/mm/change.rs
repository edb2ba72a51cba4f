//! mprotect(2), madvise(2), mlock(2) and its kind, msync(2), mincore(2), prctl(2) PR_SET_VMA.

use super::area::{Area, AreaFlags, Content};
use super::state::{Asker, State};
use super::work::{Answer, Work};
use crate::vfs::File;
use abi::Errno;
use abi::mm::*;
use abi::nr;
use std::ops::Range;
use std::sync::Arc;

/// A file and the range of it that is mapped.
pub type FileRange = (Arc<crate::vfs::File>, Range<u64>);

impl State {
    /// mprotect(2). ENOMEM for a hole and EACCES for a lack of rights, after what comes before has changed.
    pub fn mprotect(&mut self, addr: u64, len: u64, prot: u32, by: &Asker) -> Result<Work, Errno> {
        let grows = prot & (PROT_GROWSDOWN | PROT_GROWSUP);
        if grows == PROT_GROWSDOWN | PROT_GROWSUP
            || !page_aligned(addr)
            || prot & !(PROT_READ | PROT_WRITE | PROT_EXEC | PROT_SEM | PROT_GROWSDOWN | PROT_GROWSUP) != 0
        {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(Work::none(0));
        }
        let state = self;
        let mut range = state.range(addr, len, Errno::ENOMEM)?;
        let first = state.map.overlapping(&range).next().ok_or(Errno::ENOMEM)?;
        if grows == PROT_GROWSDOWN {
            if !first.flags.contains(AreaFlags::GROWSDOWN) {
                return Err(Errno::EINVAL);
            }
            range.start = first.range.start;
        } else if grows == PROT_GROWSUP {
            // No area of x86-64 grows up.
            return Err(Errno::EINVAL);
        }
        state.check_sealed(&range)?;
        let new = Prot::from_bits_truncate(prot);
        // What comes before a hole, or before an area without the right, is changed all the same.
        let (mut data, mut end, mut answer) = (0, range.start, Ok(()));
        for area in state.map.parts(&range) {
            if area.range.start > end {
                break;
            }
            if !area.max_prot.contains(new) {
                answer = Err(Errno::EACCES);
                break;
            }
            let becomes_data = new.contains(Prot::WRITE)
                && !area.prot.contains(Prot::WRITE)
                && !area.shared()
                && !area.flags.contains(AreaFlags::GROWSDOWN);
            data += if becomes_data { area.len() } else { 0 };
            end = area.range.end;
        }
        if answer.is_ok() && end < range.end {
            answer = Err(Errno::ENOMEM);
        }
        range.end = end;
        if range.is_empty() {
            return answer.map(|()| Work::none(0));
        }
        if data > 0 {
            state.check_growth(0, data, &by.bounds)?;
        }
        state.check_count(state.map.splits(&range))?;
        let mut work = Work::new(Answer::Value(answer.map_or_else(Errno::ret, |()| 0)));
        let op = work.call(nr::MPROTECT, [range.start, range.end - range.start, new.bits().into(), 0, 0, 0]);
        let old = state.map.modify(&range, |a| a.prot = new);
        work.undo.push(op, range, old);
        Ok(work)
    }

    /// madvise(2). EINVAL for advice that stockade does not know, as by a kernel built without it: MADV_MERGEABLE, MADV_COLLAPSE,
    /// MADV_HWPOISON, MADV_GUARD_INSTALL. MADV_REMOVE is the caller's business where a file is behind (`removable`).
    pub fn madvise(&mut self, addr: u64, len: u64, advice: u32) -> Result<Work, Errno> {
        let known = matches!(
            advice,
            MADV_NORMAL
                | MADV_RANDOM
                | MADV_SEQUENTIAL
                | MADV_WILLNEED
                | MADV_DONTNEED
                | MADV_FREE
                | MADV_DONTFORK
                | MADV_DOFORK
                | MADV_HUGEPAGE
                | MADV_NOHUGEPAGE
                | MADV_DONTDUMP
                | MADV_DODUMP
                | MADV_WIPEONFORK
                | MADV_KEEPONFORK
                | MADV_COLD
                | MADV_PAGEOUT
                | MADV_POPULATE_READ
                | MADV_POPULATE_WRITE
                | MADV_DONTNEED_LOCKED
        );
        if !known {
            return Err(Errno::EINVAL);
        }
        let state = self;
        if !page_aligned(addr) || page_up(len).and_then(|len| addr.checked_add(len)).is_none() {
            return Err(Errno::EINVAL);
        }
        if len == 0 {
            return Ok(Work::none(0));
        }
        let whole = state.range(addr, len, Errno::ENOMEM)?;
        let hole = !state.map.covers(&whole);
        // Other advice is for what lies behind a hole as well.
        let populates = matches!(advice, MADV_POPULATE_READ | MADV_POPULATE_WRITE);
        let range = if populates { state.map.until_hole(&whole) } else { whole };
        let parts = state.map.parts(&range);
        for area in &parts {
            check_advice(area, advice)?;
            // A sealed area that cannot be written must keep its contents.
            let drops = matches!(advice, MADV_DONTNEED | MADV_DONTNEED_LOCKED | MADV_FREE | MADV_WIPEONFORK);
            let anonymous = matches!(area.content, Content::Anonymous | Content::SharedAnonymous { .. });
            if drops && anonymous && area.flags.contains(AreaFlags::SEALED) && !area.prot.contains(Prot::WRITE) {
                return Err(Errno::EPERM);
            }
        }
        let change = flag_change(advice);
        if change.is_some() {
            state.check_count(state.map.splits(&range))?;
        }
        let mut work = Work::new(if hole { Answer::Value(Errno::ENOMEM.ret()) } else { Answer::Value(0) });
        let keeps_host_out = matches!(advice, MADV_DONTDUMP | MADV_DODUMP);
        let mut ranges = if hole { joined(&parts) } else { vec![range.clone()] };
        if keeps_host_out {
            ranges.clear();
        }
        // Hints may go unheard; what has an effect may not.
        let must = matches!(
            advice,
            MADV_DONTNEED
                | MADV_DONTNEED_LOCKED
                | MADV_FREE
                | MADV_DONTFORK
                | MADV_DOFORK
                | MADV_WIPEONFORK
                | MADV_KEEPONFORK
                | MADV_POPULATE_READ
                | MADV_POPULATE_WRITE
        );
        // The host knows nothing of locked memory; and the platform's filter lets no guest push pages out, which costs other
        // tenants' disk bandwidth: they are made the first to go instead.
        let host_advice = match advice {
            MADV_DONTNEED_LOCKED => MADV_DONTNEED,
            MADV_PAGEOUT => MADV_COLD,
            other => other,
        };
        for part in ranges {
            let args = [part.start, part.end - part.start, host_advice.into(), 0, 0, 0];
            if must {
                work.call(nr::MADVISE, args);
            } else {
                work.try_call(nr::MADVISE, args);
            }
        }
        if let Some((set, clear)) = change {
            let old = state.map.modify(&range, |a| {
                a.flags.remove(clear);
                a.flags.insert(set);
            });
            work.undo.push(0, range, old);
        }
        Ok(work)
    }

    /// The file behind a shared range for madvise(2) MADV_REMOVE, which punches a hole into it: file and its range, part by part.
    pub fn removable(&self, addr: u64, len: u64) -> Result<Vec<FileRange>, Errno> {
        let state = self;
        let range = state.range(addr, len, Errno::EINVAL)?;
        let mut files = Vec::new();
        for area in state.map.parts(&range) {
            match &area.content {
                Content::File(f) if !area.flags.contains(AreaFlags::LOCKED) => {
                    if !area.shared() || !area.max_prot.contains(Prot::WRITE) {
                        return Err(Errno::EACCES);
                    }
                    files.push((f.file.clone(), f.offset..f.offset.saturating_add(area.len())));
                }
                _ => return Err(Errno::EINVAL),
            }
        }
        if state.map.covers(&range) { Ok(files) } else { Err(Errno::ENOMEM) }
    }

    /// mlock(2) and mlock2(2): counts the range as locked and faults it in; ENOMEM for a hole, after what comes before has been locked. The host is not asked to lock.
    pub fn mlock(&mut self, addr: u64, len: u64, on_fault: bool, by: &Asker) -> Result<Work, Errno> {
        let state = self;
        let Some(range) = lock_range(state, addr, len)? else { return Ok(Work::none(0)) };
        // Holes count, too.
        let locked = |a: &Area| if a.flags.contains(AreaFlags::LOCKED) { a.len() } else { 0 };
        let new = range.end - range.start - state.map.parts(&range).iter().map(locked).sum::<u64>();
        state.check_lock(new, &by.bounds, Errno::ENOMEM)?;
        let there = state.map.until_hole(&range);
        state.check_count(state.map.splits(&there))?;
        state.map.modify(&there, |a| {
            a.flags.insert(AreaFlags::LOCKED);
            a.flags.set(AreaFlags::LOCK_ONFAULT, on_fault);
        });
        if there != range {
            return Ok(Work::none(Errno::ENOMEM.ret()));
        }
        let mut work = Work::new(Answer::Value(0));
        if !on_fault {
            let mut parts = state.map.parts(&range);
            if let Some(first) = parts.iter().position(|a| a.prot.is_empty()) {
                work = Work::new(Answer::Value(Errno::ENOMEM.ret()));
                parts.truncate(first);
            }
            work.on_failure = Some(Errno::ENOMEM.ret());
            populate(&mut work, &parts, Populate::Must);
        }
        Ok(work)
    }

    /// munlock(2). ENOMEM for a hole, as for mlock(2).
    pub fn munlock(&mut self, addr: u64, len: u64) -> Result<(), Errno> {
        let state = self;
        let Some(range) = lock_range(state, addr, len)? else { return Ok(()) };
        let there = state.map.until_hole(&range);
        state.check_count(state.map.splits(&there))?;
        state.map.modify(&there, |a| a.flags.remove(AreaFlags::LOCKED | AreaFlags::LOCK_ONFAULT));
        if there == range { Ok(()) } else { Err(Errno::ENOMEM) }
    }

    /// mlockall(2): `flags` are MCL_*.
    pub fn mlockall(&mut self, flags: u32, by: &Asker) -> Result<Work, Errno> {
        if flags == 0 || flags & !(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0 || flags == MCL_ONFAULT {
            return Err(Errno::EINVAL);
        }
        let state = self;
        if !by.bounds.can_lock {
            if by.bounds.memlock == 0 {
                return Err(Errno::EPERM);
            }
            if flags & MCL_CURRENT != 0 && state.map.totals().size > by.bounds.memlock {
                return Err(Errno::ENOMEM);
            }
        }
        let mut lock = AreaFlags::LOCKED;
        lock.set(AreaFlags::LOCK_ONFAULT, flags & MCL_ONFAULT != 0);
        state.lock_future = if flags & MCL_FUTURE != 0 { lock } else { AreaFlags::empty() };
        let mut work = Work::new(Answer::Value(0));
        if flags & MCL_CURRENT != 0 {
            let all = 0..state.top;
            state.map.modify(&all, |a| {
                if !a.flags.contains(AreaFlags::SEALED) {
                    a.flags.remove(AreaFlags::LOCK_ONFAULT);
                    a.flags.insert(lock);
                }
            });
            if flags & MCL_ONFAULT == 0 {
                populate(&mut work, &state.map.parts(&all), Populate::May);
            }
        }
        Ok(work)
    }

    /// munlockall(2).
    pub fn munlockall(&mut self) {
        let state = self;
        state.lock_future = AreaFlags::empty();
        let all = 0..state.top;
        state.map.modify(&all, |a| a.flags.remove(AreaFlags::LOCKED | AreaFlags::LOCK_ONFAULT));
    }

    /// msync(2): the host writes shared file pages out.
    pub fn msync(&self, addr: u64, len: u64, flags: u32) -> Result<Work, Errno> {
        let known = MS_ASYNC | MS_INVALIDATE | MS_SYNC;
        if flags & !known != 0 || flags & (MS_ASYNC | MS_SYNC) == MS_ASYNC | MS_SYNC || !page_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let state = self;
        let range = state.range(addr, len, Errno::ENOMEM)?;
        if range.is_empty() {
            return Ok(Work::none(0));
        }
        let parts = state.map.parts(&range);
        if flags & MS_INVALIDATE != 0 && parts.iter().any(|a| a.flags.contains(AreaFlags::LOCKED)) {
            return Err(Errno::EBUSY);
        }
        let hole = !state.map.covers(&range);
        let mut work = Work::new(Answer::Value(if hole { Errno::ENOMEM.ret() } else { 0 }));
        if flags & MS_SYNC != 0 {
            for area in parts.iter().filter(|a| a.shared() && matches!(a.content, Content::File(_))) {
                work.call(nr::MSYNC, [area.range.start, area.len(), MS_SYNC.into(), 0, 0, 0]);
            }
        }
        Ok(work)
    }

    /// The files of which parts of a range are shared mappings.
    pub fn shared_files(&self, addr: u64, len: u64) -> Vec<Arc<File>> {
        let mut files: Vec<Arc<File>> = Vec::new();
        let Ok(range) = self.range(addr, len, Errno::ENOMEM) else { return files };
        for area in self.map.parts(&range).into_iter().filter(Area::shared) {
            if let Content::File(f) = area.content
                && !files.iter().any(|known| Arc::ptr_eq(known, &f.file))
            {
                files.push(f.file);
            }
        }
        files
    }

    /// mincore(2): the host fills the guest's vector at `into`, which must be writable.
    pub fn mincore(&self, addr: u64, len: u64, into: u64) -> Result<Work, Errno> {
        if !page_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let state = self;
        let range = state.range(addr, len, Errno::ENOMEM)?;
        let pages = (range.end - range.start) / PAGE_SIZE;
        let vector_end = into.checked_add(pages).filter(|end| *end <= state.top).ok_or(Errno::EFAULT)?;
        if pages == 0 {
            return Ok(Work::none(0));
        }
        if !state.map.covers(&range) {
            return Err(Errno::ENOMEM);
        }
        let mut at = into;
        for area in state.map.overlapping(&(into..vector_end)) {
            if area.range.start > at || !area.prot.contains(Prot::WRITE) {
                break;
            }
            at = area.range.end;
        }
        if at < vector_end {
            return Err(Errno::EFAULT);
        }
        let mut work = Work::new(Answer::Last);
        work.call(nr::MINCORE, [range.start, range.end - range.start, into, 0, 0, 0]);
        Ok(work)
    }

    /// mseal(2): nothing changes the range's areas any more. ENOMEM for a hole. In the arena the host must see to it: ENOSYS before its Linux 6.10.
    pub fn mseal(&mut self, addr: u64, len: u64) -> Result<Work, Errno> {
        if !page_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let range = self.range(addr, len, Errno::ENOMEM)?;
        if !self.map.covers(&range) {
            return Err(Errno::ENOMEM);
        }
        self.check_count(self.map.splits(&range))?;
        let mut work = Work::new(Answer::Value(0));
        let own = range.start.max(self.arena.start)..range.end.min(self.arena.end);
        if !own.is_empty() {
            work.call(nr::MSEAL, [own.start, own.end - own.start, 0, 0, 0, 0]);
            self.sealed_by_host = true;
        }
        let old = self.map.modify(&range, |a| a.flags.insert(AreaFlags::SEALED));
        work.undo.push(0, range, old);
        Ok(work)
    }

    /// prctl(2) PR_SET_VMA_ANON_NAME: names private anonymous memory; None takes the name away.
    pub fn set_name(&mut self, addr: u64, len: u64, name: Option<&str>) -> Result<(), Errno> {
        let state = self;
        if !page_aligned(addr) {
            return Err(Errno::EINVAL);
        }
        let range = state.range(addr, len, Errno::ENOMEM)?;
        if state
            .map
            .parts(&range)
            .iter()
            .any(|a| !matches!(a.content, Content::Anonymous | Content::SharedAnonymous { .. }))
        {
            return Err(Errno::EBADF);
        }
        state.check_count(state.map.splits(&range))?;
        let name: Option<Arc<str>> = name.map(Arc::from);
        let covered = state.map.covers(&range);
        state.map.modify(&range, |a| a.name.clone_from(&name));
        if covered { Ok(()) } else { Err(Errno::ENOMEM) }
    }
}

/// The pages that a lock of `len` bytes at `addr` touches; None where there is none.
fn lock_range(state: &State, addr: u64, len: u64) -> Result<Option<Range<u64>>, Errno> {
    let len = len.checked_add(addr & (PAGE_SIZE - 1)).ok_or(Errno::EINVAL)?;
    if page_up(len).and_then(|len| page_down(addr).checked_add(len)).is_none() {
        return Err(Errno::EINVAL);
    }
    let range = state.range(page_down(addr), len, Errno::ENOMEM)?;
    Ok((!range.is_empty()).then_some(range))
}

/// Whether the call that faults areas in fails where that does.
#[derive(Clone, Copy, PartialEq)]
enum Populate {
    May,
    Must,
}

/// Faults accessible areas in.
fn populate(work: &mut Work, areas: &[Area], how: Populate) {
    for area in areas {
        if matches!(area.content, Content::Special(_)) {
            continue;
        }
        let advice = match (area.prot.contains(Prot::WRITE) && !area.shared(), area.prot.contains(Prot::READ)) {
            (true, _) => MADV_POPULATE_WRITE,
            (false, true) => MADV_POPULATE_READ,
            (false, false) => continue,
        };
        let args = [area.range.start, area.len(), advice.into(), 0, 0, 0];
        match how {
            Populate::May => work.try_call(nr::MADVISE, args),
            Populate::Must => drop(work.call(nr::MADVISE, args)),
        }
    }
}

/// EINVAL where advice does not fit an area.
fn check_advice(area: &Area, advice: u32) -> Result<(), Errno> {
    let anonymous = matches!(area.content, Content::Anonymous);
    let special = matches!(area.content, Content::Special(_));
    let locked = area.flags.contains(AreaFlags::LOCKED);
    let fits = match advice {
        MADV_DONTNEED | MADV_COLD | MADV_PAGEOUT => !locked && !special,
        MADV_DONTNEED_LOCKED => !special,
        MADV_FREE => anonymous && !locked,
        MADV_WIPEONFORK => anonymous,
        MADV_DOFORK | MADV_DODUMP | MADV_DONTFORK | MADV_POPULATE_READ | MADV_POPULATE_WRITE => !special,
        _ => true,
    };
    if fits { Ok(()) } else { Err(Errno::EINVAL) }
}

/// The flags that an advice sets and clears.
fn flag_change(advice: u32) -> Option<(AreaFlags, AreaFlags)> {
    let none = AreaFlags::empty();
    let access = AreaFlags::SEQUENTIAL | AreaFlags::RANDOM;
    let huge = AreaFlags::HUGEPAGE | AreaFlags::NOHUGEPAGE;
    Some(match advice {
        MADV_NORMAL => (none, access),
        MADV_RANDOM => (AreaFlags::RANDOM, access),
        MADV_SEQUENTIAL => (AreaFlags::SEQUENTIAL, access),
        MADV_DONTFORK => (AreaFlags::DONTFORK, none),
        MADV_DOFORK => (none, AreaFlags::DONTFORK),
        MADV_WIPEONFORK => (AreaFlags::WIPEONFORK, none),
        MADV_KEEPONFORK => (none, AreaFlags::WIPEONFORK),
        MADV_DONTDUMP => (AreaFlags::DONTDUMP, none),
        MADV_DODUMP => (none, AreaFlags::DONTDUMP),
        MADV_HUGEPAGE => (AreaFlags::HUGEPAGE, huge),
        MADV_NOHUGEPAGE => (AreaFlags::NOHUGEPAGE, huge),
        _ => return None,
    })
}

/// The ranges of areas, those that touch made one.
fn joined(parts: &[Area]) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for part in parts {
        match out.last_mut() {
            Some(last) if last.end == part.range.start => last.end = part.range.end,
            _ => out.push(part.range.clone()),
        }
    }
    out
}
