//! What a file system implements.
//!
//! Checks of permission, of names, of read-only mounts and of types come before these are called (`vfs::access`, `vfs::namei`).
//! Objects are found by number and `Arc`; every method may stop with `Stop::Block`, before it has changed anything.

use super::{AclKind, AclPerm, Attr, FileType, Inode, SetAttr, StatFs};
use crate::io::{Io, Sink, Source};
use crate::op::{Op, fail};
use crate::wait::{Events, Queue};
use abi::Errno;
use abi::fs::OpenFlags;
use host::HostFd;
use std::any::Any;
use std::ops::Range;
use std::sync::Arc;

/// A kind of file system that mount(2) knows by name.
pub struct FsType {
    pub name: &'static str,
    /// Whether a guest may mount it.
    pub user_mountable: bool,
    /// /proc/filesystems says `nodev`.
    pub nodev: bool,
    /// Checks one option of the data string by itself, as fsconfig(2) does before anything is made: EINVAL for what is unknown or malformed.
    pub option: fn(option: &[u8]) -> Op<()>,
    /// Makes a file system and returns its root.
    pub mount: fn(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>>,
}

/// What a mount is asked for.
pub struct MountArgs<'a> {
    pub source: &'a [u8],
    /// The data string of mount(2): comma-separated `key` or `key=value`.
    pub data: &'a [u8],
    /// MS_* flags that concern the file system (MS_RDONLY).
    pub read_only: bool,
    /// The mounting task's view: proc wants its PID namespace, and so on. `task::Task::of` of `Io::caller` gives the task.
    pub kernel: &'a Arc<crate::Kernel>,
}

/// The operations of a mounted file system as a whole.
pub trait FileSystemOps: Any + Send + Sync {
    /// As in /proc/filesystems.
    fn name(&self) -> &'static str;
    fn statfs(&self, io: &mut Io<'_>) -> Op<StatFs>;
    /// syncfs(2).
    fn sync(&self, _io: &mut Io<'_>) -> Op<()> {
        Ok(())
    }
    /// What /proc/mounts shows behind the type's name and a dot: `sshfs` of `fuse.sshfs`.
    fn subtype(&self) -> Option<&str> {
        None
    }
    /// Whether calls are on their way through it, which hold none of its mounts while they wait: it is busy.
    fn is_asked(&self) -> bool {
        false
    }
    /// umount2(2) with MNT_FORCE: whoever waits for the file system is let go.
    fn abort(&self) {}
    /// Options for /proc/mounts beyond the general ones, such as `,size=65536k`; empty or begins with a comma.
    fn show_options(&self) -> String {
        String::new()
    }
    /// Whether its inodes have handles, name_to_handle_at(2).
    fn handled(&self) -> super::Handled {
        super::Handled::No
    }
    /// The terminals of a devpts; None for all other file systems.
    fn pts(&self) -> Option<&Arc<super::PtsInstance>> {
        None
    }
    /// mount(MS_REMOUNT) with these data options.
    fn remount(&self, _io: &mut Io<'_>, _data: &[u8]) -> Op<()> {
        Ok(())
    }
}

/// Where a symbolic link leads.
pub enum Link {
    /// A path to walk.
    Target(Box<[u8]>),
    /// A place by itself (/proc/self/fd/3, /proc/self/exe), not to be named by a path; magic links of path_resolution(7).
    Magic(super::Path),
}

/// The operations of an inode of any type.
pub trait InodeOps: Any + Send + Sync {
    fn attr(&self, io: &mut Io<'_>) -> Op<Attr>;
    /// Applies what is set; the caller has checked permissions. A change of size is truncate(2).
    fn set_attr(&self, io: &mut Io<'_>, change: &SetAttr) -> Op<()>;
    /// Opens the inode: regular files, folders and devices; a file system that holds device nodes passes them on to
    /// `open_device`. FIFOs, sockets, symlinks don't come here.
    fn open(&self, io: &mut Io<'_>, inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>>;
    /// What calls may take it for: /proc/PID is a process (`task::Pid`).
    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    /// The folder's operations, for folders.
    /// How mountinfo calls it where it is the root of a mount, in place of a path: namespaces.
    fn root_name(&self) -> Option<String> {
        None
    }
    fn dir(&self) -> Option<&dyn DirOps> {
        None
    }
    /// The target, for symbolic links.
    fn read_link(&self, _io: &mut Io<'_>) -> Op<Link> {
        fail(Errno::EINVAL)
    }
    /// What readlink(2) shows of a magic link whose place has no name (`pipe:[1]`); None: the target, or the place's name.
    fn link_text(&self, _io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Extended attributes, where there are any.
    fn xattr(&self) -> Option<&dyn XattrOps> {
        None
    }
    /// Data was read: the time of access is to change; unless `strict` only where relatime of mount(8) says so. Never waits.
    fn accessed(&self, _io: &mut Io<'_>, _strict: bool) {}
    /// A FIFO whose other ends are beyond this kernel: a descriptor of its own, which does not wait. None: it is the VFS' own pipe. ENXIO as open(2) says.
    fn open_fifo(&self, _io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<HostFd>>> {
        Ok(None)
    }
    /// A socket's name, beyond this kernel: a new socket of this type (SOCK_*), connected to what is bound there. None: only this kernel's sockets
    /// are. EAGAIN where its backlog is full.
    fn connect_socket(&self, _io: &mut Io<'_>, _kind: u32) -> Op<Option<Arc<HostFd>>> {
        Ok(None)
    }
    /// The socket beyond this kernel that was made with this inode (`NewKind::Socket`), once.
    fn take_socket(&self) -> Option<Arc<HostFd>> {
        None
    }
    /// Whether others change names, too: a cached one is asked for again each time, and stays while it leads to the same file.
    fn remote(&self) -> bool {
        false
    }
    /// Whether names and attributes may change behind the kernel's back, so that dentries must be looked up again each time (proc).
    fn volatile(&self) -> bool {
        false
    }
    /// Of a volatile folder: what a lookup finds is a place all the same, and gets a dentry that stays.
    fn keeps_names(&self) -> bool {
        false
    }
    /// Who may do what is the file system's business: modes and owners are not checked by the VFS, but passed by these.
    fn decides(&self) -> bool {
        false
    }
    /// O_TRUNC is `open`'s business: the VFS sets no size before it.
    fn truncates_at_open(&self) -> bool {
        false
    }
    /// The file system's own answer to whether `want` (READ, WRITE, EXEC, ASKED of `access`) is granted. None: the mode bits tell.
    fn permission(&self, _io: &mut Io<'_>, _want: u32) -> Option<Op<()>> {
        None
    }
}

/// What to make in a folder.
pub struct NewNode<'a> {
    pub kind: NewKind<'a>,
    /// Permission bits, the umask already applied; and what that took away.
    pub perm: u32,
    pub masked: u32,
    pub uid: u32,
    pub gid: u32,
    /// The access control lists that it begins with, by `AclKind`: the folder's `AclKind::Default` made them, as a host does by itself.
    pub acls: [Option<Box<[u8]>>; 2],
}

impl<'a> NewNode<'a> {
    /// With just these permissions, whatever anybody's umask says.
    pub fn plain(kind: NewKind<'a>, perm: u32, uid: u32, gid: u32) -> NewNode<'a> {
        NewNode { kind, perm, masked: 0, uid, gid, acls: [None, None] }
    }
}

/// The type of a new node.
pub enum NewKind<'a> {
    Regular,
    Dir,
    Fifo,
    /// Of this type (SOCK_*), for bind(2); 0: a mere name, for mknod(2).
    Socket(u32),
    /// Makes a link to this text.
    Symlink(&'a [u8]),
    Char(u64),
    Block(u64),
}

impl NewKind<'_> {
    pub fn file_type(&self) -> FileType {
        match self {
            NewKind::Regular => FileType::Regular,
            NewKind::Dir => FileType::Dir,
            NewKind::Fifo => FileType::Fifo,
            NewKind::Socket(_) => FileType::Socket,
            NewKind::Symlink(_) => FileType::Symlink,
            NewKind::Char(_) => FileType::Char,
            NewKind::Block(_) => FileType::Block,
        }
    }
}

/// The operations of a folder. Names have been checked: not empty, no slash, not `.` or `..`, at most 255 bytes.
pub trait DirOps: Send + Sync {
    /// None: there is no such name.
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Arc<Inode>>>;
    /// Looks up as many of a path's names as one trip gives: the inodes of a prefix of `names`, each in the one before. May be empty.
    /// The walk calls it once where several components are unknown, then takes what it got in place of `lookup`s.
    fn walk_ahead(&self, _io: &mut Io<'_>, _names: &[&[u8]]) -> Op<Vec<Arc<Inode>>> {
        Ok(Vec::new())
    }
    /// EEXIST where the name is taken.
    fn create(&self, io: &mut Io<'_>, name: &[u8], node: &NewNode<'_>) -> Op<Arc<Inode>>;
    /// As `create` of a regular file, for open(2), which opens it next with these flags.
    fn create_open(&self, io: &mut Io<'_>, name: &[u8], node: &NewNode<'_>, _flags: OpenFlags) -> Op<Arc<Inode>> {
        self.create(io, name, node)
    }
    /// Another name for an inode of this file system that is no folder.
    fn link(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()>;
    fn unlink(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()>;
    /// ENOTEMPTY where it has entries.
    fn rmdir(&self, io: &mut Io<'_>, name: &[u8], target: &Arc<Inode>) -> Op<()>;
    /// renameat2(2) within this file system; `flags` are RENAME_*; `moved` is what `name` is, `victim` what `new_name` is.
    #[allow(clippy::too_many_arguments)]
    fn rename(
        &self,
        io: &mut Io<'_>,
        name: &[u8],
        moved: &Arc<Inode>,
        new_dir: &Arc<Inode>,
        new_name: &[u8],
        victim: Option<&Arc<Inode>>,
        flags: u32,
    ) -> Op<()>;
    /// An inode without a name, O_TMPFILE.
    fn tmpfile(&self, _io: &mut Io<'_>, _node: &NewNode<'_>) -> Op<Arc<Inode>> {
        fail(Errno::EOPNOTSUPP)
    }
}

/// Extended attributes, xattr(7). The caller has checked the name space's rules. Access control lists are asked for and set by `acl` and `set_acl` alone;
/// `list` has their names, too.
pub trait XattrOps: Send + Sync {
    /// ENODATA where there is none.
    fn get(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Vec<u8>>;
    /// `flags` are XATTR_CREATE and XATTR_REPLACE.
    fn set(&self, io: &mut Io<'_>, name: &[u8], value: &[u8], flags: u32) -> Op<()>;
    fn remove(&self, io: &mut Io<'_>, name: &[u8]) -> Op<()>;
    fn list(&self, io: &mut Io<'_>) -> Op<Vec<Vec<u8>>>;
    /// An access control list, as `Acl::kept` reads it. None: permissions say all. EOPNOTSUPP: the file system has no lists, and keeps to permissions.
    fn acl(&self, _io: &mut Io<'_>, _kind: AclKind) -> Op<Option<Vec<u8>>> {
        fail(Errno::EOPNOTSUPP)
    }
    /// Sets an access control list or takes it away, and in the same step the permissions that go with it. From then on
    /// `set_attr` keeps the list to the permissions (`Acl::set_perm`).
    fn set_acl(&self, _io: &mut Io<'_>, _kind: AclKind, _list: Option<&[u8]>, _perm: Option<AclPerm>) -> Op<()> {
        fail(Errno::EOPNOTSUPP)
    }
}

/// Takes a folder's entries: it only notes them down, since the folder may be locked.
pub trait DirSink {
    /// `next` is the position after this entry (d_off). False: it is full, the entry was not taken.
    fn entry(&mut self, name: &[u8], ino: u64, kind: FileType, next: u64) -> bool;
}

/// Where reads and writes without a position take place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The open file description keeps it, and `FileOps` always gets `Some(position)`.
    Vfs,
    /// The object keeps it itself (a donated host file shares its offset with the host): `at` is None, `seek` is the object's.
    Own,
    /// There is none: pipes, sockets, terminals. lseek and pread say ESPIPE; `at` is None.
    Stream,
}

/// The operations of an open file.
pub trait FileOps: Any + Send + Sync {
    fn position(&self) -> Position {
        Position::Vfs
    }
    /// 0 at the end. Blocks only before it has put anything, or counts it in `io.done`.
    fn read(&self, _io: &mut Io<'_>, _at: Option<u64>, _to: &mut dyn Sink) -> Op<usize> {
        fail(Errno::EINVAL)
    }
    /// With `Position::Vfs` and O_APPEND the VFS passes the position `u64::MAX`: write at the end. Returns the bytes written.
    fn write(&self, _io: &mut Io<'_>, _at: Option<u64>, _from: &mut dyn Source) -> Op<usize> {
        fail(Errno::EINVAL)
    }
    /// Which of `want` are there now (ERR and HUP unasked).
    fn ready(&self, want: Events) -> Events {
        want & (Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM)
    }
    /// What is woken when `ready` may have changed. None: always ready (epoll refuses the file with EPERM).
    fn queue(&self) -> Option<&Queue> {
        None
    }
    /// Which of the wake-ups for `want` are about this end of the object: the others leave an edge-triggered watch of it alone.
    fn wakes(&self, want: Events) -> Events {
        want
    }
    /// Whether O_ASYNC does anything: the object tells of its readiness by signals, too.
    fn signals_readiness(&self) -> bool {
        false
    }
    /// Before poll(2) looks: an object whose readiness somebody else knows asks, and may wait for the answer.
    fn ask_ready(&self, _io: &mut Io<'_>, _want: Events) -> Op<()> {
        Ok(())
    }
    /// Entries of a folder from position `from` on (0: the first; `.` and `..` included).
    fn list(&self, _io: &mut Io<'_>, _from: u64, _to: &mut dyn DirSink) -> Op<()> {
        fail(Errno::ENOTDIR)
    }
    /// lseek(2) of objects with a position of their own, and SEEK_DATA, SEEK_HOLE, SEEK_END of all: the new absolute position.
    /// `from` is the VFS's position for SEEK_CUR of `Position::Vfs` objects.
    fn seek(&self, _io: &mut Io<'_>, _offset: i64, _whence: u32, _from: u64) -> Op<u64> {
        fail(Errno::ESPIPE)
    }
    /// ioctl(2). `arg` is the guest's third argument; memory it points to is reached by `io`'s task. ENOTTY where unknown.
    fn ioctl(&self, _io: &mut Io<'_>, _memory: &dyn crate::io::UserMemory, _cmd: u32, _arg: u64) -> Op<u64> {
        fail(Errno::ENOTTY)
    }
    /// Record locks (or flocks) of a file whose server keeps them. None: the kernel's own.
    fn lock_ops(&self, _flock: bool) -> Option<&dyn LockOps> {
        None
    }
    /// Reads and writes are whole messages, which are never cut: /dev/fuse.
    fn is_messages(&self) -> bool {
        false
    }
    /// A message that comes out of a pipe, splice(2).
    fn take_message(&self, _io: &mut Io<'_>, _message: Vec<u8>) -> Op<usize> {
        fail(Errno::EINVAL)
    }
    /// Adds seals, or none, and says which there are: F_ADD_SEALS, F_GET_SEALS of fcntl(2). EINVAL for files that have none.
    fn seals(&self, _add: Option<u32>) -> Op<u32> {
        fail(Errno::EINVAL)
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        None
    }
    /// msync(2) with MS_SYNC of a shared mapping, where the host's msync is not all.
    fn msync(&self, _io: &mut Io<'_>) -> Op<()> {
        Ok(())
    }
    /// copy_file_range(2) to another file at `to_at`, where the two can do that by themselves. None: they cannot; the kernel copies.
    fn copy_range(&self, _io: &mut Io<'_>, _at: u64, _to: &super::File, _to_at: u64, _len: usize) -> Op<Option<usize>> {
        Ok(None)
    }
    /// fsync(2), fdatasync(2).
    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        fail(Errno::EINVAL)
    }
    /// fallocate(2).
    fn allocate(&self, _io: &mut Io<'_>, _mode: u32, _range: Range<u64>) -> Op<()> {
        fail(Errno::EOPNOTSUPP)
    }
    /// F_SETFL changed O_NONBLOCK, O_APPEND, O_DIRECT or O_ASYNC.
    fn flags_changed(&self, _flags: OpenFlags) {}
    /// The last descriptor of an open file description went; called once per description, before the object is dropped.
    fn release(&self) {}
    /// A descriptor was closed, close(2): reports delayed errors of writes.
    fn flush(&self, _io: &mut Io<'_>) -> Op<()> {
        Ok(())
    }
    /// A descriptor of the file in descriptor table `table` (`FdTable::id`) went, however.
    fn descriptor_closed(&self, _table: u64) {}
    /// What /proc/PID/fd/N links to where the file has no path, such as `pipe:[123]` or `anon_inode:[eventpoll]`.
    fn label(&self) -> Option<String> {
        None
    }
    /// Lines for /proc/PID/fdinfo/N beyond pos, flags, mnt_id, ino.
    fn fdinfo(&self) -> String {
        String::new()
    }
    /// The object as itself, for the calls that want one kind (sendmsg on a socket, epoll_ctl on an epoll).
    fn as_any(&self) -> &dyn Any;
}

/// Locks of files whose server keeps them.
pub trait LockOps: Send + Sync {
    /// F_GETLK: a lock that stands in the way.
    fn test(&self, io: &mut Io<'_>, wanted: &super::RecordLock) -> Op<Option<super::RecordLock>>;
    /// F_SETLK, F_SETLKW; without `take` F_UNLCK.
    fn set(&self, io: &mut Io<'_>, wanted: &super::RecordLock, take: bool, wait: bool) -> Op<()>;
    /// flock(2) of an open file description: shared or alone; None: LOCK_UN.
    fn flock(&self, io: &mut Io<'_>, file: u64, alone: Option<bool>, wait: bool) -> Op<()>;
}

/// What a mapping may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    pub write: bool,
    pub shared: bool,
}

/// Files whose contents a guest may map.
pub trait Mappable: Send + Sync {
    /// The host file behind `range`, opened with no more rights than asked.
    fn backing(&self, io: &mut Io<'_>, range: Range<u64>, rights: Rights) -> Op<Backing>;
    /// Whether a mapping may be made longer than the range that was asked for.
    fn may_grow(&self) -> bool {
        true
    }
}

/// What is behind a mapping.
pub enum Backing {
    /// A host file, to be mapped from `offset` on. `local`: on a file system of the allow-list, so that process_vm may read such mappings.
    Host { fd: Arc<HostFd>, offset: u64, local: bool },
    /// As `Host` for the first `len` bytes of the range (whole pages); what follows is `rest`, from its beginning on.
    Split { fd: Arc<HostFd>, offset: u64, len: u64, rest: Arc<HostFd>, local: bool },
    /// Anonymous memory: mappings of /dev/zero.
    Anonymous,
}
