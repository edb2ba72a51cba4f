//! The arena: the range of addresses in which guest code maps, unmaps and protects private anonymous memory by the host's own calls
//! (docs/adr/0006). What the map says of it may be out of date, so who needs to know asks the host first.
//!
//! Nothing else lies there but what a guest wants there at a fixed address. Neighbours: `platform::Space` (reads the host's map), `state`.
//! Takes `MmState`, and never over the host call.

use super::Mm;
use super::area::{Area, AreaFlags, Content};
use super::state::State;
use abi::Errno;
use abi::mm::Prot;
use platform::HostMap;

impl Mm {
    /// Brings the map of the arena up to date. May sleep.
    pub fn refresh(&self) {
        if self.space.arena().is_empty() {
            return;
        }
        let Some(maps) = platform::block_in_place(|| self.space.arena_maps()) else { return };
        let gone = self.state.lock().reconcile(&maps);
        drop(gone); // perhaps the last references to files
    }

    /// The same, if `len` bytes at `at` reach into the arena.
    pub fn refresh_at(&self, at: u64, len: u64) {
        let arena = self.space.arena();
        if at < arena.end && arena.start < at.saturating_add(len) {
            self.refresh();
        }
    }

    /// Has the host hold the process to RLIMIT_AS and RLIMIT_DATA (bytes), which it must keep to in the arena.
    pub fn limit_host(&self, address_space: u64, data: u64) -> Result<(), Errno> {
        if self.space.arena().is_empty() {
            return Ok(());
        }
        let totals = self.totals();
        self.space.limit_memory([address_space, data], [totals.size, totals.data])
    }
}

impl State {
    /// Takes over what the host has mapped in the arena. Returns what the map had there before.
    fn reconcile(&mut self, maps: &[HostMap]) -> Vec<Area> {
        let old = self.map.remove(&self.arena.clone());
        for host in maps {
            let mut at = host.range.start;
            let within = |a: &&Area| a.range.start < host.range.end && host.range.start < a.range.end;
            for known in old.iter().filter(within).filter(|a| is_behind(host, a)) {
                let part = known.cut(&host.range);
                self.find_out(host, at, part.range.start);
                at = part.range.end;
                self.map.insert(Area { prot: Prot::from_bits_truncate(host.prot), ..part });
            }
            self.find_out(host, at, host.range.end);
        }
        old
    }

    /// Memory that the guest has mapped since.
    fn find_out(&mut self, host: &HostMap, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let mut flags = self.lock_future;
        flags.set(AreaFlags::SHARED, host.shared);
        let prot = Prot::from_bits_truncate(host.prot);
        let max_prot = Prot::all();
        self.map.insert(Area { range: start..end, prot, max_prot, flags, content: Content::Anonymous, name: None });
    }
}

/// Whether a known area can still be what the host has there.
fn is_behind(host: &HostMap, area: &Area) -> bool {
    let file = matches!(area.content, Content::File(_)) || area.shared();
    file == host.file && area.shared() == host.shared
}

#[cfg(test)]
mod tests {
    use super::*;
    use platform::VdsoInfo;
    use std::sync::Arc;

    const ARENA: std::ops::Range<u64> = 0x7000_0000..0x8000_0000;

    fn host(range: std::ops::Range<u64>, prot: u32) -> HostMap {
        HostMap { range, prot, shared: false, file: false }
    }

    fn shown(state: &State) -> Vec<(u64, u64, u32, bool)> {
        state.map.iter().map(|a| (a.range.start, a.range.end, a.prot.bits(), a.name.is_some())).collect()
    }

    #[test]
    fn the_hosts_map_counts_in_the_arena() {
        let mut state = State::new(0x7fff_0000_0000, VdsoInfo::default(), ARENA, 0);
        assert!(state.base <= ARENA.start);
        state.reconcile(&[host(0x7000_0000..0x7000_4000, 3), host(0x7fff_0000..0x8000_0000, 1)]);
        assert_eq!(shown(&state), [(0x7000_0000, 0x7000_4000, 3, false), (0x7fff_0000, 0x8000_0000, 1, false)]);
        assert_eq!(state.map.totals().size, 0x1_4000);
        // A name stays where the memory does; protections and ends are the host's.
        state.map.modify(&(0x7000_1000..0x7000_2000), |a| a.name = Some(Arc::from("x")));
        state.reconcile(&[host(0x7000_0000..0x7000_8000, 0)]);
        assert_eq!(
            shown(&state),
            [
                (0x7000_0000, 0x7000_1000, 0, false),
                (0x7000_1000, 0x7000_2000, 0, true),
                (0x7000_2000, 0x7000_8000, 0, false)
            ]
        );
        state.reconcile(&[]);
        assert!(state.map.is_empty());
    }
}
