//! What requests and answers are about: handles, attributes, ways to open, changes.

use crate::bounds::MAX_NAME;
use crate::ids::MountId;
use host::file::{self, Statx};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// A file or directory that the gofer keeps at the kernel's disposal until it is told to forget it. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Handle(pub u64);

/// Bytes that are no text: names, link targets, contents.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bytes(pub Box<[u8]>);

/// A moment as the host's file systems keep it: seconds since 1970 (also before it) and nanoseconds below 10^9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Time {
    pub sec: i64,
    pub nsec: u32,
}

impl Time {
    pub fn is_valid(&self) -> bool {
        self.nsec < 1_000_000_000
    }
}

/// The attributes of a file, as statx(2) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attr {
    /// Inode number on the host; unique together with `dev`.
    pub ino: u64,
    /// Device number of the host file system, as stat(2) encodes it.
    pub dev: u64,
    /// Type and permissions.
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Device that a device node stands for, as stat(2) encodes it.
    pub rdev: u64,
    pub size: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    /// Preferred size of a read or write in bytes.
    pub blksize: u32,
    /// statx' STATX_ATTR_* bits.
    pub attributes: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    /// Absent where the host's file system keeps no time of birth.
    pub btime: Option<Time>,
    /// statfs' magic number of the host's file system, by which the kernel knows which mappings it may read through.
    pub magic: u64,
}

impl Attr {
    /// statx' answer in the protocol's form; `magic` is of the file system that the file is on.
    pub fn from_statx(stat: &Statx, magic: u64) -> Attr {
        // A damaged disk may have written down more.
        let time = |(sec, nsec): (i64, u32)| Time { sec, nsec: nsec.min(999_999_999) };
        let born = stat.stx_mask & STATX_BTIME != 0;
        Attr {
            ino: stat.stx_ino,
            dev: file::makedev(stat.stx_dev_major, stat.stx_dev_minor),
            mode: stat.stx_mode.into(),
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            rdev: file::makedev(stat.stx_rdev_major, stat.stx_rdev_minor),
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            blksize: stat.stx_blksize,
            attributes: stat.stx_attributes.bits(),
            atime: time((stat.stx_atime.tv_sec, stat.stx_atime.tv_nsec)),
            mtime: time((stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec)),
            ctime: time((stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec)),
            btime: born.then(|| time((stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec))),
            magic,
        }
    }

    /// The root of a mount, as the process that asked sees it.
    pub fn is_mount_root(&self) -> bool {
        self.attributes & STATX_ATTR_MOUNT_ROOT != 0
    }

    /// S_IFMT's part of the mode.
    pub fn kind(&self) -> u32 {
        self.mode & 0o170_000
    }

    pub fn is_dir(&self) -> bool {
        self.kind() == 0o040_000
    }

    pub fn is_file(&self) -> bool {
        self.kind() == 0o100_000
    }

    pub fn is_symlink(&self) -> bool {
        self.kind() == 0o120_000
    }
}

/// A folder or file that the gofer serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountInfo {
    /// The same in every run.
    pub id: MountId,
    pub root: Handle,
    pub attr: Attr,
    /// Every change is refused with EROFS, by the gofer too.
    pub readonly: bool,
}

/// How far a walk came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walked {
    /// A handle and attributes for each name that was found, in order.
    pub steps: Vec<(Handle, Attr)>,
    pub end: WalkEnd,
}

/// Why a walk ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WalkEnd {
    /// Every name was found, and the last is no symbolic link.
    Complete,
    /// The last of `steps` is a symbolic link, with this target. Names may be left.
    Symlink(Bytes),
    /// The name after the last of `steps` cannot be had: ENOENT mostly.
    Failed(u16),
}

/// How to open a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenHow {
    pub read: bool,
    pub write: bool,
    pub truncate: bool,
    /// Make a regular file of the path's last name.
    pub create: Option<Create>,
    /// Host FIFOs may be opened (nonblocking); else ENXIO.
    pub fifo: bool,
    /// Where the file is a regular one of at most so many bytes, and is only read: its contents come along instead of a descriptor. At most `MAX_INLINE`.
    pub inline: u32,
}

/// A new file's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// EEXIST where the name exists; else what exists is opened.
    pub exclusive: bool,
    /// The path is a folder, in which a file without a name is made, as O_TMPFILE does. EOPNOTSUPP where the host's file system cannot.
    pub anonymous: bool,
    /// Permissions, set as they are: the umask is the kernel's business.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub name: Bytes,
    pub ino: u64,
    /// S_IFMT's part of the mode; 0 where the host does not say.
    pub kind: u32,
    /// Absent where the host refuses them.
    pub attr: Option<Attr>,
    /// Where the listing goes on after this entry.
    pub next: u64,
}

/// A part of a directory, without "." and "..".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// Nothing comes after these.
    pub complete: bool,
    /// Where the listing goes on.
    pub cursor: u64,
}

/// New attributes; what is absent stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAttr {
    /// Permissions only.
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
}

/// A new time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SetTime {
    Now,
    At(Time),
}

/// One mutation. `dir` and `name` say where; the name is the last component only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    Mkdir {
        dir: Handle,
        name: Bytes,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// A FIFO, a socket, a device node or an empty regular file: `mode` has the type. Device nodes are only made, never opened.
    Mknod {
        dir: Handle,
        name: Bytes,
        mode: u32,
        rdev: u64,
        uid: u32,
        gid: u32,
    },
    Symlink {
        dir: Handle,
        name: Bytes,
        target: Bytes,
        uid: u32,
        gid: u32,
    },
    Link {
        node: Handle,
        dir: Handle,
        name: Bytes,
    },
    Unlink {
        dir: Handle,
        name: Bytes,
    },
    Rmdir {
        dir: Handle,
        name: Bytes,
    },
    /// `flags` are renameat2's: RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT.
    Rename {
        dir: Handle,
        name: Bytes,
        new_dir: Handle,
        new_name: Bytes,
        flags: u32,
    },
    SetAttr {
        node: Handle,
        set: SetAttr,
    },
    /// `flags` are setxattr's: XATTR_CREATE, XATTR_REPLACE.
    SetXattr {
        node: Handle,
        name: Bytes,
        value: Bytes,
        flags: u32,
    },
    RemoveXattr {
        node: Handle,
        name: Bytes,
    },
}

/// What a change left behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The new node of mkdir, mknod and symlink.
    pub handle: Option<Handle>,
    /// Attributes after the change, of the node that was made, linked or changed.
    pub attr: Option<Attr>,
    /// Attributes after the change, of the folder in which a name came or went.
    pub dir: Option<Attr>,
    /// As `dir`, of the folder that a rename led to.
    pub new_dir: Option<Attr>,
}

/// statfs(2), in its units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statfs {
    pub magic: u64,
    pub bsize: u64,
    pub frsize: u64,
    pub blocks: u64,
    pub bfree: u64,
    pub bavail: u64,
    pub files: u64,
    pub ffree: u64,
    pub namelen: u64,
    /// ST_* bits.
    pub flags: u64,
}

/// What to bring to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SyncHow {
    Data,
    All,
    FileSystem,
}

/// The answer to `Gofer::open`.
#[derive(Debug)]
pub struct Opened {
    /// The file's own handle; absent where the path was empty, so that the caller has one.
    pub handle: Option<Handle>,
    pub attr: Attr,
    /// The name did not exist before.
    pub created: bool,
    /// Then, attributes of the folder.
    pub dir: Option<Attr>,
    /// The whole contents, where `OpenHow::inline` allowed it; then there is no descriptor.
    pub contents: Option<Bytes>,
    /// A descriptor with exactly the rights that were asked for.
    pub fd: Option<std::sync::Arc<host::HostFd>>,
}

/// The answer to `Gofer::donate`.
#[derive(Debug)]
pub struct Donation {
    /// The folder alone, without what is mounted below it (`host::beneath`).
    pub root: std::sync::Arc<host::HostFd>,
    /// Device and inode number, as they are below `root`, of what something is mounted on: what is seen there is not what is served.
    pub covered: Vec<(u64, u64)>,
    /// The gofer can tell owners no better than the kernel process: both know one user and one group, the same.
    pub same_ids: bool,
}

const STATX_BTIME: u32 = 0x800;
const STATX_ATTR_MOUNT_ROOT: u64 = 0x2000;

/// May a path have this name? Not empty, no "." and "..", no slash and NUL, at most `MAX_NAME` bytes.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME
        && name != b"."
        && name != b".."
        && !name.iter().any(|b| matches!(b, 0 | b'/'))
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.into())
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(bytes.into())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                if bytes.len() > crate::bounds::MAX_MESSAGE {
                    return Err(E::custom("too long"));
                }
                Ok(Bytes(bytes.into()))
            }
        }
        d.deserialize_bytes(Whole).map_err(D::Error::custom)
    }
}
