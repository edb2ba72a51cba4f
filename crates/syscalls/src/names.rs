//! What the file calls have in common: where paths begin, which flags mean what, ids as the caller's user namespace shows them.

use abi::Errno;
use abi::fs::{AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW};
use kernel::cred::Cred;
use kernel::op::{Op, fail};
use kernel::vfs::{Base, File, Path, WalkFlags, anon_path, walk};
use kernel::{Call, Io};
use std::sync::Arc;
use zerocopy::{FromBytes, IntoBytes};

/// AT_FDCWD as a register has it.
pub const CWD: u64 = AT_FDCWD as i64 as u64;

/// Where `path` begins for an *at call: an absolute one doesn't look at `dirfd`.
pub fn base(call: &Call<'_>, dirfd: u64, path: &[u8]) -> Op<Base> {
    let fs = call.task.fs();
    if dirfd as i32 == AT_FDCWD || path.first() == Some(&b'/') {
        return Ok(fs.base());
    }
    let file = call.any_file(dirfd)?;
    Ok(Base::new(fs.root(), place(&file).ok_or(Errno::ENOTDIR)?))
}

/// The place of an open file; pipes and sockets have a hidden one, other anonymous files none.
pub fn place(file: &Arc<File>) -> Option<Path> {
    file.path.clone().or_else(|| anon_path(file.inode.as_ref()?))
}

/// The place that an *at call names. `at_flags`: AT_EMPTY_PATH, and AT_SYMLINK_NOFOLLOW for calls that follow otherwise.
pub fn find(call: &mut Call<'_>, dirfd: u64, path: u64, at_flags: u32) -> Op<Path> {
    let name = path_or_empty(call, path, at_flags)?;
    find_named(call, dirfd, &name, at_flags)
}

/// As `find`, for a path that was read already.
pub fn find_named(call: &mut Call<'_>, dirfd: u64, name: &[u8], at_flags: u32) -> Op<Path> {
    let base = base(call, dirfd, name)?;
    let mut flags = WalkFlags::empty();
    flags.set(WalkFlags::FOLLOW, at_flags & AT_SYMLINK_NOFOLLOW == 0);
    flags.set(WalkFlags::EMPTY, at_flags & AT_EMPTY_PATH != 0);
    walk(&mut call.io(), &base, name, flags)
}

/// A path argument that must not be empty: ENOENT, whatever the folder's descriptor is.
pub fn named(call: &Call<'_>, path: u64) -> Op<Box<[u8]>> {
    let name = call.path(path)?;
    if name.is_empty() { fail(Errno::ENOENT) } else { Ok(name) }
}

/// A path argument; a null pointer is an empty path where AT_EMPTY_PATH allows that (Linux 6.11).
pub fn path_or_empty(call: &Call<'_>, path: u64, at_flags: u32) -> Op<Box<[u8]>> {
    match at_flags & AT_EMPTY_PATH {
        0 => named(call, path),
        _ if path == 0 => Ok(Box::default()),
        _ => call.path(path),
    }
}

/// A struct that grows with Linux' versions, of which the caller has `size` bytes. Fewer than `least` is EINVAL; what it has less of than we
/// is zero; what it has more must be: E2BIG else.
pub fn extensible<T: FromBytes + IntoBytes>(call: &Call<'_>, at: u64, size: u64, least: usize) -> Op<T> {
    const PAGE: usize = 4096;
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if size < least {
        return fail(Errno::EINVAL);
    }
    if size > PAGE {
        return fail(Errno::E2BIG);
    }
    let bytes: Vec<u8> = call.get_vec(at, size)?;
    let (ours, rest) = bytes.split_at(size.min(size_of::<T>()));
    if rest.iter().any(|byte| *byte != 0) {
        return fail(Errno::E2BIG);
    }
    let mut value = T::new_zeroed();
    if let Some(to) = value.as_mut_bytes().get_mut(..ours.len()) {
        to.copy_from_slice(ours);
    }
    Ok(value)
}

/// EINVAL for flags other than `known`.
pub fn only(flags: u32, known: u32) -> Op<()> {
    if flags & !known == 0 { Ok(()) } else { fail(Errno::EINVAL) }
}

/// A uid as the caller sees it.
pub fn uid_to(cred: &Cred, uid: u32) -> u32 {
    if cred.user_ns.parent.is_none() { uid } else { cred.user_ns.uid_to(uid) }
}

/// A gid as the caller sees it.
pub fn gid_to(cred: &Cred, gid: u32) -> u32 {
    if cred.user_ns.parent.is_none() { gid } else { cred.user_ns.gid_to(gid) }
}

/// What a read or write call answers: the bytes of this run after those of earlier ones. An error after progress is for the next call.
pub fn moved(io: &Io<'_>, result: Op<usize>) -> Op<u64> {
    match result {
        Ok(count) => Ok(*io.done + count as u64),
        Err(kernel::Stop::Block) => Err(kernel::Stop::Block),
        Err(_) if *io.done > 0 => Ok(*io.done),
        Err(stop) => Err(stop),
    }
}
