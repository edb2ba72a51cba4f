//! Reads and writes of donated streams and terminals without touching their open file descriptions: O_NONBLOCK belongs to the host's
//! side and is never changed. preadv2(2), poll(2), ioctl_tty(2).

use crate::HostFd;
use abi::Errno;
use abi::tty::{Termios, Winsize};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::ReadWriteFlags;
use std::io::{IoSlice, IoSliceMut};

/// Which of `want` (bits of poll(2)) are there now, with POLLERR and POLLHUP unasked. Never sleeps.
pub fn poll_now(fd: &HostFd, want: u16) -> u16 {
    let mut fds = [PollFd::new(fd, PollFlags::from_bits_retain(want))];
    match rustix::event::poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(_) => fds[0].revents().bits(),
        Err(_) => 0,
    }
}

/// read(2) that says EAGAIN instead of sleeping; EOPNOTSUPP where the object cannot tell.
pub fn read_nowait(fd: &HostFd, into: &mut [u8]) -> Result<usize, Errno> {
    let mut parts = [IoSliceMut::new(into)];
    rustix::io::preadv2(fd, &mut parts, u64::MAX, ReadWriteFlags::NOWAIT).map_err(crate::errno)
}

/// write(2) that says EAGAIN instead of sleeping; EOPNOTSUPP where the object cannot tell.
pub fn write_nowait(fd: &HostFd, from: &[u8]) -> Result<usize, Errno> {
    rustix::io::pwritev2(fd, &[IoSlice::new(from)], u64::MAX, ReadWriteFlags::NOWAIT).map_err(crate::errno)
}

/// read(2) with the description's own offset. Sleeps.
pub fn read(fd: &HostFd, into: &mut [u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::read(fd, &mut *into)).map_err(crate::errno)
}

/// write(2) with the description's own offset. Sleeps.
pub fn write(fd: &HostFd, from: &[u8]) -> Result<usize, Errno> {
    rustix::io::retry_on_intr(|| rustix::io::write(fd, from)).map_err(crate::errno)
}

/// lseek(2) with the description's own offset; `whence` is SEEK_*.
pub fn seek(fd: &HostFd, offset: i64, whence: u32) -> Result<u64, Errno> {
    use rustix::fs::SeekFrom;
    let to = match whence {
        0 => SeekFrom::Start(u64::try_from(offset).map_err(|_| Errno::EINVAL)?),
        1 => SeekFrom::Current(offset),
        2 => SeekFrom::End(offset),
        3 => SeekFrom::Data(u64::try_from(offset).map_err(|_| Errno::ENXIO)?),
        4 => SeekFrom::Hole(u64::try_from(offset).map_err(|_| Errno::ENXIO)?),
        _ => return Err(Errno::EINVAL),
    };
    rustix::fs::seek(fd, to).map_err(crate::errno)
}

/// Open flags of the description, F_GETFL.
pub fn flags(fd: &HostFd) -> Result<u32, Errno> {
    rustix::fs::fcntl_getfl(fd).map(|f| f.bits()).map_err(crate::errno)
}

/// Sets O_NONBLOCK: only for descriptions that nobody else has.
pub fn set_nonblocking(fd: &HostFd) -> Result<(), Errno> {
    let flags = rustix::fs::fcntl_getfl(fd).map_err(crate::errno)?;
    rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK).map_err(crate::errno)
}

/// Settings of a terminal; ENOTTY for anything else.
pub fn termios(fd: &HostFd) -> Result<Termios, Errno> {
    // SAFETY: TCGETS writes one `struct termios` of the kernel, whose layout `Termios` has (tested in `abi`).
    let get = unsafe { rustix::ioctl::Getter::<{ abi::tty::TCGETS as rustix::ioctl::Opcode }, Termios>::new() };
    // SAFETY: the request only reads the terminal's settings.
    unsafe { rustix::ioctl::ioctl(fd, get) }.map_err(crate::errno)
}

/// Size of a terminal; ENOTTY for anything else.
pub fn winsize(fd: &HostFd) -> Result<Winsize, Errno> {
    // SAFETY: TIOCGWINSZ writes one `struct winsize`, whose layout `Winsize` has (tested in `abi`).
    let get = unsafe { rustix::ioctl::Getter::<{ abi::tty::TIOCGWINSZ as rustix::ioctl::Opcode }, Winsize>::new() };
    // SAFETY: the request only reads the terminal's size.
    unsafe { rustix::ioctl::ioctl(fd, get) }.map_err(crate::errno)
}
