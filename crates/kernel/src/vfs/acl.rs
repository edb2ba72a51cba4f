//! Access control lists: what one says, and the form that it has as an extended attribute. acl(5), xattr(7).
//!
//! Knows neither inodes nor calls. Neighbours: `access`, which asks a list, and `acl_of`, which finds, sets and hands them down. No locks.

use super::access::{EXEC, READ, WRITE};
use crate::cred::{Cred, UserNs};
use abi::Errno;

/// A file has one list that says who may use it; a folder may have another, which new files in it begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    Access = 0,
    Default = 1,
}

impl AclKind {
    pub const ALL: [AclKind; 2] = [AclKind::Access, AclKind::Default];

    /// The extended attribute that it is.
    pub fn name(self) -> &'static [u8] {
        match self {
            AclKind::Access => b"system.posix_acl_access",
            AclKind::Default => b"system.posix_acl_default",
        }
    }

    /// The one that belongs to this kind.
    pub fn of<T>(self, [access, default]: [T; 2]) -> T {
        match self {
            AclKind::Access => access,
            AclKind::Default => default,
        }
    }

    /// Of the extended attribute of this name.
    pub fn named(name: &[u8]) -> Option<AclKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The permissions that go with a list: `bits` in place of those that there are in `of`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AclPerm {
    pub bits: u32,
    pub of: u32,
}

impl AclPerm {
    pub fn applied(self, perm: u32) -> u32 {
        perm & !self.of | self.bits
    }
}

/// Whom an entry is about, with the tags of the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
enum Tag {
    /// The file's owner.
    UserObj = 0x01,
    User = 0x02,
    /// The file's group.
    GroupObj = 0x04,
    Group = 0x08,
    /// What all but the owner and others get at the most.
    Mask = 0x10,
    Other = 0x20,
}

impl Tag {
    fn new(tag: u16) -> Option<Tag> {
        let all = [Tag::UserObj, Tag::User, Tag::GroupObj, Tag::Group, Tag::Mask, Tag::Other];
        all.into_iter().find(|known| *known as u16 == tag)
    }

    fn is_named(self) -> bool {
        matches!(self, Tag::User | Tag::Group)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    tag: Tag,
    /// READ, WRITE, EXEC.
    perm: u32,
    /// Of a named user or group; else `NO_ID`.
    id: u32,
}

/// The first word of the attribute.
const VERSION: u32 = 2;
const HEADER: usize = 4;
const ENTRY: usize = 8;
/// Where an entry names nobody, or one who has no name in the reader's user namespace.
const NO_ID: u32 = u32::MAX;
const ALL: u32 = READ | WRITE | EXEC;

/// A list whose entries are complete and in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl(Vec<Entry>);

impl Acl {
    /// Reads what a guest sets: None for no entries. Ids are `ns`'. EOPNOTSUPP for another version, EINVAL for what is no attribute of this form or names
    /// who has no id; whether it makes sense says `check`.
    pub fn given(bytes: &[u8], ns: &UserNs) -> Result<Option<Acl>, Errno> {
        let mut acl = Acl::parse(bytes)?;
        for entry in &mut acl.0 {
            let id = match entry.tag {
                Tag::User => ns.uid_from(entry.id),
                Tag::Group => ns.gid_from(entry.id),
                _ => Some(NO_ID),
            };
            entry.id = id.ok_or(Errno::EINVAL)?;
        }
        Ok(Some(acl).filter(|acl| !acl.0.is_empty()))
    }

    /// Reads what a file system keeps. EIO for what makes no sense.
    pub fn kept(bytes: &[u8]) -> Result<Acl, Errno> {
        let acl = Acl::parse(bytes).map_err(|_| Errno::EIO)?;
        acl.check().map_err(|_| Errno::EIO)?;
        Ok(acl)
    }

    fn parse(bytes: &[u8]) -> Result<Acl, Errno> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(Errno::EINVAL)?;
        if u32::from_le_bytes(*header) != VERSION {
            return Err(Errno::EOPNOTSUPP);
        }
        let (entries, rest) = rest.as_chunks::<ENTRY>();
        if !rest.is_empty() {
            return Err(Errno::EINVAL);
        }
        let entry = |&[t0, t1, p0, p1, i0, i1, i2, i3]: &[u8; ENTRY]| {
            let tag = Tag::new(u16::from_le_bytes([t0, t1])).ok_or(Errno::EINVAL)?;
            let id = if tag.is_named() { u32::from_le_bytes([i0, i1, i2, i3]) } else { NO_ID };
            Ok(Entry { tag, perm: u16::from_le_bytes([p0, p1]).into(), id })
        };
        entries.iter().map(entry).collect::<Result<_, _>>().map(Acl)
    }

    /// EINVAL unless there is an entry for the owner, the group and others each, all in order, and a mask where somebody is named. Nobody minds if one
    /// is named twice: the first entry counts.
    pub fn check(&self) -> Result<(), Errno> {
        let mut rest = &*self.0;
        let mut some = |tag: Tag| {
            let count = rest.iter().take_while(|entry| entry.tag == tag).count();
            rest = rest.get(count..).unwrap_or_default();
            count
        };
        let (owner, users, group, groups) =
            (some(Tag::UserObj), some(Tag::User), some(Tag::GroupObj), some(Tag::Group));
        let (mask, other) = (some(Tag::Mask), some(Tag::Other));
        let complete = owner == 1 && group == 1 && other == 1 && (mask == 1 || mask == 0 && users + groups == 0);
        let right = complete && rest.is_empty() && self.0.iter().all(|entry| entry.perm & !ALL == 0);
        if right { Ok(()) } else { Err(Errno::EINVAL) }
    }

    /// As a file system keeps it.
    pub fn bytes(&self) -> Vec<u8> {
        self.written(|_, id| id)
    }

    /// As who reads it in `ns` sees it.
    pub fn shown(&self, ns: &UserNs) -> Vec<u8> {
        self.written(|tag, id| match tag {
            Tag::User if ns.maps_uid(id) => ns.uid_to(id),
            Tag::Group if ns.maps_gid(id) => ns.gid_to(id),
            _ => NO_ID,
        })
    }

    fn written(&self, id: impl Fn(Tag, u32) -> u32) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.0.len() * ENTRY);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for entry in &self.0 {
            bytes.extend_from_slice(&(entry.tag as u16).to_le_bytes());
            bytes.extend_from_slice(&(entry.perm as u16).to_le_bytes());
            let id = if entry.tag.is_named() { id(entry.tag, entry.id) } else { NO_ID };
            bytes.extend_from_slice(&id.to_le_bytes());
        }
        bytes
    }

    /// A list that says what these permissions say.
    pub fn minimal(perm: u32) -> Acl {
        let entry = |tag, shift: u32| Entry { tag, perm: perm >> shift & ALL, id: NO_ID };
        Acl(vec![entry(Tag::UserObj, 6), entry(Tag::GroupObj, 3), entry(Tag::Other, 0)])
    }

    /// Whether the permissions say it all.
    pub fn is_minimal(&self) -> bool {
        self.0.len() == 3
    }

    /// The permission bits that go with it (0o777): those of the group are the mask's, where there is one.
    pub fn perm(&self) -> u32 {
        let of = |tag| self.0.iter().find(|entry| entry.tag == tag).map(|entry| entry.perm);
        let group = of(Tag::Mask).or_else(|| of(Tag::GroupObj));
        of(Tag::UserObj).unwrap_or(0) << 6 | group.unwrap_or(0) << 3 | of(Tag::Other).unwrap_or(0)
    }

    /// The entries whose permissions are a mode's: the owner's, the mask or else the group's, and others', with the place of their bits there.
    fn classes(&mut self) -> impl Iterator<Item = (&mut Entry, u32)> {
        let masked = self.0.iter().any(|entry| entry.tag == Tag::Mask);
        self.0.iter_mut().filter_map(move |entry| match entry.tag {
            Tag::UserObj => Some((entry, 6)),
            Tag::Mask => Some((entry, 3)),
            Tag::GroupObj if !masked => Some((entry, 3)),
            Tag::Other => Some((entry, 0)),
            _ => None,
        })
    }

    /// chmod(2).
    pub fn set_perm(&mut self, perm: u32) {
        for (entry, shift) in self.classes() {
            entry.perm = perm >> shift & ALL;
        }
    }

    /// Makes of a folder's default list that of a new file in it, which was asked for with these permissions; those that it gets.
    pub fn inherit(&mut self, perm: u32) -> u32 {
        for (entry, shift) in self.classes() {
            entry.perm &= perm >> shift & ALL;
        }
        perm & !0o777 | self.perm()
    }

    /// Whether who is not the file's owner may `want` (READ, WRITE, EXEC); `gid` is the file's group.
    pub fn permits(&self, cred: &Cred, gid: u32, want: u32) -> bool {
        let mut in_a_group = false;
        for entry in &self.0 {
            let gives = want & !entry.perm == 0;
            match entry.tag {
                Tag::User if entry.id == cred.fsuid => return gives && want & !self.mask() == 0,
                Tag::GroupObj if cred.in_group(gid) => in_a_group = true,
                Tag::Group if cred.in_group(entry.id) => in_a_group = true,
                Tag::Other => return !in_a_group && gives,
                _ => continue,
            }
            if gives {
                return want & !self.mask() == 0;
            }
        }
        false
    }

    fn mask(&self) -> u32 {
        self.0.iter().find(|entry| entry.tag == Tag::Mask).map_or(ALL, |entry| entry.perm)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests;
