//! Folders that are given to the kernel process, so that it opens files below them by itself (docs/gofer-protocol.md, `host::beneath`).
//!
//! A donation is the folder's own file system alone. What is mounted below it stays with the gofer: the kernel process is told which folders are
//! covered so. Made before the gofer leaves the host's root. proc_pid_mountinfo(5).

use crate::MountSource;
use abi::Errno;
use fsproto::MAX_COVERED;
use host::{HostFd, beneath, file};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder to give away.
#[derive(Debug)]
pub struct Folder {
    pub root: Arc<HostFd>,
    /// Device and inode number, below `root`, of each folder or file that something is mounted on.
    pub covered: Vec<(u64, u64)>,
    /// This process knows the caller's own user and group alone, as the kernel process does.
    pub same_ids: bool,
}

/// Makes donations, or none.
pub struct Maker {
    /// All mount points of the namespace; `None` where they cannot be learned, or nothing is to be given away.
    points: Option<Vec<PathBuf>>,
    same_ids: bool,
}

impl Maker {
    pub fn new(donate: bool) -> Maker {
        let table = if donate { std::fs::read("/proc/self/mountinfo").ok() } else { None };
        let one = |map| std::fs::read_to_string(map).is_ok_and(|map| is_one_id(&map));
        Maker {
            points: table.and_then(|table| mount_points(&table)),
            same_ids: donate && one("/proc/self/uid_map") && one("/proc/self/gid_map"),
        }
    }

    /// `None`: the kernel process asks the gofer for everything.
    pub fn make(&self, source: &MountSource) -> Option<Folder> {
        let points = self.points.as_ref()?;
        let folder = (|| {
            let root = HostFd::from(beneath::donate(&source.path, source.readonly)?);
            // The path as the table of mounts has it, whatever links the given one went through.
            let real = file::open_path(&source.path)?;
            let real = std::fs::read_link(format!("/proc/self/fd/{}", real.as_raw_fd())).map_err(|_| Errno::ENOENT)?;
            let covered = covered(&root, &real, points)?;
            Ok::<_, Errno>(Folder { root: Arc::new(root), covered, same_ids: self.same_ids })
        })();
        folder.ok()
    }
}

/// What is covered below `real`, whose own file system is open as `root`.
fn covered(root: &HostFd, real: &Path, points: &[PathBuf]) -> Result<Vec<(u64, u64)>, Errno> {
    let mut covered = Vec::new();
    for point in points {
        let Ok(below) = point.strip_prefix(real) else { continue };
        if below.as_os_str().is_empty() {
            continue;
        }
        let stat = match file::stat_child(root, below.as_os_str().as_bytes()) {
            // Below another mount.
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            stat => stat?,
        };
        covered.push((file::makedev(stat.stx_dev_major, stat.stx_dev_minor), stat.stx_ino));
    }
    if covered.len() > MAX_COVERED { Err(Errno::E2BIG) } else { Ok(covered) }
}

/// Whether a map of user_namespaces(7) has id 0 and no other.
fn is_one_id(map: &str) -> bool {
    let fields: Vec<&str> = map.split_whitespace().collect();
    matches!(fields[..], ["0", _, "1"])
}

/// The fifth field of each line.
fn mount_points(table: &[u8]) -> Option<Vec<PathBuf>> {
    let lines = table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| line.split(|byte| *byte == b' ').nth(4).map(unescape)).collect()
}

/// Space, tab, newline and backslash are written as three octal digits.
fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => out.push(*first),
        }
    }
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_with_their_escapes() {
        let table = b"22 1 8:1 / / rw,relatime - ext4 /dev/vda rw\n40 22 0:35 /x /srv/with\\040space\\134 rw shared:1 - tmpfs none rw\n";
        assert_eq!(mount_points(table).unwrap(), [PathBuf::from("/"), PathBuf::from("/srv/with space\\")]);
        assert_eq!(mount_points(b"no such line\n"), None);
    }

    #[test]
    fn a_map_of_one_id_is_told_from_others() {
        assert!(is_one_id("         0       1000          1\n"));
        assert!(!is_one_id("         0          0 4294967295\n"));
        assert!(!is_one_id("         0       1000          1\n         1     100000      65536\n"));
    }
}
