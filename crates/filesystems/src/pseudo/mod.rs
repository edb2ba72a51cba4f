//! File systems whose contents the kernel makes up: what proc, sys and devpts are built of.
//!
//! A `Node` says what a name is (folder, file, link, device) and who owns it; `PseudoFs` makes inodes of nodes, one for each while it is in
//! use, with numbers that stay the same. Contents are made when a file is read from its beginning, as Linux' seq files are. Locks:
//! `InodeState` around the table of inodes.

mod file;
mod inode;
mod tree;

pub use file::{Content, Knob, Text, open_text};
pub use tree::Tree;

use kernel::cred::Cred;
use kernel::locks::InodeState;
use kernel::vfs::{
    Attr, FileSystem, FileSystemOps, FileType, Inode, Link, NewKind, NewNode, PtsInstance, SetAttr, StatFs,
};
use kernel::{Io, Op, fail};
use lock::Mutex;
use std::any::Any;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Weak};

/// What a name stands for.
#[derive(Clone)]
pub struct Node {
    pub perm: u32,
    pub uid: u32,
    pub gid: u32,
    pub body: Body,
    /// Tells a node from a later one of the same name (a process number used again).
    pub identity: u64,
}

/// The kinds of nodes.
#[derive(Clone)]
pub enum Body {
    Folder(Arc<dyn Folder>),
    File(Arc<dyn Content>),
    Link(Arc<dyn Target>),
    /// A character device by its number, and how its attributes are kept.
    Device(u64, Arc<dyn Owned>),
}

impl Body {
    pub fn kind(&self) -> FileType {
        match self {
            Body::Folder(_) => FileType::Dir,
            Body::File(_) => FileType::Regular,
            Body::Link(_) => FileType::Symlink,
            Body::Device(..) => FileType::Char,
        }
    }
}

impl Node {
    fn new(perm: u32, body: Body) -> Node {
        Node { perm, uid: 0, gid: 0, body, identity: 0 }
    }
    pub fn folder(perm: u32, folder: impl Folder + 'static) -> Node {
        Node::new(perm, Body::Folder(Arc::new(folder)))
    }
    pub fn file(perm: u32, content: impl Content + 'static) -> Node {
        Node::new(perm, Body::File(Arc::new(content)))
    }
    pub fn link(target: impl Target + 'static) -> Node {
        Node::new(0o777, Body::Link(Arc::new(target)))
    }
    /// A file whose text is made by `make` at each reading.
    pub fn text(make: impl Fn(&mut Io<'_>) -> Op<Vec<u8>> + Send + Sync + 'static) -> Node {
        Node::file(0o444, Text(make))
    }
    /// A link to a path that never changes.
    pub fn link_to(path: &'static str) -> Node {
        Node::link(move |_: &mut Io<'_>| Ok(Link::Target(path.as_bytes().into())))
    }
    pub fn owned_by(self, uid: u32, gid: u32) -> Node {
        Node { uid, gid, ..self }
    }
    pub fn identified(self, identity: u64) -> Node {
        Node { identity, ..self }
    }
}

/// The names in a folder.
pub trait Folder: Send + Sync {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>>;
    /// Entries after `.` and `..`, with types. The position of an entry in a listing is its key, so that entries which come and go
    /// meanwhile don't shift the others: ascending.
    fn entries(&self, io: &mut Io<'_>) -> Op<Vec<Listed>>;
    /// Whether lookups must be repeated each time.
    fn volatile(&self) -> bool {
        false
    }
    /// Owner and group now, where they may change (a process that changes its credentials).
    fn owner(&self) -> Option<(u32, u32)> {
        None
    }
    /// st_size.
    fn size(&self) -> u64 {
        0
    }
    /// st_nlink.
    fn nlink(&self) -> u32 {
        2
    }
    /// Whether the caller may do as the mode bits don't let it.
    fn permits(&self, _io: &Io<'_>) -> bool {
        false
    }
    /// What its folder stands for: a process (`Pid`), a control group (`Cgroup`).
    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    /// mkdir(2) and its kind, where names can be made.
    fn make(&self, _io: &mut Io<'_>, _name: &[u8], new: &NewNode<'_>) -> Op<Node> {
        // As Linux answers for proc and sysfs: no such names can come to be.
        fail(if matches!(new.kind, NewKind::Regular) { abi::Errno::ENOENT } else { abi::Errno::EPERM })
    }
    /// rmdir(2).
    fn remove(&self, _io: &mut Io<'_>, _name: &[u8]) -> Op<()> {
        fail(abi::Errno::EPERM)
    }
    /// Attributes that can be changed.
    fn owned(&self) -> Option<&dyn Owned> {
        None
    }
}

/// An entry of a listing.
pub struct Listed {
    pub key: u64,
    pub name: Vec<u8>,
    pub kind: FileType,
    pub identity: u64,
}

/// Where a link leads.
pub trait Target: Send + Sync {
    fn target(&self, io: &mut Io<'_>) -> Op<Link>;
    /// st_size.
    fn size(&self) -> u64 {
        0
    }
    /// What readlink(2) shows in place of the target's name.
    fn text(&self, _io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        Ok(None)
    }
    /// Owner and group now.
    fn owner(&self) -> Option<(u32, u32)> {
        None
    }
}

impl<F: Fn(&mut Io<'_>) -> Op<Link> + Send + Sync> Target for F {
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        self(io)
    }
}

/// Attributes that are kept elsewhere: the nodes of devpts.
pub trait Owned: Send + Sync {
    /// Puts what is kept into `attr`.
    fn attr(&self, attr: &mut Attr) -> Op<()>;
    fn set_attr(&self, change: &SetAttr) -> Op<()>;
}

/// How a file system of nodes calls itself.
pub struct Kind {
    pub name: &'static str,
    pub magic: u64,
    /// st_size of files whose contents are made up: 0 in proc, 4096 in sysfs.
    pub file_size: u64,
    pub options: String,
    pub pts: Option<Arc<PtsInstance>>,
}

/// A mounted file system of nodes.
pub struct PseudoFs {
    kind: Kind,
    inodes: Mutex<HashMap<u64, Weak<Inode>>, InodeState>,
    born: abi::time::Timespec,
}

impl PseudoFs {
    /// A new instance; its root's inode.
    pub fn mount(kind: Kind, root: Node) -> Arc<Inode> {
        let fs = PseudoFs { kind, inodes: Mutex::new(HashMap::new()), born: kernel::time::now() };
        let fs = FileSystem::new(Box::new(fs));
        inode::make(&fs, 1, root)
    }

    fn of(fs: &FileSystem) -> Option<&PseudoFs> {
        (&*fs.ops as &dyn std::any::Any).downcast_ref::<PseudoFs>()
    }

    /// The number of the node `name` in the folder `parent`.
    fn number(parent: u64, name: &[u8], identity: u64) -> u64 {
        let mut hash = DefaultHasher::new();
        (parent, name, identity).hash(&mut hash);
        // Room for the numbers of roots; positive as a signed number.
        (hash.finish() >> 2) | 0x100
    }

    /// The inode of a node: the one that is in use, or a new one.
    fn inode(&self, fs: &Arc<FileSystem>, parent: u64, name: &[u8], node: Node) -> Arc<Inode> {
        let number = Self::number(parent, name, node.identity);
        let mut inodes = self.inodes.lock();
        if let Some(inode) = inodes.get(&number).and_then(Weak::upgrade) {
            return inode;
        }
        if inodes.len() >= 256 && inodes.len().is_power_of_two() {
            inodes.retain(|_, inode| inode.strong_count() > 0);
        }
        let inode = inode::make(fs, number, node);
        inodes.insert(number, Arc::downgrade(&inode));
        drop(inodes);
        inode::made(&inode);
        inode
    }
}

impl FileSystemOps for PseudoFs {
    fn name(&self) -> &'static str {
        self.kind.name
    }
    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        Ok(StatFs { magic: self.kind.magic, block_size: 4096, name_max: 255, ..StatFs::default() })
    }
    fn show_options(&self) -> String {
        self.kind.options.clone()
    }
    fn pts(&self) -> Option<&Arc<PtsInstance>> {
        self.kind.pts.as_ref()
    }
}

/// The number in a text that was written to a knob: decimal, hexadecimal with 0x, octal with 0; blanks around it are allowed. EINVAL.
pub fn parse_number(text: &[u8]) -> Op<i64> {
    let text = std::str::from_utf8(text).map_err(|_| abi::Errno::EINVAL)?.trim_matches(['\0', ' ', '\n', '\t']);
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let value = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 16),
        [b'0', _, ..] => i64::from_str_radix(digits, 8),
        _ => digits.parse(),
    };
    match value {
        Ok(value) if !digits.starts_with(['+', '-']) => Ok(sign * value),
        _ => fail(abi::Errno::EINVAL),
    }
}

/// Whether a credential is the container's administrator for knobs that belong to all.
pub fn is_admin(cred: &Cred) -> bool {
    cred.has(kernel::cred::Cap::SysAdmin)
}
