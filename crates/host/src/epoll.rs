//! epoll and a timerfd for the kernel's reactor. epoll(7), timerfd_create(2).

use crate::HostFd;
use abi::Errno;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use std::sync::Arc;

/// An epoll instance. Events are bits of poll(2), tokens are the caller's.
pub struct Epoll(Arc<HostFd>);

impl Epoll {
    pub fn new() -> Result<Epoll, Errno> {
        let fd = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(crate::errno)?;
        Ok(Epoll(HostFd::new(fd)))
    }

    pub fn add(&self, fd: &Arc<HostFd>, token: u64, events: u32) -> Result<(), Errno> {
        let flags = epoll::EventFlags::from_bits_retain(events);
        epoll::add(&self.0, fd, epoll::EventData::new_u64(token), flags).map_err(crate::errno)
    }

    pub fn remove(&self, fd: &Arc<HostFd>) -> Result<(), Errno> {
        epoll::delete(&self.0, fd).map_err(crate::errno)
    }

    /// Waits without limit; appends what is ready as (token, events).
    pub fn wait(&self, ready: &mut Vec<(u64, u32)>) {
        let mut events = Vec::with_capacity(64);
        // EINTR only makes the caller ask again.
        if epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), None).is_ok() {
            ready.extend(events.iter().map(|e: &epoll::Event| ({ e.data }.u64(), { e.flags }.bits())));
        }
    }
}

/// A timer on CLOCK_MONOTONIC that a reactor waits for.
pub struct TimerFd(Arc<HostFd>);

impl TimerFd {
    pub fn new() -> Result<TimerFd, Errno> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags).map_err(crate::errno)?;
        Ok(TimerFd(HostFd::new(fd)))
    }

    pub fn fd(&self) -> &Arc<HostFd> {
        &self.0
    }

    /// Expires at `at` ns of CLOCK_MONOTONIC, at once when that is past.
    pub fn arm(&self, at: u64) {
        let value = Timespec { tv_sec: (at / 1_000_000_000) as i64, tv_nsec: (at % 1_000_000_000) as i64 };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let _ = rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::ABSTIME, &spec);
    }

    /// Takes back an expiry that epoll reported.
    pub fn acknowledge(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.0, &mut count);
    }
}
