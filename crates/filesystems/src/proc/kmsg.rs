//! /proc/kmsg: the kernel's messages for whoever logs them. proc_kmsg(5), syslog(2).
//!
//! The kernel's log is the sandbox' own file on the host: here no message ever comes, so a read waits until a signal ends it. Owns no locks.

use crate::pseudo::{Content, Node};
use abi::Errno;
use abi::fs::OpenFlags;
use kernel::cred::Cap;
use kernel::vfs::FileOps;
use kernel::wait::{Events, Queue};
use kernel::{Io, Op, Sink, fail};
use std::any::Any;
use std::sync::Arc;

pub fn node() -> Node {
    Node::file(0o400, Kmsg)
}

struct Kmsg;

impl Content for Kmsg {
    fn read(&self, _io: &mut Io<'_>) -> Op<Vec<u8>> {
        fail(Errno::EINVAL)
    }
    fn open(&self, io: &mut Io<'_>, _flags: OpenFlags) -> Op<Option<Arc<dyn FileOps>>> {
        if io.cred.has(Cap::Syslog) { Ok(Some(Arc::new(Reader(Queue::new())))) } else { fail(Errno::EPERM) }
    }
}

/// What nobody ever wakes.
struct Reader(Queue);

impl FileOps for Reader {
    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, _to: &mut dyn Sink) -> Op<usize> {
        io.wait_for(&self.0, Events::IN, || Ok(None))
    }
    fn ready(&self, _want: Events) -> Events {
        Events::empty()
    }
    fn queue(&self) -> Option<&Queue> {
        Some(&self.0)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}
