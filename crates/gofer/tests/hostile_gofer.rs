//! What a hostile gofer can answer, at random: the kernel's file system over it gets lies of every kind, descriptors of the wrong type, and damaged messages.
//! Each operation ends, within a few trips, with a result or an error, and nothing panics. `PROPTEST_CASES=N` makes a run longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use abi::fs::OpenFlags;
use fsproto::{
    Attr, Bytes, Changed, Client, Done, Entry, Envelope, Handle, Listing, MAX_MESSAGE, MountInfo, Reply, Request,
    Statfs, Time, VERSION, WalkEnd, Walked, decode, encode,
};
use host::rustix::fs::{Mode, OFlags};
use host::{HostFd, message};
use kernel::cred::{Cred, UserNs};
use kernel::io::{Io, SliceSource, VecSink};
use kernel::op::Op;
use kernel::vfs::{
    AclKind, AclPerm, Backing, DirOps, DirSink, FileType, Inode, Link, NewKind, NewNode, Rights, SetAttr, acl_of,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// More trips than this of one operation are taken for a loop: lookups of eight names that fail in every way take some dozens.
const MANY: usize = 400;

/// What answers are made of.
#[derive(Clone, Debug)]
struct Parts {
    attr: Attr,
    other: Attr,
    handle: Handle,
    names: Vec<Bytes>,
    count: usize,
    flags: [bool; 4],
    number: u64,
    code: u16,
    fd: Given,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Given {
    Nothing,
    /// With the rights that were asked for.
    File,
    /// With these (O_RDONLY, O_WRONLY, O_RDWR, O_APPEND).
    Rights(u32),
    /// Nothing ever comes out of it.
    Pipe,
    /// A FIFO that does not wait.
    Fifo,
    Device,
    Folder,
    Socket,
    /// A unix socket that does not wait.
    Stream,
    Two,
}

/// How an answer is made.
#[derive(Clone, Debug)]
enum Way {
    /// Fits the question.
    Fitting,
    /// That of the question with this number.
    Other(u8),
    Error,
    Damaged(Vec<(usize, u8)>),
    Raw(Vec<u8>),
    Gone,
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![select(vec![0, 1, 2, 4096, i64::MAX as u64, 1 << 63, u64::MAX]), any::<u64>()]
}

fn attr() -> impl Strategy<Value = Attr> {
    let kind = select(vec![0o100_000, 0o040_000, 0o120_000, 0o010_000, 0o140_000, 0o020_000, 0o060_000, 0]);
    let kind = prop_oneof![3 => Just(0o040_000), 3 => Just(0o100_000), 2 => kind];
    let time = || {
        let sec = prop_oneof![0..2_000_000_000i64, any::<i64>()];
        let nsec = prop_oneof![12 => 0..1_000_000_000u32, 1 => any::<u32>()];
        (sec, nsec).prop_map(|(sec, nsec)| Time { sec, nsec })
    };
    let size = prop_oneof![3 => 0..10_000u64, 1 => number()];
    let magic = select(vec![0x0102_1994, 0xef53, 0x6969, u64::MAX]);
    // Few files, so that they meet again.
    let key = (prop_oneof![8 => 1..6u64, 1 => number()], prop_oneof![8 => 1..3u64, 1 => number()]);
    ((kind, any::<u32>(), 0..4u32), key, size, (time(), time(), option::of(time())), magic, number()).prop_map(
        |((kind, perm, nlink), (ino, dev), size, (atime, mtime, btime), magic, any)| Attr {
            ino,
            dev,
            mode: kind | perm & 0o7777,
            nlink,
            uid: any as u32,
            gid: perm,
            rdev: any,
            size,
            blocks: any,
            blksize: any as u32,
            attributes: any,
            atime,
            mtime,
            ctime: atime,
            btime,
            magic,
        },
    )
}

fn name() -> impl Strategy<Value = Bytes> {
    let known = ["a", "b", "c", "d", "a/b", "..", ".", "", "/etc/passwd"];
    prop_oneof![
        12 => select(known[..4].to_vec()).prop_map(|name| Bytes::from(name.as_bytes())),
        1 => select(known.to_vec()).prop_map(|name| Bytes::from(name.as_bytes())),
        1 => vec(any::<u8>(), 0..300).prop_map(Bytes::from),
        1 => (4090..4100usize).prop_map(|len| Bytes::from(vec![b'x'; len])),
    ]
}

fn parts() -> impl Strategy<Value = Parts> {
    let fd = prop_oneof![
        4 => Just(Given::File),
        1 => select(vec![0, 1, 2, 0o2001, 0o2002]).prop_map(Given::Rights),
        2 => select(vec![Given::Fifo, Given::Stream]),
        2 => select(vec![Given::Nothing, Given::Pipe, Given::Device, Given::Folder, Given::Socket, Given::Two])
    ];
    let handle = prop_oneof![1..20u64, number()].prop_map(Handle);
    let count = prop_oneof![6 => 0..4usize, 1 => 0..400usize];
    (attr(), attr(), handle, vec(name(), 1..5), count, any::<[bool; 4]>(), number(), any::<u16>(), fd).prop_map(
        |(attr, other, handle, names, count, flags, number, code, fd)| Parts {
            attr,
            other,
            handle,
            names,
            count,
            flags,
            number,
            code,
            fd,
        },
    )
}

fn answer() -> impl Strategy<Value = (Way, Parts)> {
    let way = prop_oneof![
        24 => Just(Way::Fitting),
        2 => (0..12u8).prop_map(Way::Other),
        2 => Just(Way::Error),
        2 => vec((any::<usize>(), any::<u8>()), 1..5).prop_map(Way::Damaged),
        1 => vec(any::<u8>(), 0..100).prop_map(Way::Raw),
        1 => Just(Way::Gone),
    ];
    (way, parts())
}

impl Parts {
    fn name(&self, at: usize) -> Bytes {
        self.names[at % self.names.len()].clone()
    }

    fn attr_of(&self, at: usize) -> Attr {
        if (at as u64).wrapping_add(self.number).is_multiple_of(3) { self.other } else { self.attr }
    }

    /// The answer to a question, mostly of the right shape.
    fn fitting(&self, request: &Request) -> Done {
        match request {
            Request::Walk { path, .. } => {
                // Folders, so that what follows is believed.
                let dir = |at: usize| Attr { mode: 0o040_755, ino: self.attr.ino.wrapping_add(at as u64), ..self.attr };
                let found = if self.flags[0] { path.len() } else { self.count.min(path.len() + 1) };
                let mut steps: Vec<_> = (0..found).map(|at| (Handle(self.handle.0 ^ at as u64), dir(at))).collect();
                if let Some(last) = steps.last_mut().filter(|_| self.flags[1]) {
                    last.1 = self.other;
                }
                let link = steps.last().is_some_and(|step| step.1.is_symlink()) != (self.number == 0);
                let end = match found == path.len() {
                    _ if link => WalkEnd::Symlink(self.name(0)),
                    true => WalkEnd::Complete,
                    false => WalkEnd::Failed(if self.flags[2] { 2 } else { self.code }),
                };
                Done::Walked(Walked { steps, end })
            }
            Request::Open { how, .. } => Done::Opened {
                handle: self.flags[0].then_some(self.handle),
                attr: if how.fifo && self.flags[3] {
                    Attr { mode: 0o010_644, ..self.attr }
                } else if how.create.is_some() || self.flags[3] {
                    Attr { mode: 0o100_644, ..self.attr }
                } else {
                    self.other
                },
                created: self.flags[1],
                dir: self.flags[2].then_some(self.other),
                contents: (self.number == 1).then(|| self.name(0)),
            },
            Request::Bind { .. } => {
                let attr = if self.flags[3] { Attr { mode: 0o140_755, ..self.attr } } else { self.attr };
                Done::Opened { handle: Some(self.handle), attr, created: true, dir: None, contents: None }
            }
            Request::List { cursor, .. } => {
                let entries = (0..self.count).map(|at| Entry {
                    name: match self.flags[1] {
                        true => Bytes::from(format!("{at:x}").as_bytes()),
                        false => self.name(at),
                    },
                    ino: self.number,
                    kind: self.other.mode,
                    attr: self.flags[2].then(|| self.attr_of(at)),
                    next: self.number.wrapping_add(at as u64),
                });
                let cursor = if self.flags[3] { *cursor } else { self.number };
                Done::Listing(Listing { entries: entries.collect(), complete: self.flags[0], cursor })
            }
            Request::Change(changes) => {
                let one = |at: usize| {
                    if self.flags[0] || at.is_multiple_of(2) {
                        Ok(Changed {
                            handle: self.flags[1].then_some(self.handle),
                            attr: self.flags[1].then_some(self.attr),
                            dir: self.flags[2].then_some(self.other),
                            new_dir: self.flags[3].then_some(self.other),
                        })
                    } else {
                        Err(self.code)
                    }
                };
                let count = if self.number < 8 { self.count } else { changes.len() };
                Done::Changed((0..count).map(one).collect())
            }
            Request::Attr { .. } => Done::Attr(self.attr),
            Request::ReadLink { .. } | Request::GetXattr { .. } | Request::ListXattr { .. } => {
                Done::Bytes(self.name(0))
            }
            Request::Statfs { .. } => {
                let n = self.number;
                let (blocks, files) = (n, self.attr.ino);
                Done::Statfs(Statfs {
                    magic: n,
                    bsize: n,
                    frsize: n,
                    blocks,
                    bfree: n,
                    bavail: n,
                    files,
                    ffree: n,
                    namelen: n,
                    flags: n,
                })
            }
            Request::Donate { .. } => Done::Donated { covered: vec![(1, 2); self.count * 4], same_ids: self.flags[0] },
            Request::Hello { .. } => {
                let root = Attr { mode: 0o040_755, ..self.attr };
                let mount = MountInfo {
                    id: fsproto::MountId::new("x", fsproto::Part::Root),
                    root: self.handle,
                    attr: root,
                    readonly: false,
                };
                Done::Hello { version: VERSION, mounts: vec![mount; 1 + self.count % 2] }
            }
            Request::Channel
            | Request::Forget
            | Request::Sync { .. }
            | Request::Scratch { .. }
            | Request::Connect { .. } => Done::Nothing,
        }
    }
}

/// A question of each kind.
fn question(kind: u8) -> Request {
    let of = Handle(1);
    match kind {
        0 => Request::Walk { from: of, path: vec![b"x"[..].into()] },
        1 => Request::Open { from: of, path: Vec::new(), how: fsproto::OpenHow::default() },
        2 => Request::List { from: of, path: Vec::new(), cursor: 0 },
        3 => Request::Change(Vec::new()),
        4 => Request::Attr { of },
        5 => Request::ReadLink { of },
        6 => Request::Statfs { of },
        7 => Request::Donate { mount: 0 },
        8 => Request::Hello { version: 0 },
        _ => Request::Forget,
    }
}

/// The gofer: answers in a circle; counts the questions.
fn lie(socket: &OwnedFd, answers: &[(Way, Parts)], trips: &AtomicUsize) {
    let mut buffer = vec![0; 2 * MAX_MESSAGE];
    let (_silent, pipe) = {
        let (read, write) = host::rustix::pipe::pipe().unwrap();
        (write, read)
    };
    let folder: OwnedFd = std::fs::File::open("/").unwrap().into();
    let file = host::rustix::fs::memfd_create(c"x", host::rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    host::rustix::io::write(&file, b"some text").unwrap();
    let unix = message::pair().unwrap().0;
    let device: OwnedFd = std::fs::File::options().read(true).write(true).open("/dev/zero").unwrap().into();
    let stream = {
        use host::rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None).unwrap()
    };
    let opened = |of: &OwnedFd, flags: u32| {
        let path = format!("/proc/self/fd/{}", of.as_raw_fd());
        host::rustix::fs::open(path, OFlags::from_bits_retain(flags) | OFlags::CLOEXEC, Mode::empty()).unwrap()
    };
    let files = [0, 1, 2, 0o2001, 0o2002].map(|flags| (flags, opened(&file, flags)));
    let fifos = [0, 1, 2].map(|flags| (flags, opened(&pipe, flags | OFlags::NONBLOCK.bits())));
    let with = |list: &[(u32, OwnedFd)], flags: u32| list.iter().position(|(has, _)| *has == flags).unwrap();
    for at in 0.. {
        let Ok((len @ 1.., _)) = message::receive_into(socket, &mut buffer, true) else { return };
        let Envelope { request, .. } = decode(&buffer[..len]).unwrap();
        trips.fetch_add(1, Ordering::Relaxed);
        let (mut way, parts) = answers[at % answers.len()].clone();
        // The first greeting is not refused, so that something happens.
        if at == 0 {
            way = Way::Fitting;
        }
        let reply: Reply = match &way {
            Way::Error => Err(parts.code),
            Way::Other(kind) => Ok(parts.fitting(&question(*kind))),
            _ => Ok(parts.fitting(&request)),
        };
        let mut bytes = Vec::new();
        if encode(&reply, &mut bytes).is_err() {
            return;
        }
        match way {
            Way::Gone => return,
            Way::Raw(raw) => bytes = raw,
            Way::Damaged(changes) => {
                for (at, to) in changes {
                    let at = at % bytes.len();
                    bytes[at] = to;
                }
            }
            _ => {}
        }
        let wanted = matches!(reply, Ok(Done::Opened { contents: None, .. } | Done::Donated { .. }))
            || matches!(request, Request::Channel | Request::Scratch { .. } | Request::Connect { .. });
        let asked = match &request {
            Request::Open { how, .. } if how.write => 1 + u32::from(how.read),
            Request::Open { .. } => 0,
            _ => 2,
        };
        let fds: Vec<BorrowedFd<'_>> = match parts.fd {
            _ if !wanted && parts.number != 2 => vec![],
            Given::Nothing => vec![],
            Given::File => vec![files[with(&files, asked)].1.as_fd()],
            Given::Rights(flags) => vec![files[with(&files, flags)].1.as_fd()],
            Given::Pipe => vec![pipe.as_fd()],
            Given::Fifo => vec![fifos[with(&fifos, asked)].1.as_fd()],
            Given::Device => vec![device.as_fd()],
            Given::Stream => vec![stream.as_fd()],
            Given::Folder => vec![folder.as_fd()],
            Given::Socket => vec![unix.as_fd()],
            Given::Two => vec![pipe.as_fd(), file.as_fd()],
        };
        if message::send(socket, &bytes, &fds, true).is_err() {
            return;
        }
    }
}

/// What the kernel does with a file; numbers choose among those that were met.
#[derive(Clone, Debug)]
enum Act {
    Lookup(usize, u8),
    Walk(usize, u8),
    Create(usize, u8, u8),
    Link(usize, usize, u8),
    Remove(usize, usize, u8, bool),
    Rename(usize, usize, usize, Option<usize>, u32),
    Attr(usize),
    Change(usize, u64),
    ReadLink(usize),
    ReadWrite(usize, u64),
    List(usize),
    Xattr(usize, u8),
    Peers(usize),
    Statfs,
}

fn act() -> impl Strategy<Value = Act> {
    let at = || 0..12usize;
    prop_oneof![
        4 => (at(), 0..5u8).prop_map(|(dir, name)| Act::Lookup(dir, name)),
        3 => (at(), 1..9u8).prop_map(|(dir, count)| Act::Walk(dir, count)),
        2 => (at(), 0..5u8, 0..7u8).prop_map(|(dir, name, kind)| Act::Create(dir, name, kind)),
        1 => (at(), at(), 0..5u8).prop_map(|(dir, node, name)| Act::Link(dir, node, name)),
        2 => (at(), at(), 0..5u8, any::<bool>()).prop_map(|(dir, node, name, is)| Act::Remove(dir, node, name, is)),
        1 => (at(), at(), at(), option::of(at()), 0..8u32).prop_map(|(a, b, c, d, flags)| Act::Rename(a, b, c, d, flags)),
        2 => at().prop_map(Act::Attr),
        1 => (at(), number()).prop_map(|(node, size)| Act::Change(node, size)),
        1 => at().prop_map(Act::ReadLink),
        4 => (at(), number()).prop_map(|(node, place)| Act::ReadWrite(node, place)),
        3 => at().prop_map(Act::List),
        1 => (at(), any::<u8>()).prop_map(|(node, what)| Act::Xattr(node, what)),
        1 => at().prop_map(Act::Peers),
        1 => Just(Act::Statfs),
    ]
}

struct Guest {
    met: Vec<Arc<Inode>>,
    cred: Arc<Cred>,
    done: u64,
}

impl Guest {
    fn io(&mut self) -> Io<'_> {
        Io::kernel(self.cred.clone(), &mut self.done)
    }

    fn get(&self, at: usize) -> Arc<Inode> {
        self.met[at % self.met.len()].clone()
    }

    fn dir(&self, at: usize) -> Arc<Inode> {
        let dirs: Vec<_> = self.met.iter().filter(|inode| inode.ops.dir().is_some()).collect();
        dirs[at % dirs.len()].clone()
    }

    fn name(at: u8) -> &'static [u8] {
        [&b"a"[..], b"b", b"c", b"0", b"new"][usize::from(at) % 5]
    }

    /// Errors are as good as results.
    fn act(&mut self, act: &Act) -> Op<()> {
        match *act {
            Act::Lookup(dir, name) => {
                let dir = self.dir(dir);
                let found = ops(&dir).lookup(&mut self.io(), Guest::name(name))?;
                self.met.extend(found);
            }
            Act::Walk(dir, count) => {
                let (dir, names) = (self.dir(dir), (0..count).map(Guest::name).collect::<Vec<_>>());
                let found = ops(&dir).walk_ahead(&mut self.io(), &names)?;
                assert!(found.len() <= names.len());
                let above = found.len().saturating_sub(1);
                assert!(found.iter().take(above).all(|inode| inode.kind == FileType::Dir), "files as folders");
                self.met.extend(found);
            }
            Act::Create(dir, name, kind) => {
                let dir = self.dir(dir);
                let kinds = [
                    NewKind::Regular,
                    NewKind::Dir,
                    NewKind::Symlink(b"to"),
                    NewKind::Fifo,
                    NewKind::Socket(1),
                    NewKind::Char(5),
                ];
                let node = |kind| NewNode::plain(kind, 0o644, 1, 1);
                let made = match kinds.into_iter().nth(kind.into()) {
                    Some(kind) => ops(&dir).create(&mut self.io(), Guest::name(name), &node(kind))?,
                    None => ops(&dir).tmpfile(&mut self.io(), &node(NewKind::Regular))?,
                };
                if let Some(socket) = made.ops.take_socket() {
                    has(&socket, 0o140_000, 2 | OFlags::NONBLOCK.bits());
                }
                self.met.push(made);
            }
            Act::Link(dir, node, name) => {
                let (dir, node) = (self.dir(dir), self.get(node));
                ops(&dir).link(&mut self.io(), Guest::name(name), &node)?;
            }
            Act::Remove(dir, node, name, folder) => {
                let (dir, node) = (self.dir(dir), self.get(node));
                match folder {
                    true => ops(&dir).rmdir(&mut self.io(), Guest::name(name), &node)?,
                    false => ops(&dir).unlink(&mut self.io(), Guest::name(name), &node)?,
                }
            }
            Act::Rename(from, what, to, victim, flags) => {
                let (from, what, to) = (self.dir(from), self.get(what), self.dir(to));
                let victim = victim.map(|at| self.get(at));
                ops(&from).rename(&mut self.io(), b"a", &what, &to, b"b", victim.as_ref(), flags)?;
            }
            Act::Attr(node) => {
                let node = self.get(node);
                let attr = node.attr(&mut self.io())?;
                assert!(attr.size <= i64::MAX as u64 && (0..1_000_000_000).contains(&attr.mtime.tv_nsec));
            }
            Act::Change(node, size) => {
                let node = self.get(node);
                node.ops.set_attr(&mut self.io(), &SetAttr { size: Some(size % (1 << 20)), ..SetAttr::default() })?;
                node.ops.set_attr(&mut self.io(), &SetAttr { perm: Some(0o600), ..SetAttr::default() })?;
            }
            Act::ReadLink(node) => {
                if let Link::Target(target) = self.get(node).ops.read_link(&mut self.io())? {
                    assert!(!target.is_empty() && target.len() <= fsproto::MAX_TARGET && !target.contains(&0));
                }
            }
            Act::ReadWrite(node, place) => {
                let node = self.get(node);
                let file = node.ops.open(&mut self.io(), &node, OpenFlags::RDWR)?;
                let mut sink = VecSink { data: Vec::new(), max: 5000 };
                let _ = file.read(&mut self.io(), Some(place), &mut sink);
                let _ = file.write(&mut self.io(), Some(place % (1 << 20)), &mut SliceSource::new(b"data"));
                let _ = file.seek(&mut self.io(), place as i64, (place % 6) as u32, 0);
                let _ = file.allocate(&mut self.io(), 0, 0..place % (1 << 20));
                let _ = file.sync(&mut self.io(), true);
                if let Some(map) = file.mappable() {
                    let rights = Rights { write: place % 2 == 0, shared: true };
                    if let Ok(Backing::Host { fd, .. }) = map.backing(&mut self.io(), 0..8192, rights) {
                        let access = if rights.write { 2 } else { host::stream::flags(&fd).unwrap() & 3 };
                        assert_ne!(access, 1, "a mapping is read");
                        has(&fd, 0o100_000, access);
                    }
                }
            }
            Act::List(dir) => {
                struct Names(usize, u64);
                impl DirSink for Names {
                    fn entry(&mut self, name: &[u8], _ino: u64, _kind: FileType, next: u64) -> bool {
                        assert!(fsproto::is_name(name) || matches!(name, b"." | b".."));
                        self.1 = next;
                        self.0 -= usize::from(self.0 > 0);
                        self.0 > 0
                    }
                }
                let dir = self.dir(dir);
                let file = dir.ops.open(&mut self.io(), &dir, OpenFlags::DIRECTORY)?;
                let mut names = Names(0, 0);
                for _ in 0..4 {
                    names.0 = 50;
                    let from = names.1;
                    file.list(&mut self.io(), from, &mut names)?;
                }
            }
            Act::Xattr(node, what) => {
                let node = self.get(node);
                let Some(xattr) = node.ops.xattr() else { return Ok(()) };
                let kind = AclKind::ALL[usize::from(what & 0x80 != 0)];
                let perm = AclPerm { bits: 0o644, of: 0o2777 };
                let _ = match what % 8 {
                    0 => xattr.get(&mut self.io(), b"user.x").map(drop),
                    1 => xattr.list(&mut self.io()).map(drop),
                    2 => xattr.set(&mut self.io(), b"user.x", b"y", 0),
                    3 => xattr.remove(&mut self.io(), b"user.x"),
                    4 => xattr.set_acl(&mut self.io(), kind, Some(b"x"), None),
                    5 => xattr.set_acl(&mut self.io(), kind, None, Some(perm)),
                    _ => acl_of::find(&mut self.io(), &node, kind).map(drop),
                };
            }
            Act::Peers(node) => {
                let node = self.get(node);
                if let Ok(Some(fifo)) = node.ops.open_fifo(&mut self.io(), OpenFlags::RDWR) {
                    has(&fifo, 0o010_000, 2 | OFlags::NONBLOCK.bits());
                }
                if let Ok(Some(socket)) = node.ops.connect_socket(&mut self.io(), 1) {
                    has(&socket, 0o140_000, 2 | OFlags::NONBLOCK.bits());
                }
            }
            Act::Statfs => {
                let root = self.get(0);
                let _ = root.fs.ops.sync(&mut self.io());
                root.fs.ops.statfs(&mut self.io())?;
            }
        }
        Ok(())
    }
}

/// What the kernel took is of this type and open so.
fn has(fd: &HostFd, kind: u32, flags: u32) {
    assert_eq!(u32::from(host::file::stat(fd).unwrap().stx_mode) & 0o170_000, kind);
    let relevant = 3 | (OFlags::NONBLOCK | OFlags::APPEND | OFlags::PATH).bits();
    assert_eq!(host::stream::flags(fd).unwrap() & relevant, flags);
}

fn ops(dir: &Inode) -> &dyn DirOps {
    dir.ops.dir().unwrap()
}

/// All acts over one gofer; the longest number of trips that one took.
fn play(answers: Vec<(Way, Parts)>, acts: &[Act], options: filesystems::gofer::Options) -> usize {
    let (ours, theirs) = message::pair().unwrap();
    let trips = Arc::new(AtomicUsize::new(0));
    let gofer = std::thread::spawn({
        let trips = trips.clone();
        move || lie(&theirs, &answers, &trips)
    });
    let mut most = 0;
    if let Ok(client) = Client::connect(HostFd::new(ours))
        && let Ok(root) = filesystems::gofer::mount(Arc::new(client), 0, options)
    {
        let mut guest = Guest { met: vec![root], cred: Arc::new(Cred::root(UserNs::initial())), done: 0 };
        for act in acts {
            let before = trips.load(Ordering::Relaxed);
            let _ = guest.act(act);
            most = most.max(trips.load(Ordering::Relaxed) - before);
        }
    }
    gofer.join().expect("the test's own gofer panicked");
    most
}

/// As `play`, but not for ever.
fn play_bounded(answers: Vec<(Way, Parts)>, acts: Vec<Act>, options: filesystems::gofer::Options) -> usize {
    let (done, over) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = done.send(play(answers, &acts, options));
    });
    match over.recv_timeout(Duration::from_secs(10)) {
        Ok(most) => most,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            panic!("an operation hangs, or the connection is never closed")
        }
        Err(_) => panic!("an operation panicked"),
    }
}

/// Few cases, each of many answers: a run takes some seconds.
fn config() -> ProptestConfig {
    let kept = Box::new(FileFailurePersistence::WithSource("regressions"));
    let all = ProptestConfig { failure_persistence: Some(kept), max_shrink_iters: 300, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { all } else { ProptestConfig { cases: 600, ..all } }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn answers_of_every_kind_end_each_operation(
        answers in vec(answer(), 1..40),
        acts in vec(act(), 1..40),
        options in any::<[bool; 3]>(),
    ) {
        let [shared, direct, peers] = options;
        let options = filesystems::gofer::Options { shared, direct, fifo: peers, connect: peers, bind: peers };
        let most = play_bounded(answers, acts, options);
        prop_assert!(most < MANY, "one operation took {most} trips");
    }
}

/// Else it would hold itself for ever, and be looked for in itself.
#[test]
fn a_folder_that_lies_in_itself_goes_with_the_last_who_uses_it() {
    let attr = |ino| Attr { ino, dev: 1, mode: 0o040_755, ..Attr::default() };
    let says = |ino| {
        let parts = Parts {
            attr: attr(ino),
            other: attr(ino),
            handle: Handle(ino),
            names: vec![b"a"[..].into()],
            count: 1,
            flags: [true, false, false, false],
            number: 3,
            code: 2,
            fd: Given::Nothing,
        };
        (Way::Fitting, parts)
    };
    let mut answers = vec![says(2); 10];
    answers[0] = says(1);
    // The root, the folder, the folder in itself; and renamed into itself.
    let acts = vec![Act::Lookup(0, 0), Act::Lookup(1, 0), Act::Lookup(1, 1), Act::Rename(0, 1, 1, None, 0)];
    play_bounded(answers, acts, filesystems::gofer::Options::default());
}
