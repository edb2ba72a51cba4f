//! How terminals are found: ptmx, /dev/pts/N, /dev/tty, /dev/console. pts(4), tty(4), console(4).
//!
//! Locks: `Leaf` around the consoles of containers.

use super::master::Master;
use super::slave::Line;
use super::terminal::Terminal;
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::Kernel;
use kernel::cred::Cred;
use kernel::locks::Leaf;
use kernel::task::Task;
use kernel::vfs::{File, FileOps, FileType, Inode, Mount, MountNs, Path, Pts, PtsInstance, register_device};
use kernel::{Io, Op, fail};
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

pub fn register() {
    register_device(FileType::Char, 5, 0..1, "/dev/tty", open_tty);
    register_device(FileType::Char, 5, 1..2, "/dev/console", open_console);
    register_device(FileType::Char, 5, 2..3, "/dev/ptmx", open_ptmx);
    register_device(FileType::Char, 136, 0..1 << 20, "pts", open_pts);
}

/// The consoles of containers that have a terminal, by container.
static CONSOLES: Mutex<BTreeMap<u64, Weak<Terminal>>, Leaf> = Mutex::new(BTreeMap::new());

/// Makes a terminal what /dev/console means in a container.
pub fn set_console(container: u64, terminal: &Arc<Terminal>) {
    let mut consoles = CONSOLES.lock();
    consoles.retain(|_, t| t.strong_count() > 0);
    consoles.insert(container, Arc::downgrade(terminal));
}

/// A new pair in a devpts instance: its slave's node belongs to `cred`.
pub fn new_pair(kernel: &Arc<Kernel>, instance: &Arc<PtsInstance>, cred: &Cred) -> Op<Arc<Terminal>> {
    let options = instance.options();
    let mut made = None;
    instance.add(|index| {
        let terminal = Terminal::new(kernel, index);
        made = Some(terminal.clone());
        Pts {
            terminal: Arc::new(Line(terminal)),
            uid: options.uid.unwrap_or(cred.fsuid),
            gid: options.gid.unwrap_or(cred.fsgid),
            perm: options.perm,
            born: kernel::time::now(),
        }
    })?;
    made.ok_or(Errno::EIO.into())
}

/// /dev/ptmx: a new pair, in the devpts that the node is on, else in the one that the caller sees.
fn open_ptmx(io: &mut Io<'_>, inode: &Arc<Inode>, _rdev: u64, _flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let task = Task::of(io).ok_or(Errno::EIO)?;
    let instance = match inode.fs.ops.pts() {
        Some(instance) => instance.clone(),
        None => {
            let mount = find_devpts(&task.namespaces().mount, None).ok_or(Errno::ENODEV)?;
            mount.fs.ops.pts().cloned().ok_or(Errno::ENODEV)?
        }
    };
    let terminal = new_pair(&task.kernel, &instance, &io.cred)?;
    Ok(Arc::new(Master { terminal, instance }))
}

fn open_pts(io: &mut Io<'_>, inode: &Arc<Inode>, rdev: u64, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let pts = inode.fs.ops.pts().and_then(|instance| instance.get(abi::fs::minor(rdev)));
    pts.ok_or(Errno::ENXIO)?.terminal.open(io, flags)
}

/// /dev/tty: the caller's controlling terminal.
fn open_tty(io: &mut Io<'_>, _inode: &Arc<Inode>, _rdev: u64, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let task = Task::of(io).ok_or(Errno::ENXIO)?;
    let tty = task.group.session().tty().ok_or(Errno::ENXIO)?;
    let terminal = tty.as_any().downcast::<Terminal>().map_err(|_| Errno::ENXIO)?;
    if !terminal.controls(&task) {
        return fail(Errno::ENXIO);
    }
    terminal.open_slave(io, flags | OpenFlags::NOCTTY)
}

/// /dev/console: the terminal that the container was started with. ENXIO where it has none.
fn open_console(io: &mut Io<'_>, _inode: &Arc<Inode>, _rdev: u64, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
    let task = Task::of(io).ok_or(Errno::ENXIO)?;
    let terminal = CONSOLES.lock().get(&task.group.container.number).and_then(Weak::upgrade);
    terminal.ok_or(Errno::ENXIO)?.open_slave(io, flags | OpenFlags::NOCTTY)
}

/// The devpts mount of a namespace: that of `instance`, or any.
pub fn find_devpts(ns: &MountNs, instance: Option<&Arc<PtsInstance>>) -> Option<Arc<Mount>> {
    let mut todo = vec![ns.root()?];
    while let Some(mount) = todo.pop() {
        let found = mount.fs.ops.pts().is_some_and(|pts| instance.is_none_or(|want| Arc::ptr_eq(pts, want)));
        if found {
            return Some(mount);
        }
        todo.extend(mount.tree.read().children.iter().map(|(_, below)| below.clone()));
    }
    None
}

/// An open file of the slave N of an instance, with its name where a devpts mount of the task shows it.
pub fn slave_file(
    io: &mut Io<'_>,
    task: &Task,
    instance: &Arc<PtsInstance>,
    index: u32,
    flags: OpenFlags,
) -> Op<Arc<File>> {
    let place = match find_devpts(&task.namespaces().mount, Some(instance)) {
        Some(mount) => slave_path(io, &mount, index)?,
        None => None,
    };
    let ops = instance.get(index).ok_or(Errno::EIO)?.terminal.open(io, flags)?;
    Ok(match place {
        Some((path, inode)) => File::opened(path, inode, ops, flags),
        None => File::anonymous(ops, flags),
    })
}

/// The place of /dev/pts/N in a devpts mount.
pub fn slave_path(io: &mut Io<'_>, mount: &Arc<Mount>, index: u32) -> Op<Option<(Path, Arc<Inode>)>> {
    let dentry = kernel::vfs::look_up(io, &mount.root, index.to_string().as_bytes())?;
    Ok(dentry.inode().map(|inode| (Path::new(mount.clone(), dentry), inode)))
}
