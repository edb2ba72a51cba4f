//! Memory calls: what the stub is told leads to the memory that the map describes, and a failure leaves the map as it was.

use super::*;
use crate::mm::mmap::MapRequest;
use crate::mm::remap::RemapRequest;
use crate::mm::work::Work;
use abi::mm::*;
use abi::nr;
use platform::{Arg, Op};

const TOP: u64 = 0x100_0000;
const LOW_PAGE: u64 = platform::LOW / PAGE_SIZE;

struct Nobody;
impl Requester for Nobody {
    fn requests(&self) -> u64 {
        1
    }
}

fn alone() -> Asker {
    Asker { who: Weak::<Nobody>::new(), count: 0, alone: true, bounds: Bounds::NONE }
}

fn state() -> State {
    State::new(TOP, VdsoInfo { vvar: 0x80_0000..0x80_4000, vdso: 0x80_4000..0x80_6000 }, 0..0, 0)
}

fn anon(addr: u64, len: u64, prot: u32, flags: u32) -> MapRequest {
    MapRequest { addr, len, prot, flags: flags | MAP_ANONYMOUS, file: None }
}

/// The host's memory: protection by page.
#[derive(Clone, PartialEq, Debug)]
struct HostModel(Vec<Option<u32>>);

impl HostModel {
    fn of(state: &State) -> HostModel {
        let mut host = HostModel(vec![None; (TOP / PAGE_SIZE) as usize]);
        for area in state.map.iter() {
            host.set(area.range.start, area.len(), Some(area.prot.bits()));
        }
        host
    }

    fn set(&mut self, at: u64, len: u64, prot: Option<u32>) {
        assert!(page_aligned(at) && page_aligned(len) && len > 0 && at >= platform::LOW && at + len <= TOP);
        self.0[(at / PAGE_SIZE) as usize..((at + len) / PAGE_SIZE) as usize].fill(prot);
    }

    fn perform(&mut self, work: &Work) {
        for op in &work.ops {
            let Op::Call { nr, args, .. } = op else { panic!("{op:?}") };
            let a = args.map(|a| match a {
                Arg::Val(v) => v,
                Arg::Fd(_) => 0,
            });
            match *nr {
                nr::MMAP => {
                    assert!(a[3] as u32 & MAP_FIXED != 0);
                    self.set(a[0], a[1], Some(a[2] as u32));
                }
                nr::MUNMAP => self.set(a[0], a[1], None),
                nr::MPROTECT => {
                    let pages = &self.0[(a[0] / PAGE_SIZE) as usize..((a[0] + a[1]) / PAGE_SIZE) as usize];
                    assert!(pages.iter().all(Option::is_some), "mprotect of a hole");
                    self.set(a[0], a[1], Some(a[2] as u32));
                }
                nr::MREMAP => {
                    let prot = self.0[(a[0] / PAGE_SIZE) as usize];
                    assert!(prot.is_some());
                    if a[3] as u32 & MREMAP_FIXED == 0 {
                        self.set(a[0] + a[1], a[2] - a[1], prot);
                    } else {
                        if a[3] as u32 & MREMAP_DONTUNMAP == 0 && a[1] > 0 {
                            self.set(a[0], a[1], None);
                        }
                        self.set(a[4], a[2], prot);
                    }
                }
                nr::MADVISE => {}
                other => panic!("{other}"),
            }
        }
    }
}

#[test]
fn the_stub_makes_what_the_map_says() {
    let mut seed = 0x1234_5678_9abc_def1_u64;
    let mut roll = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for _ in 0..30 {
        let mut state = state();
        let by = alone();
        state.heap = 0x20_0000..0x20_0000;
        let mut host = HostModel::of(&state);
        for _ in 0..300 {
            let addr = (LOW_PAGE + roll(TOP / PAGE_SIZE - LOW_PAGE - 40)) * PAGE_SIZE;
            let pick = state.map.iter().nth(roll(state.map.len() as u64) as usize).map(|a| a.range.clone());
            let at = pick.filter(|_| roll(3) != 0).map_or(addr, |r| r.start + roll(2) * PAGE_SIZE);
            let len = roll(20) * PAGE_SIZE + roll(3);
            let prot = roll(8) as u32;
            let before = (HostModel::of(&state), state.heap.clone(), state.map.totals());
            let work = match roll(8) {
                0 | 1 => state.mmap(anon(addr * roll(2), len, prot, MAP_PRIVATE), &by),
                2 => state.mmap(anon(at, len, prot, MAP_SHARED | MAP_FIXED), &by),
                3 => state.munmap(at, len, &by),
                4 => state.mprotect(at, len, prot, &by),
                5 => Ok(state.brk(0x20_0000 + roll(60) * 1000, &by)),
                6 => {
                    let new_len = roll(30) * PAGE_SIZE;
                    let keep = roll(4) == 0;
                    let flags = [0, MREMAP_MAYMOVE, MREMAP_MAYMOVE | MREMAP_FIXED][roll(3) as usize];
                    let (flags, new_len) =
                        if keep { (MREMAP_MAYMOVE | MREMAP_DONTUNMAP, len) } else { (flags, new_len) };
                    state.mremap(RemapRequest { addr: at, old_len: len, new_len, flags, new_addr: addr }, &by)
                }
                _ => state.mlock(at, len, false, &by),
            };
            let Ok(work) = work else {
                assert_eq!((HostModel::of(&state), state.heap.clone(), state.map.totals()), before);
                continue;
            };
            if roll(4) == 0 && !work.is_empty() {
                state.undo(&work.undo, 0);
                let now = HostModel::of(&state);
                assert_eq!((now, state.heap.clone()), (before.0, before.1));
                continue;
            }
            host.perform(&work);
            assert_eq!(host, HostModel::of(&state), "{:?}", work.ops);
        }
    }
}

#[test]
fn errors_of_mmap() {
    let mut s = state();
    let by = alone();
    let mut fails = |ask: MapRequest| s.mmap(ask, &by).err();
    assert_eq!(fails(anon(0, 0, 3, MAP_PRIVATE)), Some(Errno::EINVAL));
    assert_eq!(fails(anon(0, u64::MAX, 3, MAP_PRIVATE)), Some(Errno::ENOMEM));
    assert_eq!(fails(anon(0, TOP, 3, MAP_PRIVATE)), Some(Errno::ENOMEM));
    assert_eq!(fails(anon(0, 4096, 3, 0)), Some(Errno::EINVAL));
    assert_eq!(fails(anon(1, 4096, 3, MAP_PRIVATE | MAP_FIXED)), Some(Errno::EINVAL));
    assert_eq!(fails(anon(0x1000, 4096, 3, MAP_PRIVATE | MAP_FIXED)), Some(Errno::EPERM));
    assert_eq!(fails(anon(TOP, 4096, 3, MAP_PRIVATE | MAP_FIXED)), Some(Errno::ENOMEM));
    assert_eq!(fails(anon(0x80_4000, 4096, 3, MAP_PRIVATE | MAP_FIXED)), Some(Errno::EPERM));
    assert_eq!(fails(anon(0x80_4000, 4096, 3, MAP_PRIVATE | MAP_FIXED_NOREPLACE)), Some(Errno::EEXIST));
    assert_eq!(fails(anon(0, 4096, 3, MAP_SHARED | MAP_GROWSDOWN)), Some(Errno::EINVAL));
    assert_eq!(fails(anon(0, 2 << 20, 3, MAP_PRIVATE | MAP_HUGETLB)), Some(Errno::ENOMEM));
}

#[test]
fn limits() {
    let mut s = state();
    let vdso = s.map.totals().size;
    let mut by = alone();
    by.bounds = Bounds { address_space: vdso + 0x4000, data: 0x2000, stack: 8 << 20, memlock: 0x1000, can_lock: false };
    assert_eq!(s.mmap(anon(0, 0x3000, 3, MAP_PRIVATE), &by).err(), Some(Errno::ENOMEM));
    assert!(s.mmap(anon(0x10_0000, 0x4000, 1, MAP_PRIVATE), &by).is_ok());
    assert_eq!(s.mmap(anon(0, 0x1000, 1, MAP_PRIVATE), &by).err(), Some(Errno::ENOMEM));
    // What replaces does not grow.
    assert!(s.mmap(anon(0x10_0000, 0x1000, 1, MAP_PRIVATE | MAP_FIXED), &by).is_ok());
    assert_eq!(s.mprotect(0x10_0000, 0x3000, 3, &by).err(), Some(Errno::ENOMEM));
    assert!(s.mprotect(0x10_0000, 0x2000, 3, &by).is_ok());
    assert_eq!(s.mlock(0x10_0000, 0x2000, false, &by).err(), Some(Errno::ENOMEM));
    assert!(s.mlock(0x10_0001, 1, false, &by).is_ok());
    assert_eq!(s.map.totals().locked, 0x1000);
    assert!(s.munlock(0x10_0000, 0x1000).is_ok());
    assert_eq!(s.map.totals().locked, 0);
    by.bounds.memlock = 0;
    assert_eq!(s.mlockall(MCL_CURRENT, &by).err(), Some(Errno::EPERM));
}

#[test]
fn a_range_that_is_leaving_is_given_to_no_one() {
    struct Counted(std::sync::atomic::AtomicU64);
    impl Requester for Counted {
        fn requests(&self) -> u64 {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }
    let who: std::sync::Arc<Counted> = std::sync::Arc::new(Counted(7.into()));
    let weak: std::sync::Weak<Counted> = std::sync::Arc::downgrade(&who);
    let by = Asker { who: weak, count: 7, alone: false, bounds: Bounds::NONE };
    let mut s = state();
    let first = s.mmap(anon(0, 0x1000, 3, MAP_PRIVATE), &by).ok().map(|w| w.value());
    let at = first.unwrap_or(0) as u64;
    assert!(s.munmap(at, 0x1000, &by).is_ok());
    let second = s.mmap(anon(0, 0x1000, 3, MAP_PRIVATE), &by).ok().map(|w| w.value());
    assert_ne!(second, first);
    who.0.store(8, std::sync::atomic::Ordering::Relaxed);
    let third = s.mmap(anon(0, 0x1000, 3, MAP_PRIVATE), &by).ok().map(|w| w.value());
    assert_eq!(third, first);
}

#[test]
fn advice() {
    let mut s = state();
    let by = alone();
    let at = s.mmap(anon(0, 0x4000, 3, MAP_PRIVATE), &by).map_or(0, |w| w.value()) as u64;
    assert_eq!(s.madvise(at, 0x1000, MADV_MERGEABLE).err(), Some(Errno::EINVAL));
    assert_eq!(s.madvise(at + 1, 0x1000, MADV_DONTNEED).err(), Some(Errno::EINVAL));
    assert_eq!(s.madvise(at, 0, MADV_DONTNEED).ok().map(|w| w.is_empty()), Some(true));
    let hole = s.madvise(at, 0x5000, MADV_DONTNEED).ok();
    assert_eq!(hole.as_ref().map(|w| (w.ops.len(), w.value())), Some((1, -12)));
    assert!(s.madvise(at, 0x1000, MADV_DONTFORK).is_ok());
    assert_eq!(s.map.len(), 2 + 2);
    let child = s.fork();
    assert!(child.map.find(at).is_none() && child.map.find(at + 0x1000).is_some());
    assert!(s.madvise(at, 0x4000, MADV_DOFORK).is_ok());
    assert_eq!(s.map.len(), 2 + 1);
}

#[test]
fn the_host_is_given_only_advice_that_the_filter_lets_through() {
    // `platform::filter`: a stub that gives other advice is killed.
    const ALLOWED: [u64; 17] = [0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 20, 22, 23];
    let by = alone();
    for advice in 0..200 {
        let mut s = state();
        let at = s.mmap(anon(0, 0x4000, 3, MAP_PRIVATE), &by).map_or(0, |w| w.value()) as u64;
        for op in s.madvise(at, 0x1000, advice).map_or(Vec::new(), |w| w.ops) {
            let Op::Call { args: [_, _, Arg::Val(advice), ..], .. } = op else { panic!("{op:?}") };
            assert!(ALLOWED.contains(&advice), "{advice}");
        }
    }
}
