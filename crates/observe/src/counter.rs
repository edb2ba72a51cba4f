//! Counters: named statics that only grow, listed for the metrics that the control server exports.
//!
//! Lock: the registry's mutex, a leaf, taken once per counter and by the listing.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A count of events since the process started. Made by `counter!`.
pub struct Counter {
    name: &'static str,
    help: &'static str,
    value: AtomicU64,
    listed: AtomicBool,
}

/// One counter as the listing has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Lower case, words joined by `_`.
    pub name: &'static str,
    pub help: &'static str,
    pub value: u64,
}

static ALL: Mutex<Vec<&'static Counter>> = Mutex::new(Vec::new());

impl Counter {
    #[doc(hidden)]
    pub const fn new(name: &'static str, help: &'static str) -> Counter {
        Counter { name, help, value: AtomicU64::new(0), listed: AtomicBool::new(false) }
    }

    /// Counts up by `n`; it wraps at 2^64.
    #[inline]
    pub fn add(&'static self, n: u64) {
        self.value.fetch_add(n, Ordering::Relaxed);
        if !self.listed.load(Ordering::Relaxed) {
            self.list();
        }
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }

    #[cold]
    fn list(&'static self) {
        if !self.listed.swap(true, Ordering::Relaxed)
            && let Ok(mut all) = ALL.lock()
        {
            all.push(self);
        }
    }
}

/// All counters that ever counted, by name.
pub fn counters() -> Vec<Reading> {
    let mut list: Vec<Reading> = match ALL.lock() {
        Ok(all) => all.iter().map(|c| Reading { name: c.name, help: c.help, value: c.get() }).collect(),
        Err(_) => Vec::new(),
    };
    list.sort_by_key(|r| r.name);
    list
}

/// Declares a counter: `counter!(pub FORKS, "forks that guests made");` Its listed name is the identifier in lower case.
#[macro_export]
macro_rules! counter {
    ($vis:vis $name:ident, $help:literal) => {
        $vis static $name: $crate::Counter = {
            const BYTES: [u8; ::std::stringify!($name).len()] = {
                let from = ::std::stringify!($name).as_bytes();
                let mut to = [0; ::std::stringify!($name).len()];
                let mut i = 0;
                while i < to.len() {
                    to[i] = from[i].to_ascii_lowercase();
                    i += 1;
                }
                to
            };
            const NAME: &str = match ::std::str::from_utf8(&BYTES) {
                Ok(name) => name,
                Err(_) => ::std::stringify!($name),
            };
            $crate::Counter::new(NAME, $help)
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::counter!(APPLES_EATEN, "apples");
    crate::counter!(UNUSED, "nothing");

    #[test]
    fn a_counter_lists_itself() {
        APPLES_EATEN.add(2);
        APPLES_EATEN.add(3);
        assert_eq!(UNUSED.get(), 0);
        let mine: Vec<_> = counters().into_iter().filter(|r| r.help == "apples" || r.help == "nothing").collect();
        assert_eq!(mine, [Reading { name: "apples_eaten", help: "apples", value: 5 }]);
    }
}
