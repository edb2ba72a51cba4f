//! Who makes the files of memfd_create(2), and of shared anonymous memory: a file system registers itself here.

use super::File;
use crate::io::Io;
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::{Arc, OnceLock};

/// Makes an anonymous file in memory, open for reading and writing. `flags` are MFD_* that have been checked.
pub type MakeMemfd = fn(io: &mut Io<'_>, name: &[u8], flags: u32) -> Op<Arc<File>>;

static MAKER: OnceLock<MakeMemfd> = OnceLock::new();

/// Once, when the sandbox is composed.
pub fn set_memfd_maker(maker: MakeMemfd) {
    let _ = MAKER.set(maker);
}

/// ENOSYS where nobody has registered.
pub fn make_memfd(io: &mut Io<'_>, name: &[u8], flags: u32) -> Op<Arc<File>> {
    match MAKER.get() {
        Some(make) => make(io, name, flags),
        None => fail(Errno::ENOSYS),
    }
}
