//! inotify's watches on an inode, inotify(7), and where the VFS tells what happens.

use super::Inode;
use crate::io::Io;
use std::sync::Arc;

/// Watches of one inode.
#[derive(Default)]
pub struct Watches {}

/// Something happened to a name of `dir`.
pub fn name_event(_dir: &Arc<Inode>, _mask: u32, _name: &[u8], _cookie: u32) {}

/// Something happened to an inode: told to its own watches, and by its name to those of the folder in which `dentry` has it.
pub fn inode_event(_inode: &Arc<Inode>, _dentry: Option<&Arc<super::Dentry>>, _mask: u32) {}

/// A name moved.
pub fn moved(_from: &Arc<Inode>, _old: &[u8], _to: &Arc<Inode>, _new: &[u8], _what: &Arc<Inode>) {}

/// An inode lost a name, perhaps its last.
pub fn link_lost(_io: &mut Io<'_>, _inode: &Arc<Inode>) {}

/// The last open file description of an inode went.
pub fn last_close(_inode: &Arc<Inode>) {}
