//! System V IPC: shared memory, semaphores, message queues by key. sysvipc(7).
//!
//! One `SysV` for each IPC namespace, kept by `task::IpcNs`. Objects are found by id (slot and sequence number) or key. Locks: each
//! table's (`Leaf`); an object's own state is behind `FileState`.

pub mod limits;
mod msg;
mod sem;
mod shm;
mod table;

pub use limits::Limits;
pub use msg::{MSG_COPY, MSG_EXCEPT, MSG_NOERROR, Message, MsgQueue};
pub use sem::{MAX_VALUE, SemOp, SemSet, Undo};
pub use shm::{Made, SHM_DEST, SHM_LOCKED, Segment, segment_of};
pub use table::{Access, IPC_CREAT, IPC_EXCL, IPC_NOWAIT, IPC_PRIVATE, Object, Perm, Slot, Table};

use crate::locks::Leaf;
use crate::op::Op;
use crate::task::IpcNs;
use abi::Errno;
use lock::Mutex;
use std::any::Any;
use std::sync::Arc;

/// The System V objects of an IPC namespace.
pub struct SysV {
    pub limits: Limits,
    pub shm: Table<Segment>,
    pub sem: Table<SemSet>,
    pub msg: Table<MsgQueue>,
}

impl SysV {
    /// Those of a namespace, made when first asked for.
    pub fn of(ns: &IpcNs) -> Arc<SysV> {
        let any = ns.sysv.get_or_init(|| {
            Arc::new(SysV {
                limits: Limits::default(),
                shm: Table::new(4096, limits::SHMMAX),
                sem: Table::new(32_000, limits::SEMMNS),
                msg: Table::new(32_000, 0),
            })
        });
        any.clone().downcast::<SysV>().unwrap_or_else(|_| {
            // Nothing else is ever kept there.
            let limits = Limits::default();
            Arc::new(SysV { limits, shm: Table::new(0, 0), sem: Table::new(0, 0), msg: Table::new(0, 0) })
        })
    }
}

/// What a process keeps of its System V objects in a slot (`ThreadGroup::sem_undo`, `shm_made`), made when first asked for.
pub fn kept<T: Any + Send + Sync>(
    slot: &Mutex<Option<Arc<dyn Any + Send + Sync>>, Leaf>,
    make: impl FnOnce() -> T,
) -> Op<Arc<T>> {
    let any = slot.lock().get_or_insert_with(|| Arc::new(make())).clone();
    any.downcast::<T>().map_err(|_| Errno::EINVAL.into())
}
