//! What /proc shows of an address space: maps, totals, layout. proc_pid_maps(5), proc_pid_status(5).

use super::Mm;
use super::area::{Area, AreaFlags, Content};
use super::map::Totals;
use super::state::Layout;
use crate::vfs::File;
use abi::mm::Prot;
use std::ops::Range;
use std::sync::Arc;

/// One line of /proc/PID/maps.
#[derive(Clone)]
pub struct MapsLine {
    pub range: Range<u64>,
    pub prot: Prot,
    pub max_prot: Prot,
    pub flags: AreaFlags,
    /// In the file, or in shared memory; 0 for what is neither.
    pub offset: u64,
    /// Path, device and inode come from here.
    pub file: Option<Arc<File>>,
    /// What stands in place of a path, such as "[heap]" or "[anon:name]".
    pub label: Option<String>,
}

impl MapsLine {
    /// The second column, such as "r-xp".
    pub fn permissions(&self) -> String {
        let bit = |prot: Prot, c: char| if self.prot.contains(prot) { c } else { '-' };
        let kind = if self.flags.contains(AreaFlags::SHARED) { 's' } else { 'p' };
        [bit(Prot::READ, 'r'), bit(Prot::WRITE, 'w'), bit(Prot::EXEC, 'x'), kind].iter().collect()
    }

    /// VmFlags of /proc/PID/smaps: two letters each.
    pub fn vm_flags(&self) -> String {
        let mut out = String::new();
        let mut add = |on: bool, name: &str| {
            if on {
                out.push_str(name);
                out.push(' ');
            }
        };
        add(self.prot.contains(Prot::READ), "rd");
        add(self.prot.contains(Prot::WRITE), "wr");
        add(self.prot.contains(Prot::EXEC), "ex");
        // A shared mapping that can never be written is none to Linux, but for its name.
        let shared = self.flags.contains(AreaFlags::SHARED);
        add(shared && self.max_prot.contains(Prot::WRITE), "sh");
        add(self.max_prot.contains(Prot::READ), "mr");
        add(self.max_prot.contains(Prot::WRITE), "mw");
        add(self.max_prot.contains(Prot::EXEC), "me");
        add(shared, "ms");
        add(self.flags.contains(AreaFlags::GROWSDOWN), "gd");
        add(self.flags.contains(AreaFlags::LOCKED), "lo");
        add(self.flags.contains(AreaFlags::SEQUENTIAL), "sr");
        add(self.flags.contains(AreaFlags::RANDOM), "rr");
        add(self.flags.contains(AreaFlags::DONTFORK), "dc");
        add(self.flags.contains(AreaFlags::LOCK_ONFAULT), "lf");
        add(self.flags.contains(AreaFlags::NORESERVE), "nr");
        add(self.flags.contains(AreaFlags::WIPEONFORK), "wf");
        add(self.flags.contains(AreaFlags::DONTDUMP), "dd");
        add(self.flags.contains(AreaFlags::HUGEPAGE), "hg");
        add(self.flags.contains(AreaFlags::NOHUGEPAGE), "nh");
        out
    }
}

impl Mm {
    /// The lines of /proc/PID/maps, rising. May sleep.
    pub fn maps(&self) -> Vec<MapsLine> {
        self.refresh();
        let state = self.state.lock();
        let (heap, stack) = (state.heap.clone(), state.layout.start_stack);
        state.map.iter().map(|area| line(area, &heap, stack)).collect()
    }

    /// Bytes by kind. May sleep.
    pub fn totals(&self) -> Totals {
        self.refresh();
        self.state.lock().map.totals()
    }

    pub fn layout(&self) -> Layout {
        self.state.lock().layout.clone()
    }

    /// The arguments as they lie in guest memory, each ended by a zero: /proc/PID/cmdline. At most a page; empty where nothing is there.
    pub fn command_line(&self) -> Vec<u8> {
        let args = self.layout().args;
        let mut line = vec![0u8; (args.end.saturating_sub(args.start)).min(4096) as usize];
        let count = self.read(args.start, &mut line).unwrap_or(0);
        line.truncate(count);
        line
    }

    /// Resident memory in bytes, by the host's count.
    pub fn resident_bytes(&self) -> u64 {
        self.space().pages().map_or(0, |pages| pages[1] * 4096)
    }

    /// The most memory in bytes that was resident at once, by the host's count: since the stub process began, so also of a program
    /// that ran in it before an exec in place.
    pub fn peak_bytes(&self) -> u64 {
        self.space().peak_kb().unwrap_or(0) * 1024
    }

    /// prctl(2) PR_SET_MM changes the layout; the caller has checked it.
    pub fn set_layout(&self, change: impl FnOnce(&mut Layout)) {
        change(&mut self.state.lock().layout);
    }

    /// The heap's start and the current break.
    pub fn heap(&self) -> Range<u64> {
        self.state.lock().heap.clone()
    }

    pub fn set_heap(&self, heap: Range<u64>) {
        self.state.lock().heap = heap;
    }

    /// How many areas there are.
    pub fn area_count(&self) -> usize {
        self.state.lock().map.len()
    }

    /// The area at an address.
    pub fn area_at(&self, at: u64) -> Option<Area> {
        self.state.lock().map.find(at).cloned()
    }

    /// Where a file is mapped for execution: /proc/PID/exe may not be replaced while it is (prctl PR_SET_MM_EXE_FILE).
    pub fn executes(&self, inode: &Arc<crate::vfs::Inode>) -> bool {
        self.state.lock().map.iter().any(|a| match &a.content {
            Content::File(f) => {
                a.prot.contains(Prot::EXEC) && f.file.inode.as_ref().is_some_and(|i| Arc::ptr_eq(i, inode))
            }
            _ => false,
        })
    }
}

fn line(area: &Area, heap: &Range<u64>, stack: u64) -> MapsLine {
    let (offset, file, label) = match &area.content {
        Content::File(f) => (f.offset, Some(f.file.clone()), None),
        Content::Special(name) => (0, None, Some((*name).to_owned())),
        Content::SharedAnonymous { offset, .. } => (*offset, None, Some("/dev/zero (deleted)".to_owned())),
        Content::Anonymous => {
            let label = if let Some(name) = &area.name {
                Some(format!("[anon:{name}]"))
            } else if area.range.start < heap.end && heap.start < area.range.end {
                Some("[heap]".to_owned())
            } else if area.range.contains(&stack) {
                Some("[stack]".to_owned())
            } else {
                None
            };
            (0, None, label)
        }
    };
    let Area { range, prot, max_prot, flags, .. } = area.clone();
    MapsLine { range, prot, max_prot, flags, offset, file, label }
}
