//! What the stub shall do for a memory call, and how the map is put back where the stub cannot.
//!
//! The map is changed when the call is planned; the stub then performs the operations in one trip. Neighbours: `state`, `undo`.

use super::undo::Undo;
use abi::Errno;
use abi::mm::{MAP_FIXED, MAP_FIXED_NOREPLACE};
use host::HostFd;
use platform::{Arg, Op, Script, Then, Thread};
use std::ops::Range;
use std::sync::Arc;

/// The value of a memory call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Value(i64),
    /// What the host said to the last operation.
    Last,
}

/// A planned memory call.
pub struct Work {
    /// `Arg::Fd` counts `files`.
    pub(super) ops: Vec<Op>,
    pub(super) files: Vec<Donation>,
    pub(super) answer: Answer,
    /// The stub reports success, too: what the map lost is let go of then, not with the thread's next call.
    pub(super) reports: bool,
    /// The call's value where the stub fails, in place of the host's error (brk never fails).
    pub(super) on_failure: Option<i64>,
    pub(super) undo: Undo,
    /// The place was free when the map was looked at, and is taken only if it still is: else the call is planned anew.
    pub(super) wish: bool,
}

/// A host file for the stub.
pub struct Donation {
    pub file: Arc<HostFd>,
    /// Whether the guest may write it by a shared mapping. Else the stub gets it read-only, whatever the kernel's own descriptor may
    /// do: hostile code in the stub process could map it otherwise than it was told.
    pub write: bool,
}

impl Donation {
    /// Hands the file to a stub thread; its number there.
    pub fn attach(&self, thread: &Thread) -> Result<u32, Errno> {
        let file = if self.write { self.file.clone() } else { thread.space().read_only(&self.file)? };
        thread.attach(file)
    }
}

impl Work {
    /// A call that needs nothing of the stub.
    pub fn none(value: i64) -> Work {
        Work {
            ops: Vec::new(),
            files: Vec::new(),
            answer: Answer::Value(value),
            reports: false,
            on_failure: None,
            undo: Undo::default(),
            wish: false,
        }
    }

    pub(super) fn new(answer: Answer) -> Work {
        Work { answer, ..Work::none(0) }
    }

    /// Adds a host call; returns its number.
    pub(super) fn call(&mut self, nr: u32, args: [u64; 6]) -> u32 {
        self.ops.push(Op::call(nr, args));
        self.ops.len() as u32 - 1
    }

    /// Adds a host call whose failure is of no account.
    pub(super) fn try_call(&mut self, nr: u32, args: [u64; 6]) {
        self.ops.push(Op::Call { nr, args: args.map(Arg::Val), may_fail: true });
    }

    /// Adds an mmap of `file` from `offset` on, or of anonymous memory, at the fixed place `range`: MAP_FIXED unless `flags` say MAP_FIXED_NOREPLACE.
    pub(super) fn map(&mut self, range: &Range<u64>, prot: u32, flags: u32, file: Option<(Donation, u64)>) -> u32 {
        let flags = if flags & MAP_FIXED_NOREPLACE != 0 { flags } else { flags | MAP_FIXED };
        let (fd, offset) = match file {
            Some((fd, offset)) => {
                self.files.push(fd);
                (Arg::Fd(self.files.len() as u32 - 1), offset)
            }
            None => (Arg::Val(u64::MAX), 0),
        };
        let val = |v: u64| Arg::Val(v);
        self.ops.push(Op::Call {
            nr: abi::nr::MMAP,
            args: [
                val(range.start),
                val(range.end - range.start),
                val(prot.into()),
                val(flags.into()),
                fd,
                val(offset),
            ],
            may_fail: false,
        });
        self.ops.len() as u32 - 1
    }

    /// Whether the stub has nothing to do; then `value` is the call's value.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub fn value(&self) -> i64 {
        match self.answer {
            Answer::Value(value) => value,
            Answer::Last => 0,
        }
    }

    /// The script for a thread that is in the kernel with its registers, its files attached; and what to do when the stub reports.
    /// Where attaching fails, the map must be put back with `Ending::value(.., 0)`.
    pub fn into_script(self, thread: &Thread) -> (Result<Script, Errno>, Ending) {
        let Work { mut ops, files, answer, reports, on_failure, undo, wish } = self;
        let ending = Ending { undo, count: ops.len() as u32, answer, on_failure, wish };
        let mut numbers = Vec::with_capacity(files.len());
        for file in files {
            match file.attach(thread) {
                Ok(number) => numbers.push(number),
                Err(e) => return (Err(e), ending),
            }
        }
        for op in &mut ops {
            let Op::Call { args, .. } = op else { continue };
            for arg in args {
                if let Arg::Fd(index) = arg
                    && let Some(number) = numbers.get(*index as usize)
                {
                    *arg = Arg::Fd(*number);
                }
            }
        }
        let then = match answer {
            _ if reports => Then::Report,
            Answer::Value(value) => Then::Return(value),
            Answer::Last => Then::ReturnLast,
        };
        (Ok(Script { ops, then }), ending)
    }
}

/// What becomes of a memory call that the stub reports: because it failed, or because it was asked to.
pub struct Ending {
    undo: Undo,
    /// Operations of the script.
    count: u32,
    answer: Answer,
    on_failure: Option<i64>,
    wish: bool,
}

impl Ending {
    /// Whether another thread was faster at a place that was only wished for.
    pub fn plan_anew(&self, result: i64) -> bool {
        self.wish && result == Errno::EEXIST.ret()
    }

    /// The call's value, where the script ended with the host's answer `result` at operation `at`: the map is put back from there on.
    pub fn value(self, mm: &super::Mm, result: i64, at: u32) -> i64 {
        if at >= self.count {
            return match self.answer {
                Answer::Value(value) => value,
                Answer::Last => result,
            };
        }
        // What was taken out, and what the call had taken out, is dropped after the lock: it may be the last reference to a file.
        let gone = mm.state.lock().undo(&self.undo, at);
        drop(gone);
        self.on_failure.unwrap_or(result)
    }
}
