//! What the host's files say of the machine: read once, before the sandbox gives the host's files up. No locks.

use std::sync::OnceLock;

/// Facts of the host.
#[derive(Default)]
pub(crate) struct Facts {
    /// /proc/cpuinfo.
    pub cpuinfo: String,
    /// Files of /sys/kernel/mm/transparent_hugepage: names and contents. Guests get the host's policy.
    pub huge_pages: Vec<(&'static str, String)>,
}

static FACTS: OnceLock<Facts> = OnceLock::new();

/// Reads them. To be called while the host's /proc and /sys are still there; what is missing is not shown to guests.
pub fn gather() {
    let read = |name: &'static str| {
        let text = std::fs::read_to_string(format!("/sys/kernel/mm/transparent_hugepage/{name}")).ok()?;
        Some((name, text))
    };
    let names = ["enabled", "defrag", "shmem_enabled", "use_zero_page", "hpage_pmd_size"];
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let _ = FACTS.set(Facts { cpuinfo, huge_pages: names.into_iter().filter_map(read).collect() });
}

pub(crate) fn get() -> &'static Facts {
    FACTS.get_or_init(Facts::default)
}
