//! execve(2): a new program in the task's process.
//!
//! What may fail or wait comes first (`Image::open`); `exec_on` is the point of no return. A process with one thread and an address
//! space of its own execs in place, in its stub process; any other gets a fresh one. Neighbours: `loader` (ELF and scripts).

use super::clone::Birth;
use super::drive::{Phase, Run};
use super::{Task, ThreadGroup};
use crate::call::{Next, OnDone};
use crate::cred::{CapSet, Cred};
use crate::io::Io;
use crate::loader::{self, ArgStrings};
use crate::mm::Mm;
use crate::op::{Op, fail};
use crate::signal::{AltStack, SIGKILL};
use crate::vfs::{self, Base, Executed, File, FileType, WalkFlags};
use abi::Errno;
use abi::fs::OpenFlags;
use platform::{Platform, Script, Thread};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// A program that is ready to be started: read, checked, its credentials worked out.
pub struct Image {
    loaded: loader::Image,
    file: Arc<File>,
    exe: Arc<Executed>,
    cred: Cred,
    /// AT_SECURE: the program has rights that its caller has not.
    secure: bool,
    comm: Vec<u8>,
    end: u64,
}

/// What is to be executed.
pub struct ExecRequest<'a> {
    pub base: &'a Base,
    pub path: &'a [u8],
    /// What the program is told of it (AT_EXECFN), and a script's interpreter.
    pub name: &'a [u8],
    /// That name leads nowhere once the program runs: of a descriptor that is closed then. A script cannot be interpreted so.
    pub vanishes: bool,
    /// `FOLLOW`, and `EMPTY` for execveat(2).
    pub flags: WalkFlags,
    /// Somebody traces the caller who may not trace a program with more rights: it gets none.
    pub watched: bool,
    pub args: ArgStrings,
}

/// Opens a file for execution: a regular file with permission to execute, on a mount without noexec. It need not be readable.
fn open_exec(io: &mut Io<'_>, base: &Base, path: &[u8], flags: WalkFlags) -> Op<Arc<File>> {
    let path = vfs::walk(io, base, path, flags)?;
    let inode = path.inode()?;
    if inode.kind == FileType::Symlink {
        return fail(Errno::ELOOP);
    }
    let noexec = path.mount.flags() & abi::fs::MS_NOEXEC != 0;
    if inode.kind != FileType::Regular || noexec {
        return fail(Errno::EACCES);
    }
    vfs::access::check(io, &inode, vfs::access::EXEC)?;
    vfs::may_execute(&inode)?;
    let flags = OpenFlags::empty();
    let ops = inode.ops.open(io, &inode, flags)?;
    Ok(File::opened(path, inode, ops, flags))
}

const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

impl Image {
    /// Everything about an exec that may fail or wait. `old` are the caller's credentials.
    pub fn open(
        io: &mut Io<'_>,
        platform: &Platform,
        limits: &super::Limits,
        personality: u32,
        old: &Cred,
        request: ExecRequest<'_>,
    ) -> Op<Image> {
        let ExecRequest { base, path, name, vanishes, flags, watched, args } = request;
        let file = open_exec(io, base, path, flags)?;
        // By a descriptor alone: Linux 6.14.
        let own_name = file.path.as_ref().filter(|_| path.is_empty()).map(|place| place.dentry.name());
        if vanishes && loader::is_script(io, &file)? {
            return fail(Errno::ENOENT);
        }
        let mut open = |io: &mut Io<'_>, path: &[u8]| open_exec(io, base, path, WalkFlags::FOLLOW);
        let program = loader::prepare(io, &mut open, file, name, args)?;
        let exe = Executed::new(program.file.path.clone().ok_or(Errno::EACCES)?)?;
        let (cred, secure) = credentials(io, &program.file, old, watched)?;
        let ids = loader::Ids { uid: cred.uid, euid: cred.euid, gid: cred.gid, egid: cred.egid, secure };
        let place = loader::Place {
            top: platform.user_top(),
            vdso: platform.vdso(),
            arena: platform.arena(),
            stack_limit: limits.get(super::Resource::Stack).soft,
            randomize: personality & ADDR_NO_RANDOMIZE == 0,
            random: loader::Random::draw(),
        };
        let loaded = program.load(&place, ids)?;
        let end = program.end();
        Ok(Image {
            loaded,
            file: program.file,
            exe,
            cred,
            secure,
            comm: own_name.map_or(program.comm, |name| name.to_vec()),
            end,
        })
    }

    /// The program's file, for messages.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// So long must the program's file be to hold all that its headers name; Linux starts a shorter one all the same.
    pub fn end(&self) -> u64 {
        self.end
    }
}

const SECBIT_NOROOT: u32 = 1;
const SECBIT_KEEP_CAPS: u32 = 1 << 4;

/// File capabilities of the attribute security.capability, capabilities(7): permitted, inheritable, effective bit.
fn file_capabilities(io: &mut Io<'_>, file: &File) -> Option<(CapSet, CapSet, bool)> {
    let inode = file.inode.as_ref()?;
    let data = inode.ops.xattr()?.get(io, b"security.capability").ok()?;
    let word = |at: usize| Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?));
    let magic = word(0)?;
    if !matches!(magic >> 24, 2 | 3) {
        return None;
    }
    let join = |low: u32, high: u32| CapSet(u64::from(low) | u64::from(high) << 32).and(CapSet::FULL);
    Some((join(word(4)?, word(12)?), join(word(8)?, word(16)?), magic & 1 != 0))
}

/// What the program runs with, and whether it is more than its caller had.
fn credentials(io: &mut Io<'_>, file: &Arc<File>, old: &Cred, watched: bool) -> Op<(Cred, bool)> {
    let mut new = old.clone();
    let inode = file.inode.as_ref().ok_or(Errno::EACCES)?;
    let attr = inode.attr(io)?;
    // Mounts of other namespaces are as nosuid: of what is there, the task's own namespace does not answer for.
    let own = Task::of(io).map(|task| task.namespaces().mount);
    let nosuid = file.path.as_ref().is_some_and(|place| {
        let ns = place.mount.tree.read().ns.clone();
        place.mount.flags() & abi::fs::MS_NOSUID != 0 || own.is_some_and(|own| Arc::as_ptr(&own) != ns.as_ptr())
    });
    let privileged = !nosuid && !old.no_new_privs && !watched;
    let mapped = old.user_ns.maps_uid(attr.uid) && old.user_ns.maps_gid(attr.gid);
    if privileged && mapped {
        if attr.perm & 0o4000 != 0 {
            new.euid = attr.uid;
        }
        if attr.perm & 0o2010 == 0o2010 {
            new.egid = attr.gid;
        }
    }
    // Set-user-id programs, and what runs with others' rights already.
    let set_id = (new.euid, new.egid) != (old.euid, old.egid) || (new.euid, new.egid) != (new.uid, new.gid);
    (new.suid, new.fsuid) = (new.euid, new.euid);
    (new.sgid, new.fsgid) = (new.egid, new.egid);
    let root = old.user_ns.uid_from(0).unwrap_or(u32::MAX);
    let (mut permitted, mut inheritable, mut effective) = (CapSet::EMPTY, CapSet::EMPTY, false);
    let mut has_file_caps = false;
    if privileged && let Some((p, i, e)) = file_capabilities(io, file) {
        (permitted, inheritable, effective) = (p, i, e);
        has_file_caps = true;
    }
    let as_root = new.securebits & SECBIT_NOROOT == 0 && (new.euid == root || new.uid == root);
    // A set-user-id-root program with file capabilities gets those alone.
    if as_root && !(has_file_caps && new.uid != root) {
        permitted = CapSet::FULL;
        inheritable = CapSet::FULL;
        effective = new.euid == root;
    }
    new.ambient = if has_file_caps || set_id { CapSet::EMPTY } else { old.ambient };
    new.permitted = old.inheritable.and(inheritable).or(permitted.and(old.bounding)).or(new.ambient);
    if old.no_new_privs {
        new.permitted = new.permitted.and(old.permitted);
    }
    new.effective = if effective { new.permitted } else { new.ambient };
    new.securebits &= !SECBIT_KEEP_CAPS;
    let secure = set_id || new.uid != root && (effective || !new.ambient.contains(new.permitted));
    Ok((new, secure))
}

impl Task {
    /// Hands the image to a fresh stub process; this host thread ends when that is there.
    pub fn exec_fresh(self: &Arc<Self>, image: Box<Image>) {
        if let Some(mm) = self.mm().filter(|mm| mm.users() <= 1) {
            self.keep_peak(&mm);
        }
        self.fields.lock().birth = Some(Birth::Exec(image));
        self.kernel.platform.fresh(self.clone(), self.group.container.nursery.as_ref());
    }

    /// exec of a thread that is not the leader: a new task takes the leader's place and identity, the caller ends.
    pub fn exec_as_leader(self: &Arc<Self>, image: Box<Image>) {
        let heir = self.make_heir(Birth::Exec(image));
        {
            let mut links = self.group.links.lock();
            links.leader = Some(heir.clone());
            links.tasks.push(heir.clone());
        }
        heir.join_apart(self);
        if let Some(mm) = self.mm() {
            self.keep_peak(&mm);
        }
        self.release_vfork_to(&heir);
        self.leave_tracer_to(&heir);
        self.kernel.platform.fresh(heir, self.group.container.nursery.as_ref());
    }

    /// exec in place: what the calling thread's stub has to do.
    pub fn exec_in_place(self: &Arc<Self>, thread: &Arc<Thread>, image: Image) -> Op<(Script, OnDone)> {
        let script = self.become_program(thread, image, true)?;
        Ok((script, died_in_exec()))
    }

    /// A fresh stub process waits for its program.
    pub(super) fn exec_on(self: &Arc<Self>, mut run: Box<Run>, thread: &Arc<Thread>, image: Image) {
        match self.become_program(thread, image, false) {
            Ok(script) => {
                self.call_back(thread);
                thread.script(script);
                run.phase = Phase::Stub(Some(died_in_exec()));
            }
            Err(_) => self.group.begin_exit(super::ExitStatus::Signal { sig: SIGKILL, core: false }),
        }
        self.drive(run);
    }

    /// The point of no return: the task takes on the program; the script maps it, with `old` over another program's memory.
    fn become_program(self: &Arc<Self>, thread: &Arc<Thread>, image: Image, old: bool) -> Op<Script> {
        let Image { loaded, file, exe, cred, secure, comm, .. } = image;
        let (script, state) = loaded.start(thread, old)?;
        thread.space().forget_rewritten();
        let mm = match self.mm().filter(|_| old) {
            Some(before) => before.succeed(state),
            None => Mm::with_state(thread.space().clone(), state),
        };
        if !old {
            let limits = self.group.limits();
            let [space, data] = [super::Resource::As, super::Resource::Data].map(|what| limits.get(what).soft);
            if space.min(data) != super::Limits::INFINITY {
                mm.limit_host(space, data)?;
            }
        }
        mm.enter();
        let old_mm = {
            let mut fields = self.fields.lock();
            fields.handler = None;
            fields.clear_tid = 0;
            fields.mm.replace(mm)
        };
        if let Some(old) = &old_mm {
            old.leave();
        }
        let files = self.files();
        if Arc::strong_count(&files) > 2 {
            self.set_files(Arc::new(files.copy()));
        }
        drop(self.files().remove_where(|_, fd| fd.cloexec));
        {
            let mut group = self.group.signals.lock();
            group.actions.reset_handlers();
            let mut mine = self.signals.lock();
            let flags = mine.altstack.flags;
            mine.set_altstack(AltStack { flags, ..AltStack::UNSET });
            if let Some(mask) = mine.saved_mask.take() {
                mine.mask.set(mask);
            }
        }
        if let Some(timers) = self.group.timers.get() {
            timers.exec();
        }
        self.set_robust_list(0);
        super::pi::owner_died(self);
        let old_cred = self.cred();
        let changes = (cred.euid, cred.egid, cred.fsuid, cred.fsgid)
            != (old_cred.euid, old_cred.egid, old_cred.fsuid, old_cred.fsgid)
            || !old_cred.permitted.contains(cred.permitted);
        if secure || changes {
            self.set_death_signal(0);
        }
        // What its user may not read, its user may not dump either.
        let mut done = 0;
        let may_read = file.inode.as_ref().is_some_and(|inode| {
            let mut io = Io::kernel(Arc::new(cred.clone()), &mut done);
            vfs::access::check(&mut io, inode, vfs::access::READ).is_ok()
        });
        let own = cred.euid == cred.uid && cred.egid == cred.gid;
        self.group.dumpable.store(i32::from(own && !changes && may_read), Relaxed);
        self.set_cred(cred);
        self.set_comm(&comm);
        let old_exe = self.group.exe.lock().replace(exe);
        drop(old_exe);
        self.group.has_exec.store(true, Relaxed);
        self.release_vfork();
        drop(old_mm);
        self.trace_exec();
        Ok(script)
    }
}

/// There is no program to go back to: what the stub could not map kills the process, as on Linux.
fn died_in_exec() -> OnDone {
    Box::new(|task, result, at| {
        observe::warn!("process {}: exec: operation {at} of its stub failed: errno {}", task.group.id(), -result);
        task.group.begin_exit(super::ExitStatus::Signal { sig: SIGKILL, core: false });
        Next::Value(result)
    })
}

impl ThreadGroup {
    /// Wants all threads but `keep` gone, for its exec.
    pub fn zap_others(&self, keep: &Arc<Task>) {
        for task in self.tasks() {
            if !Arc::ptr_eq(&task, keep) {
                task.zap();
            }
        }
    }
}
