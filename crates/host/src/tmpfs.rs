//! Memory files in large folios: unnamed files (open(2), O_TMPFILE) of a tmpfs of this process' own, mounted nowhere, with `huge=within_size` (tmpfs(5)).
//!
//! A memfd has pages of 4 KiB unless the host's administrator wants otherwise; bulk writes to such a file take a quarter of the time. What fills a hole takes up
//! to 2 MiB, so such files are for contents that grow from their end. Neighbours: `memory` (memfds), `namespaces`. Owns no locks.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustix::fs::{Mode, OFlags, openat};
use rustix::io;
use rustix::mount::MountAttrFlags;

use crate::namespaces::detached;
use abi::Errno;

/// The tmpfs' root.
static ROOT: OnceLock<OwnedFd> = OnceLock::new();

/// Makes the tmpfs; its own limits are none, as a memfd has none. Needs CAP_SYS_ADMIN in the mount namespace's user namespace, and huge pages in the host's kernel.
pub fn set_up() -> io::Result<()> {
    let options = [("huge", "within_size"), ("size", "0"), ("nr_inodes", "0"), ("mode", "0700")];
    // Guests' programs run from such files: no `noexec`.
    let root = detached("tmpfs", &options, MountAttrFlags::empty())?;
    // A second call loses nothing but its own tmpfs.
    let _ = ROOT.set(root);
    Ok(())
}

/// An empty file; a memfd where the host would not make the tmpfs.
pub fn file() -> Result<OwnedFd, Errno> {
    let Some(root) = ROOT.get() else { return crate::memory::memfd("tmpfs", false) };
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    openat(root, ".", flags, Mode::RUSR | Mode::WUSR).map_err(crate::errno)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn a_large_write_takes_no_more_than_its_length() {
        // Other users than root see what it falls back to.
        if rustix::process::getuid().is_root() {
            set_up().unwrap();
        }
        let file = file().unwrap();
        let bytes = vec![7; 300_000];
        assert_eq!(rustix::io::pwrite(&file, &bytes, 0).unwrap(), bytes.len());
        let stat = rustix::fs::fstat(&file).unwrap();
        assert_eq!((stat.st_size, stat.st_blocks, stat.st_nlink), (300_000, 74 * 8, 0));
        rustix::fs::ftruncate(&file, 5_000).unwrap();
        assert_eq!(rustix::fs::fstat(&file).unwrap().st_blocks, 2 * 8);
    }
}
