//! /proc/sysvipc: the System V objects of the reader's IPC namespace. proc_sysvipc(5), sysvipc(7).
//!
//! Locks: the objects' own, one at a time.

use super::caller;
use crate::pseudo::{Node, Tree};
use kernel::ipc::sysv::{Perm, SysV};
use kernel::{Io, Op};
use std::sync::Arc;

const MSG: &str = "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n";
const SEM: &str = "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n";
const SHM: &str = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n";

pub fn add(tree: &mut Tree) {
    tree.add("sysvipc/msg", Node::text(msg));
    tree.add("sysvipc/sem", Node::text(sem));
    tree.add("sysvipc/shm", Node::text(shm));
}

fn objects(io: &Io<'_>) -> Op<Arc<SysV>> {
    Ok(SysV::of(&caller(io)?.namespaces().ipc))
}

/// Owner and creator as the reader's user namespace numbers them.
fn ids(io: &Io<'_>, perm: &Perm) -> String {
    let ns = &io.cred.user_ns;
    let ids = [ns.uid_to(perm.uid), ns.gid_to(perm.gid), ns.uid_to(perm.cuid), ns.gid_to(perm.cgid)];
    ids.map(|id| format!("{id:5}")).join(" ")
}

fn msg(io: &mut Io<'_>) -> Op<Vec<u8>> {
    let mut out = MSG.to_owned();
    for (id, queue) in objects(io)?.msg.list() {
        let state = queue.state.lock();
        let (perm, bytes, count) = (state.perm.clone(), state.bytes, state.count());
        let pids = format!("{:5} {:5}", state.sender, state.receiver);
        let times = format!("{:10} {:10} {:10}", state.sent_at, state.received_at, state.changed_at);
        drop(state);
        let (key, mode, ids) = (perm.key, perm.mode, ids(io, &perm));
        out.push_str(&format!("{key:10} {id:10}  {mode:4o}  {bytes:10} {count:10} {pids} {ids} {times}\n"));
    }
    Ok(out.into())
}

fn sem(io: &mut Io<'_>) -> Op<Vec<u8>> {
    let mut out = SEM.to_owned();
    for (id, set) in objects(io)?.sem.list() {
        let state = set.state.lock();
        let (perm, count) = (state.perm.clone(), state.sems.len());
        let times = format!("{:10} {:10}", state.operated_at, state.changed_at);
        drop(state);
        let (key, mode, ids) = (perm.key, perm.mode, ids(io, &perm));
        out.push_str(&format!("{key:10} {id:10}  {mode:4o} {count:10} {ids} {times}\n"));
    }
    Ok(out.into())
}

fn shm(io: &mut Io<'_>) -> Op<Vec<u8>> {
    let mut out = SHM.to_owned();
    for (id, segment) in objects(io)?.shm.list() {
        let resident = host::file::stat(segment.host_file()).map_or(0, |stat| stat.stx_blocks * 512);
        let (size, attached) = (segment.size, segment.attachments());
        let state = segment.state.lock();
        let perm = state.perm.clone();
        let pids = format!("{:5} {:5}", state.creator, state.last);
        let times = format!("{:10} {:10} {:10}", state.attached_at, state.detached_at, state.changed_at);
        drop(state);
        let (key, mode, ids) = (perm.key, perm.mode, ids(io, &perm));
        out.push_str(&format!(
            "{key:10} {id:10}  {mode:4o} {size:21} {pids}  {attached:5} {ids} {times} {resident:21} {:21}\n",
            0
        ));
    }
    Ok(out.into())
}
