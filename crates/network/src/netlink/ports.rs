//! A network namespace's netlink sockets: who has which number, who listens to which groups. netlink(7). Locks: `Leaf` for the table.

use super::port::Port;
use abi::Errno;
use kernel::locks::Leaf;
use kernel::{Op, fail};
use lock::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

struct Entry {
    protocol: u32,
    /// nl_pid; 0 before it is bound.
    number: u32,
    /// Bit N - 1 for group N.
    groups: u64,
    port: Weak<Port>,
}

#[derive(Default)]
struct Table {
    last: u64,
    sockets: BTreeMap<u64, Entry>,
    /// By protocol and number.
    bound: HashMap<(u32, u32), u64>,
    /// For numbers that nobody asked for.
    rover: u32,
}

#[derive(Default)]
pub struct Ports(Mutex<Table, Leaf>);

impl Ports {
    /// A key for a new socket.
    pub fn add(&self, protocol: u32, port: Weak<Port>) -> u64 {
        let mut table = self.0.lock();
        table.last += 1;
        let key = table.last;
        table.sockets.insert(key, Entry { protocol, number: 0, groups: 0, port });
        key
    }

    pub fn remove(&self, key: u64) {
        let mut table = self.0.lock();
        if let Some(entry) = table.sockets.remove(&key).filter(|e| e.number != 0) {
            table.bound.remove(&(entry.protocol, entry.number));
        }
    }

    /// Number and groups of a socket.
    pub fn name(&self, key: u64) -> (u32, u64) {
        self.0.lock().sockets.get(&key).map_or((0, 0), |e| (e.number, e.groups))
    }

    /// Gives a socket the number that it wants, or one that is free: `wish` if it is. EINVAL for one that has another, EADDRINUSE.
    pub fn bind(&self, key: u64, number: u32, wish: u32) -> Op<u32> {
        let mut table = self.0.lock();
        let table = &mut *table;
        let entry = table.sockets.get_mut(&key).ok_or(Errno::EINVAL)?;
        if entry.number != 0 {
            return if number == 0 || number == entry.number { Ok(entry.number) } else { fail(Errno::EINVAL) };
        }
        let mut take = |number: u32| {
            let free = number != 0 && !table.bound.contains_key(&(entry.protocol, number));
            if free {
                entry.number = number;
                table.bound.insert((entry.protocol, number), key);
            }
            free
        };
        if number != 0 {
            return if take(number) { Ok(number) } else { fail(Errno::EADDRINUSE) };
        }
        let mut number = wish;
        while !take(number) {
            // As on Linux such numbers are negative, so that they are no process'.
            table.rover = table.rover.wrapping_sub(1) | 1 << 31;
            number = table.rover;
        }
        Ok(number)
    }

    /// Changes the groups that a socket listens to.
    pub fn set_groups(&self, key: u64, change: impl FnOnce(u64) -> u64) {
        if let Some(entry) = self.0.lock().sockets.get_mut(&key) {
            entry.groups = change(entry.groups);
        }
    }

    pub fn find(&self, protocol: u32, number: u32) -> Option<Arc<Port>> {
        let table = self.0.lock();
        let key = table.bound.get(&(protocol, number))?;
        table.sockets.get(key)?.port.upgrade()
    }

    /// Who listens to a group.
    pub fn members(&self, protocol: u32, group: u32) -> Vec<Arc<Port>> {
        let bit = 1u64.checked_shl(group.wrapping_sub(1)).unwrap_or(0);
        let table = self.0.lock();
        let members = table.sockets.values().filter(|e| e.protocol == protocol && e.groups & bit != 0);
        members.filter_map(|e| e.port.upgrade()).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let ports = Ports::default();
        let [a, b, c, d] = [0, 0, 0, 15].map(|protocol| ports.add(protocol, Weak::new()));
        assert_eq!(ports.bind(a, 0, 7), Ok(7));
        assert_eq!(
            (ports.bind(a, 0, 8), ports.bind(a, 7, 8), ports.bind(a, 9, 8)),
            (Ok(7), Ok(7), fail(Errno::EINVAL))
        );
        assert_eq!(ports.bind(b, 7, 8), fail(Errno::EADDRINUSE));
        assert_eq!(ports.bind(d, 7, 8), Ok(7));
        let [second, third] = [b, c].map(|key| ports.bind(key, 0, 7).unwrap());
        assert!(second != third && (second as i32) < 0 && (third as i32) < 0);
        ports.remove(a);
        let e = ports.add(0, Weak::new());
        assert_eq!(ports.bind(e, 7, 0), Ok(7));
        ports.set_groups(e, |old| old | 5);
        assert_eq!(ports.name(e), (7, 5));
        assert_eq!(ports.name(a), (0, 0));
    }
}
