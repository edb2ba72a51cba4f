//! Where the stub lives: a region that is free in this process, and so in every stub process, which all descend from it by fork.
//!
//! Neighbours: `zygote` (maps it), `space` (reports what guests may use). Owns no locks.

use std::io::Read;
use std::ops::Range;

use host::HostFd;

use crate::config::StartError;
use crate::layout::{REGION_ALIGN, REGION_LEN};
use crate::vdso::{self, VdsoInfo};

/// Kept free below the region and below the vDSO.
const GUARD: u64 = 0x10_0000;
/// The filter compares the upper halves of addresses, so the arena is made of whole units of 4 GiB.
pub(crate) const ARENA_UNIT: u64 = 1 << 32;
const ARENA_LEN: u64 = 64 * ARENA_UNIT;

#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub base: u64,
    pub vdso: VdsoInfo,
    /// End of what a guest may map.
    pub user_top: u64,
    /// Where guest code maps private anonymous memory by itself (docs/adr/0006): the top of what it may map. Empty: nowhere.
    pub arena: Range<u64>,
    /// What the seed takes out of use, apart from the region and the vDSO, so that the host's own first choice for new maps is in the arena. It begins with at
    /// least a unit behind the arena's end, where a map that begins in the arena and is shorter than a unit may end.
    pub plug: Range<u64>,
}

impl Region {
    /// Takes the highest free place. (Address randomisation moves our own stack and mappings about, so it is not known before.)
    /// `delegate`: with an arena, where there is room for one.
    pub fn reserve(proc: Option<&HostFd>, delegate: bool) -> Result<Region, StartError> {
        let maps = own_maps(proc);
        let vdso = vdso::find(&maps);
        let mmap_base = if delegate { find_mmap_base(proc) } else { None };
        // Below the stack's range (16 GiB under the top), down to where a mapping of ours may start at the lowest.
        let base = (0x7e00..0x7ffb)
            .rev()
            .map(|n| n * REGION_ALIGN)
            .find(|base| host::memory::reserve(*base, REGION_LEN).is_ok())
            .ok_or(StartError::NoRegion)?;
        let lowest = if vdso.vvar.is_empty() { base } else { base.min(vdso.vvar.start) };
        let (arena, plug) = mmap_base.map_or((0..0, 0..0), |at| arena(at, lowest));
        let user_top = if arena.is_empty() { lowest - GUARD } else { arena.end };
        Ok(Region { base, user_top, vdso, arena, plug })
    }

    /// Whether the host puts nothing in the region that could go elsewhere: it begins its search below.
    pub fn is_out_of_the_way(&self) -> bool {
        !self.plug.is_empty() && self.plug.end <= self.base
    }

    /// First and end address that stay mapped besides the region.
    pub fn keep(&self) -> [u64; 2] {
        [self.vdso.vvar.start, self.vdso.vdso.end]
    }
}

/// Arena and plug for a host that begins its search for room at `mmap_base` and goes down from there, where what is ours begins at `lowest`.
fn arena(mmap_base: u64, lowest: u64) -> (Range<u64>, Range<u64>) {
    let end = (lowest.min(mmap_base) & !(ARENA_UNIT - 1)) - ARENA_UNIT;
    (end - ARENA_LEN..end, end..mmap_base)
}

/// /proc/self/maps; empty if there is no procfs.
fn own_maps(proc: Option<&HostFd>) -> String {
    use host::rustix::fs::{Mode, OFlags, openat};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut maps = String::new();
    if let Some(file) = proc.and_then(|proc| openat(proc, "self/maps", flags, Mode::empty()).ok()) {
        let _ = std::fs::File::from(file).read_to_string(&mut maps);
    }
    maps
}

/// The ranges of a text of /proc/PID/maps, with the rest of their lines.
pub(crate) fn ranges(maps: &str) -> impl Iterator<Item = (Range<u64>, &str)> {
    maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (from, to) = range.split_once('-')?;
        Some((u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?, rest))
    })
}

/// Where the host begins its search for room: the end of the row of maps that lies right above its choice for one more page.
fn find_mmap_base(proc: Option<&HostFd>) -> Option<u64> {
    let above = host::memory::next_place().ok()? + 4096;
    let maps = own_maps(proc);
    let mut end = above;
    for (range, _) in ranges(&maps).skip_while(|(range, _)| range.start < above) {
        if range.start != end {
            break;
        }
        end = range.end;
    }
    (!maps.is_empty()).then_some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_first_choice_is_in_the_arena() {
        // Without address randomisation the host begins above the region, with it mostly below.
        let (found, plug) = arena(0x7fff_f7ff_f000, 0x7ffa_0000_0000);
        assert_eq!((found, plug), (0x7fb9_0000_0000..0x7ff9_0000_0000, 0x7ff9_0000_0000..0x7fff_f7ff_f000));
        let (found, plug) = arena(0x7f12_3456_7000, 0x7ffa_0000_0000);
        assert_eq!((found, plug), (0x7ed1_0000_0000..0x7f11_0000_0000, 0x7f11_0000_0000..0x7f12_3456_7000));
    }
}
