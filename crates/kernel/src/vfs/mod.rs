//! The virtual file system: what all file systems have in common. path_resolution(7), mount_namespaces(7).
//!
//! The VFS owns `FileSystem`, `Inode`, `Dentry`, `Mount`, `File` with their common state; a file system gives
//! `FileSystemOps`, `InodeOps` (with capability objects such as `dir()` and `xattr()`) and `FileOps`.
//! Names are bytes. Every operation gets an `Io`: credentials and the way to wait. Who may do what is checked here (`access`),
//! never by a file system.

mod anon;
mod attr;
mod dentry;
mod device;
mod file;
mod inode;
mod locks;
mod mount;
mod notify;
mod ops;
mod pts;

pub use anon::{Anon, anon_inode, anon_path};
pub use attr::{Attr, FileType, SetAttr, SetTime, StatFs};
pub use dentry::Dentry;
pub use device::{OpenDevice, device_majors, open_device, register_device};
pub use file::{File, Owner};
pub use inode::{FileSystem, Inode};
pub use locks::InodeLocks;
pub use mount::{Mount, MountLinks, MountNs, Path};
pub use notify::Watches;
pub use ops::{
    Backing, DirOps, DirSink, FileOps, FileSystemOps, FsType, InodeOps, Link, Mappable, MountArgs, NewKind, NewNode,
    Position, Rights, XattrOps,
};
pub use pts::{Pts, PtsInstance, PtsTerminal};
