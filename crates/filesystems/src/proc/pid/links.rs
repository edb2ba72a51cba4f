//! /proc/PID/cwd, exe, root and ns: magic links. proc_pid_cwd(5), proc_pid_exe(5), proc_pid_root(5), namespaces(7).

use super::super::access::may_read;
use super::{Subject, owner};
use crate::pseudo::{Folder, Listed, Node, Target as LinkTarget};
use abi::Errno;
use kernel::task::{Namespace, Task};
use kernel::vfs::{FileType, Link, Path};
use kernel::{Io, Op, fail};

/// Where a link of a process leads.
type Place = fn(&super::Target) -> Op<Path>;

struct Magic {
    subject: Subject,
    place: Place,
}

impl LinkTarget for Magic {
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        let target = self.subject.get().map_err(|_| Errno::ENOENT)?;
        may_read(io, &target.task)?;
        Ok(Link::Magic((self.place)(&target)?))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}

fn link(subject: &Subject, place: Place) -> Node {
    Node::link(Magic { subject: subject.clone(), place })
}

/// Zombies have neither memory nor folders.
fn alive(target: &super::Target) -> Op<()> {
    if target.mm().is_some() { Ok(()) } else { fail(Errno::ENOENT) }
}

pub fn cwd(subject: &Subject) -> Node {
    link(subject, |t| {
        alive(t)?;
        Ok(t.task.fs().cwd())
    })
}

pub fn root(subject: &Subject) -> Node {
    link(subject, |t| {
        alive(t)?;
        Ok(t.task.fs().root())
    })
}

pub fn exe(subject: &Subject) -> Node {
    link(subject, |t| {
        alive(t)?;
        t.group.exe.lock().as_ref().map(|exe| exe.path.clone()).ok_or(Errno::ENOENT.into())
    })
}

/// Names of namespaces in the order of /proc/PID/ns.
const NAMESPACES: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "pid_for_children", "user", "uts"];

/// A task's namespace by its name there.
fn namespace(task: &Task, name: &str) -> Option<Namespace> {
    if name == "pid_for_children" {
        // Nobody can enter one that has no init yet.
        return Some(task.namespaces().pid_for_children).filter(|ns| ns.last() > 0).map(Namespace::Pid);
    }
    Namespace::all_of(task).into_iter().find(|ns| ns.name() == name)
}

pub fn namespaces(subject: &Subject) -> Node {
    Node::folder(0o511, NamespaceLinks(subject.clone()))
}

struct NamespaceLinks(Subject);

impl Folder for NamespaceLinks {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let known = NAMESPACES.into_iter().find(|n| n.as_bytes() == name);
        Ok(known.map(|name| Node::link(NamespaceLink { subject: self.0.clone(), name })))
    }
    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let listed =
            |(key, name): (u64, &&str)| Listed { key, name: (*name).into(), kind: FileType::Symlink, identity: 0 };
        Ok((0..).zip(&NAMESPACES).map(listed).collect())
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
}

struct NamespaceLink {
    subject: Subject,
    name: &'static str,
}

impl NamespaceLink {
    fn namespace(&self, io: &Io<'_>) -> Op<Namespace> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        namespace(&task, self.name).ok_or(Errno::ENOENT.into())
    }
}

impl LinkTarget for NamespaceLink {
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        Ok(Link::Magic(self.namespace(io)?.path()))
    }
    fn text(&self, io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        Ok(Some(self.namespace(io)?.text().into()))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}
