//! One socket between the two ends: a message each way at a time.

use crate::bounds::MAX_MESSAGE;
use crate::message::{decode, encode};
use abi::Errno;
use host::{HostFd, message};
use serde::{Serialize, de::DeserializeOwned};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// One end of a SOCK_SEQPACKET connection with its buffers.
pub struct Channel {
    socket: Arc<HostFd>,
    out: Vec<u8>,
    input: Box<[u8]>,
    /// An answer is due that nobody wants.
    owes: bool,
}

/// A message with its descriptors.
#[derive(Debug)]
pub struct Received<T> {
    pub message: T,
    pub fds: Vec<Arc<HostFd>>,
}

impl Channel {
    pub fn new(socket: Arc<HostFd>) -> Channel {
        Channel { socket, out: Vec::new(), input: vec![0; MAX_MESSAGE].into(), owes: false }
    }

    /// Sends a message; EPIPE when the other end is gone.
    pub fn send<T: Serialize>(&mut self, message: &T, fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        self.out.clear();
        encode(message, &mut self.out)?;
        message::send(&*self.socket, &self.out, fds, true).map_err(host::errno)
    }

    /// As `send`, of a request whose answer nobody wants: the next `receive` passes over it. EAGAIN while another one is due.
    pub fn tell<T: Serialize>(&mut self, message: &T) -> Result<(), Errno> {
        if self.owes {
            return Err(Errno::EAGAIN);
        }
        self.send(message, &[])?;
        self.owes = true;
        Ok(())
    }

    /// Waits for a message; `None` when the other end is gone, EPROTO when what came is no message.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<Received<T>>, Errno> {
        if std::mem::take(&mut self.owes)
            && message::receive_into(&*self.socket, &mut self.input, true).map_err(host::errno)?.0 == 0
        {
            return Ok(None);
        }
        let (len, fds) = message::receive_into(&*self.socket, &mut self.input, true).map_err(host::errno)?;
        let fds = fds.into_iter().map(HostFd::new).collect();
        match self.input.get(..len) {
            None | Some([]) => Ok(None),
            Some(bytes) => Ok(Some(Received { message: decode(bytes)?, fds })),
        }
    }
}
