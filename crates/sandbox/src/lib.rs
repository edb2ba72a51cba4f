//! The kernel process: composition root, boot, control server, lock-down.
//!
//! `enter` empties the process' world, `boot` makes the kernel, `lockdown` shuts the door, `server` answers the command line. `runtime` starts the
//! process (as `stockade sandbox`, PID 1 of its own PID namespace) and talks to it through `client`.

pub mod boot;
pub mod client;
pub mod enter;
pub mod lockdown;
pub mod machine;
pub mod protocol;
pub mod server;
pub mod spec;

use std::os::fd::OwnedFd;

use host::signals::SignalFd;

use crate::machine::{Boot, BootContext, Failure, Kind};
use crate::protocol::{Reply, Request, receive, send};

/// Descriptors that the process is started with, after the standard streams (of which only standard error is more than /dev/null).
pub struct Donated {
    /// The creator's end of the control protocol.
    pub control: OwnedFd,
    /// Where further commands connect; none for `do`.
    pub listener: Option<OwnedFd>,
}

/// Runs the kernel process to its end; its exit status, which is that of the container's first program.
pub fn run(donated: Donated, boot: Boot) -> u8 {
    match start(&donated.control, boot) {
        Ok((machine, signals)) => match server::Server::new(machine, signals, donated.control, donated.listener) {
            Ok(server) => server.run(),
            Err(_) => 1,
        },
        Err(failure) => {
            // The answer to `Create`, which the creator has sent or will send.
            let _ = send(&donated.control, &Reply::Failed(failure), &[], false);
            1
        }
    }
}

fn start(control: &OwnedFd, boot: Boot) -> Result<(std::sync::Arc<dyn machine::Machine>, SignalFd), Failure> {
    let config = match receive::<Request>(control, true) {
        Ok((Request::Boot(config), _)) => config,
        Ok(_) => return Err(Failure::new(Kind::Other, "the sandbox' first message was not its configuration")),
        Err(e) => return Err(Failure::new(Kind::Other, e.to_string())),
    };
    let debug = config.debug;
    log(&config);
    let step = |what: &'static str| {
        move |e: host::rustix::io::Errno| Failure::new(Kind::Other, format!("setting up the sandbox: {what}: {e}"))
    };
    filesystems::gather_facts();
    let proc = enter::enter().map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
    let prepared = boot(BootContext { config, proc })?;
    lockdown::install(debug, prepared.listener).map_err(step("installing the seccomp filter"))?;
    // After the zygotes exist (they must not inherit it), before threads do (they must).
    let signals = SignalFd::block(&server::FORWARDED).map_err(step("blocking signals"))?;
    Ok(((prepared.finish)()?, signals))
}

/// Where the kernel process' own lines go: standard error is the log. Without being asked it tells of errors only.
fn log(config: &protocol::BootConfig) {
    let format = if config.json_log { observe::log::Format::Json } else { observe::log::Format::Text };
    observe::log::set_sink(Box::new(std::io::stderr()), format);
    observe::log::set_level(match (config.debug, config.strace) {
        (true, _) => observe::Level::Debug,
        (false, true) => observe::Level::Info,
        (false, false) => observe::Level::Error,
    });
}

/// One row of the table of system calls, for `stockade syscalls`.
pub struct SyscallRow {
    pub number: u32,
    pub name: &'static str,
    /// full, partial or none.
    pub support: &'static str,
    /// What is missing.
    pub note: &'static str,
}

/// The table of system calls, in the order of their numbers.
pub fn syscall_table() -> impl Iterator<Item = SyscallRow> {
    use syscalls::table::{Support, TABLE};
    TABLE.iter().map(|entry| {
        let (support, note) = match entry.support {
            Support::Full => ("full", ""),
            Support::Part(missing) => ("partial", missing),
            Support::No(why) => ("none", why),
        };
        SyscallRow { number: entry.nr, name: entry.name, support, note }
    })
}
