//! Signals: signal(7), sigaction(2), sigaltstack(2), sigevent(7).
//!
//! Signal numbers are u32, 1 to 64. `SigInfo` is the 128-byte `siginfo_t` as bytes, built by kind.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use linux_raw_sys::general::{MINSIGSTKSZ, SS_AUTODISARM, SS_DISABLE, SS_ONSTACK};
pub use linux_raw_sys::general::{
    SA_EXPOSE_TAGBITS, SA_NOCLDSTOP, SA_NOCLDWAIT, SA_NODEFER, SA_ONSTACK, SA_RESETHAND, SA_RESTART, SA_RESTORER,
    SA_SIGINFO, SA_UNSUPPORTED,
};
pub use linux_raw_sys::general::{SIG_BLOCK, SIG_SETMASK, SIG_UNBLOCK};
pub use linux_raw_sys::general::{
    SIGABRT, SIGALRM, SIGBUS, SIGCHLD, SIGCONT, SIGFPE, SIGHUP, SIGILL, SIGINT, SIGIO, SIGKILL, SIGPIPE, SIGPROF,
    SIGPWR, SIGQUIT, SIGSEGV, SIGSTKFLT, SIGSTOP, SIGSYS, SIGTERM, SIGTRAP, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1,
    SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};
pub use linux_raw_sys::general::{SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD, SIGEV_THREAD_ID};

/// The first real-time signal, as the kernel counts (glibc keeps two of them to itself).
pub const SIGRTMIN: u32 = 32;
/// The highest signal number.
pub const SIGRTMAX: u32 = 64;
/// The number of signals: valid numbers are 1 to NSIG.
pub const NSIG: u32 = 64;
/// The only size of a signal set that the rt_sig* calls take, in bytes.
pub const SIGSET_SIZE: u64 = 8;
/// Values of `sa_handler`.
pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;

/// si_code: who sent it. Codes above 0 but below 0x80 are specific to the signal; 0 and less come from user space.
pub const SI_USER: i32 = 0;
pub const SI_KERNEL: i32 = 0x80;
pub const SI_QUEUE: i32 = -1;
pub const SI_TIMER: i32 = -2;
pub const SI_MESGQ: i32 = -3;
pub const SI_ASYNCIO: i32 = -4;
pub const SI_SIGIO: i32 = -5;
pub const SI_TKILL: i32 = -6;
/// SIGILL.
pub const ILL_ILLOPC: i32 = 1;
pub const ILL_ILLOPN: i32 = 2;
/// SIGFPE.
pub const FPE_INTDIV: i32 = 1;
pub const FPE_FLTINV: i32 = 7;
/// SIGSEGV.
pub const SEGV_MAPERR: i32 = 1;
pub const SEGV_ACCERR: i32 = 2;
pub const SEGV_PKUERR: i32 = 4;
/// SIGBUS.
pub const BUS_ADRALN: i32 = 1;
pub const BUS_ADRERR: i32 = 2;
pub const BUS_OBJERR: i32 = 3;
/// SIGTRAP.
pub const TRAP_BRKPT: i32 = 1;
pub const TRAP_TRACE: i32 = 2;
/// SIGCHLD.
pub const CLD_EXITED: i32 = 1;
pub const CLD_KILLED: i32 = 2;
pub const CLD_DUMPED: i32 = 3;
pub const CLD_TRAPPED: i32 = 4;
pub const CLD_STOPPED: i32 = 5;
pub const CLD_CONTINUED: i32 = 6;
/// SIGIO.
pub const POLL_IN: i32 = 1;
pub const POLL_OUT: i32 = 2;
pub const POLL_MSG: i32 = 3;
pub const POLL_ERR: i32 = 4;
pub const POLL_PRI: i32 = 5;
pub const POLL_HUP: i32 = 6;
/// SIGSYS.
pub const SYS_SECCOMP: i32 = 1;
pub const SYS_USER_DISPATCH: i32 = 2;

/// Linux' name of a signal, such as "SIGTERM", or "SIGRT_3"; `None` beyond 1 to 64.
pub fn name(sig: u32) -> Option<&'static str> {
    NAMES.get(sig.checked_sub(1)? as usize).copied()
}

const NAMES: [&str; 64] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
    "SIGRT_0",
    "SIGRT_1",
    "SIGRT_2",
    "SIGRT_3",
    "SIGRT_4",
    "SIGRT_5",
    "SIGRT_6",
    "SIGRT_7",
    "SIGRT_8",
    "SIGRT_9",
    "SIGRT_10",
    "SIGRT_11",
    "SIGRT_12",
    "SIGRT_13",
    "SIGRT_14",
    "SIGRT_15",
    "SIGRT_16",
    "SIGRT_17",
    "SIGRT_18",
    "SIGRT_19",
    "SIGRT_20",
    "SIGRT_21",
    "SIGRT_22",
    "SIGRT_23",
    "SIGRT_24",
    "SIGRT_25",
    "SIGRT_26",
    "SIGRT_27",
    "SIGRT_28",
    "SIGRT_29",
    "SIGRT_30",
    "SIGRT_31",
    "SIGRT_32",
];

/// The number of a signal by name ("SIGTERM", "TERM", in any case) or by decimal number.
pub fn by_name(text: &str) -> Option<u32> {
    if let Ok(sig) = text.parse::<u32>() {
        return (1..=NSIG).contains(&sig).then_some(sig);
    }
    let upper = text.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    match bare {
        "IOT" => return Some(SIGABRT),
        "CLD" => return Some(SIGCHLD),
        "POLL" => return Some(SIGIO),
        _ => {}
    }
    NAMES.iter().position(|n| n.strip_prefix("SIG") == Some(bare)).map(|i| i as u32 + 1)
}

/// What a signal does when its action is SIG_DFL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    Terminate,
    Core,
    Ignore,
    Stop,
    Continue,
}

/// The default action of a signal, signal(7).
pub const fn default_action(sig: u32) -> DefaultAction {
    match sig {
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ | SIGSYS => {
            DefaultAction::Core
        }
        SIGCHLD | SIGURG | SIGWINCH => DefaultAction::Ignore,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => DefaultAction::Stop,
        SIGCONT => DefaultAction::Continue,
        _ => DefaultAction::Terminate,
    }
}

/// A set of signals: bit n-1 is signal n. The kernel's `sigset_t`, 8 bytes.
#[repr(transparent)]
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigSet(pub u64);

impl SigSet {
    pub const EMPTY: SigSet = SigSet(0);
    pub const FULL: SigSet = SigSet(u64::MAX);
    /// SIGKILL and SIGSTOP, which no one can block, catch or ignore.
    pub const UNBLOCKABLE: SigSet = SigSet::of(SIGKILL).with(SIGSTOP);
    /// The signals that a fault raises by itself; they are delivered first.
    pub const SYNCHRONOUS: SigSet =
        SigSet::of(SIGSEGV).with(SIGBUS).with(SIGILL).with(SIGTRAP).with(SIGFPE).with(SIGSYS);

    /// The set of one signal; empty if `sig` is no signal number.
    pub const fn of(sig: u32) -> SigSet {
        if sig >= 1 && sig <= NSIG { SigSet(1 << (sig - 1)) } else { SigSet(0) }
    }

    pub const fn contains(self, sig: u32) -> bool {
        self.0 & SigSet::of(sig).0 != 0
    }

    pub const fn with(self, sig: u32) -> SigSet {
        SigSet(self.0 | SigSet::of(sig).0)
    }

    pub const fn without(self, sig: u32) -> SigSet {
        SigSet(self.0 & !SigSet::of(sig).0)
    }

    pub fn insert(&mut self, sig: u32) {
        *self = self.with(sig);
    }

    pub fn remove(&mut self, sig: u32) {
        *self = self.without(sig);
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The lowest signal of the set.
    pub const fn first(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0.trailing_zeros() + 1) }
    }

    /// The signals of the set, rising.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (1..=NSIG).filter(move |sig| self.contains(*sig))
    }
}

impl std::ops::BitAnd for SigSet {
    type Output = SigSet;
    fn bitand(self, other: SigSet) -> SigSet {
        SigSet(self.0 & other.0)
    }
}

impl std::ops::BitOr for SigSet {
    type Output = SigSet;
    fn bitor(self, other: SigSet) -> SigSet {
        SigSet(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for SigSet {
    fn bitor_assign(&mut self, other: SigSet) {
        self.0 |= other.0;
    }
}

impl std::ops::BitAndAssign for SigSet {
    fn bitand_assign(&mut self, other: SigSet) {
        self.0 &= other.0;
    }
}

impl std::ops::Not for SigSet {
    type Output = SigSet;
    fn not(self) -> SigSet {
        SigSet(!self.0)
    }
}

impl fmt::Debug for SigSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().filter_map(name)).finish()
    }
}

/// The kernel's `struct sigaction` (rt_sigaction): 32 bytes, not glibc's order.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigAction {
    /// Address of the handler, SIG_DFL or SIG_IGN.
    pub sa_handler: u64,
    /// SA_*
    pub sa_flags: u64,
    pub sa_restorer: u64,
    pub sa_mask: SigSet,
}

/// `stack_t` of sigaltstack(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StackT {
    pub ss_sp: u64,
    /// SS_*
    pub ss_flags: u32,
    pub pad: u32,
    pub ss_size: u64,
}

impl Default for StackT {
    /// No alternate stack.
    fn default() -> StackT {
        StackT { ss_sp: 0, ss_flags: SS_DISABLE, pad: 0, ss_size: 0 }
    }
}

/// `struct sigevent`, 64 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigEvent {
    pub sigev_value: u64,
    pub sigev_signo: i32,
    /// SIGEV_*
    pub sigev_notify: i32,
    /// The thread of SIGEV_THREAD_ID.
    pub tid: i32,
    pub pad: [u32; 11],
}

/// `siginfo_t` as the 128 bytes that a handler sees. Fields by their offset in the x86-64 layout.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SigInfo(pub [u8; 128]);

impl SigInfo {
    fn put(mut self, at: usize, bytes: &[u8]) -> SigInfo {
        for (to, from) in self.0.iter_mut().skip(at).zip(bytes) {
            *to = *from;
        }
        self
    }

    fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut out = [0; N];
        for (to, from) in out.iter_mut().zip(self.0.iter().skip(at)) {
            *to = *from;
        }
        out
    }

    /// A signal with a code and nothing else.
    pub fn new(sig: u32, code: i32) -> SigInfo {
        SigInfo([0; 128]).put(0, &sig.to_ne_bytes()).put(8, &code.to_ne_bytes())
    }

    /// By kill(2) (SI_USER) or tkill(2) (SI_TKILL): from process `pid` of user `uid`.
    pub fn kill(sig: u32, code: i32, pid: i32, uid: u32) -> SigInfo {
        SigInfo::new(sig, code).put(16, &pid.to_ne_bytes()).put(20, &uid.to_ne_bytes())
    }

    /// Sent by the kernel itself.
    pub fn kernel(sig: u32) -> SigInfo {
        SigInfo::new(sig, SI_KERNEL)
    }

    /// By sigqueue(3), with its value; also SI_MESGQ.
    pub fn queue(sig: u32, code: i32, pid: i32, uid: u32, value: u64) -> SigInfo {
        SigInfo::kill(sig, code, pid, uid).put(24, &value.to_ne_bytes())
    }

    /// SIGCHLD (or the exit signal asked for): the child, its user, its status (exit code or signal), its times in clock ticks.
    pub fn child(sig: u32, code: i32, pid: i32, uid: u32, status: i32, utime: i64, stime: i64) -> SigInfo {
        SigInfo::kill(sig, code, pid, uid)
            .put(24, &status.to_ne_bytes())
            .put(32, &utime.to_ne_bytes())
            .put(40, &stime.to_ne_bytes())
    }

    /// A fault at an address.
    pub fn fault(sig: u32, code: i32, addr: u64) -> SigInfo {
        SigInfo::new(sig, code).put(16, &addr.to_ne_bytes())
    }

    /// A POSIX timer: its id, overruns and value.
    pub fn timer(sig: u32, id: i32, overrun: i32, value: u64) -> SigInfo {
        SigInfo::new(sig, SI_TIMER)
            .put(16, &id.to_ne_bytes())
            .put(20, &overrun.to_ne_bytes())
            .put(24, &value.to_ne_bytes())
    }

    /// SIGIO: POLL_* code, events and descriptor.
    pub fn poll(sig: u32, code: i32, band: i64, fd: i32) -> SigInfo {
        SigInfo::new(sig, code).put(16, &band.to_ne_bytes()).put(24, &fd.to_ne_bytes())
    }

    /// SIGSYS of a seccomp filter: the call's address, number, AUDIT_ARCH and the filter's data (in si_errno).
    pub fn sys(addr: u64, nr: i32, arch: u32, data: i32) -> SigInfo {
        SigInfo::new(SIGSYS, SYS_SECCOMP)
            .put(4, &data.to_ne_bytes())
            .put(16, &addr.to_ne_bytes())
            .put(24, &nr.to_ne_bytes())
            .put(28, &arch.to_ne_bytes())
    }

    pub fn signo(&self) -> u32 {
        u32::from_ne_bytes(self.get(0))
    }

    pub fn errno(&self) -> i32 {
        i32::from_ne_bytes(self.get(4))
    }

    pub fn code(&self) -> i32 {
        i32::from_ne_bytes(self.get(8))
    }

    /// Sender, child or (timers) timer id.
    pub fn pid(&self) -> i32 {
        i32::from_ne_bytes(self.get(16))
    }

    /// Sender's or child's user, or (timers) overrun.
    pub fn uid(&self) -> u32 {
        u32::from_ne_bytes(self.get(20))
    }

    /// Address of a fault.
    pub fn addr(&self) -> u64 {
        u64::from_ne_bytes(self.get(16))
    }

    /// Status of a child.
    pub fn status(&self) -> i32 {
        i32::from_ne_bytes(self.get(24))
    }

    /// Value of sigqueue, timers and mq_notify.
    pub fn value(&self) -> u64 {
        u64::from_ne_bytes(self.get(24))
    }

    /// User and system time of a child.
    pub fn times(&self) -> (i64, i64) {
        (i64::from_ne_bytes(self.get(32)), i64::from_ne_bytes(self.get(40)))
    }

    /// The same with another signal number, code kept (rt_sigqueueinfo takes the number from its argument).
    pub fn with_signo(self, sig: u32) -> SigInfo {
        self.put(0, &sig.to_ne_bytes())
    }

    /// The same as seen from another PID or user namespace.
    pub fn with_sender(self, pid: i32, uid: u32) -> SigInfo {
        self.put(16, &pid.to_ne_bytes()).put(20, &uid.to_ne_bytes())
    }

    /// The same with another overrun count (timers).
    pub fn with_overrun(self, overrun: i32) -> SigInfo {
        self.put(20, &overrun.to_ne_bytes())
    }
}

impl fmt::Debug for SigInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{{{} code {} pid {} uid {}}}",
            name(self.signo()).unwrap_or("?"),
            self.code(),
            self.pid(),
            self.uid()
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use linux_raw_sys::general as g;
    use std::mem::{offset_of, size_of};

    #[test]
    fn layouts() {
        assert_eq!(size_of::<SigAction>(), size_of::<g::kernel_sigaction>());
        assert_eq!(offset_of!(SigAction, sa_mask), offset_of!(g::kernel_sigaction, sa_mask));
        assert_eq!(size_of::<StackT>(), size_of::<libc::stack_t>());
        assert_eq!(size_of::<SigEvent>(), size_of::<libc::sigevent>());
        assert_eq!(size_of::<SigInfo>(), size_of::<libc::siginfo_t>());
        assert_eq!(MINSIGSTKSZ, 2048);
    }

    #[test]
    fn names() {
        assert_eq!(name(SIGTERM), Some("SIGTERM"));
        assert_eq!(name(SIGSYS), Some("SIGSYS"));
        assert_eq!(name(0), None);
        assert_eq!(name(65), None);
        assert_eq!(by_name("term"), Some(15));
        assert_eq!(by_name("SIGKILL"), Some(9));
        assert_eq!(by_name("9"), Some(9));
        assert_eq!(by_name("0"), None);
        assert_eq!(by_name("RT_1"), Some(33));
    }

    #[test]
    fn sets() {
        let set = SigSet::of(1).with(64);
        assert!(set.contains(64) && !set.contains(2) && !set.contains(0) && !set.contains(65));
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 64]);
        assert_eq!((set & !SigSet::of(1)).first(), Some(64));
        assert_eq!(SigSet::of(0), SigSet::EMPTY);
    }

    #[test]
    fn info_of_a_child() {
        let info = SigInfo::child(SIGCHLD, CLD_EXITED, 5, 1000, 3, 10, 20);
        assert_eq!((info.signo(), info.code(), info.pid(), info.uid(), info.status()), (17, 1, 5, 1000, 3));
        assert_eq!(info.times(), (10, 20));
        assert_eq!(SigInfo::fault(SIGSEGV, SEGV_MAPERR, 0xdead_beef_0000).addr(), 0xdead_beef_0000);
    }
}
