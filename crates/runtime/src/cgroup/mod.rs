//! The container's cgroup on the host: made, limited, entered, measured, removed (cgroups(7)); version 1, version 2, or both beside each other.
//!
//! Only with rights to do so: as an ordinary user, or in an engine's user namespace, a cgroup that cannot be made is no error, as with runc, unless
//! limits were asked for. The kernel process and the gofer enter it before they execute, so all that they start is counted. Owns no locks.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::LinuxResources;

use limits::{Setting, settings};
use place::{hierarchies, is_unified};

mod enter;
mod limits;
mod place;

/// Folders of one container, one for each hierarchy that is used.
#[derive(Clone, Debug, Default)]
pub struct Cgroup {
    pub folders: Vec<PathBuf>,
    unified: bool,
}

/// What to make.
pub struct Wanted<'a> {
    pub id: &'a str,
    /// `linux.cgroupsPath`.
    pub path: Option<&'a Path>,
    pub resources: Option<&'a LinuxResources>,
    /// `--systemd-cgroup`: the path is "slice:prefix:name".
    pub systemd: bool,
    /// Failure to make one is no error.
    pub lenient: bool,
}

impl Cgroup {
    /// Where the cgroup will be; nothing is made yet, so that its maker can note it down first. No folders when neither a path nor a limit is given.
    pub fn plan(wanted: &Wanted<'_>) -> Result<Cgroup> {
        let mut plan = Cgroup { folders: Vec::new(), unified: is_unified() };
        let limits = wanted.resources.map(settings).transpose()?.unwrap_or_default();
        if wanted.systemd && !Path::new("/run/systemd/system").is_dir() {
            bail!(
                "--systemd-cgroup: systemd cgroup flag passed, but systemd support for managing cgroups is not available: no systemd runs on this host \
                 (/run/systemd/system is missing); leave the flag out, and give linux.cgroupsPath as a path"
            );
        }
        if wanted.path.is_none() && limits.is_empty() {
            return Ok(plan);
        }
        plan.folders = place::folders(plan.unified, "self", wanted)?;
        Ok(plan)
    }

    /// Makes what was planned, and sets its limits.
    pub fn make(&mut self, wanted: &Wanted<'_>) -> Result<()> {
        let limits = wanted.resources.map(settings).transpose()?.unwrap_or_default();
        let Err(e) = self.fill(&limits) else { return Ok(()) };
        self.remove();
        self.folders.clear();
        match (wanted.lenient, limits.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(e.context("cannot set the limits of linux.resources; run as root, or leave them out")),
            (false, _) => Err(e),
        }
    }

    fn fill(&self, limits: &[Setting]) -> Result<()> {
        for folder in &self.folders {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the cgroup {}", folder.display()))?;
        }
        for hierarchy in &hierarchies(self.unified, "self")? {
            self.folders.iter().filter(|f| f.starts_with(&hierarchy.mount)).for_each(|f| hierarchy.prepare(f));
        }
        limits.iter().try_for_each(|setting| self.set(setting))
    }

    /// Opens the files whose writer joins the cgroup.
    pub fn entrances(&self) -> Result<Vec<OwnedFd>> {
        self.folders
            .iter()
            .map(|folder| {
                let path = folder.join("cgroup.procs");
                let file = OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .with_context(|| format!("cannot open {}", path.display()))?;
                Ok(file.into())
            })
            .collect()
    }

    /// From state.json.
    pub fn of(folders: &[PathBuf]) -> Cgroup {
        Cgroup { folders: folders.to_vec(), unified: is_unified() }
    }

    /// New limits for a container that exists.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        settings(resources)?.iter().try_for_each(|setting| self.set(setting))
    }

    /// Whether new limits want a cgroup: that of tasks is kept by the container's kernel, too.
    pub fn is_missing_for(&self, resources: &LinuxResources) -> Result<bool> {
        Ok(self.folders.is_empty() && settings(resources)?.iter().any(|setting| setting.field != "pids.limit"))
    }

    /// One value of a file, in whichever folder has it: a single number, or the line `key` of a table.
    pub fn read(&self, file: &str, key: Option<&str>) -> Option<u64> {
        let text = self.folders.iter().find_map(|folder| fs::read_to_string(folder.join(file)).ok())?;
        match key {
            None => text.trim().parse().ok(),
            Some(key) => text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse().ok()),
        }
    }

    /// Bytes of memory that are allowed here and above, if less than the machine has; without a cgroup of its own: in the one that we are in.
    pub fn memory(&self) -> Option<u64> {
        let own = || {
            let all = hierarchies(self.unified, "self").unwrap_or_default();
            all.into_iter().map(|h| h.mount.join(h.own)).collect()
        };
        let folders = if self.folders.is_empty() { own() } else { self.folders.clone() };
        folders.iter().filter_map(|folder| allowed_memory(folder)).min().filter(|bytes| *bytes < host::memory::total())
    }

    pub fn is_unified(&self) -> bool {
        self.unified
    }

    /// Removes the folders; processes on their way out keep them for a moment.
    pub fn remove(&self) {
        for folder in &self.folders {
            for attempt in 0..50 {
                match fs::remove_dir(folder) {
                    Err(e) if e.raw_os_error() == Some(16) => {
                        std::thread::sleep(Duration::from_millis(1 << (attempt / 8)))
                    }
                    _ => break,
                }
            }
        }
    }

    fn set(&self, setting: &Setting) -> Result<()> {
        let entry = if self.unified { &setting.unified } else { &setting.legacy };
        let Some(last) = entry.files.last() else { return Ok(()) };
        let place = |name: &String| self.folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
        let Some(path) = entry.files.iter().find_map(place) else {
            bail!(
                "field linux.resources.{}: this host's cgroups have no {last}; leave the limit out, or enable the controller",
                setting.field
            )
        };
        write(&path, &entry.value).with_context(|| {
            format!("field linux.resources.{}: cannot write {:?} to {}", setting.field, entry.value, path.display())
        })
    }
}

/// Version 1 tells the least of the limits from here upwards, as a number; version 2 has a file in each folder below the root.
fn allowed_memory(folder: &Path) -> Option<u64> {
    let key = "hierarchical_memory_limit ";
    if let Ok(text) = fs::read_to_string(folder.join("memory.stat"))
        && let Some(limit) = text.lines().find_map(|line| line.strip_prefix(key)?.parse().ok())
    {
        return Some(limit);
    }
    let limit = |folder: &Path| fs::read_to_string(folder.join("memory.max")).ok()?.trim().parse().ok();
    folder.ancestors().take_while(|f| f.starts_with("/sys/fs/cgroup")).filter_map(limit).min()
}

/// One write(2), as cgroup files want it.
fn write(path: &Path, value: &str) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}
