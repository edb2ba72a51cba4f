//! The commands, one file each where they are more than a few lines. Owns no locks.

mod counters;
mod create;
mod delete;
mod do_;
mod events;
mod exec;
mod features;
mod inspect;
mod kill;
mod list;
mod mounts;
mod spec;
mod update;

use anyhow::{Result, anyhow};

pub use delete::end_processes;

use crate::cli::{Command, Global};
use crate::error::{line, status_of};
use crate::log::Log;
use crate::state::{Root, in_user_namespace};

/// What every command needs.
pub struct Context {
    pub global: Global,
    pub log: Log,
    pub root: Root,
}

impl Context {
    /// Cgroups that cannot be made are no error.
    pub fn lenient(&self) -> bool {
        match self.global.rootless.as_str() {
            "true" => true,
            "false" => false,
            _ => !host::rustix::process::geteuid().is_root() || in_user_namespace(),
        }
    }
}

/// Carries a command out; the exit status.
pub fn run(context: &Context, command: Command) -> u8 {
    // Status of the command's own failures, and the words that runc puts before them.
    let (result, failed, what) = match command {
        Command::Do(args) => (do_::run(context, args), 1, ""),
        Command::Run(args) => (create::run(context, args), 1, "run failed"),
        Command::Create(args) => (create::create(context, args), 1, "create failed"),
        Command::Exec(args) => (exec::run(context, args), 255, "exec failed"),
        Command::Start(args) => (create::start(context, &args.id), 1, ""),
        Command::State(args) => (inspect::state(context, &args.id), 1, ""),
        Command::Kill(args) => (kill::run(context, args), 1, ""),
        Command::Delete(args) => (delete::run(context, args), 1, ""),
        Command::List(args) => (list::list(context, args), 1, ""),
        Command::Ps(args) => (list::ps(context, args), 1, ""),
        Command::Spec(args) => (spec::run(args), 1, ""),
        Command::Features(args) => (features::run(context, args), 1, ""),
        Command::Syscalls(args) => (features::syscalls(args), 1, ""),
        Command::Events(args) => (events::run(context, args), 1, ""),
        Command::Debug(args) if args.counters => (counters::show(context, &args.id, args.format), 1, ""),
        Command::Debug(args) if args.mounts => (mounts::show(context, &args.id, args.format), 1, ""),
        Command::Debug(args) => (inspect::debug(context, &args.id), 1, ""),
        Command::Pause(args) => (kill::pause(context, &args.id, true), 1, ""),
        Command::Resume(args) => (kill::pause(context, &args.id, false), 1, ""),
        Command::Update(args) => (update::run(context, args), 1, ""),
        Command::Checkpoint(_) => (Err(anyhow!("checkpoint is not supported yet")), 1, ""),
        Command::Restore(_) => (Err(anyhow!("restore is not supported yet")), 1, ""),
    };
    match result {
        Ok(status) => status,
        Err(e) => {
            let text = line(&e);
            context.log.error(&if what.is_empty() { text } else { format!("{what}: {text}") });
            match what {
                // `do` is a shell's tool: 126 and 127 as a shell's. runc's users expect its own.
                "" => status_of(&e, failed),
                _ => failed,
            }
        }
    }
}

/// Prints to standard output; a reader that has gone is no failure of the command, a full disk is.
pub fn print(text: &str) -> Result<u8> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(0),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        Err(e) => Err(anyhow!(e).context("cannot write to standard output")),
    }
}
