//! The command line's end of the control protocol.
//!
//! Neighbours: `protocol`, `server` at the other end; used by `runtime`. Owns no locks.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use host::rustix::io::Errno;

use crate::machine::{ExitStatus, Failure, Kind, Mounted, Pid, Process, Stats, Status, Target};
use crate::protocol::{BootConfig, IoShape, ProtocolError, Reply, Request, receive, send};
use crate::spec::{ContainerSpec, NewLimits, ProcessSpec};

/// Name of the control socket in the container's state folder.
pub const SOCKET: &str = "control.sock";

/// A connection to a kernel process.
pub struct Client {
    socket: OwnedFd,
}

/// A process' descriptors, as the command line has them.
#[derive(Clone, Default)]
pub struct Io<'a> {
    pub stdio: [Option<BorrowedFd<'a>>; 3],
    pub console: Option<BorrowedFd<'a>>,
    pub extra: Vec<BorrowedFd<'a>>,
}

/// Why a request failed: the sandbox refused it, or cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Refused(#[from] Failure),
    #[error("talking to the sandbox: {0}")]
    Lost(#[from] ProtocolError),
}

impl ClientError {
    pub fn kind(&self) -> Kind {
        match self {
            ClientError::Refused(failure) => failure.kind,
            ClientError::Lost(_) => Kind::Other,
        }
    }
}

impl Client {
    /// Over a socket that is already connected (the creator's).
    pub fn new(socket: OwnedFd) -> Self {
        Client { socket }
    }

    /// Connects to the sandbox whose state folder is `dir`.
    pub fn connect(dir: &Path) -> Result<Self, ProtocolError> {
        use host::rustix::fs::{CWD, Mode, OFlags, openat};
        let dir = openat(CWD, dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Client { socket: host::message::connect_in(dir.as_fd(), SOCKET)? })
    }

    /// Bounds the wait for each answer.
    pub fn set_timeout(&self, time: std::time::Duration) -> Result<(), ProtocolError> {
        use host::rustix::net::sockopt::{Timeout, set_socket_timeout};
        Ok(set_socket_timeout(&self.socket, Timeout::Recv, Some(time))?)
    }

    /// Sends the first message of a creator.
    pub fn boot(&self, config: BootConfig) -> Result<(), ClientError> {
        Ok(send(&self.socket, &Request::Boot(config), &[], true)?)
    }

    /// `cgroups`: of a container that joins the sandbox.
    pub fn create(
        &self,
        spec: ContainerSpec,
        io: &Io<'_>,
        gofer: BorrowedFd<'_>,
        cgroups: &[BorrowedFd<'_>],
    ) -> Result<(), ClientError> {
        let (shape, mut fds) = io.split();
        fds.push(gofer);
        fds.extend(cgroups);
        let cgroups = cgroups.len() as u32;
        self.done(&Request::Create { spec: Box::new(spec), io: shape, gofer: true, cgroups }, &fds)
    }

    pub fn detach(&self) -> Result<(), ClientError> {
        self.done(&Request::Detach, &[])
    }

    pub fn start(&self, container: &str) -> Result<(), ClientError> {
        self.done(&Request::Start { container: container.into() }, &[])
    }

    pub fn exec(&self, container: &str, process: ProcessSpec, io: &Io<'_>) -> Result<Pid, ClientError> {
        let (shape, fds) = io.split();
        match self.call(&Request::Exec { container: container.into(), process: Box::new(process), io: shape }, &fds)? {
            Reply::Pid(pid) => Ok(pid),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    pub fn signal(&self, container: &str, target: Target, signal: i32) -> Result<(), ClientError> {
        self.done(&Request::Signal { container: container.into(), target, signal, quiet: false }, &[])
    }

    /// Asks to be told of a process' end; [`Client::exited`] takes the answer.
    pub fn ask_exit(&self, container: &str, pid: Pid) -> Result<(), ClientError> {
        match send(&self.socket, &Request::Wait { container: container.into(), pid }, &[], true) {
            // It has ended with the sandbox, and the answer lies here already.
            Err(ProtocolError::Host(Errno::PIPE)) => Ok(()),
            other => Ok(other?),
        }
    }

    /// The answer to [`Client::ask_exit`]; `None` when it is not there yet and `wait` is false.
    pub fn exited(&self, wait: bool) -> Result<Option<ExitStatus>, ClientError> {
        match self.answer(wait) {
            Ok(Reply::Exited(status)) => Ok(Some(status)),
            Ok(Reply::Failed(failure)) => Err(failure.into()),
            Ok(_) => Err(ProtocolError::Malformed.into()),
            Err(ProtocolError::Host(Errno::AGAIN)) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub fn processes(&self, container: &str) -> Result<Vec<Process>, ClientError> {
        match self.call(&Request::Processes { container: container.into() }, &[])? {
            Reply::Processes(list) => Ok(list),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    pub fn status(&self, container: &str) -> Result<Status, ClientError> {
        match self.call(&Request::State { container: container.into() }, &[])? {
            Reply::State(status) => Ok(status),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    pub fn stats(&self, container: &str) -> Result<Stats, ClientError> {
        match self.call(&Request::Stats { container: container.into() }, &[])? {
            Reply::Stats(stats) => Ok(stats),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    pub fn mounts(&self, container: &str) -> Result<Vec<Mounted>, ClientError> {
        match self.call(&Request::Mounts { container: container.into() }, &[])? {
            Reply::Mounts(list) => Ok(list),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    /// No answer comes.
    pub fn resize(&self, container: &str, pid: Pid, rows: u16, cols: u16) -> Result<(), ClientError> {
        Ok(send(&self.socket, &Request::Resize { container: container.into(), pid, rows, cols }, &[], true)?)
    }

    pub fn limit(&self, container: &str, limits: NewLimits) -> Result<(), ClientError> {
        self.done(&Request::Limit { container: container.into(), limits }, &[])
    }

    pub fn pause(&self, container: &str, paused: bool) -> Result<(), ClientError> {
        self.done(&Request::Pause { container: container.into(), paused, quiet: false }, &[])
    }

    /// While an exit is being waited for.
    pub fn signal_quietly(&self, container: &str, target: Target, signal: i32) {
        let _ = send(
            &self.socket,
            &Request::Signal { container: container.into(), target, signal, quiet: true },
            &[],
            true,
        );
    }

    /// While an exit is being waited for.
    pub fn pause_quietly(&self, container: &str, paused: bool) {
        let _ = send(&self.socket, &Request::Pause { container: container.into(), paused, quiet: true }, &[], true);
    }

    /// The sandbox ends; no answer but the end of the connection.
    pub fn shutdown(&self) -> Result<(), ClientError> {
        Ok(send(&self.socket, &Request::Shutdown, &[], true)?)
    }

    fn done(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<(), ClientError> {
        match self.call(request, fds)? {
            Reply::Done => Ok(()),
            _ => Err(ProtocolError::Malformed.into()),
        }
    }

    fn call(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<Reply, ClientError> {
        let sent = send(&self.socket, request, fds, true);
        match (self.answer(true), sent) {
            // It may have said why it failed, and gone, before it was asked.
            (Ok(Reply::Failed(failure)), _) => Err(failure.into()),
            (Ok(reply), Ok(())) => Ok(reply),
            (_, Err(e)) | (Err(e), _) => Err(e.into()),
        }
    }

    /// The next reply. What a sandbox said before it went comes after the error of its going with our question unread.
    fn answer(&self, wait: bool) -> Result<Reply, ProtocolError> {
        match receive::<Reply>(&self.socket, wait) {
            Err(ProtocolError::Host(Errno::CONNRESET)) => Ok(receive(&self.socket, wait)?.0),
            other => Ok(other?.0),
        }
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl<'a> Io<'a> {
    fn split(&self) -> (IoShape, Vec<BorrowedFd<'a>>) {
        let shape = IoShape {
            stdio: self.stdio.map(|fd| fd.is_some()),
            console: self.console.is_some(),
            extra: self.extra.len() as u32,
        };
        let fds = self.stdio.iter().flatten().chain(&self.console).chain(&self.extra).copied().collect();
        (shape, fds)
    }
}
