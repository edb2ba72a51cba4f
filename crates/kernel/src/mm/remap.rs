//! mremap(2): grow, shrink, move. The host moves the pages; the kernel chooses the place.

use super::area::{Area, AreaFlags, Content};
use super::mmap::place;
use super::state::{Asker, State};
use super::work::{Answer, Work};
use abi::Errno;
use abi::mm::*;
use abi::nr;
use platform::LOW;
use std::ops::Range;

/// What mremap(2) is asked for.
#[derive(Clone, Copy, Debug)]
pub struct RemapRequest {
    pub addr: u64,
    pub old_len: u64,
    pub new_len: u64,
    /// MREMAP_*
    pub flags: u32,
    /// The place, with MREMAP_FIXED; a wish with MREMAP_DONTUNMAP.
    pub new_addr: u64,
}

impl State {
    /// mremap(2). EFAULT where the old range is not one area, ENOMEM where there is no room or a limit is reached.
    pub fn mremap(&mut self, ask: RemapRequest, by: &Asker) -> Result<Work, Errno> {
        let RemapRequest { addr, flags, .. } = ask;
        let (fixed, may_move) = (flags & MREMAP_FIXED != 0, flags & MREMAP_MAYMOVE != 0);
        let keep = flags & MREMAP_DONTUNMAP != 0;
        if flags & !(MREMAP_FIXED | MREMAP_MAYMOVE | MREMAP_DONTUNMAP) != 0
            || (fixed && !may_move)
            || (keep && (!may_move || page_up(ask.old_len) != page_up(ask.new_len)))
            || !page_aligned(addr)
        {
            return Err(Errno::EINVAL);
        }
        let old_len = page_up(ask.old_len).ok_or(Errno::EINVAL)?;
        let new_len = page_up(ask.new_len).filter(|len| *len != 0).ok_or(Errno::EINVAL)?;
        let state = self;
        let target = if fixed || keep { Some(state.range(ask.new_addr, new_len, Errno::EINVAL)?) } else { None };
        if target.as_ref().is_some_and(|to| to.start < addr.saturating_add(old_len) && addr < to.end) {
            return Err(Errno::EINVAL);
        }
        let old = state.range(addr, old_len, Errno::EFAULT)?;
        let area = state.map.find(addr).ok_or(Errno::EFAULT)?.clone();
        if area.flags.contains(AreaFlags::SEALED) {
            return Err(Errno::EPERM);
        }
        if old_len == 0 && !area.shared() {
            return Err(Errno::EINVAL);
        }
        if let Some(to) = target.clone().filter(|_| fixed) {
            if to.start < LOW {
                return Err(Errno::EPERM);
            }
            state.check_sealed(&to)?;
            return move_to(state, &area, old, to, keep, by);
        }
        if new_len < old_len {
            return shrink(state, old.start + new_len..old.end, addr, by);
        }
        if old.end > area.range.end {
            return Err(Errno::EFAULT);
        }
        if new_len == old_len && !keep {
            return Ok(Work::none(addr as i64));
        }
        let more = old.end..addr.checked_add(new_len).ok_or(Errno::EINVAL)?;
        let taken = state.taken();
        let room = !keep
            && old_len != 0
            && old.end == area.range.end
            && more.end <= state.top
            && is_left(state, &more, &taken);
        if room {
            return grow(state, &area, old, more, by);
        }
        if !may_move {
            return Err(Errno::ENOMEM);
        }
        let wish = target.filter(|to| to.start >= LOW && is_left(state, to, &taken));
        let to = match wish {
            Some(to) => to,
            None => {
                let at = place(state, new_len, PAGE_SIZE, &taken).ok_or(Errno::ENOMEM)?;
                at..at + new_len
            }
        };
        move_to(state, &area, old, to, keep, by)
    }
}

/// Whether a new map may take `range`.
fn is_left(state: &State, range: &Range<u64>, taken: &[Range<u64>]) -> bool {
    state.map.is_free_for_hint(range) && !taken.iter().any(|t| t.start < range.end && range.start < t.end)
}

/// Gives the tail back.
fn shrink(state: &mut State, tail: Range<u64>, addr: u64, by: &Asker) -> Result<Work, Errno> {
    state.check_sealed(&tail)?;
    state.check_count(1)?;
    let mut work = Work::new(Answer::Value(addr as i64));
    let op = work.call(nr::MUNMAP, [tail.start, tail.end - tail.start, 0, 0, 0, 0]);
    state.unmap(tail, by, &mut work.undo, op);
    Ok(work)
}

/// Checks limits for `more` bytes of `area`'s kind.
fn check_more(state: &State, area: &Area, more: u64, by: &Asker) -> Result<(), Errno> {
    if area.flags.contains(AreaFlags::LOCKED) {
        state.check_lock(more, &by.bounds, Errno::EAGAIN)?;
    }
    state.check_growth(more, if area.is_data() { more } else { 0 }, &by.bounds)
}

/// EINVAL where the file's offsets would not reach that far; ENOMEM where something else follows its pages on the host.
fn check_offset(area: &Area, addr: u64, len: u64) -> Result<(), Errno> {
    if let Content::File(f) = &area.content {
        let longer = addr.checked_add(len).is_none_or(|end| end > area.range.end);
        if longer && f.file.ops.mappable().is_some_and(|file| !file.may_grow()) {
            return Err(Errno::ENOMEM);
        }
        let end = f.offset.checked_add(addr - area.range.start).and_then(|at| at.checked_add(len));
        if end.is_none_or(|end| end > i64::MAX as u64) {
            return Err(Errno::EINVAL);
        }
    }
    Ok(())
}

/// Grows in place.
fn grow(state: &mut State, area: &Area, old: Range<u64>, more: Range<u64>, by: &Asker) -> Result<Work, Errno> {
    check_offset(area, old.start, more.end - old.start)?;
    check_more(state, area, more.end - more.start, by)?;
    let mut work = Work::new(Answer::Value(old.start as i64));
    let op = work.call(nr::MREMAP, [old.start, old.end - old.start, more.end - old.start, 0, 0, 0]);
    let mut longer = area.clone();
    longer.range.end = more.end;
    let before = state.map.replace(longer);
    work.undo.push(op, area.range.start..more.end, before);
    if area.flags.contains(AreaFlags::LOCKED) && !area.flags.contains(AreaFlags::LOCK_ONFAULT) {
        work.try_call(nr::MADVISE, [more.start, more.end - more.start, MADV_POPULATE_READ.into(), 0, 0, 0]);
    }
    Ok(work)
}

/// Moves `old` to `to`, over whatever is there. An `old` of no length makes a second mapping of shared memory.
fn move_to(
    state: &mut State,
    area: &Area,
    old: Range<u64>,
    to: Range<u64>,
    keep: bool,
    by: &Asker,
) -> Result<Work, Errno> {
    let len = to.end - to.start;
    // More than the old range asks for is given back before the move, as far as it reaches.
    let moved = old.start..old.end.min(old.start.saturating_add(len));
    if moved.end > area.range.end {
        return Err(Errno::EFAULT);
    }
    let twice = moved.is_empty();
    check_offset(area, old.start, len)?;
    let stays = keep || twice;
    check_more(state, area, if stays { len } else { len.saturating_sub(moved.end - moved.start) }, by)?;
    state.check_count(4)?;

    let mut work = Work::new(Answer::Value(to.start as i64));
    if old.end > moved.end {
        state.check_sealed(&(moved.end..old.end))?;
        let op = work.call(nr::MUNMAP, [moved.end, old.end - moved.end, 0, 0, 0, 0]);
        state.unmap(moved.end..old.end, by, &mut work.undo, op);
    }
    let dont_unmap = if keep { MREMAP_DONTUNMAP } else { 0 };
    let flags = MREMAP_MAYMOVE | MREMAP_FIXED | dont_unmap;
    let op = work.call(nr::MREMAP, [old.start, moved.end - moved.start, len, flags.into(), to.start, 0]);
    let mut target = area.cut(&(old.start..area.range.end));
    target.range = to.clone();
    if keep {
        // What stays behind is empty and no longer locked.
        let before = state.map.modify(&moved, |a| a.flags.remove(AreaFlags::LOCKED | AreaFlags::LOCK_ONFAULT));
        work.undo.push(op, moved, before);
    } else if !twice {
        state.unmap(moved, by, &mut work.undo, op);
    }
    let before = state.map.replace(target);
    work.undo.push(op, to, before);
    Ok(work)
}
