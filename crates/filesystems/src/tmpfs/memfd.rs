//! memfd_create(2): files without a name, of a tmpfs that nobody has mounted; seals of fcntl(2) are those of the host's memfd, but for
//! F_SEAL_EXEC, since the host does not know the file's mode.

use super::data::Data;
use super::node::{Node, NodeOps};
use super::{Counts, Options};
use abi::Errno;
use abi::fs::{F_SEAL_EXEC, F_SEAL_FUTURE_WRITE, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, OpenFlags};
use abi::mm::{MFD_ALLOW_SEALING, MFD_EXEC, MFD_NOEXEC_SEAL};
use host::HostFd;
use kernel::io::Io;
use kernel::op::{Op, fail};
use kernel::vfs::{File, FileOps, Inode, Mount, NewKind, NewNode, Path};
use std::sync::{Arc, OnceLock};

struct Hidden {
    root: Arc<Inode>,
    mount: Arc<Mount>,
    counts: Arc<Counts>,
}

fn hidden() -> Op<&'static Hidden> {
    static HIDDEN: OnceLock<Option<Hidden>> = OnceLock::new();
    let made = HIDDEN.get_or_init(|| {
        let root = super::make(Options { size: None, inodes: None, perm: 0o1777, uid: 0, gid: 0 });
        let counts = Node::of(&root).ok()?.counts.clone();
        let mount = Mount::new(root.fs.clone(), root.fs.root_dentry(&root), b"tmpfs", 0);
        Some(Hidden { root, mount, counts })
    });
    Ok(made.as_ref().ok_or(Errno::ENFILE)?)
}

/// Makes the open file. `flags` (MFD_*) have been checked. ENFILE where the host leaves us few descriptors.
pub(super) fn make(io: &mut Io<'_>, name: &[u8], flags: u32) -> Op<Arc<File>> {
    let hidden = hidden()?;
    let sealing = flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) != 0;
    if host::fd::are_few() {
        return fail(Errno::ENFILE);
    }
    let fd = HostFd::new(host::memory::memfd("memfd", sealing)?);
    let noexec = flags & MFD_NOEXEC_SEAL != 0 && flags & MFD_EXEC == 0;
    let perm = if noexec { 0o666 } else { 0o777 };
    let new = NewNode::plain(NewKind::Regular, perm, io.cred.fsuid, io.cred.fsgid);
    hidden.counts.take_inode()?;
    let inode = Node::inode(&hidden.root.fs, &hidden.counts, &new, 0);
    let Some(node) = inode.ops_as::<NodeOps>().map(|ops| ops.0.clone()) else { return fail(Errno::EIO) };
    {
        let mut state = node.state.lock();
        state.nlink = 0;
        state.exec_sealed = noexec;
        state.data = Data::on_host(fd);
    }
    let file: Arc<dyn FileOps> = Arc::new(super::file::OpenFile { node });
    let mut shown = b"memfd:".to_vec();
    shown.extend_from_slice(name);
    let path = Path::new(hidden.mount.clone(), hidden.mount.root.nameless(&shown, inode.clone()));
    Ok(File::memory(path, inode, file, OpenFlags::RDWR | OpenFlags::LARGEFILE))
}

/// F_GET_SEALS, F_ADD_SEALS. Files with a name take none.
pub(super) fn seals(node: &Arc<Node>, add: Option<u32>) -> Op<u32> {
    if !hidden().is_ok_and(|h| Arc::ptr_eq(&h.counts, &node.counts)) {
        return if add.is_some() { fail(Errno::EPERM) } else { Ok(F_SEAL_SEAL) };
    }
    let (fd, executable) = {
        let state = node.state.lock();
        match &state.data {
            Data::Host(host) => (host.fd.clone(), state.perm & 0o111 != 0),
            Data::Heap(_) => return fail(Errno::EINVAL),
        }
    };
    if let Some(mut add) = add {
        // What can be executed may not change then, either.
        if add & F_SEAL_EXEC != 0 && executable {
            add |= F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
        }
        host::memory::add_seals(&fd, add & !F_SEAL_EXEC)?;
        node.state.lock().exec_sealed |= add & F_SEAL_EXEC != 0;
    }
    let exec = if node.state.lock().exec_sealed { F_SEAL_EXEC } else { 0 };
    Ok(host::memory::seals(&fd)? | exec)
}
