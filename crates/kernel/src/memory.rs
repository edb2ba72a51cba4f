//! How much memory the sandbox may have, and how much of that its files in memory take.
//!
//! A cgroup of the host may give the sandbox' first container, and with it the kernel process, less than the machine has. What guests see as the machine's memory is the less of the two, as tools size themselves by it.
//! Files in memory are the kernel process' own: when they alone fill the limit, ending guests gives nothing back, and the host's OOM killer ends the kernel process at last. So they have a bound together, beyond
//! which their file systems are full. Neighbours: `tmpfs` counts its files, `sandbox` says the limit. Owns no locks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Bytes that the host's cgroups allow; `u64::MAX`: no limit.
static LIMIT: AtomicU64 = AtomicU64::new(u64::MAX);
/// Bytes of files in memory, in whole pages.
static FILES: AtomicU64 = AtomicU64::new(0);

/// The host allows the sandbox so many bytes; None: as many as there are.
pub fn limit(bytes: Option<u64>) {
    LIMIT.store(bytes.unwrap_or(u64::MAX), Relaxed);
}

/// Bytes of the machine.
fn machine() -> u64 {
    static MACHINE: OnceLock<u64> = OnceLock::new();
    *MACHINE.get_or_init(host::memory::total)
}

/// Bytes that the sandbox may have: sysinfo(2), MemTotal.
pub fn total() -> u64 {
    machine().min(LIMIT.load(Relaxed))
}

/// Whether that is less than the machine has.
fn is_limited() -> bool {
    LIMIT.load(Relaxed) < machine()
}

/// Bytes that are left by the host's own count, of which the sandbox' processes use `used` and its files the rest.
pub fn free(used: impl FnOnce() -> u64) -> u64 {
    let available = host::memory::available().min(total());
    if !is_limited() {
        return available;
    }
    available.min(total().saturating_sub(used().saturating_add(FILES.load(Relaxed))))
}

/// What the kernel process needs for itself, bytes.
const OWN: u64 = 16 << 20;

/// Bytes that files may take together.
fn most_for_files() -> u64 {
    total().saturating_sub(OWN) / 8 * 7
}

/// Bytes that are left to them.
pub fn left_for_files() -> u64 {
    most_for_files().saturating_sub(FILES.load(Relaxed))
}

/// Takes room for files; false where they would fill the memory that there is.
pub fn take_for_files(bytes: u64) -> bool {
    let most = most_for_files();
    let more = |taken: u64| taken.checked_add(bytes).filter(|sum| *sum <= most);
    FILES.fetch_update(Relaxed, Relaxed, more).is_ok()
}

/// Counts what files have already.
pub fn add_for_files(bytes: u64) {
    FILES.fetch_add(bytes, Relaxed);
}

/// Files gave it back.
pub fn give_from_files(bytes: u64) {
    let _ = FILES.fetch_update(Relaxed, Relaxed, |taken| Some(taken.saturating_sub(bytes)));
}
