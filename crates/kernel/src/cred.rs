//! Credentials: ids, groups, capabilities, user namespaces. credentials(7), capabilities(7), user_namespaces(7).
//!
//! A `Cred` is immutable and shared; a change makes a new one (`Task::set_cred`). It is passed to whatever checks it,
//! never fetched from a hidden current task. Ids are the kernel's own (those of the initial user namespace).

use crate::locks::Leaf;
use abi::Errno;
use lock::Mutex;
use std::sync::Arc;

/// A set of capabilities, bit n is capability n of capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CapSet(pub u64);

/// Capability numbers that the kernel checks, capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cap {
    Chown = 0,
    DacOverride = 1,
    DacReadSearch = 2,
    Fowner = 3,
    Fsetid = 4,
    Kill = 5,
    Setgid = 6,
    Setuid = 7,
    Setpcap = 8,
    LinuxImmutable = 9,
    NetBindService = 10,
    NetBroadcast = 11,
    NetAdmin = 12,
    NetRaw = 13,
    IpcLock = 14,
    IpcOwner = 15,
    SysModule = 16,
    SysRawio = 17,
    SysChroot = 18,
    SysPtrace = 19,
    SysPacct = 20,
    SysAdmin = 21,
    SysBoot = 22,
    SysNice = 23,
    SysResource = 24,
    SysTime = 25,
    SysTtyConfig = 26,
    Mknod = 27,
    Lease = 28,
    AuditWrite = 29,
    AuditControl = 30,
    Setfcap = 31,
    Syslog = 34,
    BlockSuspend = 36,
    AuditRead = 37,
    Perfmon = 38,
    Bpf = 39,
    CheckpointRestore = 40,
}

impl CapSet {
    /// The highest capability that this kernel knows (CAP_CHECKPOINT_RESTORE).
    pub const LAST: u8 = 40;
    pub const EMPTY: CapSet = CapSet(0);
    pub const FULL: CapSet = CapSet((1 << (Self::LAST + 1)) - 1);

    pub fn has(self, cap: Cap) -> bool {
        self.0 & (1 << cap as u8) != 0
    }
    pub fn contains(self, other: CapSet) -> bool {
        other.0 & !self.0 == 0
    }
    pub fn and(self, other: CapSet) -> CapSet {
        CapSet(self.0 & other.0)
    }
    pub fn or(self, other: CapSet) -> CapSet {
        CapSet(self.0 | other.0)
    }
    pub fn without(self, other: CapSet) -> CapSet {
        CapSet(self.0 & !other.0)
    }
}

/// One line of a uid_map or gid_map: `count` ids from `inside` are the kernel's ids from `outside`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    pub inside: u32,
    pub outside: u32,
    pub count: u32,
}

/// A user namespace.
pub struct UserNs {
    pub id: u64,
    pub parent: Option<Arc<UserNs>>,
    /// Who made it: the kernel's ids.
    pub owner: u32,
    pub group: u32,
    pub level: u32,
    maps: Mutex<IdMaps, Leaf>,
}

/// The id maps of a user namespace; written once each.
#[derive(Clone, Default)]
pub struct IdMaps {
    pub uid: Vec<IdRange>,
    pub gid: Vec<IdRange>,
    /// /proc/PID/setgroups says deny.
    pub deny_setgroups: bool,
}

fn map_in(ranges: &[IdRange], outside: u32) -> Option<u32> {
    let r = ranges.iter().find(|r| outside.wrapping_sub(r.outside) < r.count)?;
    Some(r.inside.wrapping_add(outside.wrapping_sub(r.outside)))
}

fn map_out(ranges: &[IdRange], inside: u32) -> Option<u32> {
    let r = ranges.iter().find(|r| inside.wrapping_sub(r.inside) < r.count)?;
    Some(r.outside.wrapping_add(inside.wrapping_sub(r.inside)))
}

/// What stat shows for an id that has no name in the namespace.
pub const OVERFLOW_ID: u32 = 65534;

impl UserNs {
    /// The namespace that maps each id to itself.
    pub fn initial() -> Arc<UserNs> {
        let all = vec![IdRange { inside: 0, outside: 0, count: u32::MAX }];
        let maps = IdMaps { uid: all.clone(), gid: all, deny_setgroups: false };
        Arc::new(UserNs { id: crate::unique_id(), parent: None, owner: 0, group: 0, level: 0, maps: Mutex::new(maps) })
    }
    /// A child of `parent` without maps yet. EUSERS (ENOSPC since Linux 4.9) beyond 32 levels.
    pub fn child(parent: &Arc<UserNs>, owner: u32, group: u32) -> Result<Arc<UserNs>, Errno> {
        if parent.level >= 32 {
            return Err(Errno::ENOSPC);
        }
        Ok(Arc::new(UserNs {
            id: crate::unique_id(),
            parent: Some(parent.clone()),
            owner,
            group,
            level: parent.level + 1,
            maps: Mutex::new(IdMaps::default()),
        }))
    }
    pub fn maps(&self) -> IdMaps {
        self.maps.lock().clone()
    }
    pub fn set_maps(&self, change: impl FnOnce(&mut IdMaps)) {
        change(&mut self.maps.lock());
    }
    /// The kernel's id for a uid of this namespace.
    pub fn uid_from(&self, inside: u32) -> Option<u32> {
        map_out(&self.maps.lock().uid, inside)
    }
    pub fn gid_from(&self, inside: u32) -> Option<u32> {
        map_out(&self.maps.lock().gid, inside)
    }
    /// This namespace's uid for the kernel's id; 65534 where it has none.
    pub fn uid_to(&self, outside: u32) -> u32 {
        map_in(&self.maps.lock().uid, outside).unwrap_or(OVERFLOW_ID)
    }
    pub fn maps_uid(&self, outside: u32) -> bool {
        map_in(&self.maps.lock().uid, outside).is_some()
    }
    pub fn maps_gid(&self, outside: u32) -> bool {
        map_in(&self.maps.lock().gid, outside).is_some()
    }
    pub fn gid_to(&self, outside: u32) -> u32 {
        map_in(&self.maps.lock().gid, outside).unwrap_or(OVERFLOW_ID)
    }
    /// Whether `self` is `other` or one of its ancestors.
    pub fn is_ancestor_of(&self, other: &UserNs) -> bool {
        let mut at = Some(other);
        while let Some(ns) = at {
            if ns.id == self.id {
                return true;
            }
            at = ns.parent.as_deref();
        }
        false
    }
}

/// Credentials of a task.
#[derive(Clone)]
pub struct Cred {
    pub uid: u32,
    pub euid: u32,
    pub suid: u32,
    pub fsuid: u32,
    pub gid: u32,
    pub egid: u32,
    pub sgid: u32,
    pub fsgid: u32,
    pub groups: Arc<[u32]>,
    pub permitted: CapSet,
    pub effective: CapSet,
    pub inheritable: CapSet,
    pub bounding: CapSet,
    pub ambient: CapSet,
    /// SECBIT_* of prctl(2).
    pub securebits: u32,
    pub no_new_privs: bool,
    pub user_ns: Arc<UserNs>,
}

impl Cred {
    /// Root with every capability in `user_ns`.
    pub fn root(user_ns: Arc<UserNs>) -> Cred {
        Cred {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::from([]),
            permitted: CapSet::FULL,
            effective: CapSet::FULL,
            inheritable: CapSet::EMPTY,
            bounding: CapSet::FULL,
            ambient: CapSet::EMPTY,
            securebits: 0,
            no_new_privs: false,
            user_ns,
        }
    }

    /// In a user namespace that was made or entered just now: every capability there. user_namespaces(7).
    pub fn enter(&mut self, user_ns: Arc<UserNs>) {
        self.user_ns = user_ns;
        (self.permitted, self.effective, self.bounding) = (CapSet::FULL, CapSet::FULL, CapSet::FULL);
        (self.inheritable, self.ambient) = (CapSet::EMPTY, CapSet::EMPTY);
        self.securebits = 0;
    }

    /// Whether the effective set has `cap` against the initial namespace's objects: file systems, devices.
    pub fn has(&self, cap: Cap) -> bool {
        self.effective.has(cap) && self.user_ns.parent.is_none()
    }

    /// Whether the task has `cap` over things that `ns` owns, user_namespaces(7).
    pub fn has_in(&self, ns: &UserNs, cap: Cap) -> bool {
        let mut at = Some(ns);
        while let Some(target) = at {
            if target.id == self.user_ns.id {
                return self.effective.has(cap);
            }
            // The owner of a namespace, standing in its parent, has all capabilities in it.
            if let Some(parent) = &target.parent
                && parent.id == self.user_ns.id
                && target.owner == self.euid
            {
                return true;
            }
            at = target.parent.as_deref();
        }
        false
    }

    /// Whether fsgid or a supplementary group is `gid`.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }
}
