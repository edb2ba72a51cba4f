//! Takes requests from a channel and answers them.

use crate::donation::Folder;
use crate::nodes::{Node, Nodes, is_kernel_interface};
use crate::sockets::{Made, Peers};
use crate::{GoferError, MountSource, Store};
use abi::Errno;
use fsproto::{Channel, Done, Envelope, Handle, MAX_XATTR_VALUE, MountInfo, Reply, Request, Statfs, SyncHow, VERSION};
use host::HostFd;
use host::file::O_RDONLY;
use host::file::{self, SelfFd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// What one gofer serves. Shared by its threads.
pub struct Server {
    pub(crate) nodes: Nodes,
    pub(crate) self_fd: SelfFd,
    mounts: Vec<MountInfo>,
    /// What is given away of each mount.
    folders: Vec<Option<Folder>>,
    pub(crate) peers: Peers,
    pub(crate) made: Made,
    /// Where overlays over each mount keep their contents.
    stores: Vec<Option<Store>>,
}

/// A folder or file to serve, opened.
pub struct Source {
    pub source: MountSource,
    /// O_PATH or a detached mount.
    pub fd: OwnedFd,
    /// What the kernel process may open below by itself.
    pub folder: Option<Folder>,
    pub store: Option<Store>,
}

/// An answer and the descriptor that goes with it.
pub struct Answer {
    pub done: Done,
    pub fd: Option<Arc<HostFd>>,
}

impl From<Done> for Answer {
    fn from(done: Done) -> Answer {
        Answer { done, fd: None }
    }
}

impl Server {
    /// `descriptors`: how many this process may have. `self_fd`: how it reaches its own /proc/self/fd.
    pub fn new(sources: Vec<Source>, self_fd: SelfFd, descriptors: u64, peers: Peers) -> Result<Server, GoferError> {
        let nodes = Nodes::new(descriptors);
        let mut mounts = Vec::with_capacity(sources.len());
        let mut folders = Vec::with_capacity(sources.len());
        let mut stores = Vec::with_capacity(sources.len());
        for Source { source: MountSource { id, path, readonly, .. }, fd, folder, store } in sources {
            stores.push(store);
            let mount = (|| {
                let (node, attr) = nodes.describe(HostFd::new(fd), None, readonly)?;
                // Files of /proc and the like mean something else to another process that opens them.
                folders.push(folder.filter(|_| node.is_dir() && !is_kernel_interface(attr.magic)));
                Ok(MountInfo { id, root: nodes.add(node)?, attr, readonly })
            })();
            mounts.push(mount.map_err(|errno| GoferError::Source { path, errno })?);
        }
        Ok(Server { nodes, self_fd, mounts, folders, peers, made: Made::default(), stores })
    }

    /// Serves one channel to its end. `grow` makes another channel and returns the end of the kernel process.
    pub fn serve(&self, mut channel: Channel, mut grow: impl FnMut() -> Result<OwnedFd, Errno>) -> Result<(), Errno> {
        while let Some(received) = channel.receive::<Envelope>()? {
            let Envelope { mut forget, request } = received.message;
            forget.retain(|handle| !self.is_root(*handle));
            self.nodes.forget(&forget);
            let answer = match (request.check(), request) {
                (Err(errno), _) => Err(errno),
                (Ok(()), Request::Channel) => {
                    grow().map(|fd| Answer { done: Done::Nothing, fd: Some(HostFd::new(fd)) })
                }
                (Ok(()), request) => self.answer(&request),
            };
            match answer {
                Ok(Answer { done, fd }) => send(&mut channel, &Ok(done), fd)?,
                Err(errno) => send(&mut channel, &Err(errno.code()), None)?,
            }
        }
        Ok(())
    }

    /// Roots are never forgotten: the kernel process may be told of them again.
    fn is_root(&self, handle: Handle) -> bool {
        self.mounts.iter().any(|mount| mount.root == handle)
    }

    fn answer(&self, request: &Request) -> Result<Answer, Errno> {
        let done = match request {
            Request::Hello { version: _ } => Done::Hello { version: VERSION, mounts: self.mounts.clone() },
            Request::Walk { from, path } => Done::Walked(self.walk(*from, path)?),
            Request::Open { from, path, how } => return self.open(*from, path, *how),
            Request::List { from, path, cursor } => Done::Listing(self.list(*from, path, *cursor)?),
            Request::Change(changes) => Done::Changed(self.change(changes)),
            Request::Forget | Request::Channel => Done::Nothing,
            Request::Attr { of } => Done::Attr(self.nodes.attr(&self.nodes.get(*of)?.fd)?),
            Request::ReadLink { of } => Done::Bytes(self.link(*of)?.into()),
            Request::GetXattr { of, name } => {
                let node = self.nodes.get(*of)?;
                Done::Bytes(self.self_fd.get_xattr(&node.fd, name, MAX_XATTR_VALUE)?.into())
            }
            Request::ListXattr { of } => {
                let node = self.nodes.get(*of)?;
                Done::Bytes(self.self_fd.list_xattr(&node.fd, MAX_XATTR_VALUE)?.into())
            }
            Request::Donate { mount } => {
                let folder = self.folders.get(*mount as usize).and_then(Option::as_ref).ok_or(Errno::EOPNOTSUPP)?;
                let done = Done::Donated { covered: folder.covered.clone(), same_ids: folder.same_ids };
                return Ok(Answer { done, fd: Some(folder.root.clone()) });
            }
            Request::Scratch { mount } => {
                let store = self.stores.get(*mount as usize).and_then(Option::as_ref).ok_or(Errno::EOPNOTSUPP)?;
                return Ok(Answer { done: Done::Nothing, fd: Some(HostFd::new(store.file()?)) });
            }
            Request::Connect { of, kind } => return self.connect(*of, *kind),
            Request::Bind { dir, name, kind, mode, uid, gid } => {
                return self.bind(*dir, name, *kind, [*mode, *uid, *gid]);
            }
            Request::Statfs { of } => Done::Statfs(self.statfs(*of)?),
            Request::Sync { of, how } => {
                self.sync(*of, *how)?;
                Done::Nothing
            }
        };
        Ok(done.into())
    }

    fn link(&self, of: Handle) -> Result<Vec<u8>, Errno> {
        let node = self.nodes.get(of)?;
        if node.kind == 0o120_000 { file::read_link(&node.fd) } else { Err(Errno::EINVAL) }
    }

    fn statfs(&self, of: Handle) -> Result<Statfs, Errno> {
        let s = file::statfs(&self.nodes.get(of)?.fd)?;
        Ok(Statfs {
            magic: s.f_type as u64,
            bsize: s.f_bsize as u64,
            frsize: s.f_frsize as u64,
            blocks: s.f_blocks,
            bfree: s.f_bfree,
            bavail: s.f_bavail,
            files: s.f_files,
            ffree: s.f_ffree,
            namelen: s.f_namelen as u64,
            flags: s.f_flags as u64,
        })
    }

    fn sync(&self, of: Handle, how: SyncHow) -> Result<(), Errno> {
        let node: Arc<Node> = self.nodes.get(of)?;
        if node.kind != 0o100_000 && !node.is_dir() {
            return Err(Errno::EINVAL);
        }
        let fd = HostFd::from(self.self_fd.reopen(&node.fd, O_RDONLY)?);
        match how {
            SyncHow::Data => file::sync(&fd, true),
            SyncHow::All => file::sync(&fd, false),
            SyncHow::FileSystem => file::sync_file_system(&fd),
        }
    }
}

fn send(channel: &mut Channel, reply: &Reply, fd: Option<Arc<HostFd>>) -> Result<(), Errno> {
    let fds: Vec<_> = fd.iter().map(|fd| fd.as_fd()).collect();
    match channel.send(reply, &fds) {
        // An answer that is too long says so, and the channel goes on.
        Err(Errno::EMSGSIZE) => channel.send(&Reply::Err(Errno::EMSGSIZE.code()), &[]),
        other => other,
    }
}
