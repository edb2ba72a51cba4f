//! Capabilities: capget(2), capset(2). prctl's part is in `prctl`.

use abi::Errno;
use kernel::cred::CapSet;
use kernel::{Args, Call, Op, Ret, fail};
use zerocopy::{FromBytes, Immutable, IntoBytes};

const VERSION_1: u32 = 0x1998_0330;
const VERSION_2: u32 = 0x2007_1026;
const VERSION_3: u32 = 0x2008_0522;

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// How many words of each set the version has; an unknown version is told the preferred one.
fn words(call: &Call<'_>, at: u64, header: Header) -> Op<usize> {
    match header.version {
        VERSION_1 => Ok(1),
        VERSION_2 | VERSION_3 => Ok(2),
        _ => {
            call.put(at, &VERSION_3)?;
            fail(Errno::EINVAL)
        }
    }
}

pub fn sys_capget(call: &mut Call<'_>, [header_at, data_at, ..]: Args) -> Op<Ret> {
    let header: Header = call.get(header_at)?;
    let words = match words(call, header_at, header) {
        Ok(words) => words,
        // Asking for the version alone is no error.
        Err(_) if data_at == 0 => return Ok(().into()),
        Err(stop) => return Err(stop),
    };
    if header.pid < 0 {
        return fail(Errno::EINVAL);
    }
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let cred = match header.pid {
        0 => call.task.cred(),
        pid => ns.task(pid).ok_or(Errno::ESRCH)?.cred(),
    };
    let part = |set: CapSet, word: usize| (set.0 >> (32 * word)) as u32;
    for word in 0..words {
        let data = Data {
            effective: part(cred.effective, word),
            permitted: part(cred.permitted, word),
            inheritable: part(cred.inheritable, word),
        };
        call.put(data_at.wrapping_add(12 * word as u64), &data)?;
    }
    Ok(().into())
}

pub fn sys_capset(call: &mut Call<'_>, [header_at, data_at, ..]: Args) -> Op<Ret> {
    let header: Header = call.get(header_at)?;
    let words = words(call, header_at, header)?;
    if header.pid != 0 && header.pid != call.task.tid() {
        return fail(Errno::EPERM);
    }
    let data = call.get_vec::<Data>(data_at, words)?;
    let join = |pick: fn(&Data) -> u32| {
        let bits = data.iter().enumerate().fold(0u64, |all, (at, d)| all | u64::from(pick(d)) << (32 * at));
        CapSet(bits).and(CapSet::FULL)
    };
    let (effective, permitted, inheritable) = (join(|d| d.effective), join(|d| d.permitted), join(|d| d.inheritable));
    let old = call.task.cred();
    let able = old.has_in(&old.user_ns, kernel::cred::Cap::Setpcap);
    let inheritable_ok = (able || old.inheritable.or(old.permitted).contains(inheritable))
        && old.inheritable.or(old.bounding).contains(inheritable);
    if !inheritable_ok || !old.permitted.contains(permitted) || !permitted.contains(effective) {
        return fail(Errno::EPERM);
    }
    let mut new = (*old).clone();
    (new.effective, new.permitted, new.inheritable) = (effective, permitted, inheritable);
    new.ambient = new.ambient.and(permitted).and(inheritable);
    call.task.set_cred(new);
    Ok(().into())
}
