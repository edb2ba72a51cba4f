//! Short locks of the platform. None is held over a host call, a call into the kernel, or another one unless its file says so.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a panic elsewhere (which ends the process anyway) does not count.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
