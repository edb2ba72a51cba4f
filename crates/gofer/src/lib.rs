//! The file server process of a container, and its lock-down (docs/gofer-protocol.md, docs/security.md).
//!
//! The only process of a sandbox that sees the host's folders. It answers the kernel process over the protocol of `fsproto`: names, attributes,
//! changes, and descriptors of regular files; contents go by it only where they are small. `nodes` keeps what the kernel process holds handles of, `lookup`,
//! `open` and `change` serve the requests, `donation` makes what the kernel process
//! may open by itself, `scratch` files for overlays, `sockets` what host processes are talked to by, `confine` gives up all rights that this does not need. It ends when the kernel process closes its socket.

mod change;
mod confine;
mod donation;
mod lookup;
mod nodes;
mod open;
mod scratch;
mod server;
mod sockets;

pub use confine::{SECCOMP, security_page};
pub use donation::{Folder, Maker};
pub use scratch::Store;
pub use server::{Server, Source};
pub use sockets::Peers;

use abi::Errno;
use fsproto::{Channel, MountId};
use host::HostFd;
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

/// How many requests are served at once.
pub const THREADS: usize = 4;

/// What a gofer serves, and to whom.
pub struct Config {
    /// One end of a SOCK_SEQPACKET pair; the kernel process has the other.
    pub socket: OwnedFd,
    /// The container's root first, then its bind mounts in the order of the spec.
    pub mounts: Vec<MountSource>,
    /// Folders may be given to the kernel process, to open files below them by itself.
    pub donate: bool,
    /// Host processes that the container may talk to by FIFOs and sockets.
    pub peers: Peers,
    /// A host call that is not allowed is named on standard error before the process ends (status 159); else it just dies.
    pub report_violations: bool,
}

/// A folder or a file of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MountSource {
    pub id: MountId,
    pub path: PathBuf,
    pub readonly: bool,
    /// Where an overlay over it keeps the contents of changed files, if on the disk.
    pub store: Option<PathBuf>,
}

/// Why a gofer does not serve.
#[derive(Debug, thiserror::Error)]
pub enum GoferError {
    #[error("cannot serve {path}: {errno}; check that it exists and that this user may read it")]
    Source { path: PathBuf, errno: Errno },
    #[error(
        "cannot keep an overlay's files in {path}: {errno}; check that this user may write there, or choose another place with --overlay2 (memory, dir=/path)"
    )]
    Store { path: PathBuf, errno: Errno },
    #[error("cannot give up the gofer's rights: {step}: {errno}")]
    Confine { step: &'static str, errno: Errno },
    #[error(
        "cannot start a thread of the gofer: {0}; is the limit of processes reached (`ulimit -u`, pids.max of the cgroup)?"
    )]
    Thread(Errno),
    #[error("the connection to the kernel process broke: {0}")]
    Connection(Errno),
}

/// Serves until the kernel process is gone. The caller is single-threaded and in a mount namespace of its own (`host::spawn`), with CAP_SYS_ADMIN in
/// the user namespace that it belongs to.
pub fn run(config: Config) -> Result<(), GoferError> {
    let server = Arc::new(confine::enter(config.mounts, config.donate, config.peers)?);
    let (sender, receiver) = mpsc::channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 1..THREADS {
        let (server, receiver) = (server.clone(), receiver.clone());
        std::thread::Builder::new()
            .stack_size(256 << 10)
            .spawn(move || serve_next(&server, &receiver))
            .map_err(|e| GoferError::Thread(e.into()))?;
    }
    confine::lock(config.report_violations, config.peers)?;
    let mut more = THREADS - 1;
    let grow = move || {
        // Each thread serves one channel for ever.
        more = more.checked_sub(1).ok_or(Errno::EAGAIN)?;
        let (ours, theirs) = host::message::pair().map_err(host::errno)?;
        sender.send(HostFd::new(ours)).map_err(|_| Errno::EAGAIN)?;
        Ok(theirs)
    };
    server.serve(Channel::new(HostFd::new(config.socket)), grow).map_err(GoferError::Connection)
}

/// A thread's whole life: waits for a channel, serves it to its end.
fn serve_next(server: &Server, sockets: &Mutex<mpsc::Receiver<Arc<HostFd>>>) {
    let socket = sockets.lock().unwrap_or_else(PoisonError::into_inner).recv();
    if let Ok(socket) = socket {
        // A broken channel ends with its thread; the first channel's end is the gofer's.
        let _ = server.serve(Channel::new(socket), || Err(Errno::EAGAIN));
    }
}
