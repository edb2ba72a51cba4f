//! The container's cgroup on the host: made, limited, entered, measured, removed (cgroups(7)); version 1, version 2, or both beside each other.
//!
//! Only with rights to do so: as an ordinary user, or in an engine's user namespace, a cgroup that cannot be made is no error, as with runc, unless
//! limits were asked for. The kernel process and the gofer enter it before they execute, so all that they start is counted. Owns no locks.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use oci_spec::runtime::LinuxResources;

/// Processes and threads of ours that come on top of the guest's: the guest's own limit is kept by its kernel.
const OVERHEAD_PIDS: i64 = 256;

/// Folders of one container, one for each hierarchy that is used.
#[derive(Clone, Debug, Default)]
pub struct Cgroup {
    pub folders: Vec<PathBuf>,
    unified: bool,
}

/// Controllers that say something about a container of ours.
const CONTROLLERS: [&str; 6] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "freezer"];

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
        for (_, mount, own) in hierarchies(plan.unified)? {
            let folder = place(wanted, &mount, &own)?;
            if !plan.folders.contains(&folder) {
                plan.folders.push(folder);
            }
        }
        if plan.folders.is_empty() && !wanted.lenient {
            bail!("no cgroup hierarchy is mounted at /sys/fs/cgroup");
        }
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
        for (controllers, mount, _) in &hierarchies(self.unified)? {
            for folder in self.folders.iter().filter(|f| f.starts_with(mount)) {
                if self.unified {
                    enable_controllers(mount, folder);
                } else if controllers.iter().any(|c| c == "cpuset") {
                    inherit_cpuset(mount, folder);
                }
            }
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

    /// New limits for a container that exists. Without a cgroup only the limit of tasks can change, which the container's kernel keeps.
    pub fn update(&self, resources: &LinuxResources) -> Result<()> {
        let limits = settings(resources)?;
        if self.folders.is_empty() {
            return match limits.iter().find(|setting| setting.legacy != Some("pids.max")) {
                Some(setting) => bail!(
                    "field linux.resources.{}: the container has no cgroup on the host; it was made without linux.cgroupsPath and limits, or by a user without rights",
                    setting.field
                ),
                None => Ok(()),
            };
        }
        limits.iter().try_for_each(|setting| self.set(setting))
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
            let all = hierarchies(self.unified).unwrap_or_default();
            all.into_iter().map(|(_, mount, own)| mount.join(own.trim_start_matches('/'))).collect()
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
        let (names, value) = if self.unified {
            (&setting.unified, &setting.unified_value)
        } else {
            (&setting.legacy, &setting.legacy_value)
        };
        let Some(name) = names else { return Ok(()) };
        for folder in &self.folders {
            let path = folder.join(name);
            if path.exists() {
                return write(&path, value).with_context(|| {
                    format!("field linux.resources.{}: cannot write {value:?} to {}", setting.field, path.display())
                });
            }
        }
        bail!(
            "field linux.resources.{}: this host's cgroups have no {name}; leave the limit out, or enable the controller",
            setting.field
        )
    }
}

/// One limit, as a file of either version.
struct Setting {
    field: &'static str,
    legacy: Option<&'static str>,
    legacy_value: String,
    unified: Option<&'static str>,
    unified_value: String,
}

fn settings(resources: &LinuxResources) -> Result<Vec<Setting>> {
    let mut list = Vec::new();
    let mut add = |field, legacy, unified, value: i64| {
        // -1 means no limit.
        let word = if value < 0 { "max".to_string() } else { value.to_string() };
        list.push(Setting {
            field,
            legacy: Some(legacy),
            legacy_value: value.to_string(),
            unified: Some(unified),
            unified_value: word,
        });
    };
    if let Some(memory) = resources.memory() {
        if let Some(limit) = memory.limit().filter(|n| *n != 0) {
            add("memory.limit", "memory.limit_in_bytes", "memory.max", limit);
        }
        if let Some(reservation) = memory.reservation().filter(|n| *n != 0) {
            add("memory.reservation", "memory.soft_limit_in_bytes", "memory.low", reservation);
        }
        if let Some(swap) = memory.swap().filter(|n| *n != 0) {
            let only = match memory.limit() {
                Some(limit) if swap > 0 && limit > swap => bail!(
                    "field linux.resources.memory.swap: {swap} is memory and swap together, so it cannot be below the limit {limit}"
                ),
                Some(limit) if swap > 0 => swap - limit,
                _ => swap,
            };
            add("memory.swap", "memory.memsw.limit_in_bytes", "memory.swap.max", swap);
            if let Some(last) = list.last_mut() {
                last.unified_value = if only < 0 { "max".to_string() } else { only.to_string() };
            }
        }
    }
    if let Some(limit) = resources.pids().as_ref().map(|p| p.limit()).filter(|n| *n != 0) {
        let word = if limit < 0 { "max".to_string() } else { limit.saturating_add(OVERHEAD_PIDS).to_string() };
        list.push(Setting {
            field: "pids.limit",
            legacy: Some("pids.max"),
            legacy_value: word.clone(),
            unified: Some("pids.max"),
            unified_value: word,
        });
    }
    if let Some(cpu) = resources.cpu() {
        if let Some(shares) = cpu.shares().filter(|n| *n != 0) {
            let weight = 1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142;
            let (legacy, unified) = (Some("cpu.shares"), Some("cpu.weight"));
            list.push(Setting {
                field: "cpu.shares",
                legacy,
                legacy_value: shares.to_string(),
                unified,
                unified_value: weight.to_string(),
            });
        }
        let period = cpu.period().filter(|n| *n != 0);
        if let Some(period) = period {
            list.push(Setting {
                field: "cpu.period",
                legacy: Some("cpu.cfs_period_us"),
                legacy_value: period.to_string(),
                unified: None,
                unified_value: String::new(),
            });
        }
        if let Some(quota) = cpu.quota().filter(|n| *n != 0) {
            let word = if quota < 0 { "max".to_string() } else { quota.to_string() };
            let unified_value = format!("{word} {}", period.unwrap_or(100_000));
            list.push(Setting {
                field: "cpu.quota",
                legacy: Some("cpu.cfs_quota_us"),
                legacy_value: quota.to_string(),
                unified: Some("cpu.max"),
                unified_value,
            });
        }
        for (field, value, name) in [("cpu.cpus", cpu.cpus(), "cpuset.cpus"), ("cpu.mems", cpu.mems(), "cpuset.mems")] {
            if let Some(value) = value.as_ref().filter(|v| !v.is_empty()) {
                list.push(Setting {
                    field,
                    legacy: Some(name),
                    legacy_value: value.clone(),
                    unified: Some(name),
                    unified_value: value.clone(),
                });
            }
        }
    }
    Ok(list)
}

fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// Controllers, mount point, and the own cgroup there, for each hierarchy worth using.
fn hierarchies(unified: bool) -> Result<Vec<(Vec<String>, PathBuf, String)>> {
    let own = fs::read_to_string("/proc/self/cgroup").context("cannot read /proc/self/cgroup")?;
    let mut list = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let names: Vec<String> = names.split(',').map(str::to_string).collect();
        if unified && names.iter().all(String::is_empty) {
            list.push((names, PathBuf::from("/sys/fs/cgroup"), path.to_string()));
        } else if !unified && names.iter().any(|n| CONTROLLERS.contains(&n.as_str())) {
            let mount = [names.join(","), names.first().cloned().unwrap_or_default()]
                .iter()
                .map(|n| Path::new("/sys/fs/cgroup").join(n))
                .find(|p| p.is_dir());
            if let Some(mount) = mount {
                list.push((names, mount, path.to_string()));
            }
        }
    }
    Ok(list)
}

/// Where the container's folder goes below `mount`.
fn place(wanted: &Wanted<'_>, mount: &Path, own: &str) -> Result<PathBuf> {
    let text = wanted.path.map(Path::to_string_lossy);
    if wanted.systemd {
        return Ok(mount.join(unit(text.as_deref().unwrap_or_default(), wanted.id)?));
    }
    let own = own.trim_start_matches('/');
    let (Some(path), Some(text)) = (wanted.path, text) else { return Ok(mount.join(own).join(wanted.id)) };
    if path.components().any(|c| c == std::path::Component::ParentDir) {
        return Err(anyhow!("field linux.cgroupsPath: {text:?} may not hold \"..\""));
    }
    match path.strip_prefix("/") {
        Ok(absolute) => Ok(mount.join(absolute)),
        Err(_) => Ok(mount.join(own).join(path)),
    }
}

/// The folder of a systemd unit by "slice:prefix:name": `prefix-name.scope` in the slice, or the slice that the name is.
fn unit(text: &str, id: &str) -> Result<PathBuf> {
    let (slice, prefix, name) = match text.split(':').collect::<Vec<_>>()[..] {
        [""] => ("", "stockade", id),
        [slice, prefix, name] => (slice, prefix, name),
        _ => bail!(
            "field linux.cgroupsPath: expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {text:?} instead"
        ),
    };
    let name = if name.ends_with(".slice") { name.to_string() } else { format!("{prefix}-{name}.scope") };
    if name.contains('/') {
        bail!("field linux.cgroupsPath: {text:?}: the name of a unit holds no \"/\"");
    }
    let default = if host::rustix::process::geteuid().is_root() { "system.slice" } else { "user.slice" };
    Ok(slices(if slice.is_empty() { default } else { slice })?.join(name))
}

/// "a-b.slice" lies in "a.slice"; "-.slice" is the root (systemd.slice(5)).
fn slices(slice: &str) -> Result<PathBuf> {
    let invalid = || anyhow!("field linux.cgroupsPath: invalid slice name: {slice:?}");
    let stem = slice.strip_suffix(".slice").filter(|s| !s.is_empty() && !s.contains('/')).ok_or_else(invalid)?;
    let mut path = PathBuf::new();
    if stem == "-" {
        return Ok(path);
    }
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push(format!("{name}.slice"));
    }
    Ok(path)
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

/// Version 2: each parent must hand the controllers down.
fn enable_controllers(mount: &Path, folder: &Path) {
    let Ok(below) = folder.strip_prefix(mount) else { return };
    let mut parent = mount.to_path_buf();
    for part in below.components() {
        for controller in ["memory", "cpu", "cpuset", "pids"] {
            let _ = write(&parent.join("cgroup.subtree_control"), &format!("+{controller}"));
        }
        parent.push(part);
    }
}

/// Version 1: a cpuset takes nobody before it has processors and memory nodes.
fn inherit_cpuset(mount: &Path, folder: &Path) {
    let Ok(below) = folder.strip_prefix(mount) else { return };
    let mut here = mount.to_path_buf();
    for part in below.components() {
        let parent = here.clone();
        here.push(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(here.join(file)).is_ok_and(|text| text.trim().is_empty())
                && let Ok(value) = fs::read_to_string(parent.join(file))
            {
                let _ = write(&here.join(file), value.trim());
            }
        }
    }
}

/// One write(2), as cgroup files want it.
fn write(path: &Path, value: &str) -> std::io::Result<()> {
    File::options().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[test]
    fn slices_nest() {
        assert_eq!(slices("system.slice").unwrap(), PathBuf::from("system.slice"));
        assert_eq!(slices("user-1000.slice").unwrap(), PathBuf::from("user.slice/user-1000.slice"));
        assert_eq!(slices("-.slice").unwrap(), PathBuf::new());
        for wrong in ["system", ".slice", "a--b.slice", "-a.slice", "a-.slice", "../a.slice", "/.slice"] {
            assert!(slices(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_follow_runc() {
        let at = |path: Option<&str>, systemd| {
            let path = path.map(Path::new);
            place(&Wanted { id: "x", path, resources: None, systemd, lenient: false }, Path::new("/c"), "/own")
        };
        assert_eq!(at(None, false).unwrap(), PathBuf::from("/c/own/x"));
        assert_eq!(at(Some("/a/b"), false).unwrap(), PathBuf::from("/c/a/b"));
        assert_eq!(at(Some("a"), false).unwrap(), PathBuf::from("/c/own/a"));
        assert_eq!(at(Some("system.slice:docker:1"), true).unwrap(), PathBuf::from("/c/system.slice/docker-1.scope"));
        assert_eq!(at(Some("a-b.slice::c.slice"), true).unwrap(), PathBuf::from("/c/a.slice/a-b.slice/c.slice"));
        let default = if host::rustix::process::geteuid().is_root() { "/c/system.slice" } else { "/c/user.slice" };
        assert_eq!(at(None, true).unwrap(), Path::new(default).join("stockade-x.scope"));
        assert_eq!(at(Some(":p:n"), true).unwrap(), Path::new(default).join("p-n.scope"));
        for wrong in ["/a", "a:b", "a.slice:b:c:d", "system.slice:a:../../b", "system.slice:a/b:c"] {
            assert!(at(Some(wrong), true).is_err(), "{wrong}");
        }
        assert!(at(Some("/a/../b"), false).is_err());
    }
}
