//! What the kernel process does to itself first: it leaves the host's files, gives up its capabilities, and bounds its resources.
//!
//! `runtime` has started it in user, mount, PID, network, IPC and UTS namespaces of its own. Neighbours: `lockdown` (comes after the platform's
//! zygotes exist), `host::{namespaces, tmpfs, zero, capabilities}`. Owns no locks.

use std::os::fd::OwnedFd;

use host::rustix::io::Errno;
use host::rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Which step failed.
#[derive(Debug, thiserror::Error)]
#[error("setting up the sandbox: {step}: {errno}")]
pub struct EnterError {
    step: &'static str,
    errno: Errno,
}

/// Returns the descriptor of a procfs of this PID namespace, where the host allows one.
pub fn enter() -> Result<Option<OwnedFd>, EnterError> {
    let step = |step| move |errno| EnterError { step, errno };
    let _ = host::rustix::thread::set_name(c"stockade-kernel");
    // Masked /proc (inside another container): EPERM. `stockade features` tells what is missing then.
    let proc = host::namespaces::detached_proc().ok();
    // Before Linux 6.4 (PR_GET_AUXV) the library of host calls reads /proc/self/auxv when it first wants to know, and keeps it.
    let _ = host::rustix::param::page_size();
    host::zero::keep();
    // Without huge pages in the host's kernel files lie in memfds.
    let _ = host::tmpfs::set_up();
    host::namespaces::empty_root().map_err(step("making an empty root"))?;
    raise_file_limit();
    // 1, not 0: a limit of 0 does not stop a core pattern that is a pipe.
    let core = Rlimit { current: Some(1), maximum: Some(1) };
    setrlimit(Resource::Core, core).map_err(step("limiting core dumps"))?;
    host::rustix::process::umask(host::rustix::fs::Mode::from_raw_mode(0o077));
    host::capabilities::drop_all().map_err(step("dropping capabilities"))?;
    host::capabilities::no_new_privileges().map_err(step("setting no_new_privs"))?;
    // The stubs are processes of the same user; process_vm_readv(2) wants them, and us, dumpable.
    set_dumpable_behavior(DumpableBehavior::Dumpable).map_err(step("staying dumpable"))?;
    Ok(proc)
}

/// Guests' open files are descriptors of ours.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
