//! Messages on sockets: send(2), sendmsg(2), sendmmsg(2), recv(2), recvmsg(2), recvmmsg(2); control messages, cmsg(3).

use crate::pidfd;
use crate::socket::{get_address, put_address, socket_file, socket_io, socket_of};
use abi::Errno;
use abi::net::{
    Cmsghdr, MSG_CMSG_CLOEXEC, MSG_CTRUNC, MSG_DONTWAIT, MSG_TRUNC, MSG_WAITFORONE, Mmsghdr, MsgHdr, SCM_CREDENTIALS,
    SCM_MAX_FD, SCM_PIDFD, SCM_RIGHTS, SOL_SOCKET, Ucred, cmsg_len, cmsg_space,
};
use abi::time::Timespec;
use kernel::cred::Cap;
use kernel::io::Source;
use kernel::mm::UserBuffers;
use kernel::socket::{Control, Incoming, Outgoing, Sender};
use kernel::task::Resource;
use kernel::time::{from_timespec, to_timespec};
use kernel::vfs::File;
use kernel::{Args, Call, Op, Ret, Stop, fail};
use zerocopy::{FromBytes, IntoBytes};

/// UIO_MAXIOV: parts of a message, messages of a call.
const MAX_PARTS: u64 = 1024;
/// Bytes of control messages, /proc/sys/net/core/optmem_max.
const MAX_CONTROL: u64 = 131_072;

pub fn sys_sendto(call: &mut Call<'_>, [fd, data, len, flags, to, to_len]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let to = if to == 0 { None } else { Some(get_address(call, to, to_len as u32)?) };
    let mut buffers = UserBuffers::one(call.mm()?, data, len);
    let message = Outgoing { to, flags: flags as u32, control: Vec::new() };
    send(call, &file, &mut buffers, message, 0).map(Ret::from)
}

pub fn sys_sendmsg(call: &mut Call<'_>, [fd, at, flags, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let header = call.get::<MsgHdr>(at)?;
    send_header(call, &file, &header, flags as u32, 0).map(Ret::from)
}

/// Sends one message; `before` are messages that the call has sent already, which change no `done` of this one.
fn send_header(call: &mut Call<'_>, file: &File, header: &MsgHdr, flags: u32, before: u64) -> Op<u64> {
    let mut buffers = buffers(call, header)?;
    let to = if header.msg_name == 0 || header.msg_namelen == 0 {
        None
    } else {
        Some(get_address(call, header.msg_name, header.msg_namelen)?)
    };
    if header.msg_controllen > MAX_CONTROL {
        return fail(Errno::ENOBUFS);
    }
    let control = call.get_vec::<u8>(header.msg_control, header.msg_controllen as usize)?;
    let control = parse_control(call, &control)?;
    send(call, file, &mut buffers, Outgoing { to, flags, control }, before)
}

fn send(call: &mut Call<'_>, file: &File, buffers: &mut UserBuffers, mut message: Outgoing, before: u64) -> Op<u64> {
    let done = call.rec.done;
    buffers.skip(done);
    if done > 0 && buffers.left() == 0 {
        return Ok(done);
    }
    let mut io = socket_io(call, file);
    io.nonblock |= message.flags & MSG_DONTWAIT != 0 || before > 0;
    let count = socket_of(file)?.send(&mut io, buffers, &mut message)?;
    Ok(done + count as u64)
}

fn buffers(call: &Call<'_>, header: &MsgHdr) -> Op<UserBuffers> {
    if header.msg_iovlen > MAX_PARTS {
        return fail(Errno::EMSGSIZE);
    }
    let parts = call.get_vec::<[u64; 2]>(header.msg_iov, header.msg_iovlen as usize)?;
    UserBuffers::many(call.mm()?, &parts)
}

/// Control messages from a guest. EINVAL where they are malformed, EBADF for a bad descriptor, EPERM for others' credentials.
fn parse_control(call: &Call<'_>, mut bytes: &[u8]) -> Op<Vec<Control>> {
    let mut out = Vec::new();
    let mut files = 0;
    while let Ok((header, _)) = Cmsghdr::read_from_prefix(bytes) {
        let len = usize::try_from(header.cmsg_len).unwrap_or(usize::MAX);
        let Some(data) = bytes.get(size_of::<Cmsghdr>()..len) else { return fail(Errno::EINVAL) };
        out.push(match (header.cmsg_level as u32, header.cmsg_type as u32) {
            (SOL_SOCKET, SCM_RIGHTS) => {
                let numbers = data.chunks_exact(4).filter_map(|c| c.first_chunk::<4>());
                let list: Op<Vec<_>> = numbers.map(|n| call.any_file(i32::from_le_bytes(*n) as u64)).collect();
                let list = list?;
                files += list.len();
                if files > SCM_MAX_FD {
                    return fail(Errno::EINVAL);
                }
                Control::Rights(list)
            }
            (SOL_SOCKET, SCM_CREDENTIALS) => Control::Credentials(check_credentials(call, data)?),
            (SOL_SOCKET, _) => return fail(Errno::EINVAL),
            (level, kind) => Control::Other { level: level as i32, kind: kind as i32, data: data.to_vec() },
        });
        bytes = bytes.get(len.next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(out)
}

/// A process may name itself and any of its ids; privileged ones may name others. unix(7).
fn check_credentials(call: &Call<'_>, data: &[u8]) -> Op<Sender> {
    let named = Ucred::read_from_bytes(data).map_err(|_| Errno::EINVAL)?;
    let cred = call.task.cred();
    let ns = call.task.pid.ns().ok_or(Errno::ESRCH)?;
    let uid = cred.user_ns.uid_from(named.uid).ok_or(Errno::EINVAL)?;
    let gid = cred.user_ns.gid_from(named.gid).ok_or(Errno::EINVAL)?;
    let own = call.task.group.pid.number_in(&ns) == named.pid;
    let uid_ok = [cred.uid, cred.euid, cred.suid].contains(&uid) || cred.has_in(&cred.user_ns, Cap::Setuid);
    let gid_ok = [cred.gid, cred.egid, cred.sgid].contains(&gid) || cred.has_in(&cred.user_ns, Cap::Setgid);
    if !(own || cred.has_in(&ns.owner, Cap::SysAdmin)) || !uid_ok || !gid_ok {
        return fail(Errno::EPERM);
    }
    let pid = ns.find(named.pid).filter(|p| p.group().is_some()).ok_or(Errno::ESRCH)?;
    Ok(Sender { pid: Some(pid), uid, gid })
}

pub fn sys_sendmmsg(call: &mut Call<'_>, [fd, at, count, flags, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let count = u64::from(count as u32).min(MAX_PARTS);
    let mut sent = 0;
    while sent < count {
        let place = at.wrapping_add(sent * size_of::<Mmsghdr>() as u64);
        let one = call.get::<MsgHdr>(place).and_then(|header| {
            let bytes = send_header(call, &file, &header, flags as u32, sent)?;
            call.put(place.wrapping_add(size_of::<MsgHdr>() as u64), &(bytes as u32))
        });
        match one {
            Ok(()) => {
                call.rec.done = 0;
                sent += 1;
            }
            // Only the first message waits; what was sent counts.
            Err(_) if sent > 0 => break,
            Err(stop) => return Err(stop),
        }
    }
    Ok(sent.into())
}

pub fn sys_recvfrom(call: &mut Call<'_>, [fd, data, len, flags, from, from_len]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let mut buffers = UserBuffers::one(call.mm()?, data, len);
    let (incoming, value) = receive(call, &file, &mut buffers, flags as u32, false)?;
    put_address(call, &incoming.from, from, from_len)?;
    Ok(value.into())
}

/// Receives one message; its data counts what earlier runs of the call got. With MSG_TRUNC the value is the message's own size.
fn receive(call: &mut Call<'_>, file: &File, to: &mut UserBuffers, flags: u32, more: bool) -> Op<(Incoming, u64)> {
    let done = call.rec.done;
    to.skip(done);
    let mut io = socket_io(call, file);
    io.nonblock |= flags & MSG_DONTWAIT != 0 || more;
    let incoming = socket_of(file)?.receive(&mut io, to, flags)?;
    let count = if flags & MSG_TRUNC != 0 { incoming.whole } else { incoming.count };
    Ok((incoming, done + count as u64))
}

pub fn sys_recvmsg(call: &mut Call<'_>, [fd, at, flags, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    receive_header(call, &file, at, flags as u32, false).map(Ret::from)
}

/// Receives into the msghdr at `at` and writes back what it says of the message.
fn receive_header(call: &mut Call<'_>, file: &File, at: u64, flags: u32, more: bool) -> Op<u64> {
    let header = call.get::<MsgHdr>(at)?;
    let mut buffers = buffers(call, &header)?;
    let (incoming, value) = receive(call, file, &mut buffers, flags, more)?;
    let mut told = incoming.flags | flags & MSG_CMSG_CLOEXEC;
    let used = put_control(call, &incoming.control, &header, flags, &mut told)?;
    if header.msg_name != 0 {
        let room = (header.msg_namelen as usize).min(incoming.from.len());
        call.put(header.msg_name, incoming.from.get(..room).unwrap_or_default())?;
        call.put(at.wrapping_add(8), &(incoming.from.len() as u32))?;
    }
    call.put(at.wrapping_add(40), &used)?;
    call.put(at.wrapping_add(48), &told)?;
    Ok(value)
}

/// Writes control messages into the guest's buffer; MSG_CTRUNC where some don't fit. Returns the bytes used.
fn put_control(call: &Call<'_>, list: &[Control], header: &MsgHdr, flags: u32, told: &mut u32) -> Op<u64> {
    let mut used = 0u64;
    for control in list {
        let left = header.msg_controllen.saturating_sub(used);
        let mut level = SOL_SOCKET as i32;
        let (kind, data) = match control {
            Control::Rights(files) => {
                let room = left.saturating_sub(size_of::<Cmsghdr>() as u64) as usize / 4;
                if room < files.len() {
                    *told |= MSG_CTRUNC;
                }
                let mut data = Vec::new();
                let limit = call.task.group.limit(Resource::Nofile);
                for file in files.iter().take(room) {
                    match call.files().add(file.clone(), flags & MSG_CMSG_CLOEXEC != 0, 0, limit) {
                        Ok(fd) => data.extend_from_slice(&fd.to_le_bytes()),
                        Err(_) => {
                            *told |= MSG_CTRUNC;
                            break;
                        }
                    }
                }
                if data.is_empty() {
                    continue;
                }
                (SCM_RIGHTS, data)
            }
            Control::Credentials(sender) => {
                let cred = call.task.cred();
                let pid = call.task.pid.ns().zip(sender.pid.as_ref()).map_or(0, |(ns, pid)| pid.number_in(&ns));
                let uid = cred.user_ns.uid_to(sender.uid);
                let gid = cred.user_ns.gid_to(sender.gid);
                (SCM_CREDENTIALS, Ucred { pid, uid, gid }.as_bytes().to_vec())
            }
            Control::Pidfd(pid) => {
                let fits = left >= cmsg_len(size_of::<i32>()) as u64;
                let Some(fd) = Some(pid).filter(|_| fits).and_then(|pid| pidfd::install(call, pid).ok()) else {
                    *told |= MSG_CTRUNC;
                    continue;
                };
                (SCM_PIDFD, fd.to_le_bytes().to_vec())
            }
            Control::Other { level: its, kind, data } => {
                level = *its;
                (*kind as u32, data.clone())
            }
        };
        if left < size_of::<Cmsghdr>() as u64 {
            *told |= MSG_CTRUNC;
            continue;
        }
        let cmsg =
            Cmsghdr { cmsg_len: (cmsg_len(data.len()) as u64).min(left), cmsg_level: level, cmsg_type: kind as i32 };
        if cmsg.cmsg_len < cmsg_len(data.len()) as u64 {
            *told |= MSG_CTRUNC;
        }
        let mut bytes = cmsg.as_bytes().to_vec();
        bytes.extend_from_slice(&data);
        bytes.truncate(left as usize);
        call.put(header.msg_control.wrapping_add(used), bytes.as_slice())?;
        used += (cmsg_space(data.len()) as u64).min(left);
    }
    Ok(used)
}

/// How far a recvmmsg(2) that waits has come.
struct Received(u64);

pub fn sys_recvmmsg(call: &mut Call<'_>, [fd, at, count, flags, timeout, _]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let count = u64::from(count as u32).min(MAX_PARTS);
    let flags = flags as u32;
    let after = match timeout {
        0 => None,
        place => Some(from_timespec(call.get::<Timespec>(place)?).ok_or(Errno::EINVAL)?),
    };
    let deadline = after.map(|after| call.deadline_after(after));
    let before = call.rec.stage.as_ref().and_then(|s| s.downcast_ref::<Received>()).map_or(0, |r| r.0);
    let mut got = before;
    while got < count {
        let place = at.wrapping_add(got * size_of::<Mmsghdr>() as u64);
        let more = got > 0 && flags & MSG_WAITFORONE != 0;
        let one = receive_header(call, &file, place, flags & !MSG_WAITFORONE, more).and_then(|bytes| {
            call.rec.done = 0;
            call.put(place.wrapping_add(size_of::<MsgHdr>() as u64), &(bytes as u32))
        });
        match one {
            Ok(()) => got += 1,
            Err(Stop::Block) => {
                call.rec.stage = Some(Box::new(Received(got)));
                return Err(Stop::Block);
            }
            Err(_) if got > 0 => break,
            Err(Stop::Errno(Errno::ETIMEDOUT)) => return fail(Errno::EAGAIN),
            Err(stop) => return Err(stop),
        }
        if deadline.is_some_and(|d| d.expired()) {
            break;
        }
    }
    if let Some(deadline) = deadline {
        call.put(timeout, &to_timespec(deadline.left()))?;
    }
    Ok(got.into())
}
