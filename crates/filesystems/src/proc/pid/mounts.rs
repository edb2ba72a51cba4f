//! /proc/PID/mounts, mountinfo and mountstats. proc_pid_mounts(5), proc_pid_mountinfo(5).
//!
//! Pollable: a change of the namespace's mounts is ERR and PRI.

use super::{Subject, Target};
use crate::pseudo::{Content, Node};
use abi::Errno;
use abi::fs::{
    MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW, MS_RDONLY, MS_RELATIME, MS_SYNCHRONOUS,
    OpenFlags,
};
use kernel::task::Task;
use kernel::vfs::{FileOps, Mount, MountLine, MountNs, Path, mount_lines};
use kernel::wait::Queue;
use kernel::{Io, Op};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

type Show = fn(&MountLine, &mut Vec<u8>);

pub fn mounts(subject: &Subject) -> Node {
    node(subject, show_mounts)
}

pub fn mountinfo(subject: &Subject) -> Node {
    node(subject, show_mountinfo)
}

pub fn mountstats(subject: &Subject) -> Node {
    node(subject, |line, out| {
        out.extend_from_slice(b"device ");
        escaped(out, &line.mount.source);
        out.extend_from_slice(b" mounted on ");
        escaped(out, &line.point);
        out.extend_from_slice(format!(" with fstype {}\n", line.mount.fs.type_name()).as_bytes());
    })
}

fn node(subject: &Subject, show: Show) -> Node {
    Node::file(0o444, Opening { subject: subject.clone(), show })
}

/// The namespace is the one at the time of open.
struct Opening {
    subject: Subject,
    show: Show,
}

impl Content for Opening {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        Ok(Vec::new())
    }
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        let target: Target = self.subject.get()?;
        let ns = target.task.namespaces().mount;
        let root = match Task::of(io) {
            Some(_) if target.mm().is_none() => return kernel::fail(Errno::EINVAL),
            _ => target.task.fs().root(),
        };
        let table = Table { ns, root, show: self.show };
        Ok(Some(crate::pseudo::open_text(Arc::new(table))))
    }
}

struct Table {
    ns: Arc<MountNs>,
    root: Path,
    show: Show,
}

impl Content for Table {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        let mut out = Vec::new();
        for line in mount_lines(&self.ns, &self.root) {
            (self.show)(&line, &mut out);
        }
        Ok(out)
    }
    fn queue(&self) -> Option<&Queue> {
        Some(&self.ns.changed)
    }
    fn generation(&self) -> u64 {
        self.ns.generation.load(Relaxed)
    }
}

/// Blanks, tabs, newlines and backslashes as octal numbers.
fn escaped(out: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            byte => out.push(*byte),
        }
    }
}

/// Options of the mount itself, with the access mode first.
fn mount_options(mount: &Mount) -> String {
    let flags = mount.flags();
    let mut text = String::from(if flags & MS_RDONLY != 0 { "ro" } else { "rw" });
    let names = [
        (MS_NOSUID, ",nosuid"),
        (MS_NODEV, ",nodev"),
        (MS_NOEXEC, ",noexec"),
        (MS_NOATIME, ",noatime"),
        (MS_NODIRATIME, ",nodiratime"),
        (MS_RELATIME, ",relatime"),
        (MS_NOSYMFOLLOW, ",nosymfollow"),
    ];
    for (bit, name) in names {
        if flags & bit != 0 {
            text.push_str(name);
        }
    }
    text
}

/// Options of the file system.
fn fs_options(mount: &Mount) -> String {
    let mut text = String::from(if mount.fs.read_only.load(Relaxed) { "ro" } else { "rw" });
    if mount.flags() & MS_SYNCHRONOUS != 0 {
        text.push_str(",sync");
    }
    text.push_str(&mount.fs.ops.show_options());
    text
}

fn show_mounts(line: &MountLine, out: &mut Vec<u8>) {
    let mount = &line.mount;
    escaped(out, &mount.source);
    out.push(b' ');
    escaped(out, &line.point);
    out.extend_from_slice(format!(" {} {} 0 0\n", mount.fs.type_name(), shown_options(mount)).as_bytes());
}

/// All options as /proc/PID/mounts has them.
pub fn shown_options(mount: &Mount) -> String {
    let options = mount_options(mount);
    let options = if mount.read_only() { options.replacen("rw", "ro", 1) } else { options };
    options + &mount.fs.ops.show_options()
}

fn show_mountinfo(line: &MountLine, out: &mut Vec<u8>) {
    let mount = &line.mount;
    let (major, minor) = (abi::fs::major(mount.fs.dev), abi::fs::minor(mount.fs.dev));
    out.extend_from_slice(format!("{} {} {major}:{minor} ", mount.id, line.parent_id).as_bytes());
    escaped(out, &line.root);
    out.push(b' ');
    escaped(out, &line.point);
    out.extend_from_slice(format!(" {}", mount_options(mount)).as_bytes());
    if line.peer_group != 0 {
        out.extend_from_slice(format!(" shared:{}", line.peer_group).as_bytes());
    }
    if line.master != 0 {
        out.extend_from_slice(format!(" master:{}", line.master).as_bytes());
    }
    if line.propagate_from != 0 {
        out.extend_from_slice(format!(" propagate_from:{}", line.propagate_from).as_bytes());
    }
    if line.unbindable {
        out.extend_from_slice(b" unbindable");
    }
    out.extend_from_slice(format!(" - {} ", mount.fs.type_name()).as_bytes());
    escaped(out, &mount.source);
    out.extend_from_slice(format!(" {}\n", fs_options(mount)).as_bytes());
}
