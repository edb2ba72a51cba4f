//! A cgroup for a container that runs already: it was made without one, and `update` gives it limits.
//!
//! Its processes fork while they are moved, so they are looked for until none is left outside: children of one that has been moved are born inside. What they had
//! before stays accounted where it was. Neighbours: the cgroup, `update`. Owns no locks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::{Cgroup, Wanted, place, settings, write};

/// Looks at the host's processes until the sandbox' are all inside.
const ROUNDS: usize = 1000;

impl Cgroup {
    /// Where it will be: a folder of the container's id below the cgroups that the kernel process is in.
    pub fn plan_for(kernel: i32, id: &str) -> Result<Cgroup> {
        let mut plan = Cgroup::of(&[]);
        let wanted = Wanted { id, path: None, resources: None, systemd: false, lenient: false };
        plan.folders = place::folders(plan.unified, &kernel.to_string(), &wanted)?;
        if let Some(folder) = plan.folders.iter().find(|folder| folder.exists()) {
            bail!("cannot make the cgroup {}, it is there already", folder.display());
        }
        Ok(plan)
    }

    /// Makes what was planned, sets limits, and moves a gofer, a kernel process and all that this has made; or leaves nothing.
    pub fn make_for(&self, kernel: i32, gofer: i32, resources: &oci_spec::runtime::LinuxResources) -> Result<()> {
        let limits = settings(resources)?;
        let made = self.fill(&limits).and_then(|()| self.enter(gofer)).and_then(|()| self.enter_all(kernel));
        made.inspect_err(|_| {
            for folder in &self.folders {
                let Some(parent) = folder.parent() else { continue };
                for process in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
                    let _ = write(&parent.join("cgroup.procs"), process);
                }
            }
            self.remove();
        })
    }

    /// The kernel process is the first of its PID namespace, which its stubs are in. Those of another container of the pod that has a cgroup stay there.
    fn enter_all(&self, kernel: i32) -> Result<()> {
        let groups = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cgroup"));
        let namespace = |pid: i32| fs::metadata(format!("/proc/{pid}/ns/pid_for_children")).map(|m| (m.dev(), m.ino()));
        let before = groups(kernel).context("looking at the kernel process' cgroups")?;
        let wanted = namespace(kernel).context("looking at the kernel process' PID namespace")?;
        self.enter(kernel)?;
        let after = groups(kernel).context("looking at the kernel process' cgroups")?;
        let left: Vec<&str> = before.lines().filter(|line| after.lines().all(|l| l != *line)).collect();
        // In any hierarchy: who is born of one that is just being moved is in some already.
        let outside = |pid: &i32| {
            let is_left = |text: String| text.lines().any(|line| left.contains(&line));
            namespace(*pid).is_ok_and(|n| n == wanted) && groups(*pid).is_ok_and(is_left)
        };
        for _ in 0..ROUNDS {
            let processes = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
            let new: Vec<i32> = processes.filter(outside).collect();
            if new.is_empty() {
                return Ok(());
            }
            new.into_iter().try_for_each(|pid| self.enter(pid))?;
        }
        bail!("cannot move the container into its cgroup: it makes processes too fast; pause it first")
    }

    fn enter(&self, pid: i32) -> Result<()> {
        let enter = |folder: &Path| match write(&folder.join("cgroup.procs"), &pid.to_string()) {
            // It has ended.
            Err(e) if e.raw_os_error() == Some(3) => Ok(()),
            other => other.with_context(|| format!("cannot move process {pid} into the cgroup {}", folder.display())),
        };
        self.folders.iter().try_for_each(|folder| enter(folder))
    }
}
