//! The system as a whole: uname(2), sysinfo(2), getrandom(2), sethostname(2), personality(2), membarrier(2), syslog(2), reboot(2).

use abi::Errno;
use abi::system::{
    LINUX_REBOOT_CMD_HALT, LINUX_REBOOT_CMD_POWER_OFF, LINUX_REBOOT_CMD_RESTART, LINUX_REBOOT_CMD_RESTART2,
    LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C,
};
use kernel::cred::Cap;
use kernel::signal::{SIGHUP, SIGINT};
use kernel::task::ExitStatus;
use kernel::version;
use kernel::wait::{Events, Queue};
use kernel::{Args, Call, Op, Ret, fail};
use zerocopy::{Immutable, IntoBytes};

#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct UtsName([[u8; 65]; 6]);

pub fn sys_uname(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    let (host, domain) = call.task.namespaces().uts.names.lock().clone();
    let machine = if call.task.personality() & 0xff == PER_LINUX32 { "i686" } else { version::MACHINE };
    let fields: [&[u8]; 6] = [
        version::SYSNAME.as_bytes(),
        &host,
        version::RELEASE.as_bytes(),
        version::VERSION.as_bytes(),
        machine.as_bytes(),
        &domain,
    ];
    let mut name = UtsName([[0; 65]; 6]);
    for (to, from) in name.0.iter_mut().zip(fields) {
        for (to, from) in to.iter_mut().take(64).zip(from) {
            *to = *from;
        }
    }
    call.put(at, &name)?;
    Ok(().into())
}

/// In a PID namespace of a container it ends that: its init dies of SIGHUP where it is to be started again, of SIGINT where it is not, by which who waits for it knows.
pub fn sys_reboot(call: &mut Call<'_>, [magic, magic2, command, ..]: Args) -> Op<Ret> {
    let cred = call.task.cred();
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    if !cred.has_in(&ns.owner, Cap::SysBoot) {
        return fail(Errno::EPERM);
    }
    let second = [LINUX_REBOOT_MAGIC2, LINUX_REBOOT_MAGIC2A, LINUX_REBOOT_MAGIC2B, LINUX_REBOOT_MAGIC2C]
        .contains(&(magic2 as u32));
    if magic as u32 != LINUX_REBOOT_MAGIC1 || !second {
        return fail(Errno::EINVAL);
    }
    let sig = match command as u32 {
        LINUX_REBOOT_CMD_RESTART | LINUX_REBOOT_CMD_RESTART2 => SIGHUP,
        LINUX_REBOOT_CMD_HALT | LINUX_REBOOT_CMD_POWER_OFF => SIGINT,
        _ => return fail(Errno::EINVAL),
    };
    let init = ns.init().ok_or(Errno::ESRCH)?;
    init.begin_exit(ExitStatus::Signal { sig, core: false });
    Ok(Ret::ExitGroup { status: 0 })
}

pub fn sys_sethostname(call: &mut Call<'_>, args: Args) -> Op<Ret> {
    let name = new_name(call, args)?;
    call.task.namespaces().uts.names.lock().0 = name;
    Ok(().into())
}

pub fn sys_setdomainname(call: &mut Call<'_>, args: Args) -> Op<Ret> {
    let name = new_name(call, args)?;
    call.task.namespaces().uts.names.lock().1 = name;
    Ok(().into())
}

fn new_name(call: &Call<'_>, [at, len, ..]: Args) -> Op<Vec<u8>> {
    if !call.task.cred().has_in(&call.task.namespaces().uts.owner, Cap::SysAdmin) {
        return fail(Errno::EPERM);
    }
    if len as i32 as i64 != len as i64 || len > 64 {
        return fail(Errno::EINVAL);
    }
    call.get_vec::<u8>(at, len as usize)
}

#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct SysInfo {
    uptime: i64,
    loads: [u64; 3],
    totalram: u64,
    freeram: u64,
    sharedram: u64,
    bufferram: u64,
    totalswap: u64,
    freeswap: u64,
    procs: u16,
    pad: u16,
    pad2: u32,
    totalhigh: u64,
    freehigh: u64,
    mem_unit: u32,
    tail: u32,
}

pub fn sys_sysinfo(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    let kernel = &call.task.kernel;
    let tasks: usize = kernel::task::processes(call.task).iter().map(|g| g.tasks().len()).sum();
    let info = SysInfo {
        uptime: (host::time::boottime() / 1_000_000_000) as i64,
        // With 16 binary places.
        loads: kernel::task::load::averages(kernel).map(|load| (load * 65536.0) as u64),
        totalram: kernel::memory::total(),
        freeram: kernel.memory_free(),
        procs: tasks.min(u16::MAX.into()) as u16,
        mem_unit: 1,
        ..SysInfo::default()
    };
    call.put(at, &info)?;
    Ok(().into())
}

pub fn sys_getrandom(call: &mut Call<'_>, [at, len, flags, ..]: Args) -> Op<Ret> {
    if flags & !7 != 0 || flags & 6 == 6 {
        return fail(Errno::EINVAL);
    }
    let mm = call.mm()?;
    let total = (len as usize).min(32 << 20);
    let mut done = call.rec.done as usize;
    let mut buffer = [0u8; 4096];
    while done < total {
        let chunk = (total - done).min(buffer.len());
        let Some(part) = buffer.get_mut(..chunk) else { break };
        host::random::fill(part);
        match mm.write(at.wrapping_add(done as u64), part) {
            Ok(count) => {
                done += count;
                if count < chunk {
                    break;
                }
            }
            Err(stop) if done == 0 => return Err(stop),
            Err(_) => break,
        }
    }
    kernel::mm::untouched::go_on_if_cut();
    Ok(done.into())
}

const PER_LINUX32: u32 = 8;

pub fn sys_personality(call: &mut Call<'_>, [new, ..]: Args) -> Op<Ret> {
    let old = call.task.personality();
    if new as u32 != u32::MAX {
        call.task.set_personality(new as u32);
    }
    Ok(old.into())
}

/// Private expedited barriers go to the host through the stub's own call; here is what the host's needs no help for.
pub fn sys_membarrier(_call: &mut Call<'_>, [cmd, flags, ..]: Args) -> Op<Ret> {
    const QUERY: u64 = 0;
    const GLOBAL: u64 = 1;
    const PRIVATE: u64 = 8;
    const REGISTER_PRIVATE: u64 = 16;
    const SYNC_CORE: u64 = 32;
    const REGISTER_SYNC_CORE: u64 = 64;
    if flags != 0 {
        return fail(Errno::EINVAL);
    }
    match cmd {
        QUERY => Ok((PRIVATE | REGISTER_PRIVATE | SYNC_CORE | REGISTER_SYNC_CORE).into()),
        PRIVATE | REGISTER_PRIVATE | SYNC_CORE | REGISTER_SYNC_CORE => {
            let script = platform::Script {
                ops: vec![platform::Op::call(abi::nr::MEMBARRIER, [cmd, 0, 0, 0, 0, 0])],
                then: platform::Then::ReturnLast,
            };
            let on_done = Box::new(|_: &_, result, _| kernel::Next::Value(result));
            Ok(Ret::Stub(Box::new(kernel::StubWork::Script { script, on_done })))
        }
        GLOBAL => fail(Errno::EINVAL),
        _ => fail(Errno::EINVAL),
    }
}

pub fn sys_set_tid_address(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    call.task.set_clear_tid(at);
    // The word is cleared and woken by the host when the host thread ends.
    let script = platform::Script {
        ops: vec![platform::Op::call(abi::nr::SET_TID_ADDRESS, [at, 0, 0, 0, 0, 0])],
        then: platform::Then::Return(call.task.tid().into()),
    };
    let on_done = Box::new(|_: &_, result, _| kernel::Next::Value(result));
    Ok(Ret::Stub(Box::new(kernel::StubWork::Script { script, on_done })))
}

pub fn sys_arch_prctl(call: &mut Call<'_>, [code, addr, ..]: Args) -> Op<Ret> {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    let op = match code {
        SET_FS | SET_GS if addr >= 1 << 47 => return fail(Errno::EPERM),
        SET_FS => platform::Op::SetFs(addr),
        SET_GS => platform::Op::SetGs(addr),
        GET_FS | GET_GS => {
            let regs = call.task.thread().and_then(|t| t.regs()).ok_or(Errno::ESRCH)?;
            call.put(addr, if code == GET_FS { &regs.fs_base } else { &regs.gs_base })?;
            return Ok(0.into());
        }
        _ => return fail(Errno::EINVAL),
    };
    let script = platform::Script { ops: vec![op], then: platform::Then::Return(0) };
    let on_done = Box::new(|_: &_, result, _| kernel::Next::Value(result));
    Ok(Ret::Stub(Box::new(kernel::StubWork::Script { script, on_done })))
}

pub fn sys_syslog(call: &mut Call<'_>, [what, buffer, size, ..]: Args) -> Op<Ret> {
    if !call.task.cred().has(Cap::Syslog) {
        return fail(Errno::EPERM);
    }
    match what as i32 {
        2..=4 if buffer == 0 || (size as i32) < 0 => fail(Errno::EINVAL),
        // No kernel messages are kept for guests: the log is empty, and who reads it waits for what never comes.
        2 if size as i32 > 0 => call.io().wait_for(&Queue::new(), Events::IN, || Ok(None)),
        2 | 3 | 4 | 9 => Ok(0.into()),
        10 => Ok((1 << 16).into()),
        0 | 1 | 5..=8 => Ok(0.into()),
        _ => fail(Errno::EINVAL),
    }
}
