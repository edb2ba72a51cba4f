//! Host files that the caller of the runtime donated: standard input, output and error without a terminal.
//!
//! Regular files, and devices like /dev/null that are always ready, share their offset with the host; pipes, sockets and other devices are
//! streams (`kernel::ipc::host_stream`). The host's description is not ours alone, so its flags are never changed. Opened again by /proc/self/fd/N it is the same stream, or the same
//! file with an offset of its own. Locks: `Leaf` around attributes that a guest changed. open(2), proc_pid_fd(5).

use abi::Errno;
use abi::fs::{OpenFlags, SEEK_DATA, SEEK_HOLE};
use host::HostFd;
use host::rustix::fs::Statx;
use kernel::buffer::with_buffer;
use kernel::ipc::host_stream::{Object, Stream};
use kernel::locks::Leaf;
use kernel::vfs::{
    Attr, Dentry, File, FileOps, FileSystem, FileSystemOps, FileType, Inode, InodeOps, Mappable, Mount, Path, Position,
    SetAttr, StatFs,
};
use kernel::{Io, Op, Sink, Source, fail};
use lock::Mutex;
use platform::block_in_place;
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

/// The file behind a donated descriptor. EBADF for descriptors that are open as O_PATH.
pub fn open(fd: Arc<HostFd>) -> Op<Arc<File>> {
    let object = Object::new(fd)?;
    let flags = OpenFlags::from_bits_retain(object.flags);
    if flags.contains(OpenFlags::PATH) {
        return fail(Errno::EBADF);
    }
    let kind = object.kind;
    let ops: Arc<dyn FileOps> =
        if object.has_offset() { Arc::new(Shared(object.clone())) } else { Arc::new(Stream(object.clone())) };
    let fs = HOST_FS.0.clone();
    // The VFS would put a pipe of its own behind a FIFO; opened again, this one leads to the host's. stat shows the true type.
    let opened_as = if kind == FileType::Fifo { FileType::Regular } else { kind };
    let inode =
        Inode::new(&fs, object.ino, opened_as, Box::new(HostInode { object, changed: Mutex::new(SetAttr::default()) }));
    let root = Dentry::root(inode.clone());
    let mount = Mount::new(fs, root.clone(), b"host", 0);
    let keep = OpenFlags::from_bits_retain(3) | OpenFlags::APPEND | OpenFlags::LARGEFILE;
    Ok(File::opened(Path::new(mount, root), inode, ops, flags & keep))
}

struct HostFs;

static HOST_FS: LazyLock<(Arc<FileSystem>,)> = LazyLock::new(|| (FileSystem::new(Box::new(HostFs)),));

impl FileSystemOps for HostFs {
    fn name(&self) -> &'static str {
        "host"
    }
    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        Ok(StatFs { magic: abi::fs::ANON_INODE_FS_MAGIC.into(), block_size: 4096, name_max: 255, ..StatFs::default() })
    }
}

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

fn read_with(to: &mut dyn Sink, read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>) -> Op<usize> {
    with_buffer(to.left().min(CHUNK), |buffer| read_by(buffer, to, read))
}

fn read_by(
    buffer: &mut [u8],
    to: &mut dyn Sink,
    mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>,
) -> Op<usize> {
    let mut done = 0;
    while to.left() > 0 {
        let want = to.left().min(buffer.len());
        let Some(part) = buffer.get_mut(..want) else { break };
        let got = match block_in_place(|| read(part, done as u64)) {
            Ok(0) => break,
            Ok(got) => got,
            Err(errno) if done == 0 => return fail(errno),
            Err(_) => break,
        };
        let put = to.put(buffer.get(..got).unwrap_or_default())?;
        done += put;
        if put < got || got < want {
            break;
        }
    }
    Ok(done)
}

fn write_with(from: &mut dyn Source, write: impl FnMut(&[u8], u64) -> Result<usize, Errno>) -> Op<usize> {
    with_buffer(from.left().min(CHUNK), |buffer| write_by(buffer, from, write))
}

fn write_by(
    buffer: &mut [u8],
    from: &mut dyn Source,
    mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>,
) -> Op<usize> {
    let mut done = 0;
    while from.left() > 0 {
        let got = match from.take(buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(stop) if done == 0 => return Err(stop),
            Err(_) => break,
        };
        let data = buffer.get(..got).unwrap_or_default();
        match block_in_place(|| write(data, done as u64)) {
            Ok(count) => {
                done += count;
                from.untake(got - count.min(got));
                if count < got {
                    break;
                }
            }
            Err(errno) if done == 0 => return fail(errno),
            Err(_) => break,
        }
    }
    Ok(done)
}

/// A regular file, or a device like /dev/null, with the host's offset.
struct Shared(Arc<Object>);

impl FileOps for Shared {
    fn position(&self) -> Position {
        Position::Own
    }
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let fd = &self.0.fd;
        read_with(to, |part, done| match at {
            Some(at) => host::file::read_at(fd, part, at.saturating_add(done)),
            None => host::stream::read(fd, part),
        })
    }
    fn write(&self, _io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let fd = &self.0.fd;
        write_with(from, |data, done| match at {
            Some(at) => host::file::write_at(fd, data, at.saturating_add(done)),
            None => host::stream::write(fd, data),
        })
    }
    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, _from: u64) -> Op<u64> {
        Ok(host::stream::seek(&self.0.fd, offset, whence)?)
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        if self.0.kind == FileType::Regular { Some(&*self.0) } else { None }
    }
    fn sync(&self, _io: &mut Io<'_>, data_only: bool) -> Op<()> {
        Ok(block_in_place(|| host::file::sync(&self.0.fd, data_only))?)
    }
    fn allocate(&self, _io: &mut Io<'_>, mode: u32, range: Range<u64>) -> Op<()> {
        let len = range.end.saturating_sub(range.start);
        Ok(block_in_place(|| host::file::allocate(&self.0.fd, mode, range.start, len))?)
    }
    fn label(&self) -> Option<String> {
        Some(self.0.label())
    }
    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A regular file opened again, with an offset of its own.
struct Again(Arc<Object>);

impl FileOps for Again {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let at = at.unwrap_or(0);
        read_with(to, |part, done| host::file::read_at(&self.0.fd, part, at.saturating_add(done)))
    }
    fn write(&self, _io: &mut Io<'_>, at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let fd = &self.0.fd;
        write_with(from, |data, done| match at {
            Some(u64::MAX) | None => host::file::append(fd, data),
            Some(at) => host::file::write_at(fd, data, at.saturating_add(done)),
        })
    }
    fn seek(&self, _io: &mut Io<'_>, offset: i64, whence: u32, from: u64) -> Op<u64> {
        let fd = &self.0.fd;
        let size = || host::file::stat(fd).map(|s| s.stx_size);
        let base = match whence {
            SEEK_DATA => return Ok(host::file::seek_data(fd, u64::try_from(offset).map_err(|_| Errno::ENXIO)?)?),
            SEEK_HOLE => return Ok(host::file::seek_hole(fd, u64::try_from(offset).map_err(|_| Errno::ENXIO)?)?),
            abi::fs::SEEK_SET => 0,
            abi::fs::SEEK_CUR => from,
            abi::fs::SEEK_END => size()?,
            _ => return fail(Errno::EINVAL),
        };
        base.checked_add_signed(offset).filter(|at| *at <= i64::MAX as u64).ok_or(Errno::EINVAL.into())
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(&*self.0)
    }
    fn sync(&self, _io: &mut Io<'_>, data_only: bool) -> Op<()> {
        Ok(block_in_place(|| host::file::sync(&self.0.fd, data_only))?)
    }
    fn label(&self) -> Option<String> {
        Some(self.0.label())
    }
    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

struct HostInode {
    object: Arc<Object>,
    /// What a guest's chown and chmod set: it sees that, the host's file keeps what it has.
    changed: Mutex<SetAttr, Leaf>,
}

fn time(t: host::rustix::fs::StatxTimestamp) -> abi::time::Timespec {
    abi::time::Timespec { tv_sec: t.tv_sec, tv_nsec: t.tv_nsec.into() }
}

impl InodeOps for HostInode {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        let stat: Statx = host::file::stat(&self.object.fd)?;
        let changed = *self.changed.lock();
        Ok(Attr {
            ino: stat.stx_ino,
            kind: self.object.kind,
            perm: changed.perm.unwrap_or(u32::from(stat.stx_mode) & 0o7777),
            nlink: stat.stx_nlink,
            uid: changed.uid.unwrap_or(stat.stx_uid),
            gid: changed.gid.unwrap_or(stat.stx_gid),
            rdev: abi::fs::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            blksize: stat.stx_blksize,
            atime: time(stat.stx_atime),
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            btime: None,
        })
    }
    fn set_attr(&self, _io: &mut Io<'_>, change: &SetAttr) -> Op<()> {
        // O_TRUNC means nothing to what is no regular file; ftruncate(2) does not get here for it.
        if let Some(size) = change.size
            && self.object.kind == FileType::Regular
        {
            block_in_place(|| host::file::set_size(&self.object.fd, size))?;
        }
        let mut changed = self.changed.lock();
        changed.perm = change.perm.or(changed.perm);
        changed.uid = change.uid.or(changed.uid);
        changed.gid = change.gid.or(changed.gid);
        Ok(())
    }
    fn open(&self, _io: &mut Io<'_>, _inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        if self.object.kind == FileType::Socket {
            return fail(Errno::ENXIO);
        }
        if !self.object.may(flags) {
            return fail(Errno::EACCES);
        }
        Ok(match self.object.kind {
            FileType::Regular => Arc::new(Again(self.object.clone())),
            _ => Arc::new(Stream(self.object.clone())),
        })
    }
}
