//! `state` and `debug`: look, change nothing. Owns no locks.

use std::fmt::Write;
use std::fs;

use anyhow::Result;
use observe::log::one_line;

use crate::commands::{Context, print};
use crate::container::oci_state;
use crate::state::{Life, alive};

pub fn state(context: &Context, id: &str) -> Result<u8> {
    let folder = context.root.folder(id)?;
    let state = folder.read_whole()?;
    let life = state.life(&folder);
    print(&(oci_state(&state, life) + "\n"))
}

/// What the host sees of a sandbox: its processes, their threads and what they wait for.
pub fn debug(context: &Context, id: &str) -> Result<u8> {
    let folder = context.root.folder(id)?;
    let state = folder.read_whole()?;
    let life = state.life(&folder);
    let mut text = format!("container {id}: {}\nstate folder: {}\n", life.name(), folder.path().display());
    for group in &state.cgroups {
        let _ = writeln!(text, "cgroup: {}", group.display());
    }
    for (what, pid, start) in [("kernel", state.pid, state.pid_start), ("gofer", state.gofer_pid, state.gofer_start)] {
        if pid == 0 || !alive(pid, start) {
            let _ = writeln!(text, "{what} process: none");
            continue;
        }
        let _ = writeln!(text, "{what} process: {pid}");
        describe(&mut text, pid);
    }
    if life != Life::Stopped && life != Life::Creating {
        match folder.connect().and_then(|c| Ok(c.processes(id)?)) {
            Ok(list) => {
                let _ = writeln!(text, "guest processes: {}", list.len());
                for p in list {
                    let _ = writeln!(text, "  {} {} {} {}", p.pid, p.ppid, p.state, one_line(&p.command));
                }
            }
            Err(e) => {
                let _ = writeln!(text, "guest processes: unknown: {}", one_line(&crate::error::line(&e)));
            }
        }
    }
    print(&text)
}

/// Memory, descriptors, children and threads of a host process.
fn describe(text: &mut String, pid: i32) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    for line in status.lines().filter(|l| {
        ["VmRSS", "RssAnon", "Threads", "Seccomp:", "NoNewPrivs", "CapEff"].iter().any(|k| l.starts_with(k))
    }) {
        let _ = writeln!(text, "  {}", line.replace('\t', " "));
    }
    let count = |folder: &str| fs::read_dir(format!("/proc/{pid}/{folder}")).map_or(0, Iterator::count);
    let _ = writeln!(text, "  descriptors: {}", count("fd"));
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let _ = writeln!(text, "  children: {}", children.split_whitespace().count());
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default().trim().to_string();
        let state = read("stat")
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next().map(str::to_string))
            .unwrap_or_default();
        let _ = writeln!(
            text,
            "  thread {} {} {} {}",
            task.file_name().to_string_lossy(),
            read("comm"),
            state,
            read("wchan")
        );
    }
}
