//! What a hostile kernel process can ask of a gofer, at random: requests with any handles, names and numbers, in any order, and damaged messages. It gets
//! answers or errors, within a moment, and nothing of what lies beside the served folder; its gofer lives as long as its connection.
//! `PROPTEST_CASES=N` makes a run longer.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Folder, serve_raw};
use fsproto::{
    Attr, Bytes, Change, Changed, Create, Done, Envelope, Handle, MAX_MESSAGE, OpenHow, Reply, Request, SetAttr,
    SetTime, SyncHow, Time, decode, encode,
};
use host::message;
use host::rustix::event::{PollFd, PollFlags, Timespec, poll};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::FileFailurePersistence;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

const SECRET: &str = "what no guest may read";

/// A folder `in`, which is served, beside what is not.
struct Place {
    folder: Folder,
    /// Device and inode numbers of what lies outside, and all that is known of it.
    outside: Vec<(u64, u64)>,
    before: Vec<String>,
}

impl Place {
    fn new() -> Place {
        let folder = Folder::new();
        let top = folder.0.join("top");
        let served = top.join("in");
        for dir in ["in/a/b", "in/empty", "out/deep"] {
            std::fs::create_dir_all(top.join(dir)).unwrap();
        }
        for (name, text) in [("in/file", "12345"), ("in/a/f", ""), ("out/secret", SECRET), ("secret", SECRET)] {
            std::fs::write(top.join(name), text).unwrap();
        }
        for (name, target) in [("up", ".."), ("out", "../out"), ("secret", "../secret"), ("abs", "/etc"), ("x", "a")] {
            symlink(target, served.join(name)).unwrap();
        }
        host::rustix::fs::mknodat(
            host::rustix::fs::CWD,
            served.join("fifo"),
            host::rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        let mut place = Place { folder, outside: Vec::new(), before: Vec::new() };
        place.before = place.look();
        for path in ["", "out", "out/deep", "out/secret", "secret"] {
            let meta = std::fs::metadata(top.join(path)).unwrap();
            place.outside.push((meta.dev(), meta.ino()));
        }
        place
    }

    fn served(&self) -> PathBuf {
        self.folder.0.join("top/in")
    }

    /// All that lies outside.
    fn look(&self) -> Vec<String> {
        let top = self.folder.0.join("top");
        let mut found = Vec::new();
        let mut work = vec![top.clone()];
        while let Some(dir) = work.pop() {
            for path in std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()) {
                if path == self.served() {
                    continue;
                }
                let meta = std::fs::symlink_metadata(&path).unwrap();
                let text = if meta.is_file() { std::fs::read_to_string(&path).unwrap() } else { String::new() };
                found.push(format!("{path:?} {:o} {} {} {text}", meta.mode(), meta.uid(), meta.nlink()));
                if meta.is_dir() {
                    work.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

/// The kernel process' end, by hand.
struct Peer {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Peer {
    fn send(&self, bytes: &[u8]) -> bool {
        message::send(&self.socket, bytes, &[], true).is_ok()
    }

    /// `None`: the gofer has closed the connection.
    fn receive(&mut self) -> Option<(Reply, Vec<OwnedFd>)> {
        let mut polled = [PollFd::new(&self.socket, PollFlags::IN)];
        let soon = Timespec { tv_sec: 10, tv_nsec: 0 };
        assert_eq!(poll(&mut polled, Some(&soon)), Ok(1), "the gofer hangs");
        match message::receive_into(&self.socket, &mut self.buffer, true) {
            Ok((0, _)) | Err(_) => None,
            Ok((len, fds)) => Some((decode(&self.buffer[..len]).expect("an answer that is none"), fds)),
        }
    }
}

/// What an answer tells about files.
fn attrs(done: &Done) -> Vec<Attr> {
    let changed = |c: &Changed| [c.attr, c.dir, c.new_dir].into_iter().flatten().collect::<Vec<_>>();
    match done {
        Done::Walked(walked) => walked.steps.iter().map(|step| step.1).collect(),
        Done::Opened { attr, dir, .. } => [Some(*attr), *dir].into_iter().flatten().collect(),
        Done::Listing(listing) => listing.entries.iter().filter_map(|entry| entry.attr).collect(),
        Done::Changed(results) => results.iter().flatten().flat_map(changed).collect(),
        Done::Attr(attr) => vec![*attr],
        _ => Vec::new(),
    }
}

/// Nothing in an answer is of what lies outside.
fn check_answer(place: &Place, reply: &Reply, fds: &[OwnedFd]) {
    assert!(fds.len() <= 1, "more than one descriptor");
    let Ok(done) = reply else {
        assert!((1..4096).contains(reply.as_ref().unwrap_err()) && fds.is_empty(), "{reply:?}");
        return;
    };
    for attr in attrs(done) {
        assert!(!place.outside.contains(&(attr.dev, attr.ino)), "{done:?}");
    }
    if let Done::Bytes(bytes) | Done::Opened { contents: Some(bytes), .. } = done {
        assert_ne!(&**bytes, SECRET.as_bytes());
    }
    for fd in fds {
        let at = std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).unwrap();
        let stat = host::rustix::fs::fstat(fd).unwrap();
        assert!(!place.outside.contains(&(stat.st_dev, stat.st_ino)), "{at:?}");
        let kind = stat.st_mode & 0o170_000;
        let inside = at.starts_with(place.served()) && matches!(kind, 0o100_000 | 0o010_000);
        let inside = match done {
            // Of a mount that is nowhere: the folder itself, and what never had a name in it.
            Done::Donated { .. } => at == Path::new("/"),
            Done::Nothing if kind == 0o100_000 => stat.st_nlink == 0,
            _ => inside || kind == 0o140_000,
        };
        assert!(inside, "{at:?} of type {kind:o} for {done:?}");
    }
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![select(vec![0, 1, 2, 5, 0o644, 0o6777, 1234, u32::MAX]), any::<u32>()]
}

fn large() -> impl Strategy<Value = u64> {
    prop_oneof![select(vec![0, 1, 4096, 1 << 40, i64::MAX as u64, 1 << 63, u64::MAX]), any::<u64>()]
}

/// The first ones that a gofer gives are 1, 2, 3, ...
fn handle() -> impl Strategy<Value = Handle> {
    prop_oneof![3 => Just(1), 12 => 1..24u64, 1 => large()].prop_map(Handle)
}

fn name() -> impl Strategy<Value = Bytes> {
    let known = ["a", "b", "f", "file", "empty", "up", "out", "secret", "abs", "x", "fifo", "new", "other", "s"];
    let bad = ["..", ".", "", "a/b", "../out", "/etc", "a\0b", "/"];
    prop_oneof![
        12 => select(known.to_vec()).prop_map(|name| Bytes::from(name.as_bytes())),
        2 => select(bad.to_vec()).prop_map(|name| Bytes::from(name.as_bytes())),
        1 => (250..260usize).prop_map(|len| Bytes::from(vec![b'n'; len])),
        1 => bytes(12),
    ]
}

fn bytes(most: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..most).prop_map(Bytes::from)
}

fn path() -> impl Strategy<Value = Vec<Bytes>> {
    prop_oneof![8 => vec(name(), 0..4), 1 => vec(name(), 120..140)]
}

fn xattr() -> impl Strategy<Value = Bytes> {
    let known = ["user.x", "security.capability", "trusted.overlay.opaque", "system.posix_acl_access", "", "x"];
    prop_oneof![select(known.to_vec()).prop_map(|name| Bytes::from(name.as_bytes())), bytes(300)]
}

fn time() -> impl Strategy<Value = SetTime> {
    prop_oneof![Just(SetTime::Now), (any::<i64>(), number()).prop_map(|(sec, nsec)| SetTime::At(Time { sec, nsec }))]
}

/// Up to 64 MiB, so that a file system in memory is not filled; beyond that what no file can have.
fn size() -> impl Strategy<Value = u64> {
    prop_oneof![0..64u64 << 20, select(vec![i64::MAX as u64, 1 << 63, u64::MAX])]
}

fn how() -> impl Strategy<Value = OpenHow> {
    let create = (any::<bool>(), prop::bool::weighted(0.2), number(), number(), number())
        .prop_map(|(exclusive, anonymous, mode, uid, gid)| Create { exclusive, anonymous, mode, uid, gid });
    let inline = prop_oneof![Just(0), 0..20_000u32, any::<u32>()];
    (any::<[bool; 4]>(), option::of(create), inline).prop_map(|([read, write, truncate, fifo], create, inline)| {
        OpenHow { read, write, truncate, create, fifo, inline }
    })
}

fn change() -> impl Strategy<Value = Change> {
    let ids = || (number(), number());
    let set =
        (option::of(number()), option::of(number()), option::of(number()), option::of(size()), option::of(time()))
            .prop_map(|(mode, uid, gid, size, atime)| SetAttr { mode, uid, gid, size, atime, mtime: atime });
    // No device nodes: who may make them at all has them by the host's word.
    let kind = select(vec![0o010_000, 0o140_000, 0o100_000, 0o040_000, 0o120_000, 0, 0o170_000]);
    prop_oneof![
        (handle(), name(), number(), ids()).prop_map(|(dir, name, mode, (uid, gid))| Change::Mkdir {
            dir,
            name,
            mode,
            uid,
            gid
        }),
        (handle(), name(), kind, large(), ids()).prop_map(|(dir, name, mode, rdev, (uid, gid))| Change::Mknod {
            dir,
            name,
            mode: mode | 0o600,
            rdev,
            uid,
            gid
        }),
        (handle(), name(), name(), ids()).prop_map(|(dir, name, target, (uid, gid))| Change::Symlink {
            dir,
            name,
            target,
            uid,
            gid
        }),
        (handle(), handle(), name()).prop_map(|(node, dir, name)| Change::Link { node, dir, name }),
        (handle(), name()).prop_map(|(dir, name)| Change::Unlink { dir, name }),
        (handle(), name()).prop_map(|(dir, name)| Change::Rmdir { dir, name }),
        (handle(), name(), handle(), name(), prop_oneof![4 => 0..5u32, 1 => any::<u32>()])
            .prop_map(|(dir, name, new_dir, new_name, flags)| Change::Rename { dir, name, new_dir, new_name, flags }),
        (handle(), set).prop_map(|(node, set)| Change::SetAttr { node, set }),
        (handle(), xattr(), bytes(100), number()).prop_map(|(node, name, value, flags)| Change::SetXattr {
            node,
            name,
            value,
            flags
        }),
        (handle(), xattr()).prop_map(|(node, name)| Change::RemoveXattr { node, name }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let sync = select(vec![SyncHow::Data, SyncHow::All]);
    prop_oneof![
        1 => number().prop_map(|version| Request::Hello { version }),
        1 => Just(Request::Channel),
        6 => (handle(), path()).prop_map(|(from, path)| Request::Walk { from, path }),
        6 => (handle(), path(), how()).prop_map(|(from, path, how)| Request::Open { from, path, how }),
        3 => (handle(), path(), large()).prop_map(|(from, path, cursor)| Request::List { from, path, cursor }),
        10 => prop_oneof![9 => vec(change(), 1..4), 1 => vec(change(), 60..70)].prop_map(Request::Change),
        1 => handle().prop_map(|of| Request::Attr { of }),
        1 => handle().prop_map(|of| Request::ReadLink { of }),
        1 => (handle(), xattr()).prop_map(|(of, name)| Request::GetXattr { of, name }),
        1 => handle().prop_map(|of| Request::ListXattr { of }),
        1 => handle().prop_map(|of| Request::Statfs { of }),
        1 => (handle(), sync).prop_map(|(of, how)| Request::Sync { of, how }),
        1 => number().prop_map(|mount| Request::Donate { mount }),
        1 => number().prop_map(|mount| Request::Scratch { mount }),
        1 => (handle(), number()).prop_map(|(of, kind)| Request::Connect { of, kind }),
        1 => (handle(), name(), number(), number(), (number(), number()))
            .prop_map(|(dir, name, kind, mode, (uid, gid))| Request::Bind { dir, name, kind, mode, uid, gid }),
        1 => Just(Request::Forget),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let forget = prop_oneof![8 => Just(Vec::new()), 2 => vec(handle(), 0..4), 1 => vec(handle(), 2000)];
    (forget, request()).prop_map(|(forget, request)| Envelope { forget, request })
}

/// What becomes of a message on its way.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Cut(Index),
    Insert(Index, Vec<u8>),
    Repeat(Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Damage::Set(at, to)),
        1 => any::<Index>().prop_map(Damage::Cut),
        1 => (any::<Index>(), vec(any::<u8>(), 1..12)).prop_map(|(at, more)| Damage::Insert(at, more)),
        1 => (any::<Index>(), 1..MAX_MESSAGE).prop_map(|(at, times)| Damage::Repeat(at, times)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: Damage) {
    if bytes.is_empty() {
        return;
    }
    match damage {
        Damage::Set(at, to) => *at.get_mut(bytes.as_mut_slice()) = to,
        Damage::Cut(at) => bytes.truncate(at.index(bytes.len())),
        Damage::Insert(at, more) => {
            let at = at.index(bytes.len());
            bytes.splice(at..at, more);
        }
        Damage::Repeat(at, times) => {
            let (at, times) = (at.index(bytes.len()), times.min(MAX_MESSAGE.saturating_sub(bytes.len())));
            let byte = bytes[at];
            bytes.splice(at..at, std::iter::repeat_n(byte, times));
        }
    }
}

/// Few cases, each of many requests: a run takes some seconds.
fn config() -> ProptestConfig {
    let kept = Box::new(FileFailurePersistence::WithSource("regressions"));
    let all = ProptestConfig { failure_persistence: Some(kept), max_shrink_iters: 2000, ..ProptestConfig::default() };
    if std::env::var_os("PROPTEST_CASES").is_some() { all } else { ProptestConfig { cases: 120, ..all } }
}

fn serve(place: &Place, readonly: bool) -> (Peer, std::thread::JoinHandle<Result<(), abi::Errno>>) {
    let (socket, gofer) = serve_raw(&place.served(), readonly, 128 + 40);
    (Peer { socket, buffer: vec![0; 2 * MAX_MESSAGE] }, gofer)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn requests_in_any_order_stay_inside(requests in vec(envelope(), 1..60), readonly in prop::bool::weighted(0.2)) {
        let place = Place::new();
        let (mut peer, gofer) = serve(&place, readonly);
        for request in &requests {
            let mut bytes = Vec::new();
            encode(request, &mut bytes).unwrap();
            prop_assert!(peer.send(&bytes), "the gofer is gone before {request:?}");
            let (reply, fds) = peer.receive().expect("the gofer is gone");
            check_answer(&place, &reply, &fds);
        }
        drop(peer.socket);
        prop_assert_eq!(gofer.join().expect("the gofer panicked"), Ok(()));
        prop_assert_eq!(place.look(), place.before.clone());
    }

    #[test]
    fn damaged_messages_end_the_connection_at_most(
        requests in vec((envelope(), vec(damage(), 0..4)), 1..40)
    ) {
        let place = Place::new();
        let (mut peer, mut gofer) = serve(&place, false);
        for (request, damages) in requests {
            let mut bytes = Vec::new();
            encode(&request, &mut bytes).unwrap();
            for damage in damages {
                apply(&mut bytes, damage);
            }
            // An empty message is the end of a connection.
            if bytes.is_empty() || bytes.len() > MAX_MESSAGE {
                continue;
            }
            // A damaged one may mean a device node: not on a disk that is looked at below.
            if let Ok(Envelope { request: Request::Change(_), .. }) = decode::<Envelope>(&bytes) {
                continue;
            }
            let answer = if peer.send(&bytes) { peer.receive() } else { None };
            match answer {
                Some((reply, fds)) => check_answer(&place, &reply, &fds),
                None => {
                    prop_assert!(gofer.join().expect("the gofer panicked").is_err());
                    (peer, gofer) = serve(&place, false);
                }
            }
        }
        drop(peer.socket);
        prop_assert!(gofer.join().is_ok(), "the gofer panicked");
        prop_assert_eq!(place.look(), place.before.clone());
    }
}

/// Descriptors that a request brings along are closed, and do not fill the gofer's table.
#[test]
fn descriptors_with_requests_are_let_go() {
    let place = Place::new();
    let (mut peer, _gofer) = serve(&place, false);
    let mut bytes = Vec::new();
    encode(&Envelope { forget: Vec::new(), request: Request::Forget }, &mut bytes).unwrap();
    let (read, write) = host::rustix::pipe::pipe().unwrap();
    for _ in 0..50 {
        message::send(&peer.socket, &bytes, &[write.as_fd(); 64], true).unwrap();
        assert_eq!(peer.receive().unwrap().0, Ok(Done::Nothing));
    }
    drop(write);
    // All of them are closed: the pipe is at its end.
    assert_eq!(host::rustix::io::read(&read, &mut [0; 1]), Ok(0));
}
