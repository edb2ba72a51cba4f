//! Tests of what lists say, and of hostile bytes in their place.

use super::*;
use crate::cred::{CapSet, IdMaps, IdRange};
use proptest::prelude::*;
use std::sync::Arc;

fn entry(tag: Tag, perm: u32, id: u32) -> Entry {
    Entry { tag, perm, id }
}

/// For the owner, users, the group, groups, and others; with a mask where there is one.
fn list(owner: u32, users: &[(u32, u32)], group: u32, groups: &[(u32, u32)], mask: Option<u32>, other: u32) -> Acl {
    let mut entries = vec![entry(Tag::UserObj, owner, NO_ID)];
    entries.extend(users.iter().map(|(id, perm)| entry(Tag::User, *perm, *id)));
    entries.push(entry(Tag::GroupObj, group, NO_ID));
    entries.extend(groups.iter().map(|(id, perm)| entry(Tag::Group, *perm, *id)));
    entries.extend(mask.map(|perm| entry(Tag::Mask, perm, NO_ID)));
    entries.push(entry(Tag::Other, other, NO_ID));
    Acl(entries)
}

fn user(uid: u32, gid: u32, groups: &[u32]) -> Cred {
    let mut cred = Cred::root(UserNs::initial());
    (cred.fsuid, cred.fsgid, cred.groups) = (uid, gid, groups.into());
    cred.effective = CapSet::EMPTY;
    cred
}

/// A namespace in which these ids are 0, 1, ...
fn namespace(outside: u32, count: u32) -> Arc<UserNs> {
    let ns = UserNs::child(&UserNs::initial(), 0, 0).unwrap();
    let range = vec![IdRange { inside: 0, outside, count }];
    ns.set_maps(|maps| *maps = IdMaps { uid: range.clone(), gid: range, deny_setgroups: false });
    ns
}

#[test]
fn the_form_of_the_attribute() {
    let bytes = [
        [2, 0, 0, 0].as_slice(),
        &[1, 0, 6, 0, 255, 255, 255, 255],
        &[2, 0, 4, 0, 0xe8, 3, 0, 0],
        &[4, 0, 4, 0, 255, 255, 255, 255],
        &[0x10, 0, 4, 0, 255, 255, 255, 255],
        &[0x20, 0, 0, 0, 255, 255, 255, 255],
    ]
    .concat();
    let acl = list(6, &[(1000, 4)], 4, &[], Some(4), 0);
    assert_eq!(Acl::given(&bytes, &UserNs::initial()), Ok(Some(acl.clone())));
    assert_eq!(acl.bytes(), bytes);
    assert_eq!(Acl::given(&[2, 0, 0, 0], &UserNs::initial()), Ok(None));
    assert_eq!(Acl::given(&[], &UserNs::initial()), Err(Errno::EINVAL));
    assert_eq!(Acl::given(&[3, 0, 0, 0], &UserNs::initial()), Err(Errno::EOPNOTSUPP));
    assert_eq!(Acl::given(&bytes[..20 + 3], &UserNs::initial()), Err(Errno::EINVAL));
    assert_eq!(Acl::kept(&[2, 0, 0, 0]), Err(Errno::EIO));
}

#[test]
fn ids_are_those_of_a_user_namespace() {
    let acl = list(7, &[(1000, 4), (2000, 4)], 0, &[(1001, 4), (5, 4)], Some(7), 0);
    let ns = namespace(1000, 10);
    let shown = Acl::kept(&acl.shown(&ns)).unwrap();
    assert_eq!(shown, list(7, &[(0, 4), (NO_ID, 4)], 0, &[(1, 4), (NO_ID, 4)], Some(7), 0));
    assert_eq!(Acl::given(&shown.bytes(), &ns), Err(Errno::EINVAL));
    let given = list(7, &[(9, 4)], 0, &[(0, 4)], Some(7), 0);
    let kept = list(7, &[(1009, 4)], 0, &[(1000, 4)], Some(7), 0);
    assert_eq!(Acl::given(&given.bytes(), &ns), Ok(Some(kept)));
}

#[test]
fn an_entry_of_ones_own_comes_before_groups_and_those_before_others() {
    let acl = list(0, &[(10, 4)], 2, &[(30, 1), (31, 4)], Some(5), 7);
    let may = |cred: &Cred, want| acl.permits(cred, 20, want);
    assert!(may(&user(10, 1, &[]), READ) && !may(&user(10, 20, &[30]), EXEC));
    // The mask takes WRITE from all that are in the list, not from others.
    assert!(!may(&user(11, 20, &[]), WRITE) && may(&user(11, 1, &[]), READ | WRITE | EXEC));
    assert!(may(&user(11, 30, &[31]), READ) && may(&user(11, 30, &[31]), EXEC));
    assert!(!may(&user(11, 30, &[31]), READ | EXEC));
}

fn acls() -> impl Strategy<Value = Acl> {
    let named = || prop::collection::vec((0..6u32, 0..8u32), 0..4);
    (0..8u32, named(), 0..8u32, named(), prop::option::of(0..8u32), 0..8u32).prop_map(
        |(owner, users, group, groups, mask, other)| {
            let mask = if users.is_empty() && groups.is_empty() { mask } else { mask.or(Some(7)) };
            list(owner, &users, group, &groups, mask, other)
        },
    )
}

proptest! {
    /// From guests, from host files, from a gofer, from images.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(prop::num::u8::ANY, 0..100), header in any::<bool>()) {
        let bytes = if header { [&[2, 0, 0, 0], &*bytes].concat() } else { bytes };
        if let Ok(acl) = Acl::kept(&bytes) {
            prop_assert!(acl.check().is_ok() && acl.perm() <= 0o777);
        }
        if let Ok(Some(acl)) = Acl::given(&bytes, &namespace(1000, 10)) {
            prop_assert_eq!(acl.bytes().len(), bytes.len());
        }
    }

    /// Entries of all tags in any order: what is taken is complete.
    #[test]
    fn any_entries_are_checked(entries in prop::collection::vec((prop::sample::select(vec![1u16, 2, 4, 8, 16, 32, 64]), 0..9u16, 0..3u32), 0..8)) {
        let mut bytes = vec![2, 0, 0, 0];
        for (tag, perm, id) in &entries {
            bytes.extend([tag.to_le_bytes(), perm.to_le_bytes()].concat());
            bytes.extend(id.to_le_bytes());
        }
        let count = |tag: u16| entries.iter().filter(|entry| entry.0 == tag).count();
        let sorted = entries.is_sorted_by_key(|entry| entry.0);
        let valid = sorted && count(1) == 1 && count(4) == 1 && count(32) == 1 && count(64) == 0 && count(16) <= 1
            && (count(16) == 1 || count(2) + count(8) == 0) && entries.iter().all(|entry| entry.1 < 8);
        prop_assert_eq!(Acl::kept(&bytes).is_ok(), valid);
    }

    #[test]
    fn what_is_written_is_read(acl in acls()) {
        prop_assert_eq!(acl.check(), Ok(()));
        prop_assert_eq!(Acl::kept(&acl.bytes()), Ok(acl.clone()));
        let all = namespace(0, 100);
        prop_assert_eq!(Acl::given(&acl.shown(&all), &all), Ok(Some(acl)));
    }

    #[test]
    fn permissions_and_list_agree(acl in acls(), perm in 0..0o10000u32) {
        let mut changed = acl.clone();
        changed.set_perm(perm);
        prop_assert_eq!(changed.perm(), perm & 0o777);
        prop_assert_eq!(changed.0.len(), acl.0.len());
        let mut new = acl.clone();
        let got = new.inherit(perm);
        prop_assert_eq!(got, perm & (acl.perm() | 0o7000));
        prop_assert_eq!(new.perm(), got & 0o777);
        // A host that is asked for a file with these permissions gives it the same list.
        let mut again = acl.clone();
        prop_assert_eq!((again.inherit(got), again), (got, new));
        prop_assert!(Acl::minimal(perm).is_minimal() && Acl::minimal(perm).perm() == perm & 0o777);
    }

    /// A list without named entries and mask is what the mode says.
    #[test]
    fn minimal_lists_permit_what_modes_do(perm in 0..0o1000u32, uid in 1..4u32, gid in 1..4u32, want in 0..8u32) {
        let attr = super::super::Attr::plain(super::super::FileType::Regular, 0, 1, perm);
        let cred = user(uid, gid, &[]);
        prop_assert_eq!(Acl::minimal(perm).permits(&cred, 1, want), super::super::access::may(&cred, &attr, want).is_ok());
    }
}
