//! Files of the host, served by a gofer process (docs/gofer-protocol.md).
//!
//! Names and attributes are asked of the gofer and cached; contents are read and written here, through descriptors that the gofer opened, so that they
//! live in the host's page cache alone. With exclusive access the caches are trusted for ever, since nobody else changes the files; with shared
//! access names and attributes are asked anew each time (those of an open file by its descriptor). `node` keeps what is known of one file, `dir`, `listing` and `opendir` the names, `file` the contents, `direct` spares trips,
//! `peer` leads to host processes by FIFOs and sockets.
//!
//! Locks: `InodeState` of a node (one at a time), then the leaves `Shared::nodes` and `Shared::open`. None is held over a trip to the gofer.

mod dir;
mod direct;
mod file;
mod inode;
mod kept;
mod listing;
mod node;
mod opendir;
mod peer;
mod xattr;

use crate::hostio::PageCache;
use direct::Direct;
use fsproto::{Gofer, SyncHow};
use kernel::io::Io;
use kernel::locks::Leaf;
use kernel::op::{Op, fail};
use kernel::vfs::{FileSystem, FileSystemOps, FileType, Inode, StatFs};
use lock::Mutex;
use node::{Key, Node};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock, Weak};

/// How a gofer's files are used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Others change the files too: nothing is cached.
    pub shared: bool,
    /// What this process may open by itself, it does, where the gofer gives the folder away (`direct`).
    pub direct: bool,
    /// FIFOs lead to the host's.
    pub fifo: bool,
    /// Sockets' names lead to the host's sockets.
    pub connect: bool,
    /// Sockets that get a name here are the host's.
    pub bind: bool,
}

/// Descriptors of files that are closed in the guest but stay open here, for the next open.
const OPEN_FILES: usize = 256;
/// Names that listings keep in memory, over all folders of a file system.
const LISTED_NAMES: usize = 65_536;

/// What all nodes of a gofer's mount share.
pub(crate) struct Shared {
    gofer: Arc<dyn Gofer>,
    options: Options,
    fs: OnceLock<Weak<FileSystem>>,
    /// The host file system of the root: inode numbers of others are changed, so that none appears twice.
    root_dev: u64,
    root_magic: u64,
    root: OnceLock<Weak<Node>>,
    direct: Option<Direct>,
    cache: PageCache,
    /// Nothing changes, times of access included.
    readonly: bool,
    nodes: Mutex<HashMap<Key, Weak<Node>>, Leaf>,
    open: Mutex<VecDeque<(Key, Arc<host::HostFd>)>, Leaf>,
    listed: Mutex<Listed, Leaf>,
}

/// Folders with a complete listing.
#[derive(Default)]
struct Listed {
    /// The oldest first, each with how many names it has.
    folders: VecDeque<(Weak<Node>, usize)>,
    names: usize,
}

/// Makes a file system of the `index`th folder (or file) that a gofer serves; its root.
pub fn mount(gofer: Arc<dyn Gofer>, index: usize, options: Options) -> Op<Arc<Inode>> {
    let Some(info) = gofer.mounts().get(index).cloned() else { return fail(abi::Errno::ENODEV) };
    let donation = if options.direct && !options.shared { gofer.donate(index).ok() } else { None };
    let shared = Arc::new(Shared {
        gofer,
        options,
        direct: donation.map(|donation| Direct::new(donation, info.attr.magic)),
        cache: PageCache::default(),
        readonly: info.readonly,
        fs: OnceLock::new(),
        root_dev: info.attr.dev,
        root_magic: info.attr.magic,
        root: OnceLock::new(),
        nodes: Mutex::new(HashMap::new()),
        open: Mutex::new(VecDeque::new()),
        listed: Mutex::new(Listed::default()),
    });
    let fs = FileSystem::new(Box::new(GoferFs { shared: shared.clone() }));
    fs.read_only.store(info.readonly, std::sync::atomic::Ordering::Relaxed);
    let _ = shared.fs.set(Arc::downgrade(&fs));
    let root = Node::found(&shared, None, info.attr, Some(info.root))?;
    let _ = shared.root.set(Arc::downgrade(&root));
    let inode = root.inode()?;
    Ok(inode)
}

struct GoferFs {
    shared: Arc<Shared>,
}

impl GoferFs {
    fn root(&self) -> Op<Arc<Node>> {
        self.shared.root().ok_or(abi::Errno::EIO.into())
    }
}

impl FileSystemOps for GoferFs {
    fn name(&self) -> &'static str {
        "gofer"
    }

    fn handled(&self) -> kernel::vfs::Handled {
        kernel::vfs::Handled::Cached
    }

    fn statfs(&self, _io: &mut Io<'_>) -> Op<StatFs> {
        let s = self.root()?.with_handle(|gofer, root| gofer.statfs(root))?;
        Ok(StatFs {
            magic: s.magic,
            block_size: s.bsize,
            blocks: s.blocks,
            blocks_free: s.bfree,
            blocks_available: s.bavail,
            files: s.files,
            files_free: s.ffree,
            name_max: s.namelen,
        })
    }

    fn sync(&self, _io: &mut Io<'_>) -> Op<()> {
        self.root()?.with_handle(|gofer, root| gofer.sync(root, SyncHow::FileSystem))
    }
}

impl Shared {
    fn root(&self) -> Option<Arc<Node>> {
        self.root.get().and_then(Weak::upgrade)
    }

    fn direct(&self) -> Option<&Direct> {
        self.direct.as_ref()
    }

    /// One trip to the gofer, which may sleep: the worker's place is taken by another thread meanwhile.
    fn trip<T>(&self, ask: impl Fn(&dyn Gofer) -> Result<T, abi::Errno>) -> Op<T> {
        let answer = kernel::block_in_place(|| match ask(&*self.gofer) {
            // The gofer is out of descriptors: it gets some back, and is asked again.
            Err(abi::Errno::ENFILE) if self.release_handles() => ask(&*self.gofer),
            // This process is.
            Err(abi::Errno::EMFILE) if self.close_all_kept() => ask(&*self.gofer),
            answer => answer,
        });
        answer.map_err(|errno| if errno == abi::Errno::EMFILE { abi::Errno::ENFILE } else { errno }.into())
    }

    /// Lets go of all that `keep_open` kept. False: it was nothing.
    fn close_all_kept(&self) -> bool {
        let kept = std::mem::take(&mut *self.open.lock());
        !kept.is_empty()
    }

    /// Gives up handles that can be had again by name. False: there were none.
    fn release_handles(&self) -> bool {
        let nodes: Vec<Arc<Node>> = self.nodes.lock().values().filter_map(Weak::upgrade).collect();
        let release = |folders: bool| {
            let some = nodes.iter().filter(|node| (node.kind == FileType::Dir) == folders);
            some.filter_map(|node| node.release_handle()).collect::<Vec<_>>()
        };
        // Folders only where nothing else is left: what lies in them is asked for by them.
        let mut handles = release(false);
        if handles.is_empty() {
            handles = release(true);
        }
        self.gofer.forget(&handles);
        !handles.is_empty()
    }

    /// Keeps a descriptor open beyond its last user.
    fn keep_open(&self, key: Key, fd: &Arc<host::HostFd>) {
        let mut open = self.open.lock();
        open.push_back((key, fd.clone()));
        let oldest = if open.len() > OPEN_FILES { open.pop_front() } else { None };
        drop(open);
        drop(oldest);
    }

    /// Lets go of what `keep_open` kept of a file: it was removed, and its space is wanted back.
    fn close_kept(&self, key: Key) {
        let mut gone = Vec::new();
        let mut open = self.open.lock();
        open.retain(|(of, fd)| {
            if *of == key {
                gone.push(fd.clone());
            }
            *of != key
        });
        drop(open);
        drop(gone);
    }

    /// Counts a folder's listing in; the oldest ones go when there are too many names.
    fn count_listing(&self, node: &Arc<Node>, names: usize) {
        let mut victims = Vec::new();
        let mut listed = self.listed.lock();
        listed.folders.push_back((Arc::downgrade(node), names));
        listed.names += names;
        while listed.names > LISTED_NAMES {
            let Some((victim, names)) = listed.folders.pop_front() else { break };
            listed.names -= names;
            victims.push(victim);
        }
        drop(listed);
        for victim in victims.iter().filter_map(Weak::upgrade) {
            victim.drop_listing();
        }
    }
}
