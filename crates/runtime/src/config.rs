//! config.json: read, checked, and turned into what the kernel takes (OCI runtime-spec, config.md and config-linux.md).
//!
//! An error names the field and what to do. Neighbours: `process` (the part that exec shares), `sandbox::spec` (the result). Owns no locks.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use fsproto::{MountId, Part};
use gofer::MountSource;
use oci_spec::runtime::{LinuxDeviceType, Spec};
use sandbox::spec::{ContainerSpec, Device, DeviceKind, Limits, Mount, NewLimits, Overlay, Propagation, Root, Volume};
use serde_json::Value;

use crate::cli::{Access, Global};
use crate::hints::{self, Hints, Share};
use crate::image;
use crate::overlay::{Choice, Plan};
use crate::pod;
use crate::process;
use crate::state::Root as StateRoot;

/// Where kubelet keeps volumes of pods.
const KUBELET: &str = "/var/lib/kubelet/pods";

/// A bundle, read and checked.
pub struct Bundle {
    /// Absolute path of the bundle.
    pub path: PathBuf,
    /// Absolute path of the root.
    pub rootfs: PathBuf,
    pub oci: Spec,
    /// What the kernel gets.
    pub spec: ContainerSpec,
    /// What the gofer serves: the root, then the bind mounts.
    pub sources: Vec<MountSource>,
    /// `process` as it was written, for state.json.
    pub process: Value,
    pub hooks: Value,
    pub warnings: Vec<String>,
}

/// Reads `bundle`/config.json for container `id`; others of its pod are in `root`.
pub fn load(bundle: &Path, id: &str, global: &Global, root: &StateRoot) -> Result<Bundle> {
    let path = fs::canonicalize(bundle).with_context(|| format!("cannot use the bundle {}", bundle.display()))?;
    let file = path.join("config.json");
    let text = match fs::read_to_string(&file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            bail!(
                "JSON specification file config.json not found in {} (make one with `stockade spec`, or name the bundle with --bundle)",
                path.display()
            )
        }
        other => other.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let mut value: Value =
        serde_json::from_str(&text).with_context(|| format!("{} is not valid JSON", file.display()))?;
    let mut warnings = Vec::new();
    if let Some(process) = value.get_mut("process") {
        process::forgive(process, &mut warnings);
    }
    let (process, hooks) =
        (value.get("process").cloned().unwrap_or_default(), value.get("hooks").cloned().unwrap_or_default());
    let oci: Spec = serde_path_to_error::deserialize(value)
        .map_err(|e| anyhow!("{}: field {}: {}", file.display(), e.path(), e.inner()))?;
    let mut made = Bundle {
        rootfs: PathBuf::new(),
        spec: ContainerSpec::default(),
        sources: Vec::new(),
        path,
        oci,
        process,
        hooks,
        warnings,
    };
    made.convert(id, global, root).with_context(|| file.display().to_string())?;
    Ok(made)
}

impl Bundle {
    fn convert(&mut self, id: &str, global: &Global, states: &StateRoot) -> Result<()> {
        let oci = self.oci.clone();
        check_version(oci.version())?;
        let root = oci
            .root()
            .as_ref()
            .ok_or_else(|| anyhow!("field root is missing; give root.path, the container's root folder"))?;
        self.rootfs = self.rootfs(root.path())?;
        let readonly = root.readonly().unwrap_or(false);
        let annotations = oci.annotations().clone().unwrap_or_default();
        let choice = global.overlay2.clone().unwrap_or_default().annotated(&annotations)?;
        let shared = global.file_access == Access::Shared;
        let image = image::of_root(&annotations)?;
        let source = image.clone().unwrap_or_else(|| self.rootfs.clone());
        let overlay =
            self.serve(MountId::new(id, Part::Root), choice.root(&source, readonly, shared)?, source.clone(), readonly);
        let process = oci.process().as_ref().ok_or_else(|| anyhow!("field process is missing; it says what to run"))?;
        let annotations: BTreeMap<String, String> = annotations.into_iter().collect();
        let pod = pod::of(&oci, states)?;
        let hints = match &pod {
            None => Hints::read(&annotations, Path::new(KUBELET))?,
            Some(pod) => Hints::read(&pod::annotations(pod, states)?, Path::new(KUBELET))?,
        };
        let linux = oci.linux().clone().unwrap_or_default();
        self.spec = ContainerSpec {
            id: id.to_string(),
            process: process::convert(process)?,
            root: Root {
                image: image.is_some(),
                source: source.display().to_string(),
                readonly,
                overlay,
                shared,
                propagation: propagation(linux.rootfs_propagation().as_deref())?,
            },
            hostname: oci.hostname().clone(),
            domainname: oci.domainname().clone(),
            sysctls: Vec::new(),
            mounts: self.mounts(id, oci.mounts().as_deref().unwrap_or_default(), &choice, global, &hints)?,
            volumes: if pod.is_none() { self.volumes(id, &hints, &choice)? } else { Vec::new() },
            served: Vec::new(), // with the gofer (`launch`)
            devices: linux.devices().iter().flatten().map(device).collect::<Result<_>>()?,
            masked_paths: linux.masked_paths().clone().unwrap_or_default(),
            readonly_paths: linux.readonly_paths().clone().unwrap_or_default(),
            limits: limits(&linux),
            seccomp: linux.seccomp().as_ref().map(crate::seccomp::compile).transpose()?,
            memory: None,
            directfs: false,
            own_tmp: true,
            peers: global.peers(),
            pod,
            annotations: annotations.into_iter().collect(),
            plain_init: false,
        };
        self.sysctls(&linux);
        self.unsupported(&linux)
    }

    /// Names are set with the container, and the knobs that its kernel has by this kernel. Engines set those of the network without being asked.
    fn sysctls(&mut self, linux: &oci_spec::runtime::Linux) {
        for (name, value) in linux.sysctl().iter().flatten() {
            match name.as_str() {
                "kernel.domainname" => self.spec.domainname = Some(value.clone()),
                "kernel.hostname" => self.spec.hostname = Some(value.clone()),
                net if net.starts_with("net.") && !NET_KNOBS.contains(&net) => {
                    self.warnings.push(format!("linux.sysctl: {net} is ignored"));
                }
                _ => self.spec.sysctls.push((name.clone(), value.clone())),
            }
        }
    }

    /// What config.json asks for and a container here will not have.
    fn unsupported(&mut self, linux: &oci_spec::runtime::Linux) -> Result<()> {
        if self.oci.hooks().as_ref().is_some_and(|h| h.start_container().as_ref().is_some_and(|list| !list.is_empty()))
        {
            bail!("hooks.startContainer is not supported yet; use hooks.createContainer or a wrapper as the program");
        }
        for (present, what) in [
            (linux.intel_rdt().is_some(), "linux.intelRdt is ignored"),
            (
                self.oci.process().as_ref().is_some_and(|p| p.apparmor_profile().is_some()),
                "process.apparmorProfile is ignored",
            ),
            (
                self.oci.process().as_ref().is_some_and(|p| p.selinux_label().is_some()),
                "process.selinuxLabel is ignored",
            ),
        ] {
            if present {
                self.warnings.push(what.to_string());
            }
        }
        Ok(())
    }

    fn rootfs(&self, given: &Path) -> Result<PathBuf> {
        let path = self.path.join(given);
        let real = fs::canonicalize(&path)
            .map_err(|e| anyhow!("field root.path: invalid rootfs: {}: {}", path.display(), plain(&e)))?;
        if !real.is_dir() {
            bail!("field root.path: invalid rootfs: {} is no folder", path.display());
        }
        Ok(real)
    }

    /// One more folder or file for the gofer. Below an overlay it takes no changes.
    fn serve(&mut self, id: MountId, plan: Plan, path: PathBuf, readonly: bool) -> Overlay {
        self.warnings.extend(plan.warning);
        let readonly = readonly || plan.overlay != Overlay::None;
        self.sources.push(MountSource { id, path, readonly, store: plan.store });
        plan.overlay
    }

    /// Bind mounts get a number at the gofer; cgroup mounts are the kernel's own affair.
    fn mounts(
        &mut self,
        id: &str,
        list: &[oci_spec::runtime::Mount],
        choice: &Choice,
        global: &Global,
        hints: &Hints,
    ) -> Result<Vec<Mount>> {
        let mut made = Vec::with_capacity(list.len());
        for (at, mount) in list.iter().enumerate() {
            let destination = text(mount.destination(), || format!("mounts[{at}].destination"))?;
            if !destination.starts_with('/') {
                bail!("field mounts[{at}].destination: {destination:?} must be an absolute path");
            }
            let options = mount.options().clone().unwrap_or_default();
            let bind = options.iter().any(|o| o == "bind" || o == "rbind") || mount.typ().as_deref() == Some("bind");
            let mut source =
                mount.source().as_deref().map_or(Ok(String::new()), |s| text(s, || format!("mounts[{at}].source")))?;
            let hint = hints.of(&source).filter(|_| bind || mount.typ().as_deref() == Some("tmpfs"));
            let shared = match hint.map(|hint| hint.share) {
                None => global.file_access_mounts == Access::Shared,
                Some(share) => share == Share::Shared,
            };
            let (mut gofer, mut overlay) = (None, Overlay::None);
            let volume = hint.filter(|hint| hint.is_volume()).map(|hint| hint.name.clone());
            let image = !bind && mount.typ().as_deref() == Some("erofs");
            if volume.is_none() && (bind || image) {
                let path = self.path.join(&source);
                let real = fs::canonicalize(&path).map_err(|e| {
                    anyhow!("field mounts[{at}].source: {} for {destination}: {}", path.display(), plain(&e))
                })?;
                source = text(&real, || format!("mounts[{at}].source"))?;
                if image && !real.is_file() {
                    bail!("field mounts[{at}].source: {source} for {destination}: an erofs image is a regular file");
                }
                gofer = Some(self.sources.len() as u32);
                let readonly = options.iter().any(|o| o == "ro" || o == "rro");
                let part = Part::mount(&destination, self.sources.iter().map(|source| &source.id));
                overlay = self.serve(MountId::new(id, part), choice.mount(&real, readonly, shared)?, real, readonly);
            }
            if let Some(how) = options.iter().find(|o| matches!(o.as_str(), "slave" | "rslave" | "shared" | "rshared"))
                && bind
            {
                self.warnings
                    .push(format!("{destination}: {how}: what the host mounts below {source} later is not seen"));
            }
            let kind = if bind { "bind".to_string() } else { mount.typ().clone().unwrap_or_default() };
            made.push(Mount { destination, kind, source, options, gofer, overlay, shared: bind && shared, volume });
        }
        Ok(made)
    }
}

impl Bundle {
    /// What the sandbox makes for all its containers. Bind volumes get the gofer's numbers after those of mounts.
    fn volumes(&mut self, id: &str, hints: &Hints, choice: &Choice) -> Result<Vec<Volume>> {
        let mut made = Vec::new();
        for hint in hints.0.iter().filter(|hint| hint.is_volume()) {
            let (mut gofer, mut overlay) = (None, Overlay::None);
            if hint.kind == hints::Kind::Bind {
                let real = fs::canonicalize(&hint.source)
                    .map_err(|e| anyhow!("mount hint {}: source {}: {}", hint.name, hint.source, plain(&e)))?;
                gofer = Some(self.sources.len() as u32);
                let readonly = hint.options.iter().any(|o| o == "ro" || o == "rro");
                let id = MountId::new(id, Part::Volume(hint.name.clone()));
                overlay = self.serve(id, choice.mount(&real, readonly, false)?, real, readonly);
            }
            made.push(Volume {
                name: hint.name.clone(),
                kind: if gofer.is_some() { "bind" } else { "tmpfs" }.to_string(),
                source: hint.source.clone(),
                options: hint.options.clone(),
                gofer,
                overlay,
            });
        }
        Ok(made)
    }
}

fn check_version(version: &str) -> Result<()> {
    match version.split('.').next() {
        Some("1") => Ok(()),
        _ if version.is_empty() => bail!("field ociVersion is missing; write \"ociVersion\": \"1.0.2\""),
        _ => {
            bail!("field ociVersion: version {version:?} of the runtime-spec is not supported; this runtime knows 1.x")
        }
    }
}

/// Those of the network that there are.
const NET_KNOBS: [&str; 2] = ["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"];

fn propagation(given: Option<&str>) -> Result<Propagation> {
    Ok(match given {
        None | Some("" | "private" | "rprivate") => Propagation::Private,
        Some("slave" | "rslave") => Propagation::Slave,
        Some("shared" | "rshared") => Propagation::Shared,
        Some("unbindable" | "runbindable") => Propagation::Unbindable,
        Some(other) => bail!("field linux.rootfsPropagation: {other:?} is none of private, slave, shared, unbindable"),
    })
}

fn device(device: &oci_spec::runtime::LinuxDevice) -> Result<Device> {
    let path = text(device.path(), || "linux.devices".to_string())?;
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => {
            bail!("field linux.devices: {path}: type \"a\" is for cgroup rules; a device is c, b, u or p")
        }
    };
    let number =
        |n: i64| u32::try_from(n).map_err(|_| anyhow!("field linux.devices: {path}: number {n} is out of range"));
    Ok(Device {
        kind,
        major: number(device.major())?,
        minor: number(device.minor())?,
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        path,
    })
}

fn limits(linux: &oci_spec::runtime::Linux) -> Limits {
    let Some(resources) = linux.resources() else { return Limits::default() };
    let positive = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0);
    Limits {
        memory: resources.memory().as_ref().and_then(|m| m.limit()).and_then(positive),
        pids: resources.pids().as_ref().map(|p| p.limit()).and_then(positive),
        cpu_millis: resources
            .cpu()
            .as_ref()
            .and_then(|c| c.quota().and_then(positive).map(|quota| millis(quota, c.period()))),
    }
}

/// What an update changes of them: 0 leaves one alone, a negative number takes it away.
pub fn new_limits(resources: &oci_spec::runtime::LinuxResources) -> NewLimits {
    let bound = |n: i64| (n != 0).then(|| u64::try_from(n).unwrap_or(u64::MAX));
    NewLimits {
        memory: resources.memory().as_ref().and_then(|m| m.limit()).and_then(bound),
        memory_allowed: None,
        pids: resources.pids().as_ref().map(|p| p.limit()).and_then(bound),
        cpu_millis: resources.cpu().as_ref().and_then(|c| {
            let quota = c.quota().and_then(bound)?;
            Some(if quota == u64::MAX { quota } else { millis(quota, c.period()) })
        }),
    }
}

/// A quota of µs in a period as thousandths of a processor.
fn millis(quota: u64, period: Option<u64>) -> u64 {
    quota.saturating_mul(1000) / period.filter(|p| *p > 0).unwrap_or(100_000)
}

/// A path as text; the kernel takes names as bytes, JSON cannot carry others than UTF-8 anyway.
fn text(path: &Path, field: impl Fn() -> String) -> Result<String> {
    path.to_str().map(str::to_string).ok_or_else(|| anyhow!("field {}: {} is not UTF-8", field(), path.display()))
}

/// An error of the host without its number, as runc words it.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
