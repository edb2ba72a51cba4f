//! Memory: shared bytes that another process may write at any time, and other processes' memory (process_vm_readv(2), memfd_create(2)).
//!
//! None of the calls sleeps, apart from page faults: process_vm on a mapping of a file that a FUSE server or the network holds can wait for ever, so the
//! caller checks by its own map what lies there. Owns no locks.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr::NonNull;

use abi::Errno;
use rustix::fs::{MemfdFlags, SealFlags};

/// Memory that is shared with a hostile process: copied in and out, never borrowed as a slice.
#[derive(Clone, Copy, Debug)]
pub struct SharedBytes {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: only raw copies go through it, which assume nothing about the contents; who makes one says that the mapping stays.
unsafe impl Send for SharedBytes {}
// SAFETY: as above.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// # Safety
    /// `start..start + len` stays mapped, readable and writable as long as the value or a copy of it is used.
    pub unsafe fn new(start: NonNull<u8>, len: usize) -> SharedBytes {
        SharedBytes { start, len }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first byte's address.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The part from `offset` on; `None` if it does not fit.
    pub fn slice(&self, offset: usize, len: usize) -> Option<SharedBytes> {
        if offset.checked_add(len)? > self.len {
            return None;
        }
        // SAFETY: inside the range.
        Some(SharedBytes { start: unsafe { self.start.add(offset) }, len })
    }

    /// Copies out as much as fits; returns how much.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let n = into.len().min(self.len.saturating_sub(offset));
        // SAFETY: inside the mapping by the minimum; a racing writer makes the bytes arbitrary, no more: u8 has no invalid values, and the copy is an opaque
        // memcpy into memory of our own.
        unsafe { std::ptr::copy_nonoverlapping(self.start.as_ptr().add(offset.min(self.len)), into.as_mut_ptr(), n) };
        n
    }

    /// Copies in as much as fits; returns how much.
    pub fn write(&self, offset: usize, from: &[u8]) -> usize {
        let n = from.len().min(self.len.saturating_sub(offset));
        // SAFETY: as in `read`.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), self.start.as_ptr().add(offset.min(self.len)), n) };
        n
    }

    /// Clears a part, cut at the end.
    pub fn clear(&self, offset: usize, len: usize) {
        let at = offset.min(self.len);
        // SAFETY: inside the mapping.
        unsafe { std::ptr::write_bytes(self.start.as_ptr().add(at), 0, len.min(self.len - at)) };
    }
}

/// A memory file that cannot be resized.
pub fn sealed_memfd(name: &str, len: u64) -> Result<OwnedFd, Errno> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).map_err(crate::errno)?;
    rustix::fs::ftruncate(&fd, len).map_err(crate::errno)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(crate::errno)?;
    Ok(fd)
}

/// A memory file of `len` bytes that begins with these, which nobody can change. Pages of zeros are holes: a fault on a page next to them does not map them.
pub fn memfd_of(name: &str, bytes: &[u8], len: u64) -> Result<OwnedFd, Errno> {
    let fd = memfd(name, true)?;
    for (number, page) in bytes.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0)) {
        let mut done = 0;
        while let Some(rest) = page.get(done..).filter(|rest| !rest.is_empty()) {
            done += rustix::io::pwrite(&fd, rest, (number * 4096 + done) as u64).map_err(crate::errno)?;
        }
    }
    rustix::fs::ftruncate(&fd, len).map_err(crate::errno)?;
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&fd, all).map_err(crate::errno)?;
    Ok(fd)
}

/// An empty memory file. With `sealing` seals may be added to it; else there is only F_SEAL_SEAL.
pub fn memfd(name: &str, sealing: bool) -> Result<OwnedFd, Errno> {
    let seals = if sealing { MemfdFlags::ALLOW_SEALING } else { MemfdFlags::empty() };
    rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | seals).map_err(crate::errno)
}

/// F_ADD_SEALS. EBUSY for F_SEAL_WRITE while a writable shared mapping of it exists in any process.
pub fn add_seals(fd: impl AsFd, seals: u32) -> Result<(), Errno> {
    rustix::fs::fcntl_add_seals(fd, SealFlags::from_bits_retain(seals)).map_err(crate::errno)
}

/// F_GET_SEALS.
pub fn seals(fd: impl AsFd) -> Result<u32, Errno> {
    rustix::fs::fcntl_get_seals(fd).map(|seals| seals.bits()).map_err(crate::errno)
}

/// Maps a file shared, for reading and writing, and never unmaps it.
pub fn map_shared_for_ever(file: impl AsFd, len: usize) -> Result<SharedBytes, Errno> {
    // SAFETY: a new mapping at an address that the host chooses touches nothing else.
    let at = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            len,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            file.as_fd().as_raw_fd(),
            0,
        )
    };
    match NonNull::new(at.cast::<u8>()) {
        // SAFETY: mapped just now, and nobody unmaps it.
        Some(start) if at != libc::MAP_FAILED => Ok(unsafe { SharedBytes::new(start, len) }),
        _ => Err(crate::last_errno()),
    }
}

/// Where the host would put one more page of this process: right below the maps above it.
pub fn next_place() -> Result<u64, Errno> {
    // SAFETY: a new mapping at an address that the host chooses, taken away again before anybody knows of it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at = libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0);
        if at == libc::MAP_FAILED {
            return Err(crate::last_errno());
        }
        libc::munmap(at, 4096);
        Ok(at as u64)
    }
}

/// Takes a range of this process' address space out of use, if it is free: nothing is accessible there.
pub fn reserve(at: u64, len: u64) -> Result<(), Errno> {
    // SAFETY: NOREPLACE, so that nothing that exists is touched.
    let got = unsafe {
        libc::mmap(
            at as *mut _,
            len as usize,
            libc::PROT_NONE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE,
            -1,
            0,
        )
    };
    if got == libc::MAP_FAILED {
        return Err(crate::last_errno());
    }
    if got as u64 != at {
        // SAFETY: what was just mapped, on a host that does not know NOREPLACE.
        unsafe { libc::munmap(got, len as usize) };
        return Err(Errno::EEXIST);
    }
    Ok(())
}

/// Reads another process' memory; a short count where it faults, EFAULT if at once.
pub fn read_process(pid: i32, addr: u64, into: &mut [u8]) -> Result<usize, Errno> {
    if into.is_empty() {
        return Ok(0);
    }
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: addr as *mut _, iov_len: into.len() };
    // SAFETY: the host writes at most `into.len()` bytes to `into`; the remote side is another process' matter.
    let r = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    crate::check(r as i64).map(|n| n as usize)
}

/// Writes another process' memory; a short count where it faults, EFAULT if at once.
pub fn write_process(pid: i32, addr: u64, from: &[u8]) -> Result<usize, Errno> {
    if from.is_empty() {
        return Ok(0);
    }
    let local = libc::iovec { iov_base: from.as_ptr().cast_mut().cast(), iov_len: from.len() };
    let remote = libc::iovec { iov_base: addr as *mut _, iov_len: from.len() };
    // SAFETY: the host reads `from` only.
    let r = unsafe { libc::process_vm_writev(pid, &raw const local, 1, &raw const remote, 1, 0) };
    crate::check(r as i64).map(|n| n as usize)
}

/// Gives the host back what the allocator keeps for later, after many things at once have gone: malloc_trim(3). Takes milliseconds.
pub fn trim() {
    // SAFETY: numbers only.
    unsafe { libc::malloc_trim(0) };
}

/// Bytes of memory that the host has in all (sysinfo(2)).
pub fn total() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit))
}

/// Bytes that are free or hold only buffers (sysinfo(2)).
pub fn available() -> u64 {
    let info = rustix::system::sysinfo();
    (info.freeram as u64).saturating_add(info.bufferram as u64).saturating_mul(u64::from(info.mem_unit))
}
