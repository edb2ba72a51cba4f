//! Shared memory segments: shmget(2), shmat(2), shmdt(2), shmctl(2).

use crate::sysv::{IPC_INFO, IPC_RMID, IPC_SET, IPC_STAT, IpcPerm, now, objects, set, show};
use abi::Errno;
use abi::mm::*;
use kernel::cred::{Cap, UserNs};
use kernel::ipc::sysv::{
    Access, IPC_PRIVATE, Made, Object, Perm, SHM_DEST, SHM_LOCKED, Segment, SysV, kept, limits, segment_of,
};
use kernel::mm::{MapFile, MapRequest};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

const SHM_RDONLY: u32 = 0o10000;
const SHM_RND: u32 = 0o20000;
const SHM_REMAP: u32 = 0o40000;
const SHM_EXEC: u32 = 0o100000;
const SHM_HUGETLB: u32 = 0o4000;
const SHM_LOCK: u32 = 11;
const SHM_UNLOCK: u32 = 12;
const SHM_STAT: u32 = 13;
const SHM_INFO: u32 = 14;
const SHM_STAT_ANY: u32 = 15;
/// What a segment can really be: a file's size.
const MAX_SIZE: u64 = i64::MAX as u64 - PAGE_SIZE;

/// `struct shmid64_ds`, 112 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct ShmidDs {
    perm: IpcPerm,
    segsz: u64,
    atime: i64,
    dtime: i64,
    ctime: i64,
    cpid: i32,
    lpid: i32,
    nattch: u64,
    unused: [u64; 2],
}

/// `struct shminfo64`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct ShmInfo64 {
    shmmax: u64,
    shmmin: u64,
    shmmni: u64,
    shmseg: u64,
    shmall: u64,
    unused: [u64; 4],
}

/// `struct shm_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct ShmInfo {
    used_ids: i32,
    pad: i32,
    shm_tot: u64,
    shm_rss: u64,
    shm_swp: u64,
    swap: [u64; 2],
}

pub fn sys_shmget(call: &mut Call<'_>, [key, size, flags, ..]: Args) -> Op<Ret> {
    let (key, flags) = (key as i32, flags as u32);
    let cred = call.task.cred();
    let creator = call.task.group.id();
    let sysv = objects(call);
    let check = |s: &Segment| if size > s.size { fail(Errno::EINVAL) } else { Ok(()) };
    let mut made = false;
    let make = || {
        // The pool of huge pages is empty.
        if flags & SHM_HUGETLB != 0 {
            return fail(Errno::ENOMEM);
        }
        if size == 0 || size > MAX_SIZE.min(limits::of(&sysv.limits.shmmax)) {
            return fail(Errno::EINVAL);
        }
        made = true;
        Segment::new(size, Perm::new(key, flags, &cred), creator, now())
    };
    let id = sysv.shm.get(key, flags, &cred, check, make)?;
    if made {
        kept(&call.task.group.shm_made, Made::default)?.note(&sysv, id);
    }
    Ok(id.into())
}

pub fn sys_shmat(call: &mut Call<'_>, [id, addr, flags, ..]: Args) -> Op<Ret> {
    let (id, flags) = (id as i32, flags as u32);
    let sysv = objects(call);
    let read_only = flags & SHM_RDONLY != 0;
    let at = match addr {
        0 if flags & SHM_REMAP != 0 => return fail(Errno::EINVAL),
        0 => 0,
        _ if flags & SHM_RND != 0 => page_down(addr),
        _ if page_aligned(addr) => addr,
        _ => return fail(Errno::EINVAL),
    };
    let segment = sysv.shm.by_id(id)?;
    let cred = call.task.cred();
    segment.with_perm(|p| p.check(&cred, if read_only { Access::Read } else { Access::Both }))?;
    let file = segment.open(&sysv, id, read_only);
    let mut prot = if read_only { PROT_READ } else { PROT_READ | PROT_WRITE };
    if flags & SHM_EXEC != 0 {
        prot |= PROT_EXEC;
    }
    let place = match (at, flags & SHM_REMAP) {
        (0, _) => 0,
        (_, 0) => MAP_FIXED_NOREPLACE,
        _ => MAP_FIXED,
    };
    let map = MapFile {
        file,
        offset: 0,
        fd: segment.host_file().clone(),
        host_offset: 0,
        local: true,
        may_exec: true,
        may_write: !read_only,
        rest: None,
    };
    let ask = MapRequest { addr: at, len: segment.size, prot, flags: MAP_SHARED | place, file: Some(map) };
    let seen = if at == 0 { 0 } else { segment.size };
    let (mm, asker) = crate::mem::up_to_date(call, [(at, seen)])?;
    let work = mm.plan(|s| s.mmap(ask, &asker)).map_err(|e| if e == Errno::EEXIST { Errno::EINVAL } else { e })?;
    {
        let mut state = segment.state.lock();
        state.attached_at = now();
        state.last = call.task.group.id();
    }
    crate::mem::perform(call, mm, work)
}

pub fn sys_shmdt(call: &mut Call<'_>, [addr, ..]: Args) -> Op<Ret> {
    let (mm, asker) = crate::mem::up_to_date(call, [(addr, 1)])?;
    let area = mm.area_at(addr).filter(|a| a.range.start == addr).ok_or(Errno::EINVAL)?;
    let kernel::mm::Content::File(content) = &area.content else { return fail(Errno::EINVAL) };
    let segment = segment_of(&content.file).filter(|_| content.offset == 0).ok_or(Errno::EINVAL)?;
    let work = mm.plan(|s| s.unmap_file(addr, segment.size, &content.file, &asker))?;
    {
        let mut state = segment.state.lock();
        state.detached_at = now();
        state.last = call.task.group.id();
    }
    crate::mem::perform(call, mm, work)
}

pub fn sys_shmctl(call: &mut Call<'_>, [id, cmd, buf, ..]: Args) -> Op<Ret> {
    let (id, cmd) = (id as i32, cmd as u32);
    let sysv = objects(call);
    let cred = call.task.cred();
    match cmd {
        IPC_INFO => {
            let info = ShmInfo64 {
                shmmax: limits::of(&sysv.limits.shmmax),
                shmmin: 1,
                shmmni: limits::of(&sysv.shm.max),
                shmseg: limits::of(&sysv.shm.max),
                shmall: limits::of(&sysv.shm.room),
                ..ShmInfo64::default()
            };
            call.put(buf, &info)?;
            Ok(last_index(&sysv).into())
        }
        SHM_INFO => {
            let all = sysv.shm.list();
            let pages = sysv.shm.taken();
            let info = ShmInfo { used_ids: all.len() as i32, shm_tot: pages, shm_rss: pages, ..ShmInfo::default() };
            call.put(buf, &info)?;
            Ok(last_index(&sysv).into())
        }
        IPC_STAT | SHM_STAT | SHM_STAT_ANY => {
            let (id, segment) = if cmd == IPC_STAT { (0, sysv.shm.by_id(id)?) } else { sysv.shm.by_index(id)? };
            if cmd != SHM_STAT_ANY {
                segment.with_perm(|p| p.check(&cred, Access::Read))?;
            }
            let status = status(&cred.user_ns, &segment);
            call.put(buf, &status)?;
            Ok(id.into())
        }
        IPC_SET => {
            let from = call.get::<ShmidDs>(buf)?;
            let segment = sysv.shm.by_id(id)?;
            set(&cred, &from.perm, |apply| {
                let mut state = segment.state.lock();
                apply(&mut state.perm)?;
                state.changed_at = now();
                Ok(())
            })?;
            Ok(().into())
        }
        IPC_RMID => {
            let segment = sysv.shm.by_id(id)?;
            segment.with_perm(|p| {
                p.check_owner(&cred)?;
                p.mode |= SHM_DEST;
                p.key = IPC_PRIVATE;
                Op::Ok(())
            })?;
            sysv.shm.forget_key(id);
            if segment.attachments() == 0 {
                drop(sysv.shm.remove(id));
            }
            Ok(().into())
        }
        SHM_LOCK | SHM_UNLOCK => {
            let segment = sysv.shm.by_id(id)?;
            // The host is not asked to lock memory; who may is told so, as mlock(2) tells.
            segment.with_perm(|p| {
                if !cred.has(Cap::IpcLock) {
                    p.check_owner(&cred)?;
                }
                p.mode = if cmd == SHM_LOCK { p.mode | SHM_LOCKED } else { p.mode & !SHM_LOCKED };
                Op::Ok(())
            })?;
            Ok(().into())
        }
        _ => fail(Errno::EINVAL),
    }
}

fn last_index(sysv: &SysV) -> i32 {
    sysv.shm.list().iter().map(|(id, _)| id % 32_768).max().unwrap_or(0)
}

fn status(ns: &UserNs, segment: &Arc<Segment>) -> ShmidDs {
    let nattch = segment.attachments() as u64;
    let perm = show(ns, &segment.with_perm(|p| p.clone()));
    let state = segment.state.lock();
    ShmidDs {
        perm,
        segsz: segment.size,
        atime: state.attached_at,
        dtime: state.detached_at,
        ctime: state.changed_at,
        cpid: state.creator,
        lpid: state.last,
        nattch,
        ..ShmidDs::default()
    }
}
