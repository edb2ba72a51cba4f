//! Where overlays keep the contents of changed files: host files without a name, which go with their last descriptor. open(2), O_TMPFILE.

use abi::Errno;
use host::file::{self, O_CREAT, O_EXCL, O_RDWR};
use host::{HostFd, random};
use std::os::fd::OwnedFd;
use std::path::Path;

/// A folder of the host in which nothing is ever seen.
#[derive(Debug)]
pub struct Store {
    dir: HostFd,
}

impl Store {
    /// The folder at `path`; it is tried, so that a container that could not write says so at its start.
    pub fn open(path: &Path) -> Result<Store, Errno> {
        let store = Store { dir: file::detach_folder(path)?.into() };
        store.file().map(drop)?;
        Ok(store)
    }

    /// A new file, open for reading and writing.
    pub fn file(&self) -> Result<OwnedFd, Errno> {
        match file::make_anonymous(&self.dir, O_RDWR, 0o600) {
            Err(Errno::EOPNOTSUPP) => self.unlinked(),
            made => made,
        }
    }

    /// As `file`, where the file system knows no files without a name: it has one for a moment.
    fn unlinked(&self) -> Result<OwnedFd, Errno> {
        let mut number = [0; 8];
        random::fill(&mut number);
        let name = format!(".stockade.overlay.img.{:016x}", u64::from_ne_bytes(number));
        let fd = file::open_child(&self.dir, name.as_bytes(), O_RDWR | O_CREAT | O_EXCL, 0o600)?;
        file::unlink(&self.dir, name.as_bytes())?;
        Ok(fd)
    }
}
