//! Files for stub processes without a listener: by a socket that each process makes for itself, one end of which the kernel process takes at its first doorbell.
//!
//! One thread of a process at a time is given files; the next one when that has rung again, so that what is sent and not received is never more than one message. What a hostile
//! process gives as its socket may be anything that it holds, and none of that is more than its own. Neighbours: `perform` (scripts with files), `socket`, `outgoing` (sends).
//! Owns the lock of whose turn it is.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;

use abi::Errno;
use host::HostFd;
use host::message;
use host::seccomp::notify::Notification;

use crate::core::Core;
use crate::layout::op;
use crate::outgoing::{Out, queue};
use crate::shard::Shard;
use crate::space::Space;
use crate::state::{Answer, At, State};
use crate::sync::{Handovers, Mutex, lock};
use crate::thread::Thread;

#[derive(Default)]
pub(crate) struct Handover(Mutex<Turns, Handovers>);

#[derive(Default)]
struct Turns {
    socket: Option<Arc<HostFd>>,
    /// The thread, by host id, that is to receive what was sent.
    whose: Option<i32>,
    waiting: VecDeque<Arc<Thread>>,
}

/// Takes the socket for files out of a process that rings for the first time.
fn take_socket(pid: i32, number: u64) -> Result<Arc<HostFd>, Errno> {
    let number = u32::try_from(number).map_err(|_| Errno::EBADF)?;
    host::process::take_fd(pid, number).map(HostFd::new)
}

/// What a new process gets its mailboxes by: the descriptor's number in it, or the socket to which the file is sent once the process is known.
type Handed = (i64, Option<(Arc<HostFd>, Arc<HostFd>)>);

impl Shard {
    /// Hands the file of its mailboxes to the new process that rings; without a listener it brings a socket for that.
    pub(crate) fn hand_mailboxes(&self, n: &Notification, file: &Arc<HostFd>) -> Result<Handed, Errno> {
        if self.core.config.listener {
            return Thread::hand_over(self, n.id, file).map(|number| (number, None));
        }
        take_socket(n.pid as i32, n.data.args[3]).map(|socket| (0, Some((socket, file.clone()))))
    }
}

/// Sends files to a stub process; one that has not received what was sent before is killed.
pub(crate) fn send(core: &Core, pid: i32, socket: &HostFd, files: &[Arc<HostFd>]) {
    let borrowed: Vec<_> = files.iter().map(|f| f.as_fd()).collect();
    let message = [0u8];
    let sent = match message::unread(socket) {
        Ok(0) => message::send(socket, &message, &borrowed, false),
        Ok(_) => Err(host::rustix::io::Errno::AGAIN),
        Err(e) => Err(e),
    };
    // Where the host refuses the descriptors (too many in flight), an empty message makes the script fail.
    let sent = sent.or_else(|e| match e {
        host::rustix::io::Errno::AGAIN => Err(e),
        _ => message::send(socket, &message, &[], false),
    });
    if sent.is_err() {
        core.violation(pid, "files that it did not receive");
        let _ = host::process::kill(pid, libc::SIGKILL);
    }
}

impl Space {
    pub(crate) fn set_socket(&self, socket: Arc<HostFd>) {
        lock(&self.handover.0).socket = Some(socket);
    }
}

impl Thread {
    /// Has a parked thread receive its files, now or when it is its turn; then it rings, and is given the answer.
    pub(crate) fn give_files(&self, st: &mut State, answer: Answer) {
        let now = {
            let mut turns = lock(&self.space.handover.0);
            let free = turns.whose.is_none();
            if free {
                turns.whose = Some(self.host_tid);
            } else if let Some(own) = self.shard.thread(self.host_tid) {
                turns.waiting.push_back(own);
            }
            free.then(|| turns.socket.clone()).flatten()
        };
        if let Some(socket) = now {
            self.receive_files(st, socket);
        }
        st.at = At::Coming(Some(answer));
    }

    fn receive_files(&self, st: &mut State, socket: Arc<HostFd>) {
        queue(Out::Give { core: self.core, pid: self.space.host_pid(), socket, files: st.files.clone() });
        self.go(st, op::TAKE);
    }

    /// It has rung: if it was its turn to receive files, the next one is served.
    pub(crate) fn has_taken(&self) {
        let mut whose = self.host_tid;
        loop {
            let (next, socket) = {
                let mut turns = lock(&self.space.handover.0);
                if turns.whose != Some(whose) {
                    return;
                }
                let next = turns.waiting.pop_front();
                turns.whose = next.as_ref().map(|t| t.host_tid);
                (next, turns.socket.clone())
            };
            let (Some(next), Some(socket)) = (next, socket) else { return };
            let mut st = lock(&next.state);
            if let At::Coming(answer @ Some(_)) = &mut st.at {
                let answer = answer.take();
                next.receive_files(&mut st, socket);
                st.at = At::Coming(answer);
                return;
            }
            whose = next.host_tid; // it has ended meanwhile: on with the one behind it
        }
    }
}

impl Shard {
    /// Hands the memory file of its mailboxes to a process that waits in its first doorbell.
    pub(crate) fn give_mailboxes(&self, space: &Space, socket: Arc<HostFd>, file: Arc<HostFd>) {
        space.set_socket(socket.clone());
        queue(Out::Give { core: self.core, pid: space.host_pid(), socket, files: vec![file] });
    }
}
