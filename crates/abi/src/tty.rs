//! Terminals: ioctl_tty(2), termios(3), pty(7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

// Requests.
pub use linux_raw_sys::ioctl::{
    TCFLSH, TCGETA, TCGETS, TCGETS2, TCGETX, TCSBRK, TCSBRKP, TCSETA, TCSETAF, TCSETAW, TCSETS, TCSETS2, TCSETSF,
    TCSETSF2, TCSETSW, TCSETSW2, TCSETX, TCSETXF, TCSETXW, TCXONC, TIOCCBRK, TIOCCONS, TIOCEXCL, TIOCGDEV, TIOCGETD,
    TIOCGEXCL, TIOCGICOUNT, TIOCGLCKTRMIOS, TIOCGPGRP, TIOCGPKT, TIOCGPTLCK, TIOCGPTN, TIOCGPTPEER, TIOCGRS485,
    TIOCGSERIAL, TIOCGSID, TIOCGSOFTCAR, TIOCGWINSZ, TIOCMBIC, TIOCMBIS, TIOCMGET, TIOCMIWAIT, TIOCMSET, TIOCNOTTY,
    TIOCNXCL, TIOCOUTQ, TIOCPKT, TIOCSBRK, TIOCSCTTY, TIOCSERCONFIG, TIOCSERGETLSR, TIOCSERGETMULTI, TIOCSERGSTRUCT,
    TIOCSERGWILD, TIOCSERSETMULTI, TIOCSERSWILD, TIOCSETD, TIOCSIG, TIOCSLCKTRMIOS, TIOCSPGRP, TIOCSPTLCK, TIOCSRS485,
    TIOCSSERIAL, TIOCSSOFTCAR, TIOCSTI, TIOCSWINSZ, TIOCVHANGUP,
};
/// The number of bytes to read: another name of FIONREAD.
pub const TIOCINQ: u32 = crate::ioctl::FIONREAD;
// c_iflag.
pub use linux_raw_sys::general::{
    BRKINT, ICRNL, IGNBRK, IGNCR, IGNPAR, IMAXBEL, INLCR, INPCK, ISTRIP, IUCLC, IUTF8, IXANY, IXOFF, IXON, PARMRK,
};
// c_oflag.
pub use linux_raw_sys::general::{
    BSDLY, CRDLY, FFDLY, NLDLY, OCRNL, OFDEL, OFILL, OLCUC, ONLCR, ONLRET, ONOCR, OPOST, TAB0, TAB1, TAB2, TAB3,
    TABDLY, VTDLY, XTABS,
};
// c_cflag.
pub use linux_raw_sys::general::{
    B0, B50, B75, B110, B134, B150, B200, B300, B600, B1200, B1800, B2400, B4800, B9600, B19200, B38400, B57600,
    B115200, B230400, B460800, B500000, B576000, B921600, B1000000, B1152000, B1500000, B2000000, B2500000, B3000000,
    B3500000, B4000000, BOTHER, CBAUD, CBAUDEX, CIBAUD, CLOCAL, CMSPAR, CREAD, CRTSCTS, CS5, CS6, CS7, CS8, CSIZE,
    CSTOPB, HUPCL, PARENB, PARODD,
};
// c_lflag.
pub use linux_raw_sys::general::{
    ECHO, ECHOCTL, ECHOE, ECHOK, ECHOKE, ECHONL, ECHOPRT, EXTPROC, FLUSHO, ICANON, IEXTEN, ISIG, NOFLSH, PENDIN,
    TOSTOP, XCASE,
};
// Indices of c_cc.
pub use linux_raw_sys::general::{
    VDISCARD, VEOF, VEOL, VEOL2, VERASE, VINTR, VKILL, VLNEXT, VMIN, VQUIT, VREPRINT, VSTART, VSTOP, VSUSP, VSWTC,
    VTIME, VWERASE,
};
// Arguments of TCXONC and TCFLSH.
pub use linux_raw_sys::general::{TCIFLUSH, TCIOFF, TCIOFLUSH, TCION, TCOFLUSH, TCOOFF, TCOON};
// Packet mode of a pty and modem lines.
pub use linux_raw_sys::general::{
    TIOCM_CAR, TIOCM_CD, TIOCM_CTS, TIOCM_DSR, TIOCM_DTR, TIOCM_LE, TIOCM_LOOP, TIOCM_OUT1, TIOCM_OUT2, TIOCM_RI,
    TIOCM_RNG, TIOCM_RTS, TIOCM_SR, TIOCM_ST, TIOCPKT_DATA, TIOCPKT_DOSTOP, TIOCPKT_FLUSHREAD, TIOCPKT_FLUSHWRITE,
    TIOCPKT_IOCTL, TIOCPKT_NOSTOP, TIOCPKT_START, TIOCPKT_STOP,
};
/// Line disciplines.
pub const N_TTY: i32 = 0;

/// The kernel's `struct termios` (TCGETS): 36 bytes with 19 control characters, not glibc's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios {
    pub c_iflag: u32,
    pub c_oflag: u32,
    pub c_cflag: u32,
    pub c_lflag: u32,
    pub c_line: u8,
    pub c_cc: [u8; 19],
}

/// `struct termios2` (TCGETS2): with the speeds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Termios2 {
    pub c_iflag: u32,
    pub c_oflag: u32,
    pub c_cflag: u32,
    pub c_lflag: u32,
    pub c_line: u8,
    pub c_cc: [u8; 19],
    pub c_ispeed: u32,
    pub c_ospeed: u32,
}

impl Default for Termios2 {
    /// A new pseudo terminal's settings on Linux: cooked, echoing, 38,400 baud.
    fn default() -> Termios2 {
        Termios2 {
            c_iflag: ICRNL | IXON,
            c_oflag: OPOST | ONLCR,
            c_cflag: B38400 | CS8 | CREAD,
            c_lflag: ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
            c_line: 0,
            c_cc: [3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0],
            c_ispeed: 38400,
            c_ospeed: 38400,
        }
    }
}

impl Termios2 {
    /// Without the speeds, for TCGETS.
    pub fn termios(&self) -> Termios {
        Termios {
            c_iflag: self.c_iflag,
            c_oflag: self.c_oflag,
            c_cflag: self.c_cflag,
            c_lflag: self.c_lflag,
            c_line: self.c_line,
            c_cc: self.c_cc,
        }
    }

    /// The same with what TCSETS changes; the speeds stay.
    pub fn with(self, t: &Termios) -> Termios2 {
        Termios2 {
            c_iflag: t.c_iflag,
            c_oflag: t.c_oflag,
            c_cflag: t.c_cflag,
            c_lflag: t.c_lflag,
            c_line: t.c_line,
            c_cc: t.c_cc,
            ..self
        }
    }
}

/// `struct winsize`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Winsize {
    pub ws_row: u16,
    pub ws_col: u16,
    pub ws_xpixel: u16,
    pub ws_ypixel: u16,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use linux_raw_sys::general as g;
    use std::mem::offset_of;

    #[test]
    fn layouts() {
        assert_eq!(size_of::<Termios>(), size_of::<g::termios>());
        assert_eq!(offset_of!(Termios, c_cc), offset_of!(g::termios, c_cc));
        assert_eq!(size_of::<Termios2>(), size_of::<g::termios2>());
        assert_eq!(offset_of!(Termios2, c_ospeed), offset_of!(g::termios2, c_ospeed));
        assert_eq!(size_of::<Winsize>(), 8);
    }

    #[test]
    fn defaults_are_those_of_linux() {
        let t = Termios2::default();
        assert_eq!((t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag), (0o2400, 0o5, 0o277, 0o105073)); // a pty's: without HUPCL
        assert_eq!(t.c_cc[VMIN as usize], 1);
        assert_eq!(t.c_cc[VINTR as usize], 3);
    }
}
