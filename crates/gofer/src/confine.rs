//! How the gofer gives up its rights: what it serves becomes detached mounts, its root is empty, its capabilities are those that files' owners
//! ask for, and a seccomp filter allows what [`SECCOMP`] lists.
//!
//! Order: sources, root, capabilities, no_new_privs (all before the first thread, so that every thread has them), threads, filter.

use crate::{GoferError, MountSource, Peers, Server, Source, Store, donation};
use host::allow;
use host::capabilities::{self, CapabilitySet};
use host::file::{self, SelfFd};
use host::lockdown::{self, Allow, Check, Otherwise};
use host::{HostFd, namespaces};
use std::path::Path;

/// Leaves the host's folders but for those that are served.
pub fn enter(mounts: Vec<MountSource>, donate: bool, peers: Peers) -> Result<Server, GoferError> {
    let step = |step| move |errno| GoferError::Confine { step, errno };
    let mut sources = Vec::with_capacity(mounts.len());
    let folders = donation::Maker::new(donate);
    for source in mounts {
        let fd =
            file::detach_tree(&source.path).map_err(|errno| GoferError::Source { path: source.path.clone(), errno })?;
        let folder = folders.make(&source);
        let store = source
            .store
            .as_ref()
            .map(|path| Store::open(path).map_err(|errno| GoferError::Store { path: path.clone(), errno }));
        let store = store.transpose()?;
        sources.push(Source { source, fd, folder, store });
    }
    let self_fd = HostFd::from(file::detach_folder(Path::new("/proc/self/fd")).map_err(step("copying /proc/self/fd"))?);
    namespaces::empty_root().map_err(|e| step("leaving the host's root")(host::errno(e)))?;
    // The current folder is reached by its process only, and ".." ends at it.
    file::enter(&self_fd).map_err(step("entering /proc/self/fd"))?;
    file::clear_umask();
    let descriptors = file::raise_descriptor_limit();
    let server = Server::new(sources, SelfFd::HERE, descriptors, peers)?;
    let keep = if file::own_ids().0 == 0 { kept_capabilities() } else { CapabilitySet::empty() };
    capabilities::limit(keep).map_err(|e| step("dropping capabilities")(host::errno(e)))?;
    capabilities::no_new_privileges().map_err(|e| step("setting no_new_privs")(host::errno(e)))?;
    Ok(server)
}

/// The filter, on all threads.
pub fn lock(report: bool, peers: Peers) -> Result<(), GoferError> {
    if report {
        lockdown::report_violations();
    }
    let more: &[Allow] = if peers.connect || peers.bind { SOCKETS } else { &[] };
    lockdown::install(&[SECCOMP, more].concat(), if report { Otherwise::Trap } else { Otherwise::Kill })
        .map_err(|e| GoferError::Confine { step: "installing the seccomp filter", errno: host::errno(e) })
}

/// What a file server needs to act for files of any owner. In a user namespace these count for its own ids alone.
fn kept_capabilities() -> CapabilitySet {
    CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP
}

/// This process' part of docs/security.md.
pub fn security_page() -> String {
    lockdown::markdown(&[SECCOMP, SOCKETS].concat())
}

/// What comes to it with `--host-uds`.
const SOCKETS: &[Allow] = &[
    allow!(socket, [Check::Is32(0, 1)], "AF_UNIX, only with --host-uds: a socket for a guest"),
    allow!(connect, "only with --host-uds: connects it to a socket of the host, by /proc/self/fd"),
    allow!(bind, "only with --host-uds: binds it to a new name below a folder, by /proc/self/fd"),
];

/// Every host call of the gofer once it serves.
pub const SECCOMP: &[Allow] = &[
    allow!(recvmsg, "takes a request"),
    allow!(sendmsg, "answers with a descriptor"),
    allow!(statx, "attributes"),
    allow!(openat2, "opens a name below a folder, never beyond it"),
    allow!(openat, "opens what a node stands for, by /proc/self/fd"),
    allow!(close, "forgets a handle"),
    allow!(fcntl, [Check::Is32(1, 1)], "F_GETFD: debug builds check a descriptor before they close it"),
    allow!(readlinkat, "reads a symbolic link"),
    allow!(getdents64, "lists a folder"),
    allow!(lseek, "goes on with a listing"),
    allow!(pread64, "reads a small file to send its contents along"),
    allow!(mkdirat, "makes a folder"),
    allow!(mknodat, "makes a FIFO, a socket's name, or a device node that nobody opens"),
    allow!(symlinkat, "makes a symbolic link"),
    allow!(linkat, "makes a hard link"),
    allow!(unlinkat, "removes a name"),
    allow!(renameat2, "renames"),
    allow!(renameat, "renames, without flags"),
    allow!(fchownat, "changes an owner"),
    allow!(fchmodat, "changes permissions"),
    allow!(utimensat, "changes times"),
    allow!(ftruncate, "changes a size"),
    allow!(getxattr, "reads an extended attribute"),
    allow!(setxattr, "writes an extended attribute"),
    allow!(listxattr, "lists extended attributes"),
    allow!(removexattr, "removes an extended attribute"),
    allow!(fstatfs, "file system statistics"),
    allow!(fsync, "brings a file to the disk"),
    allow!(fdatasync, "brings a file's data to the disk"),
    allow!(syncfs, "brings a file system to the disk"),
    allow!(socketpair, "makes another channel"),
    allow!(futex, "locks between threads"),
    allow!(mmap, [Check::Masked(2, 4, 0)], "memory for the allocator, never executable"),
    allow!(mprotect, [Check::Masked(2, 4, 0)], "memory for the allocator, never executable"),
    allow!(munmap, "memory for the allocator"),
    allow!(mremap, "memory for the allocator"),
    allow!(brk, "memory for the allocator"),
    allow!(madvise, "memory for the allocator, and a thread's stack at its end"),
    allow!(write, [Check::Is32(0, 2)], "a last message on standard error"),
    allow!(rt_sigprocmask, "a thread's start and end"),
    allow!(sigaltstack, "a thread's start and end"),
    allow!(rt_sigreturn, "returns from a handler"),
    allow!(set_robust_list, "a thread's start"),
    allow!(rseq, "a thread's start"),
    allow!(gettid, "a thread's start"),
    allow!(getpid, "a thread's start"),
    allow!(sched_getaffinity, "a thread's start: where its stack lies"),
    allow!(sched_yield, "waits a moment for another thread"),
    allow!(clock_gettime, "time, where the vDSO has none"),
    allow!(getrandom, "seeds of hash tables"),
    allow!(restart_syscall, "goes on after a stop"),
    allow!(exit, "a thread's end"),
    allow!(exit_group, "the end"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    /// The page shows the table as it is. `GOFER_WRITE_DOCS=1 cargo test -p gofer` writes it anew.
    #[test]
    fn the_security_page_shows_this_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/security.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (begin, end) = ("<!-- gofer: host calls -->\n", "<!-- gofer: end -->");
        let (before, rest) = page.split_once(begin).expect("the page has the gofer's part");
        let (table, after) = rest.split_once(end).expect("the gofer's part has an end");
        if std::env::var_os("GOFER_WRITE_DOCS").is_some() {
            std::fs::write(path, format!("{before}{begin}{}{end}{after}", super::security_page())).unwrap();
        } else {
            assert_eq!(table, super::security_page());
        }
    }
}
