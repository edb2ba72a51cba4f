//! The host's memory, sysinfo(2).

/// Bytes of memory that the host has in all.
pub fn total() -> u64 {
    let info = rustix::system::sysinfo();
    (info.totalram as u64).saturating_mul(u64::from(info.mem_unit))
}

/// Bytes that are free or hold only buffers.
pub fn available() -> u64 {
    let info = rustix::system::sysinfo();
    (info.freeram as u64).saturating_add(info.bufferram as u64).saturating_mul(u64::from(info.mem_unit))
}
