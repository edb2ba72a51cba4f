//! proc: processes and the kernel as files. proc(5).
//!
//! `pid` has a process' folder, `system` the files about the machine, `sysctl` /proc/sys, `ipc` System V objects. All of it is made of
//! `pseudo` nodes; each file tells what is true here, and what is not there has no file. Locks: none of its own.

mod access;
pub(crate) mod cpu;
mod ipc;
mod kmsg;
mod locks;
mod memory;
mod opened;
mod pid;
mod sysctl;
mod system;

pub use pid::shown_options;
pub use sysctl::set as set_sysctl;

use crate::pseudo::{Folder, Kind, Listed, Node, PseudoFs, Tree};
use abi::Errno;
use abi::fs::PROC_SUPER_MAGIC;
use kernel::task::{GroupState, PidNs, Task};
use kernel::vfs::{FileType, FsType, Inode, Link, MountArgs};
use kernel::{Io, Kernel, Op};
use std::sync::Arc;

static TYPE: FsType = FsType { name: "proc", user_mountable: true, nodev: true, option: check_options, mount };

pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    check_options(args.data)?;
    let view = View(Task::of(io).and_then(|task| task.pid.ns()));
    let mut tree = Tree::new();
    system::add(&mut tree, args.kernel);
    ipc::add(&mut tree);
    sysctl::add(&mut tree);
    for (name, thread) in [("self", false), ("thread-self", true)] {
        let view = view.clone();
        tree.add(name, Node::link(move |io: &mut Io<'_>| view.own_name(io, thread)));
    }
    tree.add("mounts", Node::link_to("self/mounts"));
    tree.add("net", Node::link_to("self/net"));
    let kind = Kind { name: "proc", magic: PROC_SUPER_MAGIC.into(), file_size: 0, options: String::new(), pts: None };
    let root = Root { tree: tree.finish(), view };
    Ok(PseudoFs::mount(kind, Node::folder(0o555, root)))
}

/// hidepid=0 and subset= of nothing are what there is; gid= has no effect without hidepid.
fn check_options(data: &[u8]) -> Op<()> {
    for option in data.split(|b| *b == b',').filter(|o| !o.is_empty()) {
        let known = [&b"hidepid=0"[..], b"hidepid=off"].contains(&option) || option.starts_with(b"gid=");
        if !known {
            return kernel::fail(Errno::EINVAL);
        }
    }
    Ok(())
}

/// The calling task; the kernel itself has no business here.
fn caller(io: &Io<'_>) -> Op<Arc<Task>> {
    Task::of(io).ok_or(Errno::ESRCH.into())
}

/// The PID namespace whose processes a mount shows: of who mounted it. The kernel's own mounts, with nobody, show that of the container which looks.
#[derive(Clone)]
struct View(Option<Arc<PidNs>>);

impl View {
    fn ns(&self, io: &Io<'_>) -> Op<Arc<PidNs>> {
        if let Some(ns) = &self.0 {
            return Ok(ns.clone());
        }
        let mut ns = caller(io)?.pid.ns().ok_or(Errno::ENOENT)?;
        // Above those of the containers is the kernel's.
        while let Some(parent) = ns.parent.clone().filter(|parent| parent.parent.is_some()) {
            ns = parent;
        }
        Ok(ns)
    }

    /// Of `self` and `thread-self`; ENOENT for whom the namespace does not have.
    fn own_name(&self, io: &mut Io<'_>, thread: bool) -> Op<Link> {
        let task = caller(io)?;
        let ns = self.ns(io)?;
        let process = task.group.pid.number_in(&ns);
        if process == 0 {
            return kernel::fail(Errno::ENOENT);
        }
        let name = if thread { format!("{process}/task/{}", task.pid.number_in(&ns)) } else { process.to_string() };
        Ok(Link::Target(name.into_bytes().into()))
    }
}

/// A number as a name: decimal, without leading zeros.
fn number(name: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(name).ok()?;
    text.parse().ok().filter(|n: &i32| *n > 0 && n.to_string() == text)
}

struct Root {
    tree: Tree,
    view: View,
}

/// Keys of processes in a listing begin here; those of the fixed names are below.
const FIRST_PID: u64 = 256;

impl Folder for Root {
    fn lookup(&self, io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        if let Some(node) = self.tree.get(name) {
            return Ok(Some(node));
        }
        let Some(number) = number(name) else { return Ok(None) };
        let ns = self.view.ns(io)?;
        // A thread's number leads to its process, as on Linux, although only leaders are listed.
        let group = match ns.group(number) {
            Some(group) => group,
            None => match ns.task(number) {
                Some(task) => task.group.clone(),
                None => return Ok(None),
            },
        };
        if group.state() == GroupState::Reaped {
            return Ok(None);
        }
        Ok(Some(pid::process_node(&group, &ns)))
    }

    fn entries(&self, io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let mut all = self.tree.listed(0);
        let ns = self.view.ns(io)?;
        for (number, group) in ns.groups() {
            if group.state() != GroupState::Reaped {
                let identity = pid::identity(&group.pid);
                let key = FIRST_PID + number as u64;
                all.push(Listed { key, name: number.to_string().into(), kind: FileType::Dir, identity });
            }
        }
        Ok(all)
    }

    fn volatile(&self) -> bool {
        true
    }
}
