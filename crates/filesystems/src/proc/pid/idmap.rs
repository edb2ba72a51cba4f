//! /proc/PID/uid_map, gid_map, projid_map, setgroups. user_namespaces(7).

use super::Target;
use abi::Errno;
use kernel::cred::{Cap, IdRange, UserNs};
use kernel::{Io, Op, fail};
use std::sync::Arc;

fn show(ranges: &[IdRange], reader: &UserNs, owner: &UserNs, to_reader: impl Fn(u32) -> u32) -> Vec<u8> {
    let mut out = String::new();
    for range in ranges {
        // Readers in the namespace itself see its parent's ids.
        let outside = if reader.id == owner.id {
            owner.parent.as_ref().map_or(range.outside, |_| to_reader(range.outside))
        } else {
            to_reader(range.outside)
        };
        out.push_str(&format!("{:10} {outside:10} {:10}\n", range.inside, range.count));
    }
    out.into()
}

/// The namespace whose ids stand on the right, for a reader.
fn right_side(io: &Io<'_>, ns: &Arc<UserNs>) -> Arc<UserNs> {
    let reader = &io.cred.user_ns;
    if reader.id == ns.id { ns.parent.clone().unwrap_or_else(|| ns.clone()) } else { reader.clone() }
}

pub fn uid_map(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let ns = t.task.cred().user_ns.clone();
    let right = right_side(io, &ns);
    Ok(show(&ns.maps().uid, &io.cred.user_ns, &ns, |id| right.uid_to(id)))
}

pub fn gid_map(io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let ns = t.task.cred().user_ns.clone();
    let right = right_side(io, &ns);
    Ok(show(&ns.maps().gid, &io.cred.user_ns, &ns, |id| right.gid_to(id)))
}

/// Project ids are not mapped: there are no project quotas.
pub fn projid_map(_io: &mut Io<'_>, _t: &Target) -> Op<Vec<u8>> {
    Ok(Vec::new())
}

/// The most lines of a map.
const LINES_MAX: usize = 340;

/// Lines of `inside outside count`: not empty, not overlapping.
fn parse(data: &[u8]) -> Op<Vec<IdRange>> {
    let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
    let text = text.split('\0').next().unwrap_or_default();
    let mut ranges: Vec<IdRange> = Vec::new();
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        let numbers: Result<Vec<u32>, _> = line.split_ascii_whitespace().map(str::parse).collect();
        let &[inside, outside, count] = numbers.map_err(|_| Errno::EINVAL)?.as_slice() else {
            return fail(Errno::EINVAL);
        };
        let fits = |first: u32| first.checked_add(count).is_some();
        if count == 0 || !fits(inside) || !fits(outside) || ranges.len() >= LINES_MAX {
            return fail(Errno::EINVAL);
        }
        let apart =
            |a: u32, an: u32, b: u32| a.checked_add(an).is_some_and(|end| end <= b) || b.saturating_add(count) <= a;
        if ranges.iter().any(|r| !apart(r.inside, r.count, inside) || !apart(r.outside, r.count, outside)) {
            return fail(Errno::EINVAL);
        }
        ranges.push(IdRange { inside, outside, count });
    }
    Ok(ranges)
}

/// The parts of user_namespaces(7) "Defining user and group ID mappings" that uids and gids have in common; the map with the kernel's ids.
fn new_map(
    io: &Io<'_>,
    ns: &Arc<UserNs>,
    data: &[u8],
    cap: Cap,
    from_parent: impl Fn(&UserNs, u32) -> Option<u32>,
    own: u32,
    alone_is_fine: bool,
) -> Op<Vec<IdRange>> {
    let Some(parent) = &ns.parent else { return fail(Errno::EPERM) };
    let writer = &io.cred;
    if writer.user_ns.id != ns.id && writer.user_ns.id != parent.id || !writer.has_in(ns, cap) {
        return fail(Errno::EPERM);
    }
    let mut ranges = parse(data)?;
    let own_only =
        matches!(ranges.as_slice(), [one] if one.count == 1 && from_parent(parent, one.outside) == Some(own));
    if !(writer.has_in(parent, cap) || own_only && alone_is_fine) {
        return fail(Errno::EPERM);
    }
    for range in &mut ranges {
        let first = from_parent(parent, range.outside).ok_or(Errno::EPERM)?;
        let last = from_parent(parent, range.outside + (range.count - 1)).ok_or(Errno::EPERM)?;
        // A range that the parent itself maps in pieces is refused, as it would not be one range of the kernel's ids.
        if last.wrapping_sub(first) != range.count - 1 {
            return fail(Errno::EPERM);
        }
        range.outside = first;
    }
    Ok(ranges)
}

pub fn set_uid_map(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let ns = t.task.cred().user_ns.clone();
    if !ns.maps().uid.is_empty() {
        return fail(Errno::EPERM);
    }
    let own = io.cred.euid;
    let map = new_map(io, &ns, data, Cap::Setuid, |ns, id| ns.uid_from(id), own, ns.owner == own)?;
    ns.set_maps(|maps| maps.uid = map);
    Ok(())
}

pub fn set_gid_map(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let ns = t.task.cred().user_ns.clone();
    let maps = ns.maps();
    if !maps.gid.is_empty() {
        return fail(Errno::EPERM);
    }
    let alone = ns.owner == io.cred.euid && maps.deny_setgroups;
    let map = new_map(io, &ns, data, Cap::Setgid, |ns, id| ns.gid_from(id), io.cred.egid, alone)?;
    ns.set_maps(|maps| maps.gid = map);
    Ok(())
}

pub fn setgroups(_io: &mut Io<'_>, t: &Target) -> Op<Vec<u8>> {
    let deny = t.task.cred().user_ns.maps().deny_setgroups;
    Ok(if deny { b"deny\n".to_vec() } else { b"allow\n".to_vec() })
}

pub fn set_setgroups(io: &mut Io<'_>, t: &Target, data: &[u8]) -> Op<()> {
    let ns = t.task.cred().user_ns.clone();
    if !io.cred.has_in(&ns, Cap::SysAdmin) {
        return fail(Errno::EPERM);
    }
    let maps = ns.maps();
    match data.trim_ascii_end() {
        b"allow" if maps.deny_setgroups => fail(Errno::EPERM),
        b"allow" => Ok(()),
        b"deny" if !maps.gid.is_empty() && !maps.deny_setgroups => fail(Errno::EPERM),
        b"deny" => {
            ns.set_maps(|maps| maps.deny_setgroups = true);
            Ok(())
        }
        _ => fail(Errno::EINVAL),
    }
}
