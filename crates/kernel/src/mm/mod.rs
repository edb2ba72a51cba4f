//! Address spaces: the map of memory areas, and the way to guest memory.
//!
//! Memory itself is the stub process' own (`docs/platform.md`); `Mm` keeps VMAs, not pages. Locks: `MmState`.

mod buffers;

pub use buffers::UserBuffers;

use crate::io::UserMemory;
use crate::op::{Op, fail};
use abi::Errno;
use platform::Space;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One address space.
pub struct Mm {
    space: Arc<Space>,
    /// Tasks that live in it.
    users: AtomicUsize,
}

/// The copy of a map that a fork makes, until its stub process is there.
pub struct ForkedMm {}

impl ForkedMm {
    pub fn attach(self, space: Arc<Space>) -> Arc<Mm> {
        Mm::new(space)
    }
}

impl Mm {
    pub fn new(space: Arc<Space>) -> Arc<Mm> {
        Arc::new(Mm { space, users: AtomicUsize::new(0) })
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
        Ok(ForkedMm {})
    }

    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// Reads a prefix; EFAULT when not even one byte is there.
    pub fn read(&self, at: u64, into: &mut [u8]) -> Op<usize> {
        Ok(self.space.read(at, into)?)
    }

    pub fn write(&self, at: u64, from: &[u8]) -> Op<usize> {
        Ok(self.space.write(at, from)?)
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
