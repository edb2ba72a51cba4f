//! Which locks this thread holds: a thread-local list of ranks, in debug builds only.

use crate::Class;

#[cfg(debug_assertions)]
mod list {
    use std::cell::RefCell;
    use std::panic::Location;

    thread_local! {
        /// (rank, name, where) in the order of taking; a guard that goes early leaves a gap that closes.
        static HELD: RefCell<Vec<(u16, &'static str, &'static Location<'static>)>> = const { RefCell::new(Vec::new()) };
    }

    #[track_caller]
    pub fn push(rank: u16, name: &'static str, same_is_fine: bool) {
        let here = Location::caller();
        // A thread that is being torn down has no list any more; what it locks then goes unchecked.
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some((top, top_name, there)) = held.iter().max_by_key(|(r, ..)| *r).copied() {
                let in_order = top < rank || (same_is_fine && top == rank);
                assert!(
                    in_order,
                    "lock order: {name} (rank {rank}) taken at {here} while {top_name} (rank {top}) is held since {there}; \
                     take them in rising rank, or two of one class with lock_two"
                );
            }
            held.push((rank, name, here));
        });
    }

    pub fn pop(rank: u16) {
        let _ = HELD.try_with(|held| {
            let mut held = held.borrow_mut();
            if let Some(i) = held.iter().rposition(|(r, ..)| *r == rank) {
                held.remove(i);
            }
        });
    }

    pub fn names() -> Vec<&'static str> {
        HELD.try_with(|held| held.borrow().iter().map(|(_, name, _)| *name).collect()).unwrap_or_default()
    }
}

/// Proof that the class was entered on this thread; leaves it when dropped.
pub(crate) struct Held {
    #[cfg(debug_assertions)]
    rank: u16,
    /// Guards do not go to other threads: the list is this thread's.
    not_send: std::marker::PhantomData<*const ()>,
}

impl Held {
    /// Checks the order and notes the lock as held. Called before waiting for the lock, so that a wrong order is found even when it is free.
    #[track_caller]
    pub(crate) fn enter<C: Class>(same_is_fine: bool) -> Held {
        #[cfg(debug_assertions)]
        list::push(C::RANK, C::NAME, same_is_fine);
        #[cfg(not(debug_assertions))]
        let _ = same_is_fine;
        Held {
            #[cfg(debug_assertions)]
            rank: C::RANK,
            not_send: std::marker::PhantomData,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        list::pop(self.rank);
    }
}

/// True if this thread holds no lock of this crate. Release builds do not know and say true.
pub fn none_held() -> bool {
    #[cfg(debug_assertions)]
    return list::names().is_empty();
    #[cfg(not(debug_assertions))]
    true
}

/// Panics in debug builds if this thread holds a lock. For the places that may sleep: host calls, hand-overs, notifications.
/// `what` names what is about to be done.
pub fn assert_none_held(what: &str) {
    #[cfg(debug_assertions)]
    {
        let held = list::names();
        assert!(held.is_empty(), "{what} while holding {held:?}: release the locks first");
    }
    #[cfg(not(debug_assertions))]
    let _ = what;
}
