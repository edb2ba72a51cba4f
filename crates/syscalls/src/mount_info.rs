//! What is mounted, by mount ids: statmount(2), listmount(2).
//!
//! Neighbours: `vfs::mount_lines` has what /proc/PID/mountinfo shows, too.

use crate::mount_fds::attributes;
use crate::names::{extensible, only};
use abi::Errno;
use abi::fs::{
    LISTMOUNT_REVERSE, LSMT_ROOT, MNT_ID_REQ_SIZE_VER0, MS_PRIVATE, MS_RDONLY, MS_SHARED, MS_SLAVE, MS_UNBINDABLE,
    MntIdReq, STATMOUNT_FS_TYPE, STATMOUNT_MNT_BASIC, STATMOUNT_MNT_NS_ID, STATMOUNT_MNT_OPTS, STATMOUNT_MNT_POINT,
    STATMOUNT_MNT_ROOT, STATMOUNT_PROPAGATE_FROM, STATMOUNT_SB_BASIC, STATMOUNT_SB_SOURCE, STATMOUNT_SUPPORTED_MASK,
    StatMount,
};
use kernel::cred::Cap;
use kernel::vfs::{MountLine, MountNs, Path, mount_lines};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use zerocopy::IntoBytes;

/// What is answered; the rest of the mask is left out of the answer's, as Linux does.
const SUPPORTED: u64 = (STATMOUNT_SB_BASIC
    | STATMOUNT_MNT_BASIC
    | STATMOUNT_PROPAGATE_FROM
    | STATMOUNT_MNT_ROOT
    | STATMOUNT_MNT_POINT
    | STATMOUNT_FS_TYPE
    | STATMOUNT_MNT_NS_ID
    | STATMOUNT_MNT_OPTS
    | STATMOUNT_SB_SOURCE
    | STATMOUNT_SUPPORTED_MASK) as u64;
/// More ids than this are not listed at once.
const LIST_MAX: u64 = 1_000_000;

/// A request, and the mounts of the namespace that it asks about as far as the caller can see them.
fn request(call: &Call<'_>, at: u64) -> Op<(MntIdReq, Arc<MountNs>, Vec<MountLine>)> {
    let size: u32 = call.get(at)?;
    let request: MntIdReq = extensible(call, at, size.into(), MNT_ID_REQ_SIZE_VER0 as usize)?;
    if request.spare != 0 {
        return fail(Errno::EINVAL);
    }
    let own = call.task.namespaces().mount;
    if request.mnt_ns_id == 0 || request.mnt_ns_id == own.id {
        let lines = mount_lines(&own, &call.task.fs().root());
        return Ok((request, own, lines));
    }
    let ns = kernel::vfs::find_ns(request.mnt_ns_id).ok_or(Errno::ENOENT)?;
    if !call.task.cred().has_in(&ns.owner, Cap::SysAdmin) {
        return fail(Errno::ENOENT);
    }
    let root = ns.root().ok_or(Errno::ENOENT)?;
    let lines = mount_lines(&ns, &Path::new(root.clone(), root.root.clone()));
    Ok((request, ns, lines))
}

pub fn sys_statmount(call: &mut Call<'_>, [req, to, size, flags, ..]: Args) -> Op<Ret> {
    only(flags as u32, 0)?;
    let (request, ns, lines) = request(call, req)?;
    let line = lines.iter().find(|line| line.mount.id == request.mnt_id).ok_or(Errno::ENOENT)?;
    let magic = if request.param & u64::from(STATMOUNT_SB_BASIC) != 0 {
        line.mount.fs.ops.statfs(&mut call.io())?.magic
    } else {
        0
    };
    let answer = answer(line, &ns, request.param, magic);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    // Texts must fit whole; of the head an older user has only the beginning.
    if answer.len() > size_of::<StatMount>() && answer.len() > size {
        return fail(Errno::EOVERFLOW);
    }
    call.put(to, answer.get(..size.min(answer.len())).unwrap_or_default())?;
    Ok(0u64.into())
}

fn answer(line: &MountLine, ns: &MountNs, wanted: u64, magic: u64) -> Vec<u8> {
    let mount = &line.mount;
    let mask = wanted & SUPPORTED;
    let has = |bit: u32| mask & u64::from(bit) != 0;
    let mut texts: Vec<u8> = Vec::new();
    let mut text = |bit: u32, text: &[u8]| {
        if !has(bit) {
            return 0;
        }
        if texts.is_empty() {
            // Offset 0 is the empty text.
            texts.push(0);
        }
        let at = texts.len() as u32;
        texts.extend_from_slice(text);
        texts.push(0);
        at
    };
    let options = mount.fs.ops.show_options();
    let mut out = StatMount {
        mask,
        fs_type: text(STATMOUNT_FS_TYPE, mount.fs.ops.name().as_bytes()),
        mnt_root: text(STATMOUNT_MNT_ROOT, &line.root),
        mnt_point: text(STATMOUNT_MNT_POINT, &line.point),
        mnt_opts: text(STATMOUNT_MNT_OPTS, options.trim_start_matches(',').as_bytes()),
        sb_source: text(STATMOUNT_SB_SOURCE, &mount.source),
        ..StatMount::default()
    };
    if has(STATMOUNT_SB_BASIC) {
        (out.sb_dev_major, out.sb_dev_minor) = (abi::fs::major(mount.fs.dev), abi::fs::minor(mount.fs.dev));
        out.sb_flags = if mount.fs.read_only.load(Ordering::Relaxed) { MS_RDONLY } else { 0 };
        out.sb_magic = magic;
    }
    if has(STATMOUNT_MNT_BASIC) {
        (out.mnt_id, out.mnt_parent_id) = (mount.id, line.parent_id);
        (out.mnt_id_old, out.mnt_parent_id_old) = (mount.id as u32, line.parent_id as u32);
        out.mnt_attr = attributes(mount);
        out.mnt_propagation = propagation(line).into();
        (out.mnt_peer_group, out.mnt_master) = (line.peer_group, line.master);
    }
    if has(STATMOUNT_PROPAGATE_FROM) {
        out.propagate_from = if line.propagate_from == 0 { line.master } else { line.propagate_from };
    }
    if has(STATMOUNT_MNT_NS_ID) {
        out.mnt_ns_id = ns.id;
    }
    if has(STATMOUNT_SUPPORTED_MASK) {
        out.supported_mask = SUPPORTED;
    }
    out.size = (size_of::<StatMount>() + texts.len()) as u32;
    let mut bytes = out.as_bytes().to_vec();
    bytes.extend_from_slice(&texts);
    bytes
}

fn propagation(line: &MountLine) -> u32 {
    let shared = if line.peer_group != 0 { MS_SHARED } else { 0 };
    let slave = if line.master != 0 { MS_SLAVE } else { 0 };
    match shared | slave {
        0 if line.unbindable => MS_UNBINDABLE,
        0 => MS_PRIVATE,
        both => both,
    }
}

pub fn sys_listmount(call: &mut Call<'_>, [req, to, count, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    only(flags, LISTMOUNT_REVERSE)?;
    if count > LIST_MAX {
        return fail(Errno::EOVERFLOW);
    }
    let (request, _, lines) = request(call, req)?;
    let reverse = flags & LISTMOUNT_REVERSE != 0;
    let below = request.mnt_id;
    let everything = below == LSMT_ROOT as i64 as u64;
    if !everything && !lines.iter().any(|line| line.mount.id == below) {
        return fail(Errno::ENOENT);
    }
    let is_below = |line: &MountLine| {
        let mut at = line.mount.at();
        while let Some(place) = at {
            if place.mount.id == below {
                return true;
            }
            at = place.mount.at();
        }
        false
    };
    let last = request.param;
    let after = |id: u64| last == 0 || if reverse { id < last } else { id > last };
    let mut ids: Vec<u64> = lines
        .iter()
        .filter(|line| everything || is_below(line))
        .map(|line| line.mount.id)
        .filter(|id| after(*id))
        .collect();
    ids.sort_unstable();
    if reverse {
        ids.reverse();
    }
    ids.truncate(count as usize);
    call.put(to, ids.as_slice())?;
    Ok(ids.len().into())
}
