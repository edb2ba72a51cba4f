//! What the host's kernel has of what makes stockade fast or tight; nothing is changed by asking (docs/platform.md, "Host kernels").
//!
//! Owns no locks.

use std::fs;

use anyhow::{Context, Result, bail};

/// One feature.
pub struct Probe {
    pub what: &'static str,
    pub present: bool,
    /// What it costs to do without.
    pub without: &'static str,
}

/// The oldest kernel that stockade runs on: its seccomp notification has what is needed.
const OLDEST: (u32, u32) = (5, 15);

/// The setting of `--platform` that stands for the host's version in tests.
pub const PRETENDED: &str = "host-kernel";

/// Refuses a host that is too old. What else a host may lack is found out, and told, by the step that needs it.
pub fn check(settings: &[String]) -> Result<()> {
    let (version, text) = version(settings)?;
    if version < OLDEST {
        bail!(
            "the host's kernel is Linux {text}, and stockade needs {}.{} or later for seccomp notifications; boot a newer kernel",
            OLDEST.0,
            OLDEST.1
        );
    }
    Ok(())
}

/// Asks for all of them; less than a millisecond.
pub fn run(settings: &[String]) -> Result<Vec<Probe>> {
    let (version, _) = version(settings)?;
    let since = |major, minor| version >= (major, minor);
    let read = |path: &str| fs::read_to_string(path).ok().and_then(|t| t.trim().parse::<u64>().ok());
    let probe = |what, present, without| Probe { what, present, without };
    Ok(vec![
        probe(
            "Linux 5.15",
            version >= OLDEST,
            "stockade cannot run: seccomp notification lacks what it needs; boot a newer kernel",
        ),
        probe(
            "seccomp user notification",
            actions().contains("user_notif"),
            "stockade cannot run: each call of a guest comes by it; boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
        probe(
            "no seccomp listener above this process",
            !settings.iter().any(|s| s == "listener=off")
                && host::seccomp::notify::listener_is_possible() != Err(abi::Errno::EBUSY),
            "each system call of a guest costs a signal and two wake-ups, each fork and thread some stops by ptrace (docs/adr/0008-another-listener-above.md)",
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
    ])
}

/// The host's, as numbers and in its own words; or what a test puts in its place.
fn version(settings: &[String]) -> Result<((u32, u32), String)> {
    let pretended = settings.iter().rev().find_map(|s| s.strip_prefix(PRETENDED)?.strip_prefix('='));
    let text = match pretended {
        Some(text) => text.to_string(),
        None => host::rustix::system::uname().release().to_string_lossy().into_owned(),
    };
    let numbers = parse(&text).with_context(|| format!("{text:?} is no version of a kernel, such as 6.1.0"))?;
    Ok((numbers, text))
}

fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().ok());
    Some((numbers.next()??, numbers.next()??))
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read() {
        assert_eq!(parse("6.18.5-amd64"), Some((6, 18)));
        assert_eq!(parse("5.4-rc1"), Some((5, 4)));
        assert_eq!(parse("6"), None);
        assert_eq!(parse("x.y"), None);
    }

    #[test]
    fn old_kernels_are_refused() {
        let at = |text: &str| check(&[format!("host-kernel={text}")]);
        assert!(at("5.15.0").is_ok() && at("6.1.0-13-amd64").is_ok() && check(&[]).is_ok());
        for old in ["5.14.21", "4.18.0-553.el8.x86_64", "3.10.0"] {
            let error = at(old).unwrap_err().to_string();
            assert!(error.contains(old) && error.contains("needs 5.15"), "{error}");
        }
        let old = run(&["host-kernel=5.10.0".into()]).unwrap();
        assert!(old.iter().any(|p| p.what == "Linux 5.15" && !p.present));
    }
}
