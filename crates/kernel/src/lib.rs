//! The kernel: tasks, signals, memory, VFS, descriptors, namespaces, time, IPC, loader.
//!
//! A Linux kernel as a library: `sandbox` composes it with file systems, sockets, devices and the system call table,
//! which register themselves. Modules in their order, lowest first; a module names only those above it in this list
//! (a test enforces it; `docs/adr/0003` lists the exceptions).

pub mod locks;
pub mod op;
pub mod wait;
pub mod time;
pub mod reactor;
pub mod cred;
pub mod io;
pub mod vfs;
pub mod fd;
pub mod mm;
pub mod signal;
pub mod task;
pub mod call;
mod kernel;

pub use call::{Args, Call, Handler, Record, Ret, StubWork};
pub use io::{Io, Sink, Source};
pub use kernel::Kernel;
pub use op::{Op, Restart, Stop, fail};

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no other object of this kernel has: ids of namespaces, pipes, files.
pub fn unique_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}
