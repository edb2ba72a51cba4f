//! The protocol between the kernel process and the gofer, both ends (docs/gofer-protocol.md).
//!
//! The kernel process holds a [`Client`], which is a [`Gofer`]; the gofer answers over a [`Channel`]. `message` says what is asked and answered,
//! `types` what it is about, `bounds` how much of it at most, `check` what each end looks at before it uses it, `given` the descriptors that come along, `ids` which mount is which. Neither end trusts the other: the gofer serves a kernel process that guest code may have
//! taken over, so every request is checked by [`Request::check`] after decoding, every answer by [`Done::check`], and decoding never panics.
//!
//! Locks: the client's pool of channels and its list of handles to forget; neither is held over a host call.

mod bounds;
mod channel;
mod check;
mod client;
mod given;
mod ids;
mod message;
mod types;

pub use bounds::*;
pub use channel::{Channel, Received};
pub use client::{Client, ConnectError};
pub use ids::{Mismatch, MountId, Part, pair};
pub use message::{Done, Envelope, Reply, Request, decode, encode};
pub use types::*;

use abi::Errno;
use host::HostFd;
use std::sync::Arc;

/// A gofer, as the kernel's file system sees it. Each method is one trip, which may sleep: callers hand over first (`platform::block_in_place`).
///
/// A `path` is a list of names below `from`; none of them is empty, "." or "..", none holds a slash. An empty path means `from` itself. EIO from any
/// method also says that the gofer is gone.
pub trait Gofer: Send + Sync {
    /// The folders and files that this gofer serves, in the order in which it was told of them.
    fn mounts(&self) -> &[MountInfo];
    /// Looks names up, one below the other, as far as it goes.
    fn walk(&self, from: Handle, path: &[&[u8]]) -> Result<Walked, Errno>;
    /// Opens an existing file or directory, or makes a regular file. A symbolic link on the way or at the end is ELOOP.
    fn open(&self, from: Handle, path: &[&[u8]], how: OpenHow) -> Result<Opened, Errno>;
    /// Names and attributes of a directory, from `cursor` (0: the start) on.
    fn list(&self, from: Handle, path: &[&[u8]], cursor: u64) -> Result<Listing, Errno>;
    /// Carries out changes in their order up to the first one that fails; the answer has one result for each change that was tried.
    fn change(&self, changes: Vec<Change>) -> Result<Vec<Result<Changed, Errno>>, Errno>;
    /// Handles that are used no more. No trip of its own: it goes along with a later one.
    fn forget(&self, handles: &[Handle]);
    /// As `forget`, at once, but without waiting for an answer: what they stand for has no name any more, and takes up room until they are gone.
    fn forget_now(&self, handles: &[Handle]);
    /// Fresh attributes.
    fn attr(&self, of: Handle) -> Result<Attr, Errno>;
    fn read_link(&self, of: Handle) -> Result<Bytes, Errno>;
    fn get_xattr(&self, of: Handle, name: &[u8]) -> Result<Bytes, Errno>;
    /// Names, each ended by a NUL, as listxattr(2) gives them.
    fn list_xattr(&self, of: Handle) -> Result<Bytes, Errno>;
    fn statfs(&self, of: Handle) -> Result<Statfs, Errno>;
    /// Brings a directory, or a file of which the kernel process has no descriptor, to the disk; or the whole file system it is on.
    fn sync(&self, of: Handle, how: SyncHow) -> Result<(), Errno>;
    /// A folder that this gofer serves, to be opened below without it. EOPNOTSUPP where it gives none away.
    fn donate(&self, mount: usize) -> Result<Donation, Errno>;
    /// A new host file without a name, open for reading and writing, where an overlay's upper layer keeps its contents. EOPNOTSUPP where there is no such place.
    fn scratch(&self, mount: usize) -> Result<Arc<HostFd>, Errno>;
    /// A new socket that is connected to the one with this name. ECONNREFUSED, also where that is not allowed; EAGAIN where its backlog is full.
    fn connect(&self, of: Handle, kind: u32) -> Result<Arc<HostFd>, Errno>;
    /// A new socket that is bound to a name made in `dir`. EOPNOTSUPP where that is not allowed.
    fn bind(&self, dir: Handle, name: &[u8], kind: u32, mode: u32, uid: u32, gid: u32) -> Result<Opened, Errno>;
}
