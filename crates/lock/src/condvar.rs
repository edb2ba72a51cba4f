//! `Condvar`: for the few threads of the kernel process that wait for each other (spares, reactor, control server). Guest tasks
//! never wait here.

use std::time::Instant;

use crate::mutex::MutexGuard;

/// A condition variable. While a thread waits its mutex still counts as held by it: a thread that waits must hold no other lock.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    pub const fn new() -> Condvar {
        Condvar(parking_lot::Condvar::new())
    }

    /// Releases the mutex, waits for a notification, takes the mutex again. Wakes without reason are possible: test in a loop.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(&mut guard.guard);
    }

    /// As `wait`, until `deadline` at the latest; true if that passed.
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
        self.0.wait_until(&mut guard.guard, deadline).timed_out()
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mutex;
    use std::time::Duration;

    crate::lock_class!(Flag = 1);

    #[test]
    fn a_notification_wakes_and_a_deadline_passes() {
        let (flag, cond) = (Mutex::<_, Flag>::new(false), Condvar::new());
        std::thread::scope(|s| {
            s.spawn(|| {
                *flag.lock() = true;
                cond.notify_all();
            });
            let mut g = flag.lock();
            while !*g {
                cond.wait(&mut g);
            }
        });
        let mut g = flag.lock();
        assert!(cond.wait_until(&mut g, Instant::now() + Duration::from_millis(1)));
    }
}
