//! A compare-and-swap of a word in guest memory, made by the caller's stub: no host call makes one in another process' private memory.

use abi::Errno;
use kernel::call::Next;
use kernel::{Ret, StubWork};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::{Acquire, Release};

/// A swap on its way.
pub struct Swap {
    pub old: u32,
    result: Arc<AtomicI64>,
}

impl Swap {
    /// The call is run again when it is done.
    pub fn start(addr: u64, old: u32, new: u32) -> (Swap, Ret) {
        let result = Arc::new(AtomicI64::new(Errno::EFAULT.ret()));
        let swap = Swap { old, result: result.clone() };
        let script = platform::Script {
            ops: vec![platform::Op::Cas32 { addr, old, new, wake: 0 }],
            then: platform::Then::Report,
        };
        let on_done = Box::new(move |_: &Arc<kernel::task::Task>, value: i64, _| {
            result.store(value, Release);
            Next::Again
        });
        (swap, Ret::Stub(Box::new(StubWork::Script { script, on_done })))
    }

    /// The word as it was: swapped, if that is `old`.
    pub fn was(&self) -> Result<u32, Errno> {
        u32::try_from(self.result.load(Acquire)).map_err(|_| Errno::EFAULT)
    }
}
