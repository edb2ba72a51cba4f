//! overlay as mount(2) knows it: `lowerdir=`, `upperdir=`, `workdir=`.
//!
//! The work folder must be there, as Linux wants it, but is not used: a copy is made without a name (`copy_up`). It gets the empty folder that Linux makes in it,
//! since engines look for that.

use super::{Overlay, Ways};
use abi::Errno;
use kernel::Kernel;
use kernel::io::Io;
use kernel::op::{Op, Stop, fail};
use kernel::task::Task;
use kernel::vfs::{self, Base, FileType, FsType, Inode, MountArgs, NewKind, WalkFlags};
use std::sync::Arc;

static TYPE: FsType = FsType { name: "overlay", user_mountable: true, nodev: true, option: check_option, mount };

/// Makes the overlay known by its name.
pub fn register(kernel: &Arc<Kernel>) {
    kernel.register_fs(&TYPE);
}

#[derive(Default)]
struct Options {
    lower: Vec<Vec<u8>>,
    upper: Option<Vec<u8>>,
    work: Option<Vec<u8>>,
    ways: Ways,
}

impl Default for Ways {
    fn default() -> Ways {
        Ways { private: false, redirect: false, follow: true, user_marks: false }
    }
}

fn mount(io: &mut Io<'_>, args: &MountArgs<'_>) -> Op<Arc<Inode>> {
    let options = Options::parsed(args.data)?;
    let Some(task) = Task::of(io) else { return fail(Errno::EINVAL) };
    let base = task.fs().base();
    let mut lowers = Vec::with_capacity(options.lower.len());
    for path in &options.lower {
        lowers.push(folder_at(io, &base, path)?);
    }
    let upper = match (&options.upper, &options.work) {
        (None, _) if lowers.len() < 2 => return fail(Errno::EINVAL),
        (None, _) => None,
        (Some(_), None) => return fail(Errno::EINVAL),
        (Some(upper), Some(path)) => {
            let (upper, work) = (folder_at(io, &base, upper)?, folder_at(io, &base, path)?);
            if !Arc::ptr_eq(&upper.fs, &work.fs) || Arc::ptr_eq(&upper, &work) {
                return fail(Errno::EINVAL);
            }
            let made = vfs::namei::create(io, &base, &[path.as_slice(), b"/work"].concat(), NewKind::Dir, 0);
            // One that is there already does, and none is needed.
            if let Err(Stop::Block) = made {
                return Err(Stop::Block);
            }
            Some(upper)
        }
    };
    Overlay::root(lowers, upper, String::from_utf8_lossy(args.data).into_owned(), options.ways)
}

/// A folder that an option names, as the mounting task sees it.
fn folder_at(io: &mut Io<'_>, base: &Base, path: &[u8]) -> Op<Arc<Inode>> {
    let inode = vfs::walk(io, base, path, WalkFlags::FOLLOW | WalkFlags::DIRECTORY)?.inode()?;
    if inode.kind == FileType::Dir { Ok(inode) } else { fail(Errno::ENOTDIR) }
}

impl Options {
    fn parsed(data: &[u8]) -> Op<Options> {
        let mut options = Options::default();
        for option in split(data, b',') {
            if !option.is_empty() {
                options.take(&option)?;
            }
        }
        if options.ways.user_marks && options.ways.redirect {
            // Anybody could send the overlay to any folder of the lower layers.
            return fail(Errno::EINVAL);
        }
        options.ways.follow &= !options.ways.user_marks;
        if options.lower.is_empty() || options.lower.iter().any(Vec::is_empty) {
            return fail(Errno::EINVAL);
        }
        Ok(options)
    }

    fn take(&mut self, option: &[u8]) -> Op<()> {
        let (key, value) = match option.iter().position(|byte| *byte == b'=') {
            Some(at) => (option.get(..at).unwrap_or_default(), option.get(at + 1..).unwrap_or_default()),
            None => (option, &b""[..]),
        };
        match (key, value) {
            (b"lowerdir", paths) => self.lower = split(paths, b':').iter().map(|path| unescaped(path)).collect(),
            // One layer more, below those that were named before.
            (b"lowerdir+", path) => self.lower.push(unescaped(path)),
            (b"upperdir", path) => self.upper = Some(unescaped(path)),
            (b"workdir", path) => self.work = Some(unescaped(path)),
            // What this overlay does in any case, or never does.
            (b"index" | b"metacopy" | b"nfs_export", b"off") => {}
            (b"xino", b"off" | b"auto") | (b"volatile", b"") | (b"uuid", b"auto" | b"null" | b"off") => {}
            (b"redirect_dir", b"on") => (self.ways.redirect, self.ways.follow) = (true, true),
            (b"redirect_dir", b"off" | b"follow") => (self.ways.redirect, self.ways.follow) = (false, true),
            (b"redirect_dir", b"nofollow") => (self.ways.redirect, self.ways.follow) = (false, false),
            (b"userxattr", b"") => self.ways.user_marks = true,
            _ => return fail(Errno::EINVAL),
        }
        Ok(())
    }
}

fn check_option(option: &[u8]) -> Op<()> {
    Options::default().take(option)
}

/// Parts between separators, of which a backslash takes the meaning; empty input has no parts.
fn split(data: &[u8], separator: u8) -> Vec<Vec<u8>> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let mut part = Vec::new();
    let mut bytes = data.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                part.push(byte);
                part.extend(bytes.next());
            }
            _ if byte == separator => parts.push(std::mem::take(&mut part)),
            _ => part.push(byte),
        }
    }
    if !data.is_empty() {
        parts.push(part);
    }
    parts
}

fn unescaped(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut bytes = path.iter().copied();
    while let Some(byte) = bytes.next() {
        out.extend(if byte == b'\\' { bytes.next() } else { Some(byte) });
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::hostile::option_strings;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in option_strings(&[
            "lowerdir=/a:/b", "lowerdir=/a\\:b", "lowerdir=", "lowerdir=::", "lowerdir+=/c", "upperdir=/u", "workdir=/w", "xino=auto",
            "redirect_dir=on", "redirect_dir=nofollow", "userxattr", "index=off", "volatile",
        ])) {
            if let Ok(options) = Options::parsed(&text) {
                prop_assert!(!options.lower.is_empty() && !options.lower.iter().any(Vec::is_empty));
                prop_assert!(!(options.ways.user_marks && (options.ways.redirect || options.ways.follow)));
            }
        }
    }

    #[test]
    fn options_are_taken_apart() {
        let options = Options::parsed(br"lowerdir=/a:/b\:c:/d\,e,upperdir=/u,workdir=/w,index=off").unwrap();
        assert_eq!(options.lower, [b"/a".to_vec(), b"/b:c".to_vec(), b"/d,e".to_vec()]);
        assert_eq!((options.upper.unwrap(), options.work.unwrap()), (b"/u".to_vec(), b"/w".to_vec()));
        for wrong in ["", "upperdir=/u,workdir=/w", "lowerdir=", "lowerdir=/a::/b", "lowerdir=/a,what=1"] {
            assert!(Options::parsed(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
