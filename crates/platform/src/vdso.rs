//! The host's own vDSO, vdso(7), which every stub process keeps where it is: its place, and the function by which trampolines read clocks.
//!
//! Neighbours: `region` (asks, before anything is locked down), the stub's trampoline.rs (calls). Owns no locks.

use std::ops::Range;

use elf::ElfBytes;
use elf::endian::NativeEndian;

use crate::region::ranges;

/// Its data [vvar] and its text [vdso]. Empty ranges if there are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VdsoInfo {
    pub vvar: Range<u64>,
    pub vdso: Range<u64>,
}

impl Default for VdsoInfo {
    fn default() -> Self {
        VdsoInfo { vvar: 0..0, vdso: 0..0 }
    }
}

/// Finds [vvar] (in all its parts) and [vdso], which lie side by side, in /proc/self/maps. Empty if this process has none.
pub(crate) fn find(maps: &str) -> VdsoInfo {
    let mut info = VdsoInfo::default();
    for (range, rest) in ranges(maps) {
        if rest.contains("[vvar") {
            let start = if info.vvar.is_empty() { range.start } else { info.vvar.start.min(range.start) };
            info.vvar = start..range.end.max(info.vvar.end);
        } else if rest.ends_with("[vdso]") {
            info.vdso = range;
        }
    }
    if info.vvar.end != info.vdso.start { VdsoInfo::default() } else { info }
}

impl VdsoInfo {
    /// Address of `__vdso_clock_gettime`; 0 if there is none.
    pub(crate) fn clock_gettime(&self) -> u64 {
        let len = (self.vdso.end - self.vdso.start) as usize;
        if len == 0 {
            return 0;
        }
        // SAFETY: the host maps [vdso] here, readable, as long as this process lives, and nothing writes it.
        let image = unsafe { std::slice::from_raw_parts(self.vdso.start as *const u8, len) };
        symbol(image, "__vdso_clock_gettime").map_or(0, |offset| self.vdso.start + offset)
    }
}

/// Where a function lies in a shared object that is linked to address 0.
fn symbol(image: &[u8], name: &str) -> Option<u64> {
    let (symbols, names) = ElfBytes::<NativeEndian>::minimal_parse(image).ok()?.dynamic_symbol_table().ok()??;
    let found = symbols.iter().find(|symbol| names.get(symbol.st_name as usize).is_ok_and(|of| of == name))?;
    (found.st_value != 0 && found.st_value < image.len() as u64).then_some(found.st_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_own_reads_the_clock() {
        let info = find(&std::fs::read_to_string("/proc/self/maps").unwrap_or_default());
        let at = info.clock_gettime();
        assert!(info.vdso.contains(&at), "{info:x?} {at:x}");
        // SAFETY: clock_gettime(2)'s own arguments, by the C calling convention.
        let read: extern "C" fn(i32, *mut [u64; 2]) -> i32 = unsafe { std::mem::transmute(at) };
        let (mut before, mut after) = ([0; 2], [0; 2]);
        assert_eq!((read(1, &raw mut before), read(1, &raw mut after)), (0, 0));
        assert!(before > [0; 2] && after >= before);
        assert_eq!(symbol(b"no ELF", "x"), None);
    }
}
