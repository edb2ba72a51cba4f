//! Where a container's cgroup lies on the host: the hierarchies that there are (cgroups(7)), and the place in each by `linux.cgroupsPath`, as runc chooses it.
//!
//! Neighbours: the cgroup, which is made there. Owns no locks.

use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::{Wanted, write};

/// Controllers that say something about a container of ours.
const CONTROLLERS: [&str; 7] = ["memory", "cpu", "cpuacct", "cpuset", "pids", "freezer", "blkio"];

/// One that is worth using.
pub struct Hierarchy {
    controllers: Vec<String>,
    pub mount: PathBuf,
    /// The folder, below `mount`, of the process that was asked about.
    pub own: PathBuf,
}

pub fn is_unified() -> bool {
    Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
}

/// All of them, and where a process is there: `self`, or its number.
pub fn hierarchies(unified: bool, process: &str) -> Result<Vec<Hierarchy>> {
    let file = format!("/proc/{process}/cgroup");
    let own = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let mut list = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let controllers: Vec<String> = names.split(',').map(str::to_string).collect();
        let mount = if unified && names.is_empty() {
            Some(PathBuf::from("/sys/fs/cgroup"))
        } else if !unified && controllers.iter().any(|n| CONTROLLERS.contains(&n.as_str())) {
            let first = controllers.first().map_or("", String::as_str);
            [names, first].iter().map(|n| Path::new("/sys/fs/cgroup").join(n)).find(|p| p.is_dir())
        } else {
            None
        };
        list.extend(mount.map(|mount| Hierarchy { controllers, mount, own: path.trim_start_matches('/').into() }));
    }
    Ok(list)
}

/// Where the container's folders go, for a process that is there already or, as `self`, makes it: one for each hierarchy.
pub fn folders(unified: bool, process: &str, wanted: &Wanted<'_>) -> Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for hierarchy in hierarchies(unified, process)? {
        let folder = place(wanted, &hierarchy.mount, &hierarchy.own)?;
        if !list.contains(&folder) {
            list.push(folder);
        }
    }
    if list.is_empty() && !wanted.lenient {
        bail!("no cgroup hierarchy is mounted at /sys/fs/cgroup");
    }
    Ok(list)
}

impl Hierarchy {
    /// A new folder here becomes one that can limit what enters it.
    pub fn prepare(&self, folder: &Path) {
        if self.controllers.iter().all(String::is_empty) {
            enable_controllers(&self.mount, folder);
        } else if self.controllers.iter().any(|c| c == "cpuset") {
            inherit_cpuset(&self.mount, folder);
        }
    }
}

/// Where the container's folder goes below `mount`.
fn place(wanted: &Wanted<'_>, mount: &Path, own: &Path) -> Result<PathBuf> {
    let text = wanted.path.map(Path::to_string_lossy);
    if wanted.systemd {
        return Ok(mount.join(unit(text.as_deref().unwrap_or_default(), wanted.id)?));
    }
    let (Some(path), Some(text)) = (wanted.path, text) else { return Ok(mount.join(own).join(wanted.id)) };
    if path.components().any(|c| c == Component::ParentDir) {
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

/// Version 2: each parent must hand its controllers down, all of them, since `unified` may name the files of any.
fn enable_controllers(mount: &Path, folder: &Path) {
    let Ok(below) = folder.strip_prefix(mount) else { return };
    let mut parent = mount.to_path_buf();
    for part in below.components() {
        for controller in fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default().split_whitespace() {
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
            place(
                &Wanted { id: "x", path, resources: None, systemd, lenient: false },
                Path::new("/c"),
                Path::new("own"),
            )
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
