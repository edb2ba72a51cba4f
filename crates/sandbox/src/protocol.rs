//! The control protocol between the command line and the kernel process (docs/control-protocol.md).
//!
//! Messages are postcard over a SOCK_SEQPACKET socket; descriptors travel beside them, in the order that the message implies. One longer than
//! [`host::message::MAX_INLINE`] goes as a memfd, the message's first descriptor. Neither end trusts the other: sizes are bounded, what does not
//! decode ends the connection. Neighbours: `server`, `client`. Owns no locks.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use host::message;
use host::rustix::fs::MemfdFlags;
use host::rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::machine::{ExitStatus, Failure, Mounted, Pid, Process, Stats, Status, Target};
use crate::spec::{ContainerSpec, NewLimits, ProcessSpec};

/// Longest message of all, in a memfd: arguments and environment of a process are at most 6 MiB on Linux.
pub const MAX_LENGTH: u64 = 16 << 20;

/// The first message on the creator's connection: how the sandbox as a whole shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootConfig {
    /// The sandbox dies with the process that started it.
    pub foreground: bool,
    /// Log what happens, and name a host call that the filter refuses instead of dying silently.
    pub debug: bool,
    /// Lines of the log are JSON.
    pub json_log: bool,
    /// Print system calls of guests to the log.
    pub strace: bool,
    /// Seconds after which a task that is stuck in the kernel is reported; 0: never.
    pub watchdog: u32,
    /// Names that are cached at most, beyond those in use.
    pub dcache: Option<u32>,
    /// Only these (names), all when empty.
    pub strace_calls: Vec<String>,
    /// `--platform KEY=VALUE`: shards, fallbacks to force, hooks for tests.
    pub platform: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Only on the creator's connection, first. No reply.
    Boot(BootConfig),
    /// The first one on the creator's connection. Then on others: each makes a further container (a pod's), which is killed and forgotten when
    /// that connection ends. Descriptors: those of `io`, then the gofer's connection, then `cgroups` times `cgroup.procs` of a further container's cgroups.
    Create {
        spec: Box<ContainerSpec>,
        io: IoShape,
        gofer: bool,
        cgroups: u32,
    },
    /// Only on the creator's connection: from now on the sandbox lives on without its creator.
    Detach,
    Start {
        container: String,
    },
    /// Descriptors: those of `io`. The process is killed when this connection ends before it does.
    Exec {
        container: String,
        process: Box<ProcessSpec>,
        io: IoShape,
    },
    /// With `quiet` no reply comes, so that it can go between a `Wait` and its answer.
    Signal {
        container: String,
        target: Target,
        signal: i32,
        quiet: bool,
    },
    /// Answered when the process has ended.
    Wait {
        container: String,
        pid: Pid,
    },
    Processes {
        container: String,
    },
    State {
        container: String,
    },
    /// No reply.
    Resize {
        container: String,
        pid: Pid,
        rows: u16,
        cols: u16,
    },
    Stats {
        container: String,
    },
    Mounts {
        container: String,
    },
    /// Limits that change.
    Limit {
        container: String,
        limits: NewLimits,
    },
    /// `quiet`: as for `Signal`.
    Pause {
        container: String,
        paused: bool,
        quiet: bool,
    },
    /// The sandbox ends at once, with all that runs in it. Answered by the end of the connection.
    Shutdown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Pid(Pid),
    Exited(ExitStatus),
    Processes(Vec<Process>),
    State(Status),
    Stats(Stats),
    Mounts(Vec<Mounted>),
    Failed(Failure),
}

/// Which descriptors of a process come with a message, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IoShape {
    pub stdio: [bool; 3],
    pub console: bool,
    pub extra: u32,
}

/// Why a message did not come or go.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    #[error("the control connection: {0}")]
    Host(#[from] Errno),
    #[error("the control connection carried a message that makes no sense")]
    Malformed,
    #[error("the control connection ended")]
    Ended,
}

/// Sends a message, in a memfd when it is long.
pub fn send(socket: impl AsFd, what: &impl Serialize, fds: &[BorrowedFd<'_>], wait: bool) -> Result<(), ProtocolError> {
    let mut bytes = vec![0u8];
    bytes = postcard::to_extend(what, bytes).map_err(|_| ProtocolError::Malformed)?;
    if bytes.len() <= message::MAX_INLINE {
        return Ok(message::send(socket, &bytes, fds, wait)?);
    }
    let memfd = host::rustix::fs::memfd_create(c"control", MemfdFlags::CLOEXEC)?;
    let mut file = File::from(memfd);
    file.write_all(bytes.get(1..).unwrap_or_default()).map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let all: Vec<BorrowedFd<'_>> = std::iter::once(file.as_fd()).chain(fds.iter().copied()).collect();
    Ok(message::send(socket, &[1], &all, wait)?)
}

/// Receives a message and its descriptors.
pub fn receive<T: DeserializeOwned>(socket: impl AsFd, wait: bool) -> Result<(T, Vec<OwnedFd>), ProtocolError> {
    let mut got = message::receive(socket, wait)?.ok_or(ProtocolError::Ended)?;
    let decoded = match got.bytes.split_first() {
        Some((0, body)) => postcard::from_bytes(body),
        Some((1, [])) if !got.fds.is_empty() => {
            let mut body = Vec::new();
            // read (not mapped): the other end may still change or shorten it.
            let mut file = File::from(got.fds.remove(0));
            host::rustix::fs::seek(&file, host::rustix::fs::SeekFrom::Start(0))?;
            (&mut file).take(MAX_LENGTH).read_to_end(&mut body).map_err(|_| ProtocolError::Malformed)?;
            postcard::from_bytes(&body)
        }
        _ => return Err(ProtocolError::Malformed),
    };
    Ok((decoded.map_err(|_| ProtocolError::Malformed)?, got.fds))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn round_trip(request: &Request) {
        let (a, b) = message::pair().unwrap();
        send(&a, request, &[], true).unwrap();
        let (got, fds): (Request, _) = receive(&b, true).unwrap();
        assert_eq!(&got, request);
        assert!(fds.is_empty());
    }

    #[test]
    fn short_and_long_messages_arrive() {
        round_trip(&Request::Start { container: "x".into() });
        let process = ProcessSpec { args: vec![vec![b'a'; 3 << 20]], ..ProcessSpec::default() };
        round_trip(&Request::Exec { container: "x".into(), process: Box::new(process), io: IoShape::default() });
    }

    #[test]
    fn nonsense_is_refused() {
        let (a, b) = message::pair().unwrap();
        for bytes in [&[][..], &[9], &[0], &[0, 200], &[1], &[1, 2]] {
            if !bytes.is_empty() {
                message::send(&a, bytes, &[], true).unwrap();
                assert!(receive::<Request>(&b, true).is_err(), "{bytes:?}");
            }
        }
        drop(a);
        assert!(matches!(receive::<Request>(&b, true), Err(ProtocolError::Ended)));
    }
}
