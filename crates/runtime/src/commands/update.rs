//! `update`: what a container may use from now on. Owns no locks but the container's file lock.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use oci_spec::runtime::{
    LinuxBlockIoBuilder, LinuxCpuBuilder, LinuxMemoryBuilder, LinuxPidsBuilder, LinuxResources, LinuxResourcesBuilder,
};
use sandbox::spec::NewLimits;
use serde_json::Value;

use crate::cgroup::Cgroup;
use crate::cli::Update;
use crate::commands::Context;
use crate::state::{Folder, Life, State};

pub fn run(context: &Context, args: Update) -> Result<u8> {
    let folder = context.root.folder(&args.id)?;
    let _lock = folder.lock()?;
    let state = folder.read_whole()?;
    if matches!(state.life(&folder), Life::Stopped | Life::Creating) {
        bail!("container not running");
    }
    let resources = match &args.resources {
        Some(path) => from_file(path)?,
        None => from_flags(&args)?,
    };
    let mut cgroup = Cgroup::of(&state.cgroups);
    if cgroup.is_missing_for(&resources)? {
        cgroup = make_cgroup(&folder, &state, &resources)?;
    } else if !state.cgroups.is_empty() {
        cgroup.update(&resources)?;
    }
    let mut limits = crate::config::new_limits(&resources);
    if limits.memory.is_some() {
        limits.memory_allowed = Some(cgroup.memory().unwrap_or(u64::MAX));
    }
    if limits != NewLimits::default() {
        folder.connect()?.limit(&args.id, limits)?;
    }
    Ok(0)
}

/// For a container that was made without linux.cgroupsPath and limits.
fn make_cgroup(folder: &Folder, state: &State, resources: &LinuxResources) -> Result<Cgroup> {
    if let Some(sandbox) = &state.sandbox {
        bail!(
            "the container has no cgroup on the host of its own: it was made in the sandbox of {sandbox} without linux.cgroupsPath and limits"
        );
    }
    let cgroup = Cgroup::plan_for(state.pid, &state.id)?;
    // Before it is made, so that whoever ends the container removes it.
    folder.write(&State { cgroups: cgroup.folders.clone(), ..state.clone() })?;
    let made = cgroup.make_for(state.pid, state.gofer_pid, resources);
    match made {
        Ok(()) => Ok(cgroup),
        Err(e) => {
            folder.write(state)?;
            Err(e.context("the container was made without a cgroup on the host, and cannot be given one"))
        }
    }
}

fn from_file(path: &Path) -> Result<LinuxResources> {
    let mut text = String::new();
    if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let value: Value = serde_json::from_str(&text).context("the resources are not valid JSON")?;
    serde_path_to_error::deserialize(value).map_err(|e| anyhow!("field {}: {}", e.path(), e.inner()))
}

/// Adds those fields that were given.
macro_rules! given {
    ($builder:ident: $($field:ident = $value:expr),+ $(,)?) => {
        $(if let Some(value) = $value {
            $builder = $builder.$field(value);
        })+
    };
}

fn from_flags(args: &Update) -> Result<LinuxResources> {
    let mut memory = LinuxMemoryBuilder::default();
    given!(memory: limit = args.memory, reservation = args.memory_reservation, swap = args.memory_swap);
    let mut cpu = LinuxCpuBuilder::default();
    given!(cpu: shares = args.cpu_share, quota = args.cpu_quota, period = args.cpu_period, burst = args.cpu_burst);
    given!(cpu: idle = args.cpu_idle, realtime_period = args.cpu_rt_period, realtime_runtime = args.cpu_rt_runtime);
    given!(cpu: cpus = args.cpuset_cpus.clone(), mems = args.cpuset_mems.clone());
    let mut all = LinuxResourcesBuilder::default().memory(memory.build()?).cpu(cpu.build()?);
    if let Some(limit) = args.pids_limit {
        all = all.pids(LinuxPidsBuilder::default().limit(limit).build()?);
    }
    if let Some(weight) = args.blkio_weight {
        all = all.block_io(LinuxBlockIoBuilder::default().weight(weight).build()?);
    }
    Ok(all.build()?)
}
