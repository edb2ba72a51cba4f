//! The area map against a naive model: one entry a page.

use super::*;
use crate::mm::area::Content;
use std::collections::BTreeSet;

const PAGE: u64 = 4096;
const PAGES: u64 = 200;

/// A small generator, so that a failure repeats: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

fn area(range: Range<u64>, prot: Prot, flags: AreaFlags) -> Area {
    Area { range, prot, max_prot: Prot::all(), flags, content: Content::Anonymous, name: None }
}

struct Model([Option<(Prot, AreaFlags)>; PAGES as usize]);

impl Model {
    fn pages(range: &Range<u64>) -> Range<usize> {
        (range.start / PAGE) as usize..(range.end / PAGE) as usize
    }

    fn set(&mut self, range: &Range<u64>, what: Option<(Prot, AreaFlags)>) {
        self.0[Self::pages(range)].fill(what);
    }

    /// The highest free place, stack guards ignored.
    fn gap_down(&self, pages: u64, within: &Range<u64>) -> Option<u64> {
        let w = Self::pages(within);
        (w.start..=w.end.checked_sub(pages as usize)?)
            .rev()
            .find(|at| self.0[*at..at + pages as usize].iter().all(Option::is_none))
            .map(|at| at as u64 * PAGE)
    }

    fn gap_up(&self, pages: u64, within: &Range<u64>) -> Option<u64> {
        let w = Self::pages(within);
        (w.start..=w.end.checked_sub(pages as usize)?)
            .find(|at| self.0[*at..at + pages as usize].iter().all(Option::is_none))
            .map(|at| at as u64 * PAGE)
    }
}

fn agree(map: &AreaMap, model: &Model) {
    let mut totals = Totals::default();
    for (page, want) in model.0.iter().enumerate() {
        let got = map.find(page as u64 * PAGE).map(|a| (a.prot, a.flags));
        assert_eq!(got, *want, "page {page}");
        if let Some((prot, flags)) = want {
            totals.size += PAGE;
            if flags.contains(AreaFlags::LOCKED) {
                totals.locked += PAGE;
            }
            if prot.contains(Prot::WRITE) {
                totals.data += PAGE;
            } else if prot.contains(Prot::EXEC) {
                totals.exec += PAGE;
            }
        }
    }
    assert_eq!(map.totals(), totals);
    // As few areas as can be: neighbours differ.
    let list: Vec<_> = map.iter().collect();
    for pair in list.windows(2) {
        assert!(pair[0].range.end <= pair[1].range.start);
        assert!(!pair[0].continues(pair[1]));
    }
}

#[test]
fn the_map_does_what_one_entry_a_page_would_do() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let prots = [Prot::empty(), Prot::READ, Prot::READ | Prot::WRITE, Prot::READ | Prot::EXEC];
    for _ in 0..40 {
        let mut map = AreaMap::default();
        let mut model = Model([None; PAGES as usize]);
        for _ in 0..200 {
            let start = dice.roll(PAGES);
            let range = start * PAGE..(start + 1 + dice.roll(12)).min(PAGES) * PAGE;
            let prot = prots[dice.roll(4) as usize];
            let flags = if dice.roll(8) == 0 { AreaFlags::LOCKED } else { AreaFlags::empty() };
            match dice.roll(6) {
                0 | 1 => {
                    map.replace(area(range.clone(), prot, flags));
                    model.set(&range, Some((prot, flags)));
                }
                2 => {
                    let taken = map.remove(&range);
                    let taken: u64 = taken.iter().map(Area::len).sum();
                    let want = model.0[Model::pages(&range)].iter().flatten().count() as u64 * PAGE;
                    assert_eq!(taken, want);
                    model.set(&range, None);
                }
                3 => {
                    map.modify(&range, |a| a.prot = prot);
                    for page in Model::pages(&range) {
                        model.0[page] = model.0[page].map(|(_, flags)| (prot, flags));
                    }
                }
                4 => {
                    let len = 1 + dice.roll(9);
                    // The low end moves, the ceiling mostly not: so that the remembered place is used.
                    let within = dice.roll(3) * PAGE..if dice.roll(4) == 0 { 150 } else { PAGES } * PAGE;
                    let got = map.gap_down(len * PAGE, PAGE, &within, &[]);
                    assert_eq!(got, model.gap_down(len, &within));
                    if let Some(at) = got
                        && dice.roll(2) == 0
                    {
                        map.insert(area(at..at + len * PAGE, prot, flags));
                        model.set(&(at..at + len * PAGE), Some((prot, flags)));
                    }
                }
                _ => {
                    let len = 1 + dice.roll(9);
                    let within = dice.roll(20) * PAGE..PAGES * PAGE;
                    assert_eq!(map.gap_up(len * PAGE, PAGE, &within, &[]), model.gap_up(len, &within));
                    let covered = model.0[Model::pages(&range)].iter().all(Option::is_some);
                    assert_eq!(map.covers(&range), covered);
                    assert_eq!(map.is_free(&range), model.0[Model::pages(&range)].iter().all(Option::is_none));
                }
            }
            agree(&map, &model);
        }
    }
}

#[test]
fn what_was_taken_can_be_put_back() {
    let mut map = AreaMap::default();
    map.insert(area(0..10 * PAGE, Prot::READ, AreaFlags::empty()));
    let old = map.replace(area(3 * PAGE..5 * PAGE, Prot::WRITE, AreaFlags::empty()));
    assert_eq!(map.len(), 3);
    map.remove(&(3 * PAGE..5 * PAGE));
    for a in old {
        map.insert(a);
    }
    assert_eq!(map.len(), 1);
    assert_eq!(map.iter().next().map(|a| a.range.clone()), Some(0..10 * PAGE));
}

#[test]
fn a_stack_keeps_its_distance() {
    let mut map = AreaMap::default();
    let stack = 1000 * PAGE..1100 * PAGE;
    map.insert(area(stack.clone(), Prot::READ | Prot::WRITE, AreaFlags::GROWSDOWN));
    let within = PAGE..1050 * PAGE;
    let at = map.gap_down(PAGE, PAGE, &within, &[]);
    assert_eq!(at, Some(stack.start - super::super::area::STACK_GUARD - PAGE));
    assert!(!map.is_free_for_hint(&(999 * PAGE..1000 * PAGE)));
    assert_eq!(map.gap_up(PAGE, PAGE, &(990 * PAGE..2000 * PAGE), &[]), Some(1100 * PAGE));
    assert_eq!(map.totals().stack, 100 * PAGE);
}

#[test]
fn taken_ranges_and_alignment_are_kept() {
    let mut map = AreaMap::default();
    #[allow(clippy::single_range_in_vec_init)]
    let taken = [90 * PAGE..95 * PAGE];
    assert_eq!(map.gap_down(10 * PAGE, PAGE, &(0..100 * PAGE), &taken), Some(80 * PAGE));
    assert_eq!(map.gap_down(5 * PAGE, PAGE, &(0..100 * PAGE), &taken), Some(95 * PAGE));
    assert_eq!(map.gap_up(10 * PAGE, PAGE, &(88 * PAGE..200 * PAGE), &taken), Some(95 * PAGE));
    let at = map.gap_down(PAGE, 64 * PAGE, &(0..100 * PAGE), &[]).unwrap_or(1);
    assert_eq!(at, 64 * PAGE);
    // What a search with other needs found is not remembered.
    assert_eq!(map.gap_down(PAGE, PAGE, &(0..100 * PAGE), &[]), Some(99 * PAGE));
}

#[test]
fn odd_ranges_do_no_harm() {
    let mut map = AreaMap::default();
    map.insert(area(PAGE..2 * PAGE, Prot::READ, AreaFlags::empty()));
    assert!(map.remove(&(PAGE..PAGE)).is_empty());
    #[allow(clippy::reversed_empty_ranges)]
    let backward = 5 * PAGE..PAGE;
    assert!(map.overlapping(&backward).next().is_none());
    assert!(map.covers(&(u64::MAX..u64::MAX)));
    assert_eq!(map.gap_up(u64::MAX, PAGE, &(0..u64::MAX), &[]), None);
    assert_eq!(map.gap_down(u64::MAX, PAGE, &(0..PAGE), &[]), None);
    let starts: BTreeSet<u64> = map.iter().map(|a| a.range.start).collect();
    assert_eq!(starts.len(), map.len());
}
