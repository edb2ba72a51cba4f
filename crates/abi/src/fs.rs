//! Files as the ABI shows them: open(2), stat(2), statx(2), statfs(2), getdents64(2), fcntl(2), mount(2), rename(2), xattr(7).
//!
//! Structs are laid out as the kernel of x86-64 lays them out (not as glibc does). Neighbours: `time` for timestamps, `ioctl` and `tty` for ioctl(2).

use bitflags::bitflags;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use crate::time::Timespec;

// Access modes and flags of open(2).
pub use linux_raw_sys::general::{
    __O_SYNC, __O_TMPFILE, FASYNC, O_ACCMODE, O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL,
    O_LARGEFILE, O_NDELAY, O_NOATIME, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_SYNC, O_TMPFILE,
    O_TRUNC, O_WRONLY,
};
// openat2(2).
pub use linux_raw_sys::general::{
    RESOLVE_BENEATH, RESOLVE_CACHED, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
};
// The *at calls; `AT_FDCWD` is an i32 as descriptors are.
pub use linux_raw_sys::general::{
    AT_EACCESS, AT_EMPTY_PATH, AT_EXECVE_CHECK, AT_FDCWD, AT_HANDLE_CONNECTABLE, AT_HANDLE_FID,
    AT_HANDLE_MNT_ID_UNIQUE, AT_NO_AUTOMOUNT, AT_RECURSIVE, AT_REMOVEDIR, AT_RENAME_EXCHANGE, AT_RENAME_NOREPLACE,
    AT_RENAME_WHITEOUT, AT_STATX_DONT_SYNC, AT_STATX_FORCE_SYNC, AT_STATX_SYNC_AS_STAT, AT_STATX_SYNC_TYPE,
    AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW,
};
// access(2).
pub use linux_raw_sys::general::{F_OK, R_OK, W_OK, X_OK};
// File types and permission bits, inode(7).
pub use linux_raw_sys::general::{
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_IRGRP, S_IROTH, S_IRUSR, S_IRWXG,
    S_IRWXO, S_IRWXU, S_ISGID, S_ISUID, S_ISVTX, S_IWGRP, S_IWOTH, S_IWUSR, S_IXGRP, S_IXOTH, S_IXUSR,
};
// fcntl(2): commands, descriptor flags, lock types, seals, leases.
pub use linux_raw_sys::general::{
    DN_ACCESS, DN_ATTRIB, DN_CREATE, DN_DELETE, DN_MODIFY, DN_MULTISHOT, DN_RENAME, F_ADD_SEALS, F_CANCELLK,
    F_CREATED_QUERY, F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_EXLCK, F_GET_FILE_RW_HINT, F_GET_RW_HINT, F_GET_SEALS,
    F_GETFD, F_GETFL, F_GETLEASE, F_GETLK, F_GETOWN, F_GETOWN_EX, F_GETOWNER_UIDS, F_GETPIPE_SZ, F_GETSIG, F_NOTIFY,
    F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW, F_OWNER_PGRP, F_OWNER_PID, F_OWNER_TID, F_RDLCK, F_SEAL_EXEC,
    F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, F_SET_FILE_RW_HINT, F_SET_RW_HINT,
    F_SETFD, F_SETFL, F_SETLEASE, F_SETLK, F_SETLKW, F_SETOWN, F_SETOWN_EX, F_SETPIPE_SZ, F_SETSIG, F_SHLCK, F_UNLCK,
    F_WRLCK, FD_CLOEXEC, RWH_WRITE_LIFE_EXTREME, RWH_WRITE_LIFE_LONG, RWH_WRITE_LIFE_MEDIUM, RWH_WRITE_LIFE_NONE,
    RWH_WRITE_LIFE_NOT_SET, RWH_WRITE_LIFE_SHORT,
};
// flock(2).
pub use linux_raw_sys::general::{LOCK_EX, LOCK_MAND, LOCK_NB, LOCK_READ, LOCK_RW, LOCK_SH, LOCK_UN, LOCK_WRITE};
// lseek(2).
pub use linux_raw_sys::general::{SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_MAX, SEEK_SET};
// renameat2(2).
pub use linux_raw_sys::general::{RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT};
// fallocate(2).
pub use linux_raw_sys::general::{
    FALLOC_FL_ALLOCATE_RANGE, FALLOC_FL_COLLAPSE_RANGE, FALLOC_FL_INSERT_RANGE, FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_NO_HIDE_STALE, FALLOC_FL_PUNCH_HOLE, FALLOC_FL_UNSHARE_RANGE, FALLOC_FL_WRITE_ZEROES,
    FALLOC_FL_ZERO_RANGE,
};
// posix_fadvise(2).
pub use linux_raw_sys::general::{
    POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE, POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL,
    POSIX_FADV_WILLNEED,
};
// mount(2), umount2(2) and the mount API of file descriptors.
pub use linux_raw_sys::general::{
    FSMOUNT_CLOEXEC, FSOPEN_CLOEXEC, FSPICK_CLOEXEC, FSPICK_EMPTY_PATH, FSPICK_NO_AUTOMOUNT, FSPICK_SYMLINK_NOFOLLOW,
    LISTMOUNT_REVERSE, LSMT_ROOT, MNT_DETACH, MNT_EXPIRE, MNT_FORCE, MNT_ID_REQ_SIZE_VER0, MNT_ID_REQ_SIZE_VER1,
    MOUNT_ATTR__ATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_NOATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME,
    MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MOUNT_ATTR_RELATIME,
    MOUNT_ATTR_SIZE_VER0, MOUNT_ATTR_STRICTATIME, MOVE_MOUNT__MASK, MOVE_MOUNT_BENEATH, MOVE_MOUNT_F_AUTOMOUNTS,
    MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_F_SYMLINKS, MOVE_MOUNT_SET_GROUP, MOVE_MOUNT_T_AUTOMOUNTS,
    MOVE_MOUNT_T_EMPTY_PATH, MOVE_MOUNT_T_SYMLINKS, MS_BIND, MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK,
    MS_MGC_MSK, MS_MGC_VAL, MS_MOVE, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID, MS_NOSYMFOLLOW,
    MS_POSIXACL, MS_PRIVATE, MS_RDONLY, MS_REC, MS_RELATIME, MS_REMOUNT, MS_SHARED, MS_SILENT, MS_SLAVE,
    MS_STRICTATIME, MS_SYNCHRONOUS, MS_UNBINDABLE, OPEN_TREE_CLOEXEC, OPEN_TREE_CLONE, STATMOUNT_FS_SUBTYPE,
    STATMOUNT_FS_TYPE, STATMOUNT_MNT_BASIC, STATMOUNT_MNT_GIDMAP, STATMOUNT_MNT_NS_ID, STATMOUNT_MNT_OPTS,
    STATMOUNT_MNT_POINT, STATMOUNT_MNT_ROOT, STATMOUNT_MNT_UIDMAP, STATMOUNT_OPT_ARRAY, STATMOUNT_OPT_SEC_ARRAY,
    STATMOUNT_PROPAGATE_FROM, STATMOUNT_SB_BASIC, STATMOUNT_SB_SOURCE, STATMOUNT_SUPPORTED_MASK, UMOUNT_NOFOLLOW,
};
/// `cmd` of fsconfig(2).
pub const FSCONFIG_SET_FLAG: u32 = 0;
pub const FSCONFIG_SET_STRING: u32 = 1;
pub const FSCONFIG_SET_BINARY: u32 = 2;
pub const FSCONFIG_SET_PATH: u32 = 3;
pub const FSCONFIG_SET_PATH_EMPTY: u32 = 4;
pub const FSCONFIG_SET_FD: u32 = 5;
pub const FSCONFIG_CMD_CREATE: u32 = 6;
pub const FSCONFIG_CMD_RECONFIGURE: u32 = 7;
pub const FSCONFIG_CMD_CREATE_EXCL: u32 = 8;
// xattr(7).
pub use linux_raw_sys::general::{XATTR_CREATE, XATTR_LIST_MAX, XATTR_NAME_MAX, XATTR_REPLACE, XATTR_SIZE_MAX};
// statx(2): `mask` and `attributes`.
pub use linux_raw_sys::general::{
    STATX__RESERVED, STATX_ALL, STATX_ATIME, STATX_ATTR_APPEND, STATX_ATTR_AUTOMOUNT, STATX_ATTR_COMPRESSED,
    STATX_ATTR_DAX, STATX_ATTR_ENCRYPTED, STATX_ATTR_IMMUTABLE, STATX_ATTR_MOUNT_ROOT, STATX_ATTR_NODUMP,
    STATX_ATTR_VERITY, STATX_ATTR_WRITE_ATOMIC, STATX_BASIC_STATS, STATX_BLOCKS, STATX_BTIME, STATX_CTIME,
    STATX_DIO_READ_ALIGN, STATX_DIOALIGN, STATX_GID, STATX_INO, STATX_MNT_ID, STATX_MNT_ID_UNIQUE, STATX_MODE,
    STATX_MTIME, STATX_NLINK, STATX_SIZE, STATX_SUBVOL, STATX_TYPE, STATX_UID, STATX_WRITE_ATOMIC,
};
// getdents64(2): d_type.
pub use linux_raw_sys::general::{DT_BLK, DT_CHR, DT_DIR, DT_FIFO, DT_LNK, DT_REG, DT_SOCK, DT_UNKNOWN};
// utimensat(2): values of tv_nsec.
pub use linux_raw_sys::general::{UTIME_NOW, UTIME_OMIT};
// preadv2(2) and pwritev2(2).
pub use linux_raw_sys::general::{RWF_APPEND, RWF_DSYNC, RWF_HIPRI, RWF_NOWAIT, RWF_SYNC, RWF_WRITE_LIFE_NOT_SET};
/// pwritev2: do not append although the file is open with O_APPEND (Linux 6.9).
pub const RWF_NOAPPEND: u32 = 0x20;
/// pwritev2: the write is atomic (Linux 6.11).
pub const RWF_ATOMIC: u32 = 0x40;
// splice(2), sync_file_range(2).
pub use linux_raw_sys::general::{
    SPLICE_F_GIFT, SPLICE_F_MORE, SPLICE_F_MOVE, SPLICE_F_NONBLOCK, SYNC_FILE_RANGE_WAIT_AFTER,
    SYNC_FILE_RANGE_WAIT_BEFORE, SYNC_FILE_RANGE_WRITE, SYNC_FILE_RANGE_WRITE_AND_WAIT,
};
// statfs(2): f_type.
pub use linux_raw_sys::general::{
    AAFS_MAGIC, ADFS_SUPER_MAGIC, AFFS_SUPER_MAGIC, AFS_FS_MAGIC, AFS_SUPER_MAGIC, ANON_INODE_FS_MAGIC,
    AUTOFS_SUPER_MAGIC, BCACHEFS_SUPER_MAGIC, BDEVFS_MAGIC, BINDERFS_SUPER_MAGIC, BINFMTFS_MAGIC, BPF_FS_MAGIC,
    BTRFS_SUPER_MAGIC, BTRFS_TEST_MAGIC, CEPH_SUPER_MAGIC, CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, CIFS_SUPER_MAGIC,
    CODA_SUPER_MAGIC, CRAMFS_MAGIC, DAXFS_MAGIC, DEBUGFS_MAGIC, DEVMEM_MAGIC, DEVPTS_SUPER_MAGIC, DMA_BUF_MAGIC,
    ECRYPTFS_SUPER_MAGIC, EFIVARFS_MAGIC, EFS_SUPER_MAGIC, EXFAT_SUPER_MAGIC, EXT2_SUPER_MAGIC, EXT3_SUPER_MAGIC,
    EXT4_SUPER_MAGIC, F2FS_SUPER_MAGIC, FUSE_SUPER_MAGIC, FUTEXFS_SUPER_MAGIC, HOSTFS_SUPER_MAGIC, HPFS_SUPER_MAGIC,
    HUGETLBFS_MAGIC, ISOFS_SUPER_MAGIC, JFFS2_SUPER_MAGIC, MINIX_SUPER_MAGIC, MINIX2_SUPER_MAGIC, MINIX3_SUPER_MAGIC,
    MSDOS_SUPER_MAGIC, MTD_INODE_FS_MAGIC, NCP_SUPER_MAGIC, NFS_SUPER_MAGIC, NILFS_SUPER_MAGIC, NSFS_MAGIC,
    OCFS2_SUPER_MAGIC, OPENPROM_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, PID_FS_MAGIC, PIPEFS_MAGIC, PROC_SUPER_MAGIC,
    PSTOREFS_MAGIC, QNX4_SUPER_MAGIC, QNX6_SUPER_MAGIC, RAMFS_MAGIC, RDTGROUP_SUPER_MAGIC, REISERFS_SUPER_MAGIC,
    SECRETMEM_MAGIC, SECURITYFS_MAGIC, SELINUX_MAGIC, SMACK_MAGIC, SMB_SUPER_MAGIC, SMB2_SUPER_MAGIC, SOCKFS_MAGIC,
    SQUASHFS_MAGIC, STACK_END_MAGIC, SYSFS_MAGIC, TMPFS_MAGIC, TRACEFS_MAGIC, UDF_SUPER_MAGIC, USBDEVICE_SUPER_MAGIC,
    V9FS_MAGIC, XENFS_SUPER_MAGIC, XFS_SUPER_MAGIC, ZONEFS_MAGIC,
};
/// f_type of mqueue.
pub const MQUEUE_MAGIC: u32 = 0x1980_0202;
// Limits.
pub use linux_raw_sys::general::{LINK_MAX, NAME_MAX, PATH_MAX, PIPE_BUF, UIO_MAXIOV};
/// Symbolic links that one path walk follows before ELOOP, path_resolution(7).
pub const MAXSYMLINKS: u32 = 40;
/// The most bytes that one read(2) or write(2) transfers.
pub const MAX_RW_COUNT: usize = 0x7fff_f000;

// statfs(2): f_flags.
pub const ST_RDONLY: u64 = 0x1;
pub const ST_NOSUID: u64 = 0x2;
pub const ST_NODEV: u64 = 0x4;
pub const ST_NOEXEC: u64 = 0x8;
pub const ST_SYNCHRONOUS: u64 = 0x10;
pub const ST_VALID: u64 = 0x20;
pub const ST_MANDLOCK: u64 = 0x40;
pub const ST_NOATIME: u64 = 0x400;
pub const ST_NODIRATIME: u64 = 0x800;
pub const ST_RELATIME: u64 = 0x1000;
pub const ST_NOSYMFOLLOW: u64 = 0x2000;

/// close_range(2).
pub const CLOSE_RANGE_UNSHARE: u32 = 2;
pub const CLOSE_RANGE_CLOEXEC: u32 = 4;

bitflags! {
    /// Flags of open(2), the access mode apart: `OpenFlags::from_bits_retain(flags)`, then `access()`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct OpenFlags: u32 {
        const WRONLY = O_WRONLY;
        const RDWR = O_RDWR;
        const CREAT = O_CREAT;
        const EXCL = O_EXCL;
        const NOCTTY = O_NOCTTY;
        const TRUNC = O_TRUNC;
        const APPEND = O_APPEND;
        const NONBLOCK = O_NONBLOCK;
        const DSYNC = O_DSYNC;
        const ASYNC = FASYNC;
        const DIRECT = O_DIRECT;
        const LARGEFILE = O_LARGEFILE;
        const DIRECTORY = O_DIRECTORY;
        const NOFOLLOW = O_NOFOLLOW;
        const NOATIME = O_NOATIME;
        const CLOEXEC = O_CLOEXEC;
        const SYNC = O_SYNC;
        const PATH = O_PATH;
        const TMPFILE = O_TMPFILE;
    }
}

impl OpenFlags {
    /// Every flag that Linux knows; openat2(2) refuses others, open(2) ignores them.
    pub const KNOWN: OpenFlags = OpenFlags::all();

    /// True if the access mode lets the file be read. Mode 3 (ioctl only) does neither.
    pub const fn readable(self) -> bool {
        matches!(self.bits() & O_ACCMODE, O_RDONLY | O_RDWR) && self.bits() & O_PATH == 0
    }

    /// True if the access mode lets the file be written.
    pub const fn writable(self) -> bool {
        matches!(self.bits() & O_ACCMODE, O_WRONLY | O_RDWR) && self.bits() & O_PATH == 0
    }
}

bitflags! {
    /// Flags of the *at calls. One bit has several meanings: 0x200 is AT_EACCESS for faccessat2 and AT_REMOVEDIR for unlinkat.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct AtFlags: u32 {
        const SYMLINK_NOFOLLOW = AT_SYMLINK_NOFOLLOW;
        const EACCESS = AT_EACCESS;
        const REMOVEDIR = AT_REMOVEDIR;
        const SYMLINK_FOLLOW = AT_SYMLINK_FOLLOW;
        const NO_AUTOMOUNT = AT_NO_AUTOMOUNT;
        const EMPTY_PATH = AT_EMPTY_PATH;
        const STATX_FORCE_SYNC = AT_STATX_FORCE_SYNC;
        const STATX_DONT_SYNC = AT_STATX_DONT_SYNC;
        const RECURSIVE = AT_RECURSIVE;
    }
}

bitflags! {
    /// Flags of mount(2), MS_* in Linux.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct MountFlags: u64 {
        const RDONLY = MS_RDONLY as u64;
        const NOSUID = MS_NOSUID as u64;
        const NODEV = MS_NODEV as u64;
        const NOEXEC = MS_NOEXEC as u64;
        const SYNCHRONOUS = MS_SYNCHRONOUS as u64;
        const REMOUNT = MS_REMOUNT as u64;
        const MANDLOCK = MS_MANDLOCK as u64;
        const DIRSYNC = MS_DIRSYNC as u64;
        const NOSYMFOLLOW = MS_NOSYMFOLLOW as u64;
        const NOATIME = MS_NOATIME as u64;
        const NODIRATIME = MS_NODIRATIME as u64;
        const BIND = MS_BIND as u64;
        const MOVE = MS_MOVE as u64;
        const REC = MS_REC as u64;
        const SILENT = MS_SILENT as u64;
        const POSIXACL = MS_POSIXACL as u64;
        const UNBINDABLE = MS_UNBINDABLE as u64;
        const PRIVATE = MS_PRIVATE as u64;
        const SLAVE = MS_SLAVE as u64;
        const SHARED = MS_SHARED as u64;
        const RELATIME = MS_RELATIME as u64;
        const STRICTATIME = MS_STRICTATIME as u64;
        const LAZYTIME = MS_LAZYTIME as u64;
    }
}

/// `struct stat` of x86-64, 144 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Stat {
    pub st_dev: u64,
    pub st_ino: u64,
    pub st_nlink: u64,
    pub st_mode: u32,
    pub st_uid: u32,
    pub st_gid: u32,
    pub pad0: u32,
    pub st_rdev: u64,
    pub st_size: i64,
    pub st_blksize: i64,
    /// In units of 512 bytes.
    pub st_blocks: i64,
    pub st_atim: Timespec,
    pub st_mtim: Timespec,
    pub st_ctim: Timespec,
    pub unused: [i64; 3],
}

/// `struct statx_timestamp`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StatxTimestamp {
    pub tv_sec: i64,
    pub tv_nsec: u32,
    pub reserved: i32,
}

impl From<Timespec> for StatxTimestamp {
    fn from(t: Timespec) -> StatxTimestamp {
        StatxTimestamp { tv_sec: t.tv_sec, tv_nsec: t.tv_nsec as u32, reserved: 0 }
    }
}

/// `struct statx`, 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Statx {
    /// STATX_* of the fields that hold something.
    pub stx_mask: u32,
    pub stx_blksize: u32,
    /// STATX_ATTR_*; those that the file system knows are in `stx_attributes_mask`.
    pub stx_attributes: u64,
    pub stx_nlink: u32,
    pub stx_uid: u32,
    pub stx_gid: u32,
    pub stx_mode: u16,
    pub pad0: u16,
    pub stx_ino: u64,
    pub stx_size: u64,
    pub stx_blocks: u64,
    pub stx_attributes_mask: u64,
    pub stx_atime: StatxTimestamp,
    pub stx_btime: StatxTimestamp,
    pub stx_ctime: StatxTimestamp,
    pub stx_mtime: StatxTimestamp,
    pub stx_rdev_major: u32,
    pub stx_rdev_minor: u32,
    pub stx_dev_major: u32,
    pub stx_dev_minor: u32,
    pub stx_mnt_id: u64,
    pub stx_dio_mem_align: u32,
    pub stx_dio_offset_align: u32,
    pub stx_subvol: u64,
    pub stx_atomic_write_unit_min: u32,
    pub stx_atomic_write_unit_max: u32,
    pub stx_atomic_write_segments_max: u32,
    pub stx_dio_read_offset_align: u32,
    pub stx_atomic_write_unit_max_opt: u32,
    pub spare2: u32,
    pub spare3: [u64; 8],
}

/// `struct statfs` of x86-64, 120 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StatFs {
    pub f_type: i64,
    pub f_bsize: i64,
    pub f_blocks: u64,
    pub f_bfree: u64,
    pub f_bavail: u64,
    pub f_files: u64,
    pub f_ffree: u64,
    pub f_fsid: [i32; 2],
    pub f_namelen: i64,
    pub f_frsize: i64,
    /// ST_*
    pub f_flags: i64,
    pub f_spare: [i64; 4],
}

/// `struct flock` of fcntl(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Flock {
    pub l_type: i16,
    pub l_whence: i16,
    pub pad0: u32,
    pub l_start: i64,
    pub l_len: i64,
    pub l_pid: i32,
    pub pad1: u32,
}

/// `struct f_owner_ex` of fcntl(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FOwnerEx {
    pub type_: i32,
    pub pid: i32,
}

/// `struct open_how` of openat2(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct OpenHow {
    pub flags: u64,
    pub mode: u64,
    pub resolve: u64,
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MountAttr {
    pub attr_set: u64,
    pub attr_clr: u64,
    pub propagation: u64,
    pub userns_fd: u64,
}

/// `struct mnt_id_req` of statmount(2) and listmount(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct MntIdReq {
    pub size: u32,
    pub spare: u32,
    pub mnt_id: u64,
    pub param: u64,
    pub mnt_ns_id: u64,
}

/// `struct statmount`, 512 bytes; texts follow, which are named by their offsets from its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct StatMount {
    pub size: u32,
    pub mnt_opts: u32,
    pub mask: u64,
    pub sb_dev_major: u32,
    pub sb_dev_minor: u32,
    pub sb_magic: u64,
    pub sb_flags: u32,
    pub fs_type: u32,
    pub mnt_id: u64,
    pub mnt_parent_id: u64,
    pub mnt_id_old: u32,
    pub mnt_parent_id_old: u32,
    pub mnt_attr: u64,
    pub mnt_propagation: u64,
    pub mnt_peer_group: u64,
    pub mnt_master: u64,
    pub propagate_from: u64,
    pub mnt_root: u32,
    pub mnt_point: u32,
    pub mnt_ns_id: u64,
    pub fs_subtype: u32,
    pub sb_source: u32,
    pub opt_num: u32,
    pub opt_array: u32,
    pub opt_sec_num: u32,
    pub opt_sec_array: u32,
    pub supported_mask: u64,
    pub mnt_uidmap_num: u32,
    pub mnt_uidmap: u32,
    pub mnt_gidmap_num: u32,
    pub mnt_gidmap: u32,
    pub spare2: [u64; 43],
}

const _: () = assert!(size_of::<StatMount>() == 512);

impl Default for StatMount {
    fn default() -> StatMount {
        FromZeros::new_zeroed()
    }
}

/// `struct iovec`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Iovec {
    pub iov_base: u64,
    pub iov_len: u64,
}

/// `struct utimbuf` of utime(2).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Utimbuf {
    pub actime: i64,
    pub modtime: i64,
}

/// One record of getdents64(2).
#[derive(Clone, Copy, Debug)]
pub struct Dirent64<'a> {
    pub ino: u64,
    /// The position after this entry, for lseek(2).
    pub off: i64,
    /// DT_*
    pub typ: u8,
    pub name: &'a [u8],
}

impl Dirent64<'_> {
    /// Bytes before the name.
    const HEAD: usize = 19;

    /// Bytes of the record: head, name and NUL, rounded up to 8.
    pub fn reclen(&self) -> usize {
        (Self::HEAD + self.name.len() + 1).next_multiple_of(8)
    }

    /// Appends the record if it fits within `room` bytes in all; false, and nothing written, if it does not.
    pub fn append(&self, to: &mut Vec<u8>, room: usize) -> bool {
        let len = self.reclen();
        let Ok(reclen) = u16::try_from(len) else { return false };
        if to.len().saturating_add(len) > room {
            return false;
        }
        let end = to.len() + len;
        to.extend_from_slice(&self.ino.to_ne_bytes());
        to.extend_from_slice(&self.off.to_ne_bytes());
        to.extend_from_slice(&reclen.to_ne_bytes());
        to.push(self.typ);
        to.extend_from_slice(self.name);
        to.resize(end, 0);
        true
    }

    /// Appends the record as the old getdents(2) has it: no d_type before the name, but in the record's last byte.
    pub fn append_old(&self, to: &mut Vec<u8>, room: usize) -> bool {
        let len = (18 + self.name.len() + 2).next_multiple_of(8);
        let Ok(reclen) = u16::try_from(len) else { return false };
        if to.len().saturating_add(len) > room {
            return false;
        }
        let end = to.len() + len;
        to.extend_from_slice(&self.ino.to_ne_bytes());
        to.extend_from_slice(&self.off.to_ne_bytes());
        to.extend_from_slice(&reclen.to_ne_bytes());
        to.extend_from_slice(self.name);
        to.resize(end - 1, 0);
        to.push(self.typ);
        true
    }
}

/// The d_type of a mode.
pub const fn mode_to_dt(mode: u32) -> u8 {
    ((mode & S_IFMT) >> 12) as u8
}

/// A device number as user space has it (`st_rdev`, mknod): minor and major interleaved.
pub const fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (major as u64, minor as u64);
    (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12) | ((major & !0xfff) << 32)
}

/// Major number of a device number of `makedev`.
pub const fn major(dev: u64) -> u32 {
    (((dev >> 8) & 0xfff) | ((dev >> 32) & !0xfff)) as u32
}

/// Minor number of a device number of `makedev`.
pub const fn minor(dev: u64) -> u32 {
    ((dev & 0xff) | ((dev >> 12) & !0xff)) as u32
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn layouts() {
        use linux_raw_sys::general as g;
        assert_eq!(size_of::<Stat>(), size_of::<g::stat>());
        assert_eq!(offset_of!(Stat, st_mode), offset_of!(g::stat, st_mode));
        assert_eq!(offset_of!(Stat, st_rdev), offset_of!(g::stat, st_rdev));
        assert_eq!(offset_of!(Stat, st_ctim), offset_of!(g::stat, st_ctime));
        assert_eq!(size_of::<Statx>(), size_of::<g::statx>());
        assert_eq!(offset_of!(Statx, stx_mnt_id), offset_of!(g::statx, stx_mnt_id));
        assert_eq!(offset_of!(Statx, stx_btime), offset_of!(g::statx, stx_btime));
        assert_eq!(offset_of!(Statx, stx_dio_read_offset_align), offset_of!(g::statx, stx_dio_read_offset_align));
        assert_eq!(size_of::<StatFs>(), size_of::<g::statfs>());
        assert_eq!(offset_of!(StatFs, f_flags), offset_of!(g::statfs, f_flags));
        assert_eq!(size_of::<Flock>(), size_of::<g::flock>());
        assert_eq!(offset_of!(Flock, l_pid), offset_of!(g::flock, l_pid));
        assert_eq!(size_of::<OpenHow>(), size_of::<g::open_how>());
        assert_eq!(size_of::<MountAttr>(), size_of::<g::mount_attr>());
        assert_eq!(size_of::<Iovec>(), 16);
    }

    #[test]
    fn device_numbers() {
        for (a, b) in [(1, 3), (136, 70000), (0x12345, 0x6789a)] {
            assert_eq!((major(makedev(a, b)), minor(makedev(a, b))), (a, b));
            assert_eq!(makedev(a, b), libc::makedev(a, b));
        }
    }

    #[test]
    fn directory_records() {
        let mut out = Vec::new();
        let e = Dirent64 { ino: 7, off: 1, typ: DT_DIR as u8, name: b"abc" };
        assert!(e.append(&mut out, 100));
        assert_eq!(out.len(), 24);
        assert_eq!(&out[16..23], &[24, 0, 4, b'a', b'b', b'c', 0]);
        assert!(!e.append(&mut out, 47));
        assert_eq!(out.len(), 24);
        let mut old = Vec::new();
        assert!(e.append_old(&mut old, 24));
        assert_eq!(old[23], 4);
        assert_eq!(mode_to_dt(S_IFDIR | 0o755), DT_DIR as u8);
    }

    #[test]
    fn access_modes() {
        assert!(OpenFlags::empty().readable() && !OpenFlags::empty().writable());
        assert!(OpenFlags::RDWR.readable() && OpenFlags::RDWR.writable());
        assert!(!OpenFlags::PATH.readable());
        assert!(!OpenFlags::from_bits_retain(3).readable());
    }
}
