//! `list` and `ps`. Owns no locks.

use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use sandbox::machine::Process;

use crate::cli::{Format, List, Ps};
use crate::commands::{Context, print};
use crate::container::{destroy, oci_state};
use crate::state::{Life, State};

pub fn list(context: &Context, args: List) -> Result<u8> {
    let mut found: Vec<(State, Life)> = Vec::new();
    for id in context.root.ids()? {
        let Ok(folder) = context.root.folder(&id) else { continue };
        match folder.read() {
            Ok(Some(state)) => {
                let life = state.life(&folder);
                // Its `run` was killed before it could clean up.
                if state.ephemeral && life == Life::Stopped && destroy_orphan(context, &folder) {
                    continue;
                }
                found.push((state, life));
            }
            Ok(None) => found.push((State { id, ..State::default() }, Life::Creating)),
            Err(e) => context.log.warning(&crate::error::line(&e)),
        }
    }
    let text = if args.quiet {
        found.iter().map(|(state, _)| format!("{}\n", state.id)).collect()
    } else if args.format == Format::Json {
        let list: Vec<serde_json::Value> = found.iter().map(|(state, life)| entry(state, *life)).collect();
        serde_json::to_string(&list)?
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

/// Only when nobody holds its lock: else its `run` is cleaning up at this moment.
fn destroy_orphan(context: &Context, folder: &crate::state::Folder) -> bool {
    let Ok(Some(_lock)) = folder.try_lock() else { return false };
    match folder.read() {
        Ok(Some(state)) if state.life(folder) == Life::Stopped => destroy(context, folder, &state).is_ok(),
        _ => false,
    }
}

pub fn ps(context: &Context, args: Ps) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    let state = folder.read_whole()?;
    if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
        bail!("container not running");
    }
    let list = folder.connect()?.processes(&args.id)?;
    if args.format == Format::Json {
        let pids: Vec<i32> = list.iter().map(|p| p.pid).collect();
        return print(&serde_json::to_string(&pids)?);
    }
    let mut rows = vec![["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"].map(String::from)];
    rows.extend(list.iter().map(row));
    print(&table(&rows))
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

fn entry(state: &State, life: Life) -> serde_json::Value {
    let mut value: serde_json::Value = serde_json::from_str(&oci_state(state, life)).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("owner".into(), owner(state.uid).into());
    }
    value
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

/// Columns as wide as their widest cell and three more, at least 12, as runc prints them.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut widths = [9usize; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:<w$}", w = width + 3);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
