//! /proc/PID/stat and statm. proc_pid_stat(5), proc_pid_statm(5).

use super::Target;
use kernel::signal::SIG_IGN;
use kernel::task::{GroupState, Resource, Stop};
use kernel::{Io, Op};
use std::sync::atomic::Ordering::Relaxed;

/// Clock ticks of 10 ms.
pub fn ticks(ns: u64) -> u64 {
    ns / 10_000_000
}

/// R, S, t, T or Z.
pub fn state(target: &Target) -> char {
    if let GroupState::Zombie(_) | GroupState::Reaped = target.group.state() {
        return 'Z';
    }
    if target.task.is_dying() && !target.group.tasks().iter().any(|t| std::ptr::eq(&**t, &*target.task)) {
        return 'Z';
    }
    if target.task.is_halted_by_tracer() {
        return 't';
    }
    if let Stop::Stopped(_) = target.group.signals.lock().stop {
        return 'T';
    }
    if target.task.is_blocked() { 'S' } else { 'R' }
}

/// Masks of the signals that are ignored and caught.
pub fn dispositions(target: &Target) -> (u64, u64) {
    let signals = target.group.signals.lock();
    let (mut ignored, mut caught) = (0, 0);
    for (sig, action) in signals.actions.iter() {
        if action.handler == SIG_IGN {
            ignored |= kernel::signal::bit(sig);
        } else if action.handler != 0 {
            caught |= kernel::signal::bit(sig);
        }
    }
    (ignored, caught)
}

/// The number of the process' parent, 0 where it has none in the namespace.
pub fn parent(target: &Target) -> i32 {
    target.group.parent().map_or(0, |p| p.pid.number_in(&target.ns))
}

/// prio of stat: nice values are 0 to 39, real-time priorities are negative.
pub fn priority(target: &Target) -> i64 {
    let sched = target.task.sched();
    if sched.is_realtime() { -1 - i64::from(sched.priority) } else { 20 + i64::from(sched.nice) }
}

pub fn stat(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let ns = &t.ns;
    let session = t.group.session();
    let tty = session.tty();
    let (tty_nr, tpgid) = match &tty {
        Some(tty) => (tty.device(), tty.foreground().map_or(0, |p| p.number_in(ns))),
        None => (0, -1),
    };
    let times = if t.whole { t.group.times() } else { t.task.times() };
    let children = t.group.children_times();
    let threads = t.group.tasks().len().max(1);
    let start = ticks(t.task.started);
    let mm = t.mm();
    let (vsize, rss) = mm.as_ref().map_or((0, 0), |mm| (mm.totals().size, mm.resident_bytes() / 4096));
    let layout = mm.as_ref().map(|mm| (mm.layout(), mm.heap()));
    let rsslim = t.group.limit(Resource::Rss);
    let (pending, blocked) = {
        let mine = t.task.signals.lock();
        (mine.pending.set(), mine.mask.get())
    };
    let (ignored, caught) = dispositions(t);
    let wchan = u64::from(t.task.is_blocked());
    let exit_signal = if t.whole { t.group.exit_signal.load(Relaxed) } else { -1 };
    let sched = t.task.sched();
    let exit_code = match t.group.state() {
        GroupState::Zombie(status) => status.wait_status(),
        _ => 0,
    };
    let mut out = format!("{} (", t.number()).into_bytes();
    out.extend_from_slice(&t.task.comm());
    let fields: [i64; 11] = [
        parent(t).into(),
        t.group.pgrp().number_in(ns).into(),
        session.pid.number_in(ns).into(),
        device(tty_nr),
        tpgid.into(),
        // Flags and faults of the kernel's inner life.
        0x40_0000,
        0,
        0,
        0,
        0,
        ticks(times.user) as i64,
    ];
    out.extend_from_slice(format!(") {}", state(t)).as_bytes());
    for field in fields {
        out.extend_from_slice(format!(" {field}").as_bytes());
    }
    let (code, stack, data, heap, args, env) = match &layout {
        Some((l, heap)) => (l.code.clone(), l.start_stack, l.data.clone(), heap.start, l.args.clone(), l.env.clone()),
        None => (0..0, 0, 0..0, 0, 0..0, 0..0),
    };
    // Addresses are told to those who may look into the process; here the reader is not known to be one of them, so as Linux does
    // for the others they would be 0. They are the guest's own and no secret of the kernel's.
    let rest = format!(
        " {stime} {cutime} {cstime} {priority} {nice} {threads} 0 {start} {vsize} {rss} {rsslim} {} {} {stack} 0 0 {} {} {} {} {wchan} 0 0 \
         {exit_signal} {cpu} {rt_priority} {policy} 0 0 0 {} {} {heap} {} {} {} {} {exit_code}\n",
        code.start,
        code.end,
        pending & 0x7fff_ffff,
        blocked & 0x7fff_ffff,
        ignored & 0x7fff_ffff,
        caught & 0x7fff_ffff,
        data.start,
        data.end,
        args.start,
        args.end,
        env.start,
        env.end,
        stime = ticks(times.system),
        cutime = ticks(children.user),
        cstime = ticks(children.system),
        priority = priority(t),
        nice = sched.nice,
        rt_priority = sched.priority,
        policy = sched.policy,
        cpu = t.task.affinity().first().copied().unwrap_or(0),
    );
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}

/// Time on a processor and time waited for one in ns, and how often it got one. The last two are the host's figures.
pub fn schedstat(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let host = t.task.thread().and_then(|thread| platform::block_in_place(|| thread.proc_file("schedstat")));
    let rest = host.as_deref().and_then(|text| text.split_once(' ')).map(|(_, rest)| rest.trim_end().to_string());
    // How long it waited for a processor the host has forgotten with the thread.
    let rest = rest.unwrap_or_else(|| format!("0 {}", t.task.waits()));
    Ok(format!("{} {rest}\n", t.task.cpu_time()).into_bytes())
}

/// A device number as stat's tty_nr shows it: minor in bits 31-20 and 7-0, major in 15-8.
fn device(dev: u64) -> i64 {
    let (major, minor) = (abi::fs::major(dev), abi::fs::minor(dev));
    i64::from(minor & 0xff | major << 8 | (minor & !0xff) << 12)
}

pub fn statm(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let Some(mm) = t.mm() else { return Ok(b"0 0 0 0 0 0 0\n".to_vec()) };
    let totals = mm.totals();
    let host = mm.space().pages().unwrap_or_default();
    let size = totals.size / 4096;
    let text = mm.layout().code;
    let text = text.end.saturating_sub(text.start).div_ceil(4096);
    let data = (totals.data + totals.stack) / 4096;
    Ok(format!("{size} {} {} {text} 0 {data} 0\n", host[1], host[2]).into_bytes())
}
