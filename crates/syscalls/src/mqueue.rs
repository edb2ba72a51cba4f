//! POSIX message queues: mq_open(2), mq_unlink(2), mq_timedsend(2), mq_timedreceive(2), mq_notify(2), mq_getsetattr(2). mq_overview(7).
//!
//! Queues are files of the caller's IPC namespace's mqueue file system (`kernel::ipc::mqueue`).

use crate::socket::{socket_file, socket_of};
use crate::timers::Sigevent;
use abi::Errno;
use abi::fs::OpenFlags;
use abi::time::Timespec;
use kernel::ipc::mqueue::{
    COOKIE, MqAttr, MqFile, MqNs, MqQueue, Notify, PRIORITIES, SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD,
};
use kernel::task::Resource;
use kernel::time::{from_timespec, realtime};
use kernel::vfs::{self, Base, File, OpenHow, Path, namei};
use kernel::{Args, Call, Op, Ret, fail};
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// `struct mq_attr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
struct MqAttrStruct {
    flags: i64,
    max_messages: i64,
    message_size: i64,
    messages: i64,
    reserved: [i64; 4],
}

/// The folder that names are looked up in.
fn folder(call: &mut Call<'_>) -> Op<Base> {
    let ns = MqNs::of(&call.task.namespaces().ipc)?;
    let kernel = call.task.kernel.clone();
    let mount = ns.mount(&mut call.io(), &kernel)?;
    let root = Path::new(mount.clone(), mount.root.clone());
    Ok(Base::new(root.clone(), root))
}

/// A queue's name, without the slash that mq_open(3) has taken off. EACCES for what no queue can be called.
fn name(call: &Call<'_>, at: u64) -> Op<Box<[u8]>> {
    let name = call.path(at)?;
    if name.is_empty() {
        return fail(Errno::ENOENT);
    }
    if name.contains(&b'/') || matches!(&*name, b"." | b"..") {
        return fail(Errno::EACCES);
    }
    Ok(name)
}

pub fn sys_mq_open(call: &mut Call<'_>, [at, flags, mode, attr, ..]: Args) -> Op<Ret> {
    let attr = if attr == 0 { None } else { Some(call.get::<MqAttrStruct>(attr)?) };
    let known = OpenFlags::CREAT | OpenFlags::EXCL | OpenFlags::NONBLOCK;
    let flags = OpenFlags::from_bits_retain(flags as u32 & (known.bits() | 3));
    let name = name(call, at)?;
    if flags.bits() & 3 == 3 {
        return fail(Errno::EINVAL);
    }
    let limit = call.task.group.limit(Resource::Nofile);
    let files = call.files();
    if !files.has_room(limit) {
        return fail(Errno::EMFILE);
    }
    let base = folder(call)?;
    let perm = mode as u32 & 0o7777;
    let mut io = call.io();
    if let Some(attr) = attr {
        io.keep(Box::new(MqAttr { max_messages: attr.max_messages, message_size: attr.message_size }));
    }
    let file = vfs::open_file(&mut io, &base, &name, OpenHow { perm, ..OpenHow::new(flags) })?;
    Ok(files.add(file, true, 0, limit)?.into())
}

pub fn sys_mq_unlink(call: &mut Call<'_>, [at, ..]: Args) -> Op<Ret> {
    let name = name(call, at)?;
    let base = folder(call)?;
    namei::unlink(&mut call.io(), &base, &name)?;
    Ok(().into())
}

/// The queue behind a descriptor. EBADF for all else.
fn queue(call: &Call<'_>, fd: u64) -> Op<(Arc<File>, Arc<MqQueue>)> {
    let file = call.file(fd)?;
    let queue = file.ops_as::<MqFile>().ok_or(Errno::EBADF)?.0.clone();
    Ok((file, queue))
}

/// Sets the end of the wait at the first run: an absolute time on CLOCK_REALTIME.
fn set_deadline(call: &mut Call<'_>, at: u64) -> Op<()> {
    if at != 0 && call.rec.deadline.is_none() {
        let until = from_timespec(call.get::<Timespec>(at)?).ok_or(Errno::EINVAL)?;
        call.deadline_after(until.saturating_sub(realtime()));
    }
    Ok(())
}

pub fn sys_mq_timedsend(call: &mut Call<'_>, [fd, at, size, priority, until, _]: Args) -> Op<Ret> {
    set_deadline(call, until)?;
    let priority = priority as u32;
    if priority >= PRIORITIES {
        return fail(Errno::EINVAL);
    }
    let (file, queue) = queue(call, fd)?;
    if !file.writable() {
        return fail(Errno::EBADF);
    }
    if size > queue.attr.message_size.unsigned_abs() {
        return fail(Errno::EMSGSIZE);
    }
    let text = call.get_vec::<u8>(at, size as usize)?;
    let mut io = call.io();
    io.nonblock = file.nonblocking();
    queue.send(&mut io, priority, || Ok(text))?;
    Ok(().into())
}

pub fn sys_mq_timedreceive(call: &mut Call<'_>, [fd, at, size, priority_at, until, _]: Args) -> Op<Ret> {
    set_deadline(call, until)?;
    let (file, queue) = queue(call, fd)?;
    if !file.readable() {
        return fail(Errno::EBADF);
    }
    if size < queue.attr.message_size.unsigned_abs() {
        return fail(Errno::EMSGSIZE);
    }
    let mut io = call.io();
    io.nonblock = file.nonblocking();
    let (priority, text) = queue.receive(&mut io)?;
    drop(io);
    call.put_if(priority_at, &priority)?;
    call.put(at, text.as_slice())?;
    Ok(text.len().into())
}

pub fn sys_mq_notify(call: &mut Call<'_>, [fd, event, ..]: Args) -> Op<Ret> {
    if event == 0 {
        queue(call, fd)?.1.unregister(&call.task.group);
        return Ok(().into());
    }
    let event = call.get::<Sigevent>(event)?;
    let notify = match event.notify {
        SIGEV_NONE => Notify::None,
        SIGEV_SIGNAL if (0..=64).contains(&event.signo) => Notify::Signal(event.signo, event.value),
        // The signal is a netlink socket, and the value points to what is to be sent on it.
        SIGEV_THREAD => {
            let cookie = call.get::<[u8; COOKIE]>(event.value)?;
            let file = socket_file(call, event.signo as u32 as u64)?;
            let way = socket_of(&file)?.ops.cookies(&mut call.io())?;
            Notify::Thread(way, cookie)
        }
        _ => return fail(Errno::EINVAL),
    };
    queue(call, fd)?.1.register(call.task, notify)?;
    Ok(().into())
}

pub fn sys_mq_getsetattr(call: &mut Call<'_>, [fd, new, old, ..]: Args) -> Op<Ret> {
    let nonblock = OpenFlags::NONBLOCK;
    let new = if new == 0 { None } else { Some(call.get::<MqAttrStruct>(new)?.flags) };
    if new.is_some_and(|flags| flags & !i64::from(nonblock.bits()) != 0) {
        return fail(Errno::EINVAL);
    }
    let (file, queue) = queue(call, fd)?;
    let before = MqAttrStruct {
        flags: i64::from((file.flags() & nonblock).bits()),
        max_messages: queue.attr.max_messages,
        message_size: queue.attr.message_size,
        messages: queue.count() as i64,
        ..MqAttrStruct::default()
    };
    if let Some(flags) = new {
        file.set_flags(OpenFlags::from_bits_retain(flags as u32), nonblock);
    }
    call.put_if(old, &before)?;
    Ok(().into())
}
