//! Locks with a class each; the order of classes is checked in debug builds.
//!
//! A class has a rank. A thread may take a lock only if its rank is greater than that of every lock the thread holds: so no two
//! threads can wait for each other. Two locks of one class are taken with `lock_two` only, in the order of their identity.
//! Guards release by themselves, in any order. Neighbours: `parking_lot` below; every crate above. Release builds carry no checks
//! and no extra bytes.
//!
//! ```
//! lock::lock_class! {
//!     /// Descriptor tables.
//!     pub FdTable = 40;
//!     /// The state of one open file.
//!     pub FileState = 50;
//! }
//! let table: lock::Mutex<Vec<u32>, FdTable> = lock::Mutex::new(vec![]);
//! let file: lock::Mutex<u64, FileState> = lock::Mutex::new(0);
//! let mut t = table.lock();
//! t.push(1);
//! *file.lock() += 1; // 50 after 40: in order
//! ```

mod condvar;
mod held;
mod mutex;
mod rwlock;

pub use condvar::Condvar;
pub use held::{assert_none_held, none_held};
pub use mutex::{Mutex, MutexGuard, lock_two};
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What all locks of one kind share. Made by `lock_class!`.
pub trait Class: 'static {
    /// Locks are taken in rising rank.
    const RANK: u16;
    /// Shown when the order is broken.
    const NAME: &'static str;
}

/// Declares lock classes with their ranks: `lock_class! { pub FdTable = 40; }`.
#[macro_export]
macro_rules! lock_class {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $rank:expr);+ $(;)?) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        $vis enum $name {}
        impl $crate::Class for $name {
            const RANK: u16 = $rank;
            const NAME: &'static str = stringify!($name);
        }
    )+};
}
