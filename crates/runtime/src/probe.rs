//! What the host's kernel has of what makes stockade fast or tight; nothing is changed by asking (docs/platform.md, "Host kernels").
//!
//! Owns no locks.

use std::fs;

/// One feature.
pub struct Probe {
    pub what: &'static str,
    pub present: bool,
    /// What it costs to do without.
    pub without: &'static str,
}

/// Asks for all of them; less than a millisecond.
pub fn run() -> Vec<Probe> {
    let version = version();
    let since = |major, minor| version >= (major, minor);
    let read = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u64>().ok());
    let probe = |what, present, without| Probe { what, present, without };
    vec![
        probe(
            "Linux 5.15",
            since(5, 15),
            "stockade cannot run: seccomp notification lacks what it needs; boot a newer kernel",
        ),
        probe(
            "seccomp user notification",
            actions().contains("user_notif"),
            "stockade cannot run: each call of a guest comes by it; boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
        probe(
            "no seccomp listener above this process",
            host::seccomp::notify::listener_is_possible() != Err(abi::Errno::EBUSY),
            "stockade cannot run below a filter with a listener (docs/adr/0008-another-listener-above.md)",
        ),
        probe("WAIT_KILLABLE_RECV (Linux 5.19)", since(5, 19), "each system call of a guest costs a signal on top"),
        probe(
            "wake-up on the same core (Linux 6.6)",
            since(6, 6),
            "each guest thread is pinned to its worker's core to be as fast",
        ),
        probe("PAGEMAP_SCAN (Linux 6.7)", since(6, 7), "memory use and snapshots are found by reading pagemap, slower"),
        probe("PIDFD_THREAD (Linux 6.9)", since(6, 9), "threads are told apart by cookies alone"),
        probe(
            "user namespaces",
            read("/proc/sys/user/max_user_namespaces").is_none_or(|n| n > 0),
            "stockade cannot run; raise the sysctl user.max_user_namespaces",
        ),
        probe(
            "user namespaces for ordinary users",
            read("/proc/sys/kernel/unprivileged_userns_clone").is_none_or(|n| n > 0)
                && read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").is_none_or(|n| n == 0),
            "stockade runs as root only; see the sysctls kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
        ),
        probe(
            "a memory cgroup for the sandbox",
            memory_cgroup(),
            "nothing bounds the sum of a guest's memory but the host's",
        ),
        probe(
            "an unmasked /proc",
            unmasked_proc(),
            "the sandbox has no procfs of its own: memory use and CPU time of guests are not known",
        ),
    ]
}

fn version() -> (u32, u32) {
    let uname = host::rustix::system::uname();
    let text = uname.release().to_string_lossy().into_owned();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn actions() -> String {
    fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default()
}

fn memory_cgroup() -> bool {
    let unified = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        .is_ok_and(|c| c.split_whitespace().any(|n| n == "memory"));
    let writable = host::rustix::process::geteuid().is_root();
    writable && (unified || std::path::Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists())
}

/// Another container engine puts mounts over parts of /proc; a new procfs in a user namespace is refused then.
fn unmasked_proc() -> bool {
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|text| {
        !text
            .lines()
            .any(|l| l.split(' ').nth(4).is_some_and(|p| p.starts_with("/proc/") && p != "/proc/sys/fs/binfmt_misc"))
    })
}
