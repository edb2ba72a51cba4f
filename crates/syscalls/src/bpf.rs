//! bpf(2): programs that decide about devices (BPF_PROG_TYPE_CGROUP_DEVICE), which container runtimes attach to control groups. No maps, no other types: those of CGROUP_SKB can be loaded, by which libraries find out
//! whether programs can be attached at all, and not be attached.
//!
//! Programs are `kernel::bpf`'s, their places `kernel::task::cgroup`'s.

use abi::Errno;
use abi::bpf::{
    BPF_CGROUP_DEVICE, BPF_CGROUP_INET_EGRESS, BPF_CGROUP_INET_INGRESS, BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE,
    BPF_F_QUERY_EFFECTIVE, BPF_F_REPLACE, BPF_OBJ_GET_INFO_BY_FD, BPF_PROG_ATTACH, BPF_PROG_DETACH,
    BPF_PROG_GET_FD_BY_ID, BPF_PROG_GET_NEXT_ID, BPF_PROG_INFO_LEN, BPF_PROG_LOAD, BPF_PROG_QUERY,
    BPF_PROG_TYPE_CGROUP_DEVICE, BPF_PROG_TYPE_CGROUP_SKB, BpfAttach, BpfId, BpfInfo, BpfInsn, BpfLoad, BpfProgInfo,
    BpfQuery,
};
use kernel::bpf::{MOST_INSNS, Program, Refused};
use kernel::cred::Cap;
use kernel::ipc::bpf_prog::{BpfProg, new_bpf_prog};
use kernel::task::Resource;
use kernel::task::cgroup::Cgroup;
use kernel::{Args, Call, Op, Ret, fail};
use std::mem::offset_of;
use std::sync::Arc;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// No union bpf_attr is longer.
const MOST_ATTR: u64 = 4096;
/// BPF_F_STRICT_ALIGNMENT, ANY_ALIGNMENT, TEST_RND_HI32, TEST_STATE_FREQ: about the check alone.
const LOAD_FLAGS: u32 = 15;

pub fn sys_bpf(call: &mut Call<'_>, [command, at, size, ..]: Args) -> Op<Ret> {
    if !call.task.cred().has(Cap::SysAdmin) {
        return fail(Errno::EPERM); // as with kernel.unprivileged_bpf_disabled
    }
    match command as u32 {
        BPF_PROG_LOAD => load(call, attr(call, at, size)?),
        BPF_PROG_ATTACH => attach(call, attr(call, at, size)?),
        BPF_PROG_DETACH => detach(call, attr(call, at, size)?),
        BPF_PROG_QUERY => query(call, attr(call, at, size)?, at),
        BPF_PROG_GET_FD_BY_ID => {
            let ask: BpfId = attr(call, at, size)?;
            if ask.open_flags != 0 || ask.next_id != 0 {
                return fail(Errno::EINVAL);
            }
            install(call, Program::by_id(ask.id)?)
        }
        BPF_PROG_GET_NEXT_ID => {
            let ask: BpfId = attr(call, at, size)?;
            let next = Program::next_id(ask.id).ok_or(Errno::ENOENT)?;
            call.put(at + offset_of!(BpfId, next_id) as u64, &next)?;
            Ok(0.into())
        }
        BPF_OBJ_GET_INFO_BY_FD => info(call, attr(call, at, size)?, at),
        _ => fail(Errno::EINVAL),
    }
}

/// The attributes that a command knows: those that the caller does not give are 0, and those that it gives beyond must be (E2BIG).
fn attr<T: FromBytes + IntoBytes + Immutable + Default>(call: &Call<'_>, at: u64, size: u64) -> Op<T> {
    if size > MOST_ATTR {
        return fail(Errno::E2BIG);
    }
    let given: Vec<u8> = call.get_vec(at, size as usize)?;
    if given.iter().skip(size_of::<T>()).any(|byte| *byte != 0) {
        return fail(Errno::E2BIG);
    }
    let mut attr = T::default();
    for (to, from) in attr.as_mut_bytes().iter_mut().zip(&given) {
        *to = *from;
    }
    Ok(attr)
}

fn install(call: &Call<'_>, program: Arc<Program>) -> Op<Ret> {
    let limit = call.task.group.limit(Resource::Nofile);
    Ok(call.files().add(new_bpf_prog(program), true, 0, limit)?.into())
}

fn program(call: &Call<'_>, fd: u32) -> Op<Arc<Program>> {
    Ok(call.file(fd.into())?.ops_as::<BpfProg>().ok_or(Errno::EINVAL)?.0.clone())
}

/// The control group of a folder: only those of version 2 take programs.
fn group(call: &Call<'_>, fd: u32) -> Op<Arc<Cgroup>> {
    let file = call.file(fd.into())?;
    let inode = file.inode.as_ref().ok_or(Errno::EBADF)?;
    let group: Option<Arc<Cgroup>> = inode.ops.stands_for().and_then(|any| any.downcast().ok());
    Ok(group.filter(|group| group.hierarchy.is_two()).ok_or(Errno::EBADF)?)
}

fn load(call: &mut Call<'_>, ask: BpfLoad) -> Op<Ret> {
    let name_ends = ask.prog_name.iter().position(|byte| *byte == 0).ok_or(Errno::EINVAL)?;
    let (name, rest) = ask.prog_name.split_at(name_ends);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    if !name.iter().all(plain) || rest.iter().any(|byte| *byte != 0) || ask.prog_flags & !LOAD_FLAGS != 0 {
        return fail(Errno::EINVAL);
    }
    let attached_as: &[u32] = match ask.prog_type {
        BPF_PROG_TYPE_CGROUP_DEVICE => &[0, BPF_CGROUP_DEVICE],
        BPF_PROG_TYPE_CGROUP_SKB => &[BPF_CGROUP_INET_INGRESS, BPF_CGROUP_INET_EGRESS],
        _ => return fail(Errno::EINVAL),
    };
    if ask.prog_ifindex != 0 || !attached_as.contains(&ask.expected_attach_type) {
        return fail(Errno::EINVAL);
    }
    let logs = ask.log_level != 0;
    if logs && (ask.log_buf == 0 || ask.log_size < 128) || !logs && (ask.log_buf != 0) != (ask.log_size != 0) {
        return fail(Errno::EINVAL);
    }
    call.mm()?.cstr(ask.license, 128)?.ok_or(Errno::EINVAL)?;
    if ask.insn_cnt == 0 || ask.insn_cnt as usize > MOST_INSNS {
        return fail(Errno::E2BIG);
    }
    let insns: Vec<BpfInsn> = call.get_vec(ask.insns, ask.insn_cnt as usize)?;
    match Program::load(ask.prog_type, insns, ask.prog_name, call.task.cred().uid) {
        Ok(program) => {
            log(call, &ask, "")?;
            install(call, program)
        }
        Err(Refused { errno, why }) => {
            log(call, &ask, &format!("{why}\n"))?;
            fail(errno)
        }
    }
}

/// Tells the loader, who asked for it, why. ENOSPC where the buffer is too small.
fn log(call: &Call<'_>, ask: &BpfLoad, text: &str) -> Op<()> {
    if ask.log_level == 0 {
        return Ok(());
    }
    let mut bytes = text.as_bytes().to_vec();
    let fits = bytes.len() < ask.log_size as usize;
    bytes.truncate((ask.log_size as usize).saturating_sub(1));
    bytes.push(0);
    call.put(ask.log_buf, bytes.as_slice())?;
    if fits { Ok(()) } else { fail(Errno::ENOSPC) }
}

fn attach(call: &mut Call<'_>, ask: BpfAttach) -> Op<Ret> {
    let how = ask.attach_flags & !BPF_F_REPLACE;
    if how & !(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI) != 0 {
        return fail(Errno::EINVAL);
    }
    let new = program(call, ask.attach_bpf_fd)?;
    let kind = match ask.attach_type {
        BPF_CGROUP_DEVICE => BPF_PROG_TYPE_CGROUP_DEVICE,
        BPF_CGROUP_INET_INGRESS | BPF_CGROUP_INET_EGRESS => BPF_PROG_TYPE_CGROUP_SKB,
        _ => return fail(Errno::EINVAL),
    };
    if new.kind != kind {
        return fail(Errno::EINVAL);
    }
    let group = group(call, ask.target_fd)?;
    let replaces = ask.attach_flags & BPF_F_REPLACE != 0;
    let both = BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI;
    if replaces && how != BPF_F_ALLOW_MULTI || how == both {
        return fail(Errno::EINVAL);
    }
    if kind != BPF_PROG_TYPE_CGROUP_DEVICE {
        return fail(Errno::EOPNOTSUPP); // nobody would run it
    }
    let replaced = if replaces { Some(program(call, ask.replace_bpf_fd)?) } else { None };
    group.attach_device_program(new, how, replaced.as_ref())?;
    Ok(0.into())
}

fn detach(call: &mut Call<'_>, ask: BpfAttach) -> Op<Ret> {
    if ask.attach_type != BPF_CGROUP_DEVICE || ask.attach_flags != 0 || ask.replace_bpf_fd != 0 {
        return fail(Errno::EINVAL);
    }
    let group = group(call, ask.target_fd)?;
    // A group with one program needs no name for it: any descriptor will do, or none.
    let named = program(call, ask.attach_bpf_fd).ok();
    group.detach_device_program(named.as_ref())?;
    Ok(0.into())
}

/// The ids of what is attached. ENOSPC where the caller's list is too short; the count is told in any case.
fn query(call: &mut Call<'_>, ask: BpfQuery, at: u64) -> Op<Ret> {
    if ask.query_flags & !BPF_F_QUERY_EFFECTIVE != 0 || ask.attach_type != BPF_CGROUP_DEVICE {
        return fail(Errno::EINVAL);
    }
    let effective = ask.query_flags & BPF_F_QUERY_EFFECTIVE != 0;
    let (programs, flags) = group(call, ask.target_fd)?.device_programs(effective);
    let flags = if effective { 0 } else { flags };
    call.put(at + offset_of!(BpfQuery, attach_flags) as u64, &flags)?;
    call.put(at + offset_of!(BpfQuery, prog_cnt) as u64, &(programs.len() as u32))?;
    if ask.prog_cnt == 0 || ask.prog_ids == 0 || programs.is_empty() {
        return Ok(0.into()); // only the number was asked for
    }
    let ids: Vec<u32> = programs.iter().take(ask.prog_cnt as usize).map(|program| program.id).collect();
    call.put(ask.prog_ids, ids.as_slice())?;
    if ids.len() < programs.len() { fail(Errno::ENOSPC) } else { Ok(0.into()) }
}

fn info(call: &mut Call<'_>, ask: BpfInfo, at: u64) -> Op<Ret> {
    let program = program(call, ask.bpf_fd)?;
    let len = (ask.info_len as usize).min(BPF_PROG_INFO_LEN);
    let given: Vec<u8> = call.get_vec(ask.info, len)?;
    let mut wanted = BpfProgInfo::default();
    for (to, from) in wanted.as_mut_bytes().iter_mut().zip(&given) {
        *to = *from;
    }
    let code = program.insns.as_bytes();
    // Of the instructions as much as the caller has room for.
    if wanted.xlated_prog_len > 0 {
        let room = code.get(..code.len().min(wanted.xlated_prog_len as usize)).unwrap_or_default();
        call.put(wanted.xlated_prog_insns, room)?;
    }
    let told = BpfProgInfo {
        prog_type: program.kind,
        id: program.id,
        xlated_prog_len: code.len() as u32,
        xlated_prog_insns: wanted.xlated_prog_insns,
        load_time: program.loaded,
        created_by_uid: program.uid,
        name: program.name,
        ..BpfProgInfo::default()
    };
    let mut bytes = told.as_bytes().to_vec();
    bytes.resize(BPF_PROG_INFO_LEN, 0);
    bytes.truncate(len);
    call.put(ask.info, bytes.as_slice())?;
    call.put(at + offset_of!(BpfInfo, info_len) as u64, &(len as u32))?;
    Ok(0.into())
}
