//! Objects by key and id, and who may use them. sysvipc(7), "Resource access permissions".

use super::limits;
use crate::cred::{Cap, Cred};
use crate::locks::Leaf;
use crate::op::{Op, fail};
use abi::Errno;
use lock::Mutex;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub const IPC_PRIVATE: i32 = 0;
pub const IPC_CREAT: u32 = 0o1000;
pub const IPC_EXCL: u32 = 0o2000;
pub const IPC_NOWAIT: u32 = 0o4000;

/// Slots that ids count; the rest of an id is a sequence number, so that an old id does not find a new object.
const SLOTS: usize = 32_768;

/// Owner, creator and permission bits of an object.
#[derive(Clone, Debug)]
pub struct Perm {
    pub key: i32,
    pub uid: u32,
    pub gid: u32,
    pub cuid: u32,
    pub cgid: u32,
    /// 0o777 and, for segments, SHM_DEST and SHM_LOCKED.
    pub mode: u32,
    pub seq: u16,
}

/// What a caller wants of an object: permission bits of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read = 4,
    Write = 2,
    Both = 6,
}

impl Perm {
    /// Of a new object of `cred`. The sequence number comes from its slot.
    pub fn new(key: i32, mode: u32, cred: &Cred) -> Perm {
        let (uid, gid) = (cred.euid, cred.egid);
        Perm { key, uid, gid, cuid: uid, cgid: gid, mode: mode & 0o777, seq: 0 }
    }

    /// EACCES unless the class that the caller is in has all bits of `want` (of the form 0o6).
    pub fn check_bits(&self, cred: &Cred, want: u32) -> Op<()> {
        let class = if cred.euid == self.uid || cred.euid == self.cuid {
            self.mode >> 6
        } else if cred.in_group(self.gid) || cred.in_group(self.cgid) {
            self.mode >> 3
        } else {
            self.mode
        };
        if want & !class & 7 == 0 || cred.has(Cap::IpcOwner) { Ok(()) } else { fail(Errno::EACCES) }
    }

    pub fn check(&self, cred: &Cred, want: Access) -> Op<()> {
        self.check_bits(cred, want as u32)
    }

    /// EPERM unless the caller may change or remove the object.
    pub fn check_owner(&self, cred: &Cred) -> Op<()> {
        if cred.euid == self.uid || cred.euid == self.cuid || cred.has(Cap::SysAdmin) {
            Ok(())
        } else {
            fail(Errno::EPERM)
        }
    }
}

/// An object that a table holds.
pub trait Object: Send + Sync {
    fn with_perm<T>(&self, f: impl FnOnce(&mut Perm) -> T) -> T;
    /// What it takes of `Table::room`; never changes.
    fn size(&self) -> u64 {
        0
    }
}

/// A place in a table.
pub struct Slot<T> {
    seq: u16,
    object: Option<(i32, Arc<T>)>,
    /// Of the object.
    size: u64,
}

/// The objects of one kind.
pub struct Table<T> {
    /// How many there may be: SHMMNI, SEMMNI, MSGMNI.
    pub max: AtomicU64,
    /// How much all of them may take together: SHMALL, SEMMNS.
    pub room: AtomicU64,
    slots: Mutex<Vec<Slot<T>>, Leaf>,
}

impl<T: Object> Table<T> {
    pub fn new(max: u64, room: u64) -> Table<T> {
        Table { max: max.into(), room: room.into(), slots: Mutex::new(Vec::new()) }
    }

    /// The object of an id. EINVAL where there never was one, EIDRM where it is gone.
    pub fn by_id(&self, id: i32) -> Op<Arc<T>> {
        let slots = self.slots.lock();
        let index = usize::try_from(id).map_err(|_| Errno::EINVAL)?;
        let slot = slots.get(index % SLOTS).ok_or(Errno::EINVAL)?;
        match &slot.object {
            Some((_, object)) if usize::from(slot.seq) == index / SLOTS => Ok(object.clone()),
            _ if usize::from(slot.seq) > index / SLOTS => fail(Errno::EIDRM),
            _ => fail(Errno::EINVAL),
        }
    }

    /// The object in a slot and its id: the *_STAT commands count slots.
    pub fn by_index(&self, index: i32) -> Op<(i32, Arc<T>)> {
        let slots = self.slots.lock();
        let at = usize::try_from(index).map_err(|_| Errno::EINVAL)?;
        let slot = slots.get(at).ok_or(Errno::EINVAL)?;
        let (_, object) = slot.object.as_ref().ok_or(Errno::EINVAL)?;
        Ok((id(at, slot.seq), object.clone()))
    }

    /// The *get calls: the object of a key, checked by `check`, or a new one by `make`. Returns its id.
    pub fn get(
        &self,
        key: i32,
        flags: u32,
        cred: &Cred,
        check: impl FnOnce(&T) -> Op<()>,
        make: impl FnOnce() -> Op<T>,
    ) -> Op<i32> {
        let found = if key == IPC_PRIVATE { None } else { self.by_key(key) };
        if let Some((id, object)) = found {
            if flags & IPC_CREAT != 0 && flags & IPC_EXCL != 0 {
                return fail(Errno::EEXIST);
            }
            check(&object)?;
            // All bits that are asked for, whatever class they name, are asked of the caller's class.
            let want = (flags >> 6 | flags >> 3 | flags) & 0o6;
            object.with_perm(|p| p.check_bits(cred, want))?;
            return Ok(id);
        }
        if key != IPC_PRIVATE && flags & IPC_CREAT == 0 {
            return fail(Errno::ENOENT);
        }
        let object = Arc::new(make()?);
        let size = object.size();
        let mut slots = self.slots.lock();
        let (count, taken) = sums(&slots);
        if count >= limits::of(&self.max) || taken.saturating_add(size) > limits::of(&self.room) {
            return fail(Errno::ENOSPC);
        }
        // Another may have made it meanwhile.
        if key != IPC_PRIVATE && slots.iter().any(|s| s.object.as_ref().is_some_and(|(k, _)| *k == key)) {
            return fail(Errno::EEXIST);
        }
        let at = match slots.iter().position(|s| s.object.is_none()) {
            Some(at) => at,
            None => {
                slots.push(Slot { seq: 0, object: None, size: 0 });
                slots.len() - 1
            }
        };
        let slot = slots.get_mut(at).ok_or(Errno::ENOSPC)?;
        let seq = slot.seq;
        slot.object = Some((key, object.clone()));
        slot.size = size;
        drop(slots);
        object.with_perm(|p| p.seq = seq);
        Ok(id(at, seq))
    }

    fn by_key(&self, key: i32) -> Option<(i32, Arc<T>)> {
        let slots = self.slots.lock();
        slots.iter().enumerate().find_map(|(at, slot)| {
            let (k, object) = slot.object.as_ref()?;
            (*k == key).then(|| (id(at, slot.seq), object.clone()))
        })
    }

    /// Takes the object of an id out of the table.
    pub fn remove(&self, id: i32) -> Option<Arc<T>> {
        let mut slots = self.slots.lock();
        let index = usize::try_from(id).ok()?;
        let slot = slots.get_mut(index % SLOTS)?;
        if usize::from(slot.seq) != index / SLOTS {
            return None;
        }
        let (_, object) = slot.object.take()?;
        slot.seq = (slot.seq + 1) % (i32::MAX as usize / SLOTS) as u16;
        Some(object)
    }

    /// The object is found by its id only from now on.
    pub fn forget_key(&self, id: i32) {
        let mut slots = self.slots.lock();
        if let Some(slot) = usize::try_from(id).ok().and_then(|index| slots.get_mut(index % SLOTS))
            && let Some((key, _)) = &mut slot.object
        {
            *key = IPC_PRIVATE;
        }
    }

    /// What all of them take together.
    pub fn taken(&self) -> u64 {
        sums(&self.slots.lock()).1
    }

    /// All objects with their ids.
    pub fn list(&self) -> Vec<(i32, Arc<T>)> {
        let slots = self.slots.lock();
        let all = slots.iter().enumerate();
        all.filter_map(|(at, s)| s.object.as_ref().map(|(_, o)| (id(at, s.seq), o.clone()))).collect()
    }
}

/// How many objects there are, and what they take.
fn sums<T>(slots: &[Slot<T>]) -> (u64, u64) {
    let there = slots.iter().filter(|slot| slot.object.is_some());
    there.fold((0, 0), |(count, taken), slot| (count + 1, taken + slot.size))
}

fn id(at: usize, seq: u16) -> i32 {
    (usize::from(seq) * SLOTS + at) as i32
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cred::UserNs;

    struct Thing(Mutex<Perm, Leaf>);

    impl Object for Thing {
        fn with_perm<T>(&self, f: impl FnOnce(&mut Perm) -> T) -> T {
            f(&mut self.0.lock())
        }
    }

    #[test]
    fn ids_and_keys() {
        let cred = Cred::root(UserNs::initial());
        let table = Table::new(2, 0);
        let get = |key: i32, flags: u32| {
            table.get(key, flags, &cred, |_| Ok(()), || Ok(Thing(Mutex::new(Perm::new(key, flags, &cred)))))
        };
        assert_eq!(get(7, 0), fail(Errno::ENOENT));
        let one = get(7, IPC_CREAT | 0o600).unwrap();
        assert_eq!(get(7, IPC_CREAT | IPC_EXCL), fail(Errno::EEXIST));
        assert_eq!(get(7, 0), Ok(one));
        let two = get(IPC_PRIVATE, 0o600).unwrap();
        assert_ne!(one, two);
        assert_eq!(get(IPC_PRIVATE, 0o600), fail(Errno::ENOSPC));
        assert!(table.remove(one).is_some());
        assert_eq!(table.by_id(one).err(), Some(Errno::EIDRM.into()));
        let three = get(7, IPC_CREAT).unwrap();
        assert_ne!(three, one);
        assert_eq!(table.by_id(1000).err(), Some(Errno::EINVAL.into()));
        assert_eq!(table.by_id(-1).err(), Some(Errno::EINVAL.into()));
        assert_eq!(table.list().len(), 2);
    }
}
