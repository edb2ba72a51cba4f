//! Reaps: this process is the parent of all stubs, and PID 1 of their PID namespace.
//!
//! A dead process is taken out of all tables before it is reaped, so that its ids cannot come back meanwhile. Who ends wakes the thread that waits here, which takes up to 20 microseconds of its core where that
//! thread sleeps on another one; so where processes end often, it looks from time to time instead. Neighbours: `space`, `core`. Owns no locks.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use abi::Errno;
use host::process::Ended;

use crate::core::{Core, Kind, Newborn};
use crate::outgoing::{Out, queue};
use crate::state::At;
use crate::sync::lock;

/// Between two looks.
const NAP: Duration = Duration::from_millis(2);
/// So many ends in a nap's time are many.
const MANY: u32 = 2;

/// Values of `Core::nap`.
const MAY: u32 = 0;
const HURRY: u32 = 1;

pub(crate) fn run(core: &'static Core) {
    let (mut since, mut ends) = (Instant::now(), 0);
    let mut naps = false;
    loop {
        let child = if naps { host::process::poll_any() } else { host::process::wait_any().map(Some) };
        match child {
            Ok(Some(child)) => {
                ended(core, child);
                crate::worker::settle();
                ends += 1;
            }
            Ok(None) => {
                host::futex::wait(&core.nap, MAY, Some(NAP));
                naps = core.nap.swap(MAY, Ordering::AcqRel) == MAY;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => std::thread::sleep(Duration::from_micros(200)),
            // There is always the seed; without it nothing can start any more.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        let now = Instant::now();
        if naps && now - since >= NAP || ends >= MANY {
            naps = ends >= MANY && now - since < 2 * NAP;
            (since, ends) = (now, 0);
        }
    }
}

/// Somebody waits for the end of a process.
pub(crate) fn hurry(core: &Core) {
    core.nap.store(HURRY, Ordering::Release);
    host::futex::wake(&core.nap, 1);
}

fn ended(core: &'static Core, child: Ended) {
    let Ended { pid, status, .. } = child;
    core.trace(|| format!("host process {pid} ended with status {status:x}"));
    let space = lock(&core.spaces).remove(&pid);
    let Some(space) = space else {
        let shards = lock(&core.shards).clone();
        if lock(&core.seed).pid == pid || shards.iter().any(|s| s.is_root_zygote(pid)) {
            eprintln!("stockade: the process that guest processes are forked from has ended (status {status:#x})");
            std::process::exit(70);
        }
        // A container's zygote; a child that never rang; or not a stub at all.
        shards.into_iter().for_each(|shard| shard.lost(pid));
        return host::process::reap(pid);
    };
    let threads = space.end(child);
    let mut guests = Vec::new();
    for thread in &threads {
        thread.shard.forget_pooled(thread);
        thread.shard.remove(thread.host_tid);
        let mut st = lock(&thread.state);
        thread.close(&mut st);
        st.at = At::Gone;
        st.files.clear();
        st.refused = None;
        guests.extend(st.guest.take());
    }
    // Children that it was about to have.
    let orphans: Vec<Newborn> = {
        let mut newborns = lock(&core.newborns);
        let cookies: Vec<[u64; 2]> = newborns
            .iter()
            .filter(|n| n.1.parent.as_ref().is_some_and(|p| p.space.host_pid() == pid))
            .map(|n| *n.0)
            .collect();
        cookies.iter().filter_map(|c| newborns.remove(c)).collect()
    };
    for orphan in orphans.iter().filter(|o| !matches!(o.kind, Kind::Thread { .. })) {
        // Nobody waits for it any more.
        match orphan.tid {
            Some(pid) => queue(Out::Kill(pid)),
            None => _ = core.orphans.fetch_add(1, Ordering::Relaxed),
        }
    }
    drop(orphans);
    host::process::reap(pid);
    if let Some(mailboxes) = space.take_mailboxes() {
        core.pool.give(mailboxes, &space.used());
    }
    for guest in guests {
        guest.gone(status);
    }
}

/// A process that nobody knows and that has run for so long has had its time to ring.
const HIDDEN_CPU: u64 = 1_000_000_000;
/// So has one that is there for so long, however busy the machine.
const HIDDEN: Duration = Duration::from_secs(60);

/// Kills host processes of our PID namespace that nobody knows: children of a stub that do not ring. Needs procfs. Called by the keeper alone.
pub(crate) fn sweep(core: &'static Core) {
    let Some(proc) = &core.proc else { return };
    let Ok(dir) = host::rustix::fs::Dir::read_from(proc) else { return };
    let mut known: Vec<i32> = lock(&core.spaces).keys().copied().collect();
    known.push(lock(&core.seed).pid);
    known.extend(lock(&core.shards).iter().flat_map(|s| s.zygote_pids()));
    let own = std::process::id() as i32;
    // Only where we are PID 1 is everybody else in there a stub.
    if own != 1 {
        return;
    }
    let pids = dir.flatten().filter_map(|entry| entry.file_name().to_str().ok()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| *pid != own && !known.contains(pid)) {
        let cpu = host::process::cpu_time(pid).unwrap_or(0);
        if (cpu > HIDDEN_CPU || age(core, pid).is_some_and(|age| age > HIDDEN))
            && !lock(&core.spaces).contains_key(&pid)
        {
            core.violation(pid, "a process that nobody asked for");
            let _ = host::process::kill(pid, libc::SIGKILL);
        }
    }
}

/// Kills newborns that have had their time to ring. Without a listener there are no others that could hide: the tracer knows every child.
pub(crate) fn kill_hidden(core: &'static Core) {
    let late: Vec<(i32, Duration)> = {
        let newborns = lock(&core.newborns);
        let processes = newborns.values().filter(|n| !matches!(n.kind, Kind::Thread { .. }));
        processes.filter_map(|n| Some((n.tid?, n.since.elapsed()))).collect()
    };
    for (pid, age) in late {
        if age > HIDDEN || host::process::cpu_time(pid).unwrap_or(0) > HIDDEN_CPU {
            core.violation(pid, "a process that does not ring");
            let _ = host::process::kill(pid, libc::SIGKILL);
        }
    }
}

/// How long ago a process began: proc_pid_stat(5), starttime.
fn age(core: &Core, pid: i32) -> Option<Duration> {
    let stat = core.proc_file(&format!("{pid}/stat"))?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let begun = Duration::from_millis(ticks * 10); // USER_HZ is 100 on x86-64
    Some(Duration::from_nanos(host::time::boottime()).saturating_sub(begun))
}
