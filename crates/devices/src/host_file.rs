//! Host files that the caller of the runtime donated: standard input, output and error without a terminal.
//!
//! Regular files, and devices like /dev/null that are always ready, share their offset with the host; pipes, sockets and other devices are
//! streams whose readiness the reactor watches. The host's description is not ours alone, so its flags are never changed. Opened again by /proc/self/fd/N it is the same stream, or the same
//! file with an offset of its own. Locks: `Leaf` around attributes that a guest changed. open(2), proc_pid_fd(5).

use abi::Errno;
use abi::fs::{OpenFlags, SEEK_DATA, SEEK_HOLE};
use abi::tty::{TCGETS, TCSETS, TCSETSF, TCSETSW, TIOCGWINSZ};
use host::HostFd;
use host::rustix::fs::Statx;
use kernel::io::UserMemory;
use kernel::locks::Leaf;
use kernel::reactor::{self, Watch};
use kernel::signal::SIGPIPE;
use kernel::task::Task;
use kernel::vfs::{
    Attr, Backing, Dentry, File, FileOps, FileSystem, FileSystemOps, FileType, Inode, InodeOps, Mappable, Mount, Path,
    Position, Rights, SetAttr, StatFs,
};
use kernel::wait::{Events, Queue, Wake};
use kernel::{Io, Op, Sink, Source, fail};
use lock::Mutex;
use platform::block_in_place;
use std::any::Any;
use std::ops::Range;
use std::sync::{Arc, LazyLock};
use zerocopy::IntoBytes;

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

/// What all descriptions of one donated file have in common.
struct Object {
    fd: Arc<HostFd>,
    kind: FileType,
    ino: u64,
    rdev: (u32, u32),
    /// F_GETFL.
    flags: u32,
    queue: Queue,
    /// None where the host's epoll refuses the object: it is always ready.
    watch: Option<Watch>,
}

/// The reactor's target: passes readiness on to the queue.
struct Readiness(Queue);

impl Wake for Readiness {
    fn wake(self: Arc<Self>, events: Events) {
        self.0.wake(events);
    }
}

impl Object {
    fn new(fd: Arc<HostFd>) -> Op<Arc<Object>> {
        let stat = host::file::stat(&fd)?;
        let kind = FileType::from_mode(stat.stx_mode.into()).ok_or(Errno::EINVAL)?;
        if matches!(kind, FileType::Dir | FileType::Symlink) {
            return fail(Errno::EINVAL);
        }
        let flags = host::stream::flags(&fd)?;
        let queue = Queue::new();
        let events = Events::IN | Events::OUT | Events::PRI | Events::RDHUP;
        let watch = match kind {
            FileType::Regular | FileType::Block => None,
            _ => reactor::watch(&fd, events, Arc::new(Readiness(queue.clone()))).ok(),
        };
        let rdev = (stat.stx_rdev_major, stat.stx_rdev_minor);
        Ok(Arc::new(Object { fd, kind, ino: stat.stx_ino, rdev, flags, queue, watch }))
    }

    fn may(&self, flags: OpenFlags) -> bool {
        let have = OpenFlags::from_bits_retain(self.flags);
        (!flags.readable() || have.readable()) && (!flags.writable() || have.writable())
    }

    fn has_offset(&self) -> bool {
        match self.kind {
            FileType::Regular => true,
            FileType::Char => self.watch.is_none() && host::stream::seek(&self.fd, 0, abi::fs::SEEK_CUR).is_ok(),
            _ => false,
        }
    }

    fn label(&self) -> String {
        match (self.kind, self.rdev) {
            (FileType::Fifo, _) => format!("pipe:[{}]", self.ino),
            (FileType::Socket, _) => format!("socket:[{}]", self.ino),
            (FileType::Char, (1, 3)) => "/dev/null".into(),
            (FileType::Char, (1, 5)) => "/dev/zero".into(),
            (FileType::Char, (1, 7)) => "/dev/full".into(),
            _ => format!("host:[{}]", self.ino),
        }
    }

    fn ready(&self, want: Events) -> Events {
        if self.watch.is_none() {
            return want & (Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM);
        }
        Events::from_bits_truncate(host::stream::poll_now(&self.fd, want.bits() as u16).into())
    }

    /// Reads without changing how the host's description waits. EAGAIN: nothing is there.
    fn read_some(&self, into: &mut [u8]) -> Result<usize, Errno> {
        match host::stream::read_nowait(&self.fd, into) {
            Err(Errno::EOPNOTSUPP | Errno::ESPIPE | Errno::EINVAL) => {
                let there = Events::IN | Events::HUP | Events::ERR;
                if self.watch.is_some() && !self.ready(Events::IN).intersects(there) {
                    return Err(Errno::EAGAIN);
                }
                // Another reader on the host's side may take the data first: the worker is handed over.
                block_in_place(|| host::stream::read(&self.fd, into))
            }
            other => other,
        }
    }

    fn write_some(&self, from: &[u8]) -> Result<usize, Errno> {
        match host::stream::write_nowait(&self.fd, from) {
            Err(Errno::EOPNOTSUPP | Errno::ESPIPE | Errno::EINVAL) => {
                let there = Events::OUT | Events::HUP | Events::ERR;
                if self.watch.is_some() && !self.ready(Events::OUT).intersects(there) {
                    return Err(Errno::EAGAIN);
                }
                block_in_place(|| host::stream::write(&self.fd, from))
            }
            other => other,
        }
    }

    fn terminal_ioctl(&self, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        match cmd {
            TCGETS => memory.write(arg, host::stream::termios(&self.fd)?.as_bytes()).map(|()| 0),
            TIOCGWINSZ => memory.write(arg, host::stream::winsize(&self.fd)?.as_bytes()).map(|()| 0),
            // The terminal is the host's: a guest may look at it, not change it.
            TCSETS | TCSETSW | TCSETSF if host::stream::termios(&self.fd).is_ok() => fail(Errno::EPERM),
            _ => fail(Errno::ENOTTY),
        }
    }
}

/// Bytes that are moved at once.
const CHUNK: usize = 64 << 10;

/// A pipe, a socket, a device.
struct Stream(Arc<Object>);

impl FileOps for Stream {
    fn position(&self) -> Position {
        Position::Stream
    }
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let mut buffer = vec![0; to.left().min(CHUNK)];
        if buffer.is_empty() {
            return Ok(0);
        }
        let object = self.0.clone();
        let count = io.wait_for(&object.queue, Events::IN, || match object.read_some(&mut buffer) {
            Ok(count) => Ok(Some(count)),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno.into()),
        })?;
        match buffer.get(..count) {
            Some(data) if !data.is_empty() => to.put(data),
            _ => Ok(0),
        }
    }
    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let mut buffer = vec![0; from.left().min(CHUNK)];
        let mut done = 0;
        while from.left() > 0 {
            let got = match from.take(&mut buffer) {
                Ok(got) => got,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            let data = buffer.get(..got).unwrap_or_default();
            match self.0.write_some(data) {
                Ok(count) => {
                    from.untake(got - count.min(got));
                    done += count;
                }
                Err(Errno::EAGAIN) => {
                    from.untake(got);
                    if io.nonblock && done > 0 {
                        break;
                    }
                    *io.done += done as u64;
                    done = 0;
                    let object = self.0.clone();
                    let there = Events::OUT | Events::ERR | Events::HUP;
                    io.wait_for(&self.0.queue, Events::OUT, || {
                        Ok(object.ready(Events::OUT).intersects(there).then_some(()))
                    })?;
                }
                Err(errno) => {
                    from.untake(got);
                    if done > 0 {
                        break;
                    }
                    if errno == Errno::EPIPE
                        && let Some(task) = Task::of(io)
                    {
                        task.signal_self(SIGPIPE);
                    }
                    return fail(errno);
                }
            }
            if got == 0 {
                break;
            }
        }
        Ok(done)
    }
    fn ready(&self, want: Events) -> Events {
        self.0.ready(want)
    }
    fn queue(&self) -> Option<&Queue> {
        self.0.watch.is_some().then_some(&self.0.queue)
    }
    fn ioctl(&self, _io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        if cmd == abi::ioctl::FIONREAD {
            let count = host::rustix::io::ioctl_fionread(&self.0.fd).map_err(host::errno)?;
            return memory.write(arg, &(count as i32).to_le_bytes()).map(|()| 0);
        }
        self.0.terminal_ioctl(memory, cmd, arg)
    }
    fn label(&self) -> Option<String> {
        Some(self.0.label())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn read_with(to: &mut dyn Sink, mut read: impl FnMut(&mut [u8], u64) -> Result<usize, Errno>) -> Op<usize> {
    let mut buffer = vec![0; to.left().min(CHUNK)];
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

fn write_with(from: &mut dyn Source, mut write: impl FnMut(&[u8], u64) -> Result<usize, Errno>) -> Op<usize> {
    let mut buffer = vec![0; from.left().min(CHUNK)];
    let mut done = 0;
    while from.left() > 0 {
        let got = match from.take(&mut buffer) {
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
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for Object {
    fn backing(&self, _io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing> {
        let have = OpenFlags::from_bits_retain(self.flags);
        if !have.readable() || rights.shared && rights.write && !have.writable() {
            return fail(Errno::EACCES);
        }
        Ok(Backing::Host { fd: self.fd.clone(), offset: range.start, local: false })
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
