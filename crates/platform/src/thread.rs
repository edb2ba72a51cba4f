//! One host thread in a stub process, and the answers to its events.

use std::sync::Arc;

use abi::Errno;
use host::HostFd;

use crate::answer::{ForkSpec, Registers, Script, SignalFrame, SpawnSpec};
use crate::space::Space;

/// A host thread that runs one guest task.
pub struct Thread {
    space: Arc<Space>,
    host_tid: i32,
}

impl Thread {
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }
    pub fn host_tid(&self) -> i32 {
        self.host_tid
    }
    pub fn ret(&self, _value: i64) {}
    pub fn ret_then_kick(&self, _value: i64) {}
    pub fn want_frame(&self) {}
    pub fn resume(&self) {}
    pub fn script(&self, _script: Script) {}
    pub fn fork(&self, _spec: ForkSpec) {}
    pub fn spawn(&self, _spec: SpawnSpec) {}
    pub fn sigframe(&self, _frame: SignalFrame) {}
    pub fn regs(&self) -> Option<Registers> {
        None
    }
    pub fn set_regs_resume(&self, _regs: &Registers) {}
    pub fn exit(&self) {}
    pub fn kick(&self) {}
    pub fn blocked(&self) {}
    pub fn attach(&self, _fd: Arc<HostFd>) -> Result<u32, Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn cpu_time(&self) -> u64 {
        0
    }
    pub fn set_affinity(&self, _cpus: &[usize]) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }
}
