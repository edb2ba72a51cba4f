//! `RwLock`: many readers or one writer, with a class. Readers are not recursive either: the order check refuses it, since a
//! waiting writer would stop the second read.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::Class;
use crate::held::Held;

/// Many readers or one writer.
pub struct RwLock<T: ?Sized, C: Class> {
    class: PhantomData<fn() -> C>,
    inner: parking_lot::RwLock<T>,
}

impl<T, C: Class> RwLock<T, C> {
    pub const fn new(value: T) -> RwLock<T, C> {
        RwLock { class: PhantomData, inner: parking_lot::RwLock::new(value) }
    }

    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, C: Class> RwLock<T, C> {
    /// Waits until no writer has the lock. Panics in debug builds if the order of classes is broken.
    #[track_caller]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let held = Held::enter::<C>(false);
        RwLockReadGuard { guard: self.inner.read(), _held: held }
    }

    /// Waits until no one else has the lock. Panics in debug builds if the order of classes is broken.
    #[track_caller]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let held = Held::enter::<C>(false);
        RwLockWriteGuard { guard: self.inner.write(), _held: held }
    }

    #[track_caller]
    pub fn try_read(&self) -> Option<RwLockReadGuard<'_, T>> {
        let held = Held::enter::<C>(false);
        Some(RwLockReadGuard { guard: self.inner.try_read()?, _held: held })
    }

    #[track_caller]
    pub fn try_write(&self) -> Option<RwLockWriteGuard<'_, T>> {
        let held = Held::enter::<C>(false);
        Some(RwLockWriteGuard { guard: self.inner.try_write()?, _held: held })
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

/// Shared access until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    guard: parking_lot::RwLockReadGuard<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

/// Exclusive access until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    guard: parking_lot::RwLockWriteGuard<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: Default, C: Class> Default for RwLock<T, C> {
    fn default() -> RwLock<T, C> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug, C: Class> fmt::Debug for RwLock<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner.try_read() {
            Some(value) => write!(f, "{}({:?})", C::NAME, &*value),
            None => write!(f, "{}(locked)", C::NAME),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    crate::lock_class!(Tree = 5);

    #[test]
    fn readers_share_and_a_writer_does_not() {
        let lock = RwLock::<_, Tree>::new(1);
        std::thread::scope(|s| {
            let r = lock.read();
            assert!(s.spawn(|| lock.try_read().is_some() && lock.try_write().is_none()).join().unwrap());
            drop(r);
        });
        *lock.write() += 1;
        assert_eq!(*lock.read(), 2);
        assert_eq!(lock.into_inner(), 2);
    }
}
