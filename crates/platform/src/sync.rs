//! Short locks of the platform, by class: their ranks come after all of the kernel's, since the kernel calls the platform with locks held, never the other way round.
//!
//! None is held over a host call that sleeps, or over a call into the kernel.

pub(crate) use lock::{Mutex, MutexGuard};

lock::lock_class! {
    /// The list of shards.
    pub Shards = 60_000;
    /// The table of spaces.
    pub Spaces = 60_010;
    /// A zygote's state.
    pub Zygotes = 60_020;
    /// The seed: held while a zygote is made, which sleeps (start, and the keeper).
    pub Seeds = 60_030;
    /// A thread's state: the outermost in the handling of an event.
    pub States = 60_040;
    /// A shard's table of threads.
    pub Threads = 60_050;
    /// A shard's list of open notifications.
    pub Opens = 60_060;
    /// A shard's threads by cookie, where there is no listener.
    pub Cookies = 60_065;
    /// A space's lists of threads and slots.
    pub Slots = 60_070;
    /// Whose turn it is to receive files, where there is no listener.
    pub Handovers = 60_075;
    /// The files that a space's stub keeps.
    pub Keeps = 60_078;
    /// A space's memory file.
    pub Files = 60_080;
    /// A space's rewritten call sites.
    pub Rewritten = 60_085;
    /// Expected newborns.
    pub Newborns = 60_090;
    /// Births in the tracer's hands.
    pub Births = 60_095;
    /// Who tells the host on which cores a thread may run.
    pub Telling = 60_098;
    /// The threads that are bound to a core.
    pub Youth = 60_100;
    /// Memory files that are not in use.
    pub Pools = 60_110;
    /// Spare workers.
    pub Spares = 60_120;
    /// Threads that the poller is to watch.
    pub Watches = 60_130;
}

/// Locks; reads better in a chain than the method.
pub(crate) fn lock<T: ?Sized, C: lock::Class>(mutex: &Mutex<T, C>) -> MutexGuard<'_, T> {
    mutex.lock()
}
