//! Which devices a group's processes may use by the devices controller of version 1: all but some, or none but some. Linux' admin-guide/cgroup-v1/devices.rst.
//!
//! Neighbours: `device` (programs, which decide as well). Locks: `CgroupTree` for changes, then a group's own `Leaf`.

use super::{Cgroup, Controllers, TREE};
use crate::op::{Op, fail};
use abi::Errno;
use std::sync::Arc;

/// Exceptions of one group at most: each group below begins with them.
const MOST: usize = 128;

/// As in struct bpf_cgroup_dev_ctx.
const BLOCK: u32 = 1;
const CHAR: u32 = 2;
const ACCESS: [(char, u32); 3] = [('r', 2), ('w', 4), ('m', 1)];

/// Some devices, and what is done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Devices {
    kind: u32,
    /// `None`: all.
    major: Option<u32>,
    minor: Option<u32>,
    access: u32,
}

/// The devices of a group.
#[derive(Clone, Debug, Default)]
pub(super) struct DeviceList {
    /// Nothing is allowed but `except`; else all.
    denies: bool,
    except: Vec<Devices>,
}

impl Devices {
    /// `TYPE MAJOR:MINOR ACCESS`
    fn parse(text: &str) -> Option<Devices> {
        let mut words = text.split_ascii_whitespace();
        let kind = match words.next()? {
            "b" => BLOCK,
            "c" => CHAR,
            _ => return None,
        };
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text: &str| if text == "*" { Some(None) } else { text.parse().ok().map(Some) };
        let letters = words.next()?;
        let mut access = 0;
        for letter in letters.chars() {
            access |= ACCESS.iter().find(|(known, _)| *known == letter)?.1;
        }
        (words.next().is_none() && access != 0).then_some(Devices {
            kind,
            major: number(major)?,
            minor: number(minor)?,
            access,
        })
    }

    fn show(&self) -> String {
        let number = |number: Option<u32>| number.map_or("*".into(), |n| n.to_string());
        let access: String =
            ACCESS.iter().filter(|(_, bit)| self.access & bit != 0).map(|(letter, _)| *letter).collect();
        let kind = if self.kind == BLOCK { 'b' } else { 'c' };
        format!("{kind} {}:{} {access}", number(self.major), number(self.minor))
    }

    fn same_devices(&self, other: &Devices) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    /// All of `other` is in it.
    fn covers(&self, other: &Devices) -> bool {
        let in_it = |mine: Option<u32>, other: Option<u32>| mine.is_none() || mine == other;
        self.kind == other.kind
            && in_it(self.major, other.major)
            && in_it(self.minor, other.minor)
            && other.access & !self.access == 0
    }

    /// Some of `other` is in it.
    fn touches(&self, other: &Devices) -> bool {
        let common = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind
            && common(self.major, other.major)
            && common(self.minor, other.minor)
            && other.access & self.access != 0
    }
}

impl DeviceList {
    fn allows(&self, devices: &Devices) -> bool {
        if self.denies {
            self.except.iter().any(|except| except.covers(devices))
        } else {
            !self.except.iter().any(|except| except.touches(devices))
        }
    }

    fn add(&mut self, devices: Devices) -> Op<()> {
        if let Some(known) = self.except.iter_mut().find(|known| known.same_devices(&devices)) {
            known.access |= devices.access;
            return Ok(());
        }
        if self.except.len() >= MOST {
            return fail(Errno::ENOMEM);
        }
        self.except.push(devices);
        Ok(())
    }

    fn remove(&mut self, devices: Devices) {
        for known in self.except.iter_mut().filter(|known| known.same_devices(&devices)) {
            known.access &= !devices.access;
        }
        self.except.retain(|known| known.access != 0);
    }
}

impl Cgroup {
    /// devices.list
    pub fn device_list(&self) -> String {
        let list = self.state.lock().device_list.clone();
        if !list.denies {
            return "a *:* rwm\n".into();
        }
        list.except.iter().map(|devices| devices.show() + "\n").collect()
    }

    /// devices.allow and devices.deny. EPERM for what the group above does not allow, EINVAL for all devices of a group that has others below it.
    pub fn change_devices(self: &Arc<Self>, allow: bool, text: &str) -> Op<()> {
        let _tree = TREE.lock();
        self.alive()?;
        let above = self.parent().ok_or(Errno::EPERM)?.state.lock().device_list.clone();
        if text.starts_with('a') {
            if !self.children().is_empty() {
                return fail(Errno::EINVAL);
            }
            if allow && above.denies {
                return fail(Errno::EPERM);
            }
            let except = if allow { above.except } else { Vec::new() };
            self.state.lock().device_list = DeviceList { denies: !allow, except };
            return Ok(());
        }
        let devices = Devices::parse(text).ok_or(Errno::EINVAL)?;
        if allow && !above.allows(&devices) {
            return fail(Errno::EPERM);
        }
        {
            let mut state = self.state.lock();
            let list = &mut state.device_list;
            if list.denies == allow {
                list.add(devices)?;
            } else {
                list.remove(devices);
            }
        }
        if !allow {
            self.withdraw(devices);
        }
        Ok(())
    }

    /// Those below don't have what it has no more. From the outside inwards.
    fn withdraw(self: &Arc<Self>, devices: Devices) {
        for group in self.subtree().into_iter().skip(1) {
            let Some(above) = group.parent() else { continue };
            let above = above.state.lock().device_list.clone();
            let mut state = group.state.lock();
            let list = &mut state.device_list;
            if list.denies {
                list.remove(devices);
                list.except.retain(|except| above.allows(except));
            } else {
                let _ = list.add(devices); // where it is full, the group above still decides
            }
        }
    }

    /// A new group has what the one above has.
    pub(super) fn inherit_devices(&self, above: &Cgroup) {
        let list = above.state.lock().device_list.clone();
        self.state.lock().device_list = list;
    }

    /// As `may_use_device`, by the lists of version 1.
    pub(super) fn device_lists_allow(self: &Arc<Self>, access_type: u32, major: u32, minor: u32) -> bool {
        if !self.controllers().contains(Controllers::DEVICES) {
            return true;
        }
        let (kind, access) = (access_type & 0xffff, access_type >> 16);
        let wanted = Devices { kind, major: Some(major), minor: Some(minor), access };
        self.ancestry().all(|group| group.state.lock().device_list.allows(&wanted))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_their_exceptions() {
        let devices = |text| Devices::parse(text).unwrap();
        for wrong in ["", "c", "c 1:3", "c 1 rwm", "x 1:3 r", "c 1:x r", "c 1:3 q", "c 1:3 r r"] {
            assert_eq!(Devices::parse(wrong), None, "{wrong}");
        }
        assert_eq!(devices("c 136:* mwr").show(), "c 136:* rwm");
        let mut list = DeviceList { denies: true, except: Vec::new() };
        list.add(devices("c 1:3 rw")).unwrap();
        list.add(devices("c 1:3 m")).unwrap();
        list.add(devices("b *:* r")).unwrap();
        assert_eq!(list.except.len(), 2);
        assert!(list.allows(&devices("c 1:3 rwm")) && list.allows(&devices("b 8:1 r")));
        assert!(
            !list.allows(&devices("c 1:5 r"))
                && !list.allows(&devices("b 8:1 rw"))
                && !list.allows(&devices("c 1:* r"))
        );
        list.remove(devices("c 1:3 w"));
        assert!(!list.allows(&devices("c 1:3 rw")) && list.allows(&devices("c 1:3 r")));
        let mut list = DeviceList::default();
        list.add(devices("c 1:3 w")).unwrap();
        assert!(
            !list.allows(&devices("c 1:3 rw")) && list.allows(&devices("c 1:3 r")) && !list.allows(&devices("c *:* w"))
        );
    }
}
