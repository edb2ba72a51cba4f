//! Descriptors under way in SCM_RIGHTS messages: how many, and the collection of those that nobody can receive any more.
//!
//! A socket that was sent to itself, or two that are queued in each other, hold each other when all descriptors are closed. So
//! sockets with files in their inbox are registered, and when a socket is closed the unreachable ones are emptied: those that are
//! referred to by inboxes only, and by no inbox of a reachable socket. Locks: `Leaf` for the register.

use super::UnixSocket;
use super::endpoint::Endpoint;
use abi::Errno;
use kernel::io::Io;
use kernel::locks::Leaf;
use kernel::socket::Socket;
use kernel::task::{Resource, Task};
use kernel::vfs::File;
use kernel::{Op, fail};
use lock::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Sockets that files were sent to.
static HOLDERS: Mutex<Vec<Weak<Endpoint>>, Leaf> = Mutex::new(Vec::new());
/// One collection at a time; dropping files closes sockets, which would begin another.
static COLLECTING: AtomicBool = AtomicBool::new(false);

/// Whether the caller may send files: ETOOMANYREFS where as many as it may have open are under way.
pub fn admit(io: &Io<'_>) -> Op<()> {
    let limit = Task::of(io).map_or(0, |t| t.group.limit(Resource::Nofile));
    let count: usize = holders().iter().map(|h| h.inbox.lock().rights().count()).sum();
    if count as u64 > limit && !io.cred.has(kernel::cred::Cap::SysResource) {
        return fail(Errno::ETOOMANYREFS);
    }
    // Whatever the privileges, the kernel process' memory has an end.
    if count > 1 << 20 { fail(Errno::ETOOMANYREFS) } else { Ok(()) }
}

/// Files are about to be sent to `to`.
pub fn register(to: &Endpoint) {
    let mut holders = HOLDERS.lock();
    if !holders.iter().any(|h| h.ptr_eq(&to.me)) {
        holders.push(to.me.clone());
    }
}

/// The sockets with files in their inboxes; others leave the register.
fn holders() -> Vec<Arc<Endpoint>> {
    let all: Vec<Weak<Endpoint>> = HOLDERS.lock().clone();
    if all.is_empty() {
        return Vec::new();
    }
    let (full, empty): (Vec<_>, Vec<_>) =
        all.into_iter().filter_map(|h| h.upgrade()).partition(|h| h.inbox.lock().rights().next().is_some());
    let mut holders = HOLDERS.lock();
    holders.retain(|h| h.strong_count() > 0 && !empty.iter().any(|e| h.ptr_eq(&e.me)));
    full
}

/// The unix socket behind a file.
fn endpoint(file: &File) -> Option<Arc<Endpoint>> {
    let socket = file.ops_as::<Socket>()?;
    Some(socket.ops.as_any().downcast_ref::<UnixSocket>()?.end.clone())
}

/// Empties the inboxes that nobody can read any more.
pub fn collect() {
    if HOLDERS.lock().is_empty() || COLLECTING.swap(true, Ordering::AcqRel) {
        return;
    }
    let holders = holders();
    // Sockets that are under way: the references that inboxes have, and the file's own count of all.
    let mut flying: HashMap<u64, (Arc<File>, usize)> = HashMap::new();
    let mut inside: HashMap<usize, Vec<u64>> = HashMap::new();
    for holder in &holders {
        let files: Vec<Arc<File>> = holder.inbox.lock().rights().cloned().collect();
        for file in files {
            if endpoint(&file).is_some() {
                inside.entry(Arc::as_ptr(holder) as usize).or_default().push(file.id);
                let id = file.id;
                flying.entry(id).or_insert((file, 0)).1 += 1;
            }
        }
    }
    // Reachable: what somebody else refers to, and all in the inboxes of reachable ones. One reference is this map's own.
    let mut reached: HashSet<u64> = HashSet::new();
    let mut work: Vec<u64> = Vec::new();
    let mut owned: HashMap<usize, u64> = HashMap::new();
    for (id, (file, count)) in &flying {
        if let Some(end) = endpoint(file) {
            owned.insert(Arc::as_ptr(&end) as usize, *id);
        }
        if Arc::strong_count(file) > count + 1 {
            work.push(*id);
        }
    }
    // Inboxes of sockets that are not under way themselves are read by whoever has them open, or wait to be accepted.
    for (holder, ids) in &inside {
        if !owned.contains_key(holder) {
            work.extend(ids);
        }
    }
    while let Some(id) = work.pop() {
        if !reached.insert(id) {
            continue;
        }
        let next = flying.get(&id).and_then(|(file, _)| endpoint(file)).map(|end| Arc::as_ptr(&end) as usize);
        if let Some(ids) = next.and_then(|end| inside.get(&end)) {
            work.extend(ids);
        }
    }
    let mut garbage = Vec::new();
    for (id, (file, _)) in &flying {
        if !reached.contains(id)
            && let Some(end) = endpoint(file)
        {
            garbage.push(end.inbox.lock().clear());
        }
    }
    drop(flying);
    drop(holders);
    drop(garbage);
    COLLECTING.store(false, Ordering::Release);
}
