//! `--strace`: prints what a guest asks and gets, one line a call, in the manner of strace(1). A call that waits shows
//! `<waits>` once, and its result on a line of its own.

use crate::table::{self, ArgType};
use kernel::Tracer;
use kernel::task::Task;
use std::collections::HashSet;
use std::sync::Arc;

/// Writes lines to the log. Without names it shows every call.
pub struct Strace {
    only: HashSet<u32>,
}

impl Strace {
    /// `names` that are no calls are ignored; the command line has checked them.
    pub fn new(names: &[String]) -> Strace {
        Strace { only: names.iter().filter_map(|name| abi::nr::by_name(name)).collect() }
    }

    fn shows(&self, nr: u32) -> bool {
        self.only.is_empty() || self.only.contains(&nr)
    }
}

impl Tracer for Strace {
    fn enter(&self, task: &Arc<Task>, nr: u32, args: &[u64; 6]) {
        if self.shows(nr) {
            observe::info!("[{}] {}", who(task), show_call(task, nr, args));
        }
    }

    fn leave(&self, task: &Arc<Task>, nr: u32, args: &[u64; 6], result: Option<i64>) {
        if !self.shows(nr) {
            return;
        }
        let name = abi::nr::name(nr).unwrap_or("?");
        match result {
            None => observe::info!("[{}] {name} <waits>", who(task)),
            Some(value @ -4095..=-1) => {
                observe::info!("[{}] {name} = -1 {}", who(task), abi::Errno::from_raw(-value as i32));
            }
            Some(value) => match (name, args) {
                ("mmap" | "brk" | "mremap", _) => observe::info!("[{}] {name} = {value:#x}", who(task)),
                _ => observe::info!("[{}] {name} = {value}", who(task)),
            },
        }
    }
}

fn who(task: &Task) -> String {
    format!("{}:{} {}", task.group.id(), task.tid(), String::from_utf8_lossy(&task.comm()))
}

fn show_call(task: &Task, nr: u32, args: &[u64; 6]) -> String {
    let Some(entry) = table::entry(nr) else { return format!("call {nr}({args:x?})") };
    let shown: Vec<String> = entry.args.iter().zip(args).map(|(kind, value)| show(task, *kind, *value)).collect();
    if entry.args.is_empty() && matches!(entry.support, table::Support::No(_)) {
        return format!("{}({args:x?})", entry.name);
    }
    format!("{}({})", entry.name, shown.join(", "))
}

fn show(task: &Task, kind: ArgType, value: u64) -> String {
    match kind {
        ArgType::fd | ArgType::int => (value as i32).to_string(),
        ArgType::dirfd if value as i32 == -100 => "AT_FDCWD".to_string(),
        ArgType::dirfd => (value as i32).to_string(),
        ArgType::size => value.to_string(),
        ArgType::path => show_path(task, value),
        ArgType::ptr if value == 0 => "NULL".to_string(),
        ArgType::ptr | ArgType::hex | ArgType::prot | ArgType::oflags => format!("{value:#x}"),
        ArgType::mode => format!("{value:#o}"),
        ArgType::signal => value.to_string(),
    }
}

fn show_path(task: &Task, at: u64) -> String {
    match task.mm().map(|mm| mm.cstr(at, 4096)) {
        Some(Ok(Some(path))) => format!("{:?}", String::from_utf8_lossy(&path)),
        _ => format!("{at:#x}"),
    }
}
