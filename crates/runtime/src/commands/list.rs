//! `list` and `ps`. Owns no locks.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use observe::log::one_line;
use sandbox::machine::Process;

use crate::cli::{Format, List, Ps};
use crate::commands::{Context, print};
use crate::container::{OciState, clear_orphan};
use crate::state::{Life, State};

pub fn list(context: &Context, args: List) -> Result<u8> {
    context.root.sweep(None);
    let mut found: Vec<(State, Life)> = Vec::new();
    for id in context.root.ids()? {
        let Ok(folder) = context.root.folder(&id) else { continue };
        match folder.read() {
            Ok(Some(state)) => {
                let life = state.life(&folder);
                if matches!(life, Life::Stopped | Life::Creating) && clear_orphan(context, &folder) {
                    continue;
                }
                found.push((state, life));
            }
            Ok(None) if clear_orphan(context, &folder) => {}
            Ok(None) => found.push((State { id, ..State::default() }, Life::Creating)),
            Err(e) => context.log.warning(&crate::error::line(&e)),
        }
    }
    let text = if args.quiet {
        found.iter().map(|(state, _)| format!("{}\n", state.id)).collect()
    } else if args.format == Format::Json {
        let list: Vec<OciState<'_>> = found.iter().map(|(state, life)| entry(state, *life)).collect();
        serde_json::to_string(&list)? + "\n"
    } else {
        let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(String::from)];
        for (state, life) in &found {
            let pid = if *life == Life::Stopped { 0 } else { state.pid };
            let bundle = state.bundle.display().to_string();
            rows.push([
                state.id.clone(),
                pid.to_string(),
                life.name().into(),
                bundle,
                state.created.clone(),
                owner(state.uid),
            ]);
        }
        table(&rows)
    };
    print(&text)
}

pub fn ps(context: &Context, args: Ps) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    let state = folder.read_whole()?;
    if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
        bail!("container not running");
    }
    let list = folder.connect()?.processes(&args.id)?;
    if args.format == Format::Json {
        let pids = host_pids(crate::pod::kernel(context, &state)?, &list.iter().map(|p| p.host).collect::<Vec<_>>());
        return print(&(serde_json::to_string(&pids)? + "\n"));
    }
    let mut rows = vec![["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(String::from)];
    rows.extend(list.iter().map(row));
    print(&table(&rows))
}

/// Engines look host processes up by these numbers (`docker top`): the stub processes, of which the kernel process knows only its own PID
/// namespace's number. A process whose stub is not there yet is left out.
fn host_pids(kernel: i32, inside: &[i32]) -> Vec<i32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid_for_children")).ok();
    let Some(ours) = namespace(&kernel.to_string()) else { return Vec::new() };
    let mut found: Vec<i32> = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(pid) = name.parse::<i32>() else { continue };
        let Ok(status) = std::fs::read_to_string(entry.path().join("status")) else { continue };
        let numbers = status.lines().find_map(|l| l.strip_prefix("NSpid:")).unwrap_or_default();
        let last = numbers.split_whitespace().next_back().and_then(|n| n.parse::<i32>().ok());
        if last.is_some_and(|n| inside.contains(&n)) && namespace(&name) == Some(ours.clone()) {
            found.push(pid);
        }
    }
    found.sort_unstable();
    found
}

fn row(process: &Process) -> [String; 8] {
    let seconds = process.cpu_ms / 1000;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let lived = now.saturating_sub(process.started).max(1);
    let percent = (process.cpu_ms / 10 / lived).min(99);
    [
        process.uid.to_string(),
        process.pid.to_string(),
        process.ppid.to_string(),
        percent.to_string(),
        format!("{:02}:{:02}", process.started / 3600 % 24, process.started / 60 % 60),
        process.tty.clone().unwrap_or_else(|| "?".into()),
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        process.command.clone(),
    ]
}

fn entry(state: &State, life: Life) -> OciState<'_> {
    let mut entry = OciState::of(state, life);
    entry.owner = owner(state.uid);
    entry
}

/// The user's name, from /etc/passwd: the only place that a static binary can look.
fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_string())
    });
    found.unwrap_or_else(|| uid.to_string())
}

/// Columns as wide as their widest cell and three more, at least 12, as runc prints them. Guests choose what their commands are called.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| one_line(cell))).collect();
    let mut widths = [9usize; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<w$}", w = width + 3);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
