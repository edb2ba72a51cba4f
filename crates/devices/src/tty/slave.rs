//! The slave side as a file: /dev/pts/N, where programs read lines and write. pty(7), termios(3).

use super::discipline::LineEnd;
use super::job::Access;
use super::settings::Side;
use super::terminal::{State, Terminal};
use abi::Errno;
use abi::fs::OpenFlags;
use abi::time::Timespec;
use abi::tty::*;
use kernel::cred::Cap;
use kernel::io::UserMemory;
use kernel::reactor;
use kernel::task::Task;
use kernel::time::Deadline;
use kernel::vfs::{FileOps, Position, PtsTerminal};
use kernel::wait::{Events, Queue};
use kernel::{Io, Op, Sink, Source, Stop, fail};
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// An open description of the slave.
pub(super) struct Slave {
    terminal: Arc<Terminal>,
    readable: bool,
    /// The terminal's epoch at open.
    epoch: u64,
    released: AtomicBool,
}

/// What devpts keeps of a pair.
pub(super) struct Line(pub Arc<Terminal>);

impl PtsTerminal for Line {
    fn open(&self, io: &mut Io<'_>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        self.0.open_slave(io, flags)
    }
    fn times(&self) -> (Timespec, Timespec) {
        let state = self.0.state.lock();
        (state.read_at, state.written_at)
    }
}

impl Terminal {
    /// A new description of the slave. EIO while it is locked or when the master is gone, EBUSY under TIOCEXCL.
    pub fn open_slave(self: &Arc<Self>, io: &Io<'_>, flags: OpenFlags) -> Op<Arc<dyn FileOps>> {
        let epoch = {
            let mut state = self.state.lock();
            if state.locked || state.hung_up {
                return fail(Errno::EIO);
            }
            if state.exclusive && !io.cred.has(Cap::SysAdmin) {
                return fail(Errno::EBUSY);
            }
            state.slaves += 1;
            state.slave_closed = false;
            state.epoch
        };
        if !flags.contains(OpenFlags::NOCTTY)
            && flags.readable()
            && let Some(task) = Task::of(io)
        {
            self.adopt_at_open(&task);
        }
        let slave =
            Slave { terminal: self.clone(), readable: flags.readable(), epoch, released: AtomicBool::new(false) };
        Ok(Arc::new(slave))
    }
}

/// What a read came to.
enum Got {
    Data(Vec<u8>, Option<LineEnd>),
    /// Nothing yet; where VTIME counts, until when.
    Wait(Option<Deadline>),
}

/// Tenths of a second in ns.
const TENTH: u64 = 100_000_000;

fn try_read(state: &mut State, epoch: u64, max: usize, since: u64, impatient: bool) -> Got {
    if state.is_dead(epoch) {
        return Got::Data(Vec::new(), None);
    }
    let line = &mut state.line;
    if line.canonical() {
        return line.read(max).map_or(Got::Wait(None), |(data, end)| Got::Data(data, end));
    }
    let (least, time) = (line.least(), u64::from(line.cc(VTIME)) * TENTH);
    let have = line.available();
    let enough = have > 0 && (have >= least.min(max) || impatient);
    let started = if least == 0 { since } else { state.last_input };
    let counts = time > 0 && (least == 0 || have > 0);
    let deadline = Deadline(started.saturating_add(time));
    if enough || least == 0 && time == 0 || counts && deadline.expired() {
        return line.read(max).map_or(Got::Wait(None), |(data, end)| Got::Data(data, end));
    }
    Got::Wait(counts.then_some(deadline))
}

impl State {
    /// Whether a description of the slave that was opened in `epoch` is hung up.
    fn is_dead(&self, epoch: u64) -> bool {
        self.hung_up || self.epoch != epoch
    }
}

impl FileOps for Slave {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let terminal = &self.terminal;
        terminal.check_foreground(io, Access::Read)?;
        let max = to.left().min(65536);
        if max == 0 {
            return Ok(0);
        }
        let now = kernel::time::monotonic();
        let since = io.waits().map_or(now, |waits| *waits.since.get_or_insert(now));
        let impatient = io.nonblock || io.interrupted();
        let mut deadline = None;
        let got = io.wait_for(&terminal.slave_queue, Events::IN, || {
            Ok(terminal.update(|state, _| match try_read(state, self.epoch, max, since, impatient) {
                Got::Data(data, end) => Some((data, end)),
                Got::Wait(until) => {
                    deadline = until;
                    None
                }
            }))
        });
        if let (Err(Stop::Block), Some(deadline), Some(waits)) = (&got, deadline, io.waits()) {
            let timer = reactor::at(deadline, waits.target().clone());
            waits.hold(Box::new(timer));
        }
        let (data, end) = got?;
        if data.is_empty() {
            return Ok(0);
        }
        let put = to.put(&data);
        let count = *put.as_ref().unwrap_or(&0);
        terminal.update(|state, _| {
            state.read_at = kernel::time::now();
            if let Some(rest) = data.get(count..).filter(|rest| !rest.is_empty()) {
                state.line.unread(rest, end);
            }
        });
        put
    }

    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let terminal = &self.terminal;
        if terminal.termios().c_lflag & TOSTOP != 0 {
            terminal.check_foreground(io, Access::Change)?;
        }
        let mut buffer = vec![0; from.left().min(4096)];
        let mut done = 0;
        while from.left() > 0 {
            let got = match from.take(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            let data = buffer.get(..got).unwrap_or_default();
            let wrote = terminal.update(|state, _| {
                if state.is_dead(self.epoch) {
                    return None;
                }
                state.written_at = kernel::time::now();
                Some(state.line.write(data))
            });
            from.untake(got - wrote.unwrap_or(0).min(got));
            let Some(wrote) = wrote else {
                return if done > 0 { Ok(done) } else { fail(Errno::EIO) };
            };
            done += wrote;
            if wrote == got {
                continue;
            }
            if io.nonblock {
                return if done > 0 { Ok(done) } else { fail(Errno::EAGAIN) };
            }
            *io.done += done as u64;
            done = 0;
            io.wait_for(&terminal.slave_queue, Events::OUT, || {
                let state = terminal.state.lock();
                Ok((state.is_dead(self.epoch) || state.line.output_room() > 0).then_some(()))
            })?;
        }
        Ok(done)
    }

    fn ready(&self, want: Events) -> Events {
        let state = self.terminal.state.lock();
        if state.is_dead(self.epoch) {
            let all = Events::IN | Events::OUT | Events::RDNORM | Events::WRNORM;
            return want & all | Events::ERR | Events::HUP;
        }
        let mut have = Events::empty();
        let least = if state.line.cc(VTIME) == 0 { usize::from(state.line.cc(VMIN)) } else { 1 };
        if state.line.readable(least) {
            have |= Events::IN | Events::RDNORM;
        }
        if state.line.output_room() > 0 {
            have |= Events::OUT | Events::WRNORM;
        }
        want & have
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.terminal.slave_queue)
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        let terminal = &self.terminal;
        if terminal.state.lock().is_dead(self.epoch) {
            return fail(if cmd == TIOCSPGRP { Errno::ENOTTY } else { Errno::EIO });
        }
        match cmd {
            TIOCINQ => {
                let count = terminal.state.lock().line.available() as i32;
                memory.write(arg, &count.to_le_bytes()).map(|()| 0)
            }
            TIOCSCTTY => terminal.make_controlling(io, arg == 1, self.readable).map(|()| 0),
            TIOCNOTTY => terminal.give_up(io).map(|()| 0),
            _ => terminal.common_ioctl(io, memory, cmd, arg, Side::Slave),
        }
    }

    fn release(&self) {
        if self.released.swap(true, Ordering::Relaxed) {
            return;
        }
        let last = {
            let mut state = self.terminal.state.lock();
            state.slaves = state.slaves.saturating_sub(1);
            state.slave_closed = state.slaves == 0;
            state.slave_closed
        };
        if last {
            self.terminal.master_queue.wake(Events::IN | Events::HUP);
        }
    }

    fn sync(&self, _io: &mut Io<'_>, _data_only: bool) -> Op<()> {
        fail(Errno::EINVAL)
    }

    fn label(&self) -> Option<String> {
        None
    }

    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
