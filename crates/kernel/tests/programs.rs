//! Real programs of this machine on loader, memory map and platform, with a task of some thirty calls in place of `kernel::task`.
//!
//! `cargo test -p kernel --test programs` runs what is installed of: true, echo, cat, ls, busybox, bash. `-- PATH ARGS...` runs one
//! program. It needs unshare(1) and the right to make namespaces. One thread, one process a program; files are the host's, read only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use abi::Errno;
use abi::fs::{Dirent64, OpenFlags, Stat};
use abi::mm::MAP_ANONYMOUS;
use abi::nr;
use host::HostFd;
use kernel::cred::{Cred, UserNs};
use kernel::loader::{self, ArgStrings, Ids, Place, Random};
use kernel::mm::{Asker, Bounds, MapFile, MapRequest, Mm, RemapRequest, Requester, State, Work};
use kernel::vfs::{Backing, File, FileOps, Mappable, Rights};
use kernel::{Io, Op, Sink, fail};
use platform::{Config, Event, Guest, Platform, Script, Then, Thread};
use std::any::Any;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use zerocopy::IntoBytes;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--test-threads").collect();
    if args.first().is_some_and(|a| a == "run-guest") {
        return run_guest(args[1..].to_vec());
    }
    if args.first().is_some_and(|a| a.starts_with('/')) {
        let (status, output) = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        println!("{output}");
        std::process::exit(status);
    }
    let programs: &[(&[&str], &str)] = &[
        (&["/bin/true"], ""),
        (&["/bin/echo", "hello", "world"], "hello world\n"),
        (&["/bin/cat", "/proc/sys/kernel/ostype"], "Linux\n"),
        (&["/bin/busybox", "echo", "static"], "static\n"),
        (&["/bin/bash", "--norc", "-c", "x=5; for i in 1 2 3; do x=$((x * i)); done; echo $x"], "30\n"),
        (&["/usr/bin/perl", "-e", "my @a = map { $_ * 2 } 1..100000; print scalar(@a), qq{\\n}"], "100000\n"),
        (&["/usr/bin/python3", "-S", "-c", "print(sum(range(1000000)))"], "499999500000\n"),
    ];
    let mut failed = 0;
    for (command, want) in programs.iter().filter(|(c, _)| Path::new(c[0]).exists()) {
        let (status, output) = run(command);
        let ok = status == 0 && output == *want;
        println!("{} {}", if ok { "ok    " } else { "FAILED" }, command.join(" "));
        if !ok {
            println!("status {status}, output: {output}");
            failed += 1;
        }
    }
    std::process::exit(i32::from(failed > 0));
}

fn run(command: &[&str]) -> (i32, String) {
    let output = Command::new("timeout")
        .args(["-k", "1", "30", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().unwrap())
        .arg("run-guest")
        .args(command)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

/// A file of the host.
struct HostFile(std::fs::File);

impl FileOps for HostFile {
    fn read(&self, _io: &mut Io<'_>, at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let mut buffer = vec![0; to.left().min(65536)];
        let count = self.0.read_at(&mut buffer, at.unwrap_or(0)).map_err(Errno::from)?;
        to.put(&buffer[..count])
    }
    fn mappable(&self) -> Option<&dyn Mappable> {
        Some(self)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Mappable for HostFile {
    fn backing(&self, _io: &mut Io<'_>, _range: std::ops::Range<u64>, _rights: Rights) -> Op<Backing> {
        let fd = HostFd::new(self.0.try_clone().map_err(Errno::from)?.into());
        Ok(Backing::Host { fd, offset: 0, local: true })
    }
}

fn open(path: &Path) -> Op<Arc<File>> {
    let file = std::fs::File::open(path).map_err(Errno::from)?;
    Ok(File::anonymous(Arc::new(HostFile(file)), OpenFlags::empty()))
}

fn with_io<T>(f: impl FnOnce(&mut Io<'_>) -> Op<T>) -> Op<T> {
    let mut done = 0;
    f(&mut Io::kernel(Arc::new(Cred::root(UserNs::initial())), &mut done))
}

struct Guesty {
    program: loader::Program,
    trace: bool,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    mm: Option<Arc<Mm>>,
    files: HashMap<u64, (Arc<File>, u64)>,
    ending: Option<kernel::mm::Ending>,
    framed: bool,
    waiting: Option<(u32, [u64; 6])>,
}

impl Requester for Guesty {
    fn requests(&self) -> u64 {
        0
    }
}

fn run_guest(args: Vec<String>) {
    let argv: Vec<Vec<u8>> = args.iter().map(|a| a.clone().into_bytes()).collect();
    let envp = vec![b"PATH=/bin:/usr/bin".to_vec(), b"LC_ALL=C".to_vec()];
    let strings = ArgStrings::new(argv, envp, 8 << 20).unwrap();
    let file = open(Path::new(&args[0])).unwrap();
    let mut opener = |_: &mut Io<'_>, path: &[u8]| open(Path::new(std::ffi::OsStr::from_bytes(path)));
    let program = with_io(|io| loader::prepare(io, &mut opener, file, args[0].as_bytes(), strings)).unwrap();
    let platform = Platform::start(Config::default()).unwrap_or_else(|e| panic!("{e}"));
    platform.run().unwrap();
    let trace = std::env::var_os("TRACE").is_some();
    platform.fresh(Arc::new(Guesty { program, trace, state: Mutex::default() }), None);
    platform::flush();
    loop {
        std::thread::park();
    }
}

const FRAMED: [u32; 10] = [
    nr::MMAP,
    nr::MUNMAP,
    nr::MPROTECT,
    nr::BRK,
    nr::MREMAP,
    nr::MADVISE,
    nr::MSYNC,
    nr::MINCORE,
    nr::ARCH_PRCTL,
    nr::MLOCK,
];

impl Guest for Guesty {
    fn born(self: Arc<Self>, thread: Arc<Thread>) {
        let place = Place::of(thread.space(), 8 << 20, true, Random::draw());
        let ids = Ids { uid: 0, euid: 0, gid: 0, egid: 0, secure: false };
        let image = self.program.load(&place, ids).unwrap();
        if self.trace {
            eprintln!("start at {:#x}, stack {:#x}", image.ip, image.sp);
        }
        let (script, state) = image.start(&thread, true).unwrap();
        let mm = Mm::with_state(thread.space().clone(), state);
        mm.enter();
        self.state.lock().unwrap().mm = Some(mm);
        thread.script(script);
    }

    fn event(self: Arc<Self>, thread: &Arc<Thread>, event: Event) {
        match event {
            Event::Syscall { nr, args, framed, .. } => {
                let mut inner = self.state.lock().unwrap();
                inner.framed = framed;
                if FRAMED.contains(&nr) && !framed {
                    inner.waiting = Some((nr, args));
                    return thread.want_frame();
                }
                drop(inner);
                self.call(thread, nr, args);
            }
            Event::Kicked => {
                let waiting = self.state.lock().unwrap().waiting.take();
                match waiting {
                    Some((nr, args)) => self.call(thread, nr, args),
                    None => thread.resume(),
                }
            }
            Event::Done { result, at } => {
                let (ending, mm) = {
                    let mut inner = self.state.lock().unwrap();
                    (inner.ending.take(), inner.mm.clone().unwrap())
                };
                if result < 0 {
                    eprintln!("operation {at} failed: {result}");
                }
                match ending {
                    Some(ending) => thread.ret(ending.value(&mm, result, at)),
                    None => std::process::exit(99),
                }
            }
            Event::Fault { sig, addr, ip, in_stub, .. } => {
                eprintln!("signal {sig}: address {addr:#x}, ip {ip:#x}, in stub: {in_stub}");
                let mm = self.state.lock().unwrap().mm.clone().unwrap();
                for line in mm.maps() {
                    eprintln!("{:x?} {} {:x} {:?}", line.range, line.permissions(), line.offset, line.label);
                }
                std::process::exit(128 + sig);
            }
        }
    }

    fn gone(self: Arc<Self>, status: i32) {
        eprintln!("the stub is gone: {status}");
        std::process::exit(98);
    }
}

impl Guesty {
    fn call(self: &Arc<Self>, thread: &Arc<Thread>, nr: u32, args: [u64; 6]) {
        let result = self.answer(thread, nr, args);
        if self.trace {
            let name = nr::name(nr).unwrap_or("?");
            eprintln!("{name}({:x?}) = {:x?}", args, result.as_ref().map(|v| v.map(|v| v as i64)));
        }
        match result {
            Ok(Some(value)) => thread.ret(value as i64),
            Ok(None) => {}
            Err(kernel::Stop::Errno(e)) => thread.ret(e.ret()),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The stub performs planned work; None: it answers.
    fn plan(
        self: &Arc<Self>,
        thread: &Arc<Thread>,
        make: impl FnOnce(&mut State, &Asker) -> Result<Work, Errno>,
    ) -> Op<Option<u64>> {
        let mm = self.state.lock().unwrap().mm.clone().unwrap();
        let this: Arc<dyn Requester> = self.clone();
        let who: Weak<dyn Requester> = Arc::downgrade(&this);
        let work = mm.plan(|s| make(s, &Asker { who, count: 0, alone: true, bounds: Bounds::NONE }))?;
        if work.is_empty() {
            return Ok(Some(work.value() as u64));
        }
        let (script, ending) = work.into_script(thread);
        self.state.lock().unwrap().ending = Some(ending);
        thread.script(script?);
        Ok(None)
    }

    fn answer(self: &Arc<Self>, thread: &Arc<Thread>, nr: u32, a: [u64; 6]) -> Op<Option<u64>> {
        let mm = self.state.lock().unwrap().mm.clone().unwrap();
        let value = |v: u64| Ok(Some(v));
        let path = |at: u64| -> Op<std::path::PathBuf> {
            let bytes = mm.cstr(at, 4096)?.ok_or(Errno::ENAMETOOLONG)?;
            Ok(std::ffi::OsStr::from_bytes(&bytes).into())
        };
        let file = |fd: u64| self.state.lock().unwrap().files.get(&fd).cloned().ok_or(Errno::EBADF);
        match nr {
            nr::MMAP => {
                let [addr, len, prot, flags, fd, offset] = a;
                let map = if flags as u32 & MAP_ANONYMOUS == 0 {
                    let (file, _) = file(fd)?;
                    let rights = Rights { write: false, shared: false };
                    let backing = with_io(|io| {
                        file.ops.mappable().ok_or(Errno::ENODEV)?.backing(io, offset..offset + len, rights)
                    })?;
                    let Backing::Host { fd, offset: start, local } = backing else { return fail(Errno::ENODEV) };
                    let host_offset = start + offset;
                    Some(MapFile { file, offset, fd, host_offset, local, may_exec: true, may_write: false, rest: None })
                } else {
                    None
                };
                let ask = MapRequest { addr, len, prot: prot as u32, flags: flags as u32, file: map };
                self.plan(thread, |s, by| s.mmap(ask, by))
            }
            nr::MUNMAP => self.plan(thread, |s, by| s.munmap(a[0], a[1], by)),
            nr::MPROTECT => self.plan(thread, |s, by| s.mprotect(a[0], a[1], a[2] as u32, by)),
            nr::MADVISE => self.plan(thread, |s, _| s.madvise(a[0], a[1], a[2] as u32)),
            nr::BRK => self.plan(thread, |s, by| Ok(s.brk(a[0], by))),
            nr::MREMAP => {
                let [addr, old_len, new_len, flags, new_addr, _] = a;
                let ask = RemapRequest { addr, old_len, new_len, flags: flags as u32, new_addr };
                self.plan(thread, |s, by| s.mremap(ask, by))
            }
            nr::ARCH_PRCTL if a[0] == 0x1002 => {
                thread.script(Script { ops: vec![platform::Op::SetFs(a[1])], then: Then::Return(0) });
                Ok(None)
            }
            nr::OPENAT => {
                let opened = open(&path(a[1])?)?;
                let mut inner = self.state.lock().unwrap();
                let fd = (3..).find(|fd| !inner.files.contains_key(fd)).unwrap();
                inner.files.insert(fd, (opened, 0));
                value(fd)
            }
            nr::CLOSE => value(self.state.lock().unwrap().files.remove(&a[0]).map_or(0, |_| 0)),
            nr::READ | nr::PREAD64 => {
                let (file, at) = file(a[0])?;
                let at = if nr == nr::PREAD64 { a[3] } else { at };
                let mut sink = kernel::mm::UserBuffers::one(mm.clone(), a[1], a[2]);
                let count = with_io(|io| file.ops.read(io, Some(at), &mut sink))?;
                if nr == nr::READ {
                    self.state.lock().unwrap().files.insert(a[0], (file, at + count as u64));
                }
                value(count as u64)
            }
            nr::LSEEK => {
                let (file, at) = file(a[0])?;
                let to = if a[2] == 0 { a[1] } else { at.wrapping_add(a[1]) };
                self.state.lock().unwrap().files.insert(a[0], (file, to));
                value(to)
            }
            nr::FSTAT | nr::NEWFSTATAT | nr::STAT => {
                let (name, to) = match nr {
                    nr::FSTAT => (Default::default(), a[1]),
                    nr::STAT => (path(a[0])?, a[1]),
                    _ => (path(a[1])?, a[2]),
                };
                let fd = a[0];
                let meta = if !name.as_os_str().is_empty() {
                    std::fs::metadata(name)
                } else if fd < 3 {
                    std::fs::metadata("/dev/null")
                } else {
                    let (file, _) = file(fd)?;
                    file.ops.as_any().downcast_ref::<HostFile>().unwrap().0.metadata()
                };
                let meta = meta.map_err(Errno::from)?;
                let stat = Stat {
                    st_dev: meta.dev(),
                    st_ino: meta.ino(),
                    st_nlink: meta.nlink(),
                    st_mode: meta.mode(),
                    st_size: meta.size() as i64,
                    st_blksize: 4096,
                    ..Stat::default()
                };
                mm.write_exact(to, stat.as_bytes())?;
                value(0)
            }
            nr::GETDENTS64 => {
                let (dir, at) = file(a[0])?;
                let host = dir.ops.as_any().downcast_ref::<HostFile>().unwrap();
                let link = std::os::fd::AsRawFd::as_raw_fd(&host.0);
                let mut names: Vec<_> = std::fs::read_dir(format!("/proc/self/fd/{link}"))
                    .map_err(Errno::from)?
                    .map(|e| e.unwrap().file_name())
                    .collect();
                names.sort();
                let (mut out, mut next) = (Vec::new(), at);
                for name in names.iter().skip(at as usize) {
                    next += 1;
                    let entry = Dirent64 { ino: 1, off: next as i64, typ: 0, name: name.as_bytes() };
                    if !entry.append(&mut out, a[2] as usize) {
                        next -= 1;
                        break;
                    }
                }
                self.state.lock().unwrap().files.insert(a[0], (dir, next));
                mm.write_exact(a[1], &out)?;
                value(out.len() as u64)
            }
            nr::READLINK => {
                let target = std::fs::read_link(path(a[0])?).map_err(Errno::from)?;
                let bytes = target.as_os_str().as_bytes();
                let bytes = &bytes[..bytes.len().min(a[2] as usize)];
                mm.write_exact(a[1], bytes)?;
                value(bytes.len() as u64)
            }
            nr::GETCWD => {
                mm.write_exact(a[0], b"/\0")?;
                value(2)
            }
            nr::WRITE => {
                use std::io::Write;
                let mut buffer = vec![0; a[2].min(1 << 20) as usize];
                let count = mm.read(a[1], &mut buffer)?;
                let _ = std::io::stdout().write_all(&buffer[..count]);
                let _ = std::io::stdout().flush();
                value(count as u64)
            }
            nr::EXIT_GROUP => {
                compare_with_host(&mm);
                std::process::exit(a[0] as i32)
            }
            nr::GETRANDOM => {
                mm.write_exact(a[0], &vec![5; a[1].min(256) as usize])?;
                value(a[1])
            }
            nr::PRLIMIT64 if a[3] != 0 => {
                mm.write_exact(a[3], [8u64 << 20, u64::MAX].as_bytes())?;
                value(0)
            }
            nr::SET_TID_ADDRESS | nr::GETPID | nr::GETTID => value(1),
            nr::GETUID | nr::GETEUID | nr::GETGID | nr::GETEGID | nr::GETPPID | nr::GETPGRP => value(0),
            nr::RT_SIGPROCMASK | nr::RT_SIGACTION | nr::SET_ROBUST_LIST | nr::FADVISE64 | nr::FCNTL => value(0),
            nr::SIGALTSTACK => value(0),
            nr::IOCTL => fail(Errno::ENOTTY),
            nr::ACCESS | nr::STATFS => fail(Errno::ENOENT),
            _ => fail(Errno::ENOSYS),
        }
    }
}

/// The map says what the host's own map of the stub process says: addresses and permissions.
fn compare_with_host(mm: &Mm) {
    let text = std::fs::read_to_string(format!("/proc/{}/maps", mm.space().host_pid())).unwrap();
    let top = mm.space().user_top();
    let mut host: Vec<(u64, u64, String)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (start, end) = words.next().unwrap().split_once('-').unwrap();
        let number = |s: &str| u64::from_str_radix(s, 16).unwrap();
        join(&mut host, number(start), number(end), words.next().unwrap()[..3].to_owned());
    }
    host.retain(|(start, ..)| *start < top);
    let mut own = Vec::new();
    for line in mm.maps().into_iter().filter(|l| l.range.start < top) {
        join(&mut own, line.range.start, line.range.end, line.permissions()[..3].to_owned());
    }
    if own != host {
        println!("own map: {own:x?}\nhost's map: {host:x?}");
        std::process::exit(97);
    }
}

fn join(list: &mut Vec<(u64, u64, String)>, start: u64, end: u64, permissions: String) {
    match list.last_mut() {
        Some(last) if last.1 == start && last.2 == permissions => last.1 = end,
        _ => list.push((start, end, permissions)),
    }
}
