//! ioctls that both sides of a pair know: settings, size, flow, queues. ioctl_tty(2).

use super::job::Access;
use super::terminal::Terminal;
use abi::Errno;
use abi::tty::*;
use kernel::cred::Cap;
use kernel::io::UserMemory;
use kernel::{Io, Op, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// Speeds of c_cflag by their codes, in baud.
const SPEEDS: [(u32, u32); 30] = [
    (B50, 50),
    (B75, 75),
    (B110, 110),
    (B134, 134),
    (B150, 150),
    (B200, 200),
    (B300, 300),
    (B600, 600),
    (B1200, 1200),
    (B1800, 1800),
    (B2400, 2400),
    (B4800, 4800),
    (B9600, 9600),
    (B19200, 19200),
    (B38400, 38400),
    (B57600, 57600),
    (B115200, 115_200),
    (B230400, 230_400),
    (B460800, 460_800),
    (B500000, 500_000),
    (B576000, 576_000),
    (B921600, 921_600),
    (B1000000, 1_000_000),
    (B1152000, 1_152_000),
    (B1500000, 1_500_000),
    (B2000000, 2_000_000),
    (B2500000, 2_500_000),
    (B3000000, 3_000_000),
    (B3500000, 3_500_000),
    (B4000000, 4_000_000),
];

fn speed(code: u32) -> u32 {
    SPEEDS.iter().find(|s| s.0 == code).map_or(0, |s| s.1)
}

/// What a pseudo terminal makes of the settings that it is given: always eight bits, no parity.
fn adjust(mut new: Termios2) -> Termios2 {
    new.c_cflag = new.c_cflag & !(CSIZE | PARENB) | CS8 | CREAD;
    if new.c_cflag & CBAUD != BOTHER {
        new.c_ospeed = speed(new.c_cflag & CBAUD);
        let input = new.c_cflag >> 16 & CBAUD;
        new.c_ispeed = if input == 0 { new.c_ospeed } else { speed(input) };
    }
    new
}

/// The old `struct termio` of TCGETA: 18 bytes with eight control characters, and a byte of padding at the end.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, zerocopy::Immutable)]
struct Termio {
    flags: [u16; 4],
    line: u8,
    cc: [u8; 8],
    pad: u8,
}

fn get<T: FromBytes + IntoBytes>(memory: &dyn UserMemory, at: u64) -> Op<T> {
    let mut value = T::new_zeroed();
    memory.read(at, value.as_mut_bytes())?;
    Ok(value)
}

/// How the terminal is reached.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Master,
    Slave,
}

impl Terminal {
    /// The ioctls of both sides; ENOTTY for others.
    pub(super) fn common_ioctl(
        self: &Arc<Self>,
        io: &mut Io<'_>,
        memory: &dyn UserMemory,
        cmd: u32,
        arg: u64,
        side: Side,
    ) -> Op<u64> {
        let master = side == Side::Master;
        if matches!(
            cmd,
            TCSETS
                | TCSETSW
                | TCSETSF
                | TCSETS2
                | TCSETSW2
                | TCSETSF2
                | TCSETA
                | TCSETAW
                | TCSETAF
                | TCSBRK
                | TCSBRKP
                | TCXONC
                | TCFLSH
                | TIOCSETD
        ) && !master
        {
            self.check_foreground(io, Access::Change)?;
        }
        let done = |result: Op<()>| result.map(|()| 0);
        match cmd {
            TCGETS => done(memory.write(arg, self.termios().termios().as_bytes())),
            TCGETS2 => done(memory.write(arg, self.termios().as_bytes())),
            TCSETS | TCSETSW | TCSETSF => {
                let new: Termios = get(memory, arg)?;
                self.set_termios(self.termios().with(&new), cmd == TCSETSF)
            }
            TCSETS2 | TCSETSW2 | TCSETSF2 => self.set_termios(get(memory, arg)?, cmd == TCSETSF2),
            TCGETA => {
                let t = self.termios();
                let low = |flags: u32| flags as u16;
                let mut cc = [0; 8];
                cc.copy_from_slice(t.c_cc.get(..8).unwrap_or(&[0; 8]));
                let flags = [low(t.c_iflag), low(t.c_oflag), low(t.c_cflag), low(t.c_lflag)];
                done(memory.write(arg, Termio { flags, line: t.c_line, cc, pad: 0 }.as_bytes()))
            }
            TCSETA | TCSETAW | TCSETAF => {
                let old: Termio = get(memory, arg)?;
                let mut t = self.termios();
                let low = |whole: u32, low: u16| whole & 0xffff_0000 | u32::from(low);
                let [i, o, c, l] = old.flags;
                (t.c_iflag, t.c_oflag) = (low(t.c_iflag, i), low(t.c_oflag, o));
                (t.c_cflag, t.c_lflag) = (low(t.c_cflag, c), low(t.c_lflag, l));
                t.c_line = old.line;
                for (to, from) in t.c_cc.iter_mut().zip(old.cc) {
                    *to = from;
                }
                self.set_termios(t, cmd == TCSETAF)
            }
            TIOCGWINSZ => {
                let size = self.state.lock().size;
                done(memory.write(arg, size.as_bytes()))
            }
            TIOCSWINSZ => {
                self.resize(get(memory, arg)?);
                Ok(0)
            }
            // Output goes to the master at once: there is nothing to wait for, and no line to break.
            TCSBRK | TCSBRKP => Ok(0),
            TCXONC => self.flow(arg),
            TCFLSH => self.flush(arg, master),
            TIOCGPGRP => self.get_foreground(io, memory, arg, master),
            TIOCSPGRP if master => fail(Errno::ENOTTY),
            TIOCSPGRP => self.set_foreground(io, memory, arg),
            TIOCGSID => self.get_session(io, memory, arg, master),
            TIOCOUTQ => done(memory.write(arg, &0i32.to_le_bytes())),
            TIOCEXCL | TIOCNXCL => {
                self.state.lock().exclusive = cmd == TIOCEXCL;
                Ok(0)
            }
            TIOCGEXCL => {
                let on = i32::from(self.state.lock().exclusive);
                done(memory.write(arg, &on.to_le_bytes()))
            }
            TIOCGETD => done(memory.write(arg, &N_TTY.to_le_bytes())),
            TIOCSETD => {
                let which: [u8; 4] = get(memory, arg)?;
                if i32::from_le_bytes(which) == N_TTY { Ok(0) } else { fail(Errno::EINVAL) }
            }
            TIOCGDEV => {
                let dev = if master { abi::fs::makedev(5, 2) } else { abi::fs::makedev(136, self.index) };
                done(memory.write(arg, &(dev as u32).to_le_bytes()))
            }
            TIOCVHANGUP => {
                if !io.cred.has(Cap::SysAdmin) {
                    return fail(Errno::EPERM);
                }
                self.hang_up_slaves();
                Ok(0)
            }
            // Typing for others is refused, as with Linux' dev.tty.legacy_tiocsti = 0.
            TIOCSTI => fail(Errno::EIO),
            TIOCGSOFTCAR => {
                let on = i32::from(self.termios().c_cflag & CLOCAL != 0);
                done(memory.write(arg, &on.to_le_bytes()))
            }
            TIOCSSOFTCAR => {
                let on: [u8; 4] = get(memory, arg)?;
                let mut t = self.termios();
                t.c_cflag = t.c_cflag & !CLOCAL | if on == [0; 4] { 0 } else { CLOCAL };
                self.set_termios(t, false)
            }
            TIOCCONS => fail(Errno::EPERM),
            _ => fail(Errno::ENOTTY),
        }
    }

    pub(super) fn termios(&self) -> Termios2 {
        self.state.lock().line.termios
    }

    fn set_termios(&self, new: Termios2, flush: bool) -> Op<u64> {
        let new = adjust(new);
        self.update(|state, effects| {
            if flush {
                state.line.flush_input();
                effects.packet |= TIOCPKT_FLUSHREAD as u8;
            }
            state.line.set_termios(new, effects);
        });
        // What is readable may be another thing now.
        self.slave_queue.wake(kernel::wait::Events::IN);
        Ok(0)
    }

    /// tcflow(3).
    fn flow(&self, what: u64) -> Op<u64> {
        match u32::try_from(what) {
            Ok(TCOOFF) => self.update(|state, effects| state.line.suspend(true, effects)),
            Ok(TCOON) => self.update(|state, effects| state.line.suspend(false, effects)),
            Ok(TCIOFF | TCION) => self.update(|state, _| {
                let which = if what == u64::from(TCIOFF) { VSTOP } else { VSTART };
                let byte = state.line.cc(which);
                if byte != 0 {
                    state.line.send(byte);
                }
            }),
            _ => return fail(Errno::EINVAL),
        }
        Ok(0)
    }

    /// tcflush(3). The master's input is the slave's output.
    fn flush(&self, what: u64, master: bool) -> Op<u64> {
        let (input, output) = match u32::try_from(what) {
            Ok(TCIFLUSH) => (true, false),
            Ok(TCOFLUSH) => (false, true),
            Ok(TCIOFLUSH) => (true, true),
            _ => return fail(Errno::EINVAL),
        };
        let (input, output) = if master { (output, input) } else { (input, output) };
        self.update(|state, effects| {
            if input {
                state.line.flush_input();
                effects.packet |= TIOCPKT_FLUSHREAD as u8;
            }
            if output {
                state.line.flush_output();
                effects.packet |= TIOCPKT_FLUSHWRITE as u8;
            }
        });
        Ok(0)
    }
}
