//! Mount points of a container: made where they are missing (section 9 of the specification, path_resolution(7)).

use super::mounts::{Builder, memory_folder};
use super::process::show;
use crate::machine::{Failure, Kind};
use abi::Errno;
use abi::fs::MAXSYMLINKS;
use kernel::op::{Op, Stop};
use kernel::vfs::{self, FileType, Link, NewKind, Path, WalkFlags};
use std::sync::Arc;

impl Builder<'_> {
    /// The place to mount on; made, with the folders on the way, where it is missing. Symbolic links are followed in the container's root, those that lead
    /// nowhere too.
    pub fn mount_point(&self, at: &str, folder: bool) -> Result<Path, Failure> {
        let failed = |stop: Stop| Failure::new(Kind::Invalid, format!("mount point {at}: {}", show(stop)));
        let place = self.find_or_make(at, folder, MAXSYMLINKS).map_err(failed)?;
        let is_folder = place.inode().map_err(failed)?.kind == FileType::Dir;
        if is_folder != folder {
            let (has, wants) = if folder { ("a file", "a folder") } else { ("a folder", "a file") };
            return Err(Failure::new(
                Kind::Invalid,
                format!("mount point {at} is {has}, but what is mounted is {wants}"),
            ));
        }
        Ok(place)
    }

    fn find_or_make(&self, at: &str, folder: bool, links: u32) -> Op<Path> {
        let base = self.base();
        let parts: Vec<&str> = at.split('/').filter(|p| !p.is_empty()).collect();
        let mut name = String::new();
        let mut place = self.root.clone();
        for (index, part) in parts.iter().enumerate() {
            let above = name.clone();
            name.push('/');
            name.push_str(part);
            let last = index + 1 == parts.len();
            let mut done = 0;
            let mut io = self.io(&mut done);
            match vfs::walk(&mut io, &base, name.as_bytes(), WalkFlags::FOLLOW) {
                Ok(found) => {
                    place = found;
                    continue;
                }
                Err(Stop::Errno(Errno::ENOENT)) => {}
                Err(stop) => return Err(stop),
            }
            // A link to what is not there: that is to be made.
            if let Ok(link) = vfs::walk(&mut io, &base, name.as_bytes(), WalkFlags::empty()) {
                let Link::Target(target) = link.inode()?.ops.read_link(&mut io)? else {
                    return Err(Errno::ENOENT.into());
                };
                let Some(links) = links.checked_sub(1) else { return Err(Errno::ELOOP.into()) };
                let target = String::from_utf8_lossy(&target).into_owned();
                let whole = if target.starts_with('/') { target } else { format!("{above}/{target}") };
                place = self.find_or_make(&resolved(&whole), folder || !last, links)?;
                continue;
            }
            let (kind, perm) = if last && !folder { (NewKind::Regular, 0o644) } else { (NewKind::Dir, 0o755) };
            place = match vfs::namei::create(&mut io, &base, name.as_bytes(), kind, perm) {
                Ok(made) => made,
                // A read-only root: a folder that only this sandbox has stands in.
                Err(Stop::Errno(Errno::EROFS | Errno::EACCES | Errno::EPERM)) => {
                    self.synthetic(&place, part.as_bytes(), last && !folder)?
                }
                Err(stop) => return Err(stop),
            };
        }
        Ok(place)
    }

    /// A name that exists in the sandbox alone.
    fn synthetic(&self, parent: &Path, name: &[u8], file: bool) -> Op<Path> {
        let mut done = 0;
        let mut io = self.io(&mut done);
        let (kind, perm) = if file { (NewKind::Regular, 0o644) } else { (NewKind::Dir, 0o755) };
        let node = vfs::NewNode::plain(kind, perm, 0, 0);
        // In a folder that stands in itself, it is a name like others.
        let above = parent.inode()?;
        let above = if Arc::ptr_eq(&above.fs, &parent.mount.fs) { memory_folder() } else { above };
        let inode = above.ops.dir().ok_or(Errno::ENOTDIR)?.create(&mut io, name, &node)?;
        let dentry = parent.dentry.adopt(name, Some(inode));
        dentry.pin();
        Ok(Path::new(parent.mount.clone(), dentry))
    }
}

/// Without `..`, which ends at the root.
fn resolved(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        if part == ".." {
            parts.pop();
        } else {
            parts.push(part);
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn paths_end_at_the_root() {
        assert_eq!(super::resolved("/a/./b/../../../c"), "/c");
        assert_eq!(super::resolved("/var/run/../../.."), "/");
    }
}
