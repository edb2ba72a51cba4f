//! FUSE: file systems that guests serve. fuse(4), mount.fuse(8).
//!
//! A server opens /dev/fuse and mounts a file system with that descriptor; what is asked of the file system it reads there as requests, and writes
//! the answers. So every operation here may wait (`request` has the rules), and nothing that comes from the server is trusted. Neighbours: `conn`
//! (the queues), `device` (/dev/fuse), `node`, `names`, `listing` and `file` (the operations), `control` (/sys/fs/fuse/connections).

mod conn;
mod control;
mod data;
mod device;
mod file;
mod handle;
mod init;
mod inode;
mod listing;
mod locks;
mod names;
mod node;
mod notify;
mod options;
mod pages;
mod poll;
mod ranges;
mod request;
mod wire;
mod writeback;
mod xattr;

use abi::Errno;
use abi::fs::S_IFMT;
use abi::fuse::{FUSE_ROOT_ID, FUSE_STATFS, FUSE_SUPER_MAGIC, FUSE_SYNCFS};
use conn::Conn;
use device::Device;
use kernel::op::{Op, Stop, fail};
use kernel::task::Task;
use kernel::vfs::{FileSystem, FileSystemOps, FileType, FsType, Inode, MountArgs, StatFs};
use kernel::{Io, Kernel};
use node::Node;
use options::Options;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use wire::{In, Out};

static TYPE: FsType =
    FsType { name: "fuse", user_mountable: true, nodev: true, option: |o| Options::parse(o).map(|_| ()), mount };

/// Makes the type and its device known.
pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
    device::register();
    control::register(kernel);
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let options = Options::parse(args.data)?;
    let (Some(fd), Some(root_mode), Some(user), Some(group)) =
        (options.fd, options.root_mode, options.user_id, options.group_id)
    else {
        return fail(Errno::EINVAL);
    };
    // Without a block device behind it there are no blocks.
    if options.block_size.is_some() || FileType::from_mode(root_mode & S_IFMT).is_none() {
        return fail(Errno::EINVAL);
    }
    let user = io.cred.user_ns.uid_from(user).ok_or(Errno::EINVAL)?;
    let group = io.cred.user_ns.gid_from(group).ok_or(Errno::EINVAL)?;
    let task = Task::of(io).ok_or(Errno::EINVAL)?;
    let file = task.files().get(fd).map_err(|_| Errno::EINVAL)?;
    let device = file.ops_as::<Device>().ok_or(Errno::EINVAL)?;
    if let Some(conn) = device.connected() {
        // Mounted with already: the same file system at one more place.
        return conn.root();
    }
    let user_ns = io.cred.user_ns.clone();
    if !device.opened_in(&user_ns) {
        return fail(Errno::EINVAL);
    }
    let pid_ns = task.pid.ns().ok_or(Errno::EINVAL)?;
    let conn = Conn::new(options, user, group, user_ns, pid_ns);
    let fs = FileSystem::new(Box::new(FuseFs { conn: conn.clone() }));
    let _ = conn.fs.set(Arc::downgrade(&fs));
    let root = Node::root(&conn, &fs, root_mode);
    device.connect(&conn)?;
    control::list(&conn, abi::fs::minor(fs.dev));
    init::begin(&conn);
    Ok(root)
}

struct FuseFs {
    conn: Arc<Conn>,
}

impl Drop for FuseFs {
    /// It is mounted nowhere, and nothing of it is open.
    fn drop(&mut self) {
        self.conn.abort(false);
    }
}

impl FileSystemOps for FuseFs {
    fn name(&self) -> &'static str {
        TYPE.name
    }

    fn subtype(&self) -> Option<&str> {
        self.conn.options.subtype.as_deref()
    }

    fn statfs(&self, io: &mut Io<'_>) -> Op<StatFs> {
        if self.conn.admits(&io.cred).is_err() {
            return Ok(StatFs { magic: FUSE_SUPER_MAGIC, ..StatFs::default() });
        }
        self.conn.ask_plainly(io, FUSE_STATFS, FUSE_ROOT_ID, Out::default(), 80..=80, |_, answer| {
            let reply = answer?;
            let mut from = In(&reply);
            let [blocks, blocks_free, blocks_available, files, files_free] =
                [from.u64()?, from.u64()?, from.u64()?, from.u64()?, from.u64()?];
            let (block_size, name_max, fragment) = (from.u32()?, from.u32()?, from.u32()?);
            let block_size = u64::from(if fragment > 0 { fragment } else { block_size });
            let name_max = name_max.into();
            Ok(StatFs {
                magic: FUSE_SUPER_MAGIC,
                block_size,
                blocks,
                blocks_free,
                blocks_available,
                files,
                files_free,
                name_max,
            })
        })
    }

    fn sync(&self, io: &mut Io<'_>) -> Op<()> {
        // Of a server that any user may be nobody waits for a sync of everything.
        let trusted = self.conn.user_ns.parent.is_none() && self.conn.user == 0;
        if !trusted || self.conn.lacks(FUSE_SYNCFS) || self.conn.settings.get().is_none_or(|s| s.minor < 34) {
            return Ok(());
        }
        let args = Out::default().u64(0);
        match self.conn.ask_plainly(io, FUSE_SYNCFS, FUSE_ROOT_ID, args, 0..=0, handle::done) {
            Err(Stop::Errno(Errno::ENOSYS)) => {
                self.conn.set_lacking(FUSE_SYNCFS);
                Ok(())
            }
            other => other,
        }
    }

    fn show_options(&self) -> String {
        let options = &self.conn.options;
        let mut text = format!(",user_id={},group_id={}", self.conn.user, self.conn.group);
        if options.default_permissions {
            text.push_str(",default_permissions");
        }
        if options.allow_other {
            text.push_str(",allow_other");
        }
        if let Some(max) = options.max_read {
            text.push_str(&format!(",max_read={max}"));
        }
        text
    }

    fn is_asked(&self) -> bool {
        self.conn.askers.load(Ordering::Acquire) > 0
    }

    fn abort(&self) {
        self.conn.abort(false);
    }

    /// Nothing of a mounted one can be changed but whether it may be written to.
    fn remount(&self, _io: &mut Io<'_>, data: &[u8]) -> Op<()> {
        Options::parse(data).map(|_| ())
    }
}
