//! How long things may be. Both ends hold to them, and refuse what goes beyond.

/// Bytes of one message, either way.
pub const MAX_MESSAGE: usize = 112 << 10;
/// Bytes that a `Listing` aims at: no entry is added beyond.
pub const LIST_BYTES: usize = 64 << 10;
/// Bytes of a name, Linux' NAME_MAX.
pub const MAX_NAME: usize = 255;
/// Names in the path of one request; the client splits longer walks.
pub const MAX_PATH: usize = 128;
/// Bytes of a symbolic link's target, Linux' PATH_MAX less its NUL.
pub const MAX_TARGET: usize = 4095;
/// Bytes of the name of an extended attribute, Linux' XATTR_NAME_MAX.
pub const MAX_XATTR_NAME: usize = 255;
/// Bytes of the value of an extended attribute, Linux' XATTR_SIZE_MAX.
pub const MAX_XATTR_VALUE: usize = 64 << 10;
/// Changes in one request.
pub const MAX_CHANGES: usize = 64;
/// Handles to forget in one request.
pub const MAX_FORGET: usize = 1024;
/// Bytes of a file that come along with the answer to `open`.
pub const MAX_INLINE: u32 = 16 << 10;
/// Mount points below a folder that is donated; a folder with more is not donated.
pub const MAX_COVERED: usize = 1024;
/// Channels to one gofer: so many requests are served at once.
pub const MAX_CHANNELS: usize = 16;
/// The version of the protocol; both ends are of one binary, so that they are equal or something is very wrong.
pub const VERSION: u32 = 5;
