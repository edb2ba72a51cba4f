//! The master side as a file: what a terminal emulator holds. pty(7), ioctl_tty(2).

use super::settings::Side;
use super::terminal::Terminal;
use abi::Errno;
use abi::fs::OpenFlags;
use abi::tty::*;
use kernel::io::UserMemory;
use kernel::signal::{SIGINT, SIGQUIT, SIGTSTP};
use kernel::task::{Resource, Task};
use kernel::vfs::{FileOps, Position, PtsInstance};
use kernel::wait::{Events, Queue};
use kernel::{Io, Op, Sink, Source, fail};
use std::any::Any;
use std::sync::Arc;

/// The open master. There is one per pair: each open of ptmx makes a new pair.
pub(super) struct Master {
    pub terminal: Arc<Terminal>,
    pub instance: Arc<PtsInstance>,
}

impl FileOps for Master {
    fn position(&self) -> Position {
        Position::Stream
    }

    fn read(&self, io: &mut Io<'_>, _at: Option<u64>, to: &mut dyn Sink) -> Op<usize> {
        let terminal = &self.terminal;
        let max = to.left().min(65536);
        if max == 0 {
            return Ok(0);
        }
        let data = io.wait_for(&terminal.master_queue, Events::IN, || {
            terminal.update(|state, _| {
                if state.packet_mode && state.packet != 0 {
                    return Ok(Some(vec![std::mem::take(&mut state.packet)]));
                }
                let header = usize::from(state.packet_mode);
                let output = state.line.take_output(max - header);
                if !output.is_empty() || header == max && state.line.output_len() > 0 {
                    let mut data = vec![0; header];
                    data.extend(output);
                    return Ok(Some(data));
                }
                if state.slave_closed || state.hung_up {
                    return fail(Errno::EIO);
                }
                Ok(None)
            })
        })?;
        to.put(&data)
    }

    fn write(&self, io: &mut Io<'_>, _at: Option<u64>, from: &mut dyn Source) -> Op<usize> {
        let terminal = &self.terminal;
        let mut buffer = vec![0; from.left().min(4096)];
        let mut done = 0;
        while from.left() > 0 {
            let got = match from.take(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(stop) if done == 0 => return Err(stop),
                Err(_) => break,
            };
            if terminal.state.lock().hung_up {
                from.untake(got);
                return if done > 0 { Ok(done) } else { fail(Errno::EIO) };
            }
            let took = terminal.type_in(buffer.get(..got).unwrap_or_default());
            from.untake(got - took.min(got));
            done += took;
            if took == got {
                continue;
            }
            if io.nonblock {
                return if done > 0 { Ok(done) } else { fail(Errno::EAGAIN) };
            }
            *io.done += done as u64;
            done = 0;
            io.wait_for(&terminal.master_queue, Events::OUT, || {
                let state = terminal.state.lock();
                Ok((state.hung_up || state.line.room() > 0).then_some(()))
            })?;
        }
        Ok(done)
    }

    fn ready(&self, want: Events) -> Events {
        let state = self.terminal.state.lock();
        let mut have = Events::empty();
        let packet = state.packet_mode && state.packet != 0;
        if state.line.output_len() > 0 || packet {
            have |= Events::IN | Events::RDNORM;
        }
        if packet {
            have |= Events::PRI;
        }
        if state.line.room() > 0 {
            have |= Events::OUT | Events::WRNORM;
        }
        let hup = if state.slave_closed || state.hung_up { Events::HUP } else { Events::empty() };
        want & have | hup
    }

    fn queue(&self) -> Option<&Queue> {
        Some(&self.terminal.master_queue)
    }

    fn ioctl(&self, io: &mut Io<'_>, memory: &dyn UserMemory, cmd: u32, arg: u64) -> Op<u64> {
        let terminal = &self.terminal;
        let get = || -> Op<i32> {
            let mut raw = [0; 4];
            memory.read(arg, &mut raw)?;
            Ok(i32::from_le_bytes(raw))
        };
        let put = |value: i32| memory.write(arg, &value.to_le_bytes()).map(|()| 0);
        match cmd {
            TIOCINQ => put(terminal.state.lock().line.output_len() as i32),
            TIOCGPTN => put(terminal.index as i32),
            TIOCSPTLCK => {
                let locked = get()? != 0;
                terminal.state.lock().locked = locked;
                Ok(0)
            }
            TIOCGPTLCK => put(i32::from(terminal.state.lock().locked)),
            TIOCPKT => {
                let on = get()? != 0;
                let mut state = terminal.state.lock();
                if on && !state.packet_mode {
                    state.packet = 0;
                }
                state.packet_mode = on;
                Ok(0)
            }
            TIOCGPKT => put(i32::from(terminal.state.lock().packet_mode)),
            TIOCSIG => {
                let sig = i32::try_from(arg).unwrap_or(0);
                if !matches!(sig, SIGINT | SIGQUIT | SIGTSTP) {
                    return fail(Errno::EINVAL);
                }
                terminal.update(|_, effects| effects.signals.push(sig));
                Ok(0)
            }
            TIOCGPTPEER => self.open_peer(io, arg),
            TIOCSCTTY => terminal.make_controlling(io, arg == 1, true).map(|()| 0),
            TIOCNOTTY => fail(Errno::ENOTTY),
            _ => terminal.common_ioctl(io, memory, cmd, arg, Side::Master),
        }
    }

    fn release(&self) {
        self.instance.remove(self.terminal.index);
        self.terminal.hang_up();
    }

    fn signals_readiness(&self) -> bool {
        true
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Master {
    /// TIOCGPTPEER: a descriptor of the slave, without a walk over names.
    fn open_peer(&self, io: &mut Io<'_>, flags: u64) -> Op<u64> {
        let task = Task::of(io).ok_or(Errno::ENOTTY)?;
        let flags = OpenFlags::from_bits_retain(flags as u32);
        let cloexec = flags.contains(OpenFlags::CLOEXEC);
        let file = super::open::slave_file(io, &task, &self.instance, self.terminal.index, flags)?;
        let limit = task.group.limit(Resource::Nofile);
        Ok(task.files().add(file, cloexec, 0, limit)? as u64)
    }
}
