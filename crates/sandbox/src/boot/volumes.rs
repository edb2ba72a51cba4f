//! Volumes of a sandbox: file systems that are made with its first container, live as long as the sandbox, and are mounted by whichever of its containers has their source (section 11 of
//! the specification).
//!
//! Neighbours: `mounts` (makes and mounts them). Owns no locks: what there is does not change.

use super::mount_options;
use super::origins::Origins;
use crate::machine::{Failure, Kind};
use crate::spec::{Mount as MountSpec, Volume as VolumeSpec};
use abi::fs as flags;
use kernel::vfs::Mount;
use std::collections::HashMap;
use std::sync::Arc;

/// All of a sandbox, by their names.
#[derive(Clone, Default)]
pub struct Volumes {
    pub list: HashMap<String, Arc<Mount>>,
    /// Where their files come from.
    pub origins: Origins,
}

/// What a mount may not leave out if the volume has it.
const RESTRICTIONS: [(&str, u32); 4] = [
    ("ro", flags::MS_RDONLY),
    ("noexec", flags::MS_NOEXEC),
    ("nosuid", flags::MS_NOSUID),
    ("noatime", flags::MS_NOATIME),
];

impl Volumes {
    /// A mount of a volume, with flags of its own; its other options are the volume's affair.
    pub fn replica(&self, name: &str, spec: &MountSpec) -> Result<Arc<Mount>, Failure> {
        let at = &spec.destination;
        let refused = |why: String| Failure::new(Kind::Invalid, format!("mount {at}: mount hint {name}: {why}"));
        let Some(master) = self.list.get(name) else {
            return Err(refused("the sandbox was started without this volume".into()));
        };
        let mount_flags = mount_options::read(spec)?.flags;
        let lacks = RESTRICTIONS.iter().find(|(_, bit)| master.flags() & bit != 0 && mount_flags & bit == 0);
        if let Some((option, _)) = lacks {
            return Err(refused(format!("the volume is {option}, so each mount of it must have the option {option}")));
        }
        Ok(Mount::new(master.fs.clone(), master.root.clone(), spec.source.as_bytes(), mount_flags))
    }
}

/// A volume as if it were a mount, for the reading of its options.
pub fn as_mount(volume: &VolumeSpec) -> MountSpec {
    MountSpec {
        destination: format!("hint {}", volume.name),
        kind: volume.kind.clone(),
        source: volume.source.clone(),
        options: volume.options.clone(),
        gofer: volume.gofer,
        overlay: volume.overlay,
        ..MountSpec::default()
    }
}
