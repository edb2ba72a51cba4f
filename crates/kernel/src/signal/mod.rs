//! Signals: sets, actions, pending signals. signal(7), sigaction(2).
//!
//! `send` makes signals pending, `task::attention` takes them out and acts. Locks: `ProcessSignals` (actions, shared pending
//! signals, stop state of a thread group), then `TaskSignals` (a thread's mask and own pending signals).

mod info;
mod pending;

pub use info::{SI_KERNEL, SI_MESGQ, SI_QUEUE, SI_SIGIO, SI_TIMER, SI_TKILL, SI_USER, SigInfo};
pub use pending::Pending;

pub const SIGHUP: i32 = 1;
pub const SIGINT: i32 = 2;
pub const SIGQUIT: i32 = 3;
pub const SIGILL: i32 = 4;
pub const SIGTRAP: i32 = 5;
pub const SIGABRT: i32 = 6;
pub const SIGBUS: i32 = 7;
pub const SIGFPE: i32 = 8;
pub const SIGKILL: i32 = 9;
pub const SIGUSR1: i32 = 10;
pub const SIGSEGV: i32 = 11;
pub const SIGUSR2: i32 = 12;
pub const SIGPIPE: i32 = 13;
pub const SIGALRM: i32 = 14;
pub const SIGTERM: i32 = 15;
pub const SIGSTKFLT: i32 = 16;
pub const SIGCHLD: i32 = 17;
pub const SIGCONT: i32 = 18;
pub const SIGSTOP: i32 = 19;
pub const SIGTSTP: i32 = 20;
pub const SIGTTIN: i32 = 21;
pub const SIGTTOU: i32 = 22;
pub const SIGURG: i32 = 23;
pub const SIGXCPU: i32 = 24;
pub const SIGXFSZ: i32 = 25;
pub const SIGVTALRM: i32 = 26;
pub const SIGPROF: i32 = 27;
pub const SIGWINCH: i32 = 28;
pub const SIGIO: i32 = 29;
pub const SIGPWR: i32 = 30;
pub const SIGSYS: i32 = 31;
/// The first real-time signal of the kernel (the C library keeps the first two for itself).
pub const SIGRTMIN: i32 = 32;
pub const SIGRTMAX: i32 = 64;

/// A set of signals: bit n-1 is signal n, as in the kernel's sigset_t.
pub type SigSet = u64;

/// The bit of a signal; 0 for what is no signal.
pub fn bit(sig: i32) -> SigSet {
    if (1..=64).contains(&sig) { 1 << (sig - 1) } else { 0 }
}

/// Signals that stop a process by default.
pub const STOP_SIGNALS: SigSet = 1 << 18 | 1 << 19 | 1 << 20 | 1 << 21;
/// What can be neither masked nor caught.
pub const UNMASKABLE: SigSet = 1 << 8 | 1 << 18;
/// Signals that a fault of the thread itself makes: taken first.
pub const SYNCHRONOUS: SigSet = 1 << 3 | 1 << 4 | 1 << 6 | 1 << 7 | 1 << 10 | 1 << 30;

/// What happens to a process that has said nothing, signal(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Default {
    Terminate,
    /// Terminate, with a core dump where one is configured (here: the status says so only when one was written).
    Core,
    Ignore,
    Stop,
    Continue,
}

pub fn default_action(sig: i32) -> Default {
    match sig {
        SIGCHLD | SIGURG | SIGWINCH => Default::Ignore,
        SIGCONT => Default::Continue,
        SIGSTOP | SIGTSTP | SIGTTIN | SIGTTOU => Default::Stop,
        SIGQUIT | SIGILL | SIGTRAP | SIGABRT | SIGBUS | SIGFPE | SIGSEGV | SIGXCPU | SIGXFSZ | SIGSYS => Default::Core,
        _ => Default::Terminate,
    }
}

pub const SIG_DFL: u64 = 0;
pub const SIG_IGN: u64 = 1;

pub const SA_NOCLDSTOP: u64 = 1;
pub const SA_NOCLDWAIT: u64 = 2;
pub const SA_SIGINFO: u64 = 4;
pub const SA_ONSTACK: u64 = 0x0800_0000;
pub const SA_RESTART: u64 = 0x1000_0000;
pub const SA_NODEFER: u64 = 0x4000_0000;
pub const SA_RESETHAND: u64 = 0x8000_0000;
pub const SA_RESTORER: u64 = 0x0400_0000;
/// All of them, with SA_EXPOSE_TAGBITS: what else is set does not stay, which SA_UNSUPPORTED tells.
pub const SA_KNOWN: u64 = SA_NOCLDSTOP
    | SA_NOCLDWAIT
    | SA_SIGINFO
    | SA_ONSTACK
    | SA_RESTART
    | SA_NODEFER
    | SA_RESETHAND
    | SA_RESTORER
    | 0x800;

/// struct sigaction as the kernel's system call has it.
#[derive(Clone, Copy, Debug, zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
#[repr(C)]
pub struct SigAction {
    pub handler: u64,
    pub flags: u64,
    pub restorer: u64,
    pub mask: SigSet,
}

impl SigAction {
    pub const DEFAULT: SigAction = SigAction { handler: SIG_DFL, flags: 0, restorer: 0, mask: 0 };

    pub fn ignores(&self, sig: i32) -> bool {
        self.handler == SIG_IGN || self.handler == SIG_DFL && default_action(sig) == Default::Ignore
    }
}

/// The actions of a thread group.
#[derive(Clone)]
pub struct Actions([SigAction; 64]);

impl Actions {
    pub fn new() -> Actions {
        Actions([SigAction::DEFAULT; 64])
    }
    pub fn get(&self, sig: i32) -> SigAction {
        usize::try_from(sig - 1).ok().and_then(|at| self.0.get(at).copied()).unwrap_or(SigAction::DEFAULT)
    }
    pub fn set(&mut self, sig: i32, action: SigAction) {
        if let Some(slot) = usize::try_from(sig - 1).ok().and_then(|at| self.0.get_mut(at)) {
            *slot = action;
        }
    }
    /// execve(2): handlers become the default, ignored signals stay ignored.
    pub fn reset_handlers(&mut self) {
        for action in &mut self.0 {
            if action.handler != SIG_IGN {
                action.handler = SIG_DFL;
            }
            action.flags = 0;
            action.mask = 0;
            action.restorer = 0;
        }
    }
    /// The signals whose actions are all zero.
    pub fn untouched(&self) -> SigSet {
        let zero = |action: &SigAction| action.handler | action.flags | action.restorer | action.mask == 0;
        self.iter().filter(|(_, action)| zero(action)).fold(0, |set, (sig, _)| set | bit(sig))
    }
    pub fn iter(&self) -> impl Iterator<Item = (i32, &SigAction)> {
        (1..).zip(self.0.iter())
    }
}

impl std::default::Default for Actions {
    fn default() -> Actions {
        Actions::new()
    }
}

/// sigaltstack(2).
#[derive(Clone, Copy, Debug)]
pub struct AltStack {
    pub sp: u64,
    pub flags: u32,
    pub size: u64,
}

pub const SS_ONSTACK: u32 = 1;
pub const SS_DISABLE: u32 = 2;
pub const SS_AUTODISARM: u32 = 1 << 31;

impl AltStack {
    pub const NONE: AltStack = AltStack { sp: 0, flags: SS_DISABLE, size: 0 };
    /// Of a program that has set none since its first ancestor: signal frames show its flags as they are.
    pub const UNSET: AltStack = AltStack { sp: 0, flags: 0, size: 0 };

    pub fn enabled(&self) -> bool {
        self.flags & SS_DISABLE == 0 && self.size > 0
    }
    /// As a signal frame has it.
    pub fn shown(&self) -> (u64, u32, u64) {
        (self.sp, self.flags, self.size)
    }
    pub fn contains(&self, sp: u64) -> bool {
        self.enabled() && sp > self.sp && sp - self.sp <= self.size
    }
}
