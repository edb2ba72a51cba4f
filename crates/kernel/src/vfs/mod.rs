//! The virtual file system: what all file systems have in common. path_resolution(7), mount_namespaces(7).
//!
//! The VFS owns `FileSystem`, `Inode`, `Dentry`, `Mount`, `File` with their common state; a file system gives
//! `FileSystemOps`, `InodeOps` (with capability objects such as `dir()` and `xattr()`) and `FileOps`.
//! Names are bytes. Every operation gets an `Io`: credentials and the way to wait. Who may do what is checked here (`access`),
//! never by a file system.

pub mod access;
mod acl;
pub mod acl_of;
mod anon;
mod attr;
mod busy;
pub mod dcache;
mod dentry;
mod device;
mod file;
mod fsconfig;
mod handles;
mod inode;
pub mod lease;
pub mod listen;
pub mod locks;
mod memfd;
mod mount;
mod mount_flags;
mod mount_ns;
mod mount_tree;
mod mountinfo;
mod mounts;
pub mod namei;
pub mod notify;
mod open;
mod ops;
mod place;
mod propagation;
mod pts;
mod tasklock;
mod walk;

pub use acl::{Acl, AclKind, AclPerm};
pub use anon::{Anon, anon_attr, anon_path, anon_place, pipe_inode, socket_inode};
pub use attr::{Attr, FileType, SetAttr, SetTime, StatFs};
pub use busy::{Executed, may_execute, may_write};
pub use dentry::Dentry;
pub use device::{OpenDevice, device_majors, has_device, open_device, register_device};
pub use file::{File, Owner, PositionGuard, within_a_file};
pub use fsconfig::{FsConfig, new_fs_config};
pub use handles::{HANDLE_LEN, HANDLE_TYPE, Handled, Handles, decode_handle, encode_handle};
pub use inode::{FileSystem, Inode};
pub use locks::{InodeLocks, LockOwner, RecordLock};
pub use memfd::{MakeMemfd, make_memfd, set_memfd_maker};
pub use mount::{Mount, MountLinks, MountNs, MountTreeFile, Path};
pub use mount_flags::{MountChange, change_mounts, remount, set_propagation};
pub use mount_ns::{copy_ns, find_ns, register_ns};
pub use mount_tree::tree_of;
pub use mountinfo::{MountLine, mount_lines};
pub use mounts::{attach, bind, clone_tree, make_mount, mount_new, move_mount, pivot_root, umount};
pub use notify::{Inotify, Watches, hears_of_reads};
pub use open::{OpenHow, Opened, PathOnly, open, open_file, open_path, opened};
pub use ops::{
    Backing, DirOps, DirSink, FileOps, FileSystemOps, FsType, InodeOps, Link, LockOps, Mappable, MountArgs, NewKind,
    NewNode, Position, Rights, XattrOps,
};
pub use place::{Named, name_in_fs};
pub use propagation::Propagation;
pub use pts::{Pts, PtsInstance, PtsOptions, PtsTerminal};
pub use tasklock::{FolderGuards, TaskGuard, TaskLock, lock_folders};
pub use walk::{Base, Component, Name, WalkFlags, Walker, look_up, walk};
