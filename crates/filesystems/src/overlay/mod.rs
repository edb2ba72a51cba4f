//! overlay: a writable file system over read-only ones. Linux' Documentation/filesystems/overlayfs, mount(8).
//!
//! A folder of the overlay is an upper folder, a stack of lower ones, or both merged; anything else is one file, upper or lower. What is changed is copied
//! up first. In the upper layer a character device 0:0 (a whiteout) hides a lower name, and the attribute `trusted.overlay.opaque` says that nothing
//! below shows through. `node` is one file or folder, `copy_up` brings it up, `dir` changes names, `listing` merges them, `file` is an open lower file.
//!
//! Unlike Linux' default, names of one lower file stay one file after it was copied up, and over a private upper layer folders with lower parts can be
//! renamed: the overlay remembers both (`Overlay::linked`, `Overlay::stacks`) as long as it is mounted. Locks: the leaves of `Overlay` and of `Node`, held over nothing.

mod copy_tree;
mod copy_up;
mod dir;
mod file;
mod listing;
mod node;
mod options;
mod redirect;
mod xattr;

pub use copy_tree::{copy_tree, is_empty};
pub use options::register;

use abi::Errno;
use kernel::io::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, fail};
use kernel::vfs::{Attr, FileSystem, FileSystemOps, FileType, Inode, InodeOps, StatFs};
use lock::Mutex;
use node::Node;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock, Weak};

/// OVERLAYFS_SUPER_MAGIC.
const MAGIC: u64 = 0x794c_7630;
/// Inode numbers of files that are born in the upper layer begin here: lower ones keep their own.
const UPPER_INO: u64 = 1 << 48;

/// Lower folders that are merged, topmost first.
pub(crate) type Stack = Arc<[Arc<Inode>]>;

/// What all nodes of one overlay share.
pub(crate) struct Overlay {
    fs: OnceLock<Weak<FileSystem>>,
    /// Absent: the overlay is read-only.
    upper: Option<Arc<Inode>>,
    lower: Arc<Inode>,
    ways: Ways,
    /// The roots of the lower layers, topmost first.
    roots: Stack,
    /// What /proc/mounts shows.
    options: String,
    /// Nodes by the address of the layers' inodes that they hold.
    nodes: Mutex<HashMap<usize, Weak<Node>>, Leaf>,
    /// The inode number that a copied-up file keeps, by the upper inode's.
    origins: Mutex<HashMap<u64, u64>, Leaf>,
    /// Upper folders whose lower parts are not those of the same name: renamed ones, and new ones that hide what is below.
    stacks: Mutex<HashMap<u64, Stack>, Leaf>,
    /// Copied-up files that have other names in the lower layer, which lead here.
    linked: Mutex<Vec<Arc<Node>>, Leaf>,
}

/// How an overlay works, by its mount options.
#[derive(Clone, Copy)]
pub(crate) struct Ways {
    /// Nobody else sees the upper layer, now or later: folders with lower parts are renamed without a mark that says so, devices 0:0 can
    /// be made, and whiteouts are devices only.
    private: bool,
    /// `redirect_dir=on`: a folder with lower parts can be renamed; else that is EXDEV.
    redirect: bool,
    /// Not `redirect_dir=nofollow`.
    follow: bool,
    /// `userxattr`: marks are in the name space that everybody may write.
    user_marks: bool,
}

struct OverlayFs(Arc<Overlay>);

/// An overlay of a fresh `upper` over one lower root: owner, permissions and attributes of the root are the lower one's; a regular file is copied at once.
pub fn cover(io: &mut Io<'_>, lower: Arc<Inode>, upper: Arc<Inode>) -> Op<Arc<Inode>> {
    if lower.kind != upper.kind {
        return fail(Errno::EINVAL);
    }
    copy_up::copy_root(io, &lower, &upper)?;
    let ways = Ways { private: true, redirect: true, follow: false, user_marks: false };
    Overlay::root(vec![lower], Some(upper), String::new(), ways)
}

impl FileSystemOps for OverlayFs {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn handled(&self) -> kernel::vfs::Handled {
        kernel::vfs::Handled::Cached
    }

    fn statfs(&self, io: &mut Io<'_>) -> Op<StatFs> {
        let lower = self.0.lower.fs.ops.statfs(io)?;
        let upper = match &self.0.upper {
            Some(upper) => upper.fs.ops.statfs(io)?,
            None => lower,
        };
        Ok(StatFs { magic: MAGIC, name_max: upper.name_max.min(lower.name_max), ..upper })
    }

    fn sync(&self, io: &mut Io<'_>) -> Op<()> {
        self.0.upper.as_ref().map_or(Ok(()), |upper| upper.fs.ops.sync(io))
    }

    fn show_options(&self) -> String {
        if self.0.options.is_empty() { String::new() } else { format!(",{}", self.0.options) }
    }
}

impl Overlay {
    /// Makes an overlay of `upper` over `lowers`, the topmost first; its root. EINVAL without a lower layer, or where their roots differ in type.
    fn root(lowers: Vec<Arc<Inode>>, upper: Option<Arc<Inode>>, options: String, ways: Ways) -> Op<Arc<Inode>> {
        let Some(lower) = lowers.first().cloned() else { return fail(Errno::EINVAL) };
        let alike = lowers.iter().chain(&upper).all(|layer| layer.kind == lower.kind);
        if !alike || !matches!(lower.kind, FileType::Dir | FileType::Regular) {
            return fail(Errno::EINVAL);
        }
        let overlay = Arc::new(Overlay {
            fs: OnceLock::new(),
            upper: upper.clone(),
            lower: lower.clone(),
            ways,
            roots: lowers.as_slice().into(),
            options,
            nodes: Mutex::new(HashMap::new()),
            origins: Mutex::new(HashMap::new()),
            stacks: Mutex::new(HashMap::new()),
            linked: Mutex::new(Vec::new()),
        });
        let fs = FileSystem::new(Box::new(OverlayFs(overlay.clone())));
        fs.read_only.store(upper.is_none(), Ordering::Relaxed);
        let _ = overlay.fs.set(Arc::downgrade(&fs));
        if let Some(upper) = &upper {
            overlay.origins.lock().insert(upper.ino, lower.ino);
        }
        Node::find(&overlay, upper, lowers.into(), None)?.inode()
    }

    /// The inode number of something in the upper layer.
    fn upper_number(&self, ino: u64) -> u64 {
        self.origins.lock().get(&ino).copied().unwrap_or_else(|| UPPER_INO.wrapping_add(ino))
    }

    /// The lower parts of an upper folder, where they are not to be looked up by its name.
    fn stack_of(&self, upper: &Inode) -> Option<Stack> {
        self.stacks.lock().get(&upper.ino).cloned()
    }

    fn set_stack(&self, upper: &Inode, stack: Stack) {
        let old = self.stacks.lock().insert(upper.ino, stack);
        drop(old);
    }

    /// What was remembered of an upper inode that is gone: its number may come again.
    fn forget_upper(&self, upper: &Inode) {
        self.origins.lock().remove(&upper.ino);
        let old = self.stacks.lock().remove(&upper.ino);
        drop(old);
    }
}

impl Overlay {
    /// Whether a layer's inode hides the names below: a character device 0:0 that a guest did not make, or an empty file with a mark.
    fn is_whiteout(&self, io: &mut Io<'_>, inode: &Inode) -> Op<bool> {
        match inode.kind {
            FileType::Char if inode.attr(io)?.rdev == 0 => {
                Ok(!self.ways.private || self.marked(io, inode, xattr::DEVICE)?.is_none())
            }
            FileType::Regular if !self.ways.private && inode.attr(io)?.size == 0 => {
                Ok(self.marked(io, inode, xattr::WHITEOUT)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Whether files of a layer's folder may be whiteouts, which a listing wants to know.
    fn has_file_whiteouts(&self, io: &mut Io<'_>, dir: &Inode) -> Op<bool> {
        Ok(!self.ways.private && self.marked(io, dir, xattr::OPAQUE)?.as_deref() == Some(b"x"))
    }
}

/// The folder's operations of a layer's inode.
fn folder(inode: &Inode) -> Op<&dyn kernel::vfs::DirOps> {
    match inode.ops.dir() {
        Some(dir) => Ok(dir),
        None => fail(Errno::ENOTDIR),
    }
}

/// Attributes that a copy takes over from the original: all that can be set.
fn as_change(attr: &Attr) -> kernel::vfs::SetAttr {
    use kernel::vfs::SetTime;
    kernel::vfs::SetAttr {
        perm: (attr.kind != FileType::Symlink).then_some(attr.perm),
        uid: None,
        gid: None,
        size: None,
        atime: Some(SetTime::At(attr.atime)),
        mtime: Some(SetTime::At(attr.mtime)),
        disarms: false,
    }
}

/// The operations of an inode of any layer, as a trait object.
fn ops(inode: &Inode) -> &dyn InodeOps {
    &*inode.ops
}
