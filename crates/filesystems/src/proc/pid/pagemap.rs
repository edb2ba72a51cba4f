//! /proc/PID/pagemap: what is known of each page. proc_pid_pagemap(5).
//!
//! Guest memory is memory of the stub process at the same addresses, so the host's flags are the guest's; frame numbers are the host's own affair, and 0.
//! Of addresses that no area of the guest has nothing is told: the stub's own are among them.

use super::super::access::may_read;
use super::{Subject, owner};
use crate::pseudo::{Content, Node};
use abi::Errno;
use abi::fs::{OpenFlags, SEEK_CUR, SEEK_SET};
use abi::mm::PAGE_SIZE;
use kernel::mm::{MapsLine, Mm};
use kernel::vfs::FileOps;
use kernel::{Io, Op, Sink, fail};
use std::any::Any;
use std::sync::{Arc, Weak};

/// Soft-dirty, exclusive, write-protected, guard, file or shared, swapped, present: bits 55 to 63.
const FLAGS: u64 = !0 << 55;
/// Bytes for each page.
const ENTRY: u64 = 8;
/// Pages that are asked for at once.
const BATCH: u64 = 4096;
/// The end of a guest's addresses.
const END: u64 = 1 << 47;

pub fn pagemap(subject: &Subject) -> Node {
    Node::file(0o400, PageMap(subject.clone()))
}

struct PageMap(Subject);

impl Content for PageMap {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        fail(Errno::EIO)
    }
    /// The address space at the time of open.
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        let target = self.0.get()?;
        may_read(io, &target.task)?;
        Ok(Some(Arc::new(PageMapFile(target.mm().map(|mm| Arc::downgrade(&mm))))))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
}

struct PageMapFile(Option<Weak<Mm>>);

/// The flags of `count` pages from number `first` on.
fn flags(mm: &Mm, areas: &[MapsLine], first: u64, count: u64) -> Op<Vec<u64>> {
    let (start, end) = (first * PAGE_SIZE, (first + count) * PAGE_SIZE);
    let mut pages = vec![0; count as usize];
    for area in areas.iter().filter(|area| area.range.start < end && area.range.end > start) {
        let from = (area.range.start.max(start) - start) / PAGE_SIZE;
        let to = (area.range.end.min(end) - start) / PAGE_SIZE;
        if let Some(part) = pages.get_mut(from as usize..to as usize) {
            platform::block_in_place(|| mm.space().pagemap(first + from, part)).ok_or(Errno::ESRCH)?;
        }
    }
    pages.iter_mut().for_each(|page| *page &= FLAGS);
    Ok(pages)
}

impl FileOps for PageMapFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let at = at.unwrap_or(0);
        if !at.is_multiple_of(ENTRY) || !(to.left() as u64).is_multiple_of(ENTRY) {
            return fail(Errno::EINVAL);
        }
        let Some(mm) = self.0.as_ref().and_then(Weak::upgrade) else { return Ok(0) };
        let areas = mm.maps();
        let mut done = 0;
        while to.left() > 0 {
            let first = (at + done as u64) / ENTRY;
            let count = (to.left() as u64 / ENTRY).min(BATCH).min((END / PAGE_SIZE).saturating_sub(first));
            if count == 0 {
                break;
            }
            let bytes: Vec<u8> = flags(&mm, &areas, first, count)?.iter().flat_map(|page| page.to_le_bytes()).collect();
            let put = to.put(&bytes)?;
            done += put;
            if put < bytes.len() {
                break;
            }
        }
        Ok(done)
    }

    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, from: u64) -> Op<u64> {
        match whence {
            SEEK_SET => u64::try_from(offset).map_err(|_| Errno::EINVAL.into()),
            SEEK_CUR => from.checked_add_signed(offset).ok_or(Errno::EINVAL.into()),
            _ => fail(Errno::EINVAL),
        }
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
