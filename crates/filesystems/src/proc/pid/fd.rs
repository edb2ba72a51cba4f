//! /proc/PID/fd and fdinfo. proc_pid_fd(5), proc_pid_fdinfo(5).

use super::super::access::may_read;
use super::{Subject, owner};
use crate::pseudo::{Content, Folder, Listed, Node, Target as LinkTarget};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::fd::Fd;
use kernel::task::Task;
use kernel::vfs::{File, FileOps, FileType, Link, anon_path};
use kernel::{Io, Op, fail};
use std::sync::Arc;

pub fn links(subject: &Subject) -> Node {
    Node::folder(0o500, Descriptors { subject: subject.clone(), info: false })
}

pub fn infos(subject: &Subject) -> Node {
    Node::folder(0o555, Descriptors { subject: subject.clone(), info: true })
}

/// A folder with a name for each descriptor.
struct Descriptors {
    subject: Subject,
    /// fdinfo.
    info: bool,
}

impl Descriptors {
    fn task(&self, io: &Io<'_>) -> Op<Arc<Task>> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        Ok(task)
    }
}

/// Which of the owner's rights a link shows: how the file is open.
fn link_perm(file: &File) -> u32 {
    let flags = file.flags();
    let read = if flags.bits() & 3 != 1 || flags.contains(OpenFlags::PATH) { 0o500 } else { 0 };
    let write = if matches!(flags.bits() & 3, 1 | 2) { 0o300 } else { 0 };
    let none = flags.contains(OpenFlags::PATH);
    if none { 0 } else { read & 0o500 | write & 0o300 | 0o100 }
}

impl Folder for Descriptors {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let zero = name == b"0";
        let Some(number) = super::super::number(name).or(zero.then_some(0)) else { return Ok(None) };
        let task = self.task(io)?;
        let Ok(Fd { file, .. }) = task.files().entry(number) else { return Ok(None) };
        let subject = self.subject.clone();
        let node = if self.info {
            Node::file(0o444, Info { subject, number })
        } else {
            Node { perm: link_perm(&file), ..Node::link(FdLink { subject, number }) }
        };
        Ok(Some(node.identified(file.id)))
    }

    fn entries(&self, io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let task = self.task(io)?;
        let kind = if self.info { FileType::Regular } else { FileType::Symlink };
        let listed = |(number, fd): (i32, Fd)| Listed {
            key: number as u64,
            name: number.to_string().into(),
            kind,
            identity: fd.file.id,
        };
        Ok(task.files().list().into_iter().map(listed).collect())
    }

    fn volatile(&self) -> bool {
        true
    }

    /// How many there are, of fd alone.
    fn size(&self) -> u64 {
        self.subject.get().ok().filter(|_| !self.info).map_or(0, |s| s.task.files().list().len() as u64)
    }

    /// The own descriptors, always: also for a process that its change of user has made others' business.
    fn permits(&self, io: &Io<'_>) -> bool {
        let (caller, subject) = (Task::of(io), self.subject.get());
        !self.info
            && matches!((caller, subject), (Some(caller), Ok(subject)) if Arc::ptr_eq(&caller.group, &subject.task.group))
    }

    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}

struct FdLink {
    subject: Subject,
    number: i32,
}

impl FdLink {
    fn file(&self, io: &Io<'_>) -> Op<Arc<File>> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        Ok(task.files().entry(self.number).map_err(|_| Errno::ENOENT)?.file)
    }
}

impl LinkTarget for FdLink {
    fn target(&self, io: &mut Io<'_>) -> Op<Link> {
        let file = self.file(io)?;
        let place = file.path.clone().or_else(|| anon_path(file.inode.as_ref()?));
        match place {
            Some(place) => Ok(Link::Magic(place)),
            None => fail(Errno::ENXIO),
        }
    }
    fn size(&self) -> u64 {
        64
    }
    fn text(&self, io: &mut Io<'_>) -> Op<Option<Vec<u8>>> {
        let file = self.file(io)?;
        Ok(file.ops.label().map(String::into_bytes).or_else(|| {
            // What has neither a place nor a label is known by its kind alone.
            file.path.is_none().then(|| b"anon_inode:[unknown]".to_vec())
        }))
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}

struct Info {
    subject: Subject,
    number: i32,
}

impl Content for Info {
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        let Fd { file, cloexec } = task.files().entry(self.number).map_err(|_| Errno::ENOENT)?;
        let mut flags = file.flags().difference(OpenFlags::CLOEXEC);
        if cloexec {
            flags |= OpenFlags::CLOEXEC;
        }
        let mount = file.path.as_ref().map_or(0, |path| path.mount.id);
        let ino = file.inode.as_ref().map_or(file.id, |inode| inode.ino);
        let mut text =
            format!("pos:\t{}\nflags:\t0{:o}\nmnt_id:\t{mount}\nino:\t{ino}\n", file.position_now(), flags.bits());
        text.push_str(&file.ops.fdinfo());
        Ok(text.into())
    }
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        let task = self.subject.get().map_err(|_| Errno::ENOENT)?.task;
        may_read(io, &task)?;
        Ok(None)
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}
