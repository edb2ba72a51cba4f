//! The OCI runtime: command line, container states, process set-up on the host, cgroups, hooks, terminals.
//!
//! A library so that tests can put another kernel into the same binary. `cli` parses, `commands` carry out, `launch` starts the processes, `internal`
//! is what they are.

mod bytes;
mod cgroup;
mod cli;
mod commands;
mod config;
mod console;
mod container;
mod error;
mod foreground;
mod hints;
mod hooks;
mod image;
mod internal;
mod janitor;
mod launch;
mod log;
mod oom;
mod overlay;
mod pod;
mod probe;
mod process;
mod seccomp;
mod state;

use clap::Parser;
use clap::error::ErrorKind;
use sandbox::machine::Boot;

use crate::commands::Context;

/// The whole program; `boot` makes the kernel in the kernel process. Returns the exit status.
pub fn main(boot: Boot) -> u8 {
    host::spawn::remember_open();
    match std::env::args_os().nth(1).as_deref().and_then(|a| a.to_str()) {
        Some("sandbox") => return internal::sandbox(boot),
        Some("gofer") => return internal::gofer(),
        Some("container") => return internal::container(),
        _ => {}
    }
    let cli = match cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => 0,
                // runc's: 3 for a command that does not exist, 1 for the rest.
                ErrorKind::InvalidSubcommand => 3,
                _ => 1,
            };
        }
    };
    let opened = log::Log::open(&cli.global).and_then(|log| Ok((log, state::Root::new(cli.global.root.as_deref())?)));
    match opened {
        Ok((log, root)) => commands::run(&Context { global: cli.global, log, root }, cli.command),
        Err(e) => {
            log::Log::plain().error(&error::line(&e));
            1
        }
    }
}
