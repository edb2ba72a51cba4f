//! Descriptors that a gofer hands over: each is looked at once, where it comes in, and must be what was asked for. open(2), fcntl(2), socket(7).
//!
//! A pipe in a file's place would keep its reader for ever, a device would be the host's, and more rights than were asked for would reach a guest's mapping. The gofer may
//! keep the open file description: O_NONBLOCK can be taken away later, so whoever reads a FIFO or a socket says with each call that it does not wait, too.
//! Neighbour: `client`. Owns no locks.

use crate::types::OpenHow;
use abi::Errno;
use host::HostFd;
use host::file::{O_APPEND, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_WRONLY};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// A regular file, open with these rights.
    File { read: bool, write: bool },
    /// A FIFO that does not wait.
    Fifo { read: bool, write: bool },
    /// A folder below which this process opens files itself.
    Folder,
    /// A unix socket of a type (SOCK_*) that does not wait.
    Socket { kind: u32 },
}

impl Given {
    pub fn opened(how: OpenHow) -> Given {
        let (read, write) = (how.read || !how.write, how.write);
        if how.fifo { Given::Fifo { read, write } } else { Given::File { read, write } }
    }

    /// S_IFMT's part of the mode.
    pub fn file_type(self) -> u32 {
        match self {
            Given::File { .. } => 0o100_000,
            Given::Fifo { .. } => 0o010_000,
            Given::Folder => 0o040_000,
            Given::Socket { .. } => 0o140_000,
        }
    }
}

/// EIO for a descriptor that is something else.
pub fn check_given(fd: &HostFd, wanted: Given) -> Result<(), Errno> {
    let kind = u32::from(host::file::stat(fd)?.stx_mode) & 0o170_000;
    let flags = host::stream::flags(fd)?.cast_signed();
    let may = |read, write| {
        let access = match (read, write) {
            (true, true) => O_RDWR,
            (false, true) => O_WRONLY,
            _ => O_RDONLY,
        };
        flags & (O_RDONLY | O_WRONLY | O_RDWR) == access && flags & (O_PATH | O_APPEND) == 0
    };
    let waits = flags & O_NONBLOCK == 0;
    let right = match wanted {
        Given::File { read, write } => may(read, write),
        Given::Fifo { read, write } => may(read, write) && !waits,
        // A detached mount is held as O_PATH.
        Given::Folder => true,
        Given::Socket { kind } => !waits && host::socket::is_unix(fd, kind),
    };
    if right && kind == wanted.file_type() { Ok(()) } else { Err(Errno::EIO) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use host::rustix::fs::{CWD, FileType, Mode, OFlags, fcntl_setfl, mknodat, open};
    use std::sync::Arc;

    fn opened(path: &std::path::Path, flags: OFlags) -> Arc<HostFd> {
        HostFd::new(open(path, flags | OFlags::CLOEXEC, Mode::empty()).unwrap())
    }

    #[test]
    fn only_what_was_asked_for_passes() {
        let dir = std::env::temp_dir().join(format!("stockade-given-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (file, fifo) = (dir.join("file"), dir.join("fifo"));
        std::fs::write(&file, "text").unwrap();
        let _ = std::fs::remove_file(&fifo);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let unix = host::message::pair().unwrap().0;
        fcntl_setfl(&unix, OFlags::NONBLOCK).unwrap();
        let inet = host::rustix::net::socket(
            host::rustix::net::AddressFamily::INET,
            host::rustix::net::SocketType::STREAM,
            None,
        );
        let waiting = host::message::pair().unwrap().0;
        let mut all = vec![
            ("file r", opened(&file, OFlags::RDONLY)),
            ("file w", opened(&file, OFlags::WRONLY)),
            ("file rw", opened(&file, OFlags::RDWR)),
            ("file append", opened(&file, OFlags::WRONLY | OFlags::APPEND)),
            ("file path", opened(&file, OFlags::PATH)),
            ("fifo rw", opened(&fifo, OFlags::RDWR | OFlags::NONBLOCK)),
            ("fifo r", opened(&fifo, OFlags::RDONLY | OFlags::NONBLOCK)),
            ("fifo waits", opened(&fifo, OFlags::RDWR)),
            ("folder", opened(&dir, OFlags::RDONLY | OFlags::DIRECTORY)),
            ("folder path", opened(&dir, OFlags::PATH)),
            ("device", opened(std::path::Path::new("/dev/null"), OFlags::RDWR | OFlags::NONBLOCK)),
            ("socket", HostFd::new(unix)),
            ("socket waits", HostFd::new(waiting)),
        ];
        if let Ok(inet) = inet {
            fcntl_setfl(&inet, OFlags::NONBLOCK).unwrap();
            all.push(("inet", HostFd::new(inet)));
        }
        let passing = |wanted| -> Vec<&str> {
            all.iter().filter(|(_, fd)| check_given(fd, wanted).is_ok()).map(|(name, _)| *name).collect()
        };
        assert_eq!(passing(Given::File { read: true, write: false }), ["file r"]);
        assert_eq!(passing(Given::File { read: false, write: true }), ["file w"]);
        assert_eq!(passing(Given::File { read: true, write: true }), ["file rw"]);
        assert_eq!(passing(Given::Fifo { read: true, write: true }), ["fifo rw"]);
        assert_eq!(passing(Given::Fifo { read: true, write: false }), ["fifo r"]);
        assert_eq!(passing(Given::Folder), ["folder", "folder path"]);
        assert_eq!(passing(Given::Socket { kind: 5 }), ["socket"]);
        assert_eq!(passing(Given::Socket { kind: 1 }), [""; 0]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
