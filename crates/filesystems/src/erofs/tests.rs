//! Images made by mkfs.erofs (Debian's erofs-utils), compared with the folders they were made of, and damaged in every way.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use abi::fs::OpenFlags;
use kernel::cred::{CapSet, Cred, UserNs};
use kernel::io::VecSink;
use kernel::vfs::{AclKind, Backing, DirSink, Link, Rights, access, acl_of};
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("stockade-erofs-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    /// An image of what is in `tree`.
    fn image(&self, options: &[&str]) -> PathBuf {
        let image = self.0.join("image");
        let _ = std::fs::remove_file(&image);
        let made = Command::new("mkfs.erofs").args(options).arg(&image).arg(self.0.join("tree")).output();
        let made = made.expect("no mkfs.erofs: install the Debian package erofs-utils");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        image
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Bytes that don't repeat.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ len as u64;
    (0..len).map(|_| next(&mut state) as u8).collect()
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// One of everything.
fn tree(at: &Path) {
    let tree = at.join("tree");
    std::fs::create_dir(&tree).unwrap();
    for size in [0, 1, 100, 2000, 4095, 4096, 4097, 8191, 8192, 12_000, 100_000, 1_000_000] {
        std::fs::write(tree.join(format!("size{size}")), noise(size)).unwrap();
    }
    let sparse = std::fs::File::create(tree.join("sparse")).unwrap();
    sparse.set_len(300_000).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 150_000).unwrap();
    std::fs::create_dir_all(tree.join("deep/er/still")).unwrap();
    std::fs::write(tree.join("deep/er/still/file"), "deep").unwrap();
    std::fs::create_dir(tree.join("empty")).unwrap();
    std::fs::create_dir(tree.join("many")).unwrap();
    for n in 0..1500 {
        std::fs::write(tree.join(format!("many/{n:x}-{}", "n".repeat(n % 200))), format!("{n}")).unwrap();
    }
    // mkfs.erofs 1.5 fails at names of 255 bytes.
    std::fs::write(tree.join("x".repeat(254)), "long").unwrap();
    symlink("deep/er", tree.join("link")).unwrap();
    symlink("y".repeat(4000), tree.join("long-link")).unwrap();
    std::fs::hard_link(tree.join("size100"), tree.join("hard")).unwrap();
    std::fs::set_permissions(tree.join("size100"), std::fs::Permissions::from_mode(0o4751)).unwrap();
    std::fs::set_permissions(tree.join("empty"), std::fs::Permissions::from_mode(0o1777)).unwrap();
    assert!(Command::new("mkfifo").arg(tree.join("fifo")).status().unwrap().success());
    for (name, value, file) in
        [("user.one", "1", "size1"), ("user.long", &*"v".repeat(900), "size1"), ("user.one", "1", "size100")]
    {
        let path = tree.join(file);
        let flags = rustix_xattr(&path, name, value.as_bytes());
        assert!(flags, "no attributes in {}", std::env::temp_dir().display());
    }
    assert!(rustix_xattr(&tree.join("size2000"), "system.posix_acl_access", &acl()));
    assert!(rustix_xattr(&tree.join("empty"), "system.posix_acl_default", &acl()));
}

/// `u::6,u:1000:4,g::0,m::4,o::0`.
fn acl() -> Vec<u8> {
    let entry = |tag: u8, perm: u8, id: u32| [[tag, 0, perm, 0], id.to_le_bytes()].concat();
    let none = u32::MAX;
    let entries = [entry(1, 6, none), entry(2, 4, 1000), entry(4, 0, none), entry(16, 4, none), entry(32, 0, none)];
    [vec![2, 0, 0, 0], entries.concat()].concat()
}

fn rustix_xattr(path: &Path, name: &str, value: &[u8]) -> bool {
    host::rustix::fs::setxattr(path, name, value, host::rustix::fs::XattrFlags::empty()).is_ok()
}

/// An image as the tests use it.
struct Mounted {
    root: Arc<Inode>,
    cred: Arc<Cred>,
    done: u64,
}

impl Mounted {
    fn open(image: &Path) -> Result<Mounted, ImageError> {
        let file = std::fs::File::open(image).unwrap();
        let root = mount(HostFd::new(file.into()))?;
        Ok(Mounted { root, cred: Arc::new(Cred::root(UserNs::initial())), done: 0 })
    }

    fn io(&mut self) -> Io<'_> {
        Io::kernel(self.cred.clone(), &mut self.done)
    }

    fn names(&mut self, dir: &Arc<Inode>, most: usize) -> Op<Vec<(Vec<u8>, u64, FileType)>> {
        struct Names(Vec<(Vec<u8>, u64, FileType)>, u64, usize);
        impl DirSink for Names {
            fn entry(&mut self, name: &[u8], ino: u64, kind: FileType, next: u64) -> bool {
                if self.2 == 0 {
                    return false;
                }
                self.2 -= 1;
                self.0.push((name.to_vec(), ino, kind));
                self.1 = next;
                true
            }
        }
        let file = dir.ops.open(&mut self.io(), dir, OpenFlags::DIRECTORY)?;
        let mut names = Names(Vec::new(), 0, 0);
        while names.0.len() < most {
            names.2 = 7;
            let from = names.1;
            file.list(&mut self.io(), from, &mut names)?;
            if names.2 == 7 {
                break;
            }
        }
        names.0.retain(|(name, ..)| name != b"." && name != b"..");
        Ok(names.0)
    }

    fn lookup(&mut self, dir: &Arc<Inode>, name: &[u8]) -> Op<Option<Arc<Inode>>> {
        dir.ops.dir().ok_or(Errno::ENOTDIR)?.lookup(&mut self.io(), name)
    }

    fn contents(&mut self, inode: &Arc<Inode>, at: u64, max: usize) -> Op<Vec<u8>> {
        let file = inode.ops.open(&mut self.io(), inode, OpenFlags::empty())?;
        let mut all = Vec::new();
        while all.len() < max {
            let mut sink = VecSink { data: Vec::new(), max: (max - all.len()).min(50_001) };
            if file.read(&mut self.io(), Some(at + all.len() as u64), &mut sink)? == 0 {
                break;
            }
            all.extend(sink.data);
        }
        Ok(all)
    }

    fn find(&mut self, path: &str) -> Arc<Inode> {
        let mut at = self.root.clone();
        for name in path.split('/') {
            at = self.lookup(&at, name.as_bytes()).unwrap().unwrap();
        }
        at
    }
}

/// Compares a folder with what it was made of; how many files there were.
fn compare(m: &mut Mounted, inode: &Arc<Inode>, real: &Path, exact_times: bool) -> usize {
    let mut count = 0;
    let names = m.names(inode, usize::MAX).unwrap();
    let mut wanted: BTreeMap<Vec<u8>, PathBuf> = std::fs::read_dir(real)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().as_bytes().to_vec(), entry.path()))
        .collect();
    for (name, number, kind) in names {
        let path = wanted.remove(&name).expect("a name that is not there");
        let found = m.lookup(inode, &name).unwrap().expect("a name that is listed is found");
        let (attr, meta) = (found.attr(&mut m.io()).unwrap(), std::fs::symlink_metadata(&path).unwrap());
        assert_eq!((attr.ino, attr.kind), (number, kind), "{path:?}");
        assert_eq!(
            (attr.kind.mode_bits() | attr.perm, attr.uid, attr.gid),
            (meta.mode(), meta.uid(), meta.gid()),
            "{path:?}"
        );
        if exact_times {
            assert_eq!((attr.mtime.tv_sec, attr.mtime.tv_nsec), (meta.mtime(), meta.mtime_nsec()), "{path:?}");
        }
        count += 1;
        if meta.is_dir() {
            count += compare(m, &found, &path, exact_times);
        } else if meta.is_symlink() {
            let Link::Target(target) = found.ops.read_link(&mut m.io()).unwrap() else { panic!("{path:?}") };
            assert_eq!(&*target, std::fs::read_link(&path).unwrap().as_os_str().as_bytes());
        } else if meta.is_file() {
            assert_eq!((attr.size, u64::from(attr.nlink)), (meta.len(), meta.nlink()), "{path:?}");
            let real = std::fs::read(&path).unwrap();
            assert!(m.contents(&found, 0, usize::MAX).unwrap() == real, "{path:?}");
            let half = real.len() as u64 / 2;
            assert!(
                m.contents(&found, half, 5000).unwrap() == real[half as usize..real.len().min(half as usize + 5000)]
            );
            assert_eq!(m.contents(&found, real.len() as u64 + 10, 10).unwrap(), b"");
        } else {
            assert!(meta.file_type().is_fifo());
        }
    }
    assert!(wanted.is_empty(), "missing: {wanted:?}");
    count
}

const WAYS: [&[&str]; 5] = [
    &[],
    &["-E", "force-inode-extended"],
    &["-E", "force-inode-compact"],
    &["-E", "noinline_data"],
    &["--chunksize=8192"],
];

#[test]
fn images_hold_what_they_were_made_of() {
    let folder = Folder::new();
    tree(&folder.0);
    for options in WAYS {
        let mut m = Mounted::open(&folder.image(options)).unwrap();
        let root = m.root.clone();
        // Compact inodes keep no times.
        let exact = options.contains(&"force-inode-extended");
        assert!(compare(&mut m, &root, &folder.0.join("tree"), exact) > 1500, "{options:?}");
        for name in ["nope", "", "A", "zzzz", "many0"] {
            assert!(m.lookup(&root, name.as_bytes()).unwrap().is_none());
        }
        assert!(Arc::ptr_eq(&m.find("hard"), &m.find("size100")), "one inode for one file");
        let file = m.find("size1");
        let xattrs = file.ops.xattr().unwrap();
        let mut names = xattrs.list(&mut m.io()).unwrap();
        names.sort();
        assert_eq!(names, [b"user.long".to_vec(), b"user.one".to_vec()], "{options:?}");
        assert_eq!(xattrs.get(&mut m.io(), b"user.long").unwrap(), "v".repeat(900).as_bytes());
        assert_eq!(xattrs.get(&mut m.io(), b"user.two"), fail(Errno::ENODATA));
        for (name, kind, list) in [
            ("size2000", AclKind::Access, Ok(acl())),
            ("empty", AclKind::Default, Ok(acl())),
            ("empty", AclKind::Access, fail(Errno::ENODATA)),
        ] {
            let inode = m.find(name);
            assert_eq!(acl_of::get(&mut m.io(), &inode, kind), list, "{name}");
        }
        let (listed, mut io) = (m.find("size2000"), m.io());
        let mut user = Cred::root(UserNs::initial());
        (user.fsuid, user.effective) = (1000, CapSet::EMPTY);
        io.cred = Arc::new(user);
        assert_eq!(access::check(&mut io, &listed, access::READ), Ok(()));
        assert_eq!(access::check(&mut io, &listed, access::WRITE), fail(Errno::EACCES));
        drop(io);
        let statfs = root.fs.ops.statfs(&mut m.io()).unwrap();
        assert_eq!((statfs.magic, statfs.block_size, statfs.blocks_free), (u64::from(MAGIC), 4096, 0));
    }
}

/// What is behind a mapping of `range`: pieces of host files that give the file's bytes and, beyond its end, nothing.
fn mapped(m: &mut Mounted, inode: &Arc<Inode>, range: std::ops::Range<u64>) -> Op<(Vec<u8>, u64)> {
    let file = inode.ops.open(&mut m.io(), inode, OpenFlags::empty())?;
    let rights = Rights { write: false, shared: true };
    let backing = file.mappable().unwrap().backing(&mut m.io(), range.clone(), rights)?;
    let len = range.end - range.start;
    let read = |fd: &HostFd, at: u64, len: u64| {
        let mut bytes = vec![0; len as usize];
        let got = host::file::read_at(fd, &mut bytes, at).unwrap();
        bytes.truncate(got);
        bytes
    };
    Ok(match backing {
        Backing::Host { fd, offset, .. } => {
            let direct = host::file::stat(&fd).unwrap().stx_nlink > 0;
            (read(&fd, offset, len), if direct { len } else { 0 })
        }
        Backing::Split { fd, offset, len: first, rest, .. } => {
            assert!(first % 4096 == 0 && offset % 4096 == 0 && first < len);
            let mut bytes = read(&fd, offset, first);
            bytes.extend(read(&rest, 0, len - first));
            (bytes, first)
        }
        Backing::Anonymous => panic!(),
    })
}

#[test]
fn pages_are_mapped_from_the_image_and_nothing_lies_beyond_the_end() {
    let folder = Folder::new();
    tree(&folder.0);
    for options in WAYS {
        let mut m = Mounted::open(&folder.image(options)).unwrap();
        for (name, whole) in [("size1000000", 244 * 4096u64), ("size8192", 4096), ("size100", 0), ("size4097", 4096)] {
            let (inode, real) = (m.find(name), std::fs::read(folder.0.join("tree").join(name)).unwrap());
            let (bytes, direct) = mapped(&mut m, &inode, 0..2 << 20).unwrap();
            assert!(bytes == real, "{name} {options:?}");
            assert!(direct >= whole, "{name} {options:?}: only {direct} bytes come from the image");
            if real.len() > 8192 {
                let (bytes, direct) = mapped(&mut m, &inode, 4096..8192).unwrap();
                assert!(bytes == real[4096..8192] && direct == 4096);
            }
        }
        // Who may not read everything in the image gets nothing of it but the file.
        let mut user = Cred::root(UserNs::initial());
        user.effective = kernel::cred::CapSet::default();
        m.cred = Arc::new(user);
        let inode = m.find("size1000000");
        let (bytes, direct) = mapped(&mut m, &inode, 0..2 << 20).unwrap();
        assert!(direct == 0 && bytes == std::fs::read(folder.0.join("tree/size1000000")).unwrap());
    }
}

#[test]
fn what_is_no_image_or_not_supported_says_so() {
    let folder = Folder::new();
    let tree = folder.0.join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("text"), "text ".repeat(10_000)).unwrap();
    let error = |image: &Path| Mounted::open(image).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error(&folder.image(&["-zlz4hc"])).contains("compressed"));
    let image = folder.image(&[]);
    let good = std::fs::read(&image).unwrap();
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let path = folder.0.join("changed");
        std::fs::write(&path, bytes).unwrap();
        error(&path)
    };
    assert_eq!(with(&|_| ()), "");
    assert!(with(&|bytes| bytes.truncate(1100)).contains("no erofs image"));
    assert!(with(&|bytes| bytes.clear()).contains("no erofs image"));
    assert!(with(&|bytes| bytes[1024] ^= 1).contains("no erofs image"));
    assert!(with(&|bytes| bytes.truncate(bytes.len() - 4096)).contains("shorter than it says"));
    assert!(with(&|bytes| bytes[1040] ^= 1).contains("checksum"));
    assert!(with(&|bytes| bytes[1024 + 12] = 13).contains("size of its blocks"));
    assert!(with(&|bytes| bytes[1024 + 81] = 1).contains("0x100"));
    // Without a checksum the root counts by itself.
    assert!(with(&|bytes| (bytes[1032], bytes[1038]) = (2, 0xff)).contains("cannot be read"));
}

/// Walks an image, whatever it says, as far as a budget goes.
fn exercise(m: &mut Mounted) -> usize {
    let mut budget = 400;
    let mut met = 0;
    let mut work = vec![(m.root.clone(), 0)];
    while let Some((dir, depth)) = work.pop() {
        let Ok(names) = m.names(&dir, 200) else { continue };
        for (name, ..) in names {
            if budget == 0 {
                return met;
            }
            budget -= 1;
            let Ok(Some(inode)) = m.lookup(&dir, &name) else { continue };
            met += 1;
            let _ = inode.attr(&mut m.io());
            let _ = inode.ops.read_link(&mut m.io());
            if let Some(xattrs) = inode.ops.xattr() {
                let _ = xattrs.list(&mut m.io());
            }
            if inode.kind == FileType::Regular {
                let size = inode.attr(&mut m.io()).map_or(0, |attr| attr.size);
                for at in [0, 4095, size / 2, size.saturating_sub(1), i64::MAX as u64] {
                    let _ = m.contents(&inode, at, 10_000);
                }
                if size < 4 << 20 {
                    let _ = mapped(m, &inode, 0..4096);
                    let _ = mapped(m, &inode, 4096..65536);
                }
            }
            if inode.kind == FileType::Dir && depth < 6 {
                work.push((inode, depth + 1));
            }
        }
    }
    met
}

/// Bounded; `EROFS_SEED=N` repeats a run, `EROFS_ROUNDS=N` makes it longer.
#[test]
fn damaged_images_harm_nobody() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("EROFS_SEED").unwrap_or_else(|| std::process::id().into());
    eprintln!("EROFS_SEED={seed}");
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let folder = Folder::new();
    let tree = folder.0.join("tree");
    std::fs::create_dir_all(tree.join("a/b")).unwrap();
    for n in 0..40 {
        std::fs::write(tree.join(format!("a/file{n}")), noise(n * 700)).unwrap();
        std::fs::write(tree.join(format!("a/b/{n}")), "small").unwrap();
    }
    symlink("a/b", tree.join("link")).unwrap();
    rustix_xattr(&tree.join("a/file1"), "user.x", b"y");
    for options in [&[][..], &["-E", "force-inode-extended"], &["--chunksize=4096"]] {
        let good = std::fs::read(folder.image(options)).unwrap();
        let path = folder.0.join("damaged");
        let mut met = 0;
        for _ in 0..number("EROFS_ROUNDS").unwrap_or(150) {
            let mut bytes = good.clone();
            // No checksum, so that what follows is looked at.
            bytes[1032] &= !1;
            for _ in 0..1 + next(&mut state) % 12 {
                let random = next(&mut state);
                // Mostly where inodes, names and lists are; now and then the super block.
                let at = match random % 8 {
                    0 => 1024 + (random >> 8) % 128,
                    1 => (random >> 8) % bytes.len() as u64,
                    _ => 1152 + (random >> 8) % 20_000,
                } as usize;
                let value = match (random >> 3) % 4 {
                    0 => 0,
                    1 => 0xff,
                    2 => bytes.get(at).copied().unwrap_or(0) ^ 1 << ((random >> 40) % 8),
                    _ => (random >> 40) as u8,
                };
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            std::fs::write(&path, &bytes).unwrap();
            if let Ok(mut m) = Mounted::open(&path) {
                met += exercise(&mut m);
            }
        }
        assert!(met > 1000, "{options:?}: only {met} files were met");
    }
}
