//! What each end checks of what the other has sent: lengths, names, numbers. What passes holds to `bounds`.
//!
//! Both ends may be in the hands of somebody else: the kernel process in a guest's, the gofer in those of whoever wrote a file system of the host.

use crate::bounds::*;
use crate::message::{Done, Request};
use crate::types::*;
use abi::Errno;

impl Request {
    /// Checks every length, name and id.
    pub fn check(&self) -> Result<(), Errno> {
        match self {
            Request::Walk { path, .. } | Request::List { path, .. } => check_path(path),
            Request::Open { path, how, .. } => {
                check_path(path)?;
                let nameless = path.is_empty() && how.create.is_some_and(|create| !create.anonymous);
                let ids = how.create.is_none_or(|create| are_ids(create.uid, create.gid));
                let valid = how.inline <= MAX_INLINE && (how.read || how.write) && !nameless && ids;
                if valid { Ok(()) } else { Err(Errno::EINVAL) }
            }
            Request::Change(changes) if changes.len() > MAX_CHANGES => Err(Errno::EPROTO),
            Request::Change(changes) => changes.iter().try_for_each(check_change),
            Request::GetXattr { name, .. } => check_xattr_name(name),
            Request::Bind { name, uid, gid, .. } => {
                check_ids(*uid, *gid)?;
                check_name(name)
            }
            Request::Connect { .. }
            | Request::Hello { .. }
            | Request::Channel
            | Request::Forget
            | Request::Attr { .. }
            | Request::ReadLink { .. } => Ok(()),
            Request::ListXattr { .. }
            | Request::Statfs { .. }
            | Request::Sync { .. }
            | Request::Donate { .. }
            | Request::Scratch { .. } => Ok(()),
        }
    }
}

impl Done {
    /// Checks what an answer says by itself, whatever was asked. EIO: the gofer is not what it was.
    pub fn check(&self) -> Result<(), Errno> {
        let changed = |c: &Changed| [c.attr, c.dir, c.new_dir].iter().flatten().all(is_attr);
        let valid = match self {
            Done::Hello { mounts, .. } => mounts.iter().all(|mount| is_attr(&mount.attr)),
            Done::Walked(walked) => walked.steps.iter().all(|(_, attr)| is_attr(attr)),
            Done::Opened { attr, dir, contents, .. } => {
                let fits = contents.as_ref().is_none_or(|bytes| bytes.len() <= MAX_INLINE as usize);
                is_attr(attr) && dir.iter().all(is_attr) && fits
            }
            Done::Listing(listing) => {
                let entry = |e: &Entry| is_name(&e.name) && e.attr.iter().all(is_attr);
                (listing.complete || !listing.entries.is_empty()) && listing.entries.iter().all(entry)
            }
            Done::Changed(results) => results.iter().flatten().all(changed),
            Done::Attr(attr) => is_attr(attr),
            Done::Donated { covered, .. } => covered.len() <= MAX_COVERED,
            Done::Nothing | Done::Bytes(_) | Done::Statfs(_) => true,
        };
        if valid { Ok(()) } else { Err(Errno::EIO) }
    }
}

/// A symbolic link's target: not empty, no NUL, at most `MAX_TARGET` bytes.
pub(crate) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && target.len() <= MAX_TARGET && !target.contains(&0)
}

fn is_attr(attr: &Attr) -> bool {
    let times = [Some(attr.atime), Some(attr.mtime), Some(attr.ctime), attr.btime];
    attr.size <= i64::MAX as u64 && times.iter().flatten().all(Time::is_valid)
}

/// chown(2) takes the highest number for "as it is".
fn are_ids(uid: u32, gid: u32) -> bool {
    uid != u32::MAX && gid != u32::MAX
}

fn check_ids(uid: u32, gid: u32) -> Result<(), Errno> {
    if are_ids(uid, gid) { Ok(()) } else { Err(Errno::EINVAL) }
}

fn check_path(path: &[Bytes]) -> Result<(), Errno> {
    if path.len() > MAX_PATH {
        return Err(Errno::EPROTO);
    }
    path.iter().try_for_each(check_name)
}

fn check_name(name: &Bytes) -> Result<(), Errno> {
    if is_name(name) {
        Ok(())
    } else if name.len() > MAX_NAME {
        Err(Errno::ENAMETOOLONG)
    } else {
        Err(Errno::EINVAL)
    }
}

fn check_xattr_name(name: &Bytes) -> Result<(), Errno> {
    let valid = !name.is_empty() && name.len() <= MAX_XATTR_NAME && !name.contains(&0);
    if valid { Ok(()) } else { Err(Errno::ERANGE) }
}

fn check_change(change: &Change) -> Result<(), Errno> {
    match change {
        Change::Mkdir { name, uid, gid, .. } | Change::Mknod { name, uid, gid, .. } => {
            check_ids(*uid, *gid)?;
            check_name(name)
        }
        Change::Link { name, .. } | Change::Unlink { name, .. } | Change::Rmdir { name, .. } => check_name(name),
        Change::Symlink { name, target, uid, gid, .. } => {
            check_ids(*uid, *gid)?;
            check_name(name)?;
            if is_target(target) { Ok(()) } else { Err(Errno::ENAMETOOLONG) }
        }
        Change::Rename { name, new_name, .. } => {
            check_name(name)?;
            check_name(new_name)
        }
        Change::SetAttr { set, .. } => {
            let times = [set.atime, set.mtime];
            let times = times.iter().flatten().all(|t| !matches!(t, SetTime::At(t) if !t.is_valid()));
            if times && are_ids(set.uid.unwrap_or(0), set.gid.unwrap_or(0)) { Ok(()) } else { Err(Errno::EINVAL) }
        }
        Change::SetXattr { name, value, .. } => {
            check_xattr_name(name)?;
            if value.len() <= MAX_XATTR_VALUE { Ok(()) } else { Err(Errno::E2BIG) }
        }
        Change::RemoveXattr { name, .. } => check_xattr_name(name),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
            let request = Request::Walk { from: Handle(1), path: vec![name.into()] };
            assert!(request.check().is_err(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn no_file_belongs_to_the_highest_number() {
        let name = || Bytes::from(&b"x"[..]);
        for (uid, gid) in [(u32::MAX, 0), (0, u32::MAX)] {
            let set = SetAttr { uid: Some(uid), gid: Some(gid), ..SetAttr::default() };
            for change in [
                Change::Mkdir { dir: Handle(1), name: name(), mode: 0, uid, gid },
                Change::SetAttr { node: Handle(1), set },
                Change::Symlink { dir: Handle(1), name: name(), target: name(), uid, gid },
            ] {
                assert_eq!(Request::Change(vec![change]).check(), Err(Errno::EINVAL));
            }
            let create = Create { exclusive: true, anonymous: false, mode: 0, uid, gid };
            let how = OpenHow { read: true, create: Some(create), ..OpenHow::default() };
            assert_eq!(Request::Open { from: Handle(1), path: vec![name()], how }.check(), Err(Errno::EINVAL));
        }
    }

    #[test]
    fn answers_that_no_file_system_gives_are_refused() {
        let late = Attr { mtime: Time { sec: 0, nsec: 1_000_000_000 }, ..Attr::default() };
        let large = Attr { size: 1 << 63, ..Attr::default() };
        for attr in [late, large] {
            assert_eq!(Done::Attr(attr).check(), Err(Errno::EIO));
            let entry = Entry { name: b"x"[..].into(), ino: 1, kind: 0, attr: Some(attr), next: 1 };
            let listing = Listing { entries: vec![entry], complete: true, cursor: 1 };
            assert_eq!(Done::Listing(listing).check(), Err(Errno::EIO));
        }
        assert_eq!(Done::Listing(Listing::default()).check(), Err(Errno::EIO));
        assert_eq!(Done::Attr(Attr::default()).check(), Ok(()));
    }
}
