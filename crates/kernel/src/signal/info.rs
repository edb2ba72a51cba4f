//! siginfo_t: who sent a signal and why, sigaction(2). Kept as the 128 bytes that a handler gets.

use super::{SIGCHLD, SIGSYS};

pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_MESGQ: i32 = -3;
pub const SI_SIGIO: i32 = -5;
pub const SI_TKILL: i32 = -6;
/// Of SIGSYS: a filter's.
const SYS_SECCOMP: i32 = 1;

/// A signal with its information.
#[derive(Clone, Copy)]
pub struct SigInfo {
    raw: [u8; 128],
}

impl SigInfo {
    fn new(sig: i32, errno: i32, code: i32) -> SigInfo {
        let mut info = SigInfo { raw: [0; 128] };
        info.put(0, &sig.to_le_bytes());
        info.put(4, &errno.to_le_bytes());
        info.put(8, &code.to_le_bytes());
        info
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.raw.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }

    fn int(&self, at: usize) -> i32 {
        let bytes = self.raw.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default();
        i32::from_le_bytes(bytes)
    }

    /// kill(2), tgkill(2), sigqueue(3): `pid` and `uid` as the receiver sees them.
    pub fn user(sig: i32, code: i32, pid: i32, uid: u32) -> SigInfo {
        let mut info = Self::new(sig, 0, code);
        info.put(16, &pid.to_le_bytes());
        info.put(20, &uid.to_le_bytes());
        info
    }

    /// The kernel's own: SI_KERNEL.
    pub fn kernel(sig: i32) -> SigInfo {
        Self::new(sig, 0, SI_KERNEL)
    }

    /// SIGCHLD and wait: `code` is CLD_*, `status` an exit code or a signal; times in clock ticks of 10 ms.
    pub fn child(code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> SigInfo {
        let mut info = Self::user(SIGCHLD, code, pid, uid);
        info.put(24, &status.to_le_bytes());
        info.put(32, &utime.to_le_bytes());
        info.put(40, &stime.to_le_bytes());
        info
    }

    /// A fault at `addr`.
    pub fn fault(sig: i32, code: i32, addr: u64) -> SigInfo {
        let mut info = Self::new(sig, 0, code);
        info.put(16, &addr.to_le_bytes());
        info
    }

    /// A POSIX timer's expiry, timer_create(2).
    pub fn timer(sig: i32, id: i32, overrun: i32, value: u64) -> SigInfo {
        let mut info = Self::new(sig, 0, SI_TIMER);
        info.put(16, &id.to_le_bytes());
        info.put(20, &overrun.to_le_bytes());
        info.put(24, &value.to_le_bytes());
        info
    }

    /// A message that came to a queue, mq_notify(3).
    pub fn message(sig: i32, pid: i32, uid: u32, value: u64) -> SigInfo {
        let mut info = Self::user(sig, SI_MESGQ, pid, uid);
        info.put(24, &value.to_le_bytes());
        info
    }

    /// More expirations of the timer before the signal was taken.
    pub fn add_overrun(&mut self, more: u64) {
        let sum = (self.int(20) as u32 as u64).saturating_add(more).min(i32::MAX as u64);
        self.put(20, &(sum as i32).to_le_bytes());
    }

    /// SIGIO: `band` as poll's events.
    pub fn poll(sig: i32, code: i32, band: i64, fd: i32) -> SigInfo {
        let mut info = Self::new(sig, 0, code);
        info.put(16, &band.to_le_bytes());
        info.put(24, &fd.to_le_bytes());
        info
    }

    /// A filter of seccomp(2) did not let call `nr` of `arch` pass: the address behind it, and the filter's data in si_errno.
    pub fn seccomp(data: u16, ip: u64, nr: u32, arch: u32) -> SigInfo {
        let mut info = Self::new(SIGSYS, data.into(), SYS_SECCOMP);
        info.put(16, &ip.to_le_bytes());
        info.put(24, &nr.to_le_bytes());
        info.put(28, &arch.to_le_bytes());
        info
    }

    /// What rt_sigqueueinfo(2) was given; the number is the call's own.
    pub fn from_user(sig: i32, mut raw: [u8; 128]) -> SigInfo {
        if let Some(to) = raw.get_mut(..4) {
            to.copy_from_slice(&sig.to_le_bytes());
        }
        SigInfo { raw }
    }

    /// With 0 for the sender's process.
    pub fn without_sender(mut self) -> SigInfo {
        self.put(16, &0i32.to_le_bytes());
        self
    }

    pub fn sig(&self) -> i32 {
        self.int(0)
    }
    pub fn code(&self) -> i32 {
        self.int(8)
    }
    pub fn pid(&self) -> i32 {
        self.int(16)
    }
    pub fn uid(&self) -> u32 {
        self.int(20) as u32
    }
    pub fn status(&self) -> i32 {
        self.int(24)
    }
    /// sigval: of SI_QUEUE and SI_TIMER.
    pub fn value(&self) -> u64 {
        let bytes = self.raw.get(24..32).and_then(|b| b.try_into().ok()).unwrap_or_default();
        u64::from_le_bytes(bytes)
    }
    /// si_addr of a fault.
    pub fn addr(&self) -> u64 {
        let bytes = self.raw.get(16..24).and_then(|b| b.try_into().ok()).unwrap_or_default();
        u64::from_le_bytes(bytes)
    }
    pub fn raw(&self) -> &[u8; 128] {
        &self.raw
    }
    /// From the kernel, not from a process: si_code > 0, or SI_TIMER and its kind are not counted.
    pub fn from_kernel(&self) -> bool {
        self.code() > 0
    }
}
