//! The ordered map of an address space's areas: lookup, split and merge, gaps. No locks; `Mm` holds one around it.
//!
//! The search for a gap from the top remembers where it ended and the largest hole above that, so that a long row of maps is
//! not walked anew each time; what it finds is always the highest gap that fits.

use super::area::{Area, AreaFlags, Content};
use crate::vfs::File;
use abi::mm::Prot;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Bytes by kind, for limits and /proc/PID/status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// VmSize.
    pub size: u64,
    /// VmData: private, writable, no stack.
    pub data: u64,
    /// VmStk.
    pub stack: u64,
    /// VmExe and VmLib together: private, executable, not writable.
    pub exec: u64,
    pub shared: u64,
    /// VmLck.
    pub locked: u64,
}

/// The areas of an address space.
#[derive(Clone, Default)]
pub struct AreaMap {
    areas: BTreeMap<u64, Area>,
    totals: Totals,
    /// Above this address no hole is larger than `hole` (as seen from `top`, the ceiling of the last search).
    cursor: u64,
    hole: u64,
    top: u64,
}

impl AreaMap {
    pub fn len(&self) -> usize {
        self.areas.len()
    }

    pub fn is_empty(&self) -> bool {
        self.areas.is_empty()
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// All areas, rising.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Area> {
        self.areas.values()
    }

    /// The area that holds `at`.
    pub fn find(&self, at: u64) -> Option<&Area> {
        self.areas.range(..=at).next_back().map(|(_, a)| a).filter(|a| a.range.end > at)
    }

    /// The areas that overlap `range`, rising.
    pub fn overlapping(&self, range: &Range<u64>) -> impl DoubleEndedIterator<Item = &Area> + use<'_> {
        let first = self.find(range.start).map_or(range.start, |a| a.range.start);
        // An empty or backward range overlaps nothing, and would make the tree panic.
        let end = range.end.max(first);
        let until = if range.is_empty() { first } else { end };
        self.areas.range(first..until).map(|(_, a)| a)
    }

    /// The parts of areas within `range`, cut at its ends.
    pub fn parts(&self, range: &Range<u64>) -> Vec<Area> {
        self.overlapping(range).map(|a| a.cut(range)).collect()
    }

    /// Whether every byte of `range` is in some area.
    pub fn covers(&self, range: &Range<u64>) -> bool {
        self.until_hole(range) == *range
    }

    /// The part of `range` before the first byte that is in no area.
    pub fn until_hole(&self, range: &Range<u64>) -> Range<u64> {
        let mut end = range.start;
        for area in self.overlapping(range) {
            if area.range.start > end {
                break;
            }
            end = area.range.end;
        }
        range.start..end.min(range.end)
    }

    /// Whether no area is in `range`.
    pub fn is_free(&self, range: &Range<u64>) -> bool {
        self.overlapping(range).next().is_none()
    }

    /// How many areas there are more after `range` has become an area (or a hole) of its own: at most 2.
    pub fn splits(&self, range: &Range<u64>) -> usize {
        let cuts = |at: u64| self.find(at).is_some_and(|a| a.range.start < at);
        usize::from(cuts(range.start)) + usize::from(cuts(range.end))
    }

    /// Whether `file` is mapped in `range` or right beside it.
    pub fn has_near(&self, range: &Range<u64>, file: &Arc<File>) -> bool {
        let wide = range.start.saturating_sub(1)..range.end.saturating_add(1);
        self.overlapping(&wide).any(|area| matches!(&area.content, Content::File(f) if Arc::ptr_eq(&f.file, file)))
    }

    /// Empties `range`; returns what was there, cut at its ends.
    pub fn remove(&mut self, range: &Range<u64>) -> Vec<Area> {
        let taken = self.take(range);
        if !taken.is_empty() {
            self.note_hole(range);
        }
        taken
    }

    /// Puts an area into a free range, joined with neighbours that it continues.
    pub fn insert(&mut self, area: Area) {
        debug_assert!(self.is_free(&area.range), "{:x?} is taken", area.range);
        let mut area = area;
        if let Some(before) = self.areas.range(..area.range.start).next_back().map(|(_, a)| a)
            && before.continues(&area)
        {
            let start = before.range.start;
            if let Some(mut joined) = self.detach(start) {
                joined.range.end = area.range.end;
                area = joined;
            }
        }
        if let Some(after) = self.areas.get(&area.range.end)
            && area.continues(after)
        {
            let start = after.range.start;
            if let Some(after) = self.detach(start) {
                area.range.end = after.range.end;
            }
        }
        self.attach(area);
    }

    /// Empties the range of `area` and puts it there; returns what was there.
    pub fn replace(&mut self, area: Area) -> Vec<Area> {
        let old = self.remove(&area.range.clone());
        self.insert(area);
        old
    }

    /// Changes the areas within `range`, split at its ends and joined again; returns them as they were.
    pub fn modify(&mut self, range: &Range<u64>, mut change: impl FnMut(&mut Area)) -> Vec<Area> {
        let old = self.take(range);
        for area in &old {
            let mut area = area.clone();
            change(&mut area);
            self.insert(area);
        }
        old
    }

    /// The highest free range of `len` bytes at a multiple of `align` (a power of two) within `within`, none of `taken` in it.
    pub fn gap_down(&mut self, len: u64, align: u64, within: &Range<u64>, taken: &[Range<u64>]) -> Option<u64> {
        if len == 0 || len > within.end.checked_sub(within.start)? {
            return None;
        }
        let plain = align <= 4096 && taken.is_empty();
        let above = self.areas.range(within.end..).next().map_or(within.end, |(_, a)| a.floor());
        let mut ceiling = within.end.min(above);
        let mut hole = 0;
        if plain && self.top == within.end && len > self.hole && self.cursor > within.start {
            ceiling = self.cursor;
            hole = self.hole;
        }
        loop {
            // The area that reaches up into [.., ceiling), or the highest one below it.
            let below = self.areas.range(..ceiling).next_back().map(|(_, a)| (a.floor(), a.range.end));
            let bottom = below.map_or(within.start, |(_, end)| end.max(within.start)).min(ceiling);
            if let Some(at) = fit_down(len, align, bottom..ceiling, taken) {
                if plain {
                    (self.cursor, self.hole, self.top) = (ceiling, hole, within.end);
                }
                return Some(at);
            }
            hole = hole.max(ceiling - bottom);
            match below {
                Some((floor, _)) if floor > within.start => ceiling = floor.min(ceiling),
                _ => return None,
            }
        }
    }

    /// The lowest free range of `len` bytes at a multiple of `align` within `within`, none of `taken` in it.
    pub fn gap_up(&self, len: u64, align: u64, within: &Range<u64>, taken: &[Range<u64>]) -> Option<u64> {
        let mut at = within.start;
        loop {
            at = at.checked_add(align - 1)? & !(align - 1);
            let end = at.checked_add(len)?;
            if len == 0 || end > within.end {
                return None;
            }
            let wanted = at..end;
            let busy = taken.iter().filter(|t| overlap(t, &wanted)).map(|t| t.end).max();
            let area = self.blocking(&wanted);
            match busy.max(area) {
                None => return Some(at),
                Some(next) => at = next.max(at + 1),
            }
        }
    }

    /// Whether `range` is free and keeps its distance from a stack above it.
    pub fn is_free_for_hint(&self, range: &Range<u64>) -> bool {
        self.blocking(range).is_none()
    }

    /// The end of an area that is in the way of `range`.
    fn blocking(&self, range: &Range<u64>) -> Option<u64> {
        if let Some(area) = self.overlapping(range).next_back() {
            return Some(area.range.end);
        }
        let above = self.areas.range(range.end..).next().map(|(_, a)| a)?;
        (above.floor() < range.end).then_some(above.range.end)
    }

    /// Splits at the ends of `range` and takes what lies between.
    fn take(&mut self, range: &Range<u64>) -> Vec<Area> {
        if range.is_empty() {
            return Vec::new();
        }
        for at in [range.start, range.end] {
            let Some(area) = self.find(at).filter(|a| a.range.start < at) else { continue };
            let (low, high) = (area.cut(&(area.range.start..at)), area.cut(&(at..area.range.end)));
            let start = area.range.start;
            self.detach(start);
            self.attach(low);
            self.attach(high);
        }
        let starts: Vec<u64> = self.areas.range(range.start..range.end).map(|(start, _)| *start).collect();
        starts.into_iter().filter_map(|start| self.detach(start)).collect()
    }

    /// Notes for the search from the top that a hole may have become larger.
    fn note_hole(&mut self, range: &Range<u64>) {
        let above = self.areas.range(range.end..).next().map_or(self.top, |(_, a)| a.floor());
        if above.max(range.end) > self.cursor {
            let below = self.areas.range(..range.start).next_back().map_or(0, |(_, a)| a.range.end);
            self.hole = self.hole.max(above.max(range.end).saturating_sub(below));
        }
    }

    fn attach(&mut self, area: Area) {
        self.count(&area, u64::wrapping_add);
        self.areas.insert(area.range.start, area);
    }

    fn detach(&mut self, start: u64) -> Option<Area> {
        let area = self.areas.remove(&start)?;
        self.count(&area, u64::wrapping_sub);
        // A stack that goes takes its guard along.
        if area.flags.contains(AreaFlags::GROWSDOWN) {
            self.hole = u64::MAX;
        }
        Some(area)
    }

    fn count(&mut self, area: &Area, add: fn(u64, u64) -> u64) {
        let len = area.len();
        let t = &mut self.totals;
        t.size = add(t.size, len);
        if area.shared() {
            t.shared = add(t.shared, len);
        } else if area.flags.contains(AreaFlags::GROWSDOWN) {
            t.stack = add(t.stack, len);
        } else if area.prot.contains(Prot::WRITE) {
            t.data = add(t.data, len);
        } else if area.prot.contains(Prot::EXEC) {
            t.exec = add(t.exec, len);
        }
        if area.flags.contains(AreaFlags::LOCKED) {
            t.locked = add(t.locked, len);
        }
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The highest place of `len` bytes within a hole.
fn fit_down(len: u64, align: u64, hole: Range<u64>, taken: &[Range<u64>]) -> Option<u64> {
    let mut end = hole.end;
    loop {
        let at = end.checked_sub(len)? & !(align - 1);
        if at < hole.start {
            return None;
        }
        match taken.iter().filter(|t| overlap(t, &(at..at + len))).map(|t| t.start).min() {
            None => return Some(at),
            Some(next) => end = next.min(end.checked_sub(1)?),
        }
    }
}

#[cfg(test)]
#[path = "map_tests.rs"]
mod tests;
