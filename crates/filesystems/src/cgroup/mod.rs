//! cgroup2 and cgroup: control groups as folders. cgroups(7).
//!
//! Groups are `kernel::task::cgroup`'s; this shows a hierarchy's tree below a cgroup namespace's root. What a file says and does is in `files` (of every
//! group of version 2), `controllers`, and `one` (of version 1). Owners and permissions are kept in the group, so that all mounts show the same. Locks: none of its own.

mod controllers;
mod files;
mod one;
pub mod proc;

use crate::pseudo::{Content, Folder, Kind, Listed, Node, Owned, PseudoFs};
use abi::Errno;
use abi::fs::CGROUP2_SUPER_MAGIC;
use kernel::task::Namespaces;
use kernel::task::cgroup::{Cgroup, Controllers, EventFile, Mounted};
use kernel::vfs::{Attr, FileType, FsType, Inode, MountArgs, NewKind, NewNode, SetAttr};
use kernel::wait::Queue;
use kernel::{Io, Kernel, Op, fail};
use std::any::Any;
use std::sync::Arc;

static TYPE: FsType = FsType { name: "cgroup2", user_mountable: true, nodev: true, option, mount };

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
    kernel.register_fs(&one::TYPE);
}

/// Options that concern the hierarchy as a whole, which a container's namespace is below: as on Linux they change nothing there.
fn option(option: &[u8]) -> Op<()> {
    match option {
        b"nsdelegate" | b"favordynmods" | b"memory_localevents" | b"memory_recursiveprot" => Ok(()),
        _ => fail(Errno::EINVAL),
    }
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    args.data.split(|b| *b == b',').filter(|o| !o.is_empty()).try_for_each(option)?;
    let ns = Namespaces::of(io).ok_or(Errno::EINVAL)?.cgroup;
    Ok(ns.mounted(&ns.root.hierarchy, || {
        let kind = Kind {
            name: "cgroup2",
            magic: CGROUP2_SUPER_MAGIC.into(),
            file_size: 0,
            options: String::new(),
            pts: None,
        };
        PseudoFs::mount(kind, folder(&ns.root))
    }))
}

/// What a file says, and what writing does.
type Read = fn(&mut Io<'_>, &Arc<Cgroup>) -> Op<Vec<u8>>;
type Write = fn(&mut Io<'_>, &Arc<Cgroup>, &str) -> Op<()>;

/// A file that groups have.
struct Row {
    name: &'static str,
    perm: u32,
    /// The controller that it belongs to; none for those that every group has.
    controller: Controllers,
    read: Read,
    write: Write,
    event: Option<EventFile>,
    /// The container's own group has none: what the host counts there is not known here.
    nested: bool,
}

const fn row(name: &'static str, perm: u32, controller: Controllers, read: Read, write: Write) -> Row {
    Row { name, perm, controller, read, write, event: None, nested: false }
}

impl Row {
    const fn telling(self, event: EventFile) -> Row {
        Row { event: Some(event), ..self }
    }

    const fn nested(self) -> Row {
        Row { nested: true, ..self }
    }
}

/// What can't be changed: what the host holds the container to, what is only told, and limits that nothing here could keep.
fn refuse(_io: &mut Io<'_>, _group: &Arc<Cgroup>, _text: &str) -> Op<()> {
    fail(Errno::EOPNOTSUPP)
}

fn text(text: impl std::fmt::Display) -> Op<Vec<u8>> {
    Ok(format!("{text}\n").into_bytes())
}

/// A number, or `max`.
fn limit(value: u64) -> String {
    if value == kernel::task::cgroup::MAX { "max".into() } else { value.to_string() }
}

fn rows(group: &Cgroup) -> impl Iterator<Item = (u64, &'static Row)> {
    let controllers = group.controllers();
    let (files, controlled) =
        if group.hierarchy.is_two() { (files::ROWS, controllers::ROWS) } else { (one::ROWS, &[][..]) };
    let all = (0..).zip(files.iter().chain(controlled));
    let top = group.is_container();
    all.filter(move |(_, row)| controllers.contains(row.controller) && !(row.nested && top))
}

fn folder(group: &Arc<Cgroup>) -> Node {
    Node::folder(0o755, Group { group: group.clone(), _mounted: None }).identified(group.id)
}

/// A group's folder.
struct Group {
    group: Arc<Cgroup>,
    /// The root's, of version 1: its hierarchy stays as long.
    _mounted: Option<Mounted>,
}

/// Keys of a listing: files have those of their rows, groups theirs by number after these.
const FIRST_CHILD: u64 = 1 << 10;

impl Folder for Group {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        if let Some((_, row)) = rows(&self.group).find(|(_, row)| row.name.as_bytes() == name) {
            let file = File { group: self.group.clone(), row };
            return Ok(Some(Node::file(row.perm, file).identified(self.group.id)));
        }
        Ok(self.group.child(name).map(|child| folder(&child)))
    }

    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let files = rows(&self.group).map(|(key, row)| Listed {
            key,
            name: row.name.into(),
            kind: FileType::Regular,
            identity: self.group.id,
        });
        let mut all: Vec<Listed> = files.collect();
        let mut children = self.group.children();
        children.sort_by_key(|child| child.id);
        all.extend(children.iter().map(|child| Listed {
            key: FIRST_CHILD + child.id,
            name: child.name.to_vec(),
            kind: FileType::Dir,
            identity: child.id,
        }));
        Ok(all)
    }

    fn volatile(&self) -> bool {
        true
    }

    fn make(&self, io: &mut Io<'_>, name: &[u8], new: &NewNode<'_>) -> Op<Node> {
        match new.kind {
            NewKind::Dir => {}
            NewKind::Regular => return fail(Errno::EACCES),
            _ => return fail(Errno::EPERM),
        }
        // It would not be one line in /proc/PID/cgroup.
        if name.contains(&b'\n') {
            return fail(Errno::EINVAL);
        }
        let owner = (io.cred.fsuid, io.cred.fsgid);
        let child = self.group.make(name, owner)?;
        child.set_attr(b"", (owner.0, owner.1, new.perm));
        if child.clone_children() {
            child.clone_cpuset(&self.group, controllers::count(io)?);
        }
        Ok(folder(&child))
    }

    fn remove(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<()> {
        self.group.remove(name)
    }

    fn owned(&self) -> Option<&dyn Owned> {
        Some(self)
    }

    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.group.clone())
    }
}

impl Owned for Group {
    fn attr(&self, attr: &mut Attr) -> Op<()> {
        (attr.uid, attr.gid, attr.perm) = self.group.attr(b"", 0o755);
        attr.nlink = 2 + self.group.children().len() as u32;
        Ok(())
    }
    fn set_attr(&self, change: &SetAttr) -> Op<()> {
        set_attr(&self.group, b"", 0o755, change);
        Ok(())
    }
}

fn set_attr(group: &Cgroup, name: &[u8], perm: u32, change: &SetAttr) {
    let (uid, gid, perm) = group.attr(name, perm);
    let new = (change.uid.unwrap_or(uid), change.gid.unwrap_or(gid), change.perm.unwrap_or(perm));
    if new != (uid, gid, perm) {
        group.set_attr(name, new);
    }
}

/// A file of a group.
struct File {
    group: Arc<Cgroup>,
    row: &'static Row,
}

impl Content for File {
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        self.group.alive()?;
        (self.row.read)(io, &self.group)
    }
    fn write(&self, io: &mut Io<'_>, data: &[u8]) -> Op<()> {
        self.group.alive()?;
        let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        (self.row.write)(io, &self.group, text.trim_matches(['\0', ' ', '\n', '\t']))
    }
    fn owned(&self) -> Option<&dyn Owned> {
        Some(self)
    }
    fn shown(&self, inode: &Arc<Inode>) {
        if let Some(event) = self.row.event {
            self.group.watch(event, inode);
        }
    }
    fn queue(&self) -> Option<&Queue> {
        self.row.event.map(|_| &self.group.changed)
    }
    fn generation(&self) -> u64 {
        self.row.event.map_or(0, |event| self.group.event_generation(event))
    }
}

impl Owned for File {
    fn attr(&self, attr: &mut Attr) -> Op<()> {
        (attr.uid, attr.gid, attr.perm) = self.group.attr(self.row.name.as_bytes(), self.row.perm);
        Ok(())
    }
    fn set_attr(&self, change: &SetAttr) -> Op<()> {
        set_attr(&self.group, self.row.name.as_bytes(), self.row.perm, change);
        Ok(())
    }
}
