//! POSIX message queues: what an IPC namespace keeps of them. mq_overview(7), ipc_namespaces(7).
//!
//! One `MqNs` for each IPC namespace, kept by `task::IpcNs`: limits, the count of queues, and the file system that names them (crate
//! `filesystems`). Neighbours: `queue`, a queue with its messages; `notify`, who is told of a message. Locks: `Leaf` around the bytes
//! that users have in queues.

mod notify;
mod queue;

pub use notify::{COOKIE, Cookies, Notify, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD};
pub use queue::{MqAttr, MqFile, MqQueue, PRIORITIES};

use crate::Kernel;
use crate::cred::{Cap, Cred, UserNs};
use crate::io::Io;
use crate::locks::Leaf;
use crate::op::{Op, fail};
use crate::task::{IpcNs, Resource, Task};
use crate::vfs::{Inode, Mount, make_mount};
use abi::Errno;
use lock::Mutex;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// Bounds of msg_max and msgsize_max, and what the privileged may go to: HARD_MSGMAX, HARD_MSGSIZEMAX.
pub const MSG_MAX: std::ops::RangeInclusive<u32> = 1..=65_536;
pub const MSGSIZE_MAX: std::ops::RangeInclusive<u32> = 128..=16 << 20;

/// What the limits count for each message and priority beside its bytes: `struct msg_msg` and `struct posix_msg_tree_node`, getrlimit(2).
const MESSAGE_HEAD: u64 = 48;
const PRIORITY_NODE: u64 = 48;

/// Bytes that users have in queues, by the kernel's uid: what RLIMIT_MSGQUEUE bounds.
static USED: Mutex<BTreeMap<u32, u64>, Leaf> = Mutex::new(BTreeMap::new());

/// The queues of an IPC namespace.
pub struct MqNs {
    pub owner: Arc<UserNs>,
    /// /proc/sys/fs/mqueue/*.
    pub queues_max: AtomicU32,
    pub msg_max: AtomicU32,
    pub msgsize_max: AtomicU32,
    pub msg_default: AtomicU32,
    pub msgsize_default: AtomicU32,
    queues: AtomicU32,
    root: OnceLock<Arc<Inode>>,
    /// Where mq_open(3) finds its names, whatever is mounted where.
    mount: OnceLock<Arc<Mount>>,
}

impl MqNs {
    /// Those of a namespace, made when first asked for.
    pub fn of(ns: &IpcNs) -> Op<Arc<MqNs>> {
        let make = || {
            Arc::new(MqNs {
                owner: ns.owner.clone(),
                queues_max: 256.into(),
                msg_max: 10.into(),
                msgsize_max: 8192.into(),
                msg_default: 10.into(),
                msgsize_default: 8192.into(),
                queues: 0.into(),
                root: OnceLock::new(),
                mount: OnceLock::new(),
            })
        };
        let any = ns.mqueue.get_or_init(|| make()).clone();
        any.downcast::<MqNs>().map_err(|_| Errno::EINVAL.into())
    }

    /// The root of the namespace's file system, made by `make` when first mounted.
    pub fn root(&self, make: impl FnOnce() -> Arc<Inode>) -> Arc<Inode> {
        self.root.get_or_init(make).clone()
    }

    /// The mount that the calls use, which no mount namespace shows. ENOSYS where the file system is not there.
    pub fn mount(&self, io: &mut Io<'_>, kernel: &Arc<Kernel>) -> Op<Arc<Mount>> {
        if let Some(mount) = self.mount.get() {
            return Ok(mount.clone());
        }
        let fs = kernel.fs_type(b"mqueue").ok_or(Errno::ENOSYS)?;
        let mount = make_mount(io, kernel, fs, b"mqueue", 0, b"")?;
        Ok(self.mount.get_or_init(|| mount).clone())
    }

    /// The attributes of a queue for which none were given.
    fn defaults(&self) -> MqAttr {
        let least = |a: &AtomicU32, b: &AtomicU32| a.load(Ordering::Relaxed).min(b.load(Ordering::Relaxed));
        MqAttr {
            max_messages: least(&self.msg_max, &self.msg_default).into(),
            message_size: least(&self.msgsize_max, &self.msgsize_default).into(),
        }
    }

    /// EINVAL for attributes that nobody, or not this caller, may ask for.
    fn check(&self, attr: MqAttr, cred: &Cred) -> Op<()> {
        let (messages, size) = if cred.has(Cap::SysResource) {
            (*MSG_MAX.end(), *MSGSIZE_MAX.end())
        } else {
            (self.msg_max.load(Ordering::Relaxed), self.msgsize_max.load(Ordering::Relaxed))
        };
        let within = |value: i64, max: u32| (1..=i64::from(max)).contains(&value);
        if within(attr.max_messages, messages) && within(attr.message_size, size) {
            Ok(())
        } else {
            fail(Errno::EINVAL)
        }
    }

    /// A new queue of the caller's. ENOSPC where there are too many, EMFILE beyond RLIMIT_MSGQUEUE, ENOMEM where all together could hold more than
    /// half of the memory, whatever the limits.
    pub fn make(self: &Arc<Self>, io: &Io<'_>, attr: Option<MqAttr>) -> Op<Arc<MqQueue>> {
        let max = self.queues_max.load(Ordering::Relaxed);
        let privileged = io.cred.has(Cap::SysResource);
        let more = |n: u32| (n < max || privileged).then(|| n.checked_add(1)).flatten();
        self.queues.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).map_err(|_| Errno::ENOSPC)?;
        let mut charge = Charge { ns: Arc::downgrade(self), uid: io.cred.uid, bytes: 0 };
        let attr = attr.unwrap_or_else(|| self.defaults());
        self.check(attr, &io.cred)?;
        let task = Task::of(io);
        let limit = task.as_ref().map_or(u64::MAX, |task| task.group.limit(Resource::Msgqueue));
        let most = task.map_or(u64::MAX, |_| crate::memory::total() / 2);
        charge.take(attr.cost(), limit, most)?;
        Ok(MqQueue::new(attr, charge))
    }
}

impl MqAttr {
    /// Bytes that RLIMIT_MSGQUEUE counts for a queue. Both numbers are within the bounds above.
    fn cost(self) -> u64 {
        let (messages, size) = (self.max_messages.unsigned_abs(), self.message_size.unsigned_abs());
        messages * MESSAGE_HEAD + messages.min(u64::from(PRIORITIES)) * PRIORITY_NODE + messages * size
    }
}

/// What a queue takes of its namespace's and its user's limits, while it is there.
struct Charge {
    ns: std::sync::Weak<MqNs>,
    uid: u32,
    bytes: u64,
}

impl Charge {
    fn take(&mut self, bytes: u64, limit: u64, most: u64) -> Op<()> {
        let mut used = USED.lock();
        let sum = used.get(&self.uid).copied().unwrap_or(0).saturating_add(bytes);
        if sum > limit {
            return fail(Errno::EMFILE);
        }
        if used.values().fold(bytes, |all, part| all.saturating_add(*part)) > most {
            return fail(Errno::ENOMEM);
        }
        used.insert(self.uid, sum);
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(ns) = self.ns.upgrade() {
            ns.queues.fetch_sub(1, Ordering::Relaxed);
        }
        let mut used = USED.lock();
        let left = used.get(&self.uid).copied().unwrap_or(0).saturating_sub(self.bytes);
        if left == 0 {
            used.remove(&self.uid);
        } else {
            used.insert(self.uid, left);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn queues_are_counted_and_bounded() {
        let ns = IpcNs::new(UserNs::initial());
        let mq = MqNs::of(&ns).unwrap();
        let mut cred = Cred::root(UserNs::initial());
        cred.uid = 77_001;
        cred.effective = crate::cred::CapSet::EMPTY;
        let mut done = 0;
        let io = Io::kernel(Arc::new(cred), &mut done);
        mq.queues_max.store(2, Ordering::Relaxed);
        let attr = |max_messages, message_size| Some(MqAttr { max_messages, message_size });
        for bad in [attr(0, 1), attr(1, 0), attr(11, 1), attr(1, 8193), attr(-1, 1), attr(1, i64::MIN)] {
            assert_eq!(mq.make(&io, bad).err(), Some(Errno::EINVAL.into()));
        }
        let one = mq.make(&io, None).unwrap();
        assert_eq!(one.attr, MqAttr { max_messages: 10, message_size: 8192 });
        let two = mq.make(&io, attr(1, 1)).unwrap();
        assert_eq!(mq.make(&io, None).err(), Some(Errno::ENOSPC.into()));
        assert_eq!(USED.lock().get(&77_001), Some(&(10 * (96 + 8192) + 97)));
        drop((one, two));
        assert_eq!(USED.lock().get(&77_001), None);
        assert!(mq.make(&io, None).is_ok());
    }
}
