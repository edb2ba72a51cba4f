//! Sockets: socket(2), bind(2), connect(2), listen(2), accept(2), shutdown(2), getsockname(2), getsockopt(2). Messages are in `message`.

use crate::pidfd;
use abi::Errno;
use abi::fs::OpenFlags;
use abi::net::{
    AF_MAX, SO_ATTACH_FILTER, SO_DETACH_FILTER, SO_PEERGROUPS, SO_PEERPIDFD, SOCK_CLOEXEC, SOCK_NONBLOCK,
    SOCK_TYPE_MASK, SOL_SOCKET,
};
use abi::seccomp::{BPF_MAXINSNS, SockFprog};
use kernel::io::Io;
use kernel::socket::{Socket, SocketOps, new_socket};
use kernel::task::Resource;
use kernel::vfs::File;
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;

/// The largest sockaddr, sizeof(struct sockaddr_storage).
const MAX_ADDRESS: u32 = 128;

/// The file of a descriptor that must be a socket: ENOTSOCK.
pub fn socket_file(call: &Call<'_>, fd: u64) -> Op<Arc<File>> {
    let file = call.file(fd)?;
    if file.ops_as::<Socket>().is_none() {
        return fail(Errno::ENOTSOCK);
    }
    Ok(file)
}

/// The socket of such a file.
pub fn socket_of(file: &File) -> Op<&Socket> {
    file.ops_as::<Socket>().ok_or(Errno::ENOTSOCK.into())
}

/// A sockaddr from the guest. EINVAL where it is too long.
pub fn get_address(call: &Call<'_>, at: u64, len: u32) -> Op<Vec<u8>> {
    if len > MAX_ADDRESS {
        return fail(Errno::EINVAL);
    }
    call.get_vec::<u8>(at, len as usize)
}

/// Writes a sockaddr, cut to the room that the guest has, and its whole length. A null address is not wanted.
pub fn put_address(call: &Call<'_>, address: &[u8], at: u64, len_at: u64) -> Op<()> {
    if at == 0 {
        return Ok(());
    }
    let room = call.get::<i32>(len_at)?;
    let room = usize::try_from(room).map_err(|_| Errno::EINVAL)?;
    call.put(at, address.get(..room.min(address.len())).unwrap_or_default())?;
    call.put(len_at, &(address.len() as u32))
}

fn install(call: &Call<'_>, ops: Box<dyn SocketOps>, flags: u32) -> Op<Ret> {
    let file = new_socket(&call.task.cred(), ops, OpenFlags::from_bits_retain(flags & SOCK_NONBLOCK));
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(file, flags & SOCK_CLOEXEC != 0, 0, limit)?.into())
}

fn split_kind(kind: u64) -> Op<(u32, u32)> {
    let kind = kind as u32;
    let flags = kind & !SOCK_TYPE_MASK;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return fail(Errno::EINVAL);
    }
    Ok((kind & SOCK_TYPE_MASK, flags))
}

pub fn sys_socket(call: &mut Call<'_>, [family, kind, protocol, ..]: Args) -> Op<Ret> {
    let (kind, flags) = split_kind(kind)?;
    let family = family as u32;
    let known = call.task.kernel.family(family).filter(|_| family < AF_MAX).ok_or(Errno::EAFNOSUPPORT)?;
    let ops = (known.create)(&mut call.io(), kind, protocol as u32)?;
    install(call, ops, flags)
}

pub fn sys_socketpair(call: &mut Call<'_>, [family, kind, protocol, fds, ..]: Args) -> Op<Ret> {
    let (kind, flags) = split_kind(kind)?;
    let known = call.task.kernel.family(family as u32).ok_or(Errno::EAFNOSUPPORT)?;
    let pair = (known.pair)(&mut call.io(), kind, protocol as u32)?;
    let cred = call.task.cred();
    let open = OpenFlags::from_bits_retain(flags & SOCK_NONBLOCK);
    let pair = pair.map(|ops| new_socket(&cred, ops, open));
    let files = call.files();
    let limit = call.task.group.limit(Resource::Nofile);
    let numbers = files.add_pair(pair, flags & SOCK_CLOEXEC != 0, limit)?;
    if let Err(stop) = call.put(fds, &numbers) {
        for fd in numbers {
            drop(files.remove(fd));
        }
        return Err(stop);
    }
    Ok(Ret::Value(0))
}

/// The context of an operation on the file: it does not wait where the file is nonblocking.
pub fn socket_io<'a>(call: &'a mut Call<'_>, file: &File) -> Io<'a> {
    let mut io = call.io();
    io.nonblock = file.nonblocking();
    io
}

pub fn sys_bind(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let address = get_address(call, at, len as u32)?;
    socket_of(&file)?.ops.bind(&mut call.io(), &address)?;
    Ok(Ret::Value(0))
}

pub fn sys_connect(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let address = get_address(call, at, len as u32)?;
    socket_of(&file)?.connect(&mut socket_io(call, &file), &address)?;
    Ok(Ret::Value(0))
}

pub fn sys_listen(call: &mut Call<'_>, [fd, backlog, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    socket_of(&file)?.ops.listen(&mut call.io(), backlog as i32)?;
    Ok(Ret::Value(0))
}

pub fn sys_accept(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    sys_accept4(call, [fd, at, len, 0, 0, 0])
}

pub fn sys_accept4(call: &mut Call<'_>, [fd, at, len, flags, ..]: Args) -> Op<Ret> {
    let flags = flags as u32;
    if flags & !(SOCK_CLOEXEC | SOCK_NONBLOCK) != 0 {
        return fail(Errno::EINVAL);
    }
    let file = socket_file(call, fd)?;
    let ops = socket_of(&file)?.accept(&mut socket_io(call, &file))?;
    if at != 0 {
        // A peer that has gone since then leaves an address without a name.
        let (family, ..) = ops.identity();
        let address = ops.peer_address(&mut call.io()).unwrap_or_else(|_| (family as u16).to_le_bytes().to_vec());
        put_address(call, &address, at, len)?;
    }
    install(call, ops, flags)
}

pub fn sys_shutdown(call: &mut Call<'_>, [fd, how, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    socket_of(&file)?.ops.shutdown(&mut call.io(), how as u32)?;
    Ok(Ret::Value(0))
}

pub fn sys_getsockname(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let address = socket_of(&file)?.ops.local_address(&mut call.io())?;
    tell_address(call, &address, at, len)
}

pub fn sys_getpeername(call: &mut Call<'_>, [fd, at, len, ..]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let address = socket_of(&file)?.ops.peer_address(&mut call.io())?;
    tell_address(call, &address, at, len)
}

fn tell_address(call: &Call<'_>, address: &[u8], at: u64, len: u64) -> Op<Ret> {
    if at == 0 {
        return fail(Errno::EFAULT);
    }
    put_address(call, address, at, len)?;
    Ok(Ret::Value(0))
}

pub fn sys_setsockopt(call: &mut Call<'_>, [fd, level, name, at, len, _]: Args) -> Op<Ret> {
    let len = usize::try_from(len as i32).map_err(|_| Errno::EINVAL)?;
    let file = socket_file(call, fd)?;
    match (level as u32, name as u32) {
        (SOL_SOCKET, SO_ATTACH_FILTER) => return attach_filter(call, socket_of(&file)?, at, len),
        (SOL_SOCKET, SO_DETACH_FILTER) if len < size_of::<i32>() => return fail(Errno::EINVAL),
        (SOL_SOCKET, SO_DETACH_FILTER) => {
            socket_of(&file)?.detach_filter()?;
            return Ok(Ret::Value(0));
        }
        _ => {}
    }
    // No option is longer than a page.
    let value = call.get_vec::<u8>(at, len.min(4096))?;
    socket_of(&file)?.set_option(&mut call.io(), level as u32, name as u32, &value)?;
    Ok(Ret::Value(0))
}

fn attach_filter(call: &Call<'_>, socket: &Socket, at: u64, len: usize) -> Op<Ret> {
    if len != size_of::<SockFprog>() {
        return fail(Errno::EINVAL);
    }
    let program: SockFprog = call.get(at)?;
    if program.filter == 0 || program.len == 0 || usize::from(program.len) > BPF_MAXINSNS {
        return fail(Errno::EINVAL);
    }
    socket.attach_filter(call.get_vec(program.filter, program.len.into())?)?;
    Ok(Ret::Value(0))
}

pub fn sys_getsockopt(call: &mut Call<'_>, [fd, level, name, at, len_at, _]: Args) -> Op<Ret> {
    let file = socket_file(call, fd)?;
    let room = usize::try_from(call.get::<i32>(len_at)?).map_err(|_| Errno::EINVAL)?;
    let socket = socket_of(&file)?;
    let of_all = level as u32 == SOL_SOCKET;
    if of_all && name as u32 == SO_PEERPIDFD {
        let pid = socket.ops.peer_pid().ok_or(Errno::ENODATA)?;
        let fd = pidfd::install_at(call, &pid, at)?;
        call.put(len_at, &(size_of_val(&fd) as u32))?;
        return Ok(Ret::Value(0));
    }
    let value = socket.get_option(&mut call.io(), level as u32, name as u32, room)?;
    if of_all && name as u32 == SO_PEERGROUPS && value.len() > room {
        call.put(len_at, &(value.len() as u32))?;
        return fail(Errno::ERANGE);
    }
    let told = value.get(..room.min(value.len())).unwrap_or_default();
    call.put(at, told)?;
    call.put(len_at, &(told.len() as u32))?;
    Ok(Ret::Value(0))
}
