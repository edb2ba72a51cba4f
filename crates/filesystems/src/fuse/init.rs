//! FUSE_INIT: what kernel and server agree on. fuse(4).

use super::conn::Conn;
use super::request::Answer;
use super::wire::{In, Out};
use abi::Errno;
use abi::fuse::*;
use std::sync::Arc;

/// Bytes that one request may carry at most.
pub(super) const DATA_MAX: u32 = 1 << 20;
const PAGE: u32 = 4096;
/// Bytes that are read ahead at most.
const READ_AHEAD: u32 = 128 << 10;

/// What this kernel can do.
const OFFERED: u64 = FUSE_ASYNC_READ
    | FUSE_POSIX_LOCKS
    | FUSE_ATOMIC_O_TRUNC
    | FUSE_EXPORT_SUPPORT
    | FUSE_BIG_WRITES
    | FUSE_DONT_MASK
    | FUSE_FLOCK_LOCKS
    | FUSE_HAS_IOCTL_DIR
    | FUSE_AUTO_INVAL_DATA
    | FUSE_DO_READDIRPLUS
    | FUSE_READDIRPLUS_AUTO
    | FUSE_ASYNC_DIO
    | FUSE_WRITEBACK_CACHE
    | FUSE_NO_OPEN_SUPPORT
    | FUSE_PARALLEL_DIROPS
    | FUSE_HANDLE_KILLPRIV
    | FUSE_ABORT_ERROR
    | FUSE_MAX_PAGES
    | FUSE_CACHE_SYMLINKS
    | FUSE_NO_OPENDIR_SUPPORT
    | FUSE_EXPLICIT_INVAL_DATA
    | FUSE_SETXATTR_EXT
    | FUSE_INIT_EXT;

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub minor: u32,
    pub flags: u64,
    pub max_write: u32,
    pub max_read: u32,
    pub read_ahead: u32,
}

/// Sends FUSE_INIT. The mount does not wait for the answer; the first call does.
pub(super) fn begin(conn: &Arc<Conn>) {
    let body = Out::request()
        .u32(FUSE_KERNEL_VERSION)
        .u32(FUSE_KERNEL_MINOR_VERSION)
        .u32(READ_AHEAD)
        .u32(OFFERED as u32)
        .u32((OFFERED >> 32) as u32)
        .bytes(&[0; 44]);
    let max_read = conn.options.max_read;
    let then = move |conn: &Arc<Conn>, answer: Answer| match answer.and_then(|reply| agree(&reply, max_read)) {
        Ok(settings) => conn.start(Some(settings)),
        Err(_) => conn.start(None),
    };
    conn.post(FUSE_INIT, 0, body, 8..=64, Some(Box::new(then)));
}

/// The settings of an answer. EIO for versions that are not 7.12 and up.
fn agree(reply: &[u8], max_read: Option<u32>) -> Result<Settings, Errno> {
    let mut from = In(reply);
    let (major, minor) = (from.u32()?, from.u32()?);
    if major != FUSE_KERNEL_VERSION || minor < 12 {
        return Err(Errno::EIO);
    }
    let (read_ahead, flags) = (from.u32()?, from.u32()?);
    let (_max_background, _congestion) = (from.u16()?, from.u16()?);
    let max_write = from.u32()?;
    // Older servers end here.
    let _time_granularity = from.u32().unwrap_or(0);
    let max_pages = from.u16().unwrap_or(0);
    let _map_alignment = from.u16().unwrap_or(0);
    let flags2 = from.u32().unwrap_or(0);
    let mut flags = u64::from(flags);
    if flags & FUSE_INIT_EXT != 0 {
        flags |= u64::from(flags2) << 32;
    }
    flags &= OFFERED;
    let pages = if flags & FUSE_MAX_PAGES != 0 { u32::from(max_pages).clamp(1, DATA_MAX / PAGE) } else { 32 };
    let most = pages * PAGE;
    Ok(Settings {
        minor: minor.min(FUSE_KERNEL_MINOR_VERSION),
        flags,
        max_write: if flags & FUSE_BIG_WRITES != 0 { max_write.clamp(PAGE, most) } else { PAGE },
        max_read: max_read.filter(|m| *m > 0).map_or(most, |max| max.clamp(PAGE, most)),
        read_ahead: read_ahead.min(READ_AHEAD),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn reply(minor: u32, flags: u64, max_write: u32, max_pages: u16) -> Vec<u8> {
        let out = Out::default().u32(7).u32(minor).u32(65536).u32(flags as u32).u32(0).u32(max_write).u32(1);
        out.u32(max_pages.into()).u32((flags >> 32) as u32).bytes(&[0; 28]).0
    }

    #[test]
    fn what_a_server_says_is_bounded() {
        let all = agree(&reply(40, u64::MAX, u32::MAX, u16::MAX), None).unwrap();
        assert_eq!((all.minor, all.flags, all.max_write, all.max_read), (38, OFFERED, 1 << 20, 1 << 20));
        let none = agree(&reply(31, 0, 0, 0), Some(1)).unwrap();
        assert_eq!((none.flags, none.max_write, none.max_read), (0, 4096, 4096));
    }

    #[test]
    fn old_servers_have_short_answers() {
        let full = reply(19, FUSE_BIG_WRITES, 131_072, 0);
        assert_eq!(agree(full.get(..24).unwrap(), None).unwrap().max_write, 131_072);
        for (minor, len) in [(31, 20), (11, 64), (0, 8)] {
            assert!(agree(reply(minor, 0, 0, 0).get(..len).unwrap(), None).is_err());
        }
        assert!(agree(&Out::default().u32(8).u32(40).bytes(&[0; 56]).0, None).is_err());
    }
}
