//! The line discipline N_TTY: what happens to bytes between a terminal's keyboard and a program. termios(3).
//!
//! A plain state machine without locks: `Terminal` owns one. Input comes by `receive`, from the master's side; `read` gives it to the program.
//! Output and echo are in `output`. Neighbours: `terminal`.

use abi::tty::*;
use std::collections::VecDeque;

/// Unread input that is kept before the master has to wait.
const INPUT_MAX: usize = 65536;
/// The longest line under edit; what is typed beyond it is dropped (MAX_CANON and N_TTY's own 4095).
const LINE_MAX: usize = 4095;

/// What a change of the discipline's state has to cause outside.
#[derive(Default, Debug, PartialEq, Eq)]
pub struct Effects {
    /// Signals for the foreground process group, in their order.
    pub signals: Vec<i32>,
    /// TIOCPKT_* bits that happened.
    pub packet: u8,
}

/// The end of a line in the input: a position, and whether VEOF made it.
#[derive(Clone, Copy, Debug)]
pub struct LineEnd {
    at: u64,
}

/// The state of a line.
pub struct Discipline {
    pub termios: Termios2,
    /// Input that can be read, or belongs to complete lines.
    input: VecDeque<u8>,
    /// Position of the input's first byte since the beginning.
    head: u64,
    /// Ends of complete lines, canonical mode only.
    ends: VecDeque<LineEnd>,
    /// The line under edit.
    pub(super) line: Vec<u8>,
    literal_next: bool,
    pub(super) output: VecDeque<u8>,
    /// Echo that came while output is stopped.
    pub(super) held: Vec<u8>,
    /// Where the cursor is, and where it was when the line under edit began.
    pub(super) column: usize,
    pub(super) line_column: usize,
    /// Output is stopped, by VSTOP or TCOOFF.
    pub stopped: bool,
    /// By TCOOFF, which only TCOON ends.
    suspended: bool,
    /// ECHOPRT: an erasure is being shown between `\` and `/`.
    pub(super) erasing: bool,
}

impl Discipline {
    pub fn new() -> Discipline {
        Discipline {
            termios: Termios2::default(),
            input: VecDeque::new(),
            head: 0,
            ends: VecDeque::new(),
            line: Vec::new(),
            literal_next: false,
            output: VecDeque::new(),
            held: Vec::new(),
            column: 0,
            line_column: 0,
            stopped: false,
            suspended: false,
            erasing: false,
        }
    }

    pub(super) fn iflag(&self, flag: u32) -> bool {
        self.termios.c_iflag & flag != 0
    }
    pub(super) fn oflag(&self, flag: u32) -> bool {
        self.termios.c_oflag & flag != 0
    }
    pub(super) fn lflag(&self, flag: u32) -> bool {
        self.termios.c_lflag & flag != 0
    }
    pub fn cc(&self, which: u32) -> u8 {
        self.termios.c_cc.get(which as usize).copied().unwrap_or(0)
    }
    /// Whether `byte` is a control character that is set; 0 is _POSIX_VDISABLE.
    fn is(&self, byte: u8, which: u32) -> bool {
        byte != 0 && self.cc(which) == byte
    }
    /// EXTPROC: the other side edits lines itself.
    pub fn canonical(&self) -> bool {
        self.lflag(ICANON) && !self.lflag(EXTPROC)
    }

    /// VMIN; nothing that counts while the other side edits lines.
    pub fn least(&self) -> usize {
        if self.lflag(ICANON) { 1 } else { usize::from(self.cc(VMIN)) }
    }

    /// Bytes that `receive` would take now.
    pub fn room(&self) -> usize {
        if self.canonical() && self.ends.is_empty() {
            return INPUT_MAX;
        }
        INPUT_MAX.saturating_sub(self.input.len() + self.line.len())
    }

    /// Input from the keyboard; how much of it was taken.
    pub fn receive(&mut self, bytes: &[u8], effects: &mut Effects) -> usize {
        let raw = ICANON | ISIG | ECHO | IEXTEN;
        let mapped = ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON | PARMRK;
        if self.termios.c_lflag & raw == 0 && self.termios.c_iflag & mapped == 0 && !self.literal_next {
            let count = bytes.len().min(self.room());
            self.input.extend(bytes.iter().take(count));
            return count;
        }
        for (at, byte) in bytes.iter().enumerate() {
            if self.room() == 0 {
                return at;
            }
            self.receive_byte(*byte, effects);
        }
        bytes.len()
    }

    fn receive_byte(&mut self, byte: u8, effects: &mut Effects) {
        let mut byte = byte;
        if self.iflag(ISTRIP) {
            byte &= 0x7f;
        }
        if self.iflag(IUCLC) && self.lflag(IEXTEN) {
            byte = byte.to_ascii_lowercase();
        }
        if self.lflag(EXTPROC) {
            return self.accept(byte);
        }
        if std::mem::take(&mut self.literal_next) {
            return self.data(byte, true);
        }
        if self.iflag(IXON) {
            if self.is(byte, VSTART) {
                return self.start(effects);
            }
            if self.is(byte, VSTOP) {
                return self.stop(effects);
            }
            if self.stopped && self.iflag(IXANY) {
                self.start(effects);
            }
        }
        if self.lflag(ISIG) {
            let signals = [(VINTR, 2), (VQUIT, 3), (VSUSP, 20)];
            if let Some((_, sig)) = signals.into_iter().find(|(which, _)| self.is(byte, *which)) {
                return self.signal(byte, sig, effects);
            }
        }
        match byte {
            b'\r' if self.iflag(IGNCR) => return,
            b'\r' if self.iflag(ICRNL) => byte = b'\n',
            b'\n' if self.iflag(INLCR) => byte = b'\r',
            _ => {}
        }
        if self.canonical() && self.edit(byte) {
            return;
        }
        self.ordinary(byte);
    }

    fn ordinary(&mut self, byte: u8) {
        self.data(byte, false);
    }

    /// A byte that is data; after VLNEXT a newline is shown as the control character that it is.
    fn data(&mut self, byte: u8, literal: bool) {
        if self.canonical() && self.line.len() >= LINE_MAX {
            if self.iflag(IMAXBEL) {
                self.emit_echo(&[7]);
            }
            return;
        }
        if self.lflag(ECHO) {
            self.finish_erasing();
            if self.line.is_empty() {
                self.line_column = self.column;
            }
            if byte == b'\n' && !literal { self.echo_raw(byte) } else { self.echo(byte) }
        }
        if byte == 0xff && self.iflag(PARMRK) {
            self.accept(byte);
        }
        self.accept(byte);
    }

    fn accept(&mut self, byte: u8) {
        if self.canonical() { self.line.push(byte) } else { self.input.push_back(byte) }
    }

    /// Editing of lines; true where the byte was an order.
    fn edit(&mut self, byte: u8) -> bool {
        let extended = self.lflag(IEXTEN);
        if self.is(byte, VERASE) {
            self.erase_one(byte);
        } else if self.is(byte, VKILL) {
            self.kill_line(byte);
        } else if self.is(byte, VWERASE) && extended {
            self.erase_word();
        } else if self.is(byte, VLNEXT) && extended {
            self.literal_next = true;
            if self.lflag(ECHO) {
                self.finish_erasing();
                if self.lflag(ECHOCTL) {
                    self.emit_echo(b"^\x08");
                }
            }
        } else if self.is(byte, VREPRINT) && self.lflag(ECHO) && extended {
            self.finish_erasing();
            self.echo(byte);
            self.echo_raw(b'\n');
            self.line_column = self.column;
            for byte in self.line.clone() {
                self.echo(byte);
            }
        } else if byte == b'\n' {
            if self.lflag(ECHO) || self.lflag(ECHONL) {
                self.finish_erasing();
                self.echo_raw(b'\n');
            }
            self.line.push(byte);
            self.end_line();
        } else if self.is(byte, VEOF) {
            self.finish_erasing();
            self.end_line();
        } else if self.is(byte, VEOL) || self.is(byte, VEOL2) && extended {
            if self.lflag(ECHO) {
                self.finish_erasing();
                self.echo(byte);
            }
            self.line.push(byte);
            self.end_line();
        } else {
            return false;
        }
        true
    }

    fn end_line(&mut self) {
        self.input.extend(self.line.drain(..));
        self.ends.push_back(LineEnd { at: self.head + self.input.len() as u64 });
    }

    fn signal(&mut self, byte: u8, sig: i32, effects: &mut Effects) {
        if !self.lflag(NOFLSH) {
            self.flush_input();
            self.flush_output();
            effects.packet |= (TIOCPKT_FLUSHREAD | TIOCPKT_FLUSHWRITE) as u8;
        }
        if self.iflag(IXON) && self.stopped {
            self.start(effects);
        }
        if self.lflag(ECHO) {
            self.echo(byte);
        }
        effects.signals.push(sig);
    }

    /// TCOOFF and TCOON of tcflow(3): what VSTOP stopped, TCOON does not start.
    pub fn suspend(&mut self, on: bool, effects: &mut Effects) {
        let was = std::mem::replace(&mut self.suspended, on);
        if on {
            self.stop(effects);
        } else if was {
            self.start(effects);
        }
    }

    pub fn start(&mut self, effects: &mut Effects) {
        if !self.suspended && std::mem::take(&mut self.stopped) {
            effects.packet = effects.packet & !(TIOCPKT_STOP as u8) | TIOCPKT_START as u8;
            let held = std::mem::take(&mut self.held);
            self.output.extend(held);
        }
    }

    pub fn stop(&mut self, effects: &mut Effects) {
        if !self.stopped {
            self.stopped = true;
            effects.packet = effects.packet & !(TIOCPKT_START as u8) | TIOCPKT_STOP as u8;
        }
    }

    /// tcflush(TCIFLUSH).
    pub fn flush_input(&mut self) {
        self.head += self.input.len() as u64;
        self.input.clear();
        self.ends.clear();
        self.line.clear();
        self.literal_next = false;
    }

    /// tcflush(TCOFLUSH): what the other side has not read.
    pub fn flush_output(&mut self) {
        self.output.clear();
        self.held.clear();
    }

    /// Whether a read would get something now; `least` bytes in raw mode.
    pub fn readable(&self, least: usize) -> bool {
        if self.canonical() { !self.ends.is_empty() } else { self.input.len() >= least.max(1) }
    }

    /// Complete lines that have not been read.
    pub fn lines(&self) -> usize {
        self.ends.len()
    }

    /// FIONREAD.
    pub fn available(&self) -> usize {
        match self.ends.back() {
            _ if !self.canonical() => self.input.len(),
            Some(end) => (end.at - self.head) as usize,
            None => 0,
        }
    }

    /// Takes at most `max` bytes: in canonical mode a line or a part of one; `None` where there is no line. The end that was consumed
    /// comes with it, for `unread`.
    pub fn read(&mut self, max: usize) -> Option<(Vec<u8>, Option<LineEnd>)> {
        let (count, end) = if self.canonical() {
            let end = *self.ends.front()?;
            let left = (end.at - self.head) as usize;
            (left.min(max), (left <= max).then_some(end))
        } else {
            (self.input.len().min(max), None)
        };
        let data: Vec<u8> = self.input.drain(..count).collect();
        self.head += count as u64;
        if end.is_some() {
            self.ends.pop_front();
        }
        Some((data, end))
    }

    /// Gives back the end of what a read took.
    pub fn unread(&mut self, data: &[u8], end: Option<LineEnd>) {
        for byte in data.iter().rev() {
            self.input.push_front(*byte);
        }
        self.head = self.head.saturating_sub(data.len() as u64);
        if let Some(end) = end.filter(|_| self.canonical()) {
            self.ends.push_front(end);
        }
    }

    /// tcsetattr(3): a change between canonical and raw mode makes what was typed so far readable.
    pub fn set_termios(&mut self, new: Termios2, effects: &mut Effects) {
        let old = std::mem::replace(&mut self.termios, new);
        let was = old.c_lflag & (ICANON | EXTPROC) == ICANON;
        if was && !self.canonical() {
            self.ends.clear();
            self.input.extend(self.line.drain(..));
        } else if !was && self.canonical() && !self.input.is_empty() {
            self.ends.push_back(LineEnd { at: self.head + self.input.len() as u64 });
        }
        if old.c_iflag & IXON != 0 && !self.iflag(IXON) && self.stopped {
            self.start(effects);
        }
        let flow = |t: &Termios2| {
            let cc = |which: u32| t.c_cc.get(which as usize).copied();
            t.c_iflag & IXON != 0 && cc(VSTOP) == Some(0x13) && cc(VSTART) == Some(0x11)
        };
        match (flow(&old), flow(&new)) {
            (false, true) => effects.packet = effects.packet & !(TIOCPKT_NOSTOP as u8) | TIOCPKT_DOSTOP as u8,
            (true, false) => effects.packet = effects.packet & !(TIOCPKT_DOSTOP as u8) | TIOCPKT_NOSTOP as u8,
            _ => {}
        }
        if (old.c_lflag | new.c_lflag) & EXTPROC != 0 {
            effects.packet |= TIOCPKT_IOCTL as u8;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn typed(d: &mut Discipline, text: &[u8]) -> Vec<i32> {
        let mut effects = Effects::default();
        assert_eq!(d.receive(text, &mut effects), text.len());
        effects.signals
    }

    fn shown(d: &mut Discipline) -> Vec<u8> {
        d.take_output(usize::MAX)
    }

    #[test]
    fn a_line_is_read_when_it_is_complete() {
        let mut d = Discipline::new();
        typed(&mut d, b"ab");
        assert!(d.read(10).is_none());
        typed(&mut d, b"c\r");
        assert_eq!(d.available(), 4);
        assert_eq!(d.read(2).unwrap().0, b"ab");
        assert_eq!(d.read(10).unwrap().0, b"c\n");
        assert_eq!(shown(&mut d), b"abc\r\n");
    }

    #[test]
    fn end_of_file_ends_a_line_or_is_a_read_of_nothing() {
        let mut d = Discipline::new();
        typed(&mut d, b"x\x04\x04");
        assert_eq!(d.read(1).unwrap().0, b"x");
        assert_eq!(d.read(10).unwrap().0, b"");
        assert!(d.read(10).is_none());
    }

    #[test]
    fn erasing_shows() {
        let mut d = Discipline::new();
        typed(&mut d, b"a\x01\x7f\x7f\x7fxy z\x17\x15ok\n");
        assert_eq!(d.read(10).unwrap().0, b"ok\n");
        let echo = b"a^A\x08 \x08\x08 \x08\x08 \x08xy z\x08 \x08\x08 \x08\x08 \x08\x08 \x08ok\r\n";
        assert_eq!(shown(&mut d), echo);
    }

    #[test]
    fn utf8_is_erased_as_a_whole() {
        let mut d = Discipline::new();
        d.termios.c_iflag |= IUTF8;
        typed(&mut d, "aé\x7f\n".as_bytes());
        assert_eq!(d.read(10).unwrap().0, b"a\n");
        assert_eq!(shown(&mut d), "aé\x08 \x08\r\n".as_bytes());
    }

    #[test]
    fn interrupt_flushes_and_signals() {
        let mut d = Discipline::new();
        assert_eq!(typed(&mut d, b"ab\n cd\x03"), [2]);
        assert_eq!(d.available(), 0);
        assert_eq!(shown(&mut d), b"^C");
    }

    #[test]
    fn stop_holds_output_until_start() {
        let mut d = Discipline::new();
        typed(&mut d, b"\x13");
        assert_eq!(d.write(b"x"), 0);
        typed(&mut d, b"a");
        assert_eq!(shown(&mut d), b"");
        typed(&mut d, b"\x11");
        assert_eq!(d.write(b"x\ty\n"), 4);
        assert_eq!(shown(&mut d), b"ax\ty\r\n");
    }

    #[test]
    fn modes_change_under_way() {
        let mut d = Discipline::new();
        typed(&mut d, b"ab\ncd");
        let mut raw = d.termios;
        raw.c_lflag &= !(ICANON | ECHO);
        d.set_termios(raw, &mut Effects::default());
        assert_eq!(d.read(10).unwrap().0, b"ab\ncd");
        typed(&mut d, b"ef");
        let mut cooked = d.termios;
        cooked.c_lflag |= ICANON;
        d.set_termios(cooked, &mut Effects::default());
        assert_eq!(d.read(10).unwrap().0, b"ef");
    }

    #[test]
    fn literal_next_takes_the_sting() {
        let mut d = Discipline::new();
        assert!(typed(&mut d, b"\x16\x03\n").is_empty());
        assert_eq!(d.read(10).unwrap().0, b"\x03\n");
    }

    #[test]
    fn tabs_and_carriage_returns() {
        let mut d = Discipline::new();
        d.termios.c_oflag = OPOST | ONLCR | XTABS | ONOCR;
        d.write(b"\rab\tc\r\n");
        assert_eq!(shown(&mut d), b"ab      c\r\r\n");
    }
}
