//! The kernel: tasks, signals, memory, VFS, descriptors, namespaces, time, IPC, loader.
//!
//! A Linux kernel as a library: `sandbox` composes it with file systems, sockets, devices and the system call table,
//! which register themselves. The modules have an order (crates/kernel/MODULES, `docs/adr/0003`): one names only those below it,
//! and a test enforces it.

pub mod bpf;
pub mod buffer;
pub mod call;
pub mod cbpf;
pub mod cred;
pub mod fd;
pub mod io;
pub mod ipc;
mod kernel;
pub mod lent;
pub mod loader;
pub mod locks;
pub mod memory;
pub mod mm;
pub mod op;
pub mod reactor;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod task;
pub mod time;
pub mod version;
pub mod vfs;
pub mod wait;

pub use call::{Args, Call, Handler, Next, Record, Ret, StubWork};
pub use io::{Io, Sink, Source};
pub use kernel::{Kernel, Row, Tracer};
pub use op::{Op, Restart, Stop, fail};
/// Around host calls that can sleep: another thread of the same core takes this worker's place.
pub use platform::block_in_place;

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// A number that no other object of this kernel has: ids of namespaces, pipes, files.
pub fn unique_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}
