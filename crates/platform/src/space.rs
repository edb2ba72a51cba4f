//! One stub process: a guest address space.

use std::ops::Range;

use abi::Errno;

/// The lowest address that a guest may map.
pub const LOW: u64 = 0x1_0000;

/// The host's own [vvar] and [vdso], which every stub process keeps where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VdsoInfo {
    pub vvar: Range<u64>,
    pub vdso: Range<u64>,
}

pub struct Space {
    host_pid: i32,
    user_top: u64,
    vdso: VdsoInfo,
}

impl Space {
    pub fn host_pid(&self) -> i32 {
        self.host_pid
    }
    pub fn read(&self, _addr: u64, _into: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn write(&self, _addr: u64, _from: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }
    pub fn kill(&self) {}
    pub fn user_top(&self) -> u64 {
        self.user_top
    }
    pub fn vdso(&self) -> VdsoInfo {
        self.vdso.clone()
    }
}
