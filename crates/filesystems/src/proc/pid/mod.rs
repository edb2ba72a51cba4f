//! /proc/PID and /proc/PID/task/TID. proc_pid(5).
//!
//! A `Subject` names a process or a thread without keeping it alive; each file looks it up anew and says ESRCH when it has gone. The tables
//! below say what there is: `BOTH` for processes and threads, `PROCESS` and `THREAD` for one of them. Neighbours: `stat`, `status`, `maps`, `fd`, ...

mod fd;
mod idmap;
mod links;
mod map_files;
mod maps;
mod mem;
mod mounts;
mod net;
mod pagemap;
mod small;
mod stat;
mod status;

pub use mounts::shown_options;

use super::access::may_read;
use crate::pseudo::{Content, Folder, Listed, Node};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::mm::Mm;
use kernel::task::{Pid, PidNs, Task, ThreadGroup};
use kernel::vfs::{FileOps, FileType};
use kernel::{Io, Op, fail};
use std::any::Any;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

/// A process, or one of its threads, as seen from a PID namespace.
#[derive(Clone)]
pub(super) struct Subject {
    group: Weak<ThreadGroup>,
    /// None: the process as a whole.
    thread: Option<Weak<Task>>,
    ns: Arc<PidNs>,
}

/// What a `Subject` stands for now.
pub(super) struct Target {
    pub group: Arc<ThreadGroup>,
    /// The thread, or the process' leader.
    pub task: Arc<Task>,
    /// The process as a whole.
    pub whole: bool,
    pub ns: Arc<PidNs>,
}

impl Subject {
    fn get(&self) -> Op<Target> {
        let group = self.group.upgrade().ok_or(Errno::ESRCH)?;
        let task = match &self.thread {
            Some(thread) => thread.upgrade(),
            None => group.leader().or_else(|| group.any_task()),
        };
        let whole = self.thread.is_none();
        Ok(Target { task: task.ok_or(Errno::ESRCH)?, group, whole, ns: self.ns.clone() })
    }
}

impl Target {
    /// Its memory; None for zombies.
    pub fn mm(&self) -> Option<Arc<Mm>> {
        self.task.mm().or_else(|| self.group.tasks().into_iter().find_map(|t| t.mm()))
    }
    /// The number that names it.
    pub fn number(&self) -> i32 {
        if self.whole { self.group.pid.number_in(&self.ns) } else { self.task.pid.number_in(&self.ns) }
    }
}

/// Tells a process number from the same number used again.
pub(super) fn identity(pid: &Arc<Pid>) -> u64 {
    Arc::as_ptr(pid) as u64
}

/// Owner and group of a process' files: its effective ids, or root's when it may not be dumped.
fn owner(subject: &Subject) -> Option<(u32, u32)> {
    let target = subject.get().ok()?;
    let cred = target.task.cred();
    if target.group.dumpable.load(Relaxed) == 1 { Some((cred.euid, cred.egid)) } else { Some((0, 0)) }
}

type Read = fn(&mut Io<'_>, &Target) -> Op<Vec<u8>>;
type Write = fn(&mut Io<'_>, &Target, &[u8]) -> Op<()>;

/// What a name of a process' folder is.
enum Entry {
    Text(Read),
    /// Only for those who may look into the process.
    Secret(Read),
    Knob(Read, Write),
    Node(fn(&Subject) -> Node),
}

struct Row {
    name: &'static str,
    perm: u32,
    entry: Entry,
}

const fn row(name: &'static str, perm: u32, entry: Entry) -> Row {
    Row { name, perm, entry }
}

static BOTH: &[Row] = &[
    row("arch_status", 0o444, Entry::Text(small::arch_status)),
    row("auxv", 0o400, Entry::Secret(mem::auxv)),
    row("cgroup", 0o444, Entry::Text(small::cgroup)),
    row("clear_refs", 0o200, Entry::Knob(small::unreadable, small::clear_refs)),
    row("cmdline", 0o444, Entry::Text(mem::cmdline)),
    row("comm", 0o644, Entry::Knob(small::comm, small::set_comm)),
    row("coredump_filter", 0o644, Entry::Knob(small::coredump_filter, small::set_coredump_filter)),
    row("cwd", 0o777, Entry::Node(links::cwd)),
    row("environ", 0o400, Entry::Secret(mem::environ)),
    row("exe", 0o777, Entry::Node(links::exe)),
    row("fd", 0o500, Entry::Node(fd::links)),
    row("fdinfo", 0o555, Entry::Node(fd::infos)),
    row("gid_map", 0o644, Entry::Knob(idmap::gid_map, idmap::set_gid_map)),
    row("io", 0o400, Entry::Secret(small::io)),
    row("limits", 0o444, Entry::Text(small::limits)),
    row("maps", 0o444, Entry::Secret(maps::maps)),
    row("mem", 0o600, Entry::Node(mem::mem)),
    row("mountinfo", 0o444, Entry::Node(mounts::mountinfo)),
    row("mounts", 0o444, Entry::Node(mounts::mounts)),
    row("net", 0o555, Entry::Node(net::node)),
    row("ns", 0o511, Entry::Node(links::namespaces)),
    row("oom_adj", 0o644, Entry::Knob(small::oom_adj, small::set_oom_adj)),
    row("oom_score", 0o444, Entry::Text(small::oom_score)),
    row("oom_score_adj", 0o644, Entry::Knob(small::oom_score_adj, small::set_oom_score_adj)),
    row("pagemap", 0o400, Entry::Node(pagemap::pagemap)),
    row("personality", 0o400, Entry::Secret(small::personality)),
    row("projid_map", 0o644, Entry::Text(idmap::projid_map)),
    row("root", 0o777, Entry::Node(links::root)),
    row("schedstat", 0o444, Entry::Text(stat::schedstat)),
    row("setgroups", 0o644, Entry::Knob(idmap::setgroups, idmap::set_setgroups)),
    row("smaps", 0o444, Entry::Secret(maps::smaps)),
    row("smaps_rollup", 0o444, Entry::Secret(maps::smaps_rollup)),
    row("stack", 0o400, Entry::Secret(small::stack)),
    row("stat", 0o444, Entry::Text(stat::stat)),
    row("statm", 0o444, Entry::Text(stat::statm)),
    row("status", 0o444, Entry::Text(status::status)),
    row("syscall", 0o400, Entry::Secret(small::syscall)),
    row("uid_map", 0o644, Entry::Knob(idmap::uid_map, idmap::set_uid_map)),
    row("wchan", 0o444, Entry::Text(small::wchan)),
];

static PROCESS: &[Row] = &[
    row("map_files", 0o500, Entry::Node(map_files::folder)),
    row("mountstats", 0o400, Entry::Node(mounts::mountstats)),
    row("task", 0o555, Entry::Node(|subject| Node::folder(0o555, Threads(subject.clone())))),
    row("timerslack_ns", 0o666, Entry::Knob(small::timerslack, small::set_timerslack)),
];

static THREAD: &[Row] = &[row("children", 0o444, Entry::Text(small::children))];

/// /proc/PID.
pub(super) fn process_node(group: &Arc<ThreadGroup>, ns: &Arc<PidNs>) -> Node {
    let subject = Subject { group: Arc::downgrade(group), thread: None, ns: ns.clone() };
    Node::folder(0o555, PidFolder(subject, Some(group.pid.clone()))).identified(identity(&group.pid))
}

/// The second: the process whose folder it is, also when that has ended; none for a thread's.
struct PidFolder(Subject, Option<Arc<Pid>>);

impl PidFolder {
    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let more: &'static [Row] = if self.0.thread.is_none() { PROCESS } else { THREAD };
        BOTH.iter().chain(more)
    }

    fn node(&self, row: &Row) -> Node {
        let text = |read, write, secret| PidText { subject: self.0.clone(), read, write, secret };
        match row.entry {
            Entry::Text(read) => Node::file(row.perm, text(read, None, false)),
            Entry::Secret(read) => Node::file(row.perm, text(read, None, true)),
            Entry::Knob(read, write) => Node::file(row.perm, text(read, Some(write), false)),
            Entry::Node(make) => Node { perm: row.perm, ..make(&self.0) },
        }
    }
}

impl Folder for PidFolder {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        self.0.get().map_err(|_| Errno::ENOENT)?;
        Ok(self.rows().find(|row| row.name.as_bytes() == name).map(|row| self.node(row)))
    }
    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        self.0.get().map_err(|_| Errno::ENOENT)?;
        let listed = |(key, row): (u64, &Row)| {
            let kind = match row.entry {
                Entry::Node(_) => self.node(row).body.kind(),
                _ => FileType::Regular,
            };
            Listed { key, name: row.name.into(), kind, identity: 0 }
        };
        Ok((0..).zip(self.rows()).map(listed).collect())
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
    fn stands_for(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self.1.clone()?)
    }
}

/// A text about a process.
struct PidText {
    subject: Subject,
    read: Read,
    write: Option<Write>,
    secret: bool,
}

impl Content for PidText {
    fn read(&self, io: &mut Io<'_>) -> Op<Vec<u8>> {
        let target = self.subject.get()?;
        if self.secret {
            may_read(io, &target.task)?;
        }
        (self.read)(io, &target)
    }
    fn write(&self, io: &mut Io<'_>, data: &[u8]) -> Op<()> {
        let target = self.subject.get()?;
        match self.write {
            Some(write) => write(io, &target, data),
            None => fail(Errno::EINVAL),
        }
    }
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        if self.secret {
            may_read(io, &self.subject.get()?.task)?;
        }
        Ok(None)
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.subject)
    }
}

/// /proc/PID/task.
struct Threads(Subject);

impl Threads {
    fn node(&self, group: &Arc<ThreadGroup>, task: &Arc<Task>) -> Node {
        let thread = Some(Arc::downgrade(task));
        let subject = Subject { group: Arc::downgrade(group), thread, ns: self.0.ns.clone() };
        Node::folder(0o555, PidFolder(subject, None)).identified(identity(&task.pid))
    }

    fn threads(&self) -> Op<(Arc<ThreadGroup>, Vec<Arc<Task>>)> {
        let group = self.0.group.upgrade().ok_or(Errno::ENOENT)?;
        let mut tasks = group.tasks();
        // The leader of a process whose threads go on, or a zombie.
        if let Some(leader) = group.leader().filter(|l| !tasks.iter().any(|t| Arc::ptr_eq(t, l))) {
            tasks.insert(0, leader);
        }
        Ok((group, tasks))
    }
}

impl Folder for Threads {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        let Some(number) = super::number(name) else { return Ok(None) };
        let (group, tasks) = self.threads()?;
        let task = tasks.iter().find(|t| t.pid.number_in(&self.0.ns) == number);
        Ok(task.map(|task| self.node(&group, task)))
    }
    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        let (_, tasks) = self.threads()?;
        let mut all: Vec<Listed> = tasks
            .iter()
            .map(|task| {
                let number = task.pid.number_in(&self.0.ns);
                let identity = identity(&task.pid);
                Listed { key: number as u64, name: number.to_string().into(), kind: FileType::Dir, identity }
            })
            .collect();
        all.sort_by_key(|entry| entry.key);
        Ok(all)
    }
    /// Programs that want to know whether they have other threads ask for this.
    fn nlink(&self) -> u32 {
        2 + self.threads().map_or(0, |(_, tasks)| tasks.len() as u32)
    }
    fn volatile(&self) -> bool {
        true
    }
    fn owner(&self) -> Option<(u32, u32)> {
        owner(&self.0)
    }
}
