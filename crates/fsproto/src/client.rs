//! The kernel process' end: a pool of channels, one for each request under way.
//!
//! A request takes an idle channel, or asks the gofer for another one, or waits where `MAX_CHANNELS` are busy. Locks: `pool`, `forgotten`: leaves,
//! not held over a host call.

use crate::Gofer;
use crate::bounds::*;
use crate::channel::{Channel, Received};
use crate::check::is_target;
use crate::given::{Given, check_given};
use crate::message::{Done, Envelope, Reply, Request};
use crate::types::*;
use abi::Errno;
use host::HostFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A connected gofer.
pub struct Client {
    mounts: Vec<MountInfo>,
    pool: Mutex<Pool>,
    freed: Condvar,
    forgotten: Mutex<Vec<Handle>>,
}

struct Pool {
    idle: Vec<Channel>,
    /// Idle and busy ones.
    channels: usize,
    /// The gofer has no more channels to give.
    full: bool,
    /// The gofer is gone; every request is EIO.
    gone: bool,
}

/// Why a gofer could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the gofer did not answer ({0}): look for its own message in the log")]
    Silent(Errno),
    #[error("the gofer closed its connection before it answered: look for its own message in the log")]
    Closed,
    #[error("the gofer speaks version {gofer} of the protocol, not {VERSION}: both must be of one stockade binary")]
    Version { gofer: u32 },
    #[error("the gofer answered with something else than a greeting")]
    Protocol,
}

impl Client {
    /// Greets the gofer at the other end of `socket` (SOCK_SEQPACKET) and learns what it serves. Sleeps until it answers.
    pub fn connect(socket: Arc<HostFd>) -> Result<Client, ConnectError> {
        let mut channel = Channel::new(socket);
        let hello = Envelope { forget: Vec::new(), request: Request::Hello { version: VERSION } };
        channel.send(&hello, &[]).map_err(ConnectError::Silent)?;
        let reply = channel.receive::<Reply>().map_err(ConnectError::Silent)?.ok_or(ConnectError::Closed)?;
        if reply.message.as_ref().is_ok_and(|done| done.check().is_err()) {
            return Err(ConnectError::Protocol);
        }
        let mounts = match reply.message {
            Ok(Done::Hello { version: VERSION, mounts }) => mounts,
            Ok(Done::Hello { version, .. }) => return Err(ConnectError::Version { gofer: version }),
            Ok(_) => return Err(ConnectError::Protocol),
            Err(code) => return Err(ConnectError::Silent(Errno::from_raw(code.into()))),
        };
        let pool = Pool { idle: vec![channel], channels: 1, full: false, gone: false };
        Ok(Client { mounts, pool: Mutex::new(pool), freed: Condvar::new(), forgotten: Mutex::default() })
    }

    /// One trip. EIO for an answer that cannot be true.
    fn ask(&self, request: Request) -> Result<Received<Done>, Errno> {
        let received = self.trip(request)?;
        received.message.check()?;
        Ok(received)
    }

    fn trip(&self, request: Request) -> Result<Received<Done>, Errno> {
        let mut channel = self.take()?;
        let answer = exchange(&mut channel, &Envelope { forget: self.some_forgotten(), request });
        match answer {
            Ok(Received { message, fds }) => {
                self.give_back(channel);
                message.map(|message| Received { message, fds }).map_err(|code| Errno::from_raw(code.into()))
            }
            Err(Errno::EMSGSIZE) => {
                self.give_back(channel); // nothing was sent: it is as good as before
                Err(Errno::EMSGSIZE)
            }
            Err(_) => {
                self.lose();
                Err(Errno::EIO)
            }
        }
    }

    /// As many as one message takes along.
    fn some_forgotten(&self) -> Vec<Handle> {
        let mut forgotten = lock(&self.forgotten);
        let keep = forgotten.len().saturating_sub(MAX_FORGET);
        forgotten.split_off(keep)
    }

    fn give_back(&self, channel: Channel) {
        lock(&self.pool).idle.push(channel);
        self.freed.notify_one();
    }

    /// A channel broke, and with it the gofer.
    fn lose(&self) {
        {
            let mut pool = lock(&self.pool);
            pool.gone = true;
            pool.channels -= 1;
        }
        self.freed.notify_all();
    }

    /// A channel of one's own for the time of a trip.
    fn take(&self) -> Result<Channel, Errno> {
        let mut pool = lock(&self.pool);
        let mut waited = false;
        loop {
            if pool.gone {
                return Err(Errno::EIO);
            }
            match pool.idle.pop() {
                Some(channel) if waited && !pool.full && pool.channels < MAX_CHANNELS => {
                    return Ok(self.grow(pool, channel));
                }
                Some(channel) => return Ok(channel),
                None => pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner),
            }
            waited = true;
        }
    }

    /// Uses a channel that had to be waited for to get another, so that fewer wait. Where the gofer has none, all goes on as it is.
    fn grow(&self, mut pool: MutexGuard<'_, Pool>, mut channel: Channel) -> Channel {
        pool.channels += 1;
        drop(pool);
        let ask = Envelope { forget: Vec::new(), request: Request::Channel };
        let socket = match exchange(&mut channel, &ask) {
            Ok(Received { message: Ok(Done::Nothing), mut fds }) if fds.len() == 1 => fds.pop(),
            _ => None,
        };
        let mut pool = lock(&self.pool);
        match socket {
            Some(socket) => pool.idle.push(Channel::new(socket)),
            None => {
                pool.channels -= 1;
                pool.full = true;
            }
        }
        drop(pool);
        self.freed.notify_one();
        channel
    }
}

/// Sends a request and waits for its answer on a channel that nobody else uses.
fn exchange(channel: &mut Channel, envelope: &Envelope) -> Result<Received<Reply>, Errno> {
    channel.send(envelope, &[])?;
    match channel.receive::<Reply>() {
        Ok(Some(received)) => Ok(received),
        // Of the receiving side, EMSGSIZE is a broken peer.
        Ok(None) | Err(_) => Err(Errno::EIO),
    }
}

/// Whether a walk of `asked` names ended as it says: only the last that was found may be something else than a folder.
fn is_walk(walked: &Walked, asked: usize) -> bool {
    let found = walked.steps.len();
    let folders = walked.steps.iter().take(found.saturating_sub(1)).all(|(_, attr)| attr.is_dir());
    let last_is_link = walked.steps.last().is_some_and(|(_, attr)| attr.is_symlink());
    folders
        && match &walked.end {
            WalkEnd::Complete => found == asked && !last_is_link,
            WalkEnd::Symlink(target) => found <= asked && last_is_link && is_target(target),
            WalkEnd::Failed(_) => found < asked,
        }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn owned(path: &[&[u8]]) -> Vec<Bytes> {
    path.iter().map(|name| Bytes::from(*name)).collect()
}

impl Gofer for Client {
    fn mounts(&self) -> &[MountInfo] {
        &self.mounts
    }

    fn walk(&self, from: Handle, path: &[&[u8]]) -> Result<Walked, Errno> {
        let mut whole = Walked { steps: Vec::new(), end: WalkEnd::Complete };
        let mut from = from;
        for part in path.chunks(MAX_PATH) {
            let Done::Walked(walked) = self.ask(Request::Walk { from, path: owned(part) })?.message else {
                return Err(Errno::EIO);
            };
            if !is_walk(&walked, part.len()) {
                return Err(Errno::EIO);
            }
            whole.steps.extend(walked.steps);
            whole.end = walked.end;
            match (&whole.end, whole.steps.last()) {
                (WalkEnd::Complete, Some((last, _))) => from = *last,
                _ => break,
            }
        }
        Ok(whole)
    }

    fn open(&self, from: Handle, path: &[&[u8]], how: OpenHow) -> Result<Opened, Errno> {
        if path.len() > MAX_PATH {
            return Err(Errno::ENAMETOOLONG);
        }
        self.opened(Request::Open { from, path: owned(path), how }, Given::opened(how))
    }

    fn list(&self, from: Handle, path: &[&[u8]], cursor: u64) -> Result<Listing, Errno> {
        match self.ask(Request::List { from, path: owned(path), cursor })?.message {
            // One that does not come on would go on for ever.
            Done::Listing(listing) if listing.complete || listing.cursor != cursor => Ok(listing),
            _ => Err(Errno::EIO),
        }
    }

    fn change(&self, changes: Vec<Change>) -> Result<Vec<Result<Changed, Errno>>, Errno> {
        let asked = changes.len();
        match self.ask(Request::Change(changes))?.message {
            Done::Changed(results) if results.len() <= asked => {
                Ok(results.into_iter().map(|r| r.map_err(|code| Errno::from_raw(code.into()))).collect())
            }
            _ => Err(Errno::EIO),
        }
    }

    fn forget(&self, handles: &[Handle]) {
        lock(&self.forgotten).extend_from_slice(handles);
    }

    fn forget_now(&self, handles: &[Handle]) {
        self.forget(handles);
        // Where all channels are busy, there will be a request soon.
        let Some(mut channel) = lock(&self.pool).idle.pop() else { return };
        let envelope = Envelope { forget: self.some_forgotten(), request: Request::Forget };
        match channel.tell(&envelope) {
            Ok(()) => self.give_back(channel),
            Err(Errno::EAGAIN) => {
                self.forget(&envelope.forget);
                self.give_back(channel);
            }
            Err(_) => self.lose(),
        }
    }

    fn attr(&self, of: Handle) -> Result<Attr, Errno> {
        match self.ask(Request::Attr { of })?.message {
            Done::Attr(attr) => Ok(attr),
            _ => Err(Errno::EIO),
        }
    }

    fn read_link(&self, of: Handle) -> Result<Bytes, Errno> {
        self.bytes(Request::ReadLink { of })
            .and_then(|target| if is_target(&target) { Ok(target) } else { Err(Errno::EIO) })
    }

    fn get_xattr(&self, of: Handle, name: &[u8]) -> Result<Bytes, Errno> {
        self.bytes(Request::GetXattr { of, name: name.into() })
    }

    fn list_xattr(&self, of: Handle) -> Result<Bytes, Errno> {
        self.bytes(Request::ListXattr { of })
    }

    fn statfs(&self, of: Handle) -> Result<Statfs, Errno> {
        match self.ask(Request::Statfs { of })?.message {
            Done::Statfs(statfs) => Ok(statfs),
            _ => Err(Errno::EIO),
        }
    }

    fn sync(&self, of: Handle, how: SyncHow) -> Result<(), Errno> {
        self.ask(Request::Sync { of, how }).map(|_| ())
    }

    fn donate(&self, mount: usize) -> Result<Donation, Errno> {
        let mount = u32::try_from(mount).map_err(|_| Errno::EINVAL)?;
        let mut received = self.ask(Request::Donate { mount })?;
        match (received.message, received.fds.pop()) {
            (Done::Donated { covered, same_ids }, Some(root)) => {
                check_given(&root, Given::Folder)?;
                Ok(Donation { root, covered, same_ids })
            }
            _ => Err(Errno::EIO),
        }
    }

    fn scratch(&self, mount: usize) -> Result<Arc<HostFd>, Errno> {
        let mount = u32::try_from(mount).map_err(|_| Errno::EINVAL)?;
        self.descriptor(Request::Scratch { mount }, Given::File { read: true, write: true })
    }

    fn connect(&self, of: Handle, kind: u32) -> Result<Arc<HostFd>, Errno> {
        self.descriptor(Request::Connect { of, kind }, Given::Socket { kind })
    }

    fn bind(&self, dir: Handle, name: &[u8], kind: u32, mode: u32, uid: u32, gid: u32) -> Result<Opened, Errno> {
        self.opened(Request::Bind { dir, name: name.into(), kind, mode, uid, gid }, Given::Socket { kind })
    }
}

impl Client {
    /// A request whose answer is a descriptor and nothing more.
    fn descriptor(&self, request: Request, wanted: Given) -> Result<Arc<HostFd>, Errno> {
        let mut received = self.ask(request)?;
        match (received.message, received.fds.pop()) {
            (Done::Nothing, Some(fd)) => check_given(&fd, wanted).map(|()| fd),
            // This process has as many descriptors as it may: the one that came was lost.
            (Done::Nothing, None) => Err(Errno::EMFILE),
            _ => Err(Errno::EIO),
        }
    }

    fn opened(&self, request: Request, wanted: Given) -> Result<Opened, Errno> {
        let mut received = self.ask(request)?;
        match received.message {
            Done::Opened { handle, contents: None, .. } if received.fds.is_empty() => {
                self.forget(handle.as_slice());
                Err(Errno::EMFILE)
            }
            Done::Opened { handle, attr, created, dir, contents } => {
                let fd = received.fds.pop();
                if attr.kind() != wanted.file_type() {
                    return Err(Errno::EIO);
                }
                if let Some(fd) = &fd {
                    check_given(fd, wanted)?;
                }
                Ok(Opened { handle, attr, created, dir, contents, fd })
            }
            _ => Err(Errno::EIO),
        }
    }

    fn bytes(&self, request: Request) -> Result<Bytes, Errno> {
        match self.ask(request)?.message {
            Done::Bytes(bytes) => Ok(bytes),
            _ => Err(Errno::EIO),
        }
    }
}
