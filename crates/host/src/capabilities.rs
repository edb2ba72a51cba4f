//! Capabilities of a process of ours (capabilities(7)): dropped altogether, or cut to a set that stays.
//!
//! Neighbours: `namespaces`, `lockdown`; the three together are what the kernel process and the gofer do to themselves. Owns no locks.

use rustix::io;
pub use rustix::thread::CapabilitySet;
use rustix::thread::{
    CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// Keeps at most `keep` in the permitted, effective and bounding sets; nothing inheritable, nothing ambient. For good.
pub fn limit(keep: CapabilitySet) -> io::Result<()> {
    let _ = clear_ambient_capability_set(); // EINVAL before Linux 4.3
    let held = capabilities(None)?;
    // The bounding set can only be cut with CAP_SETPCAP; without it nothing can be gained by exec either, thanks to no_new_privs.
    if held.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..64 {
            let one = CapabilitySet::from_bits_retain(1 << bit);
            if !keep.contains(one) && remove_capability_from_bounding_set(one) == Err(io::Errno::INVAL) {
                break; // past the last one that this host knows
            }
        }
    }
    let keep = keep & held.permitted;
    set_capabilities(None, CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() })
}

/// No capability at all.
pub fn drop_all() -> io::Result<()> {
    limit(CapabilitySet::empty())
}

/// No exec can give more rights than this process has (also what an unprivileged seccomp filter asks for).
pub fn no_new_privileges() -> io::Result<()> {
    set_no_new_privs(true)
}
