//! Every lock class of the kernel with its rank, lowest taken first. `lock` checks the order in debug builds.
//!
//! Rule: no `Mutex` is held over a host call that can sleep, or while guest memory is copied through the stub.

lock::lock_class! {
    /// One change of mounts at a time, over all namespaces.
    pub MountChange = 9;
    /// A mount's place among the others.
    pub MountTree = 10;
    /// Which epoll instances watch which.
    pub EpollNesting = 12;
    /// A folder's children.
    pub DentryChildren = 20;
    /// A dentry's own place: parent and name.
    pub DentryPlace = 22;
    /// What a file system keeps for an inode.
    pub InodeState = 26;
    /// A pipe, a socket, a terminal, ... : the state of an object behind a file.
    pub FileState = 30;
    /// The second object of a pair (a socket's peer, a terminal's other side).
    pub FileStateNested = 32;
    /// Record locks and flocks of an inode.
    pub FileLocks = 34;
    /// The root, working folder and umask of a task.
    pub FsContextState = 38;
    /// A table of descriptors.
    pub FdTableState = 40;
    /// A map of memory areas.
    pub MmState = 44;
    /// Priority-inheriting futexes with waiters.
    pub PiFutexes = 46;
    /// Parents, children, groups, sessions, process states.
    pub TaskTree = 50;
    /// A process' parent, children, threads and groups; one process at a time.
    pub GroupLinks = 51;
    /// A PID namespace's numbers.
    pub PidTable = 52;
    /// Signal actions and shared pending signals of a thread group.
    pub ProcessSignals = 56;
    /// A thread's mask and pending signals.
    pub TaskSignals = 58;
    /// A task's own small fields (credentials, name, platform thread).
    pub TaskFields = 60;
    /// The record of the call that a task is in.
    pub TaskRecord = 8;
    /// Where a namespace's hierarchies of control groups are mounted.
    pub CgroupMounts = 11;
    /// Trees of control groups and who is in them.
    pub CgroupTree = 47;
    /// A terminal's link to session and foreground group.
    pub TtyJob = 48;
    /// POSIX and interval timers of a process.
    pub PosixTimers = 49;
    /// An epoll instance's ready list.
    pub EpollReady = 70;
    /// A wait queue. Nothing is called while it is held.
    pub QueueWaiters = 80;
    /// The reactor's timers.
    pub Timers = 84;
    /// Descriptors that are lent to threads.
    pub Lent = 89;
    /// Small leaf state; nothing else is taken under it.
    pub Leaf = 90;
}
