//! Runs guest code: stub, mailbox, doorbell, guest memory, workers. The protocol is written down in docs/platform.md.
//!
//! The kernel implements [`Guest`] and answers each [`Event`] through [`Thread`]; [`Space`] is the address space that a stub process holds.

mod affinity;
mod answer;
mod birth;
mod config;
mod core;
mod filter;
mod fpu;
mod guest;
mod handover;
mod keeper;
mod kept;
mod layout;
mod local;
mod mailbox;
mod mask;
mod nursery;
mod outgoing;
mod pace;
mod park;
mod perform;
mod platform;
mod pointers;
mod poller;
mod reaper;
mod region;
mod rewrite;
mod shard;
mod socket;
mod space;
mod state;
mod sync;
mod thread;
mod tracer;
mod unborn;
mod vdso;
mod window;
mod worker;
mod zygote;

pub use answer::{Arg, ForkSpec, FutexWait, Op, Registers, Script, SignalFrame, SpawnSpec, Then};
pub use config::{Config, StartError, Stats};
pub use guest::{Event, Guest};
pub use kept::FileRead;
pub use layout::LOW;
pub use mask::LentMask;
pub use nursery::Nursery;
pub use platform::Platform;
pub use poller::on_poller;
pub use rewrite::{AROUND, BEFORE};
pub use space::{HostMap, Space};
pub use thread::Thread;
pub use unborn::Unborn;
pub use vdso::VdsoInfo;
pub use window::{close_window, settle_window};
pub use worker::{RunQueue, block_in_place, flush, set_run_queue};
