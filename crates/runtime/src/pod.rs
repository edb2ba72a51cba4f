//! Pods: a container that says by its annotations (of the CRI, or of CRI-O) that it belongs to another one's sandbox joins that.
//!
//! Its state folder has a link to the sandbox' control socket, so every command finds it as it finds any other. Neighbours: `config`, `launch`. Owns no locks.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sandbox::client::SOCKET;
use sandbox::spec::Pod;

use crate::commands::Context;
use crate::state::{Folder, Life, Root, State};

/// How long a container takes to leave its pod at most; what is left then, `delete` finds.
const PATIENCE: Duration = Duration::from_secs(5);

/// Annotations: what kind of container it is, and whose sandbox it joins.
const NAMES: [(&str, &str); 2] = [
    ("io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id"),
    ("io.kubernetes.cri-o.ContainerType", "io.kubernetes.cri-o.SandboxID"),
];

/// The pod that config.json names; `None` for a container with a sandbox of its own, a pod's first one included.
pub fn of(oci: &Spec, root: &Root) -> Result<Option<Pod>> {
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
    let pids = match namespaces.into_iter().flatten().find(|ns| ns.typ() == LinuxNamespaceType::Pid) {
        Some(ns) => match ns.path() {
            Some(path) => Some(member_of(path, sandbox, root)?),
            None => None,
        },
        // The host's, where the pod is all that there is of it.
        None => Some(sandbox.clone()),
    };
    Ok(Some(Pod {
        sandbox: sandbox.clone(),
        pids,
        network: shared(LinuxNamespaceType::Network),
        ipc: shared(LinuxNamespaceType::Ipc),
        uts: shared(LinuxNamespaceType::Uts),
    }))
}

/// The container of the pod whose PID namespace this path is: that of the process that stands for it, as containerd writes it for a namespace of the pod's or (`kubectl debug --target`) of one
/// container's; or one that CRI-O has bound to a name, which is the pod's.
fn member_of(path: &Path, sandbox: &str, root: &Root) -> Result<String> {
    let state = root.folder(sandbox)?.read_whole().with_context(|| format!("joining the sandbox {sandbox}"))?;
    let process = path.to_str().and_then(|p| p.strip_prefix("/proc/")?.strip_suffix("/ns/pid")?.parse::<i32>().ok());
    let others = || root.ids().unwrap_or_default().into_iter().filter_map(|id| root.folder(&id).ok()?.read().ok()?);
    match process {
        Some(pid) if pid == state.pid => return Ok(sandbox.to_string()),
        Some(pid) => {
            let found = others().find(|other| other.pid == pid && other.sandbox.as_deref() == Some(sandbox));
            if let Some(found) = found {
                return Ok(found.id);
            }
        }
        None => {
            let of = |path: &Path| std::fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
            if of(path).is_some_and(|ns| Some(ns) == of(Path::new(&format!("/proc/{}/ns/pid", state.pid)))) {
                return Ok(sandbox.to_string());
            }
        }
    }
    bail!(
        "field linux.namespaces: the PID namespace {} is of no container of the pod {sandbox}; name the sandbox' own, or leave the path out",
        path.display()
    )
}

/// What the sandbox was told for all its containers.
pub fn annotations(pod: &Pod, root: &Root) -> Result<BTreeMap<String, String>> {
    let state = root.folder(&pod.sandbox)?.read_whole();
    Ok(state.with_context(|| format!("joining the sandbox {}", pod.sandbox))?.annotations)
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
    let target = Path::new("..").join(&pod.sandbox).join(SOCKET);
    std::os::unix::fs::symlink(&target, own.path().join(SOCKET))
        .with_context(|| format!("cannot make a link in {}", own.path().display()))?;
    Ok(folder)
}

/// The kernel process that a container runs in.
pub fn kernel(context: &Context, state: &State) -> Result<i32> {
    match &state.sandbox {
        None => Ok(state.pid),
        Some(sandbox) => Ok(context.root.folder(sandbox)?.read_whole()?.pid),
    }
}

/// The kernel process learns from the end of a connection that a container's has come. Until it knows, processes may be left, and the name is taken.
pub fn leave(folder: &Folder, state: &State) {
    let end = Instant::now() + PATIENCE;
    let known = || folder.connect().is_ok_and(|client| client.status(&state.id).is_ok());
    while state.sandbox.is_some() && known() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
}
