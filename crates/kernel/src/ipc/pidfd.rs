//! Processes as files. pidfd_open(2), clone(2) CLONE_PIDFD. Owns no locks.

use crate::task::{GroupState, Pid, PidNs};
use crate::vfs::{File, FileOps, Position};
use crate::wait::{Events, Queue};
use abi::fs::OpenFlags;
use std::any::Any;
use std::sync::Arc;

/// A reference to a process, or to a thread (PIDFD_THREAD).
pub struct PidFd {
    pub pid: Arc<Pid>,
    pub thread: bool,
    /// The namespace of who opened it, for fdinfo.
    ns: Arc<PidNs>,
}

/// A file for `pid`; `flags`: O_NONBLOCK.
pub fn new_pidfd(pid: Arc<Pid>, thread: bool, ns: Arc<PidNs>, flags: OpenFlags) -> Arc<File> {
    File::anonymous(Arc::new(PidFd { pid, thread, ns }), flags | OpenFlags::RDWR)
}

impl FileOps for PidFd {
    fn position(&self) -> Position {
        Position::Stream
    }

    /// Readable once it has ended; hung up once it has been waited for.
    fn ready(&self, want: Events) -> Events {
        let ended = Events::IN | Events::RDNORM;
        let group = self.pid.group();
        let is = if self.thread {
            match self.pid.task() {
                Some(task) if task.exit_status.get().is_none() => Events::empty(),
                Some(_) => ended,
                None => ended | Events::HUP,
            }
        } else {
            match group.map(|g| g.state()) {
                Some(GroupState::Alive) => Events::empty(),
                Some(GroupState::Zombie(_)) => ended,
                Some(GroupState::Reaped) | None => ended | Events::HUP,
            }
        };
        is & (want | Events::HUP)
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.pid.exited)
    }

    fn label(&self) -> Option<String> {
        Some("anon_inode:[pidfd]".into())
    }

    fn fdinfo(&self) -> String {
        let gone = self.pid.group().is_none() && self.pid.task().is_none();
        let numbers = if gone { vec![-1] } else { self.pid.numbers_from(&self.ns) };
        let list: String = numbers.iter().map(|n| format!("\t{n}")).collect();
        format!("Pid:\t{}\nNSpid:{list}\n", numbers.first().copied().unwrap_or(0))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
