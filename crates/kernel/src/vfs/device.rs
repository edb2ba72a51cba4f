//! Device numbers and the drivers behind them: what opening a device node leads to. mknod(2), makedev(3).
//!
//! Drivers register when the sandbox is composed, before any guest runs. A file system's `InodeOps::open` calls `open_device` for nodes
//! that it keeps for others. Locks: `Leaf` around the list; drivers are called outside of it.

use super::{FileOps, FileType, Inode};
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use abi::bpf::{BPF_DEVCG_ACC_READ, BPF_DEVCG_ACC_WRITE, BPF_DEVCG_DEV_BLOCK, BPF_DEVCG_DEV_CHAR};
use abi::fs::OpenFlags;
use lock::RwLock;
use std::ops::Range;
use std::sync::Arc;

/// Opens a device: the inode of the node, its device number.
pub type OpenDevice = fn(io: &mut Io<'_>, inode: &Arc<Inode>, rdev: u64, flags: OpenFlags) -> Op<Arc<dyn FileOps>>;

#[derive(Clone)]
struct Driver {
    kind: FileType,
    major: u32,
    minors: Range<u32>,
    name: &'static str,
    open: OpenDevice,
}

static DRIVERS: RwLock<Vec<Driver>, Leaf> = RwLock::new(Vec::new());

/// Registers a driver for some minors of a major number. `kind` is `Char` or `Block`; `name` is the major's in /proc/devices.
pub fn register_device(kind: FileType, major: u32, minors: Range<u32>, name: &'static str, open: OpenDevice) {
    DRIVERS.write().push(Driver { kind, major, minors, name, open });
}

/// EPERM where the caller's control group does not let it do this with a device.
pub(super) fn check_group(io: &Io<'_>, kind: FileType, access: u32, rdev: u64) -> Op<()> {
    let kind = if kind == FileType::Block { BPF_DEVCG_DEV_BLOCK } else { BPF_DEVCG_DEV_CHAR };
    let (major, minor) = (abi::fs::major(rdev), abi::fs::minor(rdev));
    let may = io.caller.as_ref().is_none_or(|caller| caller.may_use_device(access << 16 | kind, major, minor));
    if may { Ok(()) } else { fail(Errno::EPERM) }
}

/// Opens what a node stands for: ENXIO where no driver has its number.
pub fn open_device(
    io: &mut Io<'_>,
    inode: &Arc<Inode>,
    kind: FileType,
    rdev: u64,
    flags: OpenFlags,
) -> Op<Arc<dyn FileOps>> {
    let reads = if flags.readable() { BPF_DEVCG_ACC_READ } else { 0 };
    let writes = if flags.writable() { BPF_DEVCG_ACC_WRITE } else { 0 };
    check_group(io, kind, reads | writes, rdev)?;
    let (major, minor) = (abi::fs::major(rdev), abi::fs::minor(rdev));
    let found =
        DRIVERS.read().iter().find(|d| d.kind == kind && d.major == major && d.minors.contains(&minor)).cloned();
    match found {
        Some(driver) => (driver.open)(io, inode, rdev, flags),
        None => fail(Errno::ENXIO),
    }
}

/// Whether a driver has this number: devtmpfs shows nodes of such alone.
pub fn has_device(kind: FileType, major: u32, minor: u32) -> bool {
    DRIVERS.read().iter().any(|d| d.kind == kind && d.major == major && d.minors.contains(&minor))
}

/// The majors that have drivers, each once, in the order of their numbers: /proc/devices.
pub fn device_majors(kind: FileType) -> Vec<(u32, &'static str)> {
    let mut majors: Vec<_> = DRIVERS.read().iter().filter(|d| d.kind == kind).map(|d| (d.major, d.name)).collect();
    majors.sort_unstable();
    majors.dedup();
    majors
}
