//! Files of the host by descriptor: what the gofer does with names, and what the kernel process does with descriptors that it was given.
//!
//! The functions on names (`open_child` to `remove_xattr`) are the gofer's; all of them may sleep. Those on open files say of themselves whether they sleep.
//! Neighbours: `fd`, `lockdown` (which of them a process may use). Man pages: openat2(2), statx(2), getdents64(2), renameat2(2), preadv2(2).

use crate::errno;
use crate::fd::HostFd;
use abi::Errno;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, StatxFlags};
use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

pub use libc::{
    O_APPEND, O_CREAT, O_DIRECTORY, O_EXCL, O_NOCTTY, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
};
pub use rustix::fs::{FallocateFlags, StatFs, Statx, Timespec};

/// Opens `name`, a single component, below `dir` without following a symbolic link: not at its end, nor on the way. `flags` are O_* (O_CLOEXEC is
/// added); with O_PATH a symbolic link itself is opened.
pub fn open_child(dir: &HostFd, name: &[u8], flags: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(dir, name, flags, Mode::from_raw_mode(mode), resolve) {
            // The host could not rule out a race with a rename; it asks to try again.
            Err(rustix::io::Errno::AGAIN) if tries < 16 => tries += 1,
            Err(rustix::io::Errno::INTR) => {}
            other => return other.map_err(errno),
        }
    }
}

/// A regular file without a name in a folder (O_TMPFILE); it can be linked later. `access` is O_WRONLY or O_RDWR. EOPNOTSUPP where the file system
/// has none.
pub fn make_anonymous(dir: &HostFd, access: i32, mode: u32) -> Result<OwnedFd, Errno> {
    let flags = OFlags::from_bits_retain(access as u32) | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::openat2(dir, ".", flags, Mode::from_raw_mode(mode), ResolveFlags::BENEATH).map_err(|e| match errno(e) {
        // What file systems and old kernels say that do not know it.
        Errno::EISDIR | Errno::EINVAL | Errno::ENOENT => Errno::EOPNOTSUPP,
        other => other,
    })
}

/// The file or folder at a path of the host, as O_PATH.
pub fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat(rustix::fs::CWD, path, flags, Mode::empty()).map_err(errno)
}

/// A detached copy of the mounts from a path on downwards: ".." ends at its root. Needs CAP_SYS_ADMIN over the mount namespace.
pub fn detach_tree(path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::mount::OpenTreeFlags as Flags;
    let flags = Flags::OPEN_TREE_CLONE | Flags::OPEN_TREE_CLOEXEC | Flags::AT_RECURSIVE;
    rustix::mount::open_tree(rustix::fs::CWD, path, flags).map_err(errno)
}

/// A detached mount of one folder alone, without what is mounted below it. Needs CAP_SYS_ADMIN over the mount namespace.
pub fn detach_folder(path: &Path) -> Result<OwnedFd, Errno> {
    use rustix::mount::OpenTreeFlags as Flags;
    let flags = Flags::OPEN_TREE_CLONE | Flags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(rustix::fs::CWD, path, flags).map_err(errno)
}

/// Makes a folder the current one of the whole process.
pub fn enter(dir: &HostFd) -> Result<(), Errno> {
    rustix::process::fchdir(dir).map_err(errno)
}

/// From now on `mode` arguments are taken as they are.
pub fn clear_umask() {
    rustix::process::umask(Mode::empty());
}

/// Raises the number of descriptors that this process may have to the hard limit; the result.
pub fn raise_descriptor_limit() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised);
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20)
}

/// How files that are open as O_PATH are reached by those host calls that only take paths: the entries of the process' own /proc/self/fd.
#[derive(Clone, Debug)]
pub struct SelfFd {
    prefix: &'static str,
}

impl SelfFd {
    /// By the host's /proc.
    pub const PROC: SelfFd = SelfFd { prefix: "/proc/self/fd/" };
    /// By the current folder, which is a copy of /proc/self/fd: see [`detach_folder`] and [`enter`].
    pub const HERE: SelfFd = SelfFd { prefix: "" };

    /// Where host calls that take a path find the file.
    pub fn path(&self, of: &HostFd) -> String {
        format!("{}{}", self.prefix, of.number())
    }

    /// Opens the very file that `of` stands for. Never use it on device nodes; a FIFO needs O_NONBLOCK.
    pub fn reopen(&self, of: &HostFd, flags: i32) -> Result<OwnedFd, Errno> {
        let flags = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC;
        rustix::fs::openat(rustix::fs::CWD, self.path(of), flags, Mode::empty()).map_err(errno)
    }

    /// chmod(2); `mode` without the type.
    pub fn set_mode(&self, of: &HostFd, mode: u32) -> Result<(), Errno> {
        rustix::fs::chmodat(rustix::fs::CWD, self.path(of), Mode::from_raw_mode(mode), AtFlags::empty()).map_err(errno)
    }

    /// utimensat(2), of a symbolic link itself where `of` is one.
    pub fn set_times(&self, of: &HostFd, atime: Timespec, mtime: Timespec) -> Result<(), Errno> {
        let times = rustix::fs::Timestamps { last_access: atime, last_modification: mtime };
        rustix::fs::utimensat(rustix::fs::CWD, self.path(of), &times, AtFlags::empty()).map_err(errno)
    }

    /// Another name for the file; of a symbolic link itself where `of` is one.
    pub fn link(&self, of: &HostFd, dir: &HostFd, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::linkat(rustix::fs::CWD, self.path(of), dir, name, AtFlags::SYMLINK_FOLLOW).map_err(errno)
    }

    /// The value of an extended attribute; ERANGE beyond `max` bytes.
    pub fn get_xattr(&self, of: &HostFd, name: &[u8], max: usize) -> Result<Vec<u8>, Errno> {
        let mut value = Vec::with_capacity(max);
        rustix::fs::getxattr(self.path(of), name, rustix::buffer::spare_capacity(&mut value)).map_err(errno)?;
        Ok(value)
    }

    /// The names of all extended attributes, each ended by a NUL; ERANGE beyond `max` bytes.
    pub fn list_xattr(&self, of: &HostFd, max: usize) -> Result<Vec<u8>, Errno> {
        let mut names = Vec::with_capacity(max);
        rustix::fs::listxattr(self.path(of), rustix::buffer::spare_capacity(&mut names)).map_err(errno)?;
        Ok(names)
    }

    /// setxattr(2).
    pub fn set_xattr(&self, of: &HostFd, name: &[u8], value: &[u8], flags: u32) -> Result<(), Errno> {
        let flags = rustix::fs::XattrFlags::from_bits_retain(flags);
        rustix::fs::setxattr(self.path(of), name, value, flags).map_err(errno)
    }

    /// removexattr(2).
    pub fn remove_xattr(&self, of: &HostFd, name: &[u8]) -> Result<(), Errno> {
        rustix::fs::removexattr(self.path(of), name).map_err(errno)
    }
}

/// Attributes of an open file, O_PATH included. Does not sleep on local file systems.
pub fn stat(fd: &HostFd) -> Result<Statx, Errno> {
    rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS | StatxFlags::BTIME).map_err(errno)
}

/// Attributes of a name in a folder; of a symbolic link itself.
pub fn stat_child(dir: &HostFd, name: &[u8]) -> Result<Statx, Errno> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    rustix::fs::statx(dir, name, flags, StatxFlags::BASIC_STATS | StatxFlags::BTIME).map_err(errno)
}

/// fstatfs(2); O_PATH will do.
pub fn statfs(fd: &HostFd) -> Result<StatFs, Errno> {
    rustix::fs::fstatfs(fd).map_err(errno)
}

/// A device number as stat(2) encodes it.
pub fn makedev(major: u32, minor: u32) -> u64 {
    rustix::fs::makedev(major, minor)
}

/// The target of a symbolic link that is open as O_PATH.
pub fn read_link(link: &HostFd) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(link, "", Vec::new()).map(CString::into_bytes).map_err(errno)
}

pub fn make_dir(dir: &HostFd, name: &[u8], mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdirat(dir, name, Mode::from_raw_mode(mode)).map_err(errno)
}

/// mknod(2); `mode` with the type, `rdev` as stat(2) encodes it.
pub fn make_node(dir: &HostFd, name: &[u8], mode: u32, rdev: u64) -> Result<(), Errno> {
    let kind = rustix::fs::FileType::from_raw_mode(mode);
    rustix::fs::mknodat(dir, name, kind, Mode::from_raw_mode(mode), rdev).map_err(errno)
}

pub fn make_symlink(dir: &HostFd, name: &[u8], target: &[u8]) -> Result<(), Errno> {
    rustix::fs::symlinkat(target, dir, name).map_err(errno)
}

pub fn unlink(dir: &HostFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(errno)
}

pub fn remove_dir(dir: &HostFd, name: &[u8]) -> Result<(), Errno> {
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(errno)
}

/// renameat2(2) with its flags.
pub fn rename(dir: &HostFd, name: &[u8], new_dir: &HostFd, new_name: &[u8], flags: u32) -> Result<(), Errno> {
    let flags = rustix::fs::RenameFlags::from_bits_retain(flags);
    rustix::fs::renameat_with(dir, name, new_dir, new_name, flags).map_err(errno)
}

/// chown(2) of the very file that is open; `None` leaves an id as it is.
pub fn set_owner(fd: &HostFd, uid: Option<u32>, gid: Option<u32>) -> Result<(), Errno> {
    let uid = uid.map(rustix::fs::Uid::from_raw);
    let gid = gid.map(rustix::fs::Gid::from_raw);
    rustix::fs::chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH).map_err(errno)
}

/// An entry of a folder.
pub struct DirEntry<'a> {
    pub name: &'a [u8],
    pub ino: u64,
    /// S_IFMT's part of a mode; 0 where the file system does not say.
    pub kind: u32,
    /// Where a listing goes on after this entry.
    pub next: u64,
}

/// Calls `each` for the entries of an open folder from `cursor` on ("." and ".." included) until it says false. True: there are no more.
pub fn list_dir(dir: &HostFd, cursor: u64, mut each: impl FnMut(DirEntry<'_>) -> bool) -> Result<bool, Errno> {
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(cursor)).map_err(errno)?;
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut entries = RawDir::new(dir.as_fd(), &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(errno)?;
        let kind = match entry.file_type() {
            rustix::fs::FileType::Unknown => 0,
            kind => kind.as_raw_mode(),
        };
        let next = entry.next_entry_cookie();
        if !each(DirEntry { name: entry.file_name().to_bytes(), ino: entry.ino(), kind, next }) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The host's effective user and group of this process.
pub fn own_ids() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

/// pread(2). Sleeps when the data is not in the page cache.
pub fn read_at(fd: &HostFd, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut *into, offset)).map_err(errno)
}

/// pwrite(2). May sleep.
pub fn write_at(fd: &HostFd, from: &[u8], offset: u64) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::pwrite(fd, from, offset)).map_err(errno)
}

/// pread(2) of what is in the page cache (preadv2's RWF_NOWAIT): EAGAIN instead of sleeping. EOPNOTSUPP where the file system cannot tell.
pub fn read_at_nowait(fd: &HostFd, into: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let flags = rustix::io::ReadWriteFlags::NOWAIT;
    rustix::io::preadv2(fd, &mut [std::io::IoSliceMut::new(into)], offset, flags).map_err(errno)
}

/// Appends at the end of the file as it is then (RWF_APPEND), whatever others append; the count. May sleep.
pub fn append(fd: &HostFd, from: &[u8]) -> Result<usize, Errno> {
    let flags = rustix::io::ReadWriteFlags::APPEND;
    rustix::io::retry_on_intr(|| rustix::io::pwritev2(fd, &[std::io::IoSlice::new(from)], 0, flags)).map_err(errno)
}

/// fsync(2) or fdatasync(2). Sleeps.
pub fn sync(fd: &HostFd, data_only: bool) -> Result<(), Errno> {
    if data_only { rustix::fs::fdatasync(fd) } else { rustix::fs::fsync(fd) }.map_err(errno)
}

/// syncfs(2). Sleeps.
pub fn sync_file_system(fd: &HostFd) -> Result<(), Errno> {
    rustix::fs::syncfs(fd).map_err(errno)
}

/// ftruncate(2). May sleep.
pub fn set_size(fd: &HostFd, size: u64) -> Result<(), Errno> {
    rustix::io::retry_on_intr(|| rustix::fs::ftruncate(fd, size)).map_err(errno)
}

/// fallocate(2) with its mode. May sleep.
pub fn allocate(fd: &HostFd, mode: u32, offset: u64, len: u64) -> Result<(), Errno> {
    let mode = FallocateFlags::from_bits_retain(mode);
    rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, mode, offset, len)).map_err(errno)
}

/// lseek(2) with SEEK_DATA. ENXIO when no data follows.
pub fn seek_data(fd: &HostFd, offset: u64) -> Result<u64, Errno> {
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Data(offset)).map_err(errno)
}

/// lseek(2) with SEEK_HOLE; the end of the file counts as a hole.
pub fn seek_hole(fd: &HostFd, offset: u64) -> Result<u64, Errno> {
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Hole(offset)).map_err(errno)
}
