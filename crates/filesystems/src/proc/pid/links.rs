//! /proc/PID/cwd, exe, root and ns: magic links. proc_pid_cwd(5), proc_pid_exe(5), proc_pid_root(5), namespaces(7).

use super::super::access::may_read;
use super::{Subject, owner};
use crate::pseudo::{Folder, Listed, Node, Target as LinkTarget};
use abi::Errno;
use kernel::task::Task;
use kernel::vfs::{FileType, Link, Path};
use kernel::{Io, Op, fail};
use std::sync::Arc;

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

/// The number that stands for the initial namespaces on Linux begins here; ours are numbered from there on.
const FIRST: u64 = 0xf000_0000;

/// The type and number of a namespace, as its link shows it: `mnt:[4026531841]`.
fn namespace(task: &Task, name: &str) -> Option<(&'static str, u64)> {
    let ns = task.namespaces();
    Some(match name {
        "cgroup" => ("cgroup", ns.cgroup.id),
        "ipc" => ("ipc", ns.ipc.id),
        "mnt" => ("mnt", ns.mount.id),
        "net" => ("net", ns.net.id),
        "pid" => ("pid", task.pid.ns()?.id),
        "pid_for_children" => ("pid", ns.pid_for_children.id),
        "user" => ("user", task.cred().user_ns.id),
        "uts" => ("uts", ns.uts.id),
        _ => return None,
    })
}

pub fn namespaces(subject: &Subject) -> Node {
    Node::folder(0o511, Namespaces(subject.clone()))
}

struct Namespaces(Subject);

impl Folder for Namespaces {
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
    fn task(&self, io: &Io<'_>) -> Op<Arc<Task>> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        Ok(task)
    }
}

impl LinkTarget for NamespaceLink {
    /// There are no files of namespaces yet: setns(2) takes a PID file descriptor.
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        self.task(io)?;
        fail(Errno::ENXIO)
    }
    fn text(&self, io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        let task = self.task(io)?;
        let (kind, id) = namespace(&task, self.name).ok_or(Errno::ENOENT)?;
        Ok(Some(format!("{kind}:[{}]", FIRST + id).into()))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}
