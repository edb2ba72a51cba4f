//! A program of a container: credentials, limits, descriptors, and the search for its file (spec section 13).

use super::container::Container;
use crate::machine::{Failure, Kind, ProcessIo};
use crate::spec::ProcessSpec;
use abi::Errno;
use devices::console::Console;
use host::HostFd;
use kernel::cred::{CapSet, Cred, UserNs};
use kernel::fd::FdTable;
use kernel::io::Io;
use kernel::loader::ArgStrings;
use kernel::op::Stop;
use kernel::task::{ExecRequest, FsContext, Image, Limit, Limits, SpawnInit, Task, ThreadGroup};
use kernel::vfs::{self, Base, FileType, NewKind, Path, WalkFlags};
use std::sync::Arc;

/// A running program as the control server knows it.
pub struct Process {
    pub group: Arc<ThreadGroup>,
    pub console: Option<Arc<Console>>,
}

/// A program that waits to be started.
pub struct Prepared {
    image: Box<Image>,
    cred: Cred,
    limits: Limits,
    files: Arc<FdTable>,
    fs: Arc<FsContext>,
    console: Option<Arc<Console>>,
    oom_score_adj: i32,
    init: bool,
}

impl Prepared {
    pub fn new(
        container: &Container,
        user_ns: &Arc<UserNs>,
        mut spec: ProcessSpec,
        io: ProcessIo,
        init: bool,
    ) -> Result<Prepared, Failure> {
        let cred = credentials(&spec, user_ns);
        if !spec.env.iter().any(|v| v.starts_with(b"HOME=")) {
            spec.env.push([b"HOME=".as_slice(), &super::home::of(container, spec.user.uid)].concat());
        }
        let limits = limits(&spec);
        let cwd = working_folder(container, &cred, &spec)?;
        let fs = Arc::new(FsContext::new(container.root.clone(), cwd, spec.user.umask.unwrap_or(0o022)));
        let (files, console) = descriptors(container, &cred, io, &spec)?;
        let image = find_program(container, &cred, &limits, &fs, &spec)?;
        Ok(Prepared { image, cred, limits, files, fs, console, oom_score_adj: spec.oom_score_adj.unwrap_or(0), init })
    }

    /// Makes the task; it runs as soon as a stub process is there for it.
    pub fn start(self, container: &Container) -> Result<Process, Failure> {
        let init = SpawnInit {
            cred: self.cred,
            limits: self.limits,
            files: self.files,
            fs: self.fs,
            namespaces: container.namespaces.clone(),
            container: container.shared.clone(),
            seccomp: container.seccomp.clone(),
            init: self.init,
        };
        let task = Task::spawn_first(&container.kernel, &container.pid_ns, init, self.image)
            .map_err(|e| Failure::new(Kind::Other, format!("making the first task: {}", show(e))))?;
        task.group.oom_score_adj.store(self.oom_score_adj, std::sync::atomic::Ordering::Relaxed);
        if let Some(console) = &self.console {
            let failed = |e| Failure::new(Kind::Other, format!("giving the terminal to the program: {}", show(e)));
            console.make_controlling(&task).map_err(failed)?;
        }
        platform::flush();
        Ok(Process { group: task.group.clone(), console: self.console })
    }
}

/// An operation's failure for people.
pub fn show(stop: Stop) -> String {
    match stop {
        Stop::Errno(errno) => errno.to_string(),
        other => format!("{other:?}"),
    }
}

fn credentials(spec: &ProcessSpec, user_ns: &Arc<UserNs>) -> Cred {
    let user = &spec.user;
    let caps = &spec.capabilities;
    let set = |bits: u64| CapSet(bits).and(CapSet::FULL);
    // PR_CAP_AMBIENT_RAISE wants both (capabilities(7)); what it would refuse is left out, as runc does.
    let ambient = caps.ambient & caps.permitted & caps.inheritable;
    Cred {
        uid: user.uid,
        euid: user.uid,
        suid: user.uid,
        fsuid: user.uid,
        gid: user.gid,
        egid: user.gid,
        sgid: user.gid,
        fsgid: user.gid,
        groups: Arc::from(user.groups.as_slice()),
        permitted: set(caps.permitted),
        effective: set(caps.effective),
        inheritable: set(caps.inheritable),
        bounding: set(caps.bounding),
        ambient: set(ambient),
        securebits: 0,
        no_new_privs: spec.no_new_privileges,
        user_ns: user_ns.clone(),
    }
}

fn limits(spec: &ProcessSpec) -> Limits {
    let mut limits = Limits::initial();
    for limit in &spec.rlimits {
        limits.set(limit.resource as usize, Limit { soft: limit.soft, hard: limit.hard });
    }
    limits
}

/// `cwd` of the spec; made where it is missing (spec section 9).
fn working_folder(container: &Container, cred: &Cred, spec: &ProcessSpec) -> Result<Path, Failure> {
    let name = String::from_utf8_lossy(&spec.cwd).into_owned();
    let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("working directory {name}: {}", show(stop)));
    let base = Base::new(container.root.clone(), container.root.clone());
    let root = Arc::new(Cred::root(cred.user_ns.clone()));
    let mut made = Vec::new();
    for part in spec.cwd.split(|b| *b == b'/').filter(|p| !p.is_empty()) {
        made.push(b'/');
        made.extend_from_slice(part);
        let mut done = 0;
        let mut io = Io::kernel(root.clone(), &mut done);
        match vfs::walk(&mut io, &base, &made, WalkFlags::FOLLOW) {
            Ok(_) => {}
            Err(Stop::Errno(Errno::ENOENT)) => {
                vfs::namei::create(&mut io, &base, &made, NewKind::Dir, 0o755).map_err(failed)?;
            }
            Err(stop) => return Err(failed(stop)),
        }
    }
    let mut done = 0;
    let mut io = Io::kernel(Arc::new(cred.clone()), &mut done);
    let path = vfs::walk(&mut io, &base, &spec.cwd, WalkFlags::FOLLOW | WalkFlags::DIRECTORY).map_err(failed)?;
    match path.inode() {
        Ok(inode) if inode.kind == FileType::Dir => Ok(path),
        _ => Err(failed(Errno::ENOTDIR.into())),
    }
}

/// Donated streams, the terminal, and further descriptors from 3 on.
fn descriptors(
    container: &Container,
    cred: &Cred,
    io: ProcessIo,
    spec: &ProcessSpec,
) -> Result<(Arc<FdTable>, Option<Arc<Console>>), Failure> {
    let failed = |what: String| move |stop: Stop| Failure::new(Kind::Other, format!("{what}: {}", show(stop)));
    let table = Arc::new(FdTable::default());
    let console = match io.console {
        Some(fd) => {
            let (kernel, ns) = (&container.kernel, &container.namespaces.mount);
            let console =
                Console::attach(kernel, ns, container.shared.number, cred, HostFd::new(fd), spec.console_size)
                    .map_err(failed("taking over the terminal".into()))?;
            Some(Arc::new(console))
        }
        None => None,
    };
    let put = |number: i32, file| table.replace(number, file, false, 1 << 20).map(drop);
    for (number, stream) in (0..).zip(io.stdio) {
        let what = format!("standard stream {number}");
        match (stream, &console) {
            (Some(fd), _) => {
                let file = devices::host_file::open(HostFd::new(fd)).map_err(failed(what.clone()))?;
                put(number, file).map_err(failed(what))?;
            }
            (None, Some(console)) => put(number, {
                let mut done = 0;
                let mut io = Io::kernel(Arc::new(cred.clone()), &mut done);
                console.open_slave(&mut io).map_err(failed(what.clone()))?
            })
            .map_err(failed(what))?,
            (None, None) => {}
        }
    }
    for (number, fd) in (3..).zip(io.extra) {
        let what = format!("descriptor {number}");
        let file = devices::host_file::open(HostFd::new(fd)).map_err(failed(what.clone()))?;
        put(number, file).map_err(failed(what))?;
    }
    Ok((table, console))
}

/// As execvp(3): a name without a slash is looked for in PATH of the program's environment.
fn find_program(
    container: &Container,
    cred: &Cred,
    limits: &Limits,
    fs: &FsContext,
    spec: &ProcessSpec,
) -> Result<Box<Image>, Failure> {
    let name = spec.args.first().filter(|n| !n.is_empty());
    let name = name.ok_or_else(|| Failure::new(Kind::Invalid, "process.args is empty: name a program to run"))?;
    let shown = String::from_utf8_lossy(name).into_owned();
    let candidates: Vec<Vec<u8>> = if name.contains(&b'/') {
        vec![name.clone()]
    } else {
        let path = spec.env.iter().find_map(|v| v.strip_prefix(b"PATH=")).unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
        path.split(|b| *b == b':').map(|folder| [folder, b"/", name.as_slice()].concat()).collect()
    };
    let base = Base::new(container.root.clone(), fs.cwd());
    let stack = limits.get(kernel::task::Resource::Stack).soft;
    let args = ArgStrings::new(spec.args.clone(), spec.env.clone(), stack)
        .map_err(|e| Failure::new(Kind::Invalid, format!("process.args and process.env: {e}")))?;
    let mut worst = Errno::ENOENT;
    for path in &candidates {
        let request = ExecRequest {
            base: &base,
            path,
            name: path,
            vanishes: false,
            flags: WalkFlags::FOLLOW,
            watched: false,
            args: args.clone(),
        };
        let mut done = 0;
        let mut io = Io::kernel(Arc::new(cred.clone()), &mut done);
        match Image::open(&mut io, &container.kernel.platform, limits, 0, cred, request) {
            Ok(image) => {
                let size = image.file().path.as_ref().and_then(|p| p.inode().ok()?.attr(&mut io).ok()).map(|a| a.size);
                if size.is_some_and(|size| size < image.end()) {
                    worst = Errno::ENOEXEC;
                    break;
                }
                return Ok(Box::new(image));
            }
            Err(Stop::Errno(Errno::ENOENT | Errno::ENOTDIR)) => {
                if vfs::walk(&mut io, &base, path, WalkFlags::FOLLOW).is_ok() {
                    // The file is there, what it names to run it is not.
                    worst = Errno::ELIBACC;
                    break;
                }
            }
            Err(Stop::Errno(errno)) => {
                worst = errno;
                if errno != Errno::EACCES {
                    break;
                }
            }
            Err(stop) => return Err(Failure::new(Kind::Other, format!("exec: {shown}: {}", show(stop)))),
        }
    }
    Err(match worst {
        Errno::ENOENT if name.contains(&b'/') => {
            Failure::new(Kind::NotFound, format!("exec: \"{shown}\": no such file or directory in the container"))
        }
        Errno::ENOENT => Failure::new(
            Kind::NotFound,
            format!("exec: \"{shown}\": executable file not found in $PATH of the container"),
        ),
        Errno::ENOEXEC => Failure::new(
            Kind::NotExecutable,
            format!("exec: \"{shown}\": not a program that this machine can run (another architecture, or truncated)"),
        ),
        Errno::ELIBACC => Failure::new(
            Kind::NotFound,
            format!(
                "exec: \"{shown}\": no such file or directory: the interpreter that it names (after #! in a script, in PT_INTERP of a program) is not in the container"
            ),
        ),
        // Engines look for these very words.
        Errno::EACCES => Failure::new(
            Kind::NotExecutable,
            format!("exec: \"{shown}\": permission denied (no execute permission for this user, or a folder)"),
        ),
        errno => Failure::new(Kind::NotExecutable, format!("exec: \"{shown}\": {errno}")),
    })
}
