//! A real gofer process in its lock-down: it serves, it has given up the rest, and it ends with its socket.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::Folder;
use fsproto::{Change, Client, Create, Gofer, MountId, OpenHow, Part, SetAttr, WalkEnd};
use gofer::{Config, MountSource, Peers};
use host::HostFd;
use host::spawn::{IdMap, Namespaces, Spawn};
use kernel::cred::{Cred, UserNs};
use kernel::io::Io;
use kernel::vfs::Inode;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args.get(1).is_some_and(|arg| arg == "--gofer") {
        // The child: its socket is its standard input.
        let socket = std::io::stdin().as_fd().try_clone_to_owned().unwrap();
        // Something is mounted below what is served, in this process' own mount namespace.
        let covered = Path::new(&args[2]).join("covered");
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", &covered, "tmpfs", flags, Some(c"mode=755")).unwrap();
        std::fs::write(covered.join("inner"), "inner").unwrap();
        let source = |path: &String| {
            let part = Part::Mount { destination: path.clone(), nth: 0 };
            let id = MountId::new("test", part);
            MountSource { id, path: path.into(), readonly: false, store: Some(path.into()) }
        };
        let mounts = args[2..].iter().map(source).collect();
        match gofer::run(Config {
            socket,
            mounts,
            donate: true,
            peers: Peers { fifo: true, connect: true, bind: true },
            report_violations: true,
        }) {
            Ok(()) => std::process::exit(0),
            Err(error) => {
                eprintln!("gofer: {error}");
                std::process::exit(1);
            }
        }
    }
    if rustix::process::geteuid().is_root() {
        confined(IdMap::None);
    }
    confined(IdMap::Own);
    println!("confined: ok");
}

/// Everything that a gofer is asked for, from one whose rights are gone.
fn confined(ids: IdMap) {
    let folder = Folder::new();
    std::fs::create_dir(folder.0.join("sub")).unwrap();
    std::fs::create_dir(folder.0.join("covered")).unwrap();
    std::fs::write(folder.0.join("covered/under"), "under").unwrap();
    let user = matches!(ids, IdMap::Own);
    let (ours, theirs) = host::message::pair().unwrap();
    let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
    let text = |text: &str| CString::new(text).unwrap();
    let mut child = Spawn {
        args: vec![text("test"), text("--gofer"), text(folder.0.to_str().unwrap())],
        env: Vec::new(),
        namespaces: Namespaces { user, mount: true, pid: true, network: true, ipc: true, uts: true, cgroup: false },
        ids,
        fds: vec![theirs.as_fd(), stdout.as_fd(), stderr.as_fd()],
        session: false,
        terminal: None,
        die_with_parent: true,
        fixed_addresses: false,
        cgroups: Vec::new(),
    }
    .start()
    .unwrap();
    child.confirm().unwrap();
    drop(theirs);
    let client = Client::connect(HostFd::new(ours)).unwrap();
    serves(&client, user);
    has_no_rights_left(child.pid, user);
    drop(gives_away(client, user));
    let (_, status) =
        rustix::process::waitpid(rustix::process::Pid::from_raw(child.pid), rustix::process::WaitOptions::empty())
            .unwrap()
            .unwrap();
    assert_eq!(status.exit_status(), Some(0), "the gofer ends well with its socket: {status:?}");
}

fn serves(client: &Client, user: bool) {
    let dir = common::root(client);
    let (uid, gid) = if user { (0, 0) } else { (1000, 1000) };
    let name = |text: &str| text.as_bytes().into();
    let create = Some(Create { exclusive: true, anonymous: false, mode: 0o644, uid, gid });
    let how = OpenHow { read: true, write: true, create, ..OpenHow::default() };
    let made = client.open(dir, &[b"sub", b"file"], how).unwrap();
    assert_eq!((made.attr.uid, made.attr.gid, made.attr.mode), (uid, gid, 0o100_644));
    host::file::write_at(&made.fd.unwrap(), b"text", 0).unwrap();
    let walked = client.walk(dir, &[b"sub", b"file"]).unwrap();
    assert_eq!(walked.end, WalkEnd::Complete);
    let (sub, node) = (walked.steps[0].0, walked.steps[1].0);
    let inline = client.open(node, &[], OpenHow { read: true, inline: 100, ..OpenHow::default() }).unwrap();
    assert_eq!(&*inline.contents.unwrap(), b"text");
    let set = SetAttr { mode: Some(0o4755), size: Some(100_000), ..SetAttr::default() };
    let results = client.change(vec![
        Change::SetAttr { node, set },
        Change::SetAttr { node, set: SetAttr { uid: Some(0), gid: Some(0), ..SetAttr::default() } },
        Change::SetAttr { node, set: SetAttr { atime: Some(fsproto::SetTime::Now), ..SetAttr::default() } },
        Change::Link { node, dir, name: name("linked") },
        Change::Rename { dir: sub, name: name("file"), new_dir: dir, new_name: name("moved"), flags: 0 },
        Change::Rename { dir, name: name("moved"), new_dir: sub, new_name: name("file"), flags: 1 },
        Change::Symlink { dir, name: name("link"), target: name("/etc"), uid, gid },
        Change::Mknod { dir, name: name("fifo"), mode: 0o010_644, rdev: 0, uid, gid },
        Change::Mkdir { dir, name: name("made"), mode: 0o700, uid, gid },
        Change::Rmdir { dir, name: name("made") },
        Change::Unlink { dir, name: name("linked") },
    ]);
    for (at, result) in results.unwrap().into_iter().enumerate() {
        result.unwrap_or_else(|errno| panic!("change {at}: {errno}"));
    }
    // What a file system has or has not; in any case it is answered.
    let _ = client.change(vec![Change::SetXattr { node, name: name("user.x"), value: name("y"), flags: 0 }]).unwrap();
    let _ = client.get_xattr(node, b"user.x");
    let _ = client.list_xattr(node);
    let _ = client.change(vec![Change::RemoveXattr { node, name: name("user.x") }]).unwrap();
    for how in [fsproto::SyncHow::All, fsproto::SyncHow::Data, fsproto::SyncHow::FileSystem] {
        client.sync(node, how).unwrap();
    }
    client.statfs(node).unwrap();
    let listing = client.list(dir, &[], 0).unwrap();
    let names: Vec<_> = listing.entries.iter().map(|e| e.name.to_vec()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
    talks(client, dir, [uid, gid]);
    // Several at once, so that the other threads serve too.
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let walked = client.walk(dir, &[b"sub", b"file"]).unwrap();
                    client.forget(&walked.steps.iter().map(|step| step.0).collect::<Vec<_>>());
                }
            });
        }
    });
}

/// With host processes, by names in what is served.
fn talks(client: &Client, dir: fsproto::Handle, [uid, gid]: [u32; 2]) {
    let made = client.bind(dir, b"socket", 1, 0o750, uid, gid).unwrap();
    assert_eq!((made.attr.mode, made.attr.uid, made.attr.gid), (0o140_750, uid, gid));
    let listener = made.fd.unwrap();
    host::socket::start_listening(&listener, 4).unwrap();
    let here = client.connect(made.handle.unwrap(), 1).unwrap();
    let there = HostFd::from(host::socket::accept(&listener).unwrap());
    host::socket::send_some(&here, b"hello").unwrap();
    let mut buffer = [0; 10];
    assert_eq!(host::socket::receive_some(&there, &mut buffer, false), Ok((5, 5)));
    assert_eq!(client.bind(dir, b"socket", 1, 0o750, uid, gid).unwrap_err(), abi::Errno::EADDRINUSE);
    assert_eq!(client.connect(dir, 1).unwrap_err(), abi::Errno::ECONNREFUSED);
    let fifo = OpenHow { read: true, fifo: true, ..OpenHow::default() };
    assert!(client.open(dir, &[b"fifo"], fifo).unwrap().fd.is_some());
    assert_eq!(client.open(dir, &[b"socket"], fifo).unwrap_err(), abi::Errno::ENXIO);
    client.change(vec![Change::Unlink { dir, name: b"socket".as_slice().into() }]).unwrap();
}

/// The folder itself: what is mounted below it stays with the gofer.
fn gives_away(client: Client, user: bool) -> Arc<Inode> {
    let donation = client.donate(0).unwrap();
    assert_eq!((donation.covered.len(), donation.same_ids), (1, user));
    assert_eq!(client.donate(1).unwrap_err(), abi::Errno::EOPNOTSUPP);
    let open = |path: &str| host::beneath::open(&donation.root, path.as_bytes(), host::file::O_RDONLY, false);
    open("sub/file").unwrap();
    assert_eq!(open("covered/inner").unwrap_err(), abi::Errno::ENOENT);
    assert_eq!(open("../etc").unwrap_err(), abi::Errno::EXDEV);
    let options = filesystems::gofer::Options { direct: true, ..Default::default() };
    let root = filesystems::gofer::mount(Arc::new(client), 0, options).unwrap();
    let mut done = 0;
    let mut io = Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done);
    let mut find = |dir: &Arc<Inode>, name: &str| dir.ops.dir().unwrap().lookup(&mut io, name.as_bytes()).unwrap();
    let covered = find(&root, "covered").unwrap();
    assert!(find(&covered, "inner").is_some());
    assert!(find(&covered, "under").is_none());
    let sub = find(&root, "sub").unwrap();
    assert!(find(&sub, "file").is_some());
    root
}

fn has_no_rights_left(pid: i32, user: bool) {
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default().to_owned()
        };
        // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, MKNOD, SETFCAP.
        let keep = format!("{:016x}", 0b1_1111 | 1 << 27 | 1 << 31);
        assert_eq!((field("CapEff:"), field("CapPrm:")), (keep.clone(), keep.clone()), "user namespace: {user}");
        assert_eq!(field("CapBnd:"), keep);
        assert_eq!(field("CapInh:"), format!("{:016x}", 0));
        assert_eq!((field("NoNewPrivs:"), field("Seccomp:")), ("1".into(), "2".into()));
    }
    let root = Path::new("/proc").join(pid.to_string()).join("root");
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 0, "its root is empty");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    assert_eq!(maps.lines().count(), 1, "it sees no mounts: {maps}");
}
