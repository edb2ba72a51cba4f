//! The small files of a process' folder. proc_pid_comm(5), proc_pid_limits(5), proc_pid_io(5), proc_pid_oom_score_adj(5), ...

use super::Target;
use crate::pseudo::parse_number;
use abi::Errno;
use kernel::cred::Cap;
use kernel::task::{Limits, Task, ThreadGroup};
use kernel::{Io, Op, fail};
use std::num::{IntErrorKind, ParseIntError};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

fn text(text: impl Into<String>) -> Op<Vec<u8>> {
    Ok(text.into().into_bytes())
}

/// No feature of the processor needs a state of its own here.
pub fn arch_status(_io: &mut Io<'_>, _t: &Target) -> Op<Vec<u8>> {
    Ok(Vec::new())
}

pub fn cgroup(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    crate::cgroup::proc::of_task(io, &t.task)
}

pub fn children(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    // Those that the thread forked itself.
    let own = |child: &Arc<ThreadGroup>| child.links.lock().parent_task.as_ptr() == Arc::as_ptr(&t.task);
    let numbers = t.group.children().into_iter().filter(own);
    let numbers: Vec<i32> = numbers.map(|c| c.pid.number_in(&t.ns)).filter(|n| *n != 0).collect();
    text(numbers.iter().map(|n| format!("{n} ")).collect::<String>())
}

pub fn comm(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let mut name = t.task.comm();
    name.push(b'\n');
    Ok(name)
}

/// Only threads of the process itself may rename it.
pub fn set_comm(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let own = Task::of(io).is_some_and(|task| Arc::ptr_eq(&task.group, &t.group));
    if !own {
        return fail(Errno::EINVAL);
    }
    t.task.set_comm(data.strip_suffix(b"\n").unwrap_or(data));
    Ok(())
}

/// A file that can only be written.
pub fn unreadable(_io: &mut Io<'_>, _t: &Target) -> Op<Vec<u8>> {
    fail(Errno::EINVAL)
}

/// A decimal number, with a newline or none behind it. ERANGE where it does not fit.
fn decimal<T: FromStr<Err = ParseIntError>>(data: &[u8]) -> Op<T> {
    let text = std::str::from_utf8(data.strip_suffix(b"\n").unwrap_or(data)).map_err(|_| Errno::EINVAL)?;
    text.parse().map_err(|e: ParseIntError| match e.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => Errno::ERANGE.into(),
        _ => Errno::EINVAL.into(),
    })
}

/// Which pages were referenced or written, and the most that was resident, is the host's knowledge of the stub process.
pub fn clear_refs(_io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let what: i32 = decimal(data.trim_ascii())?;
    let what = u8::try_from(what).ok().filter(|what| (1..=5).contains(what)).ok_or(Errno::EINVAL)?;
    match t.mm() {
        Some(mm) => Ok(platform::block_in_place(|| mm.space().clear_refs(what))?),
        None => Ok(()),
    }
}

/// There are no block devices: files come over the gofer or are in memory, so no storage is read or written here.
pub fn io(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let io = if t.whole { t.group.usage() } else { t.task.usage() }.io;
    text(format!(
        "rchar: {}\nwchar: {}\nsyscr: {}\nsyscw: {}\nread_bytes: 0\nwrite_bytes: 0\ncancelled_write_bytes: 0\n",
        io.rchar, io.wchar, io.syscr, io.syscw
    ))
}

pub fn limits(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    const NAMES: [(&str, &str, usize); 16] = [
        ("Max cpu time", "seconds", 0),
        ("Max file size", "bytes", 1),
        ("Max data size", "bytes", 2),
        ("Max stack size", "bytes", 3),
        ("Max core file size", "bytes", 4),
        ("Max resident set", "bytes", 5),
        ("Max processes", "processes", 6),
        ("Max open files", "files", 7),
        ("Max locked memory", "bytes", 8),
        ("Max address space", "bytes", 9),
        ("Max file locks", "locks", 10),
        ("Max pending signals", "signals", 11),
        ("Max msgqueue size", "bytes", 12),
        ("Max nice priority", "", 13),
        ("Max realtime priority", "", 14),
        ("Max realtime timeout", "us", 15),
    ];
    let mut out = format!("{:25} {:20} {:20} {:10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    let limits = t.group.limits();
    let show = |value: u64| if value == Limits::INFINITY { "unlimited".to_owned() } else { value.to_string() };
    for (name, unit, number) in NAMES {
        let Some(limit) = limits.by_number(number) else { continue };
        let line = format!("{name:25} {:20} {:20} {unit:10}", show(limit.soft), show(limit.hard));
        out.push_str(&line);
        out.push('\n');
    }
    text(out)
}

/// The share of memory that the process has, in thousandths, and its adjustment.
pub fn oom_score(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let total = kernel::memory::total().max(1);
    // Who has ended has nothing to give.
    let Some(mm) = t.mm() else { return text("0\n") };
    let points = (mm.resident_bytes().saturating_mul(1000) / total) as i64;
    let adjusted = 1000 + points + i64::from(t.group.oom_score_adj.load(Relaxed));
    text(format!("{}\n", (adjusted * 2 / 3).clamp(0, 2000)))
}

pub fn oom_score_adj(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    text(format!("{}\n", t.group.oom_score_adj.load(Relaxed)))
}

pub fn set_oom_score_adj(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let value = parse_number(data)?;
    let value = i32::try_from(value).ok().filter(|v| (-1000..=1000).contains(v)).ok_or(Errno::EINVAL)?;
    if value < t.group.oom_score_adj.load(Relaxed) && !io.cred.has(Cap::SysResource) {
        return fail(Errno::EACCES);
    }
    t.group.oom_score_adj.store(value, Relaxed);
    Ok(())
}

/// The old scale from -17 to 15.
pub fn oom_adj(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let adj = t.group.oom_score_adj.load(Relaxed);
    text(format!("{}\n", if adj == 1000 { 15 } else { adj * 17 / 1000 }))
}

pub fn set_oom_adj(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let value = parse_number(data)?;
    if !(-17..=15).contains(&value) {
        return fail(Errno::EINVAL);
    }
    let scaled = if value == 15 { 1000 } else { value * 1000 / 17 };
    set_oom_score_adj(io, t, scaled.to_string().as_bytes())
}

pub fn personality(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    text(format!("{:08x}\n", t.task.personality()))
}

pub fn syscall(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let call = t.task.current_call().filter(|_| t.task.is_blocked());
    match call {
        Some((nr, a)) => {
            let args: String = a.iter().map(|arg| format!(" {arg:#x}")).collect();
            // Stack and instruction pointer are with the stub while it waits.
            text(format!("{nr}{args} 0x0 0x0\n"))
        }
        None if t.mm().is_none() => text("-1 0x0 0x0\n"),
        None => text("running\n"),
    }
}

/// Which kinds of memory a core dump would hold, core(5); kept, although there are no dumps.
pub fn coredump_filter(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let filter = t.group.coredump_filter.load(Relaxed);
    text(if t.mm().is_some() { format!("{filter:08x}\n") } else { String::new() })
}

pub fn set_coredump_filter(_io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let value = u32::try_from(parse_number(data)?).map_err(|_| Errno::EINVAL)?;
    if t.mm().is_none() {
        return fail(Errno::ESRCH);
    }
    t.group.coredump_filter.store(value & 0x1ff, Relaxed);
    Ok(())
}

/// A task that waits has no stack in the kernel, only its call.
pub fn stack(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    if !io.cred.has(Cap::SysAdmin) {
        return fail(Errno::EACCES);
    }
    match String::from_utf8(wchan(io, t)?) {
        Ok(name) if name != "0" => text(format!("[<0>] {name}\n")),
        _ => text(""),
    }
}

/// The name of the call that it waits in.
pub fn wchan(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let call = t.task.current_call().filter(|_| t.task.is_blocked());
    let name = call.and_then(|(nr, _)| (t.task.kernel.table)(nr)).map(|row| row.name);
    text(name.map_or("0".to_owned(), |name| format!("sys_{name}")))
}

fn may_see_timerslack(io: &Io<'_>, t: &Target) -> Op<()> {
    let own = Task::of(io).is_some_and(|task| Arc::ptr_eq(&task, &t.task));
    if own || io.cred.has(Cap::SysNice) { Ok(()) } else { fail(Errno::EPERM) }
}

pub fn timerslack(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    may_see_timerslack(io, t)?;
    text(format!("{}\n", t.task.timer_slack()))
}

pub fn set_timerslack(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    may_see_timerslack(io, t)?;
    let value: u64 = decimal(data)?;
    t.task.set_timer_slack(if value == 0 { 50_000 } else { value });
    Ok(())
}
