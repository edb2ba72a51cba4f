//! Sets of ranges of a file. Pure; no locks.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges that don't touch each other: beginnings and ends.
#[derive(Default, Debug, Clone, PartialEq, Eq)]
pub(super) struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let touching: Vec<(u64, u64)> = self
            .0
            .range(..=range.end)
            .rev()
            .take_while(|(_, end)| **end >= range.start)
            .map(|(a, b)| (*a, *b))
            .collect();
        let (mut start, mut end) = (range.start, range.end);
        for (a, b) in touching {
            self.0.remove(&a);
            start = start.min(a);
            end = end.max(b);
        }
        self.0.insert(start, end);
    }

    pub fn remove(&mut self, range: Range<u64>) {
        for part in self.within(range.clone()) {
            // The range that the part is of.
            let Some((a, b)) = self.0.range(..=part.start).next_back().map(|(a, b)| (*a, *b)) else { continue };
            self.0.remove(&a);
            if a < part.start {
                self.0.insert(a, part.start);
            }
            if part.end < b {
                self.0.insert(part.end, b);
            }
        }
    }

    /// The parts of `range` that are in the set.
    pub fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut parts: Vec<Range<u64>> = self
            .0
            .range(..range.end)
            .rev()
            .take_while(|(_, end)| **end > range.start)
            .map(|(a, b)| (*a).max(range.start)..(*b).min(range.end))
            .collect();
        parts.reverse();
        parts
    }

    /// The first part of `range` that is not in the set.
    pub fn first_gap(&self, range: Range<u64>) -> Option<Range<u64>> {
        let mut at = range.start;
        for part in self.within(range.clone()) {
            if part.start > at {
                return Some(at..part.start);
            }
            at = part.end;
        }
        (at < range.end).then_some(at..range.end)
    }

    pub fn first(&self) -> Option<Range<u64>> {
        self.0.first_key_value().map(|(a, b)| *a..*b)
    }

    pub fn total(&self) -> u64 {
        self.0.iter().map(|(a, b)| b - a).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_one() {
        let mut set = Ranges::default();
        set.insert(10..20);
        set.insert(30..40);
        set.insert(20..30);
        assert_eq!(set.first(), Some(10..40));
        set.insert(0..5);
        set.insert(3..12);
        assert_eq!((set.first(), set.total()), (Some(0..40), 40));
    }

    #[test]
    fn removed_parts_are_gaps() {
        let mut set = Ranges::default();
        set.insert(0..100);
        set.remove(20..30);
        set.remove(90..200);
        assert_eq!(set.within(10..95), [10..20, 30..90]);
        assert_eq!(set.first_gap(0..100), Some(20..30));
        assert_eq!(set.first_gap(30..90), None);
        assert_eq!(set.first_gap(85..95), Some(90..95));
        assert_eq!(set.first_gap(200..210), Some(200..210));
        set.remove(0..u64::MAX);
        assert!(set.is_empty());
    }
}
