//! `Mutex`: std's shape without poisoning, with a class.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use crate::Class;
use crate::held::Held;

/// Mutual exclusion; not recursive. A panic does not poison it (stockade aborts on panic).
pub struct Mutex<T: ?Sized, C: Class> {
    class: PhantomData<fn() -> C>,
    inner: parking_lot::Mutex<T>,
}

impl<T, C: Class> Mutex<T, C> {
    pub const fn new(value: T) -> Mutex<T, C> {
        Mutex { class: PhantomData, inner: parking_lot::Mutex::new(value) }
    }

    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized, C: Class> Mutex<T, C> {
    /// Waits for the lock. Panics in debug builds if the order of classes is broken.
    #[track_caller]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::enter::<C>(false);
        MutexGuard { guard: self.inner.lock(), _held: held }
    }

    /// Takes the lock if it is free. The order is checked as by `lock`.
    #[track_caller]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = Held::enter::<C>(false);
        Some(MutexGuard { guard: self.inner.try_lock()?, _held: held })
    }

    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

/// Locks two of one class in the order of their identities, so that two threads that name them the other way round do not
/// wait for each other. An identity is what stays as long as the object lives: its number, else its address. For one and the
/// same lock given twice the second guard is `None`.
pub fn lock_two<'a, T: ?Sized, C: Class>(
    a: (&'a Mutex<T, C>, u64),
    b: (&'a Mutex<T, C>, u64),
) -> (MutexGuard<'a, T>, Option<MutexGuard<'a, T>>) {
    if std::ptr::addr_eq(a.0, b.0) {
        return (a.0.lock(), None);
    }
    let take = |m: &'a Mutex<T, C>, second: bool| {
        let held = Held::enter::<C>(second);
        MutexGuard { guard: m.inner.lock(), _held: held }
    };
    if a.1 <= b.1 {
        let first = take(a.0, false);
        let second = take(b.0, true);
        (first, Some(second))
    } else {
        let second = take(b.0, false);
        let first = take(a.0, true);
        (first, Some(second))
    }
}

/// Access to a mutex's value until dropped.
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T: ?Sized> {
    // In this order: the lock is released before it counts as not held.
    pub(crate) guard: parking_lot::MutexGuard<'a, T>,
    _held: Held,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl<T: Default, C: Class> Default for Mutex<T, C> {
    fn default() -> Mutex<T, C> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug, C: Class> fmt::Debug for Mutex<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.inner.try_lock() {
            Some(value) => write!(f, "{}({:?})", C::NAME, &*value),
            None => write!(f, "{}(locked)", C::NAME),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::{assert_none_held, none_held};

    crate::lock_class! {
        Low = 10;
        High = 20;
    }

    fn panics(f: impl FnOnce() + Send + 'static) -> bool {
        std::thread::spawn(f).join().is_err()
    }

    #[test]
    fn rising_ranks_are_fine() {
        let (a, b) = (Mutex::<_, Low>::new(1), Mutex::<_, High>::new(2));
        let x = a.lock();
        let y = b.lock();
        drop(x);
        assert!(!none_held());
        drop(y);
        assert_none_held("the test's end");
    }

    #[test]
    fn falling_ranks_and_equal_ranks_panic() {
        assert!(panics(|| {
            let (a, b) = (Mutex::<_, Low>::new(1), Mutex::<_, High>::new(2));
            let _y = b.lock();
            let _x = a.lock();
        }));
        assert!(panics(|| {
            let (a, b) = (Mutex::<_, Low>::new(1), Mutex::<_, Low>::new(2));
            let _x = a.lock();
            let _y = b.lock();
        }));
        assert!(panics(|| {
            let a = Mutex::<_, Low>::new(1);
            let _x = a.lock();
            assert_none_held("a host call");
        }));
    }

    #[test]
    fn two_of_one_class_by_identity() {
        let (a, b) = (Mutex::<_, Low>::new(1), Mutex::<_, Low>::new(2));
        {
            let (x, y) = lock_two((&a, 7), (&b, 3));
            assert_eq!((*x, *y.unwrap()), (1, 2));
        }
        let (x, y) = lock_two((&a, 7), (&a, 7));
        assert!(*x == 1 && y.is_none());
        drop(x);
        assert!(none_held());
    }

    #[test]
    fn a_taken_lock_is_not_taken_again() {
        let a = Mutex::<_, Low>::new(1);
        std::thread::scope(|s| {
            let _g = a.lock();
            assert!(s.spawn(|| a.try_lock().is_none()).join().unwrap());
        });
        assert_eq!(*a.try_lock().unwrap(), 1);
    }
}
