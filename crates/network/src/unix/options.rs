//! Options of unix sockets: setsockopt(2), socket(7), unix(7). What all families have in common is in `kernel::socket`. Owns no locks.

use super::UnixSocket;
use super::endpoint::Stamps;
use crate::buffers;
use abi::Errno;
use abi::net::{
    SCM_TIMESTAMP, SCM_TIMESTAMPNS, SO_ACCEPTCONN, SO_ERROR, SO_PASSCRED, SO_PASSPIDFD, SO_PEERCRED, SO_PEERGROUPS,
    SO_RCVBUF, SO_RCVBUFFORCE, SO_SNDBUF, SO_SNDBUFFORCE, SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD, SOL_SOCKET, Ucred,
};
use kernel::io::Io;
use kernel::socket::{Control, Sender};
use kernel::task::Task;
use kernel::{Op, fail};
use zerocopy::IntoBytes;

fn int(value: usize) -> Option<Vec<u8>> {
    Some((value as i32).to_le_bytes().to_vec())
}

impl UnixSocket {
    /// None: it is none of these.
    pub(super) fn option(&self, io: &Io<'_>, level: u32, name: u32) -> Op<Option<Vec<u8>>> {
        if level != SOL_SOCKET {
            return if matches!(level, 0 | 6 | 17 | 41) { fail(Errno::EOPNOTSUPP) } else { Ok(None) };
        }
        if let (SO_PEERCRED, Some(_)) = (name, self.host.get()) {
            return Ok(Some(ucred(io, None).as_bytes().to_vec()));
        }
        let mut state = self.end.state.lock();
        Ok(match name {
            SO_ERROR => int(state.error.take().map_or(0, |e| e.code().into())),
            SO_ACCEPTCONN => {
                drop(state);
                int(self.end.is_listening().into())
            }
            SO_SNDBUF => int(state.buffer),
            SO_RCVBUF => int(state.receive_buffer),
            SO_PASSCRED => int(state.pass.cred.into()),
            SO_PASSPIDFD => int(state.pass.pidfd.into()),
            SO_TIMESTAMP_OLD => int((state.stamps == Stamps::Micros).into()),
            SO_TIMESTAMPNS_OLD => int((state.stamps == Stamps::Nanos).into()),
            SO_PEERCRED => {
                let peer = state.peer_cred.clone();
                drop(state);
                Some(ucred(io, peer.map(|peer| peer.sender)).as_bytes().to_vec())
            }
            SO_PEERGROUPS => {
                let groups = state.peer_cred.as_ref().map(|peer| peer.groups.clone()).ok_or(Errno::ENODATA)?;
                drop(state);
                Some(groups.iter().flat_map(|gid| io.cred.user_ns.gid_to(*gid).to_le_bytes()).collect())
            }
            _ => None,
        })
    }

    /// False: it is none of these.
    pub(super) fn take_option(&self, io: &Io<'_>, level: u32, name: u32, value: &[u8]) -> Op<bool> {
        if level != SOL_SOCKET {
            return if matches!(level, 0 | 6 | 17 | 41) { fail(Errno::EOPNOTSUPP) } else { Ok(false) };
        }
        let number = value.first_chunk::<4>().map(|b| i32::from_le_bytes(*b));
        let is_on = || number.map(|n| n != 0).ok_or(Errno::EINVAL);
        let state = || self.end.state.lock();
        match name {
            SO_PASSCRED => state().pass.cred = is_on()?,
            SO_PASSPIDFD => state().pass.pidfd = is_on()?,
            // Either ends the other.
            SO_TIMESTAMP_OLD => state().stamps = if is_on()? { Stamps::Micros } else { Stamps::None },
            SO_TIMESTAMPNS_OLD => state().stamps = if is_on()? { Stamps::Nanos } else { Stamps::None },
            SO_SNDBUF | SO_SNDBUFFORCE => {
                let size = buffers::size(io, name, value)?;
                state().buffer = size.max(buffers::SMALLEST_SEND);
            }
            SO_RCVBUF | SO_RCVBUFFORCE => {
                let size = buffers::size(io, name, value)?;
                state().receive_buffer = size.max(buffers::SMALLEST_RECEIVE);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Credentials as the caller's namespaces number them.
fn ucred(io: &Io<'_>, sender: Option<Sender>) -> Ucred {
    let Some(sender) = sender else { return Ucred { pid: 0, uid: u32::MAX, gid: u32::MAX } };
    let ns = Task::of(io).and_then(|t| t.pid.ns());
    let pid = sender.pid.zip(ns).map_or(0, |(pid, ns)| pid.number_in(&ns));
    Ucred { pid, uid: io.cred.user_ns.uid_to(sender.uid), gid: io.cred.user_ns.gid_to(sender.gid) }
}

impl Stamps {
    /// The control message that tells the time, where it is asked for.
    pub(super) fn now(self) -> Option<Control> {
        let kind = match self {
            Stamps::None => return None,
            Stamps::Micros => SCM_TIMESTAMP,
            Stamps::Nanos => SCM_TIMESTAMPNS,
        };
        let mut time = kernel::time::now();
        if self == Stamps::Micros {
            time.tv_nsec /= 1000;
        }
        let data = time.as_bytes().to_vec();
        Some(Control::Other { level: SOL_SOCKET as i32, kind: kind as i32, data })
    }
}
