//! Where the stub lives: a region that is free in this process, and so in every stub process, which all descend from it by fork.
//!
//! Neighbours: `zygote` (maps it), `space` (reports what guests may use). Owns no locks.

use std::io::Read;

use host::HostFd;

use crate::config::StartError;
use crate::layout::{REGION_ALIGN, REGION_LEN};
use crate::space::VdsoInfo;

/// Kept free below the region and below the vDSO.
const GUARD: u64 = 0x10_0000;

#[derive(Clone, Debug)]
pub(crate) struct Region {
    pub base: u64,
    pub vdso: VdsoInfo,
    /// End of what a guest may map.
    pub user_top: u64,
}

impl Region {
    /// Takes the highest free place. (Address randomisation moves our own stack and mappings about, so it is not known before.)
    pub fn reserve(proc: Option<&HostFd>) -> Result<Region, StartError> {
        let vdso = find_vdso(proc);
        // Below the stack's range (16 GiB under the top), down to where a mapping of ours may start at the lowest.
        let base = (0x7e00..0x7ffb)
            .rev()
            .map(|n| n * REGION_ALIGN)
            .find(|base| host::memory::reserve(*base, REGION_LEN).is_ok())
            .ok_or(StartError::NoRegion)?;
        let lowest = if vdso.vvar.is_empty() { base } else { base.min(vdso.vvar.start) };
        Ok(Region { base, user_top: lowest - GUARD, vdso })
    }

    /// First and end address that stay mapped besides the region.
    pub fn keep(&self) -> [u64; 2] {
        [self.vdso.vvar.start, self.vdso.vdso.end]
    }
}

fn open_maps(proc: &HostFd) -> Result<std::os::fd::OwnedFd, host::rustix::io::Errno> {
    use host::rustix::fs::{Mode, OFlags, openat};
    openat(proc, "self/maps", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Finds [vvar] (in all its parts) and [vdso], which lie side by side. Empty if this process has none.
fn find_vdso(proc: Option<&HostFd>) -> VdsoInfo {
    let mut info = VdsoInfo::default();
    let mut maps = String::new();
    if let Some(file) = proc.and_then(|proc| open_maps(proc).ok()) {
        let _ = std::fs::File::from(file).read_to_string(&mut maps);
    }
    for line in maps.lines() {
        let Some((range, rest)) = line.split_once(' ') else { continue };
        let Some((from, to)) = range.split_once('-') else { continue };
        let (Ok(from), Ok(to)) = (u64::from_str_radix(from, 16), u64::from_str_radix(to, 16)) else { continue };
        if rest.contains("[vvar") {
            let start = if info.vvar.is_empty() { from } else { info.vvar.start.min(from) };
            info.vvar = start..to.max(info.vvar.end);
        } else if rest.ends_with("[vdso]") {
            info.vdso = from..to;
        }
    }
    if info.vvar.end != info.vdso.start { VdsoInfo::default() } else { info }
}
