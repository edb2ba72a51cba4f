//! The state of a pseudo terminal pair, used by both of its sides.
//!
//! Locks: `FileState` around `State`. What a change causes outside (signals, wake-ups) is done by `Terminal::update` after it.

use super::discipline::{Discipline, Effects};
use super::job::Job;
use abi::time::Timespec;
use abi::tty::{TIOCPKT_STOP, Termios2, Winsize};
use kernel::Kernel;
use kernel::locks::FileState;
use kernel::signal::{SIGCONT, SIGHUP, SIGWINCH, SigInfo};
use kernel::task::{Pid, signal_pgrp};
use kernel::wait::{Events, Queue};
use lock::Mutex;
use std::sync::Arc;

/// A pair. The slave is the side that programs run on.
pub struct Terminal {
    pub(super) kernel: Arc<Kernel>,
    /// N of /dev/pts/N.
    pub index: u32,
    pub(super) state: Mutex<State, FileState>,
    /// Who waits at the slave, and at the master.
    pub(super) slave_queue: Queue,
    pub(super) master_queue: Queue,
}

pub(super) struct State {
    pub line: Discipline,
    pub size: Winsize,
    pub job: Job,
    /// Open descriptions of the slave.
    pub slaves: usize,
    /// Goes up with TIOCVHANGUP: descriptions of the slave from before are dead.
    pub epoch: u64,
    /// The slave was open and is no more: the master reads EIO once it has read what is left.
    pub slave_closed: bool,
    /// The master is gone: nothing comes any more.
    pub hung_up: bool,
    /// TIOCSPTLCK: the slave can't be opened yet.
    pub locked: bool,
    /// TIOCEXCL.
    pub exclusive: bool,
    /// TIOCPKT, and its bits that the master has not read.
    pub packet_mode: bool,
    pub packet: u8,
    /// When a byte came last, CLOCK_MONOTONIC ns: VTIME counts from it.
    pub last_input: u64,
    /// For stat of the node: the last read and the last write.
    pub read_at: Timespec,
    pub written_at: Timespec,
}

impl Terminal {
    /// A new pair; the master is open.
    pub fn new(kernel: &Arc<Kernel>, index: u32) -> Arc<Terminal> {
        let now = kernel::time::now();
        let state = State {
            line: Discipline::new(),
            size: Winsize::default(),
            job: Job::default(),
            slaves: 0,
            epoch: 0,
            slave_closed: false,
            hung_up: false,
            locked: true,
            exclusive: false,
            packet_mode: false,
            packet: 0,
            last_input: 0,
            read_at: now,
            written_at: now,
        };
        Arc::new(Terminal {
            kernel: kernel.clone(),
            index,
            state: Mutex::new(state),
            slave_queue: Queue::new(),
            master_queue: Queue::new(),
        })
    }

    /// Changes the state, then wakes both sides as far as they may find something new, and sends the signals that came of it.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let mut state = self.state.lock();
        let before = (state.line.available(), state.line.room(), state.line.output_len(), state.line.output_room());
        let lines = state.line.lines();
        let value = change(&mut state, &mut effects);
        // An end of file is a line without a byte.
        let new_line = state.line.lines() > lines;
        let after = (state.line.available(), state.line.room(), state.line.output_len(), state.line.output_room());
        if state.packet_mode && effects.packet != 0 {
            // A stop and a start take each other's place.
            let opposite = if effects.packet & TIOCPKT_STOP as u8 != 0 { 8 } else { 4 };
            state.packet = state.packet & !opposite | effects.packet;
        }
        let packet = state.packet_mode && state.packet != 0;
        let foreground = if effects.signals.is_empty() { None } else { state.job.foreground() };
        drop(state);
        if after.0 > before.0 || new_line {
            self.slave_queue.wake(Events::IN | Events::RDNORM);
        }
        if after.3 > before.3 {
            self.slave_queue.wake(Events::OUT | Events::WRNORM);
        }
        if after.2 > before.2 || packet {
            let urgent = if packet { Events::PRI } else { Events::empty() };
            self.master_queue.wake(Events::IN | Events::RDNORM | urgent);
        }
        if after.1 > before.1 {
            self.master_queue.wake(Events::OUT | Events::WRNORM);
        }
        if let Some(pgrp) = foreground {
            for sig in effects.signals {
                signal_pgrp(&self.kernel, &pgrp, SigInfo::kernel(sig));
            }
        }
        value
    }

    /// Input from the keyboard side; how much was taken.
    pub fn type_in(&self, bytes: &[u8]) -> usize {
        self.update(|state, effects| {
            if state.hung_up {
                return bytes.len();
            }
            state.last_input = kernel::time::monotonic();
            state.line.receive(bytes, effects)
        })
    }

    /// Output for the screen side.
    pub fn take_output(&self, max: usize) -> Vec<u8> {
        self.update(|state, _| state.line.take_output(max))
    }

    /// Bytes of output that the screen side has not taken.
    pub fn output_len(&self) -> usize {
        self.state.lock().line.output_len()
    }

    /// What is woken (IN) when there is output, and (OUT) when there is room for input again.
    pub fn output_queue(&self) -> &Queue {
        &self.master_queue
    }

    /// Sets the size; the foreground group gets SIGWINCH where it is another one.
    pub fn resize(&self, size: Winsize) {
        self.update(|state, effects| {
            if std::mem::replace(&mut state.size, size) != size {
                effects.signals.push(SIGWINCH);
            }
        });
    }

    /// Lets the slave be opened, unlockpt(3).
    pub fn unlock(&self) {
        self.state.lock().locked = false;
    }

    /// The keyboard side is gone: the session is told, and what is open at the slave is dead.
    pub fn hang_up(self: &Arc<Self>) {
        if !std::mem::replace(&mut self.state.lock().hung_up, true) {
            self.hang_up_slaves();
        }
    }

    /// TIOCVHANGUP: the session is told, and what is open at the slave is dead. It can be opened anew.
    pub(super) fn hang_up_slaves(self: &Arc<Self>) {
        let (session, foreground) = {
            let mut state = self.state.lock();
            state.epoch += 1;
            state.line.termios = Termios2::default();
            state.line.flush_input();
            let foreground = state.job.foreground();
            (state.job.leave(), foreground)
        };
        self.slave_queue.wake(Events::all());
        self.master_queue.wake(Events::all());
        if let Some(session) = session {
            drop(session.set_tty(None));
            if let Some(leader) = session.pid.group() {
                kernel::task::send(&leader, None, SigInfo::kernel(SIGHUP));
                kernel::task::send(&leader, None, SigInfo::kernel(SIGCONT));
            }
        }
        if let Some(pgrp) = foreground {
            self.signal_all(&pgrp);
        }
    }

    fn signal_all(&self, pgrp: &Arc<Pid>) {
        signal_pgrp(&self.kernel, pgrp, SigInfo::kernel(SIGHUP));
        signal_pgrp(&self.kernel, pgrp, SigInfo::kernel(SIGCONT));
    }
}
