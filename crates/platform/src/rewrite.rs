//! Rewriting of hot call sites, so that they jump to the stub's trampolines: which shapes there are, and the script that does it.
//!
//! A site is changed in stages, so that other threads may run it meanwhile and a fork in the middle does no harm: at each moment every byte at which somebody can arrive is either the old code,
//! the new code, or an instruction that faults, which the stub's trampoline.rs takes for what stood there. Neighbours: `space` (keeps the list), `layout` (the table that the stub reads).
//! Owns no locks.

use crate::answer::Op;
use crate::layout::{MAX_SITES, POINTERS, POINTERS_LEN, PRIVATE_SHIFT, SITES, SITES_LEN, Site, TEXT, header, lea};
use crate::state::Errand;
use crate::sync::lock;
use crate::thread::Thread;
use std::ops::Range;

/// Bytes of a site's surroundings: from [`BEFORE`] before the end of the `syscall` instruction.
pub const AROUND: usize = 22;
pub const BEFORE: u64 = 14;

const MMAP: u32 = 9;
const MPROTECT: u32 = 10;
const MEMBARRIER: u32 = 324;
const REGISTER_SYNC_CORE: u64 = 64;
const SYNC_CORE: u64 = 32;
/// PRIVATE, FIXED, ANONYMOUS.
const FIXED: u64 = 0x32;

/// The sites of an address space.
#[derive(Clone, Default)]
pub(crate) struct Sites {
    list: Vec<Site>,
    /// Those, by the address behind the call, that are the guest's code again.
    restored: Vec<u64>,
    /// Pointers of the second shape: their addresses.
    odd: Vec<u64>,
    /// A thread is about to rewrite one. Two at once would take each other's right to write the page away.
    pub busy: bool,
}

impl Thread {
    /// Operations for this thread's next script that rewrite the call site whose instruction ends at `ip`: it jumps to a trampoline from then on. `nr` is the call that was made there, `code` what stands
    /// there, from [`BEFORE`] bytes before `ip`. The caller has seen that it lies in a private mapping of a file, which may be read and executed and not be written, and holds off whoever changes that.
    /// `None`: it cannot be done here, or not now, because another thread of the process is at it.
    pub fn rewrite(&self, nr: u32, ip: u64, code: &[u8; AROUND]) -> Option<Vec<Op>> {
        let mut st = lock(&self.state);
        self.is_back(&mut st, false);
        let ops = self.space.rewrite(nr, ip, code)?;
        st.errand = Some(Errand::Rewrite);
        Some(ops)
    }
}

impl Thread {
    /// Operations for this thread's next script that make all rewritten sites what they were, for who wants to look at the code: those of [`Space::rewritten`] whose pages are still text that nobody
    /// changes. The sites stay known, since somebody may be on the way through one, and are not rewritten again. `None`: there is nothing to do, or not now, because another thread is at it.
    pub fn restore_sites(&self, sites: &[Range<u64>]) -> Option<Vec<Op>> {
        let mut st = lock(&self.state);
        self.is_back(&mut st, false);
        let ops = self.space.restore_sites(sites)?;
        st.errand = Some(Errand::Rewrite);
        Some(ops)
    }
}

enum Shape {
    Number,
    /// `Number` with an instruction in between that sets rsi to the sum of a register (of `lea`) and a number, or to the sum of the number and the address behind it.
    Lea {
        base: u16,
        add: i32,
    },
    /// Which of the tails compares.
    Compare(usize),
    /// As `Compare`, with the number 0 set in front: read(2).
    Zero(usize),
}

/// `code` begins `BEFORE` bytes before the end of the `syscall` instruction, which made call `nr`: what looks like its number may be something else.
fn shape(nr: u32, code: &[u8; AROUND]) -> Option<Shape> {
    let number = |a, b| u32::from_le_bytes([a, b, 0, 0]) == nr;
    let tail = |than| usize::from(than == 0);
    match *code {
        [.., 0xb8, a, b, 0, 0, 0x0f, 0x05, _, _, _, _, _, _, _, _] if number(a, b) => Some(Shape::Number),
        [0xb8, a, b, 0, 0, rex, 0x8d, operands, d0, d1, d2, d3, 0x0f, 0x05, ..] if number(a, b) => {
            let base = match (rex, operands) {
                (0x48, 0x35) => lea::NONE,
                (0x48, 0xb3) => lea::RBX,
                (0x49, 0xb1) => lea::R9,
                _ => return None,
            };
            Some(Shape::Lea { base, add: i32::from_le_bytes([d0, d1, d2, d3]) })
        }
        [.., 0x31, 0xc0, 0x0f, 0x05, 0x48, 0x3d, than @ 0..=1, 0xf0, 0xff, 0xff, _, _] if nr == 0 => {
            Some(Shape::Zero(tail(than)))
        }
        [.., 0x0f, 0x05, 0x48, 0x3d, than @ 0..=1, 0xf0, 0xff, 0xff, _, _] => Some(Shape::Compare(tail(than))),
        _ => None,
    }
}

impl Sites {
    /// Whether the call whose instruction ends at `ip` was rewritten.
    pub fn has(&self, ip: u64) -> bool {
        self.list.iter().any(|s| s.ip == ip)
    }

    pub fn any_in(&self, range: &std::ops::Range<u64>) -> bool {
        self.list.iter().any(|s| s.ip + 6 > range.start && s.ip - BEFORE < range.end)
    }

    /// What a stub does to rewrite the site. `None`: it has no shape that can be, or there is no room.
    pub fn rewrite(
        &mut self,
        base: u64,
        (nr, ip): (u32, u64),
        code: &[u8; AROUND],
        header: impl Fn(usize) -> u64,
    ) -> Option<Vec<Op>> {
        let number = self.list.len() + 1;
        if self.busy || number >= MAX_SITES || self.has(ip) {
            return None;
        }
        let text = base + TEXT;
        let numbered = |back: u16, base: u16, add: u64| {
            let pointer = POINTERS + 8 * number as u64;
            let [lo, hi, ..] = (pointer as u32).to_le_bytes();
            let site = Site { ip, target: ip, nr, back, base, add };
            (site, pointer, vec![0xff, 0x24, 0x25, lo, hi, 0x06, 0x00])
        };
        let comparing =
            |tail: usize| Site { ip, target: text + header(header::TAILS + tail), back: 2, ..Site::default() };
        let (site, pointer, new) = match shape(nr, code)? {
            Shape::Number => numbered(7, lea::NONE, 0),
            Shape::Lea { base: lea::NONE, add } => numbered(14, lea::NONE, (ip - 2).wrapping_add_signed(add.into())),
            Shape::Lea { base, add } => numbered(14, base, i64::from(add) as u64),
            Shape::Compare(tail) => {
                let pointer = self.odd_pointer((ip - 2 + 6 + 6) as u8)?;
                let distance = i32::try_from(pointer as i64 - (ip - 2 + 6) as i64).ok()?;
                (comparing(tail), pointer, jump(0x25, distance))
            }
            Shape::Zero(tail) => {
                // By rax, which is 0 here, so by an absolute address.
                let pointer = self.odd_pointer(0x06)?;
                (comparing(tail), pointer, jump(0xa0, pointer as i32))
            }
        };
        let start = site.range().start;
        let entry =
            text + header(if site.is_numbered() { header::ENTRIES7 } else { header::ENTRIES8 }) + 16 * number as u64;
        let mut ops = Vec::new();
        if self.list.is_empty() {
            ops.push(Op::call(MMAP, [POINTERS, POINTERS_LEN, 3, FIXED, u64::MAX, 0]));
            ops.push(Op::Zero { addr: base + SITES, len: SITES_LEN }); // of the program before
            ops.push(Op::call(MEMBARRIER, [REGISTER_SYNC_CORE, 0, 0, 0, 0, 0]));
        }
        let at = |n: usize| base + SITES + (n * size_of::<Site>()) as u64;
        ops.push(Op::Copy {
            addr: at(number),
            bytes: words([
                site.ip,
                site.target,
                u64::from(site.nr) | u64::from(site.back) << 32 | u64::from(site.base) << 48,
                site.add,
            ]),
        });
        ops.push(Op::Copy { addr: at(0), bytes: words([base >> PRIVATE_SHIFT, 0, 0, 0]) });
        // The page is read-only otherwise: a wild write of the guest faults there as it does without it.
        ops.push(Op::call(MPROTECT, [POINTERS, POINTERS_LEN, 3, 0, 0, 0]));
        ops.push(Op::Copy { addr: pointer, bytes: entry.to_le_bytes().to_vec() });
        ops.push(Op::call(MPROTECT, [POINTERS, POINTERS_LEN, 1, 0, 0, 0]));
        stages(&mut ops, start, &new, site.middle());
        self.list.push(site);
        self.busy = true;
        Some(ops)
    }

    /// Where the old code is not back yet.
    pub fn rewritten(&self) -> Vec<Range<u64>> {
        self.list.iter().filter(|site| !self.restored.contains(&site.ip)).map(Site::range).collect()
    }

    /// What a stub does to put the old code back at some of these. `None`: nothing.
    pub fn restore(&mut self, base: u64, sites: &[Range<u64>], header: impl Fn(usize) -> u64) -> Option<Vec<Op>> {
        if self.busy {
            return None;
        }
        let mut ops = Vec::new();
        for site in &self.list {
            if self.restored.contains(&site.ip) || !sites.contains(&site.range()) {
                continue;
            }
            let start = site.range().start;
            let [lo, hi, ..] = site.nr.to_le_bytes();
            let old = match site.back {
                7 => vec![0xb8, lo, hi, 0, 0, 0x0f, 0x05],
                14 => vec![0xb8, lo, hi, 0, 0, if site.base == lea::R9 { 0x49 } else { 0x48 }, 0x8d],
                _ => {
                    let first = site.target == base + TEXT + header(header::TAILS);
                    vec![0x0f, 0x05, 0x48, 0x3d, u8::from(first), 0xf0, 0xff, 0xff]
                }
            };
            unstage(&mut ops, start, &old, site.middle());
            self.restored.push(site.ip);
        }
        self.busy = !ops.is_empty();
        self.busy.then_some(ops)
    }

    /// The middle byte of a jump of 6 bytes must be an invalid instruction, so its pointer lies at certain places of the page's second half only: `low` is the last byte of its address.
    fn odd_pointer(&mut self, low: u8) -> Option<u64> {
        let pointer = (POINTERS + POINTERS_LEN / 2..POINTERS + POINTERS_LEN - 8)
            .find(|at| *at as u8 == low && !self.odd.iter().any(|o| o.abs_diff(*at) < 8))?;
        self.odd.push(pointer);
        Some(pointer)
    }
}

/// `jmp *[register + displacement]`, filled up to 8 bytes.
fn jump(register: u8, displacement: i32) -> Vec<u8> {
    let [d0, d1, d2, d3] = displacement.to_le_bytes();
    vec![0xff, register, d0, d1, d2, d3, 0x90, 0x90]
}

fn words(words: [u64; 4]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// Writes new code over a site; `middle` is the byte to which somebody may come back.
fn stages(ops: &mut Vec<Op>, start: u64, new: &[u8], middle: usize) {
    let pages = start & !0xfff;
    let len = ((start + new.len() as u64 + 0xfff) & !0xfff) - pages;
    let put = |at: usize, bytes: &[u8]| Op::Copy { addr: start + at as u64, bytes: bytes.to_vec() };
    let settle = || Op::call(MEMBARRIER, [SYNC_CORE, 0, 0, 0, 0, 0]);
    ops.push(Op::call(MPROTECT, [pages, len, 7, 0, 0, 0]));
    ops.push(put(middle, &[0x06]));
    ops.push(settle());
    ops.push(put(0, &[0xcc]));
    ops.push(settle());
    let (first, rest) = new.split_at(1);
    ops.push(put(1, rest));
    ops.push(settle());
    ops.push(put(0, first));
    ops.push(settle());
    ops.push(Op::call(MPROTECT, [pages, len, 5, 0, 0, 0]));
}

impl Site {
    /// The code that is rewritten.
    fn range(&self) -> Range<u64> {
        let start = self.ip - u64::from(self.back);
        start..start + if self.is_numbered() { 7 } else { 8 }
    }

    /// The byte of it to which somebody may come back.
    fn middle(&self) -> usize {
        if self.is_numbered() { 5 } else { 2 }
    }
}

/// Puts old code over a rewritten site, in the other direction.
fn unstage(ops: &mut Vec<Op>, start: u64, old: &[u8], middle: usize) {
    let pages = start & !0xfff;
    let len = ((start + old.len() as u64 + 0xfff) & !0xfff) - pages;
    let settle = || Op::call(MEMBARRIER, [SYNC_CORE, 0, 0, 0, 0, 0]);
    ops.push(Op::call(MPROTECT, [pages, len, 7, 0, 0, 0]));
    let mut put = |from: usize, to: usize, bytes: &[u8]| {
        if let Some(bytes) = bytes.get(from..to) {
            ops.push(Op::Copy { addr: start + from as u64, bytes: bytes.to_vec() });
            ops.push(settle());
        }
    };
    put(0, 1, &[0xcc]);
    put(1, middle, old);
    put(middle + 1, old.len(), old);
    put(middle, middle + 1, old);
    put(0, 1, old);
    ops.push(Op::call(MPROTECT, [pages, len, 5, 0, 0, 0]));
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_was_rewritten_comes_back() {
        for (nr, code, start, len) in [
            (39, number(39), 0x40_1007, 7),
            (14, with_lea(14, [0x48, 0x8d, 0xb3]), 0x40_1000, 7),
            (14, with_lea(14, [0x49, 0x8d, 0xb1]), 0x40_1000, 7),
            (1, compare(1), 0x40_100c, 8),
            (0, zero(), 0x40_100c, 8),
        ] {
            let (mut sites, ops) = rewritten(nr, 0x40_100e, &code).unwrap();
            let old = &code[(start - 0x40_1000) as usize..][..len];
            let new = result(start, old, &ops);
            assert_ne!(new, old);
            sites.busy = false;
            let restore =
                |sites: &mut Sites, of: &[Range<u64>]| sites.restore(0x7ffa_0000_0000, of, |n| n as u64 * 0x100);
            assert!(restore(&mut sites, &[]).is_none());
            let all = sites.rewritten();
            let ops = restore(&mut sites, &all).unwrap();
            assert_eq!(result(start, &new, &ops), old);
            sites.busy = false;
            assert!(restore(&mut sites, &all).is_none() && sites.rewritten().is_empty() && sites.has(0x40_100e));
        }
    }

    /// What stands in front, and what behind.
    fn around(before: &[u8], behind: &[u8]) -> [u8; AROUND] {
        let mut code = [0x90; AROUND];
        code[BEFORE as usize - before.len()..BEFORE as usize].copy_from_slice(before);
        code[BEFORE as usize..][..behind.len()].copy_from_slice(behind);
        code
    }

    fn number(nr: u8) -> [u8; AROUND] {
        around(&[0xb8, nr, 0, 0, 0, 0x0f, 0x05], &[0xc3])
    }

    fn with_lea(nr: u8, [rex, code, operands]: [u8; 3]) -> [u8; AROUND] {
        around(&[0xb8, nr, 0, 0, 0, rex, code, operands, 0xf0, 0xff, 0xff, 0xff, 0x0f, 0x05], &[0xc3])
    }

    fn compare(than: u8) -> [u8; AROUND] {
        around(&[0x0f, 0x05], &[0x48, 0x3d, than, 0xf0, 0xff, 0xff, 0x73, 0x01])
    }

    fn zero() -> [u8; AROUND] {
        around(&[0x31, 0xc0, 0x0f, 0x05], &[0x48, 0x3d, 0x00, 0xf0, 0xff, 0xff, 0x77, 0x01])
    }

    #[test]
    fn one_at_a_time() {
        let (mut sites, _) = rewritten(39, 0x40_1007, &number(39)).unwrap();
        let next =
            |sites: &mut Sites| sites.rewrite(0x7ffa_0000_0000, (110, 0x40_2007), &number(110), |n| n as u64 * 0x100);
        assert!(next(&mut sites).is_none());
        sites.busy = false;
        assert!(next(&mut sites).is_some());
    }

    fn rewritten(nr: u32, ip: u64, code: &[u8; AROUND]) -> Option<(Sites, Vec<Op>)> {
        let mut sites = Sites::default();
        let ops = sites.rewrite(0x7ffa_0000_0000, (nr, ip), code, |n| n as u64 * 0x100)?;
        Some((sites, ops))
    }

    /// Carries the copies out that fall on the code.
    fn result(start: u64, old: &[u8], ops: &[Op]) -> Vec<u8> {
        let mut code = old.to_vec();
        for op in ops {
            if let Op::Copy { addr, bytes } = op
                && let Some(at) = addr.checked_sub(start).filter(|at| *at < BEFORE)
            {
                code[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
            }
        }
        code
    }

    #[test]
    fn a_numbered_site_jumps_by_an_absolute_pointer_with_an_invalid_middle() {
        let code = number(39);
        let (sites, ops) = rewritten(39, 0x40_1007, &code).unwrap();
        assert_eq!(result(0x40_1000, &code[7..14], &ops), [0xff, 0x24, 0x25, 0x08, 0x00, 0x06, 0x00]);
        assert!(sites.has(0x40_1007) && !sites.has(0x40_1006));
        assert_eq!(sites.list[0].nr, 39);
    }

    #[test]
    fn one_with_a_lea_keeps_its_call_and_knows_the_sum() {
        for (operands, base, add) in [
            ([0x48, 0x8d, 0x35], lea::NONE, 0x40_100c - 0x10),
            ([0x48, 0x8d, 0xb3], lea::RBX, 0u64.wrapping_sub(0x10)),
            ([0x49, 0x8d, 0xb1], lea::R9, 0u64.wrapping_sub(0x10)),
        ] {
            let code = with_lea(14, operands);
            let (sites, ops) = rewritten(14, 0x40_100e, &code).unwrap();
            let new = result(0x40_1000, &code[..14], &ops);
            assert_eq!(new[..7], [0xff, 0x24, 0x25, 0x08, 0x00, 0x06, 0x00]);
            assert_eq!(new[7..], code[7..14]);
            assert_eq!((sites.list[0].base, sites.list[0].add, sites.list[0].back), (base, add, 14));
        }
        assert!(rewritten(14, 0x40_100e, &with_lea(14, [0x48, 0x8d, 0xb7])).is_none());
    }

    #[test]
    fn a_comparing_site_has_an_invalid_instruction_where_its_call_returns() {
        let code = compare(1);
        let (sites, ops) = rewritten(20, 0x40_1102, &code).unwrap();
        let new = result(0x40_1100, &code[12..20], &ops);
        assert_eq!((new[0], new[1], new[2]), (0xff, 0x25, 0x06));
        let distance = i32::from_le_bytes(new[2..6].try_into().unwrap());
        assert_eq!((0x40_1106 + i64::from(distance)) as u64, sites.odd[0]);
        assert!((POINTERS..POINTERS + POINTERS_LEN).contains(&sites.odd[0]));
        // Too far for a relative jump.
        assert!(rewritten(20, 0x7f00_0000_1102, &code).is_none());
    }

    #[test]
    fn a_read_jumps_from_everywhere() {
        let code = zero();
        let (sites, ops) = rewritten(0, 0x7f00_0000_1102, &code).unwrap();
        let new = result(0x7f00_0000_1100, &code[12..20], &ops);
        assert_eq!((new[0], new[1], new[2]), (0xff, 0xa0, 0x06));
        assert_eq!(u64::from(u32::from_le_bytes(new[2..6].try_into().unwrap())), sites.odd[0]);
    }

    #[test]
    fn other_code_is_left_alone() {
        assert!(rewritten(39, 0x40_1007, &[0x90; AROUND]).is_none());
        // Not the number of the call: the end of another instruction.
        assert!(rewritten(39, 0x40_1007, &number(110)).is_none());
        // A number that needs more than 16 bits is no call.
        let large = around(&[0xb8, 1, 0, 1, 0, 0x0f, 0x05], &[]);
        assert!(rewritten(1, 0x40_1007, &large).is_none());
    }
}
