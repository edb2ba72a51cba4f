//! Makes the kernel out of its crates and implements [`Machine`] with it: the composition root.
//!
//! `prepare` runs single-threaded before lock-down (the platform forks its zygotes), the closure that it returns after it. `machine` answers
//! the control server, `container` makes a container, `mounts` its file system (`origins` remembers where it came from, `volumes` what containers share), `process` its programs, `home` what passwd(5) says of their users.
//!
//! [`Machine`]: crate::machine::Machine

mod container;
mod counters;
mod home;
mod machine;
mod mount_options;
mod mount_point;
mod mounts;
mod options;
mod origins;
mod pause;
mod process;
mod volumes;

use crate::machine::{BootContext, Failure, Kind, Prepared};
use kernel::Kernel;
use platform::Platform;
use std::sync::Arc;
use std::time::Duration;

/// The first step of boot: see [`crate::machine::Boot`].
pub fn prepare(context: BootContext) -> Result<Prepared, Failure> {
    let mut options = options::parse(&context.config)?;
    options.platform.proc = context.proc.map(host::HostFd::new);
    // A trace shows all calls, also those that guests would make by themselves.
    options.platform.memory &= !context.config.strace;
    options.platform.local &= !context.config.strace;
    kernel::wait::set_force_rerun(options.force_rerun);
    if options.limited {
        kernel::mm::untouched::set_limited();
    }
    if let Some(names) = context.config.dcache {
        kernel::vfs::dcache::set_limit(names as usize);
    }
    platform::set_run_queue(kernel::wait::RUN_QUEUE);
    let platform = Platform::start(options.platform)
        .map_err(|e| Failure::from_error(Kind::Other, &e).context("starting the platform that runs guest code"))?;
    kernel::reactor::init().map_err(|e| Failure::new(Kind::Other, format!("making the reactor's descriptors: {e}")))?;
    if context.config.watchdog != 0 {
        let limit = Duration::from_secs(context.config.watchdog.into());
        kernel::task::watchdog::init(limit, options.stall)
            .map_err(|e| Failure::new(Kind::Other, format!("making the watchdog's descriptors: {e}")))?;
    }
    let config = context.config;
    let listener = platform.has_listener();
    if !listener {
        observe::info!(
            "no seccomp listener: each system call of a guest costs a signal and two wake-ups, and each fork and thread some stops by ptrace"
        );
    }
    let finish = Box::new(move || {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let kernel = Kernel::new(platform.clone(), syscalls::table::lookup, cpus);
        if config.strace {
            let _ = kernel.tracer.set(Box::new(syscalls::strace::Strace::new(&config.strace_calls)));
        }
        devices::register(&kernel);
        network::register(&kernel);
        filesystems::register(&kernel);
        platform
            .run()
            .map_err(|e| Failure::from_error(Kind::Other, &e).context("starting the platform that runs guest code"))?;
        spawn_thread("reactor", kernel::reactor::run)?;
        if config.watchdog != 0 {
            let kernel = kernel.clone();
            spawn_thread("watchdog", move || kernel::task::watchdog::run(&kernel))?;
        }
        let machine: Arc<dyn crate::machine::Machine> = Arc::new(machine::Sandbox::new(kernel));
        Ok(machine)
    });
    Ok(Prepared { listener, finish })
}

fn spawn_thread(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let made = std::thread::Builder::new().name(name.to_string()).stack_size(256 << 10).spawn(body);
    made.map(drop).map_err(|e| Failure::new(Kind::Other, format!("starting the {name} thread: {e}")))
}
