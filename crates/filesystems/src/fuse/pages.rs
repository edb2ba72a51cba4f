//! The pages of a file that are kept: a server's file as Linux' page cache has it. fuse(4), mmap(2).
//!
//! Read pages are on the heap while the file is small, else in a memfd, which is also what guests map. What is `dirty` is newer than the server's
//! copy: by writes, where the server agreed to FUSE_WRITEBACK_CACHE, and by shared mappings, of which only the contents tell: `shared` has a hash
//! of each page as the server knows it. Neighbours: `data`, `writeback`. Locks: `FileState` around the pages, with host calls on
//! the memfd under it, which wait for nothing but memory.

use super::handle::Handle;
use super::node::Node;
use super::ranges::Ranges;
use super::request::Ask;
use super::wire::Out;
use abi::Errno;
use abi::fuse::*;
use host::{HostFd, file};
use kernel::Io;
use kernel::op::{Op, Stop};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::ops::Range;
use std::sync::Arc;

pub(super) const PAGE: u64 = 4096;
/// Pages of a file that a guest may change by shared mappings: each is looked at when the server is to be told.
const SHARED_MAX: u64 = (1 << 30) / PAGE;
/// Bytes that a file may have on the heap.
const HEAP_MAX: u64 = 64 << 10;
/// Dirty bytes of a file beyond which a writer waits for the server.
pub(super) const DIRTY_MAX: u64 = 4 << 20;

/// See the module.
#[derive(Default)]
pub(super) struct Pages {
    heap: Vec<u8>,
    memfd: Option<Arc<HostFd>>,
    /// In whole pages; what lies beyond the file's end is zero.
    valid: Ranges,
    /// In bytes.
    pub(super) dirty: Ranges,
    /// Somebody may have mapped the memfd: as long as the file is open anywhere.
    pub mapped: bool,
    /// Pages that a guest may change by a shared mapping, and a hash of each as the server knows it.
    shared: BTreeMap<u64, u64>,
}

fn hash(page: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(page);
    hasher.finish()
}

pub(super) fn page_down(at: u64) -> u64 {
    at / PAGE * PAGE
}

pub(super) fn page_up(at: u64) -> u64 {
    at.div_ceil(PAGE).saturating_mul(PAGE)
}

impl Pages {
    /// Fills `into`; what is not there is zero.
    fn load(&self, at: u64, into: &mut [u8]) -> Result<(), Errno> {
        let mut got = 0;
        match &self.memfd {
            Some(fd) => {
                while let Some(rest) = into.get_mut(got..).filter(|rest| !rest.is_empty()) {
                    match file::read_at(fd, rest, at + got as u64)? {
                        0 => break,
                        count => got += count,
                    }
                }
            }
            None => {
                let from = usize::try_from(at).ok().and_then(|at| self.heap.get(at..)).unwrap_or_default();
                got = from.len().min(into.len());
                if let (Some(to), Some(from)) = (into.get_mut(..got), from.get(..got)) {
                    to.copy_from_slice(from);
                }
            }
        }
        into.get_mut(got..).unwrap_or_default().fill(0);
        Ok(())
    }

    fn store(&mut self, at: u64, data: &[u8]) -> Result<(), Errno> {
        let end = at.saturating_add(data.len() as u64);
        if self.memfd.is_none() && end <= HEAP_MAX {
            if self.heap.len() < end as usize {
                self.heap.resize(end as usize, 0);
            }
            if let Some(to) = self.heap.get_mut(at as usize..end as usize) {
                to.copy_from_slice(data);
            }
            return Ok(());
        }
        let fd = self.memfd()?;
        let mut put = 0;
        while let Some(rest) = data.get(put..).filter(|rest| !rest.is_empty()) {
            put += file::write_at(&fd, rest, at + put as u64)?;
        }
        Ok(())
    }

    fn memfd(&mut self) -> Result<Arc<HostFd>, Errno> {
        if let Some(fd) = &self.memfd {
            return Ok(fd.clone());
        }
        let fd = HostFd::new(host::memory::memfd("fuse", false)?);
        let heap = std::mem::take(&mut self.heap);
        self.memfd = Some(fd.clone());
        self.store(0, &heap)?;
        Ok(fd)
    }

    /// The hash of a page as it is now.
    fn page_hash(&self, page: u64) -> Result<u64, Errno> {
        let mut buffer = [0; PAGE as usize];
        self.load(page, &mut buffer)?;
        Ok(hash(&buffer))
    }

    /// The server's own data, which makes whole pages right. `size` is the file's.
    fn fill(&mut self, at: u64, data: &[u8], size: u64) -> Result<(), Errno> {
        // What is dirty is newer.
        let range = at..at.saturating_add(data.len() as u64);
        let newer: Vec<(u64, Vec<u8>)> = self
            .dirty
            .within(range.clone())
            .into_iter()
            .map(|part| {
                let mut bytes = vec![0; (part.end - part.start) as usize];
                self.load(part.start, &mut bytes).map(|()| (part.start, bytes))
            })
            .collect::<Result<_, _>>()?;
        self.store(at, data)?;
        for (at, bytes) in newer {
            self.store(at, &bytes)?;
        }
        let end = if range.end >= size { page_up(range.end) } else { page_down(range.end) };
        self.valid.insert(page_up(at)..end.max(page_up(at)));
        let pages: Vec<u64> = self.shared.range(page_down(at)..end).map(|(page, _)| *page).collect();
        for page in pages {
            let now = self.page_hash(page)?;
            self.shared.insert(page, now);
        }
        Ok(())
    }

    /// What was written to the server, or is to be: the pages that are kept have it, too.
    fn update(&mut self, at: u64, data: &[u8], size: u64) -> Result<(), Errno> {
        let range = at..at.saturating_add(data.len() as u64);
        let whole = page_up(range.start)..if range.end >= size { page_up(range.end) } else { page_down(range.end) };
        let keeps_all = self.memfd.is_some();
        let clean: Vec<u64> = self
            .shared
            .range(page_down(range.start)..range.end)
            .filter(|(page, known)| self.page_hash(**page).is_ok_and(|now| now == **known))
            .map(|(page, _)| *page)
            .collect();
        let parts = if keeps_all { vec![range.clone()] } else { self.valid.within(range.clone()) };
        for part in parts {
            let from = (part.start - at) as usize..(part.end - at) as usize;
            self.store(part.start, data.get(from).unwrap_or_default())?;
        }
        if keeps_all && !whole.is_empty() {
            self.valid.insert(whole);
        }
        for page in clean {
            let now = self.page_hash(page)?;
            self.shared.insert(page, now);
        }
        Ok(())
    }

    /// The file has another size.
    fn resize(&mut self, size: u64) -> Result<(), Errno> {
        self.dirty.remove(size..u64::MAX);
        self.valid.remove(page_up(size)..u64::MAX);
        self.shared.split_off(&page_up(size));
        self.heap.truncate(size.min(HEAP_MAX) as usize);
        match &self.memfd {
            Some(fd) if self.mapped || file::stat(fd)?.stx_size > size => file::set_size(fd, size),
            _ => Ok(()),
        }
    }

    fn forget(&mut self, range: Range<u64>) {
        let pages = page_down(range.start)..page_up(range.end);
        self.valid.remove(pages);
        // What is dirty stays right, and is written back yet.
        if self.valid.is_empty() && self.dirty.is_empty() && !self.mapped {
            self.heap = Vec::new();
            self.memfd = None;
        }
    }

    /// The first part that the server must be told, at most `most` bytes.
    pub(super) fn first_dirty(&mut self, size: u64, most: usize) -> Result<Option<(u64, Vec<u8>)>, Errno> {
        self.find_changed(size)?;
        let Some(part) = self.dirty.first() else { return Ok(None) };
        let end = part.end.min(part.start + most as u64).min(size);
        if end <= part.start {
            self.dirty.remove(part);
            return Ok(None);
        }
        let mut data = vec![0; (end - part.start) as usize];
        self.load(part.start, &mut data)?;
        Ok(Some((part.start, data)))
    }

    /// Pages that shared mappings have changed become dirty.
    fn find_changed(&mut self, size: u64) -> Result<(), Errno> {
        let mut changed = Vec::new();
        for (page, known) in &self.shared {
            if *page < size {
                let now = self.page_hash(*page)?;
                if now != *known {
                    changed.push((*page, now));
                }
            }
        }
        for (page, now) in changed {
            self.shared.insert(page, now);
            self.dirty.insert(page..(page + PAGE).min(size));
        }
        Ok(())
    }
}

impl Node {
    /// Reads what is missing of `range` from the server, with `ahead` bytes more at most. Beyond the file's end nothing is missing.
    pub fn fetch(self: &Arc<Self>, io: &mut Io<'_>, handle: &Handle, range: Range<u64>, ahead: u64) -> Op<()> {
        let most = self.conn.settings.get().map_or(PAGE, |s| page_down(s.max_read.into()));
        loop {
            let size = self.size();
            let wanted = page_down(range.start)..page_up(range.end.min(size));
            if wanted.is_empty() {
                return Ok(());
            }
            let gap = {
                let pages = self.pages.lock();
                let Some(gap) = pages.valid.first_gap(wanted.clone()) else { return Ok(()) };
                let end = page_up((gap.end + ahead).min(size)).min(gap.start + most);
                pages.valid.first_gap(gap.start..end).unwrap_or(gap)
            };
            let len = (gap.end - gap.start).min(most);
            let args =
                Out::default().u64(handle.fh).u64(gap.start).u32(len as u32).u32(0).u64(0).u32(handle.flags).u32(0);
            let ask = Ask { op: FUSE_READ, node: self.id, key: &args.0, reply: 0..=len as usize };
            let result = self.conn.ask(
                io,
                &ask,
                || Ok(Out::request().bytes(&args.0)),
                |_, answer| self.fetched(gap.start, len, size, &answer?),
            );
            if result != Err(Stop::Block) {
                // When the page goes again, it is asked for again.
                self.conn.forget_answer(io, FUSE_READ, self.id, &args.0);
            }
            result?;
        }
    }

    /// The server's answer to a read of pages, made when the file had this size. A short one ends the file, unless its size is ours to know.
    fn fetched(&self, at: u64, len: u64, size: u64, data: &[u8]) -> Result<(), Errno> {
        let end = at + data.len() as u64;
        let mut known = size;
        if end < (at + len).min(size) && !self.conn.has(FUSE_WRITEBACK_CACHE) {
            let mut state = self.state.lock();
            if state.attr.size == size {
                state.attr.size = end;
                state.until = 0;
                known = end;
            }
        }
        let mut whole = data.to_vec();
        whole.resize((len.min(known.saturating_sub(at)) as usize).max(data.len()), 0);
        self.pages.lock().fill(at, &whole, known)
    }

    /// Copies pages, which `fetch` has brought. False: they have gone since.
    pub fn load(&self, at: u64, into: &mut [u8]) -> Op<bool> {
        let pages = self.pages.lock();
        if pages.valid.first_gap(page_down(at)..page_up(at + into.len() as u64)).is_some() {
            return Ok(false);
        }
        pages.load(at, into)?;
        Ok(true)
    }

    /// A write of the kernel's reached the server.
    pub fn written(&self, at: u64, data: &[u8]) {
        self.grown_to(at.saturating_add(data.len() as u64));
        self.expire();
        let size = self.size();
        let mut pages = self.pages.lock();
        let done = pages.update(at, data, size);
        if done.is_err() || pages.mapped && pages.resize(size).is_err() {
            pages.forget(0..u64::MAX - PAGE);
        }
    }

    /// A write that the server is told of later. The pages that it begins and ends in have been fetched.
    pub fn write_later(&self, at: u64, data: &[u8]) -> Op<()> {
        let end = at.saturating_add(data.len() as u64);
        let old = self.size();
        {
            let mut state = self.state.lock();
            state.attr.size = old.max(end);
            state.attr.mtime = kernel::time::now();
            state.attr.ctime = state.attr.mtime;
            state.touched = true;
        }
        let size = self.size();
        let mut pages = self.pages.lock();
        if old < at {
            // A gap that no one has written: zeros up to the page that the write begins in.
            pages.valid.insert(page_up(old)..page_down(at).max(page_up(old)));
        }
        pages.store(at, data)?;
        pages.dirty.insert(at..end);
        pages.valid.insert(page_down(at)..if end >= size { page_up(end) } else { page_down(end).max(page_down(at)) });
        if pages.mapped {
            pages.resize(size)?;
        }
        Ok(())
    }

    /// Bytes that the server is still to be told, as far as writes made them.
    pub fn dirty(&self) -> u64 {
        self.pages.lock().dirty.total()
    }

    /// The memfd for a mapping of `range`, all of whose pages have been fetched. ENOMEM for more pages than can be looked at.
    pub fn map(&self, range: &Range<u64>, may_write: bool) -> Op<Arc<HostFd>> {
        let size = self.size();
        let mut pages = self.pages.lock();
        let count = range.end.min(size).saturating_sub(range.start).div_ceil(PAGE);
        if may_write && count.saturating_add(pages.shared.len() as u64) > SHARED_MAX {
            return Err(Errno::ENOMEM.into());
        }
        let fd = pages.memfd()?;
        file::set_size(&fd, size)?;
        pages.mapped = true;
        if may_write {
            let end = page_up(range.end).min(page_up(size));
            let mut page = page_down(range.start);
            while page < end {
                if !pages.shared.contains_key(&page) {
                    let known = pages.page_hash(page)?;
                    pages.shared.insert(page, known);
                }
                page += PAGE;
            }
        }
        Ok(fd)
    }

    /// Nobody has the file open: nobody has it mapped.
    pub fn unmapped(&self) {
        let mut pages = self.pages.lock();
        pages.mapped = false;
        pages.shared.clear();
    }

    /// The size became another one, by the server or a truncate(2).
    pub fn resized(&self, size: u64) {
        let mut pages = self.pages.lock();
        if pages.resize(size).is_err() {
            pages.forget(0..u64::MAX - PAGE);
        }
    }

    /// What is kept of contents is no more right.
    pub fn drop_pages(&self, from: u64, len: Option<u64>) {
        let end = len.and_then(|len| from.checked_add(len)).unwrap_or(u64::MAX - PAGE);
        self.pages.lock().forget(from..end.min(u64::MAX - PAGE));
    }

    /// Contents that the server gives by itself, FUSE_NOTIFY_STORE.
    pub fn take_store(&self, at: u64, data: &[u8]) -> Op<()> {
        self.grown_to(at.saturating_add(data.len() as u64));
        let size = self.size();
        let mut pages = self.pages.lock();
        // A page that is not kept counts where all of it was given.
        let whole =
            page_up(at)..if at + data.len() as u64 >= size { page_up(size) } else { page_down(at + data.len() as u64) };
        let mut keep = pages.valid.clone();
        keep.insert(whole.start..whole.end.max(whole.start));
        for part in keep.within(at..at + data.len() as u64) {
            let from = (part.start - at) as usize..(part.end - at) as usize;
            pages.store(part.start, data.get(from).unwrap_or_default())?;
        }
        pages.valid = keep;
        Ok(())
    }

    /// Contents that are kept from `at` on, without a gap, at most `len` bytes: FUSE_NOTIFY_RETRIEVE.
    pub fn kept(&self, at: u64, len: u64) -> Op<Vec<u8>> {
        let end = at.saturating_add(len).min(self.size());
        let pages = self.pages.lock();
        let end = match pages.valid.first_gap(at..end.max(at)) {
            Some(gap) => gap.start,
            None => end.max(at),
        };
        let mut data = vec![0; (end - at) as usize];
        pages.load(at, &mut data)?;
        Ok(data)
    }
}
