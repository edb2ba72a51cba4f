//! Address spaces: the map of memory areas, and the way to guest memory.
//!
//! Memory itself is the stub process' own (`docs/platform.md`); `Mm` keeps VMAs, not pages. A memory call (`mmap`, `change`,
//! `remap`) checks everything, changes the map, and gives the `Work` that the caller's stub thread performs; where the stub fails
//! the map is put back. Guest memory is read and written through the platform, after a look at the map. Locks: `MmState`.

mod area;
mod arena;
mod buffers;
mod change;
mod hot;
mod map;
mod mmap;
mod object;
mod remap;
mod state;
mod undo;
pub mod untouched;
mod view;
mod work;

pub use area::{Area, AreaFlags, Content, FileContent};
pub use buffers::UserBuffers;
pub use change::FileRange;
pub use hot::Hot;
pub use map::{AreaMap, Totals};
pub use mmap::{MapFile, MapRequest};
pub use object::Place;
pub use remap::RemapRequest;
pub use state::{Asker, Bounds, Layout, Requester, State, ceiling};
pub use view::MapsLine;
pub use work::{Donation, Ending, Work};

use crate::io::UserMemory;
use crate::locks::MmState;
use crate::op::{Op, fail};
use abi::Errno;
use abi::mm::Prot;
use lock::Mutex;
use platform::Space;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One address space.
pub struct Mm {
    space: Arc<Space>,
    /// Tasks that live in it.
    users: AtomicUsize,
    state: Mutex<State, MmState>,
    pub hot: Arc<Hot>,
}

/// The copy of a map that a fork makes, until its stub process is there.
pub struct ForkedMm {
    state: State,
    hot: Hot,
}

impl ForkedMm {
    pub fn attach(self, space: Arc<Space>) -> Arc<Mm> {
        Mm::with_hot(space, self.state, self.hot)
    }
}

/// What an access wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

impl Mm {
    /// An address space without a program.
    pub fn new(space: Arc<Space>) -> Arc<Mm> {
        let state = State::new(space.user_top(), space.vdso(), space.arena(), 0);
        Mm::with_state(space, state)
    }

    /// An address space with the map that an exec made.
    pub fn with_state(space: Arc<Space>, state: State) -> Arc<Mm> {
        Mm::with_hot(space, state, Hot::default())
    }

    fn with_hot(space: Arc<Space>, state: State, hot: Hot) -> Arc<Mm> {
        Arc::new(Mm { space, users: AtomicUsize::new(0), state: Mutex::new(state), hot: Arc::new(hot) })
    }

    /// The address space of the program that takes the place of another in its process.
    pub fn succeed(&self, state: State) -> Arc<Mm> {
        self.hot.forget();
        let (space, hot) = (self.space.clone(), self.hot.clone());
        Arc::new(Mm { space, users: AtomicUsize::new(0), state: Mutex::new(state), hot })
    }

    /// A task begins to live here.
    pub fn enter(&self) {
        self.users.fetch_add(1, Ordering::Relaxed);
    }

    /// A task leaves, by exit or exec.
    pub fn leave(&self) {
        self.users.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// What fork(2) copies.
    pub fn fork(&self) -> Op<ForkedMm> {
        Ok(ForkedMm { state: self.state.lock().fork(), hot: Hot::of_child(&self.hot) })
    }

    /// Plans a memory call for the stub: `mm.plan(|state| state.munmap(addr, len, &asker))`. The map's lock is held meanwhile.
    pub fn plan(&self, call: impl FnOnce(&mut State) -> Result<Work, Errno>) -> Result<Work, Errno> {
        let mut state = self.state.lock();
        let mut work = call(&mut state)?;
        work.reports = work.undo.let_go(&state.map);
        Ok(work)
    }

    /// Looks at the map, or changes what the stub need not know. Its lock is held meanwhile.
    pub fn on_map<T>(&self, call: impl FnOnce(&mut State) -> T) -> T {
        call(&mut self.state.lock())
    }

    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Whether somebody else may see what is written here: a shared map that can be written.
    pub fn shares_writable(&self) -> bool {
        self.state.lock().map.iter().any(|a| a.shared() && a.max_prot.contains(Prot::WRITE))
    }

    /// Whether the range lies in one private mapping of a file that may be read and executed and not be written: text that nobody is about to change.
    pub fn is_steady_text(&self, range: std::ops::Range<u64>) -> bool {
        let state = self.state.lock();
        state.map.find(range.start).is_some_and(|area| {
            let file = matches!(&area.content, Content::File(f) if f.local) && !area.shared();
            file && area.prot == Prot::READ | Prot::EXEC
                && !area.flags.contains(AreaFlags::SEALED)
                && range.end <= area.range.end
        })
    }

    /// EFAULT unless the map says that all of the range may be accessed. The memory may still be missing: beyond a file's end.
    pub fn check(&self, at: u64, len: u64, access: Access) -> Result<(), Errno> {
        if self.accessible(at, len, access).0 == len { Ok(()) } else { Err(Errno::EFAULT) }
    }

    /// How many bytes from `at` on, `len` at most, may be accessed; and whether the host may take as long as it wants for it. What is in the arena, the host will tell.
    fn accessible(&self, at: u64, len: u64, access: Access) -> (u64, bool) {
        let need = if access == Access::Write { Prot::WRITE } else { Prot::READ };
        let Some(end) = at.checked_add(len) else { return (0, false) };
        let state = self.state.lock();
        let (mut reached, mut slow) = (at, false);
        while reached < end {
            if state.arena.contains(&reached) {
                reached = state.arena.end.min(end);
                continue;
            }
            let Some(area) = state.map.find(reached).filter(|area| area.prot.contains(need)) else { break };
            reached = area.range.end.min(end);
        }
        for area in state.map.overlapping(&(at..reached)) {
            slow |= matches!(&area.content, Content::File(f) if !f.local);
        }
        (reached - at, slow)
    }

    /// Reads a prefix; EFAULT when not even one byte is there.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Op<usize> {
        if self.space.read_brought(at, into) {
            return Ok(into.len());
        }
        untouched::before_read(self, at, into.len());
        let (len, slow) = self.accessible(at, into.len() as u64, Access::Read);
        let Some(into) = into.get_mut(..len as usize).filter(|i| !i.is_empty()) else {
            return if into.is_empty() { Ok(0) } else { fail(Errno::EFAULT) };
        };
        Ok(if slow { platform::block_in_place(|| self.space.read(at, into)) } else { self.space.read(at, into) }?)
    }

    /// Writes a prefix; EFAULT when not even one byte could be written.
    pub fn write(&self, at: u64, from: &[u8]) -> Op<usize> {
        if from.is_empty() {
            return Ok(0);
        }
        if self.space.write_by_caller(at, from) {
            return Ok(from.len());
        }
        let (len, slow) = self.accessible(at, from.len() as u64, Access::Write);
        let Some(from) = from.get(..len as usize).filter(|f| !f.is_empty()) else { return fail(Errno::EFAULT) };
        if let Some(kept) = untouched::write(self, at, from) {
            return if kept == 0 { fail(Errno::EFAULT) } else { Ok(kept) };
        }
        Ok(if slow { platform::block_in_place(|| self.space.write(at, from)) } else { self.space.write(at, from) }?)
    }

    /// As a debugger writes: where the guest itself may only read, too. EIO: not all of it is the guest's private memory. May sleep.
    pub fn write_forced(&self, at: u64, from: &[u8]) -> Op<()> {
        if self.check(at, from.len() as u64, Access::Write).is_ok() {
            return self.write_exact(at, from);
        }
        if !self.is_own(at, from.len() as u64) {
            return fail(Errno::EIO);
        }
        Ok(platform::block_in_place(|| self.space.write_forced(at, from))?)
    }

    /// Whether all of a range is private memory by the map.
    fn is_own(&self, at: u64, len: u64) -> bool {
        let Some(end) = at.checked_add(len) else { return false };
        let state = self.state.lock();
        let mut reached = at;
        while reached < end {
            let own = |area: &&Area| !area.shared() && !matches!(area.content, Content::Special(_));
            match state.map.find(reached).filter(own) {
                Some(area) => reached = area.range.end,
                None if state.arena.contains(&reached) => reached = state.arena.end,
                None => return false,
            }
        }
        true
    }

    pub fn read_exact(&self, at: u64, into: &mut [u8]) -> Op<()> {
        let want = into.len();
        if want == 0 || self.read(at, into)? == want { Ok(()) } else { fail(Errno::EFAULT) }
    }

    pub fn write_exact(&self, at: u64, from: &[u8]) -> Op<()> {
        if from.is_empty() || self.write(at, from)? == from.len() { Ok(()) } else { fail(Errno::EFAULT) }
    }

    /// A string without its zero; None when it has no zero within `max` bytes.
    pub fn cstr(&self, at: u64, max: usize) -> Op<Option<Box<[u8]>>> {
        let mut brought = [0u8; 256];
        let len = brought.len().min(max);
        let got = self.space.read_brought_prefix(at, brought.get_mut(..len).unwrap_or_default());
        let got = brought.get(..got).unwrap_or_default();
        if let Some(end) = got.iter().position(|b| *b == 0) {
            return Ok(Some(got.get(..end).unwrap_or_default().into()));
        }
        let mut out = Vec::new();
        let mut at = at;
        while out.len() < max {
            // Never across a page border, beyond which there may be nothing.
            let chunk = (4096 - (at & 4095) as usize).min(256).min(max - out.len());
            let mut buffer = [0u8; 256];
            let Some(part) = buffer.get_mut(..chunk) else { break };
            let got = self.read(at, part)?;
            let part = part.get(..got).unwrap_or_default();
            if let Some(end) = part.iter().position(|b| *b == 0) {
                out.extend_from_slice(part.get(..end).unwrap_or_default());
                return Ok(Some(out.into()));
            }
            if got < chunk {
                return fail(Errno::EFAULT);
            }
            out.extend_from_slice(part);
            at = at.wrapping_add(chunk as u64);
        }
        Ok(None)
    }
}

impl UserMemory for Mm {
    fn read(&self, at: u64, into: &mut [u8]) -> Op<()> {
        self.read_exact(at, into)
    }
    fn write(&self, at: u64, from: &[u8]) -> Op<()> {
        self.write_exact(at, from)
    }
}
