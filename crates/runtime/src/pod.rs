//! Pods: a container that says by its annotations (of the CRI, or of CRI-O) that it belongs to another one's sandbox joins that.
//!
//! Its state folder has a link to the sandbox' control socket, so every command finds it as it finds any other. Neighbours: `config`, `launch`. Owns no locks.

use std::collections::HashMap;

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sandbox::client::SOCKET;
use sandbox::spec::Pod;

use crate::commands::Context;
use crate::state::{Folder, Life};

/// Annotations: what kind of container it is, and whose sandbox it joins.
const NAMES: [(&str, &str); 2] = [
    ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
    ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"),
];

/// The pod that config.json names; `None` for a container with a sandbox of its own, a pod's first one included.
pub fn of(oci: &Spec) -> Result<Option<Pod>> {
    let none = HashMap::new();
    let annotations = oci.annotations().as_ref().unwrap_or(&none);
    let Some((kind, id)) = NAMES.into_iter().find(|(kind, _)| annotations.contains_key(*kind)) else { return Ok(None) };
    match annotations.get(kind).map(String::as_str) {
        Some("sandbox") => return Ok(None),
        Some("container") => {}
        other => bail!("annotation {kind}: {:?} is neither sandbox nor container", other.unwrap_or_default()),
    }
    let Some(sandbox) = annotations.get(id) else {
        bail!("annotation {id} is missing; it names the sandbox that the container belongs to")
    };
    let namespaces = oci.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    // The only ones that there are to join are the pod's; who names none is in those of the one who runs it.
    let shared = |typ: LinuxNamespaceType| {
        let given = namespaces.into_iter().flatten().find(|ns| ns.typ() == typ);
        given.is_none_or(|ns| ns.path().is_some())
    };
    let pids = namespaces.into_iter().flatten().find(|ns| ns.typ() == LinuxNamespaceType::Pid);
    if pids.is_some_and(|ns| ns.path().is_some()) {
        bail!(
            "field linux.namespaces: a PID namespace shared among the containers of a pod is not supported; leave its path out (Kubernetes: shareProcessNamespace: false)"
        );
    }
    Ok(Some(Pod {
        sandbox: sandbox.clone(),
        network: shared(LinuxNamespaceType::Network),
        ipc: shared(LinuxNamespaceType::Ipc),
        uts: shared(LinuxNamespaceType::Uts),
    }))
}

/// The folder of the sandbox, which runs; the container's own gets a link to its control socket.
pub fn sandbox(context: &Context, pod: &Pod, own: &Folder) -> Result<Folder> {
    let what = || format!("joining the sandbox {}", pod.sandbox);
    let folder = context.root.folder(&pod.sandbox).with_context(what)?;
    let state = folder.read_whole().with_context(what)?;
    if state.sandbox.is_some() {
        bail!("container {} is in a sandbox of another one itself; name a pod's first container", pod.sandbox);
    }
    match state.life(&folder) {
        Life::Created | Life::Running | Life::Paused => {}
        life => bail!("the sandbox {} that the container belongs to is {}", pod.sandbox, life.name()),
    }
    let target = std::path::Path::new("..").join(&pod.sandbox).join(SOCKET);
    std::os::unix::fs::symlink(&target, own.path().join(SOCKET))
        .with_context(|| format!("cannot make a link in {}", own.path().display()))?;
    Ok(folder)
}
