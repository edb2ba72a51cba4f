//! Workers.

pub fn block_in_place<T>(f: impl FnOnce() -> T) -> T {
    f()
}
pub fn flush() {}
pub fn set_drain(_f: fn() -> bool) {}
