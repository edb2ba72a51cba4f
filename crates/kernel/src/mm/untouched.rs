//! Writes to guest memory that nobody has touched yet, in a container with a limit of memory: the guest's own thread makes them.
//!
//! A page that comes to be while the kernel process writes into a stub is charged to the container, with the stub's memory held meanwhile. At the limit the host's
//! OOM killer ends the stub, whose memory is not let go because it is held, and then the kernel process. A stub that touches its own memory is ended alone.
//! (docs/platform.md, "Memory limits".) So the bytes of such a write are kept until the call has its value, and the stub copies them (`task::drive`). What has been touched is written at once.
//! Neighbours: `mod` asks at each write, `buffers` gives less at a time than it could. Owns no locks: the state is the host thread's.

use super::{Content, Mm};
use abi::mm::Prot;
use platform::Op;
use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Bytes that are kept for one run of a call; a call that has more for the guest goes on in another run.
const MOST: usize = 1 << 20;
/// What may go beyond that: structures beside the data.
const SMALL: usize = 4096;
const PAGE: u64 = 4096;
/// Bits of /proc/PID/pagemap, proc_pid_pagemap(5): in memory; a file's or shared; mapped here alone.
const PRESENT: u64 = 1 << 63;
const FILE: u64 = 1 << 61;
const EXCLUSIVE: u64 = 1 << 56;
/// Pages that a host thread knows to be touched. One that is not so any more is written unprotected.
const KNOWN: usize = 256;

static ON: AtomicBool = AtomicBool::new(false);

/// The container has a limit of memory.
pub fn set_limited() {
    ON.store(true, Relaxed);
}

/// What a run of a call left to its stub.
pub struct Left {
    mm: Arc<Mm>,
    pieces: Vec<(u64, Vec<u8>)>,
    bytes: usize,
    /// There was more than is kept at once.
    cut: bool,
    /// The call has to be run again for the rest.
    pub again: bool,
}

thread_local! {
    static LEFT: RefCell<Option<Left>> = const { RefCell::new(None) };
    static TOUCHED: RefCell<[(usize, u64); KNOWN]> = const { RefCell::new([(0, 0); KNOWN]) };
}

/// A task of this address space begins to run a call on this host thread.
pub(crate) fn begin(mm: impl FnOnce() -> Option<Arc<Mm>>) {
    if ON.load(Relaxed) {
        let left = mm().map(|mm| Left { mm, pieces: Vec::new(), bytes: 0, cut: false, again: false });
        LEFT.set(left);
    }
}

/// The run is over.
pub(crate) fn finish() -> Option<Left> {
    if ON.load(Relaxed) { LEFT.take().filter(|left| !left.pieces.is_empty()) } else { None }
}

/// A call that moves all that it is asked for, such as a read of what is no stream, goes on with the rest that did not fit.
pub fn go_on_if_cut() {
    if ON.load(Relaxed) {
        LEFT.with_borrow_mut(|left| {
            if let Some(left) = left {
                left.again = left.cut;
            }
        });
    }
}

/// Keeps a prefix of a write for the stub and says how long it is; None: it is to be made now.
pub(super) fn write(mm: &Mm, at: u64, from: &[u8]) -> Option<usize> {
    if !ON.load(Relaxed) {
        return None;
    }
    LEFT.with_borrow_mut(|left| {
        let left = left.as_mut().filter(|left| std::ptr::eq(left.mm.as_ref(), mm))?;
        let touched = || mm.is_in_file(at, from.len()) || is_touched(mm, at, from.len());
        if !left.meets(at, from.len()) && touched() {
            return None;
        }
        let there = mm.mapped_writable(at, from.len());
        let room = if there <= SMALL { there } else { there.min(MOST.saturating_sub(left.bytes)) };
        left.cut |= room < there;
        left.bytes += room;
        let kept = from.get(..room).filter(|kept| !kept.is_empty());
        left.pieces.extend(kept.map(|kept| (at, kept.to_vec())));
        Some(room)
    })
}

/// Guest memory is about to be read.
pub(super) fn before_read(mm: &Mm, at: u64, len: usize) {
    if !ON.load(Relaxed) {
        return;
    }
    LEFT.with_borrow_mut(|left| {
        if let Some(left) = left.as_mut().filter(|left| std::ptr::eq(left.mm.as_ref(), mm) && left.meets(at, len)) {
            left.bring();
        }
    });
}

impl Left {
    /// What the stub does.
    pub(crate) fn into_ops(self) -> Vec<Op> {
        self.pieces.into_iter().map(|(addr, bytes)| Op::Copy { addr, bytes }).collect()
    }

    /// Writes all of it now, unprotected: the call goes on otherwise than by a value.
    pub(crate) fn bring(&mut self) {
        for (at, bytes) in self.pieces.drain(..) {
            let _ = self.mm.space.write(at, &bytes);
        }
        self.bytes = 0;
    }

    fn meets(&self, at: u64, len: usize) -> bool {
        self.pieces.iter().any(|(start, bytes)| *start < at + len as u64 && at < *start + bytes.len() as u64)
    }
}

fn is_touched(mm: &Mm, at: u64, len: usize) -> bool {
    let pages = at / PAGE..(at + len as u64).div_ceil(PAGE);
    let key = std::ptr::from_ref(mm).addr();
    let slot = |page: u64| (page as usize ^ key >> 4) % KNOWN;
    let known = |page: u64| TOUCHED.with_borrow(|all| all.get(slot(page)) == Some(&(key, page)));
    if pages.clone().all(known) {
        return true;
    }
    for first in pages.clone().step_by(512) {
        let mut words = vec![0; (pages.end - first).min(512) as usize];
        if mm.space.pagemap(first, &mut words).is_none() {
            return true; // it has ended, or there is no procfs to ask
        }
        for (page, word) in (first..).zip(words) {
            let alone = word & EXCLUSIVE != 0 || word & FILE != 0 && mm.is_shared(page * PAGE);
            if word & PRESENT == 0 || !alone {
                return false;
            }
            TOUCHED.with_borrow_mut(|all| {
                if let Some(entry) = all.get_mut(slot(page)) {
                    *entry = (key, page);
                }
            });
        }
    }
    true
}

impl Mm {
    /// Whether some of it lies in the mapping of a file: a write there can fail, which the call has to know before it goes on.
    fn is_in_file(&self, at: u64, len: usize) -> bool {
        let range = at..at + len as u64;
        self.state.lock().map.overlapping(&range).any(|area| matches!(area.content, Content::File(_)))
    }

    fn is_shared(&self, at: u64) -> bool {
        self.state.lock().map.find(at).is_some_and(|area| area.shared())
    }

    /// How much of a range, which the map allows to be written, is really there: in the arena the host has to be asked.
    fn mapped_writable(&self, at: u64, len: usize) -> usize {
        let arena = self.state.lock().arena.clone();
        let end = at + len as u64;
        if end <= arena.start || arena.end <= at {
            return len;
        }
        let Some(maps) = platform::block_in_place(|| self.space.arena_maps()) else { return len };
        let writable = maps.into_iter().filter(|map| map.prot & Prot::WRITE.bits() != 0).map(|map| map.range);
        (reached(at, end, &arena, writable) - at) as usize
    }
}

/// How far from `at` on the ranges, which rise, leave no gap inside the arena.
fn reached(at: u64, end: u64, arena: &Range<u64>, ranges: impl Iterator<Item = Range<u64>>) -> u64 {
    let mut here = at.max(arena.start);
    let goal = end.min(arena.end);
    for range in ranges {
        if range.contains(&here) {
            here = range.end;
        }
    }
    if here >= goal { end } else { here.max(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps() {
        let arena = 100..200;
        let at = |from, to, ranges: &[(u64, u64)]| reached(from, to, &arena, ranges.iter().map(|r| r.0..r.1));
        assert_eq!(at(110, 120, &[(100, 150)]), 120);
        assert_eq!(at(110, 160, &[(100, 150)]), 150);
        assert_eq!(at(110, 160, &[(100, 150), (150, 200)]), 160);
        assert_eq!(at(110, 160, &[(100, 150), (151, 200)]), 150);
        assert_eq!(at(110, 120, &[]), 110);
        assert_eq!(at(110, 120, &[(130, 140)]), 110);
        assert_eq!(at(90, 120, &[]), 100);
        assert_eq!(at(90, 120, &[(100, 120)]), 120);
        assert_eq!(at(190, 220, &[(180, 200)]), 220);
        assert_eq!(at(190, 220, &[(180, 195)]), 195);
    }
}
