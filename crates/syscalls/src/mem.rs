//! Memory: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), mlock(2), msync(2), mincore(2), pkeys(7).
//!
//! `kernel::mm` checks a call and changes the map; what the stub must do for it goes out as a script. Where the stub fails, the
//! map is put back. All of these need the stub's hands, so their rows are `framed` but for those that only count.

use abi::Errno;
use abi::fs::{FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MS_NOEXEC};
use abi::mm::*;
use kernel::call::Next;
use kernel::cred::Cap;
use kernel::mm::{Asker, MapFile, MapRequest, Mm, RemapRequest, State, Work};
use kernel::vfs::{Backing, File, Rights};
use kernel::{Args, Call, Op, Ret, Stop, StubWork, fail};
use std::sync::Arc;

/// Plans a memory call that looks at `ranges` (address, length) of the map, and lets the stub perform it.
fn plan<const N: usize>(
    call: &Call<'_>,
    ranges: [(u64, u64); N],
    make: impl FnOnce(&mut State, &Asker) -> Result<Work, Errno>,
) -> Op<Ret> {
    let (mm, asker) = up_to_date(call, ranges)?;
    let work = mm.plan(|state| make(state, &asker))?;
    perform(call, mm, work)
}

/// The caller's address space, with a map that is right in `ranges`: all of it where limits count it all.
pub(crate) fn up_to_date<const N: usize>(call: &Call<'_>, ranges: [(u64, u64); N]) -> Op<(Arc<Mm>, Asker)> {
    let mm = call.mm()?;
    let asker = call.task.asker(&mm);
    if asker.bounds.address_space.min(asker.bounds.data) != u64::MAX {
        mm.refresh();
    } else {
        ranges.into_iter().for_each(|(at, len)| mm.refresh_at(at, len));
    }
    Ok((mm, asker))
}

/// Hands planned work to the calling thread's stub. Also for others that map memory: shmat(2), io_setup(2).
pub(crate) fn perform(call: &Call<'_>, mm: Arc<Mm>, work: Work) -> Op<Ret> {
    if work.is_empty() {
        return Ok(Ret::Value(work.value() as u64));
    }
    let thread = call.task.thread().ok_or(Errno::ESRCH)?;
    let (script, ending) = work.into_script(&thread);
    match script {
        Ok(script) => {
            let on_done = Box::new(move |_: &_, result: i64, at: u32| {
                let anew = ending.plan_anew(result);
                let value = ending.value(&mm, result, at);
                if anew { Next::Again } else { Next::Value(value) }
            });
            Ok(Ret::Stub(Box::new(StubWork::Script { script, on_done })))
        }
        // The stub takes no more files: nothing was done.
        Err(e) => Ok(Ret::Value(ending.value(&mm, e.ret(), 0) as u64)),
    }
}

pub fn sys_mmap(call: &mut Call<'_>, [addr, len, prot, flags, fd, offset]: Args) -> Op<Ret> {
    let (prot, flags) = (prot as u32, flags as u32);
    if !page_aligned(offset) {
        return fail(Errno::EINVAL);
    }
    let file = if flags & MAP_ANONYMOUS != 0 {
        None
    } else {
        let file = call.file(fd)?;
        if len == 0 {
            return fail(Errno::EINVAL);
        }
        // More than there are addresses, wherever it is in the file.
        page_up(len).filter(|len| *len <= i64::MAX as u64).ok_or(Errno::ENOMEM)?;
        map_file(call, file, prot, flags, offset, len)?
    };
    let seen = if addr == 0 && flags & (MAP_FIXED | MAP_FIXED_NOREPLACE) == 0 { 0 } else { len };
    plan(call, [(addr, seen)], |state, by| state.mmap(MapRequest { addr, len, prot, flags, file }, by))
}

/// The host file behind a mapping; None for files that give anonymous memory (/dev/zero).
fn map_file(call: &mut Call<'_>, file: Arc<File>, prot: u32, flags: u32, offset: u64, len: u64) -> Op<Option<MapFile>> {
    let shared = matches!(flags & MAP_TYPE, MAP_SHARED | MAP_SHARED_VALIDATE);
    let writes = shared && prot & PROT_WRITE != 0;
    if !file.readable() || (writes && !file.writable()) {
        return fail(Errno::EACCES);
    }
    let mappable = file.ops.mappable().ok_or(Errno::ENODEV)?;
    let range = offset..offset.checked_add(len).ok_or(Errno::EOVERFLOW)?;
    let mut may_write = shared && file.writable();
    let mut io = call.io();
    let mut backing = mappable.backing(&mut io, range.clone(), Rights { write: may_write, shared });
    if may_write && !writes && backing.as_ref().err() == Some(&Stop::Errno(Errno::EPERM)) {
        // Sealed against writing: it can be mapped for reading, for good.
        may_write = false;
        backing = mappable.backing(&mut io, range, Rights { write: false, shared });
    }
    if backing.is_ok() {
        file.touched(&mut io);
    }
    drop(io);
    let may_exec = file.path.as_ref().is_none_or(|p| p.mount.flags() & MS_NOEXEC == 0);
    Ok(match backing? {
        Backing::Host { fd, offset: host_offset, local } => {
            Some(MapFile { file, offset, fd, host_offset, local, may_exec, may_write, rest: None })
        }
        Backing::Split { fd, offset: host_offset, len, rest, local } => {
            let rest = Some((len, rest));
            Some(MapFile { file, offset, fd, host_offset, local, may_exec, may_write, rest })
        }
        Backing::Anonymous => None,
    })
}

pub fn sys_munmap(call: &mut Call<'_>, [addr, len, ..]: Args) -> Op<Ret> {
    plan(call, [(addr, len)], |state, by| state.munmap(addr, len, by))
}

pub fn sys_mprotect(call: &mut Call<'_>, [addr, len, prot, ..]: Args) -> Op<Ret> {
    plan(call, [(addr, len)], |state, by| state.mprotect(addr, len, prot as u32, by))
}

pub fn sys_mremap(call: &mut Call<'_>, [addr, old_len, new_len, flags, new_addr, _]: Args) -> Op<Ret> {
    let ask = RemapRequest { addr, old_len, new_len, flags: flags as u32, new_addr };
    plan(call, [(addr, old_len), (new_addr, new_len)], |state, by| state.mremap(ask, by))
}

pub fn sys_brk(call: &mut Call<'_>, [addr, ..]: Args) -> Op<Ret> {
    plan(call, [], |state, by| Ok(state.brk(addr, by)))
}

pub fn sys_madvise(call: &mut Call<'_>, [addr, len, advice, ..]: Args) -> Op<Ret> {
    let advice = advice as u32;
    match advice {
        MADV_REMOVE => remove(call, addr, len),
        MADV_HWPOISON | MADV_SOFT_OFFLINE if !call.task.cred().has(Cap::SysAdmin) => fail(Errno::EPERM),
        _ => plan(call, [(addr, len)], |state, _| state.madvise(addr, len, advice)),
    }
}

/// MADV_REMOVE: punches holes into the files behind a range.
fn remove(call: &mut Call<'_>, addr: u64, len: u64) -> Op<Ret> {
    let (mm, _) = up_to_date(call, [(addr, len)])?;
    let files = mm.on_map(|state| state.removable(addr, len))?;
    for (file, range) in files {
        file.ops.allocate(&mut call.io(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, range)?;
    }
    Ok(Ret::Value(0))
}

pub fn sys_mlock(call: &mut Call<'_>, [addr, len, ..]: Args) -> Op<Ret> {
    plan(call, [(addr, len)], |state, by| state.mlock(addr, len, false, by))
}

pub fn sys_mlock2(call: &mut Call<'_>, [addr, len, flags, ..]: Args) -> Op<Ret> {
    if flags & !u64::from(MLOCK_ONFAULT) != 0 {
        return fail(Errno::EINVAL);
    }
    plan(call, [(addr, len)], |state, by| state.mlock(addr, len, flags != 0, by))
}

pub fn sys_munlock(call: &mut Call<'_>, [addr, len, ..]: Args) -> Op<Ret> {
    let (mm, _) = up_to_date(call, [(addr, len)])?;
    mm.on_map(|state| state.munlock(addr, len))?;
    Ok(Ret::Value(0))
}

pub fn sys_mlockall(call: &mut Call<'_>, [flags, ..]: Args) -> Op<Ret> {
    plan(call, [(0, u64::MAX)], |state, by| state.mlockall(flags as u32, by))
}

pub fn sys_munlockall(call: &mut Call<'_>, _args: Args) -> Op<Ret> {
    call.mm()?.on_map(State::munlockall);
    Ok(Ret::Value(0))
}

pub fn sys_msync(call: &mut Call<'_>, [addr, len, flags, ..]: Args) -> Op<Ret> {
    if flags as u32 & MS_SYNC != 0 {
        let (mm, _) = up_to_date(call, [(addr, len)])?;
        for file in mm.on_map(|state| state.shared_files(addr, len)) {
            file.ops.msync(&mut call.io())?;
        }
    }
    plan(call, [(addr, len)], |state, _| state.msync(addr, len, flags as u32))
}

pub fn sys_mincore(call: &mut Call<'_>, [addr, len, vector, ..]: Args) -> Op<Ret> {
    plan(call, [(addr, len), (vector, len)], |state, _| state.mincore(addr, len, vector))
}

/// Without protection keys only the key -1, "none", is there.
pub fn sys_pkey_mprotect(call: &mut Call<'_>, [addr, len, prot, key, ..]: Args) -> Op<Ret> {
    if key as i32 != -1 {
        return fail(Errno::EINVAL);
    }
    plan(call, [(addr, len)], |state, by| state.mprotect(addr, len, prot as u32, by))
}

pub fn sys_mseal(call: &mut Call<'_>, [addr, len, flags, ..]: Args) -> Op<Ret> {
    if flags != 0 {
        return fail(Errno::EINVAL);
    }
    plan(call, [(addr, len)], |state, _| state.mseal(addr, len))
}

/// The longest name of an area, its zero included.
const ANON_NAME_MAX: usize = 80;

/// prctl(2) PR_SET_VMA with PR_SET_VMA_ANON_NAME: names an area for /proc/PID/maps; a null pointer takes the name away.
pub(crate) fn set_vma_name(call: &Call<'_>, addr: u64, len: u64, name: u64) -> Op<Ret> {
    let (mm, _) = up_to_date(call, [(addr, len)])?;
    let text = if name == 0 {
        None
    } else {
        let bytes = mm.cstr(name, ANON_NAME_MAX)?.ok_or(Errno::EINVAL)?;
        let good = |b: &u8| (0x20..0x7f).contains(b) && !b"\\`$[]".contains(b);
        if !bytes.iter().all(good) {
            return fail(Errno::EINVAL);
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    mm.on_map(|state| state.set_name(addr, len, text.as_deref()))?;
    Ok(Ret::Value(0))
}
