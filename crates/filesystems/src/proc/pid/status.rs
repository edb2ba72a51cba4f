//! /proc/PID/status. proc_pid_status(5).

use super::Target;
use super::stat::{dispositions, parent, state};
use kernel::task::Resource;
use kernel::{Io, Op};

pub fn status(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let task = &t.task;
    let cred = task.cred();
    let ns = &t.ns;
    let mut out = b"Name:\t".to_vec();
    for byte in task.comm() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte => out.push(byte),
        }
    }
    out.push(b'\n');
    let mut line = |text: String| {
        out.extend_from_slice(text.as_bytes());
        out.push(b'\n');
    };
    let letter = state(t);
    let word = match letter {
        'Z' => "zombie",
        'T' => "stopped",
        't' => "tracing stop",
        'S' => "sleeping",
        _ => "running",
    };
    // Who has ended has no folders and no files any more.
    let ended = letter == 'Z';
    if !ended {
        line(format!("Umask:\t{:04o}", task.fs().umask()));
    }
    line(format!("State:\t{letter} ({word})"));
    line(format!("Tgid:\t{}", t.group.pid.number_in(ns)));
    line("Ngid:\t0".into());
    line(format!("Pid:\t{}", t.number()));
    line(format!("PPid:\t{}", parent(t)));
    line(format!("TracerPid:\t{}", task.tracer().map_or(0, |tracer| tracer.pid.number_in(ns))));
    let uids = [cred.uid, cred.euid, cred.suid, cred.fsuid].map(|id| io.cred.user_ns.uid_to(id).to_string());
    let gids = [cred.gid, cred.egid, cred.sgid, cred.fsgid].map(|id| io.cred.user_ns.gid_to(id).to_string());
    line(format!("Uid:\t{}", uids.join("\t")));
    line(format!("Gid:\t{}", gids.join("\t")));
    let fds = task.files().list().last().map_or(0, |fd| fd.0 as usize + 1);
    line(format!("FDSize:\t{}", if ended { 0 } else { fds.next_multiple_of(64).max(64) }));
    let none = if cred.groups.is_empty() { " " } else { "" };
    let groups: String = cred.groups.iter().map(|g| format!("{} ", io.cred.user_ns.gid_to(*g))).collect();
    line(format!("Groups:\t{groups}{none}"));
    let pid = if t.whole { &t.group.pid } else { &task.pid };
    let numbers = |pid: &kernel::task::Pid| {
        let numbers: Vec<String> = pid.numbers_from(ns).iter().map(i32::to_string).collect();
        numbers.join("\t")
    };
    line(format!("NStgid:\t{}", numbers(&t.group.pid)));
    line(format!("NSpid:\t{}", numbers(pid)));
    line(format!("NSpgid:\t{}", numbers(&t.group.pgrp())));
    line(format!("NSsid:\t{}", numbers(&t.group.session().pid)));
    line("Kthread:\t0".into());
    if let Some(mm) = t.mm() {
        let totals = mm.totals();
        let kb = |bytes: u64| bytes / 1024;
        let code = mm.layout().code;
        let exe = code.end.saturating_sub(code.start).next_multiple_of(4096);
        // What is resident is the host's knowledge.
        let host = platform::block_in_place(|| mm.space().status()).unwrap_or_default();
        let resident = |name: &str| {
            let line = host.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|l| l.split_ascii_whitespace().next()?.parse::<u64>().ok())
        };
        let mut amount = |name: &str, kb: Option<u64>| {
            if let Some(kb) = kb {
                line(format!("{name}:\t{kb:8} kB"));
            }
        };
        amount("VmSize", Some(kb(totals.size)));
        amount("VmLck", Some(kb(totals.locked)));
        for name in ["VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem"] {
            amount(name, resident(name));
        }
        amount("VmData", Some(kb(totals.data)));
        amount("VmStk", Some(kb(totals.stack)));
        amount("VmExe", Some(kb(exe)));
        amount("VmLib", Some(kb(totals.exec.saturating_sub(exe))));
        for name in ["VmPTE", "VmSwap"] {
            amount(name, resident(name));
        }
        line("CoreDumping:\t0".into());
    }
    line(format!("Threads:\t{}", t.group.tasks().len().max(1)));
    let (mine, mask) = {
        let signals = task.signals.lock();
        (signals.pending.set(), signals.mask.get())
    };
    let (shared, queued) = {
        let signals = t.group.signals.lock();
        (signals.pending.set(), signals.pending.len())
    };
    let (ignored, caught) = dispositions(t);
    line(format!("SigQ:\t{queued}/{}", t.group.limit(Resource::Sigpending)));
    line(format!("SigPnd:\t{mine:016x}"));
    line(format!("ShdPnd:\t{shared:016x}"));
    line(format!("SigBlk:\t{mask:016x}"));
    line(format!("SigIgn:\t{ignored:016x}"));
    line(format!("SigCgt:\t{caught:016x}"));
    line(format!("CapInh:\t{:016x}", cred.inheritable.0));
    line(format!("CapPrm:\t{:016x}", cred.permitted.0));
    line(format!("CapEff:\t{:016x}", cred.effective.0));
    line(format!("CapBnd:\t{:016x}", cred.bounding.0));
    line(format!("CapAmb:\t{:016x}", cred.ambient.0));
    line(format!("NoNewPrivs:\t{}", u8::from(cred.no_new_privs)));
    // Guests' own: stockade's is not theirs to see.
    let seccomp = task.seccomp();
    line(format!("Seccomp:\t{}", seccomp.mode()));
    line(format!("Seccomp_filters:\t{}", seccomp.filters()));
    let cpus = task.affinity();
    line(format!("Cpus_allowed:\t{}", super::super::cpu::mask(&cpus)));
    line(format!("Cpus_allowed_list:\t{}", super::super::cpu::list(&cpus)));
    line("Mems_allowed:\t1".into());
    line("Mems_allowed_list:\t0".into());
    line(format!("voluntary_ctxt_switches:\t{}", task.waits()));
    // Only the host knows when it took the processor away, and forgets it with the thread.
    let host = task.thread().and_then(|thread| platform::block_in_place(|| thread.proc_file("status")));
    let taken =
        host.as_ref().and_then(|text| text.lines().find(|line| line.starts_with("nonvoluntary_ctxt_switches:")));
    if let Some(taken) = taken.or(ended.then_some("nonvoluntary_ctxt_switches:\t0")) {
        line(taken.into());
    }
    Ok(out)
}
