//! A folder that one process donates to another, and what the other does below it by itself: open_tree(2), mount_setattr(2), openat2(2).
//!
//! The bound is in the descriptor: it is a detached mount of the folder's own file system alone, so that ".." ends at its root, what is mounted below it is
//! not there, device nodes cannot be opened and, where asked for, nothing can be changed. `openat2`'s flags are the second defence: a seccomp filter
//! cannot check them. Neighbours: `file`, `lockdown`. Owns no locks.

use crate::errno;
use crate::fd::HostFd;
use crate::file::detach_folder;
use abi::Errno;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// The donation: a detached mount of one folder, without what is mounted below it, with nodev and nosuid, and read-only where asked for. Needs
/// CAP_SYS_ADMIN over the mount namespace, and Linux 5.12 (ENOSYS).
pub fn donate(path: &Path, readonly: bool) -> Result<OwnedFd, Errno> {
    let tree = detach_folder(path)?;
    let mut set = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;
    if readonly {
        set |= libc::MOUNT_ATTR_RDONLY;
    }
    let attr = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a static empty string, `attr` lives over the call and its size is passed with it; the call writes no memory of ours.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    };
    crate::check(result)?;
    Ok(tree)
}

/// Opens a path of names below a donated folder. No symbolic link is followed, nor a mount crossed. `flags` are O_* (O_CLOEXEC, O_NOCTTY and
/// O_NONBLOCK are added); with O_PATH a symbolic link itself is opened. `cached`: EAGAIN instead of sleeping for the disk.
pub fn open(root: &HostFd, path: &[u8], flags: i32, cached: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::from_bits_retain(flags as u32) | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    if !flags.contains(OFlags::PATH) {
        flags |= OFlags::NOCTTY | OFlags::NONBLOCK;
    }
    let mut resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    if cached {
        resolve |= ResolveFlags::CACHED;
    }
    rustix::io::retry_on_intr(|| rustix::fs::openat2(root, path, flags, Mode::empty(), resolve)).map_err(errno)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use rustix::fs::{AtFlags, CWD, openat};
    use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount};

    /// A folder with a mount below it, as seen from a mount namespace of the test's own.
    fn in_a_namespace(test: impl FnOnce(&Path) + Send + 'static) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let at = std::env::temp_dir().join(format!(
            "stockade-beneath-{}-{:?}",
            std::process::id(),
            std::thread::current().id()
        ));
        std::fs::create_dir_all(at.join("served/mounted")).unwrap();
        std::fs::write(at.join("secret"), "secret").unwrap();
        std::fs::write(at.join("served/file"), "text").unwrap();
        let folder = at.clone();
        let thread = std::thread::spawn(move || {
            // SAFETY: a thread of its own leaves the others' mount namespace and file system context; it borrows no descriptors.
            unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS).unwrap() };
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let below = folder.join("served/mounted");
            mount("tmpfs", &below, "tmpfs", MountFlags::empty(), None).unwrap();
            std::fs::write(below.join("inner"), "x").unwrap();
            rustix::fs::mknodat(
                CWD,
                folder.join("served/null"),
                rustix::fs::FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                rustix::fs::makedev(1, 3),
            )
            .unwrap();
            test(&folder);
            unmount(&below, UnmountFlags::DETACH).unwrap();
        });
        let result = thread.join();
        std::fs::remove_dir_all(&at).unwrap();
        result.unwrap();
    }

    #[test]
    fn a_donated_folder_ends_at_its_root_whatever_the_flags() {
        in_a_namespace(|at| {
            let root = HostFd::new(donate(&at.join("served"), false).unwrap());
            let plain = |path: &str| openat(&root, path, OFlags::RDONLY, Mode::empty());
            assert!(plain("file").is_ok());
            // openat(2) without any flags of openat2: the mount is the bound.
            for path in ["../secret", "../../../etc/passwd", "mounted/../../secret", "./../served/file"] {
                assert_eq!(plain(path).unwrap_err(), rustix::io::Errno::NOENT, "{path}");
            }
            let inode = |path: &str| {
                let stat = rustix::fs::statat(&root, path, AtFlags::empty()).unwrap();
                (stat.st_dev, stat.st_ino)
            };
            assert_eq!(inode(".."), inode("."));
            assert_eq!(inode("../.."), inode("."));
            // What is mounted below is not there, and devices cannot be opened.
            assert_eq!(plain("mounted/inner").unwrap_err(), rustix::io::Errno::NOENT);
            assert_eq!(plain("null").unwrap_err(), rustix::io::Errno::ACCESS);
            // Nor by a folder below that has its own descriptor and is moved out of the tree.
            std::fs::create_dir(at.join("served/moves")).unwrap();
            let moved = plain("moves").unwrap();
            std::fs::rename(at.join("served/moves"), at.join("moves")).unwrap();
            assert!(openat(&moved, "../secret", OFlags::RDONLY, Mode::empty()).is_err());
        });
    }

    #[test]
    fn a_read_only_donation_takes_no_change() {
        in_a_namespace(|at| {
            let root = HostFd::new(donate(&at.join("served"), true).unwrap());
            assert_eq!(open(&root, b"file", libc::O_RDWR, false).unwrap_err(), Errno::EROFS);
            let made = openat(&root, "new", OFlags::CREATE | OFlags::WRONLY, Mode::from_raw_mode(0o600));
            assert_eq!(made.unwrap_err(), rustix::io::Errno::ROFS);
            assert!(open(&root, b"file", libc::O_RDONLY, false).is_ok());
        });
    }

    #[test]
    fn links_and_parents_are_refused() {
        in_a_namespace(|at| {
            std::os::unix::fs::symlink("file", at.join("served/link")).unwrap();
            std::os::unix::fs::symlink(".", at.join("served/here")).unwrap();
            let root = HostFd::new(donate(&at.join("served"), false).unwrap());
            assert_eq!(open(&root, b"link", libc::O_RDONLY, false).unwrap_err(), Errno::ELOOP);
            assert_eq!(open(&root, b"here/file", libc::O_RDONLY, false).unwrap_err(), Errno::ELOOP);
            assert_eq!(open(&root, b"../secret", libc::O_RDONLY, false).unwrap_err(), Errno::EXDEV);
            assert_eq!(open(&root, b"/etc/passwd", libc::O_RDONLY, false).unwrap_err(), Errno::EXDEV);
            assert!(open(&root, b"link", libc::O_PATH, false).is_ok());
        });
    }
}
