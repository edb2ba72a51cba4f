//! Namespaces as files: what the links of /proc/PID/ns lead to, setns(2) takes, and a bind mount keeps alive. namespaces(7), ioctl_nsfs(2).
//!
//! Neighbours: `vfs::anon` has the file system that no namespace mounts; /proc makes the links; `syscalls::setns` enters. Owns no locks.

use super::{CgroupNs, IpcNs, Namespaces, NetNs, PidNs, Resource, Task, UtsNs};
use crate::cred::UserNs;
use crate::io::{Io, UserMemory};
use crate::op::{Op, fail};
use crate::vfs::{
    Anon, Attr, File, FileOps, FileType, Inode, InodeOps, MountNs, Path, Position, SetAttr, anon_attr, anon_place,
};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::ioctl::{NS_GET_NSTYPE, NS_GET_OWNER_UID, NS_GET_PARENT, NS_GET_USERNS};
use abi::task::CloneFlags;
use std::any::Any;
use std::sync::Arc;

/// Linux numbers its namespaces from 0xf0000000 on, behind those of the initial ones.
const FIRST: u64 = 0xf000_0000;

/// A namespace of any type.
#[derive(Clone)]
pub enum Namespace {
    Cgroup(Arc<CgroupNs>),
    Ipc(Arc<IpcNs>),
    Mount(Arc<MountNs>),
    Net(Arc<NetNs>),
    Pid(Arc<PidNs>),
    User(Arc<UserNs>),
    Uts(Arc<UtsNs>),
}

impl Namespace {
    /// Those that a task is in; without the PID namespace once it has been waited for.
    pub fn all_of(task: &Task) -> Vec<Namespace> {
        let Namespaces { mount, uts, ipc, net, cgroup, .. } = task.namespaces();
        let user = task.cred().user_ns.clone();
        let mut all = vec![Namespace::User(user), Namespace::Mount(mount), Namespace::Uts(uts), Namespace::Ipc(ipc)];
        all.extend(task.pid.ns().map(Namespace::Pid));
        all.extend([Namespace::Cgroup(cgroup), Namespace::Net(net)]);
        all
    }

    /// The CLONE_NEW* flag that makes one, and its name.
    fn kind(&self) -> (CloneFlags, &'static str) {
        match self {
            Namespace::Cgroup(_) => (CloneFlags::NEWCGROUP, "cgroup"),
            Namespace::Ipc(_) => (CloneFlags::NEWIPC, "ipc"),
            Namespace::Mount(_) => (CloneFlags::NEWNS, "mnt"),
            Namespace::Net(_) => (CloneFlags::NEWNET, "net"),
            Namespace::Pid(_) => (CloneFlags::NEWPID, "pid"),
            Namespace::User(_) => (CloneFlags::NEWUSER, "user"),
            Namespace::Uts(_) => (CloneFlags::NEWUTS, "uts"),
        }
    }

    pub fn flag(&self) -> CloneFlags {
        self.kind().0
    }

    /// Its name in /proc/PID/ns.
    pub fn name(&self) -> &'static str {
        self.kind().1
    }

    fn number(&self) -> u64 {
        FIRST
            + match self {
                Namespace::Cgroup(ns) => ns.id,
                Namespace::Ipc(ns) => ns.id,
                Namespace::Mount(ns) => ns.id,
                Namespace::Net(ns) => ns.id,
                Namespace::Pid(ns) => ns.id,
                Namespace::User(ns) => ns.id,
                Namespace::Uts(ns) => ns.id,
            }
    }

    /// `mnt:[4026531841]`.
    pub fn text(&self) -> String {
        format!("{}:[{}]", self.name(), self.number())
    }

    /// The user namespace whose capabilities rule it; of a user namespace its parent.
    pub fn owner(&self) -> Option<Arc<UserNs>> {
        Some(match self {
            Namespace::Cgroup(ns) => ns.owner.clone(),
            Namespace::Ipc(ns) => ns.owner.clone(),
            Namespace::Mount(ns) => ns.owner.clone(),
            Namespace::Net(ns) => ns.owner.clone(),
            Namespace::Pid(ns) => ns.owner.clone(),
            Namespace::User(ns) => return ns.parent.clone(),
            Namespace::Uts(ns) => ns.owner.clone(),
        })
    }

    /// Where the namespace is a file.
    pub fn path(&self) -> Path {
        anon_place(Anon::Namespace, self.number(), FileType::Regular, Box::new(NsInode(self.clone())))
    }

    /// The namespace behind a descriptor.
    pub fn of(file: &File) -> Option<Namespace> {
        file.ops_as::<NsFile>().map(|file| file.0.clone())
    }

    /// NS_GET_USERNS: EPERM where the owner is beyond what the task may see.
    fn visible_owner(&self, task: &Task) -> Op<Namespace> {
        let owner = self.owner().filter(|owner| task.cred().user_ns.is_ancestor_of(owner));
        Ok(Namespace::User(owner.ok_or(Errno::EPERM)?))
    }

    /// NS_GET_PARENT: EINVAL for types without a hierarchy.
    fn visible_parent(&self, task: &Task) -> Op<Namespace> {
        match self {
            Namespace::User(_) => self.visible_owner(task),
            Namespace::Pid(ns) => {
                let mine = task.pid.ns().ok_or(Errno::EPERM)?;
                let parent = ns.parent.clone().filter(|parent| mine.is_ancestor_of(parent));
                Ok(Namespace::Pid(parent.ok_or(Errno::EPERM)?))
            }
            _ => fail(Errno::EINVAL),
        }
    }

    /// Opens it for a task, as the ioctls do.
    fn open_for(&self, io: &mut Io<'_>, task: &Task) -> Op<u64> {
        let path = self.path();
        let inode = path.inode()?;
        let ops = inode.ops.open(io, &inode, OpenFlags::empty())?;
        let file = File::opened(path, inode, ops, OpenFlags::empty());
        Ok(task.files().add(file, true, 0, task.group.limit(Resource::Nofile))? as u64)
    }
}

/// Its file: read-only for everybody, and nothing to read.
struct NsInode(Namespace);

impl InodeOps for NsInode {
    fn attr(&self, _io: &mut Io<'_>) -> Op<Attr> {
        Ok(anon_attr(self.0.number(), FileType::Regular, 0o444, 0, 0))
    }
    fn set_attr(&self, _io: &mut Io<'_>, _change: &SetAttr) -> Op<()> {
        fail(Errno::EPERM)
    }
    fn open(&self, _io: &mut Io<'_>, _inode: &Arc<Inode>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        if flags.intersects(OpenFlags::WRONLY | OpenFlags::RDWR) {
            return fail(Errno::EPERM);
        }
        Ok(Arc::new(NsFile(self.0.clone())))
    }
    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        match &self.0 {
            Namespace::Mount(ns) => Some(ns.clone()),
            _ => None,
        }
    }
    fn root_name(&self) -> Option<String> {
        Some(self.0.text())
    }
}

struct NsFile(Namespace);

impl FileOps for NsFile {
    fn position(&self) -> Position {
        Position::Stream
    }
    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        match (cmd, &self.0) {
            (NS_GET_NSTYPE, ns) => Ok(ns.flag().bits()),
            (NS_GET_USERNS, ns) => ns.visible_owner(&task)?.open_for(io, &task),
            (NS_GET_PARENT, ns) => ns.visible_parent(&task)?.open_for(io, &task),
            (NS_GET_OWNER_UID, Namespace::User(ns)) => {
                let owner = task.cred().user_ns.uid_to(ns.owner);
                memory.write(arg, &owner.to_le_bytes())?;
                Ok(0)
            }
            (NS_GET_OWNER_UID, _) => fail(Errno::EINVAL),
            _ => fail(Errno::ENOTTY),
        }
    }
    fn label(&self) -> Option<String> {
        Some(self.0.text())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
