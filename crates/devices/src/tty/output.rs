//! The line discipline's way out: output processing, echo, and the erasing of what was echoed. termios(3).

use super::discipline::Discipline;
use abi::tty::*;

/// Output that is kept before a writer has to wait.
const OUTPUT_MAX: usize = 65536;
/// Echo may go beyond that: nobody waits with it. Past this it is dropped.
const ECHO_MAX: usize = OUTPUT_MAX + 16384;

impl Discipline {
    /// Bytes that `write` would take now, as far as it can be known before they are seen.
    pub fn output_room(&self) -> usize {
        if self.stopped { 0 } else { OUTPUT_MAX.saturating_sub(self.output.len()) }
    }

    /// A program's output; how much of it was taken.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        if !self.oflag(OPOST) {
            let count = bytes.len().min(self.output_room());
            self.output.extend(bytes.iter().take(count));
            return count;
        }
        for (at, byte) in bytes.iter().enumerate() {
            if self.output_room() == 0 {
                return at;
            }
            let mut out = Vec::with_capacity(8);
            self.process(*byte, &mut out);
            self.output.extend(out);
        }
        bytes.len()
    }

    /// Sends one byte as it is, stopped or not: tcflow(3).
    pub fn send(&mut self, byte: u8) {
        self.output.push_back(byte);
    }

    /// What the other side reads.
    pub fn take_output(&mut self, max: usize) -> Vec<u8> {
        let count = self.output.len().min(max);
        self.output.drain(..count).collect()
    }

    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// Output processing of one byte; keeps track of the column.
    fn process(&mut self, byte: u8, out: &mut Vec<u8>) {
        let mut byte = byte;
        match byte {
            b'\n' => {
                if self.oflag(ONLRET) {
                    self.column = 0;
                }
                if self.oflag(ONLCR) {
                    self.column = 0;
                    out.push(b'\r');
                }
            }
            b'\r' => {
                if self.oflag(ONOCR) && self.column == 0 {
                    return;
                }
                if self.oflag(OCRNL) {
                    byte = b'\n';
                    if self.oflag(ONLRET) {
                        self.column = 0;
                    }
                } else {
                    self.column = 0;
                }
            }
            b'\t' => {
                let width = 8 - self.column % 8;
                self.column += width;
                if self.termios.c_oflag & TABDLY == XTABS {
                    out.extend(std::iter::repeat_n(b' ', width));
                    return;
                }
            }
            8 => self.column = self.column.saturating_sub(1),
            _ => {
                if self.oflag(OLCUC) {
                    byte = byte.to_ascii_uppercase();
                }
                if !byte.is_ascii_control() && !self.continues_char(byte) {
                    self.column += 1;
                }
            }
        }
        out.push(byte);
    }

    /// A byte of a UTF-8 character that is not its first.
    fn continues_char(&self, byte: u8) -> bool {
        self.iflag(IUTF8) && byte & 0xc0 == 0x80
    }

    /// Puts echo out, through output processing.
    pub(super) fn emit_echo(&mut self, bytes: &[u8]) {
        let mut out = Vec::with_capacity(bytes.len() + 8);
        for byte in bytes {
            if self.oflag(OPOST) { self.process(*byte, &mut out) } else { out.push(*byte) }
        }
        if self.output.len() + self.held.len() + out.len() > ECHO_MAX {
            return;
        }
        if self.stopped { self.held.extend(out) } else { self.output.extend(out) }
    }

    pub(super) fn echo_raw(&mut self, byte: u8) {
        self.emit_echo(&[byte]);
    }

    /// Echoes a byte, control characters as `^X`.
    pub(super) fn echo(&mut self, byte: u8) {
        if self.lflag(ECHOCTL) && byte.is_ascii_control() && byte != b'\t' {
            self.emit_echo(&[b'^', byte ^ 0x40]);
        } else {
            self.emit_echo(&[byte]);
        }
    }

    /// ECHOPRT: closes the erasure that is being shown.
    pub(super) fn finish_erasing(&mut self) {
        if std::mem::take(&mut self.erasing) {
            self.echo_raw(b'/');
        }
    }

    /// VERASE.
    pub(super) fn erase_one(&mut self, order: u8) {
        let Some(first) = self.last_char() else { return };
        let erased = self.line.split_off(first);
        self.show_erased(&erased, Some(order));
    }

    /// VWERASE: blanks before the cursor, then the word before them.
    pub(super) fn erase_word(&mut self) {
        let mut in_word = false;
        while let Some(first) = self.last_char() {
            let byte = self.line.get(first).copied().unwrap_or(0);
            let word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
            if in_word && !word {
                break;
            }
            in_word |= word;
            let erased = self.line.split_off(first);
            self.show_erased(&erased, None);
        }
    }

    /// VKILL.
    pub(super) fn kill_line(&mut self, order: u8) {
        let visual = self.lflag(ECHOK) && self.lflag(ECHOKE) && self.lflag(ECHOE);
        if !self.lflag(ECHO) || !visual {
            self.line.clear();
            if self.lflag(ECHO) {
                self.finish_erasing();
                self.echo(order);
                if self.lflag(ECHOK) {
                    self.echo_raw(b'\n');
                }
            }
            return;
        }
        while let Some(first) = self.last_char() {
            let erased = self.line.split_off(first);
            self.show_erased(&erased, None);
        }
    }

    /// Where the last character of the line begins.
    fn last_char(&self) -> Option<usize> {
        let mut at = self.line.len().checked_sub(1)?;
        if self.iflag(IUTF8) {
            while at > 0 && self.line.get(at).is_some_and(|b| b & 0xc0 == 0x80) {
                at -= 1;
            }
        }
        Some(at)
    }

    /// Shows that a character, which is no more in the line, was erased.
    fn show_erased(&mut self, erased: &[u8], order: Option<u8>) {
        let Some(byte) = erased.first().copied().filter(|_| self.lflag(ECHO)) else { return };
        if self.lflag(ECHOPRT) {
            if !std::mem::replace(&mut self.erasing, true) {
                self.echo_raw(b'\\');
            }
            for byte in erased {
                self.echo(*byte);
            }
        } else if let Some(order) = order.filter(|_| !self.lflag(ECHOE)) {
            self.echo(order);
        } else if byte == b'\t' {
            let width = 8 - self.width_of_line() % 8;
            let back = vec![8; width];
            self.emit_echo(&back);
        } else {
            let control = byte.is_ascii_control();
            if control && self.lflag(ECHOCTL) {
                self.emit_echo(b"\x08 \x08");
            }
            if !control || self.lflag(ECHOCTL) {
                self.emit_echo(b"\x08 \x08");
            }
        }
    }

    /// The column at which the line under edit ends now.
    fn width_of_line(&self) -> usize {
        let mut column = self.line_column;
        for byte in &self.line {
            column += match byte {
                b'\t' => 8 - column % 8,
                b if b.is_ascii_control() => 2 * usize::from(self.lflag(ECHOCTL)),
                b if self.continues_char(*b) => 0,
                _ => 1,
            };
        }
        column
    }
}
