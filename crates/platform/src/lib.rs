//! Runs guest code: stub, mailbox, doorbell, guest memory, workers. The protocol is written down in docs/platform.md.
//!
//! The kernel implements [`Guest`] and answers each [`Event`] through [`Thread`]; [`Space`] is the address space that a stub process holds.

mod answer;
mod config;
mod guest;
mod platform;
mod space;
mod thread;
mod worker;

pub use answer::{Arg, ForkSpec, Op, Registers, Script, SignalFrame, SpawnSpec, Then};
pub use config::{Config, StartError, Stats};
pub use guest::{Event, Guest};
pub use platform::Platform;
pub use space::{LOW, Space, VdsoInfo};
pub use thread::Thread;
pub use worker::{block_in_place, flush, set_drain};
