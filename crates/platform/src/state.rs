//! What is known of a host thread: where it is, its open request, what it was told to do. Under the thread's lock.
//!
//! Neighbours: `thread` (owns it), `shard`, `poller` and `birth` (what comes in), `perform` (what goes out). Owns no locks.

use std::sync::Arc;

use host::HostFd;

use crate::answer::{ForkSpec, FutexWait, Op, Registers, Script, SignalFrame, SpawnSpec, Then};
use crate::guest::Guest;
use crate::kept::FileRead;
use crate::layout::MOST_KEPT;
use crate::unborn::Unborn;

/// Where the thread is.
pub(crate) enum At {
    /// In guest code, or on its way there.
    Running,
    /// A direct notification waits for its answer.
    Direct {
        id: u64,
    },
    /// The poller has the call, and the stub waits for its answer in the mailbox.
    Polled,
    /// A doorbell waits: the stub holds all registers.
    Bell {
        id: u64,
    },
    /// In a futex on its mailbox, with all registers held.
    Parked,
    /// On its way from a direct notification, or from the futex, to a doorbell; what to answer there, if that is known.
    Coming(Option<Answer>),
    Gone,
}

/// What the kernel process answers.
pub(crate) enum Answer {
    Ret(i64),
    RetKick(i64),
    Frame,
    Resume,
    Script(Script),
    Fork(ForkSpec),
    Spawn(SpawnSpec),
    Signal(Box<SignalFrame>),
    Registers(Box<Registers>),
    Wait(FutexWait),
    Read(FileRead),
    Exit,
}

/// A system call as a notification brought it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Request {
    pub nr: u32,
    pub args: [u64; 6],
    pub ip: u64,
}

/// The one clone call that is allowed now: its flags, and whether all other arguments must be zero. (A thread's stack, thread id word and thread pointer are its own business.)
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Grant {
    pub flags: u64,
    pub alone: bool,
}

impl Grant {
    pub fn allows(self, args: [u64; 6]) -> bool {
        let Grant { flags, alone } = self;
        if alone { args == [flags, 0, 0, 0, 0, 0] } else { args[0] == flags && args[2] == 0 && args[5] == 0 }
    }
}

pub(crate) struct State {
    pub at: At,
    pub guest: Option<Arc<dyn Guest>>,
    /// A kick is on its way.
    pub kicked: bool,
    /// Kick (again) before the next answer is given.
    pub kick_again: bool,
    pub request: Request,
    /// `Mailbox::poll` of the call that the poller took.
    pub asked: u32,
    /// Sequence number of the last doorbell, and what its SEND carries.
    pub seq: u64,
    pub value: i64,
    /// The answer to a direct notification that was gone before it was sent (the host froze the thread): it comes again.
    pub lost: Option<(Request, i64)>,
    pub grant: Option<Grant>,
    /// A fork or spawn that is not complete.
    pub birth: Option<Birth>,
    /// The child of one that could not even be ordered, and the error, until the stub has rung.
    pub refused: Option<(Unborn, i64)>,
    /// The stub will ring RESULT.
    pub result_due: bool,
    pub errand: Option<Errand>,
    /// What was written to `Mailbox::lends`.
    pub lends: [u32; MOST_KEPT],
    pub files: Vec<Arc<HostFd>>,
    /// What a script that did not fit the mailbox still has to do.
    pub rest: Option<Rest>,
    /// Key in the shard's list of open notifications.
    pub open: Option<u64>,
    pub wait: Wait,
}

/// The last wait that the kernel ordered, until the thread's next event.
pub(crate) enum Wait {
    None,
    /// The host makes the guest's call, which ends here.
    Call {
        ip: u64,
    },
    /// The stub makes it. What the host said, when it is over.
    Stub(Option<i64>),
}

/// What the stub was told to do before it goes on with guest code, until the thread comes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Errand {
    /// To read a file, by its place in the space's table.
    Read(usize),
    /// To rewrite a call site.
    Rewrite,
}

pub(crate) struct Birth {
    pub cookie: [u64; 2],
    pub hello: bool,
    pub result: Option<i64>,
}

pub(crate) struct Rest {
    pub ops: std::vec::IntoIter<Op>,
    pub then: Then,
    /// Operations done before this round, and in it.
    pub done: u32,
    pub round: u32,
    /// Files that the stub holds for it.
    pub files: u32,
}

impl State {
    pub fn new(at: At, guest: Option<Arc<dyn Guest>>) -> State {
        State {
            at,
            guest,
            kicked: false,
            kick_again: false,
            request: Request::default(),
            asked: 0,
            seq: 1,
            value: 0,
            lost: None,
            grant: None,
            birth: None,
            refused: None,
            result_due: false,
            errand: None,
            lends: [0; MOST_KEPT],
            files: Vec::new(),
            rest: None,
            open: None,
            wait: Wait::None,
        }
    }
}
