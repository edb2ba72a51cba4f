//! Attributes of inodes, inode(7), and of file systems, statfs(2).

use abi::time::Timespec;

/// The type of a file, the S_IFMT bits of a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileType {
    Fifo,
    Char,
    Dir,
    Block,
    Regular,
    Symlink,
    Socket,
}

impl FileType {
    /// S_IFMT bits.
    pub fn mode_bits(self) -> u32 {
        match self {
            FileType::Fifo => 0o010000,
            FileType::Char => 0o020000,
            FileType::Dir => 0o040000,
            FileType::Block => 0o060000,
            FileType::Regular => 0o100000,
            FileType::Symlink => 0o120000,
            FileType::Socket => 0o140000,
        }
    }
    /// None for bits that name no type.
    pub fn from_mode(mode: u32) -> Option<FileType> {
        Some(match mode & 0o170000 {
            0o010000 => FileType::Fifo,
            0o020000 => FileType::Char,
            0o040000 => FileType::Dir,
            0o060000 => FileType::Block,
            0o100000 => FileType::Regular,
            0o120000 => FileType::Symlink,
            0o140000 => FileType::Socket,
            _ => return None,
        })
    }
    /// d_type of getdents64(2).
    pub fn dirent_type(self) -> u8 {
        (self.mode_bits() >> 12) as u8
    }
}

/// What stat(2) shows of an inode. Ids are the kernel's.
#[derive(Clone, Copy, Debug)]
pub struct Attr {
    pub ino: u64,
    pub kind: FileType,
    /// Permission bits with set-id and sticky bits: 0o7777.
    pub perm: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of a device: major and minor as `makedev` of makedev(3) packs them.
    pub rdev: u64,
    pub size: u64,
    /// In units of 512 bytes.
    pub blocks: u64,
    pub blksize: u32,
    pub atime: Timespec,
    pub mtime: Timespec,
    pub ctime: Timespec,
    /// Time of birth, where the file system keeps it.
    pub btime: Option<Timespec>,
}

impl Attr {
    /// Of something that has an owner and permissions, and nothing else.
    pub fn plain(kind: FileType, uid: u32, gid: u32, perm: u32) -> Attr {
        let time = Timespec::default();
        let (ino, nlink, rdev, size, blocks, blksize, btime) = (0, 1, 0, 0, 0, 4096, None);
        Attr {
            ino,
            kind,
            perm,
            nlink,
            uid,
            gid,
            rdev,
            size,
            blocks,
            blksize,
            atime: time,
            mtime: time,
            ctime: time,
            btime,
        }
    }
}

impl Attr {
    /// st_mode.
    pub fn mode(&self) -> u32 {
        self.kind.mode_bits() | self.perm
    }
}

/// A time to set, utimensat(2).
#[derive(Clone, Copy, Debug)]
pub enum SetTime {
    Now,
    At(Timespec),
}

/// A change of attributes; what is None stays. ctime becomes now with every change.
#[derive(Clone, Copy, Debug, Default)]
pub struct SetAttr {
    pub perm: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
    /// The file's capabilities go, as with any change of contents or owner.
    pub disarms: bool,
}

/// statfs(2).
#[derive(Clone, Copy, Debug, Default)]
pub struct StatFs {
    /// f_type, a *_SUPER_MAGIC.
    pub magic: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub name_max: u64,
}
