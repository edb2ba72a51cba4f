//! Which devices a group's processes may use: programs that are attached to groups decide. bpf(2), BPF_CGROUP_DEVICE; cgroups(7).
//!
//! Neighbours: `bpf` (runs them), `vfs::device` and `vfs::namei` (ask). Locks: `CgroupTree` for changes, then a group's own `Leaf`.

use super::{Cgroup, TREE};
use crate::bpf::Program;
use crate::op::{Op, fail};
use abi::Errno;
use abi::bpf::{BPF_F_ALLOW_MULTI, BPF_F_ALLOW_OVERRIDE};
use std::sync::Arc;

/// Programs of one group at most.
const MOST: usize = 64;

/// The programs of one group.
#[derive(Clone, Default)]
pub(super) struct Devices {
    programs: Vec<Arc<Program>>,
    /// BPF_F_ALLOW_OVERRIDE, BPF_F_ALLOW_MULTI or none of them, as long as there are programs.
    flags: u32,
}

impl Cgroup {
    /// Attaches a program, in place of the only one there unless the flags are BPF_F_ALLOW_MULTI; `replaced` is one of several, which it takes the place of. EPERM: a group above allows none here, or the
    /// flags are others than those of what is attached. EINVAL: it is attached already. ENOENT: `replaced` is not. E2BIG: too many.
    pub fn attach_device_program(
        self: &Arc<Self>,
        program: Arc<Program>,
        flags: u32,
        replaced: Option<&Arc<Program>>,
    ) -> Op<()> {
        let _tree = TREE.lock();
        self.alive()?;
        for above in self.ancestry().skip(1) {
            let above = above.state.lock().devices.clone();
            if above.flags & BPF_F_ALLOW_MULTI != 0 {
                break;
            }
            if !above.programs.is_empty() {
                if above.flags & BPF_F_ALLOW_OVERRIDE == 0 {
                    return fail(Errno::EPERM);
                }
                break;
            }
        }
        let mut state = self.state.lock();
        let devices = &mut state.devices;
        if !devices.programs.is_empty() && devices.flags != flags {
            return fail(Errno::EPERM);
        }
        let several = flags & BPF_F_ALLOW_MULTI != 0;
        if several && devices.programs.iter().any(|p| Arc::ptr_eq(p, &program)) {
            return fail(Errno::EINVAL);
        }
        let place = match replaced {
            Some(old) => Some(devices.programs.iter().position(|p| Arc::ptr_eq(p, old)).ok_or(Errno::ENOENT)?),
            None if several => None,
            None => Some(0),
        };
        let full = devices.programs.len() >= MOST;
        let old = match place.and_then(|at| devices.programs.get_mut(at)) {
            Some(place) => Some(std::mem::replace(place, program)),
            None if full => return fail(Errno::E2BIG),
            None => {
                devices.programs.push(program);
                None
            }
        };
        devices.flags = flags;
        drop(state);
        drop(old);
        Ok(())
    }

    /// Takes a program away; with none named, the only one. ENOENT.
    pub fn detach_device_program(&self, program: Option<&Arc<Program>>) -> Op<()> {
        let _tree = TREE.lock();
        self.alive()?;
        let mut state = self.state.lock();
        let devices = &mut state.devices;
        let several = devices.flags & BPF_F_ALLOW_MULTI != 0;
        let at = match program {
            Some(program) if several => devices.programs.iter().position(|p| Arc::ptr_eq(p, program)),
            None if several => return fail(Errno::EINVAL),
            _ => (!devices.programs.is_empty()).then_some(0),
        };
        let gone = devices.programs.remove(at.ok_or(Errno::ENOENT)?);
        if devices.programs.is_empty() {
            devices.flags = 0;
        }
        drop(state);
        drop(gone);
        Ok(())
    }

    /// The programs attached here and their flags; `effective`: all that decide for its processes, those of groups above included.
    pub fn device_programs(self: &Arc<Self>, effective: bool) -> (Vec<Arc<Program>>, u32) {
        let mut programs: Vec<Arc<Program>> = Vec::new();
        let mut flags = 0;
        for (group, level) in self.ancestry().zip(0..) {
            let devices = group.state.lock().devices.clone();
            if level == 0 {
                flags = devices.flags;
            } else if !effective {
                break;
            }
            // A program that may be overridden is, by any below.
            if programs.is_empty() || devices.flags & BPF_F_ALLOW_MULTI != 0 {
                programs.extend(devices.programs);
            }
        }
        (programs, flags)
    }

    /// Whether its processes may do this with a device (struct bpf_cgroup_dev_ctx): only if all programs say so, or the lists of version 1.
    pub fn may_use_device(self: &Arc<Self>, access_type: u32, major: u32, minor: u32) -> bool {
        if !self.hierarchy.is_two() {
            return self.device_lists_allow(access_type, major, minor);
        }
        let (programs, _) = self.device_programs(true);
        programs.iter().all(|program| program.run([access_type, major, minor]) != 0)
    }
}
