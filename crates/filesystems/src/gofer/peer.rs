//! Host processes that are met by FIFOs and sockets in a host folder, where `--host-fifo` and `--host-uds` allow it. fifo(7), unix(7).

use super::node::Node;
use abi::Errno;
use abi::fs::OpenFlags;
use fsproto::OpenHow;
use host::HostFd;
use kernel::op::{Op, Stop, fail};
use kernel::vfs::FileType;
use std::sync::Arc;

impl Node {
    /// This FIFO's end on the host, which never waits; None: it is a matter of the kernel's alone.
    pub fn open_fifo(&self, flags: OpenFlags) -> Op<Option<Arc<HostFd>>> {
        if !self.shared.options.fifo || self.kind != FileType::Fifo {
            return Ok(None);
        }
        let how = OpenHow { read: flags.readable(), write: flags.writable(), fifo: true, ..OpenHow::default() };
        let opened = self.with_handle(|gofer, handle| gofer.open(handle, &[], how))?;
        match opened.fd {
            Some(fd) => Ok(Some(fd)),
            None => fail(Errno::EIO),
        }
    }

    /// A socket that is connected to the host's by this name.
    pub fn connect_socket(&self, kind: u32) -> Op<Option<Arc<HostFd>>> {
        let options = &self.shared.options;
        // What was bound here may be connected to in any case; the gofer knows.
        if !options.connect && !options.bind || self.kind != FileType::Socket {
            return Ok(None);
        }
        match self.with_handle(|gofer, handle| gofer.connect(handle, kind)) {
            Ok(fd) => Ok(Some(fd)),
            Err(Stop::Errno(Errno::ECONNREFUSED)) if !options.connect => Ok(None),
            Err(stop) => Err(stop),
        }
    }
}
